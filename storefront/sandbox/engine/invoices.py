"""An invoice of a subscription: what it bills, and its way from a draft to final or voided."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ..store.base import USER
from ..store.billing_rows import Invoice, InvoiceLine, Payment, Subscription, SubscriptionLine
from ..store.database import Session
from ..store.rows import Price
from . import billing, coupons, wallets
from .errors import Refusal, invalid
from .events import publish
from .periods import period_end

Period = tuple[datetime, datetime]
REFUND_WALLET = "Subscription Wallet"
VOIDABLE = ("DRAFT", "FINALIZED", "SKIPPED")
VOIDABLE_PAYMENTS = ("PENDING", "FAILED", "SUCCEEDED", "PARTIALLY_REFUNDED", "OVERPAID")
ALLOWED_STATUS = {
    "PENDING": ["PENDING", "SUCCEEDED", "OVERPAID", "FAILED"],
    "SUCCEEDED": ["SUCCEEDED", "OVERPAID"],
    "OVERPAID": ["OVERPAID"],
    "FAILED": ["PENDING", "FAILED", "SUCCEEDED", "OVERPAID"],
}


class Charge(NamedTuple):
    line: SubscriptionLine
    period: Period
    amount: Decimal


def lines_of(session: Session, subscription: Subscription) -> Sequence[SubscriptionLine]:
    return session.all(SubscriptionLine, SubscriptionLine.subscription_id == subscription.id)


def following(subscription: Subscription, end: datetime) -> Period:
    """The period of a subscription that begins at `end`; it does not go beyond the subscription's end."""
    count, unit = subscription.billing_period_count, subscription.billing_period
    next_end = period_end(subscription.billing_anchor, end, unit, count)
    return end, max(min(next_end, subscription.end_date or next_end), end)


def charges(session: Session, subscription: Subscription, ended: Period) -> list[Charge]:
    """What is due at the end of a period: the next period's ADVANCE fees, and the ended one's ARREAR fees.

    Usage is not billed: the sandbox has no store of events.
    """
    due, coming = [], following(subscription, ended[1])
    for line in lines_of(session, subscription):
        price = session.get(Price, line.price_id)
        if price is None or line.billing_period == billing.ONE_TIME or line.price_type != "FIXED":
            continue
        ahead = line.invoice_cadence == "ADVANCE"
        if ahead and subscription.end_date and subscription.end_date <= ended[1]:
            continue  # no period follows
        if is_running(line, ended[1]) if ahead else ran_to(line, ended):
            period = coming if ahead else ended
            due.append(Charge(line, period, billing.line_amount(price, line.quantity)))
    return due


def is_running(line: SubscriptionLine, at: datetime) -> bool:
    return line.start_date <= at and (line.end_date is None or line.end_date > at)


def ran_to(line: SubscriptionLine, period: Period) -> bool:
    """Whether the line ran at the period's end."""
    return line.start_date < period[1] and (line.end_date is None or line.end_date >= period[1])


def draft_of_ended_period(session: Session, subscription: Subscription, period: Period) -> Invoice:
    """The empty draft that the end of a period makes; `compute` fills it some minutes later."""
    invoice = billing.new_invoice(session, subscription, "SUBSCRIPTION_CYCLE")
    invoice.period_start, invoice.period_end = period
    invoice.description, invoice.due_date, invoice.version = "", None, 0
    return invoice


def compute(session: Session, invoice: Invoice) -> None:
    """Writes the lines of a subscription's draft. With nothing to bill it is SKIPPED, without a message."""
    if invoice.invoice_status != "DRAFT" or invoice.invoice_type != "SUBSCRIPTION":
        return
    if invoice.period_start is None or invoice.period_end is None:
        return
    subscription = session.need(Subscription, invoice.subscription_id)
    due = charges(session, subscription, (invoice.period_start, invoice.period_end))
    session.delete(InvoiceLine, InvoiceLine.invoice_id == invoice.id)
    if not any(charge.amount for charge in due):
        invoice.invoice_status, invoice.updated_at = "SKIPPED", session.now()
        invoice.last_computed_at = session.now()
        return
    for charge in due:
        billing.add_invoice_line(session, invoice, charge.line, charge.period, charge.amount)
    invoice.description = f"Invoice for subscription {subscription.id}"
    invoice.due_date = due_date(session, subscription, invoice.period_end)
    coupons.discount(session, invoice, subscription)
    billing.total(session, invoice)
    publish(session, "invoice.update", invoice.id)


