"""What is for sale: the prices in force now, added up as Flexprice adds them up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from storefront.checkout import offers
from storefront.checkout.offers import Catalog, Refusal, plan_on_sale, put_on_sale
from storefront.flexprice import FlexpriceError, Plan, ServerError

NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def price(amount: str = "499", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"price_{amount}", "amount": amount, "currency": "inr", "type": "FIXED",
        "billing_model": "FLAT_FEE", "billing_cadence": "RECURRING", "billing_period": "MONTHLY",
        "billing_period_count": 1, "invoice_cadence": "ADVANCE", "status": "published",
    } | changes  # fmt: skip


def plan(*prices: dict[str, Any], plan_id: str = "plan_01") -> Plan:
    return Plan.from_json({"id": plan_id, "name": "Pro", "status": "published", "prices": list(prices)})


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def offer(*prices: dict[str, Any], currency: str = "inr", period: str = "MONTHLY") -> Any:
    return plan_on_sale(plan(*prices), NOW).offer(currency, period)


def test_an_offer_names_what_is_charged() -> None:
    found = offer(price("499"))
    assert (found.amount, found.currency, found.billing_period, found.refusal) == (
        Decimal("499.00"), "inr", "MONTHLY", None,
    )  # fmt: skip


@pytest.mark.parametrize("days", [0, 45, 89, 90, 400])
def test_a_planned_rise_counts_from_its_day(days: int) -> None:
    """Kind: the prices in force now."""
    old = price("499", end_date=stamp(NOW + 90 * DAY))
    new = price("599", start_date=stamp(NOW + 90 * DAY))
    sold = plan_on_sale(plan(old, new), NOW + days * DAY).offer("inr", "MONTHLY")
    assert sold is not None
    assert sold.amount == Decimal(499 if days < 90 else 599)


def test_an_ended_price_is_not_counted() -> None:
    assert offer(price("399", end_date=stamp(NOW)), price("499")).amount == Decimal(499)


def test_a_price_that_begins_now_is_in_force() -> None:
    assert offer(price("499", start_date=stamp(NOW))).amount == Decimal(499)


@pytest.mark.parametrize("wait", [90 * DAY, DAY, DAY / 86_400])
def test_a_plan_whose_price_begins_later_is_not_for_sale(wait: timedelta) -> None:
    """Kind: the prices in force now."""
    assert offer(price("599", start_date=stamp(NOW + wait))) is None


@pytest.mark.parametrize("days", [1, 10, 31])
def test_a_price_that_begins_within_the_period_stops_the_sale(days: int) -> None:
    """Flexprice charges it at once, on top.

    Kind: the prices in force now.
    """
    assert (
        offer(price("499"), price("100", start_date=stamp(NOW + days * DAY))).refusal == Refusal.PRICE_CHANGE
    )


@pytest.mark.parametrize(
    ("amount", "quantity", "charged"),
    [("0.333", "5", "1.67"), ("12.345", None, "12.35"), ("0.005", None, "0.01"), ("499", "3", "1497.00")],
)
def test_each_line_is_rounded_half_up(amount: str, quantity: str | None, charged: str) -> None:
    """Kind: money as the server rounds it."""
    assert offer(price(amount, min_quantity=quantity)).amount == Decimal(charged)


def test_lines_are_rounded_before_they_are_added() -> None:
    assert offer(price("0.335"), price("0.335")).amount == Decimal("0.68")


@pytest.mark.parametrize("cadence", ["ADVANCE", "ARREAR"])
def test_both_invoice_cadences_are_charged_at_once(cadence: str) -> None:
    assert offer(price("499", invoice_cadence=cadence)).amount == Decimal(499)


@pytest.mark.parametrize("amount", ["0", "0.004", "0.0000000001", "0.00499"])
def test_nothing_to_charge_is_not_sold(amount: str) -> None:
    """Kind: money as the server rounds it."""
    assert offer(price(amount)).refusal == Refusal.FREE


def test_usage_alone_is_not_sold() -> None:
    sold = plan_on_sale(plan(price("2", type="USAGE")), NOW)
    assert sold.has_usage
    assert sold.offer("inr", "MONTHLY").refusal == Refusal.FREE  # type: ignore[union-attr]


@pytest.mark.parametrize("model", ["TIERED", "PACKAGE"])
def test_per_unit_prices_are_not_sold(model: str) -> None:
    assert offer(price("499", billing_model=model)).refusal == Refusal.PER_UNIT


@pytest.mark.parametrize("currency", ["jpy", "krw", "vnd", "isk", "ugx", "kwd", "bhd", "tnd", "clf"])
def test_currencies_without_hundredths_are_not_sold(currency: str) -> None:
    assert offer(price("499", currency=currency), currency=currency).refusal == Refusal.CURRENCY


@pytest.mark.parametrize("currency", ["inr", "usd", "eur", "huf", "twd", "afn", "irr", "lak"])
def test_currencies_with_hundredths_are_sold(currency: str) -> None:
    """Some of them are shown without decimals by the Unicode locale data, and are charged with two."""
    assert offer(price("499", currency=currency), currency=currency).refusal is None


def test_a_price_for_two_months_is_not_sold_as_one() -> None:
    assert offer(price("499", billing_period_count=2)).refusal == Refusal.PERIOD


def test_unknown_billing_period_is_not_sold() -> None:
    assert offer(price("499", billing_period="LUNAR"), period="LUNAR").refusal == Refusal.PERIOD


def test_currency_that_is_no_code_is_not_sold() -> None:
    assert offer(price("499", currency="rupees"), currency="rupees").refusal == Refusal.CURRENCY


def test_one_time_fees_are_named_and_not_charged() -> None:
    fee = price("999", billing_cadence="ONETIME", billing_period="ONETIME")
    sold = plan_on_sale(plan(price("499"), fee), NOW)
    assert sold.offer("inr", "MONTHLY").amount == Decimal(499)  # type: ignore[union-attr]
    assert [found.amount for found in sold.one_time_fees] == [Decimal(999)]


def test_a_plan_that_cannot_be_computed_hides_no_other() -> None:
    huge = [replace(read, amount=Decimal("9" * 40)) for read in plan(price()).prices]
    odd = replace(plan(plan_id="plan_odd"), prices=tuple(huge))
    assert [sold.id for sold in put_on_sale([odd, plan(price("499"))], NOW)] == ["plan_01"]


class Flexprice:
    """Answers with plans, or fails."""

    def __init__(self) -> None:
        self.reads, self.error = 0, None  # type: ignore[var-annotated]

    def list_plans(self) -> list[Plan]:
        self.reads += 1
        if self.error:
            raise self.error
        return [plan(price("499"))]


def test_prices_are_cached_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    flexprice = Flexprice()
    catalog = Catalog(flexprice.list_plans)
    catalog.current(), catalog.for_sale()
    assert flexprice.reads == 1
    monkeypatch.setattr(offers, "CACHE_TTL_S", 0)
    catalog.current()
    assert flexprice.reads == 2


def test_dates_of_prices_are_of_the_moved_clock() -> None:
    begins = (datetime.now(UTC) + timedelta(days=90)).isoformat()
    listed = [plan(price("499", start_date=begins))]
    assert not Catalog(lambda: listed).current().plans[0].offers
    assert Catalog(lambda: listed, lambda: timedelta(days=91)).current().plans[0].offers


def test_old_prices_are_shown_and_not_sold(monkeypatch: pytest.MonkeyPatch) -> None:
    flexprice = Flexprice()
    catalog = Catalog(flexprice.list_plans)
    catalog.current()
    monkeypatch.setattr(offers, "CACHE_TTL_S", 0)
    flexprice.error = ServerError("down", status=503)
    assert catalog.current().stale
    with pytest.raises(FlexpriceError):
        catalog.for_sale()


def test_pages_do_not_wait_twice_for_a_broken_flexprice(monkeypatch: pytest.MonkeyPatch) -> None:
    flexprice = Flexprice()
    catalog = Catalog(flexprice.list_plans)
    catalog.current()
    monkeypatch.setattr(offers, "CACHE_TTL_S", 0)
    flexprice.error = ServerError("down", status=503)
    catalog.current(), catalog.current(), catalog.current()
    assert flexprice.reads == 2


def test_without_any_prices_the_error_is_told() -> None:
    flexprice = Flexprice()
    flexprice.error = ServerError("down", status=503)
    with pytest.raises(FlexpriceError):
        Catalog(flexprice.list_plans).current()


def test_prices_older_than_a_mismatch_are_read_again() -> None:
    flexprice = Flexprice()
    catalog = Catalog(flexprice.list_plans)
    catalog.for_sale()
    catalog.for_sale(newer_than=datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=1))
    assert flexprice.reads == 2
