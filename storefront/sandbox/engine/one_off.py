"""ONE_OFF invoices of a subscription: what a change within a period costs."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ..store.billing_rows import Invoice, InvoiceLine, Subscription
from ..store.database import Session
from ..store.rows import Price
from ..store.values import new_id
from . import invoices
from .events import publish


class Item(NamedTuple):
    """A line of such an invoice; `amount` is negative for a credit."""

    price: Price
    name: str
    quantity: Decimal
    amount: Decimal
    description: str
    line_id: str = ""
    plan_name: str = ""


def build(
    session: Session, subscription: Subscription, items: Sequence[Item], effective: datetime
) -> tuple[Invoice, list[InvoiceLine]]:
    """A draft and its lines for the rest of the period, not stored."""
    now, total = session.now(), sum((item.amount for item in items), Decimal(0))
    invoice = Invoice(
        id=new_id("inv"),
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        invoice_type="ONE_OFF",
        currency=subscription.currency,
        subtotal=total,
        total=total,
        amount_due=total,
        amount_remaining=total,
        billing_reason="SUBSCRIPTION_UPDATE",
        billing_period=subscription.billing_period,
        period_start=effective,
        period_end=subscription.current_period_end,
        version=0,
        created_at=now,
        updated_at=now,
    )
    return invoice, [_line(invoice, item) for item in items]


def _line(invoice: Invoice, item: Item) -> InvoiceLine:
    return InvoiceLine(
        id=new_id("inv_line"),
        invoice_id=invoice.id,
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        subscription_id=invoice.subscription_id,
        subscription_line_item_id=item.line_id,
        price_id=item.price.id,
        price_type=item.price.type,
        plan_display_name=item.plan_name,
        display_name=item.name,
        amount=item.amount,
        quantity=item.quantity,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        meta={"description": item.description},
        created_at=invoice.created_at,
        updated_at=invoice.created_at,
    )


def draft(
    session: Session, subscription: Subscription, items: Sequence[Item], effective: datetime
) -> Invoice:
    """Stores such an invoice as a computed draft."""
    invoice, lines = build(session, subscription, items, effective)
    count = session.count(Invoice, Invoice.subscription_id == subscription.id)
    invoice.billing_sequence, invoice.version = count + 1, 1
    invoice.idempotency_key = f"invoice-{secrets.token_hex(8)}"
    invoice.issue_date = invoice.last_computed_at = session.now()
    session.add(invoice)
    for line in lines:
        session.add(line)
    return invoice


def extend(session: Session, invoice: Invoice, items: Sequence[Item]) -> None:
    """Adds lines to such a draft."""
    for item in items:
        session.add(_line(invoice, item))
    more = sum((item.amount for item in items), Decimal(0))
    invoice.subtotal = invoice.total = invoice.amount_due = invoice.subtotal + more
    invoice.amount_remaining += more
    invoice.updated_at, invoice.version = session.now(), invoice.version + 1
    publish(session, "invoice.update", invoice.id)


def issue(
    session: Session, subscription: Subscription, items: Sequence[Item], effective: datetime
) -> Invoice:
    """Makes such an invoice, final at once and without a due date."""
    invoice = draft(session, subscription, items, effective)
    publish(session, "invoice.update", invoice.id)
    invoices.finalize(session, invoice)
    return invoice
