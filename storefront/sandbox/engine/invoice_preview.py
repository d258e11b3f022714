"""The next invoice of a subscription as it would be, not stored.

It knows nothing of a planned cancellation, a planned change or the skipped first renewal, and repeats a
coupon that is for one period.
"""

from datetime import datetime
from decimal import Decimal

from ..store.billing_rows import Invoice, InvoiceLine, Subscription
from ..store.database import Session
from ..store.values import new_id
from . import billing, coupons, invoices


def build(
    session: Session,
    subscription: Subscription,
    period: tuple[datetime | None, datetime | None] = (None, None),
    *,
    hides_zero: bool = False,
) -> tuple[Invoice, list[InvoiceLine]]:
    """:param period: instead of the subscription's current one."""
    now = session.now()
    ended = (period[0] or subscription.current_period_start, period[1] or subscription.current_period_end)
    invoice = Invoice(
        id=new_id("inv"),
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        currency=subscription.currency,
        billing_reason="SUBSCRIPTION_CYCLE",
        billing_period=subscription.billing_period,
        description=f"Preview invoice for subscription {subscription.id}",
        period_start=ended[0],
        period_end=ended[1],
        due_date=invoices.due_date(session, subscription, ended[1]),
        version=0,
        meta={"is_preview": "true"},
        created_at=now,
        updated_at=now,
    )
    due = [
        billing.an_invoice_line(session, invoice, charge.line, charge.period, charge.amount)
        for charge in invoices.charges(session, subscription, ended)
        if charge.amount or not hides_zero
    ]
    _total(session, invoice, subscription, due)
    return invoice, due


def _total(session: Session, invoice: Invoice, subscription: Subscription, due: list[InvoiceLine]) -> None:
    invoice.subtotal = sum((line.amount for line in due), Decimal(0))
    invoice.total_discount = coupons.preview(session, subscription, invoice.subtotal)
    invoice.total = invoice.amount_due = invoice.amount_remaining = invoice.subtotal - invoice.total_discount
