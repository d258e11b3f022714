"""The session charges something else than was ordered: stopped while unpaid, held when paid."""

import re
from datetime import timedelta
from typing import Any

import pytest

from storefront.checkout import orders

SESSIONS = "/v1/checkout/sessions"
INVOICES = "/v1/invoices"


@pytest.fixture
def dearer(world: Any) -> Any:
    """A shopper on whose screen Starter still costs 499, when Flexprice already charges 599."""
    shopper = world.shopper()
    page = shopper.plan_page()
    world.set_prices(re.search(r"/plans/(plan_\w+)", page.url)[1], "599")  # type: ignore[index]
    return shopper


def test_a_link_that_would_charge_more_is_withdrawn_while_the_shopper_still_looks_at_it(
    world: Any, dearer: Any, offers: Any
) -> None:
    url = dearer.buy().headers["Location"]
    assert url == world.pay_url()

    world.work()

    assert world.order().state == "mismatched"
    assert "amount: ordered 499, charged 599" in world.order().review_note
    page = dearer.order_page(world.order())
    assert url not in page.text
    assert "did not match" in page.text
    assert "was cancelled" in dearer.see(url).text  # Flexprice was told, too
    assert world.sessions()[-1]["checkout_status"] == "expired"
    world.settle()
    assert world.order().state == "mismatched"
    assert world.emails() == []


def test_the_shopper_is_led_to_the_price_of_today_and_buys_by_it(world: Any, dearer: Any) -> None:
    dearer.buy()
    world.work()

    plan = dearer.see(re.search(r'id="order-plan" href="([^"]+)"', dearer.order_page(world.order()).text)[1])  # type: ignore[index]
    assert "599" in plan.text
    review = dearer.review_page()
    assert "599" in review.text
    dearer.pay(dearer.send(review, "/checkout").headers["Location"])
    world.settle()

    assert [order.state for order in world.orders()] == ["mismatched", "fulfilled"]
    assert world.order().amount == 599


def test_a_payment_that_was_faster_than_the_check_is_held(world: Any, dearer: Any, phase_of: Any) -> None:
    dearer.pay(dearer.buy().headers["Location"])
    world.settle()

    assert world.order().state == "held"
    assert "ordered 499, charged 599" in world.order().review_note
    assert world.accesses() == []
    assert world.emails() == []
    page = dearer.order_page(world.order(), "success")
    assert phase_of(page) == "held"
    assert "do not pay again" in page.text

    again = dearer.send(dearer.buy(), "/checkout")  # today's price is shown, and it is not sold once more
    assert again.headers["Location"].endswith(f"/orders/{world.order().ref}/success")
    assert len(world.orders()) == 1


def test_a_link_paid_in_the_moment_it_is_withdrawn_is_held(world: Any, dearer: Any) -> None:
    world.webhooks("drop")
    url = dearer.buy().headers["Location"]
    world.down(SESSIONS)  # Flexprice cannot be told
    world.work()
    assert world.order().state == "mismatched"

    dearer.pay(url)
    world.up()
    world.work(after=timedelta(minutes=2))

    assert world.order().state == "held"
    assert world.accesses() == []


@pytest.mark.thorough
def test_an_operator_may_release_a_held_order(world: Any, dearer: Any) -> None:
    dearer.pay(dearer.buy().headers["Location"])
    world.settle()

    assert world.decide(orders.release_for_fulfillment)
    assert not world.decide(orders.release_for_fulfillment)
    world.work()
    world.work()

    assert dearer.phase(world.order()) == "ready"
    assert "Released by operator:olga@example.com" in world.order().review_note
    assert world.emails() == ["welcome"]
    assert len(world.accesses()) == 1


@pytest.mark.thorough
def test_an_operator_may_send_the_money_back(world: Any, dearer: Any, phase_of: Any) -> None:
    dearer.pay(dearer.buy().headers["Location"])
    world.settle()

    assert world.decide(orders.confirm_refund)
    assert not world.decide(orders.release_for_fulfillment)
    world.work()

    assert dearer.phase(world.order()) == "refunded"
    assert world.emails() == ["refunded"]
    assert world.accesses() == []
    todays_price = dearer.buy()  # shown before anything is ordered
    dearer.pay(dearer.send(todays_price, "/checkout").headers["Location"])  # and the plan can be bought
    world.settle()
    assert world.order().state == "fulfilled"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plan_id": "plan_of_gold"}, "plan: ordered"),
        ({"billing_period": "ANNUAL"}, "billing period: ordered MONTHLY, charged ANNUAL"),
        ({"currency": "usd"}, "currency: ordered inr, charged usd"),
        ({"customer_id": "cust_somebody_else"}, "customer: ordered"),
    ],
)
def test_another_plan_period_currency_or_customer_is_held_too(world: Any, changes: Any, said: str) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.bill_differently(**changes)
    shopper.pay(url)
    world.settle()

    assert world.order().state == "held"
    assert said in world.order().review_note
    assert world.accesses() == []


@pytest.mark.thorough
def test_tax_on_top_of_the_shown_price_is_as_agreed(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.bill_differently(total="588.82", total_tax="89.82", amount_due="588.82")
    shopper.pay(url)
    world.settle()

    assert world.order().state == "fulfilled"
    assert "588.82" in shopper.order_page(world.order()).text


@pytest.mark.thorough
def test_terms_checked_in_time_cost_one_call_and_no_later_one(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.work()
    assert world.order().invoice_verified_at is not None

    world.down(INVOICES)
    shopper.pay(url)
    world.settle()

    assert world.order().state == "fulfilled"
