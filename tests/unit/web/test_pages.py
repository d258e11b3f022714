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
SUPPORT = {"feature": {"name": "Support"}}


def metered(name: str, limit: int | None, reset: str = "MONTHLY") -> dict[str, Any]:
    of = {"feature_type": "metered", "usage_limit": limit, "usage_reset_period": reset}
    return of | {"feature": {"name": name}}


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
    assert "₹4,990 /year" in page
    assert "₹415.83/month, billed yearly" in page
    assert "Save ₹998 (17%) a year" in page
    assert "Billed yearly by invoice. Nothing is charged automatically." in page


def test_monthly_price_saves_nothing(context: Flask) -> None:
    (shown,) = on_sale(plan(price("499"), price("4990", **YEAR)))
    assert pricing.saving(shown, shown.offer("inr", "MONTHLY")) is None
    assert pricing.per_month(shown.offer("inr", "MONTHLY")) is None


def test_dearer_year_is_no_saving(context: Flask) -> None:
    (shown,) = on_sale(plan(price("10"), price("200", **YEAR)))
    assert pricing.saving(shown, shown.offer("inr", "ANNUAL")) is None


def test_every_feature_is_compared(context: Flask) -> None:
    def with_features(*names: str) -> dict[str, Any]:
        return plan(
            price(),
            entitlements=[{"feature": {"name": name}, "feature_type": "static"} for name in names],
        )

    plans = on_sale(with_features("A", "B"), with_features("B"), with_features("C", "B"))
    rows = [(name, [feature.included for feature in row]) for name, row in pricing.comparison(plans)]
    assert rows == [("A", [True, False, False]), ("B", [True, True, True]), ("C", [False, False, True])]


def test_one_time_fee_and_usage_are_named(browser: Any, sell: Callable[..., None]) -> None:
    fee = price("500", billing_period="ONETIME")
    sell(plan(price(), fee, price("0.05", type="USAGE")))
    page = text(browser.get("/plans").text)
    assert "A one-time set-up fee of ₹500 is not part of the first payment and is billed separately." in page
    assert "Usage is billed afterwards, on top of this price." in page


def test_plan_without_a_fixed_fee_is_started(asha: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("0"), name="Free"), plan(price("0.05", type="USAGE"), id="u", name="Usage"))
    page = asha.get("/plans").text
    assert page.count('action="/billing/start"') == 2
    assert "Start free" in page
    assert "Start Usage" in page
    assert "/review" not in page


def test_plan_without_a_fee_starts_with_signing_up(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("0"), name="Free"))
    page = browser.get("/plans").text
    at = r"/sign-up\?next=/plans/plan_01\?currency%3Dinr%26billing_period%3DMONTHLY"
    assert re.search(rf'<a class="button[^"]*" href="{at}">Start free</a>', page), page


def test_other_offers_are_named_where_one_is_missing(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("499")), plan(price("90", currency="USD"), id="plan_02", name="Other"))
    page = text(browser.get("/plans?currency=inr").text)
    assert "Not available in INR, billed monthly. Available as:" in page


def test_unlisted_plan_is_shown_when_asked_for(browser: Any, sell: Callable[..., None]) -> None:
    yen = plan(price("900", currency="JPY"), id="y", name="Pacific", metadata={"listed": "false"})
    sell(plan(price()), yen)
    page = browser.get("/plans").text
    assert "Pacific" not in page
    assert "currency=jpy" not in page
    assert "Pacific" in browser.get("/plans?all").text


def test_choice_is_a_link_and_keeps_the_rest(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("499"), price("4990", **YEAR), price("9", currency="USD")))
    page = browser.get("/plans?currency=usd&all=1").text
    assert 'href="/plans?billing_period=ANNUAL&amp;currency=usd&amp;all=1"' in page
    assert re.search(r'aria-current="true">USD</a>', page)


def test_saving_is_computed_for_the_choice(context: Flask) -> None:
    same = [plan(price("100"), price("1000", **YEAR)), plan(price("50"), price("500", **YEAR))]
    assert pricing.highest_saving(on_sale(*same), "inr") == "Save 17%"
    other = plan(price("100"), price("600", **YEAR))
    assert pricing.highest_saving(on_sale(*same, other), "inr") == "Save up to 50%"
    assert pricing.highest_saving(on_sale(*same), "usd") == ""


@pytest.mark.parametrize(
    ("entitlement", "line", "value"),
    [
        (metered("Seats", 10, "NEVER"), "10 seats", "10"),
        (metered("API calls", 50000), "50,000 API calls / month", "50,000 / month"),
        (metered("Emails", None), "Unlimited emails", "Unlimited"),
        ({"feature_type": "static", "static_value": "Email"} | SUPPORT, "Support: Email", "Email"),
        ({"feature_type": "boolean", "is_enabled": True} | SUPPORT, "Support", ""),
    ],
)
def test_entitlement_reads_like_a_sentence(
    context: Flask, entitlement: dict[str, Any], line: str, value: str
) -> None:
    (shown,) = on_sale(plan(price(), entitlements=[entitlement]))
    (feature,) = pricing.features_of(shown)
    assert (pricing.feature_line(feature), pricing.feature_value(feature)) == (line, value)


def test_rates_of_a_usage_plan_are_named(context: Flask) -> None:
    """Kind: the prices in force now."""
    usage = {"type": "USAGE", "currency": "INR"}
    tiers = [{"up_to": 1000, "unit_amount": "0.2", "flat_amount": "10"}, {"unit_amount": "0.15"}]
    (shown,) = on_sale(
        plan(
            price("25", display_name="Storage", transform_quantity={"divide_by": 1000}, **usage),
            price("0", display_name="Messages", tiers=tiers, **usage),
            price("0.001", display_name="Emails", **usage),
            price("1", display_name="Old", end_date="2020-01-01T00:00:00Z", **usage),
            price("1", display_name="Later", start_date="2999-01-01T00:00:00Z", **usage),
        )
    )
    assert pricing.rates_of(shown, "inr") == [
        ("Storage", "₹25 per 1,000"),
        ("Messages", "₹0.20 each up to 1,000 plus ₹10, then ₹0.15 each"),
        ("Emails", "₹0.001 each"),
    ]
    assert pricing.rates_of(shown, "usd") == []


def test_plan_without_a_fee_is_shown_for_every_period(context: Flask) -> None:
    free, paid = on_sale(plan(price("0")), plan(price("499"), id="plan_02"))
    shown = pricing.shown_offer(free, "INR", "ANNUAL")
    assert shown is not None
    assert shown.billing_period == "MONTHLY"
    assert pricing.shown_offer(paid, "INR", "ANNUAL") is None


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
    assert "/review" not in page


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
    assert "1 Sept 2026, 15:30 IST" in page


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


def test_members_see_what_their_plan_includes(
    asha: Any, app: Flask, sell: Callable[..., None], add_order: Callable[..., str]
) -> None:
    from storefront.extensions import db
    from storefront.models import PlanAccess

    add_order(state=State.FULFILLED, paid_at=NOW, fulfilled_at=NOW)
    with app.app_context():
        db.session.add(PlanAccess(user_id=1, order_id=1, plan_id="plan_01", plan_name="Pro", granted_at=NOW))
        db.session.commit()
    sell(plan(price(), entitlements=[metered("Seats", 10, "NEVER")]))
    assert "10 seats" in asha.get("/members").text
