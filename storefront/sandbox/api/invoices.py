"""Invoices: /v1/invoices."""

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import Select

from ..engine.checkout import published_customer
from ..engine.errors import not_found
from ..store.billing_rows import Invoice
from ..store.database import Session
from . import auth
from .search import Asked, Listing, listed, page_of
from .serializers import billing

bp = auth.v1("sandbox_invoices", __name__)

INVOICES = Listing(
    Invoice,
    """customer_id subscription_id invoice_type invoice_status payment_status currency amount_due amount_paid
    amount_remaining subtotal total description due_date paid_at voided_at finalized_at billing_period
    period_start period_end billing_reason invoice_number version idempotency_key""",
    "Failed to apply query options",
)


def need(session: Session, invoice_id: str) -> Invoice:
    """:raises Refusal: there is none; that of an ended checkout stumbles over its archived subscription."""
    row = session.get(Invoice, invoice_id)
    if row is None:
        raise not_found(f"invoice {invoice_id} not found", id=invoice_id)
    if row.status != "published":
        raise not_found("Subscription not found")
    return row


@bp.get("/invoices/<invoice_id>")
def get(invoice_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(billing.invoice(session, need(session, invoice_id)))


@bp.post("/invoices/search")
def search() -> ResponseReturnValue:
    asked = Asked("invalid request body", "invalid filter parameters")
    limit, offset = asked.page()
    lines = not asked.flag("skip_line_items")
    with auth.reading() as session:
        query = INVOICES.sorted(_wanted(session, asked), asked)
        found, total = page_of(session, query, (limit, offset))
        items = [billing.invoice(session, row, lines=lines, subscription_too=False) for row in found]
    return listed(items, total, limit, offset)  # the one list whose offset comes back as it was sent


def _wanted(session: Session, asked: Asked) -> Select[tuple[Invoice]]:
    customer_id = asked.text("customer_id")
    if external_id := asked.text("external_customer_id"):
        customer_id = published_customer(session, external_id).id
    lists = {"id": asked.texts("invoice_ids"), "customer_id": [customer_id] if customer_id else []}
    lists |= {name: asked.texts(name) for name in ("invoice_status", "payment_status")}
    for name in ("subscription_id", "invoice_type", "currency", "billing_reason"):
        lists[name] = [value] if (value := asked.text(name)) else []
    query = INVOICES.among(INVOICES.query(session, asked), lists)
    if not lists["invoice_status"]:
        query = query.where(Invoice.invoice_status != "SKIPPED")
    return _within_amounts_and_times(INVOICES.within(query, "period_start", "period_end", asked), asked)


def _within_amounts_and_times(query: Select[tuple[Invoice]], asked: Asked) -> Select[tuple[Invoice]]:
    for name in ("amount_due", "amount_remaining"):
        if (least := asked.number(f"{name}_gt")) is not None:
            query = query.where(INVOICES.column(name) > least)
    for name in ("period_start", "period_end"):
        if since := asked.moment(f"{name}_gte"):
            query = query.where(INVOICES.column(name) >= since)
        if until := asked.moment(f"{name}_lte"):
            query = query.where(INVOICES.column(name) <= until)
    return query
