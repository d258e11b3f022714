"""An invoice as Flexprice tells it, and the state of its one payment link. Nothing here commits or calls."""

import logging
from typing import Any

from ..checkout.context import db_now, naive, session, shop_now
from ..checkout.orders import change
from ..flexprice import Invoice
from .context import find_invoice, find_subscription, note, subscriptions, tell
from .models import InvoiceMixin, SubscriptionMixin
from .signals import Fact
from .states import LINKS, Link, News

log = logging.getLogger(__name__)

MONEY_UNBOOKED = (
    "Money was taken for this invoice, and Flexprice does not count it: settle or refund it by hand"
)
CLAIMED = "Its payment failed, but the customer came back as if they had paid: look it up at Razorpay"
TOO_MUCH = "Its payment link asks for more than is owed now: cancel the link at Razorpay, then settle this"
OVERPAID = "Flexprice counts more than was due: compare with the payments at Razorpay"


def record_invoice(subscription: SubscriptionMixin, told: Invoice) -> InvoiceMixin:
    """Write one invoice, settle its link and tell its facts, each once."""
    values: dict[str, Any] = {
        "number": told.number,
        "status": told.status,
        "payment_status": told.payment_status,
        "billing_reason": told.billing_reason,
        "currency": told.currency[:10],
        "total_text": str(told.total),
        "paid_text": str(told.amount_paid),
        "remaining_text": str(told.amount_remaining),
        "due_date": naive(told.due_date),
        "finalized_at": naive(told.finalized_at),
        "period_start": naive(told.period_start),
        "period_end": naive(told.period_end),
    }
    invoice = find_invoice(invoice_id=told.id)
    if invoice is None:
        invoice = subscriptions().Invoice(
            invoice_id=told.id, subscription_id=subscription.subscription_id,
            customer_key=subscription.customer_key, link=Link.NONE, attempt=0, **values,
        )  # fmt: skip
        session().add(invoice)
        session().flush()
    else:
        change(invoice, values)
    _settle(invoice)
    _tell(subscription, invoice)
    return invoice


def _settle(invoice: InvoiceMixin) -> None:
    if invoice.paid:
        move(invoice, News.INVOICE_PAID, next_attempt_at=None)
    if invoice.payment_status == "OVERPAID" and not invoice.review_note:
        note(invoice, OVERPAID)
    if invoice.status == "VOIDED" and invoice.money_seen_at:
        move(invoice, News.MONEY_UNBOOKED, next_attempt_at=None)


def _tell(subscription: SubscriptionMixin, invoice: InvoiceMixin) -> None:
    """One message for each fact. What was settled before we could say that it is open needs no message."""
    now = db_now()
    if subscription.replaced_by:
        return
    if invoice.is_open and invoice.ready_told_at is None:
        change(invoice, {"ready_told_at": now})
        tell(Fact.INVOICE_READY, subscription, invoice)
    due = invoice.overdue_from
    if due and due <= shop_now() and invoice.overdue_told_at is None:
        change(invoice, {"overdue_told_at": now})
        tell(Fact.INVOICE_OVERDUE, subscription, invoice)
    if invoice.paid and invoice.ready_told_at and invoice.paid_told_at is None:
        change(invoice, {"paid_told_at": now})
        tell(Fact.INVOICE_PAID, subscription, invoice)


def move(invoice: InvoiceMixin, news: News, **values: Any) -> bool:
    """Move the link by one conditional UPDATE. False: the news changes nothing."""
    before = Link(invoice.link)
    after = LINKS.get((before, news))
    if after is None or not change(invoice, {"link": after} | values, link=before):
        return False
    log.info("invoice %s: link %s -> %s (%s)", invoice.invoice_id, before, after, news)
    if after is Link.REVIEW:
        reasons = {News.FAILED_BUT_CLAIMED: CLAIMED, News.ASKS_TOO_MUCH: TOO_MUCH}
        note(invoice, reasons.get(news, MONEY_UNBOOKED))
    return True


def subscription_of(invoice: InvoiceMixin) -> SubscriptionMixin:
    found = find_subscription(subscription_id=invoice.subscription_id)
    if found is None:  # an invoice is only written beside its subscription
        raise LookupError(invoice.subscription_id)
    return found