def due_date(session: Session, subscription: Subscription, period_ends: datetime) -> datetime:
    """A period's end plus the subscription's terms (`15 NET`), else the setting's days."""
    days = subscription.payment_terms.partition(" ")[0]
    return billing.due_date(session, period_ends, int(days) if days else None)


def finalize(session: Session, invoice: Invoice) -> None:
    """Makes a draft final; one over nothing is paid by that.

    :raises Refusal: it is no draft.
    """
    if invoice.invoice_status == "SKIPPED":
        return
    if invoice.invoice_status != "DRAFT":
        raise invalid("invoice must be in draft status to be finalized")
    billing.finalize(session, invoice)
    if invoice.total == 0 and invoice.billing_reason != "SUBSCRIPTION_TRIAL_START":
        invoice.payment_status = "SUCCEEDED"
    publish(session, "invoice.update.finalized", invoice.id)


def void(session: Session, invoice: Invoice) -> None:
    """Voids an invoice. What was paid on it goes to a wallet of the customer, not to the card.

    :raises Refusal: it is voided or refunded.
    """
    if invoice.invoice_status not in VOIDABLE:
        message = f"invoice status - {invoice.invoice_status} is not allowed"
        raise invalid(message, allowed_statuses=list(VOIDABLE))
    if invoice.payment_status not in VOIDABLE_PAYMENTS:
        message = f"invoice payment status - {invoice.payment_status} is not allowed"
        raise invalid(message, allowed_statuses=list(VOIDABLE_PAYMENTS))
    invoice.invoice_status, invoice.updated_by = "VOIDED", USER
    invoice.voided_at = invoice.updated_at = session.now()
    invoice.version += 1
    refund = invoice.amount_paid + invoice.total_prepaid_credits_applied - invoice.refunded_amount
    if refund > 0:
        wallet = wallets.prepaid(session, invoice.customer_id, invoice.currency, REFUND_WALLET)
        text = f"Refund for voided invoice: {invoice.invoice_number or invoice.id}"
        wallets.top_up(session, wallet, refund, text, "INVOICE_VOID_REFUND", {"invoice_id": invoice.id})
        invoice.refunded_amount += refund
        invoice.payment_status = "REFUNDED"
    publish(session, "invoice.update.voided", invoice.id)


def is_open(invoice: Invoice) -> bool:
    unpaid = invoice.payment_status in ("PENDING", "FAILED") and invoice.amount_remaining > 0
    return invoice.invoice_status == "FINALIZED" and unpaid


def set_payment_status(session: Session, invoice: Invoice, status: str, amount: Decimal | None) -> None:
    """Sets the payment status by hand.

    :raises Refusal: the invoice is voided or skipped, was paid by a payment, or cannot become that.
    """
    if invoice.invoice_status not in ("DRAFT", "FINALIZED"):
        allowed = ["DRAFT", "FINALIZED"]
        raise invalid(f"invoice status - {invoice.invoice_status} is not allowed", allowed_statuses=allowed)
    paid = (Payment.destination_id == invoice.id, Payment.payment_status == "SUCCEEDED")
    if session.count(Payment, *paid):
        message = "Manual payment status updates are disabled for payment-based invoices."
        raise Refusal("invalid_operation", message)
    allowed = ALLOWED_STATUS.get(invoice.payment_status, [])
    if status not in allowed:
        message = f"invalid payment status transition from {invoice.payment_status} to {status}"
        raise invalid(message, allowed_statuses=allowed)
    now = session.now()
    invoice.payment_status, invoice.updated_at, invoice.updated_by = status, now, USER
    invoice.version += 1
    if status == "SUCCEEDED":
        invoice.amount_paid, invoice.amount_remaining, invoice.paid_at = invoice.amount_due, Decimal(0), now
    elif status == "FAILED":
        invoice.amount_paid, invoice.amount_remaining = Decimal(0), invoice.amount_due
    elif amount is not None:
        invoice.amount_paid, invoice.amount_remaining = amount, invoice.amount_due - amount
    publish(session, "invoice.update.payment", invoice.id)
