"""The language of a page, and how it writes money, dates and periods.

Texts are marked `_("…")` or `{% trans %}`; CONTRIBUTING.md says how a language is added. Numbers and
dates are written in the language of the texts: an English page has no Hebrew month names.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_timedelta, get_datetime_format
from babel.numbers import format_currency, format_decimal
from flask import Blueprint, Flask, Response, current_app, has_request_context, redirect, request, session
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import lazy_gettext as lazy
from flask_login import current_user
from markupsafe import Markup
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from storefront.accounts import service
from storefront.accounts.redirects import page_before
from storefront.checkout.offers import CENT
from storefront.extensions import babel, settings
from storefront.money import format_money

bp = Blueprint("languages", __name__)
TRANSLATIONS = Path(__file__).parents[2] / "translations"
HOME_LOCALE = "en_IN"  # outside a request, and for visitors whose language is not known
MAX_HEADER_CHARS = 200
FOR_STAFF = ("operator", "qa")  # blueprints

PERIODS = {  # singular, adverb on a choice, a duration
    "MONTHLY": (lazy("month"), lazy("Monthly"), lazy("1 month")),
    "QUARTERLY": (lazy("quarter"), lazy("Quarterly"), lazy("3 months")),
    "HALF_YEARLY": (lazy("half-year"), lazy("Half-yearly"), lazy("6 months")),
    "ANNUAL": (lazy("year"), lazy("Yearly"), lazy("1 year")),
    "WEEKLY": (lazy("week"), lazy("Weekly"), lazy("1 week")),
    "DAILY": (lazy("day"), lazy("Daily"), lazy("1 day")),
}


def init_app(app: Flask) -> None:
    app.config.setdefault("BABEL_TRANSLATION_DIRECTORIES", str(TRANSLATIONS))
    babel.init_app(app, default_locale=HOME_LOCALE, locale_selector=choose_locale)
    for function in (money, price, number, date, clock, away, period, period_choice, duration):
        app.add_template_filter(function)
    app.add_template_filter(date_time, "datetime")
    app.context_processor(
        lambda: {"language": language_tag(), "direction": locale().text_direction, "languages": offered()}
    )
    app.register_blueprint(bp)
    app.after_request(vary)


# -- which language ---------------------------------------------------------------------------------


def choose_locale() -> str:
    """The language chosen in this browser, else the visitor's first one that there are texts in.

    With the visitor's region: `en-GB` gives en_GB. A language without a region is the shop's own: `en` gives
    en_IN. Pages for staff are in English.
    """
    if not has_request_context():
        return HOME_LOCALE
    known = {"en"} if request.blueprint in FOR_STAFF else languages()
    chosen = session.get("language")
    if chosen in known:
        known = {chosen}
    for tag in accepted_tags():
        language = tag.partition("-")[0].lower()
        if language in known:
            return known_locale(tag) if "-" in tag else home_of(language)
    return home_of(chosen) if chosen in known else HOME_LOCALE


def accepted_tags() -> list[str]:
    """Language tags of the Accept-Language header, the preferred first; those with q=0 are left out."""
    header = request.headers.get("Accept-Language", "")[:MAX_HEADER_CHARS]
    return [tag for tag, quality in parse_accept_header(header, LanguageAccept) if quality > 0]


def languages() -> set[str]:
    """The languages there are texts in; English needs no file."""
    folder = Path(current_app.config["BABEL_TRANSLATION_DIRECTORIES"])
    return {"en", *(file.parent.parent.name for file in folder.glob("*/LC_MESSAGES/messages.mo"))}


def offered() -> list[tuple[str, str]]:
    """The languages that can be chosen, each with its own name; none where there is English only."""
    known = [] if request.blueprint in FOR_STAFF else sorted(languages())
    return [(code, own_name(code)) for code in known] if len(known) > 1 else []


def own_name(language: str) -> str:
    """As in "हिन्दी"."""
    return (Locale.parse(language).get_display_name(language) or language).capitalize()


@bp.post("/language")
def choose() -> ResponseReturnValue:
    """A button in the footer: keep the language in this browser and, for the emails, in the account."""
    language = request.form.get("language", "")
    if language in languages():
        session["language"] = language
        if current_user.is_authenticated:
            service.keep_language(current_user, language)
    return redirect(page_before(), 303)


def vary(response: Response) -> Response:
    """Tell caches that a page depends on the language that the browser asks for; Flask adds the cookie."""
    if response.mimetype == "text/html":
        response.vary.add("Accept-Language")
    return response


def known_locale(tag: str) -> str:
    """The locale of a tag, as Babel names it; without its region when Babel does not know that."""
    for spelling in (tag, tag.partition("-")[0]):
        try:
            return str(Locale.parse(spelling, sep="-"))
        except (ValueError, UnknownLocaleError):
            continue
    return HOME_LOCALE


def home_of(language: str) -> str:
    return HOME_LOCALE if HOME_LOCALE.startswith(f"{language}_") else language


def locale() -> Locale:
    return get_locale() or Locale.parse(HOME_LOCALE)


def language_tag() -> str:
    """For the `lang` attribute of the page."""
    return str(locale()).replace("_", "-")


# -- money, numbers, times (naive UTC, as in the tables) ----------------------------------------------


def money(amount: Decimal, currency: str) -> str:
    """An amount in major units with its currency."""
    return format_money(amount, currency, locale())


def price(amount: Decimal, currency: str) -> str:
    """As `money`, without decimals where there are none: "₹1,499", but "₹1,499.50"."""
    if amount != amount.to_integral_value():
        return money(amount, currency)
    pattern = re.sub(r"[.]0+", "", locale().currency_formats["standard"].pattern)
    return format_currency(amount, currency.upper(), pattern, locale=locale(), currency_digits=False)


def unit_price(amount: Decimal, currency: str) -> str:
    """As `price`, with every decimal that a rate has: "$0.001"."""
    if amount == amount.quantize(CENT):
        return price(amount, currency)
    return format_currency(amount, currency.upper(), locale=locale(), decimal_quantization=False)


def number(amount: Decimal | int) -> str:
    return format_decimal(amount, locale=locale())


def date(when: datetime) -> str:
    """The day in the shop's time zone."""
    return format_date(_here(when), "medium", locale=locale())


