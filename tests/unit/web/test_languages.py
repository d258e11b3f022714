"""Money, dates and periods in the language of the page."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask

from storefront.money import format_money
from storefront.web import languages
from tests.samples import plan, price

WHEN = datetime(2026, 9, 1, 10, 5)  # noqa: DTZ001 - naive UTC, as in the tables


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("en-IN", "en_IN"),
        ("en-GB,en;q=0.5", "en_GB"),
        ("en", "en_IN"),
        ("", "en_IN"),
        ("en,he;q=0.5", "en_IN"),
        ("he,en;q=0.5", "en_IN"),
        ("de-DE,de;q=0.9,en-US;q=0.5", "en_US"),
        ("ar", "en_IN"),
        ("en;q=0,de", "en_IN"),
        ("en-ZZ", "en_US"),
        ("tlh,*;q=0.5", "en_IN"),
        ("en_US", "en_IN"),
        (";;;,,", "en_IN"),
        ("x" * 5000, "en_IN"),
    ],
)
def test_locale_is_one_that_there_are_texts_in(app: Flask, header: str, locale: str) -> None:
    """Kind: the choice of a language."""
    with app.test_request_context(headers={"Accept-Language": header}):
        assert str(languages.locale()) == locale


def test_page_names_its_language_and_direction(browser: Any) -> None:
    page = browser.get("/sign-in", headers={"Accept-Language": "he,en-GB;q=0.5"}).text
    assert '<html lang="en-GB" dir="ltr">' in page


@pytest.mark.parametrize(
    ("header", "amount", "currency", "written"),
    [
        ("en-IN", "123456.5", "inr", "₹1,23,456.50"),
        ("en-IN", "12345678", "INR", "₹1,23,45,678.00"),
        ("en-US", "123456.5", "inr", "₹123,456.50"),
        ("en-US", "1234.5", "usd", "$1,234.50"),
        ("en-GB", "1234.5", "gbp", "£1,234.50"),
        ("en-GB", "0", "gbp", "£0.00"),
        ("en-IN", "5000", "jpy", "JP¥5,000"),
        ("en-US", "5000", "jpy", "¥5,000"),
        ("de-DE", "123456.5", "inr", "₹1,23,456.50"),
        ("en", "123456.5", "inr", "₹1,23,456.50"),
        ("", "123456.5", "inr", "₹1,23,456.50"),
    ],
)
def test_money(app: Flask, header: str, amount: str, currency: str, written: str) -> None:
    with app.test_request_context(headers={"Accept-Language": header}):
        assert languages.money(Decimal(amount), currency) == written


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("499.50", "rsd", "RSD499.50"),  # the Unicode tables write these three without decimals
        ("499.50", "lbp", "LBP499.50"),
        ("0.99", "mmk", "MMK0.99"),
        ("499.50", "huf", "HUF499.50"),
        ("500", "jpy", "¥500"),
        ("1.250", "kwd", "KWD1.250"),
    ],
)
def test_the_decimals_written_are_those_charged(app: Flask, amount: str, currency: str, written: str) -> None:
    """Kind: money as the server rounds it, to hundredths, and not as the Unicode tables round it."""
    with app.test_request_context(headers={"Accept-Language": "en-US"}):
        for found in (
            languages.money(Decimal(amount), currency),
            format_money(Decimal(amount), currency, "en"),
        ):
            assert found.replace("\u00a0", "") == written
        if "." in written:
            assert languages.price(Decimal(amount), currency).replace("\u00a0", "") == written


def test_no_paisa_is_lost_in_a_large_amount(context: Flask) -> None:
    assert languages.money(Decimal("90071992547409.93"), "inr") == "₹9,00,71,99,25,47,409.93"


def test_outside_a_request_the_home_locale_is_used(context: Flask) -> None:
    assert str(languages.locale()) == "en_IN"


@pytest.mark.parametrize(
    ("header", "date", "date_time"),
    [
        ("en-IN", "1 Sept 2026", "1 Sept 2026, 15:35 IST"),
        ("en-US", "Sep 1, 2026", "Sep 1, 2026, 15:35 IST"),
        ("en,he;q=0.5", "1 Sept 2026", "1 Sept 2026, 15:35 IST"),
        ("he", "1 Sept 2026", "1 Sept 2026, 15:35 IST"),
    ],
)
def test_times_are_in_the_shops_zone(app: Flask, header: str, date: str, date_time: str) -> None:
    with app.test_request_context(headers={"Accept-Language": header}):
        assert languages.date(WHEN) == date
        assert languages.date_time_text(WHEN) == date_time


@pytest.mark.parametrize(
    ("hour", "minute", "shown"),
    [(19, 5, "2 Sept 2026"), (18, 29, "1 Sept 2026"), (18, 30, "2 Sept 2026"), (0, 0, "1 Sept 2026")],
)
def test_late_evening_is_the_next_day_in_india(context: Flask, hour: int, minute: int, shown: str) -> None:
    """Kind: dates carry their zone."""
    assert languages.date(WHEN.replace(hour=hour, minute=minute)) == shown


def test_browser_can_show_its_own_zone(context: Flask) -> None:
    assert str(languages.clock(WHEN)) == (
        '<time datetime="2026-09-01T10:05:00Z" data-time="clock">15:35 IST</time>'
    )


def test_zone_is_a_setting(make_app: Callable[..., Flask]) -> None:
    with make_app(SHOP_TIME_ZONE="Europe/Paris").app_context():
        assert languages.date_time_text(WHEN) == "1 Sept 2026, 12:05 CEST"


@pytest.mark.parametrize(
    ("amount", "currency", "header", "written"),
    [
        ("1499", "inr", "en-IN", "₹1,499"),
        ("149900.00", "inr", "en-IN", "₹1,49,900"),
        ("1499.50", "inr", "en-IN", "₹1,499.50"),
        ("29", "usd", "en-US", "$29"),
        ("1500", "jpy", "en-US", "¥1,500"),
    ],
)
def test_price_has_no_empty_decimals(
    app: Flask, amount: str, currency: str, header: str, written: str
) -> None:
    with app.test_request_context(headers={"Accept-Language": header}):
        assert languages.price(Decimal(amount), currency) == written


def test_unit_price_keeps_every_decimal(context: Flask) -> None:
    rates = [languages.unit_price(Decimal(amount), "usd") for amount in ("0.001", "0.05", "2")]
    assert rates == ["$0.001", "$0.05", "$2"]


@pytest.mark.parametrize(
    ("period", "forms"),
    [
        ("MONTHLY", ("month", "Monthly", "1 month")),
        ("ANNUAL", ("year", "Yearly", "1 year")),
        ("FORTNIGHTLY", ("fortnightly", "fortnightly", "fortnightly")),
    ],
)
def test_periods(context: Flask, period: str, forms: tuple[str, ...]) -> None:
    functions = (languages.period, languages.period_choice, languages.duration)
    assert tuple(function(period) for function in functions) == forms


def test_prices_follow_the_visitors_region(browser: Any, sell: Callable[..., None]) -> None:
    sell(plan(price("123456.5")))
    assert "₹1,23,456.50" in browser.get("/plans", headers={"Accept-Language": "en-IN"}).text
    assert "₹123,456.50" in browser.get("/plans", headers={"Accept-Language": "en-US"}).text
