"""The language of the pages: texts by gettext; money, dates and periods as the visitor writes them.

Texts are marked `_("…")` or `{% trans %}`, and `make texts` gathers them into translations/shop.pot. A
language is added by its translations/<language>/LC_MESSAGES/shop.mo and nothing else. Babel writes numbers
and dates in far more locales than there are texts, so the two are chosen each by itself.
"""

from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_time, format_timedelta, get_datetime_format
from babel.numbers import format_currency, format_decimal
from babel.support import LazyProxy, NullTranslations, Translations
from flask import Flask, has_request_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from storefront.extensions import settings

TRANSLATIONS = Path(__file__).parents[2] / "translations"
HOME = Locale("en", "IN")  # for letters, and for visitors who do not say
ENGLISH = "en"


def init_app(app: Flask) -> None:
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    for filter in (money, number, date, clock, away, period, each):
        app.add_template_filter(filter)
    app.add_template_filter(date_time, "datetime")
    app.context_processor(
        lambda: {
            "shop_name": settings().shop_name,
            "support_email": settings().mail_from,
            "language": language(),
        }
    )


# -- texts ------------------------------------------------------------------------------------------


@cache
def languages() -> tuple[str, ...]:
    """The languages there are texts in."""
    return (ENGLISH, *sorted(path.parent.parent.name for path in TRANSLATIONS.glob("*/LC_MESSAGES/shop.mo")))


def language() -> str:
    return _spoken(accepted())


def accepted() -> str:
    """What the visitor's browser says of languages; a longer list is cut."""
    return request.headers.get("Accept-Language", "")[:200] if has_request_context() else ""


@lru_cache(1024)
def _spoken(accepted: str) -> str:
    """The first of the visitor's languages that there are texts in."""
    for tag, _quality in parse_accept_header(accepted, LanguageAccept):
        for known in (tag.replace("-", "_"), tag.partition("-")[0].lower()):
            if known in languages():
                return known
    return ENGLISH


@cache
def texts(language: str) -> NullTranslations:
    return Translations.load(TRANSLATIONS, [language], domain="shop")


def gettext(text: str, **values: Any) -> str:
    said = texts(language()).ugettext(text)
    return said % values if values else said


def ngettext(one: str, many: str, number: int) -> str:
    return str(texts(language()).ungettext(one, many, number))


_ = gettext


def lazy(text: str) -> Any:
    """For texts that are written down once and said to many: form labels, tables."""
    return LazyProxy(gettext, text, enable_cache=False)


# -- numbers, money, time ---------------------------------------------------------------------------


def locale() -> Locale:
    return _written(accepted())


@lru_cache(1024)
def _written(accepted: str) -> Locale:
    """The first of the visitor's languages that Babel can write."""
    for tag, _quality in parse_accept_header(accepted, LanguageAccept):
        if tag.lower() != ENGLISH and (known := _known(tag)):
            return known
    return HOME


def _known(tag: str) -> Locale | None:
    try:
        return Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        return None


def money(amount: Decimal, currency: str) -> str:
    return _money(amount, currency.upper(), locale())


@lru_cache(1024)
def _money(amount: Decimal, currency: str, locale: Locale) -> str:
    return format_currency(amount, currency, locale=locale)


def number(amount: Decimal | int) -> str:
    return format_decimal(amount, locale=locale())


def date(when: datetime) -> str:
    return format_date(when, "medium", locale=locale())


def date_time(when: datetime) -> str:
    together = get_datetime_format("medium", locale())  # such as "{1}, {0}": the date, then the time
    return str(together).replace("'", "").format(clock(when), date(when))


def clock(when: datetime) -> str:
    return format_time(when, "HH:mm 'UTC'", locale=locale())


def away(when: datetime, now: datetime) -> str:
    """How long until then: what a reader in any time zone can use."""
    return format_timedelta(when - now, granularity="minute", add_direction=True, locale=language())


PERIODS = {
    "MONTHLY": (lazy("month"), lazy("a month")),
    "QUARTERLY": (lazy("quarter"), lazy("a quarter")),
    "HALF_YEARLY": (lazy("half-year"), lazy("a half-year")),
    "ANNUAL": (lazy("year"), lazy("a year")),
    "WEEKLY": (lazy("week"), lazy("a week")),
    "DAILY": (lazy("day"), lazy("a day")),
}


def period(billing_period: str) -> str:
    return str(PERIODS.get(billing_period, (billing_period.lower(),))[0])


def each(reset_period: str) -> str:
    """How often an allowance begins anew: "a month"; nothing where it never does."""
    return str(PERIODS[reset_period][1]) if reset_period in PERIODS else ""
