"""Flexprice is out, at every place where the shop needs it: no page breaks, nothing is lost or done twice."""

from datetime import timedelta
from typing import Any

import pytest

SESSIONS = "/v1/checkout/sessions"
OUTAGES = ["down", "error_500", "timeout_before"]


def pay_and_check(world: Any, shopper: Any, url: str) -> None:
    shopper.pay(url)
    world.settle()
    world.settle()
    assert world.order().state == "fulfilled"
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]


@pytest.mark.parametrize("outage", [*OUTAGES, "timeout_after"])
def test_signing_up_works_and_the_first_checkout_makes_the_customer(world: Any, outage: str) -> None:
    world.fault(outage, "/v1/customers")

    shopper = world.shopper()
    assert "Your account" in shopper.see("/account").text

    world.up()
    pay_and_check(world, shopper, shopper.buy().headers["Location"])


@pytest.mark.parametrize("outage", OUTAGES)
def test_the_plans_say_that_they_are_away(world: Any, outage: str) -> None:
    world.fault(outage)
    visitor = world.visitor()

    assert visitor.see("/plans").status_code == 503
    assert visitor.plan_page().status_code == 503

    world.up()
    assert visitor.see("/plans").status_code == 200


def test_the_last_known_plans_are_shown_but_nothing_is_sold_from_them(world: Any) -> None:
    shopper = world.shopper()
    page = shopper.review_page()
    world.forget_prices()
    world.down()

    shown = shopper.plan_page()
    assert shown.status_code == 200
    assert "out of date" in shown.text

    answer = shopper.send(page, "/checkout")
    assert answer.status_code == 503
    assert "did not charge you" in answer.text
    assert world.orders() == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("outage", "path"),
    [
        ("down", SESSIONS),
        ("error_500", SESSIONS),
        ("down", "/v1/customers"),
        ("timeout_before", "/v1/customers"),
    ],
)
def test_a_checkout_that_cannot_be_opened_can_be_tried_again(world: Any, outage: str, path: str) -> None:
    world.fault(outage, path)
    shopper = world.shopper()

    answer = shopper.buy()
    assert answer.headers["Location"] == f"/orders/{world.order().ref}/failure"
    assert shopper.phase(world.order()) == "unopened"

    world.up()
    again = shopper.try_again(world.order())
    assert len(world.orders()) == len(world.sessions()) == 1
    pay_and_check(world, shopper, again.headers["Location"])


def test_an_order_that_was_never_opened_can_be_cancelled_without_flexprice(world: Any) -> None:
    shopper = world.shopper()
    shopper.plan_page()
    world.down()
    shopper.buy()

    shopper.cancel(world.order())

    assert shopper.phase(world.order()) == "cancelled"
    world.up()
    assert shopper.buy(billing_period="ANNUAL").headers["Location"] == world.pay_url()


@pytest.mark.thorough
def test_a_checkout_whose_customer_was_lost_makes_them_again(world: Any) -> None:
    shopper = world.shopper()
    world.lose_customers()

    answer = shopper.buy()

    pay_and_check(world, shopper, answer.headers["Location"])


@pytest.mark.thorough
@pytest.mark.parametrize("outage", OUTAGES)
def test_the_order_page_keeps_its_words_while_it_cannot_ask(world: Any, outage: str) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.fault(outage)

    for page, phase in (("success", "checking"), ("failure", "waiting")):
        assert shopper.phase(world.order(), page) == phase
    assert shopper.see(f"/orders/{world.order().ref}/status").status_code == 200

    world.up()
    pay_and_check(world, shopper, url)


@pytest.mark.thorough
def test_a_cancel_that_does_not_reach_flexprice_leaves_the_order_open(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    page = shopper.order_page(world.order())
    world.down()

    assert shopper.send(page, "/cancel").status_code == 503
    assert world.order().state == "awaiting_payment"

    world.up()
    pay_and_check(world, shopper, url)


@pytest.mark.thorough
@pytest.mark.parametrize("outage", OUTAGES)
def test_a_sale_that_flexprice_told_of_needs_no_further_answer(world: Any, outage: str) -> None:
    """A signed `completed` of our own session is believed: access does not wait for Flexprice to be back.

    What it charges was checked while the shopper was still paying.
    """
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.work()
    shopper.pay(url)
    world.fault(outage)

    world.settle()
    assert world.order().state == "fulfilled"
    assert world.emails() == ["welcome"]
    assert world.order().invoice_number is None

    world.up()
    world.work(after=timedelta(seconds=61))
    assert world.order().invoice_number
    assert len(world.accesses()) == 1


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_sale_whose_terms_could_not_be_checked_waits_and_is_not_lost(world: Any, outage: str) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.fault(outage)
    world.work()
    shopper.pay(url)
    world.settle()
    world.work(after=timedelta(seconds=3))

    assert shopper.phase(world.order()) == "paid"
    assert world.accesses() == []

    world.up()
    world.work(after=timedelta(seconds=10))
    assert shopper.phase(world.order()) == "ready"
    assert world.order().invoice_number
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
@pytest.mark.parametrize("outage", OUTAGES)
def test_a_worker_that_cannot_ask_asks_again(world: Any, outage: str) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.work()
    shopper.pay(url)
    world.fault(outage)

    world.work(after=timedelta(seconds=61))
    assert world.order().state == "awaiting_payment"

    world.up()
    world.work(after=timedelta(seconds=130))
    assert world.order().state == "fulfilled"
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
@pytest.mark.parametrize("outage", OUTAGES)
def test_a_message_that_cannot_be_understood_now_is_read_later(world: Any, outage: str) -> None:
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    world.fault(outage)

    world.settle()
    assert shopper.phase(world.order()) == "preparing"
    [waiting] = [message for message in world.events() if message.processed_at is None]
    assert waiting.event_type == "checkout.session.initiated"

    world.up()
    world.work(after=timedelta(seconds=30))
    assert shopper.phase(world.order()) == "waiting"
    pay_and_check(world, shopper, world.order().payment_url)


@pytest.mark.thorough
def test_messages_are_taken_while_flexprice_cannot_be_asked(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy()
    world.down()

    world.deliver()

    assert {row["response_status"] for row in world.deliveries()} == {204}
