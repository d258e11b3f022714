"""From the plan to access, in every order in which events may come."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

SESSIONS = "/v1/checkout/sessions"


def bought_once(world: Any) -> None:
    assert [order.state for order in world.orders()] == ["fulfilled"]
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]
    assert world.order().review_note is None


def test_a_paid_order_is_fulfilled_exactly_once(world: Any) -> None:
    shopper = world.shopper()

    leads_to = shopper.buy("Starter")
    assert leads_to.status_code == 303
    assert leads_to.headers["Location"] == world.pay_url()
    back = shopper.pay(leads_to.headers["Location"])
    assert back.headers["Location"].startswith(f"{world.shop_url}/orders/{world.order().ref}/success")
    world.settle()
    world.settle()

    bought_once(world)
    assert shopper.phase(world.order(), "success") == "ready"
    assert world.order().invoice_number
    assert "Starter" in shopper.see("/members").text


def test_a_declined_card_can_be_followed_by_one_that_works(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]

    declined = shopper.pay(url, "failure@razorpay")
    world.settle()
    assert declined.headers["Location"].startswith("/pay/")
    assert shopper.phase(world.order()) == "waiting"
    assert world.emails() == []

    shopper.pay(url)
    world.settle()
    bought_once(world)


@pytest.mark.thorough
def test_every_webhook_sent_twice_changes_nothing(world: Any) -> None:
    world.webhooks("twice")
    shopper = world.shopper()

    shopper.pay(shopper.buy().headers["Location"])
    world.settle()
    world.settle()

    bought_once(world)
    assert len(world.events()) == len({row["event_id"] for row in world.deliveries()})


@pytest.mark.thorough
def test_a_message_resent_after_the_sale_changes_nothing(world: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.settle()

    for row in world.deliveries():
        world.control(f"deliveries/{row['id']}/resend")
    world.settle()

    bought_once(world)


@pytest.mark.thorough
def test_the_webhook_may_come_before_the_shopper_is_back(world: Any) -> None:
    shopper = world.shopper()
    back = shopper.pay(shopper.buy().headers["Location"]).headers["Location"]

    world.settle()
    page = shopper.see(back)

    assert page.status_code == 200
    assert shopper.phase(world.order(), "success") == "ready"
    bought_once(world)


@pytest.mark.thorough
def test_the_webhook_may_come_after_the_shopper_is_back(world: Any, phase_of: Any) -> None:
    world.webhooks("hold")
    shopper = world.shopper()
    back = shopper.pay(shopper.buy().headers["Location"]).headers["Location"]

    page = shopper.see(back)
    assert phase_of(page) == "confirming"
    assert world.accesses() == []

    world.work()  # the page saw a terminal answer and left a note
    assert shopper.phase(world.order(), "success") == "ready"

    world.webhooks("normal")
    world.settle()
    bought_once(world)


@pytest.mark.thorough
def test_a_page_never_fulfils_by_itself(world: Any) -> None:
    """The redirect proves nothing: its parameters can be typed by anybody."""
    shopper = world.shopper()
    shopper.buy()

    page = shopper.order_page(world.order(), "success", razorpay_payment_link_status="paid")
    world.settle()

    assert page.status_code == 200
    assert world.order().state == "awaiting_payment"
    assert world.accesses() == []


@pytest.mark.parametrize("paid_already", [False, True], ids=["opened", "paid"])
def test_the_webhook_may_come_before_our_own_commit(world: Any, paid_already: bool) -> None:
    """Flexprice has the session, the shop does not know its id yet: the order's key brings them together."""
    shopper = world.shopper()

    def before_the_answer() -> None:
        if paid_already:
            world.visitor().pay(world.pay_url())
        world.settle()

    world.before_answer = before_the_answer
    answer = shopper.buy()
    order = world.order()

    assert "session adopted" in [message.outcome for message in world.events()]
    assert order.session_id == world.sessions()[-1]["id"]
    if not paid_already:
        assert order.state == "awaiting_payment"
        shopper.pay(answer.headers["Location"])
        world.settle()
    bought_once(world)
    assert len(world.sessions()) == 1


