"""The demo takes in subscriptions/: its two tables, and what a suspended plan means for PlanAccess.

Optional: without this file, the folder subscriptions/ and the line in `create_app` the shop still sells.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from babel import Locale
from babel.dates import format_date
from flask import Flask
from flask_babel import get_locale
from sqlalchemy import select

from storefront import access
from storefront.accounts.signals import billing_news
from storefront.checkout.context import shop_now
from storefront.checkout.offers import Offer, PlanOnSale
from storefront.extensions import checkout, db, settings
from storefront.models import Order, User
from storefront.money import format_money
from storefront.subscriptions import (
    Fact,
    InvoiceMixin,
    SubscriptionMixin,
    Subscriptions,
    subscription_news,
)
from storefront.subscriptions.starts import trial_days, trial_offered

subscriptions = Subscriptions(checkout)


class Subscription(SubscriptionMixin, db.Model):  # type: ignore[name-defined]
    pass


class Invoice(InvoiceMixin, db.Model):  # type: ignore[name-defined]
    pass


@subscriptions.on_suspend
def suspend(order: Order) -> None:
    """An invoice is overdue beyond the grace: the plan cannot be used until it is paid."""
    if (granted := access.granted_by(order)) is not None:
        granted.suspended_at = shop_now()


@subscriptions.on_resume
def resume(order: Order) -> None:
    """What was owed is paid."""
    if (granted := access.granted_by(order)) is not None:
        granted.suspended_at = None


@subscriptions.on_plan_change
def change_plan(order: Order, plan_id: str, plan_name: str) -> None:
    """A planned change has happened: the order's access is to another plan from now on."""
    access.move_to(order, plan_id, plan_name)


def tell_customer(
    _app: Flask, fact: Fact, subscription: Subscription, invoice: Invoice | None, order: Order | None
) -> None:
    """Pass a fact on to the emails, inside its transaction."""
    user = db.session.scalar(select(User).where(User.key == subscription.customer_key))
    if user is None or order is None:
        return
    moment = {
        Fact.RENEWAL_COMING: subscription.period_end,
        Fact.TRIAL_ENDING: subscription.trial_end,
        Fact.CANCEL_SCHEDULED: subscription.cancel_at,
    }.get(fact)
    locale = "en_IN" if user.language == "en" else user.language
    details = {"plan": subscription.plan_name, "date": day(moment, locale)}
    if invoice is not None:
        details |= {
            "number": invoice.number or "",
            "amount": format_money(invoice.total, invoice.currency, locale),
            "due": day(invoice.overdue_from, locale),
        }
    # A fact of an invoice happens once; one of a plan once in each version that was read.
    which = invoice.invoice_id if invoice else f"{subscription.subscription_id} {subscription.version}"
    billing_news.send(_app, user=user, fact=str(fact), about=f"{fact} {which}", details=details)


class Trial(NamedTuple):
    """What the page of a plan says about its trial."""

    days: int
    ends_on: str


def trial_of(plan: PlanOnSale, offer: Offer) -> Trial | None:
    """The trial that the plan begins with; None: it has none, or it is not for this customer."""
    ends = trial_offered(plan, offer)
    return Trial(trial_days(plan, offer), day(ends, get_locale() or "en_IN")) if ends else None


def day(moment: datetime | None, locale: Locale | str) -> str:
    """A date in the shop's time zone."""
    here = moment.replace(tzinfo=UTC).astimezone(settings().zone) if moment else None
    return format_date(here, "d MMM y", locale=locale) if here else ""


def init_app(app: Flask) -> None:
    """Register the pages below /billing."""
    subscriptions.init_app(app, db, Subscription, Invoice)
    subscription_news.connect(tell_customer, app)
    app.context_processor(lambda: {"trial_of": trial_of})
