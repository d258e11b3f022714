"""Start page, pricing, receipt and account page."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from storefront.checkout import State
from storefront.checkout.offers import put_on_sale
from storefront.flexprice import Plan
from storefront.web import pricing
from tests.samples import plan, price
from tests.shop_fixtures import NOW

YEAR = {"billing_period": "ANNUAL"}


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def on_sale(*plans: dict[str, Any]) -> list[Any]:
    from datetime import UTC

    return list(put_on_sale([Plan.from_json(data) for data in plans], NOW.replace(tzinfo=UTC)))


def test_start_page_needs_neither_flexprice_nor_a_user(browser: Any) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert 'href="/plans"' in page.text


def test_yearly_price_says_what_it_saves(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("499"), price("4990", **YEAR)))
    page = text(browser.get("/plans?billing_period=ANNUAL").text)
    assert "₹4,990.00 / year" in page
    assert "₹415.83/month, billed yearly" in page
    assert "Save ₹998.00 (16%) a year" in page
    assert "One-time payment for 1 year. No auto-renewal." in page


def test_monthly_price_saves_nothing(context: Flask) -> None:
    (shown,) = on_sale(plan(price("499"), price("4990", **YEAR)))
    assert pricing.saving(shown, shown.offer("inr", "MONTHLY")) is None
    assert pricing.per_month(shown.offer("inr", "MONTHLY")) is None


def test_dearer_year_is_no_saving(context: Flask) -> None:
    (shown,) = on_sale(plan(price("10"), price("200", **YEAR)))
    assert pricing.saving(shown, shown.offer("inr", "ANNUAL")) is None


def test_features_of_most_plans_are_compared_first(context: Flask) -> None:
    def with_features(*names: str) -> dict[str, Any]:
        return plan(
            price(),
            entitlements=[{"feature": {"name": name}, "feature_type": "static"} for name in names],
        )

    plans = on_sale(with_features("A", "B"), with_features("B"), with_features("C", "B"))
    assert pricing.compared_features(plans) == ["B", "A", "C"]
    assert [line.included for line in pricing.lines_of(plans[1], ["B", "A"])] == [True, False]


def test_one_time_fee_and_usage_are_named(browser: Any, sell: Callable[..., None]) -> None:
    fee = price("500", billing_period="ONETIME")
    sell(plan(price(), fee, price("0.05", type="USAGE")))
    page = text(browser.get("/plans").text)
    assert "A one-time fee of ₹500.00 is billed separately." in page
    assert "Usage is billed afterwards, on top of this price." in page


def test_plan_that_cannot_be_bought_says_why_and_whom_to_ask(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("0"), name="Free"), plan(price("0.05", type="USAGE"), id="u", name="Usage"))
    page = browser.get("/plans").text
    assert "There is nothing to pay for this plan. Contact us to start." in page
    assert "This plan is billed by usage. Contact us to subscribe." in page
    assert page.count("mailto:shop@shop.example") == 3
    assert "/checkout" not in page


def test_other_offers_are_named_where_one_is_missing(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("499")), plan(price("90", currency="USD"), id="plan_02", name="Other"))
    page = text(browser.get("/plans?currency=inr").text)
    assert "Not available in INR, billed monthly. Available as:" in page


def test_hostile_names_are_text(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price(), name='<img src=x onerror="alert(1)">', description="{{ 7 * 7 }}"))
    page = browser.get("/plans").text
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page


def test_owned_plan_is_not_sold_again(
    asha: Any, sell: Callable[..., None], add_order: Callable[..., str]
) -> None:
    add_order(state=State.FULFILLED, paid_at=NOW, fulfilled_at=NOW)
    sell(plan(price()))
    page = asha.get("/plans").text
    assert "Your current plan" in page
    assert 'action="/checkout"' not in page


# -- receipt and account ------------------------------------------------------------------------------


def test_receipt_names_what_was_paid(asha: Any, add_order: Callable[..., str]) -> None:
    ref = add_order(
        state=State.FULFILLED,
        paid_at=NOW,
        fulfilled_at=NOW,
        invoice_number="INV-1",
        invoice_total_text="588.82",
        subscription_id="subs_1",
    )
    page = text(asha.get(f"/orders/{ref}/receipt").text)
    for part in ("INV-1", "Asha Rao, asha@example.com", "Pro, 1 month", "₹499.00", "₹89.82", "₹588.82"):
        assert part in page
    assert "1 Sept 2026, 10:00 UTC" in page


def test_there_is_no_receipt_before_the_order_is_fulfilled(asha: Any, add_order: Callable[..., str]) -> None:
    ref = add_order(state=State.PAID, paid_at=NOW)
    response = asha.get(f"/orders/{ref}/receipt")
    assert (response.status_code, response.location) == (302, f"/orders/{ref}/success")


def test_receipt_of_another_user_is_not_found(
    asha: Any, add_user: Callable[..., int], add_order: Callable[..., str]
) -> None:
    ref = add_order(add_user("ben@example.com"), state=State.FULFILLED, paid_at=NOW, fulfilled_at=NOW)
    assert asha.get(f"/orders/{ref}/receipt").status_code == 404


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({"state": State.AWAITING_PAYMENT}, "Open"),
        ({"state": State.AWAITING_PAYMENT, "returned_paid_at": NOW}, "Confirming"),
        ({"state": State.EXPIRED}, "Expired"),
        ({"state": State.EXPIRED, "returned_paid_at": NOW}, "Being checked"),
        ({"state": State.FULFILLED, "fulfilled_at": NOW}, "Completed"),
        ({"state": State.FULFILLED, "fulfilled_at": NOW, "revoked_at": NOW}, "Ended"),
        ({"state": State.FULFILLED, "fulfilled_at": NOW, "refunded_at": NOW}, "Refund reported"),
        ({"state": State.HELD}, "In review"),
        ({"state": State.STUCK}, "In review"),
    ],
)
def test_account_names_the_status(
    asha: Any, add_order: Callable[..., str], columns: dict[str, Any], status: str
) -> None:
    add_order(**columns)
    page = asha.get("/account").text
    assert re.search(rf'data-label="Status"><span class="tag[^"]*">{status}</span>', page)


def test_account_does_not_ask_for_a_second_payment(asha: Any, add_order: Callable[..., str]) -> None:
    link = {"payment_url": "https://rzp.io/i/x", "expires_at": NOW + timedelta(minutes=9)}
    add_order(state=State.AWAITING_PAYMENT, returned_paid_at=NOW, **link)
    page = asha.get("/account").text
    assert "Please do not pay again." in page
    assert "Continue payment" not in page
