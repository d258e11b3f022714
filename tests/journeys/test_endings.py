"""Orders that end without a sale, and sales that end."""

import time
from datetime import timedelta
from typing import Any

import pytest

SESSIONS = "/v1/checkout/sessions"


def can_be_bought_again(world: Any, shopper: Any) -> None:
    """From the order's page, as a new order, all the way to access."""
    ended = world.order()
    again = shopper.try_again(ended)
    assert again.headers["Location"] == world.pay_url()
    shopper.pay(again.headers["Location"])
    world.settle()
    assert world.order().ref != ended.ref
    assert world.order().state == "fulfilled"
    assert len(world.accesses()) == 1


def test_an_order_cancelled_by_the_shopper_is_cancelled_at_flexprice_too(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]

    answer = shopper.cancel(world.order())
    world.settle()

    assert answer.headers["Location"] == f"/orders/{world.order().ref}/failure"
    assert shopper.phase(world.order()) == "cancelled"
    assert world.sessions()[-1]["checkout_status"] == "expired"
    assert "was cancelled" in shopper.see(url).text  # the link takes no more money
    assert world.emails() == []  # who cancels needs no email about a failure
    can_be_bought_again(world, shopper)


@pytest.mark.thorough
def test_an_order_is_cancelled_though_its_news_comes_before_the_answer(world: Any) -> None:
    """Flexprice ends the session and the answer is lost: the webhook tells, and it is known who asked."""
    shopper = world.shopper()
    shopper.buy()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")

    assert "waiting for the answer" in shopper.cancel(world.order()).text
    world.settle()

    assert shopper.phase(world.order()) == "cancelled"
    assert world.emails() == []
    can_be_bought_again(world, shopper)


@pytest.mark.thorough
def test_an_order_paid_in_the_meantime_is_not_cancelled(world: Any) -> None:
    world.webhooks("hold")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    page = shopper.order_page(world.order())

    shopper.pay(url)
    shopper.send(page, "/cancel")
    world.webhooks("normal")
    world.settle()

    assert shopper.phase(world.order()) == "ready"
    assert len(world.accesses()) == 1


@pytest.mark.thorough
def test_a_link_cancelled_by_the_merchant_is_a_failure_the_shopper_hears_of(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]

    shopper.send(shopper.see(url), f"{url.rpartition('/')[2]}/cancel")
    world.settle()
    world.settle()

    assert shopper.phase(world.order()) == "failed"
    assert world.emails() == ["payment_failed"]
    can_be_bought_again(world, shopper)


@pytest.mark.thorough
def test_an_order_expires_with_the_sweep_and_not_before(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy()

    world.later("26m")
    assert shopper.phase(world.order()) == "waiting"

    world.control("sweep")
    world.settle()
    assert shopper.phase(world.order()) == "expired"
    assert world.emails() == []
    can_be_bought_again(world, shopper)


@pytest.mark.thorough
def test_a_payment_between_the_lapse_and_the_sweep_still_counts(world: Any) -> None:
    quarter, half = 15 * 60, 30 * 60
    if (time.time() + quarter) % half > half - 60:  # the sweep would come in the very minute of the lapse
        world.later("2m")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]

    world.later("14m")
    world.later("61s")
    shopper.pay(url)
    world.control("sweep")
    world.settle()

    assert shopper.phase(world.order()) == "ready"