@pytest.mark.thorough
def test_a_lost_answer_is_made_good_by_the_initiated_webhook(world: Any) -> None:
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")

    answer = shopper.buy()
    assert answer.headers["Location"] == f"/orders/{world.order().ref}/failure"
    assert shopper.phase(world.order()) == "preparing"

    world.settle()
    assert shopper.phase(world.order()) == "waiting"
    assert world.order().payment_url == world.pay_url()

    shopper.pay(world.order().payment_url)
    world.settle()
    world.settle()
    bought_once(world)
    assert len(world.sessions()) == 1


@pytest.mark.thorough
def test_a_lost_answer_without_any_webhook_is_found_by_the_worker(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    shopper.pay(world.pay_url())

    world.work(after=timedelta(seconds=41))

    bought_once(world)
    assert shopper.phase(world.order()) == "ready"


@pytest.mark.thorough
def test_a_lost_answer_without_any_trace_is_given_up_in_the_end(world: Any) -> None:
    shopper = world.shopper()
    world.fault("timeout_before", SESSIONS, times=1, method="POST")
    shopper.buy()
    assert shopper.phase(world.order()) == "preparing"

    for minutes in range(1, 130, 5):
        world.work(after=timedelta(minutes=minutes))

    assert shopper.phase(world.order()) == "abandoned"
    assert shopper.try_again(world.order()).headers["Location"] == world.pay_url()


def test_a_lost_webhook_is_made_good_by_asking(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.work()
    shopper.pay(url)

    world.work(after=timedelta(seconds=30))
    assert world.order().state == "awaiting_payment"  # quiet while the customer pays

    world.work(after=timedelta(seconds=61))
    bought_once(world)


def test_eight_clicks_at_once_make_one_order_and_one_session(world: Any) -> None:
    shopper = world.shopper()
    page = shopper.review_page()
    together = threading.Barrier(8)

    def click(_: int) -> tuple[int, str]:
        tab = world.visitor()
        tab.http.cookies.update(shopper.http.cookies)
        together.wait()
        answer = tab.send(page, "/checkout")
        return answer.status_code, answer.headers.get("Location", "")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(click, range(8)))

    order_page = f"/orders/{world.order().ref}/failure"
    assert len(world.orders()) == len(world.sessions()) == 1
    assert {status for status, _ in answers} <= {303, 503}  # 503: the gate was busy; the click did nothing
    assert {where for status, where in answers if status == 303} <= {world.pay_url(), order_page}
    assert 303 in [status for status, _ in answers]


def test_a_second_click_leads_to_the_same_payment(world: Any) -> None:
    shopper = world.shopper()
    first, second = shopper.buy(), shopper.buy()

    assert first.headers["Location"] == second.headers["Location"]
    assert len(world.orders()) == len(world.sessions()) == 1


@pytest.mark.thorough
def test_another_period_waits_for_the_open_payment(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy(billing_period="MONTHLY")

    answer = shopper.buy(billing_period="ANNUAL")

    assert answer.headers["Location"].startswith(f"/orders/{world.order().ref}/failure")
    assert "open order" in shopper.see(answer.headers["Location"]).text
    assert len(world.sessions()) == 1


@pytest.mark.thorough
def test_a_second_plan_is_a_second_sale(world: Any) -> None:
    shopper = world.shopper()
    for plan in ("Starter", "Team"):
        shopper.pay(shopper.buy(plan).headers["Location"])
    world.settle()

    assert [order.state for order in world.orders()] == ["fulfilled", "fulfilled"]
    assert [access.plan_name for access in world.accesses()] == ["Starter", "Team"]
    assert world.emails() == ["welcome", "welcome"]
