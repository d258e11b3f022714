"""The second month as installed in the current app: its models and hooks, and its rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from flask import current_app
from sqlalchemy import select

from ..checkout import orders
from ..checkout.context import after_commit, checkout, load, session
from ..checkout.models import OrderMixin
from ..checkout.signals import order_needs_attention
from .models import InvoiceMixin, SubscriptionMixin
from .signals import Fact, subscription_news

DEFAULT_GRACE_DAYS = 3
WRITE_TIMEOUT_S = (5.0, 25.0)  # to connect and to read, for a call that changes something at Flexprice


@dataclass
class Hooks:
    """The functions of the host app, see the decorators of `Subscriptions`."""

    on_suspend: Callable[[Any], None] = lambda order: None
    on_resume: Callable[[Any], None] = lambda order: None
    on_plan_change: Callable[[Any, str, str], None] = lambda order, plan_id, plan_name: None


@dataclass
class Installation:
    """The second month in one app: `app.extensions["subscriptions"]`."""

    Subscription: Any
    Invoice: Any
    hooks: Hooks
    look_through_at_s: float = 0.0  # monotonic: when the worker reads all orders again
    usage: dict[str, tuple[float, Any]] = field(default_factory=dict)  # by customer, for a minute


def is_installed() -> bool:
    """Whether the current app has called `init_app`: the checkout may serve an app that has not."""
    return "subscriptions" in current_app.extensions


def subscriptions() -> Installation:
    return cast(Installation, current_app.extensions["subscriptions"])


def grace() -> timedelta:
    """How long an overdue invoice may stay unpaid: CHECKOUT_GRACE_DAYS, 3 by default."""
    return timedelta(days=float(current_app.config.get("CHECKOUT_GRACE_DAYS", DEFAULT_GRACE_DAYS)))


def tell(fact: Fact, subscription: SubscriptionMixin, invoice: InvoiceMixin | None = None) -> None:
    """Send the signal of a fact, inside the transaction."""
    order = order_of(subscription)
    subscription_news.send(checkout().app, fact=fact, subscription=subscription, invoice=invoice, order=order)


def note(row: Any, text: str) -> None:
    """Say something to the operator, once; who is alerted after the commit."""
    if orders.append_note(row, text):
        after_commit(order_needs_attention, order=None, note=f"{row.subscription_id}: {text}")


def get_subscription(row_id: int) -> SubscriptionMixin:
    return cast(SubscriptionMixin, load(subscriptions().Subscription, row_id))


def get_invoice(row_id: int) -> InvoiceMixin:
    return cast(InvoiceMixin, load(subscriptions().Invoice, row_id))


def find_subscription(**columns: str) -> SubscriptionMixin | None:
    found: SubscriptionMixin | None = session().scalar(
        select(subscriptions().Subscription).filter_by(**columns)
    )
    return found


def find_invoice(**columns: str) -> InvoiceMixin | None:
    found: InvoiceMixin | None = session().scalar(select(subscriptions().Invoice).filter_by(**columns))
    return found


def subscriptions_of(customer_key: str) -> list[SubscriptionMixin]:
    model = subscriptions().Subscription
    return list(session().scalars(select(model).filter_by(customer_key=customer_key).order_by(model.id)))


def invoices_of(subscription_id: str) -> list[InvoiceMixin]:
    """Oldest first."""
    model = subscriptions().Invoice
    oldest_first = (model.finalized_at, model.id)
    return list(
        session().scalars(select(model).filter_by(subscription_id=subscription_id).order_by(*oldest_first))
    )


def order_of(subscription: SubscriptionMixin) -> OrderMixin | None:
    return orders.find(ref=subscription.order_ref) if subscription.order_ref else None
