"""The worker's share: subscriptions and invoices that are due, one at a time, claimed by a time."""

import time
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select

from ..checkout.context import backoff, commit, db_now, session, shop_now, update_where
from ..checkout.models import WebhookEventMixin
from ..checkout.orders import change
from ..checkout.worker import run_due
from . import starts
from .changes import end_replaced
from .context import (
    find_invoice,
    find_subscription,
    get_invoice,
    get_subscription,
    invoices_of,
    is_installed,
    note,
    subscriptions,
)
from .payments import check_invoice, next_gap
from .states import Access, Link
from .sync import add_row, adopt_orders, sync

FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=2), timedelta(hours=1)
ATTEMPTS_BEFORE_A_PERSON = 10
LOOK_THROUGH_EVERY_S = 60.0


def run_once(limit: int = 100) -> int:
    """Do what is due; called by the checkout's worker.

    :returns: how many rows were taken up.
    """
    if not is_installed():
        return 0
    installed = subscriptions()
    if time.monotonic() >= installed.look_through_at_s:
        starts.repeat_lost(limit)
        starts.end_given_up(limit)
        if adopt_orders(limit) < limit:
            installed.look_through_at_s = time.monotonic() + LOOK_THROUGH_EVERY_S
    Row, Invoice = installed.Subscription, installed.Invoice
    by_date = Row.due_at <= shop_now()  # a date that the shop's clock has passed
    done = run_due(Row, check_subscription, reschedule_subscription, limit, also_due=[by_date], due_at=None)
    return done + run_due(Invoice, check_invoice, reschedule_invoice, limit)


def check_subscription(row_id: int) -> bool:
    if get_subscription(row_id).end_requested_at:
        end_replaced(row_id)
        return True
    return sync(row_id, may_suspend=_ask_before_suspending(row_id))


def _ask_before_suspending(row_id: int) -> bool:
    """An overdue invoice whose link is live may be paid: its payment is read before anybody is suspended.

    :returns: whether it was: an overdue invoice may suspend now.
    """
    row = get_subscription(row_id)
    if row.access != Access.GRANTED or row.suspend_at is None or row.suspend_at > shop_now():
        return False
    for invoice in invoices_of(row.subscription_id):
        if invoice.is_open and invoice.link in (Link.REQUESTED, Link.OPEN):
            check_invoice(invoice.id)
    return True


def reschedule_subscription(row_id: int, until: datetime, error: Exception | None) -> None:
    row = get_subscription(row_id)
    _reschedule(row, until, error, backoff(row.attempts, FIRST_RETRY, LONGEST_RETRY))


def reschedule_invoice(row_id: int, until: datetime, error: Exception | None) -> None:
    invoice = get_invoice(row_id)
    if invoice.returned_paid and not error and invoice.attempts == ATTEMPTS_BEFORE_A_PERSON:
        note(invoice, "The customer came back as if they had paid, and Flexprice still knows of no payment")
    gap = backoff(invoice.attempts, FIRST_RETRY, LONGEST_RETRY) if error else next_gap(invoice)
    _reschedule(invoice, until, error, gap)


def _reschedule(row: Any, until: datetime, error: Exception | None, gap: timedelta) -> None:
    if error and row.attempts == ATTEMPTS_BEFORE_A_PERSON:
        note(row, f"Ten attempts failed: {type(error).__name__}")
    change(row, {"next_attempt_at": db_now() + gap}, next_attempt_at=until)
    commit()


# -- events -----------------------------------------------------------------------------------------


def on_event(event: WebhookEventMixin) -> None:
    """An event only says when to look: what it tells may be late, repeated, or from a later state."""
    group = event.event_type.partition(".")[0]
    if group not in ("subscription", "invoice", "payment") or not is_installed():
        return
    model, subscription_id = subscriptions().Subscription, event.object_id
    if group != "subscription":
        known = {"invoice": "invoice_id", "payment": "payment_id"}[group]
        invoice = find_invoice(**{known: event.object_id})
        subscription_id = invoice.subscription_id if invoice else ""
    elif event.signed and event.customer_id and not event.order_ref:
        _keep_unknown(event)
    named = model.subscription_id == subscription_id
    customers = model.flexprice_customer_id == event.customer_id if event.customer_id else named
    update_where(model, {"next_attempt_at": db_now()}, or_(named, customers))


def _keep_unknown(event: WebhookEventMixin) -> None:
    """A subscription that was made in Flexprice's dashboard is shown, and gives no access."""
    model = subscriptions().Subscription
    customer_key = session().scalar(
        select(model.customer_key).where(model.flexprice_customer_id == event.customer_id).limit(1)
    )
    if customer_key is None or find_subscription(subscription_id=event.object_id):
        return
    owner = {"customer_key": customer_key, "flexprice_customer_id": event.customer_id}
    add_row(subscription_id=event.object_id, **owner)
