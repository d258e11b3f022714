"""Money, dates and periods in the visitor's own writing."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from storefront.web import words

WHEN = datetime(2026, 9, 1, 10, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "amount", "currency", "written"),
    [
        ("en-IN", "123456.5", "inr", "₹1,23,456.50"),
        ("en-IN", "12345678", "INR", "₹1,23,45,678.00"),
        ("hi-IN", "123456.5", "inr", "₹1,23,456.50"),
        ("ja-JP", "123456.5", "inr", "₹123,456.50"),
        ("en-US", "123456.5", "inr", "₹123,456.50"),
        ("en-US", "1234.5", "usd", "$1,234.50"),
        ("en-GB", "1234.5", "gbp", "£1,234.50"),
        ("en-GB", "0", "gbp", "£0.00"),
        ("en-IN", "5000", "jpy", "JP¥5,000"),
        ("en-US", "5000", "jpy", "¥5,000"),
        ("de-DE", "123456.5", "inr", "123.456,50\xa0₹"),
        ("fr", "1234.5", "usd", "1\u202f234,50\xa0$US"),
        ("sw-KE,en;q=0.5", "1234.5", "usd", "US$\xa01,234.50"),
        ("tlh,*;q=0.5", "123456.5", "inr", "₹1,23,456.50"),
        ("en", "123456.5", "inr", "₹1,23,456.50"),
        ("", "123456.5", "inr", "₹1,23,456.50"),
    ],
)
def test_money(context, language, amount, currency, written):
    with context.test_request_context(headers={"Accept-Language": language}):
        assert words.money(Decimal(amount), currency) == written


def test_no_paisa_is_lost_in_a_large_amount(context):
    assert words.money(Decimal("90071992547409.93"), "inr") == "₹9,00,71,99,25,47,409.93"


def test_a_letter_is_written_without_a_visitor(context):
    assert str(words.locale()) == "en_IN"


def test_dates_and_clocks_name_their_zone(context):
    assert words.date(WHEN) == "1 Sept 2026"
    assert words.date_time(WHEN) == "1 Sept 2026, 10:05 UTC"
    assert words.clock(WHEN) == "10:05 UTC"


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en-US", "Sep 1, 2026, 10:05 UTC"),
        ("de-DE", "01.09.2026, 10:05 UTC"),
        ("hi-IN", "1 सित॰ 2026, 10:05 UTC"),
        ("ja", "2026/09/01 10:05 UTC"),
    ],
)
def test_date_and_clock_stand_together_as_the_visitor_writes_them(context, language, written):
    with context.test_request_context(headers={"Accept-Language": language}):
        assert words.date_time(WHEN) == written


def test_an_american_reads_dates_the_american_way(context):
    with context.test_request_context(headers={"Accept-Language": "en-US,en;q=0.8"}):
        assert words.date(WHEN) == "Sep 1, 2026"


@pytest.mark.parametrize(
    ("period", "word"),
    [("MONTHLY", "month"), ("ANNUAL", "year"), ("HALF_YEARLY", "half-year"), ("FORTNIGHTLY", "fortnightly")],
)
def test_periods(period, word):
    assert words.period(period) == word


def test_the_page_shows_prices_in_the_visitors_writing(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price("123456.5")))
    assert "₹1,23,456.50" in browser.get("/", headers={"Accept-Language": "en-IN"}).text
    assert "₹123,456.50" in browser.get("/", headers={"Accept-Language": "en-US"}).text
