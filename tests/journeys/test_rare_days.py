"""Rare, but it happens: two workers, sessions deleted or overwritten at Flexprice, an order begun again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

SESSIONS = "/v1/checkout/sessions"


@pytest.mark.thorough
def test_eight_workers_at_once_fulfil_once(world: Any) -> None:
    world.webhooks("twice")
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.deliver()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: world.work(), range(8)))
    world.work()

    assert world.order().state == "fulfilled"
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
def test_a_worker_that_died_with_a_message_in_its_hands_is_replaced(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.work()  # the order is quiet now, while the customer pays
    shopper.pay(url)
    world.deliver()
    world.claim_messages()

    world.work()
    assert world.order().state == "awaiting_payment"

    world.work(after=timedelta(minutes=3))  # its lease is over
    assert world.order().state == "fulfilled"
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
def test_messages_in_the_wrong_order_make_the_same_sale(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])

    for row in reversed(world.deliveries()):
        world.control(f"deliveries/{row['id']}/resend")
        world.settle()

    assert world.order().state == "fulfilled"
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
def test_a_shop_that_was_away_gets_its_messages_later(world: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])

    with world.shop_closed():
        world.deliver()
    assert {row["response_status"] for row in world.deliveries()} == {502}
    assert world.events() == []

    world.later("6m")
    world.settle()
    assert world.order().state == "fulfilled"
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
def test_starting_again_makes_a_new_order(world: Any) -> None:
    """The link of the lost session was never shown; should it be paid, the first order counts again."""
    world.webhooks("drop")
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    world.set_order(session_requested_at=datetime.now(UTC) - timedelta(minutes=3))

    answer = shopper.send(shopper.order_page(world.order()), "/checkout")

    assert answer.headers["Location"] == world.pay_url()
    assert [order.state for order in world.orders()] == ["abandoned", "awaiting_payment"]


@pytest.mark.thorough
def test_starting_again_finds_the_payment_whose_news_was_lost(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    shopper.pay(world.pay_url())
    world.set_order(session_requested_at=datetime.now(UTC) - timedelta(minutes=3))

    shopper.send(shopper.order_page(world.order()), "/checkout")
    world.work()

    assert shopper.phase(world.order()) == "ready"
    assert len(world.sessions()) == len(world.orders()) == 1


@pytest.mark.thorough
def test_starting_again_leads_to_the_plan_when_nothing_was_ever_opened(world: Any) -> None:
    shopper = world.shopper()
    world.fault("timeout_before", SESSIONS, times=1, method="POST")
    shopper.buy()
    world.set_order(session_requested_at=datetime.now(UTC) - timedelta(minutes=3))

    answer = shopper.send(shopper.order_page(world.order()), "/checkout")

    shopper.pay(answer.headers["Location"])
    world.settle()
    assert [order.state for order in world.orders()] == ["abandoned", "fulfilled"]


@pytest.mark.thorough
@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_completed_session_that_was_overwritten_is_a_case_for_a_person(world: Any, status: str) -> None:
    """Money was taken: such an order is neither sold nor said to be unpaid."""
    world.webhooks("drop")
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.change_session(world.sessions()[-1]["id"], checkout_status=status)

    world.work()
    world.work(after=timedelta(seconds=61))

    assert shopper.phase(world.order()) == "stuck"
    assert world.accesses() == []
    assert world.emails() == []


def expired(world: Any, shopper: Any) -> None:
    world.later("26m")
    world.control("sweep")


def cancelled(world: Any, shopper: Any) -> None:
    shopper.cancel(world.order())


@pytest.mark.thorough
@pytest.mark.parametrize("end", [expired, cancelled])
@pytest.mark.parametrize("again", [False, True], ids=["once", "bought again"])
def test_a_sale_that_flexprice_lets_count_after_its_end_is_delivered_or_owed_a_refund(
    world: Any, end: Any, again: bool
) -> None:
    """Its own code sends such money back; its people may decide otherwise."""
    shopper = world.shopper()
    shopper.buy()
    end(world, shopper)
    world.settle()
    first = world.order()
    assert first.state == end.__name__
    if again:
        shopper.pay(shopper.try_again(first).headers["Location"])
        world.settle()

    world.control(f"sessions/{first.session_id}/repair")
    world.settle()

    assert world.find(first).state == ("paid_twice" if again else "fulfilled")
    assert shopper.phase(first) == ("paid_twice" if again else "ready")
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
def test_a_session_deleted_at_flexprice_expires_with_the_sweep(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy()
    world.delete_session()
    assert shopper.phase(world.order()) == "waiting"

    world.later("26m")
    world.control("sweep")
    world.settle()

    assert shopper.phase(world.order()) == "expired"


@pytest.mark.thorough
def test_money_for_a_deleted_session_is_a_case_for_a_person(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.delete_session()
    shopper.pay(url)
    world.later("26m")
    world.control("sweep")
    world.settle()
    world.work(after=timedelta(seconds=61))

    assert shopper.phase(world.order()) == "stuck"
    assert world.order().review_note
    assert world.accesses() == []


@pytest.mark.thorough
def test_cancelling_a_deleted_session_says_that_the_link_stays_payable(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy()
    world.delete_session()

    answer = shopper.cancel(world.order())

    assert "cannot be cancelled" in answer.text
    assert world.order().state == "awaiting_payment"


@pytest.mark.thorough
def test_paying_and_cancelling_in_the_same_moment_ends_as_flexprice_says(world: Any) -> None:
    shopper, other_tab = world.shopper(), world.visitor()
    url = shopper.buy().headers["Location"]
    other_tab.http.cookies.update(shopper.http.cookies)
    pay_page, order_page = shopper.see(url), other_tab.order_page(world.order())

    with ThreadPoolExecutor(2) as pool:
        paying = pool.submit(shopper.send, pay_page, "/pay", other="success@razorpay")
        cancelling = pool.submit(other_tab.send, order_page, "/cancel")
        assert {paying.result().status_code, cancelling.result().status_code} <= {303, 409}
    world.settle()
    world.settle()

    said = world.sessions()[-1]["checkout_status"]
    state, granted = {"completed": ("fulfilled", 1), "expired": ("cancelled", 0)}[said]
    assert world.order().state == state
    assert len(world.accesses()) == granted
    assert len(world.emails()) == granted


def half_done(world: Any) -> Any:
    """Paid, and Flexprice stumbled in the middle: it has booked the money and forgotten the sale."""
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.control("switches", polling_reads="show")  # a read of the session does not settle it
    world.control("completions", completion="half_done", times=1)
    shopper.pay(url)
    world.settle()
    return shopper


@pytest.mark.thorough
def test_money_that_flexprice_booked_without_the_sale_is_not_called_paid(world: Any) -> None:
    shopper = half_done(world)
    assert world.accesses() == []

    world.control("clock", advance="66m")
    for minutes in (1, 10, 60, 600):
        world.work(after=timedelta(minutes=minutes))

    assert shopper.phase(world.order(), "success") == "stuck"
    assert "by hand" in world.order().review_note
    assert (world.accesses(), world.emails()) == ([], [])


@pytest.mark.thorough
def test_a_sale_that_flexprice_finishes_later_is_delivered_once(world: Any) -> None:
    half_done(world)
    world.control(f"sessions/{world.order().session_id}/paid-again")
    world.settle()

    assert world.order().state == "fulfilled"
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
def test_a_plan_with_credits_is_sold_like_any_other(world: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy("Business").headers["Location"])
    world.settle()

    assert world.order().state == "fulfilled"
    told = {row["event_type"]: row["response_status"] for row in world.deliveries()}
    assert told["wallet.created"] == told["wallet.transaction.created"] == 204