def clock(when: datetime) -> Markup:
    """The time of day with its zone, in the shop's; static/times.js shows the reader's own."""
    return _time_element(when, "clock", _clock(when))


def date_time(when: datetime) -> Markup:
    """As `clock`, with the day."""
    return _time_element(when, "datetime", date_time_text(when))


def date_time_text(when: datetime) -> str:
    """The day and the time with its zone, for texts that are not HTML."""
    together = str(get_datetime_format("medium", locale()))  # such as "{1}, {0}": the date, then the time
    return together.replace("'", "").format(_clock(when), date(when))


def _clock(when: datetime) -> str:
    return f"{_here(when):%H:%M %Z}"


def _here(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC).astimezone(settings().zone)


def _time_element(when: datetime, kind: str, text: str) -> Markup:
    stamp = f"{when.isoformat(timespec='seconds')}Z"
    return Markup('<time datetime="{}" data-time="{}">{}</time>').format(stamp, kind, text)


def away(when: datetime, now: datetime) -> str:
    """How long until then: a reader in any time zone can use it."""
    return format_timedelta(when - now, granularity="minute", add_direction=True, locale=locale())


# -- billing periods --------------------------------------------------------------------------------


def period(billing_period: str) -> str:
    """As in "₹499 / month"."""
    return _period(billing_period, 0)


def period_choice(billing_period: str) -> str:
    """As in "Billing: Monthly"."""
    return _period(billing_period, 1)


def duration(billing_period: str) -> str:
    """As in "Pro, 1 month"."""
    return _period(billing_period, 2)


def _period(billing_period: str, form: int) -> str:
    known = PERIODS.get(billing_period)
    return str(known[form]) if known else billing_period.lower().replace("_", " ")
