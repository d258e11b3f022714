"""Ends of subscriptions: now, at the end of the period, or at a date."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..store.base import USER
from ..store.billing_rows import Subscription, SubscriptionLine
from ..store.database import Session
from ..store.rows import Price
from ..store.values import decimal_text, rfc3339
from . import billing, coupons, invoices, proration, schedules, usage, wallets
from .errors import invalid
from .events import publish
from .scheduler import cancel as cancel_task
from .scheduler import schedule as plan_task

TYPES = ("immediate", "end_of_period", "scheduled_date")


@dataclass(frozen=True)
class Request:
    """What POST /subscriptions/{id}/cancel asks for."""

    type: str
    reason: str = ""
    cancel_at: datetime | None = None
    prorates: bool = False
    generates_invoice: bool = False


@dataclass(frozen=True)
class Cancelled:
    effective_date: datetime
    message: str
    details: list[dict[str, Any]] | None = None
    credit: Decimal = Decimal(0)


def cancel(session: Session, subscription: Subscription, asked: Request) -> Cancelled:
    """Ends a subscription, or plans its end.

    :raises Refusal: a rule is broken; nothing is changed.
    """
    _check(session, subscription, asked)
    if asked.type == "immediate":
        return _at_once(session, subscription, asked)
    return _planned(session, subscription, asked)


def _check(session: Session, subscription: Subscription, asked: Request) -> None:
    if asked.type not in TYPES:
        message = "Cancellation type must be immediate, end_of_period, or scheduled_date"
        raise invalid(message, allowed_values=list(TYPES), provided_value=asked.type)
    if asked.type == "scheduled_date" and asked.cancel_at is None:
        message = (
            "Provide a cancel_at date (past for backdated cancellation, future for scheduled cancellation)"
        )
        raise invalid(message)
    at = asked.cancel_at
    if asked.type == "immediate" and at and at > session.now():
        message = "Use cancellation_type 'scheduled_date' to schedule a future cancellation"
        raise invalid(message, cancel_at=_to_seconds(at))
    if subscription.subscription_status == "draft":
        message = "Draft subscriptions must be activated before cancellation."
        draft = {"subscription_status": "draft", "operation": "cancellation"}
        raise invalid(message, subscription_id=subscription.id, **draft)
    if subscription.subscription_status == "cancelled":
        raise invalid("The subscription is already cancelled", subscription_id=subscription.id)
    if asked.type == "immediate" and at and at <= subscription.current_period_start:
        message = "Backdated cancellation is not allowed at or before the current period start"
        start = _to_seconds(subscription.current_period_start)
        raise invalid(message, cancel_at=_to_seconds(at), current_period_start=start)
    if asked.type != "immediate" and subscription.cancel_at:
        message = (
            "The subscription already has a scheduled cancellation. "
            "Cancel the existing schedule before setting a new one."
        )
        existing = _to_seconds(subscription.cancel_at)
        raise invalid(message, subscription_id=subscription.id, existing_cancel_at=existing)


def _to_seconds(moment: datetime) -> str:
    return rfc3339(moment.replace(microsecond=0))


def _note(session: Session, subscription: Subscription, asked: Request, effective: datetime) -> None:
    subscription.cancelled_at = subscription.updated_at = session.now()
    subscription.updated_by = USER
    subscription.meta = (subscription.meta or {}) | {
        "cancellation_type": asked.type,
        "cancellation_reason": asked.reason,
        "effective_date": _to_seconds(effective),
    }


def _at_once(session: Session, subscription: Subscription, asked: Request) -> Cancelled:
    usage.refuse_without_store(session, subscription)
    effective = asked.cancel_at or session.now()
    is_trial = subscription.subscription_status == "trialing"
    details, credit = None, Decimal(0)
    if asked.prorates and not is_trial:
        details, credit = _unused_time(session, subscription, effective)
    if asked.generates_invoice and not is_trial:
        _final_invoice(session, subscription, effective)
    _note(session, subscription, asked, effective)
    subscription.subscription_status = "cancelled"
    subscription.cancel_at = subscription.end_date = effective
    subscription.cancel_at_period_end = False
    _end_lines(session, subscription, effective)
    _forget_tasks(session, subscription)
    if credit > 0:
        wallet = wallets.prepaid(session, subscription.customer_id, subscription.currency)
        wallets.top_up(session, wallet, credit)
    publish(session, "subscription.updated", subscription.id)
    publish(session, "subscription.cancelled", subscription.id)
    return Cancelled(effective, "Subscription cancelled immediately", details, credit)


def _planned(session: Session, subscription: Subscription, asked: Request) -> Cancelled:
    at_end = asked.type == "end_of_period"
    effective = (None if at_end else asked.cancel_at) or subscription.current_period_end
    _note(session, subscription, asked, effective)
    subscription.cancel_at, subscription.cancel_at_period_end = effective, True
    for row in schedules.pending(session, subscription.id):
        schedules.drop(session, row)
    configuration = None
    if not at_end:
        configuration = {"original_period_end": subscription.current_period_end.isoformat()}
        _shorten(session, subscription, effective)
    schedules.add(session, subscription, schedules.CANCELLATION, effective, configuration)
    publish(session, "subscription.updated", subscription.id)
    when = f"{effective:%Y-%m-%d}"
    if at_end:
        message = f"Subscription will be cancelled at the end of the current period ({when})"
        return Cancelled(effective, message)
    return Cancelled(effective, f"Subscription end date set to {when}")


def _shorten(session: Session, subscription: Subscription, ends: datetime) -> None:
    """Pulls the period's end to the date, although the whole period was paid."""
    subscription.end_date = ends
    if ends < subscription.current_period_end:
        subscription.current_period_end = ends
        if subscription.subscription_status == "active":
            plan_task(session, "renewal.period_end", subscription.id, ends)


