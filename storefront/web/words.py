"""Money, dates and periods as the visitor writes them."""

from datetime import datetime
from decimal import Decimal

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency
from flask import Flask, has_request_context, request

from storefront.extensions import settings

LOCALES = ("en-IN", "en-GB", "en-US")
PERIODS = {
    "MONTHLY": "month",
    "QUARTERLY": "quarter",
    "HALF_YEARLY": "half-year",
    "ANNUAL": "year",
    "WEEKLY": "week",
    "DAILY": "day",
}


def init_app(app: Flask) -> None:
    app.add_template_filter(money)
    app.add_template_filter(date)
    app.add_template_filter(date_time, "datetime")
    app.add_template_filter(clock)
    app.add_template_filter(period)
    app.context_processor(lambda: {"shop_name": settings().shop_name, "support_email": settings().mail_from})


def locale() -> str:
    best = request.accept_languages.best_match(LOCALES) if has_request_context() else None
    return (best or LOCALES[0]).replace("-", "_")


def money(amount: Decimal, currency: str) -> str:
    return format_currency(amount, currency.upper(), locale=locale())


def date(when: datetime) -> str:
    return format_date(when, "medium", locale=locale())


def date_time(when: datetime) -> str:
    return format_datetime(when, "d MMM y, HH:mm 'UTC'", locale=locale())


def clock(when: datetime) -> str:
    return format_time(when, "HH:mm 'UTC'", locale=locale())


def period(billing_period: str) -> str:
    return PERIODS.get(billing_period, billing_period.lower())
