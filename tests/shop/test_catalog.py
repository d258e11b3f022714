"""What is for sale and for how much: what the session will charge, and nothing that it will not."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from storefront.catalog import (
    NOT_A_FLAT_FEE,
    NOTHING_TO_CHARGE,
    WRONG_DECIMALS,
    Catalog,
    CatalogUnavailable,
    card,
    put_on_sale,
)
from storefront.flexprice import Client, Plan

SECOND = timedelta(seconds=1)


@pytest.fixture
def price(samples):
    return samples.price


@pytest.fixture
def offer(samples):
    """The offers of a plan with these prices; one of them by currency and period."""

    def make(*prices, key=("inr", "MONTHLY")):
        return put_on_sale(Plan.from_json(samples.plan(*prices))).offers.get(key)

    return make


def test_one_flat_monthly_fee(offer, price):
    found = offer(price("499"))
    assert (found.amount, found.currency, found.billing_period) == (Decimal(499), "inr", "MONTHLY")
    assert found.buyable


def test_fixed_prices_of_advance_and_arrear_are_added(offer, price):
    assert offer(price("499"), price("100.50", invoice_cadence="ARREAR")).amount == Decimal("599.50")


def test_a_minimum_quantity_multiplies(offer, price):
    assert offer(price("499", min_quantity="3"), price("1")).amount == Decimal(1498)


def test_other_currencies_and_periods_are_other_offers(offer, price):
    prices = (price("499"), price("9", currency="USD"), price("4990", billing_period="ANNUAL"))
    assert offer(*prices).amount == Decimal(499)
    assert offer(*prices, key=("usd", "MONTHLY")).amount == Decimal(9)
    assert offer(*prices, key=("inr", "ANNUAL")).amount == Decimal(4990)
    assert offer(*prices, key=("usd", "ANNUAL")) is None


def test_a_one_time_fee_is_not_in_the_first_payment_but_is_said(samples, price):
    plan = put_on_sale(Plan.from_json(samples.plan(price("499"), price("1000", billing_period="ONETIME"))))
    assert list(plan.offers) == [("inr", "MONTHLY")]
    assert plan.offers["inr", "MONTHLY"].amount == Decimal(499)
    assert plan.notes == ("A one-time fee belongs to this plan. It is not part of the first payment.",)


def test_a_plan_with_one_time_fees_only_offers_nothing(offer, price):
    assert offer(price("1000", billing_period="ONETIME")) is None
    assert offer(price("1000", billing_period="ONETIME"), key=("inr", "ONETIME")) is None


def test_usage_is_not_in_the_first_payment_but_is_said(samples, price):
    plan = put_on_sale(Plan.from_json(samples.plan(price("499"), price("2", type="USAGE"))))
    assert plan.offers["inr", "MONTHLY"].amount == Decimal(499)
    assert plan.notes == ("Usage is billed afterwards, on top of this price.",)


def test_a_trial_is_not_promised(offer, price):
    assert offer(price("499", trial_period_days=14)).amount == Decimal(499)


@pytest.mark.parametrize("amount", ["0", "0.00"])
def test_a_free_plan_cannot_go_to_checkout(offer, price, amount):
    assert offer(price(amount)).refusal == NOTHING_TO_CHARGE


def test_a_usage_only_plan_cannot_go_to_checkout(offer, price):
    found = offer(price("2", type="USAGE", billing_model="PACKAGE"))
    assert (found.amount, found.refusal) == (0, NOTHING_TO_CHARGE)


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "5000"), ("KWD", "5.125")])
def test_a_currency_without_two_decimals_is_shown_and_refused(offer, price, currency, amount):
    found = offer(price(amount, currency=currency), key=(currency.lower(), "MONTHLY"))
    assert (found.amount, found.refusal) == (Decimal(amount), WRONG_DECIMALS)


@pytest.mark.parametrize("model", ["PACKAGE", "TIERED"])
def test_a_price_that_depends_on_quantity_is_refused(offer, price, model):
    assert offer(price("499", billing_model=model)).refusal == NOT_A_FLAT_FEE


def test_large_and_small_amounts_stay_exact(offer, price):
    assert offer(price("90071992547409.93"), price("0.01")).amount == Decimal("90071992547409.94")


def test_a_year_is_compared_with_twelve_months(samples, price):
    prices = price("499"), price("4990", billing_period="ANNUAL")
    plan = put_on_sale(Plan.from_json(samples.plan(*prices)))
    year = card(plan, "inr", "ANNUAL", frozenset())
    assert year.saving == Decimal(998)
    assert year.offer.per_month == Decimal(4990) / 12
    month = card(plan, "inr", "MONTHLY", frozenset({"plan_01"}))
    assert (month.saving, month.offer.per_month, month.current) == (None, None, True)


def test_a_dearer_year_saves_nothing(samples, price):
    plan = put_on_sale(Plan.from_json(samples.plan(price("10"), price("200", billing_period="ANNUAL"))))
    assert card(plan, "inr", "ANNUAL", frozenset()).saving is None


# -- the memory -------------------------------------------------------------------------------------


@pytest.fixture
def catalog(env):
    return Catalog(Client(env["FLEXPRICE_API_URL"], env["FLEXPRICE_API_KEY"]))


def test_prices_are_remembered_for_a_minute(catalog, vendor, samples):
    vendor.sells(samples.plan(samples.price("499")))
    vendor.sells(samples.plan(samples.price("599")))
    first = catalog.fresh(samples.NOW)
    assert catalog.fresh(samples.NOW + 60 * SECOND) is first
    later = catalog.fresh(samples.NOW + 61 * SECOND)
    assert later.offer("plan_01", "INR", "MONTHLY").amount == Decimal(599)
    assert len(vendor.calls) == 2


def test_stale_prices_are_shown_but_nothing_is_sold_from_them(catalog, vendor, samples):
    vendor.sells(samples.plan(samples.price("499")))
    vendor.answers("POST", "/plans/search", {"error": "down"}, 503)
    shelf = catalog.fresh(samples.NOW)
    later = samples.NOW + timedelta(hours=3)
    assert catalog.shelf(later) == (shelf, True)
    with pytest.raises(CatalogUnavailable):
        catalog.fresh(later)


def test_without_anything_remembered_there_is_nothing_to_show(catalog, vendor, samples):
    vendor.answers("POST", "/plans/search", {"error": "down"}, 503)
    with pytest.raises(CatalogUnavailable):
        catalog.shelf(samples.NOW)


def test_prices_are_fresh_again_when_flexprice_is_back(catalog, vendor, samples):
    vendor.sells(samples.plan(samples.price("499")))
    vendor.answers("POST", "/plans/search", {"error": "down"}, 503)
    vendor.sells(samples.plan(samples.price("599")))
    catalog.shelf(samples.NOW)
    assert catalog.shelf(samples.NOW + 61 * SECOND)[1] is True
    shelf, stale = catalog.shelf(samples.NOW + 72 * SECOND)
    assert (shelf.offer("plan_01", "inr", "MONTHLY").amount, stale) == (Decimal(599), False)


# -- the pages --------------------------------------------------------------------------------------


def test_the_start_page_shows_plans_and_prices(browser, vendor, samples):
    vendor.sells(
        samples.plan(samples.price("499")), samples.plan(samples.price("999"), id="plan_02", name="Max")
    )
    page = browser.get("/")
    assert page.status_code == 200
    assert all(word in page.text for word in ("Pro", "Max", "₹499.00", "₹999.00"))


def test_stale_prices_are_said_to_be_stale(app, browser, vendor, samples):
    vendor.sells(samples.plan(samples.price("499")))
    vendor.answers("POST", "/plans/search", {"error": "down"}, 503)
    fresh = browser.get("/").text
    catalog = app.extensions["catalog"]
    catalog._shelf = replace(catalog._shelf, read_at=samples.NOW - timedelta(days=1))
    stale = browser.get("/")
    assert stale.status_code == 200
    assert "₹499.00" in stale.text
    assert len(stale.text) > len(fresh)


@pytest.mark.parametrize("path", ["/", "/plans/plan_01"])
def test_without_flexprice_the_page_says_so(browser, vendor, path):
    vendor.answers("POST", "/plans/search", {"error": "down"}, 503)
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_yen_are_shown_right_and_cannot_be_bought(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price("5000", currency="JPY")))
    page = browser.get("/plans/plan_01").text
    assert "JP¥5,000" in page
    assert WRONG_DECIMALS in page
    assert 'action="/checkout"' not in page


def test_an_unknown_plan_is_404(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price("499")))
    assert browser.get("/plans/plan_99").status_code == 404


def test_nonsense_in_the_address_shows_prices_all_the_same(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price("499")))
    assert "₹499.00" in browser.get("/?currency=%3Cscript%3E&period=NEVER").text


def test_what_flexprice_says_of_a_plan_is_text_and_never_markup(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price("499"), name="<script>x</script>", description="<img src=x>"))
    page = browser.get("/").text
    assert "<script>x" not in page
    assert "<img src=x" not in page