def end_now(session: Session, subscription: Subscription, reason: str) -> None:
    """Ends a subscription at once, with neither invoice nor credit."""
    _at_once(session, subscription, Request("immediate", reason=reason))


def is_due(subscription: Subscription, period_ended: datetime) -> bool:
    """Whether the end that is planned has been reached with this period's end."""
    cancel_at, ends = subscription.cancel_at, subscription.end_date
    planned = subscription.cancel_at_period_end and cancel_at is not None and cancel_at <= period_ended
    return planned or (ends is not None and ends <= period_ended)


def come_true(session: Session, subscription: Subscription) -> None:
    """A planned end is reached: `cancelled_at` is dated back to it."""
    at = subscription.cancel_at or subscription.end_date or subscription.current_period_start
    subscription.subscription_status, subscription.cancelled_at = "cancelled", at
    if subscription.cancel_at_period_end:
        _end_lines(session, subscription, at)
    for row in schedules.pending(session, subscription.id, schedules.CANCELLATION):
        schedules.execute(session, row)
    _forget_tasks(session, subscription)
    publish(session, "subscription.updated", subscription.id)
    publish(session, "subscription.cancelled", subscription.id)


def _end_lines(session: Session, subscription: Subscription, at: datetime) -> None:
    for line in invoices.lines_of(session, subscription):
        if line.end_date is None or line.end_date > at:
            line.end_date, line.updated_at = max(at, line.start_date), session.now()


def _forget_tasks(session: Session, subscription: Subscription) -> None:
    for kind in ("renewal.notice", "renewal.period_end", "trial.end"):
        cancel_task(session, kind, subscription.id)


def _final_invoice(session: Session, subscription: Subscription, effective: datetime) -> None:
    """The ARREAR fees of the period that is cut short, whole; without any there is no invoice."""
    period = (subscription.current_period_start, effective)
    due = [
        charge
        for charge in invoices.charges(session, subscription, period)
        if charge.line.invoice_cadence == "ARREAR" and charge.amount
    ]
    if not due:
        return
    invoice = billing.new_invoice(session, subscription, "PRORATION")
    invoice.period_end, invoice.version = effective, 0
    invoice.due_date = invoices.due_date(session, subscription, effective)
    for charge in due:
        billing.add_invoice_line(session, invoice, charge.line, period, charge.amount)
    coupons.discount(session, invoice, subscription)
    billing.total(session, invoice)
    publish(session, "invoice.update", invoice.id)
    invoices.finalize(session, invoice)


def _unused_time(
    session: Session, subscription: Subscription, effective: datetime
) -> tuple[list[dict[str, Any]] | None, Decimal]:
    """Unused ADVANCE time: what each line gives back, and the sum."""
    details, total = [], Decimal(0)
    for line in invoices.lines_of(session, subscription):
        price = session.get(Price, line.price_id)
        if price is not None and line.end_date is None:
            amount = -proration.credit(session, subscription, line, price, effective)
            details.append(_detail(subscription, line, amount, effective))
            total += amount
    return details or None, total


def _detail(
    subscription: Subscription, line: SubscriptionLine, amount: Decimal, effective: datetime
) -> dict[str, Any]:
    start, ends = subscription.current_period_start, subscription.current_period_end - proration.OVERLAP
    return {
        "line_item_id": line.id,
        "price_id": line.price_id if amount else "",
        "original_amount": decimal_text(amount),
        "credit_amount": decimal_text(amount),
        "charge_amount": "0",
        "proration_days": max((ends - start).days - (effective - start).days, 0),
        "description": f"Cancellation ({effective:%Y-%m-%d})",
    }