def test_money_that_comes_after_the_end_is_on_its_way_back(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.later("26m")
    world.control("sweep")
    world.settle()

    world.control("provider", action="pay", link=url)
    world.settle()

    assert shopper.phase(world.order()) == "paid_late"
    assert world.accesses() == []
    assert "welcome" not in world.emails()
    can_be_bought_again(world, shopper)


@pytest.mark.thorough
def test_late_money_is_noticed_without_any_webhook(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.later("26m")
    world.control("sweep")
    world.work(after=timedelta(seconds=61))
    world.work(after=timedelta(seconds=122))
    assert shopper.phase(world.order()) == "expired"

    world.control("provider", action="pay", link=url)
    world.work(after=timedelta(minutes=10))

    assert shopper.phase(world.order()) == "paid_late"
    assert world.accesses() == []


@pytest.mark.thorough
def test_the_late_news_of_a_failed_first_try_does_not_touch_the_order(world: Any) -> None:
    """The first create fails and says so in an event; the second one, with the same key, succeeds."""
    shopper = world.shopper()
    starter = shopper.plan_page().url.partition("/plans/")[2].partition("?")[0]
    page = shopper.review_page()
    world.webhooks("hold")

    world.set_prices(starter, "0.5")  # less than Razorpay takes
    first = shopper.send(page, "/checkout")
    assert first.headers["Location"] == f"/orders/{world.order().ref}/failure"
    world.set_prices(starter, "499")
    again = shopper.try_again(world.order())
    assert again.headers["Location"] == world.pay_url()

    world.webhooks("normal")
    world.settle()
    failed, opened = world.sessions()
    assert failed["checkout_status"] == "failed"
    assert failed["idempotency_key"] == opened["idempotency_key"]
    assert [order.state for order in world.orders()] == ["awaiting_payment"]
    assert world.emails() == []

    shopper.pay(again.headers["Location"])
    world.settle()
    assert shopper.phase(world.order()) == "ready"


def test_a_cancelled_subscription_ends_the_access(world: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.settle()
    assert shopper.see("/members").url.endswith("/members")

    world.control(f"subscriptions/{world.order().subscription_id}/cancel")
    world.settle()

    [access] = world.accesses()
    assert access.revoked_at is not None
    assert not shopper.see("/members").url.endswith("/members")
    assert "Ended" in shopper.see("/account").text
    assert world.order().state == "fulfilled"  # the sale itself stays what it was
    assert shopper.phase(world.order()) == "ended"  # but no page says that the plan is open


@pytest.mark.thorough
def test_an_ended_plan_can_be_bought_once_more(world: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.settle()
    world.control(f"subscriptions/{world.order().subscription_id}/cancel")
    world.settle()

    shopper.pay(shopper.buy().headers["Location"])
    world.settle()

    [access] = world.accesses()
    assert access.revoked_at is None
    assert access.order_id == world.order().id
    assert world.emails() == ["welcome", "billing", "welcome"]  # in between: the plan has ended


@pytest.mark.thorough
def test_a_subscription_that_ends_with_its_period_keeps_the_access_until_then(world: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.settle()

    world.control(f"subscriptions/{world.order().subscription_id}/cancel", at_period_end=True)
    world.settle()

    [access] = world.accesses()
    assert access.revoked_at is None
    assert timedelta(days=27) < world.order().access_ends_at - access.granted_at < timedelta(days=32)
    assert shopper.see("/members").url.endswith("/members")


@pytest.mark.thorough
def test_a_second_payment_for_a_plan_already_granted_is_flagged(world: Any) -> None:
    """An order ends, its plan is bought again, and then news comes that the first one was paid after all."""
    shopper = world.shopper()
    world.webhooks("drop")
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    first_url = world.pay_url()
    world.work(after=timedelta(minutes=90))  # the draft is too old to be waited for
    assert world.order().state == "abandoned"

    world.webhooks("normal")
    shopper.pay(shopper.try_again(world.order()).headers["Location"])
    world.settle()
    shopper.pay(first_url)
    world.settle()

    assert [order.state for order in world.orders()] == ["paid_twice", "fulfilled"]
    assert "refund this payment" in world.orders()[0].review_note
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]
    assert shopper.phase(world.orders()[0]) == "paid_twice"


@pytest.mark.thorough
@pytest.mark.parametrize("field", ["customer_id", "idempotency_key"])
def test_news_of_somebody_elses_session_moves_nothing(world: Any, field: str) -> None:
    """Key and customer must both be the order's own, also where another shop uses the same account."""
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    world.change_session(world.sessions()[-1]["id"], **{field: "somebody_elses"})

    world.settle()

    assert world.order().state == "placed"
    assert world.order().session_id is None
    assert {"not one of our sessions", "the session of another customer"} & {
        e.outcome for e in world.events()
    }


@pytest.mark.thorough
def test_a_failure_only_the_page_saw_is_settled_by_the_worker(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    shopper.send(shopper.see(url), f"{url.rpartition('/')[2]}/cancel")

    assert shopper.phase(world.order()) == "waiting"  # the page has the worker look
    world.work()

    assert shopper.phase(world.order()) == "failed"
    assert world.emails() == ["payment_failed"]


@pytest.mark.thorough
def test_a_refund_after_the_delivery_is_said_on_the_page_and_flagged(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    shopper.send(shopper.see(url), "/outcome", outcome="refunded", delivery="normal")
    world.settle()
    world.settle()

    order = world.order()
    assert (order.state, order.review_note) == ("fulfilled", "Flexprice reports a refund for this order")
    page = shopper.order_page(order, "success").text
    assert 'data-phase="refund_reported"' in page
    assert "Refund reported on" in shopper.see(f"/orders/{order.ref}/receipt").text
