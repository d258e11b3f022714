"""An email in words: subject, text and HTML from templates/email/<kind>/, at the time it is sent or read."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from babel.dates import format_date
from flask import current_app
from flask_babel import force_locale, get_locale
from flask_babel import gettext as _
from flask_babel import lazy_gettext as lazy

from storefront.accounts import service
from storefront.emails import billing
from storefront.emails.models import Email
from storefront.extensions import settings
from storefront.models import Order, User
from storefront.money import format_money

LOCALE = "en_IN"
PERIODS = {
    "MONTHLY": lazy("1 month"),
    "QUARTERLY": lazy("3 months"),
    "HALF_YEARLY": lazy("6 months"),
    "ANNUAL": lazy("1 year"),
    "WEEKLY": lazy("1 week"),
    "DAILY": lazy("1 day"),
}


class Rendered(NamedTuple):
    subject: str
    text: str
    html: str


def render(email: Email) -> Rendered:
    """Render the templates of its kind; raises whatever they raise."""
    base, order = settings().storefront_url, email.order
    reset, change = email.password_reset, email.email_change
    with force_locale(locale_of(email.user)):
        context: dict[str, object] = {
            "language": str(get_locale() or LOCALE).replace("_", "-"),
            "shop_name": settings().shop_name,
            # A name is a stranger's words until the owner of the address has used a link sent there.
            "name": email.user.name if email.user.email_confirmed_at and not email.recipient else "",
            "order": order,
            "facts": facts_of(order) if order else [],
            "billing_url": f"{base}/billing",
            **billing_words(email),
            "account_url": f"{base}/account",
            "members_url": f"{base}/members",
            "plan_url": f"{base}/plans/{order.plan_id}" if order else base,
            "receipt_url": f"{base}/orders/{order.ref}/receipt" if order else "",
            "reset_url": f"{base}/reset-password/{service.token_of(reset)}" if reset else "",
            "confirm_url": f"{base}/account/email/{service.token_of(change)}" if change else "",
        }
        parts = [_text(email.kind, name, context) for name in ("subject.txt", "body.txt", "body.html")]
    return Rendered(" ".join(parts[0].split()), parts[1], parts[2])


def locale_of(user: User) -> str:
    """An email is written in the language of the account."""
    return LOCALE if user.language == "en" else user.language


def billing_words(email: Email) -> dict[str, object]:
    """Subject, sentences and facts of an email about a plan or an invoice."""
    if not email.details:
        return {}
    details = json.loads(email.details)
    subject, text = billing.TEXTS[details["fact"]]
    facts = [(label, details[key]) for key, label in billing.LABELS.items() if details.get(key)]
    return {"subject": subject % details, "words": text % details, "billing_facts": facts}


def subject_of(email: Email) -> str:
    """For lists: its kind where the templates cannot be rendered."""
    try:
        return render(email).subject
    except Exception:
        current_app.logger.exception("Email %s cannot be rendered", email.id)
        return email.kind


def _text(kind: str, name: str, context: dict[str, object]) -> str:
    # Without the context processors of pages: there is no request.
    return current_app.jinja_env.get_template(f"email/{kind}/{name}").render(context)


def facts_of(order: Order) -> list[tuple[str, str]]:
    """What is known of the order, as rows of label and value."""
    period = PERIODS.get(order.billing_period, order.billing_period.lower())
    facts = [(_("Order"), order.short_ref), (_("Plan"), f"{order.plan_name}, {period}")]
    if order.invoice_total is not None:
        facts.append((_("Total paid"), _money(order, order.invoice_total)))
    elif order.amount:
        price = _("%(amount)s plus tax where it applies", amount=_money(order, order.amount))
        facts.append((_("Price"), price))
    if order.paid_at and order.amount:
        facts.append((_("Date"), date_with_zone(order.paid_at)))
    if order.invoice_number:
        facts.append((_("Invoice"), order.invoice_number))
    return facts


def _money(order: Order, amount: Decimal) -> str:
    return format_money(amount, order.currency, get_locale() or LOCALE)


def date_with_zone(when: datetime) -> str:
    """In the shop's time zone. The reader may be in any other, so the zone is always written."""
    here = when.replace(tzinfo=UTC).astimezone(settings().zone)
    return f"{format_date(here, 'd MMM y', locale=get_locale())}, {here:%H:%M %Z}"
