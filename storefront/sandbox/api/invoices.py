"""Invoices: /v1/invoices."""

import uuid

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Select

from ..engine import invoice_preview, invoices, renewals, switches
from ..engine.checkout import published_customer
from ..engine.errors import Refusal, invalid, not_found
from ..store.billing_rows import Invoice, Subscription
from ..store.database import Session
from ..store.values import ulid
from . import auth, invoice_pdf, requests
from .search import Asked, Listing, listed, page_of
from .serializers import billing

bp = auth.v1("sandbox_invoices", __name__)

NOT_BOUND = "failed to bind request body"

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
    if row.status != "published" and row.invoice_type == "SUBSCRIPTION":
        raise not_found("Subscription not found")
    return row


@bp.get("/invoices/<invoice_id>")
def get(invoice_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(billing.invoice(session, need(session, invoice_id)))


@bp.post("/invoices/preview")
def preview() -> ResponseReturnValue:
    """The next invoice as it would be, not stored. It knows of no planned cancellation or change."""
    body = requests.json_body(NOT_BOUND)
    subscription_id = requests.text(body, "subscription_id", NOT_BOUND)
    dates = (body.get("period_start"), body.get("period_end"))
    period = (requests.moment(dates[0], NOT_BOUND), requests.moment(dates[1], NOT_BOUND))
    hides_zero = requests.flag(body, "hide_zero_charges_line_items", NOT_BOUND)
    if not subscription_id:
        raise invalid(NOT_BOUND)
    with auth.reading() as session:
        subscription = session.get(Subscription, subscription_id)
        if subscription is None or subscription.status != "published":
            raise not_found("Subscription not found")
        row, lines = invoice_preview.build(session, subscription, period, hides_zero=hides_zero)
        shown = billing.invoice_preview(session, row, lines)
    del shown["subscription_customer_id"]
    for line in shown.get("line_items", []):
        line["price_unit_amount"] = "0"
    return jsonify(shown)


@bp.post("/invoices/<invoice_id>/compute")
def compute(invoice_id: str) -> ResponseReturnValue:
    """Writes a draft's lines at once, although the answer speaks of a workflow."""
    with auth.writing() as session:
        row = need(session, invoice_id)
        invoices.compute(session, row)
        renewals.plan_finalization(session, row)
    workflow = f"wf_ComputeInvoiceWorkflow_{invoice_id}_{ulid()}"
    started = "compute invoice workflow started"
    return jsonify(message=started, workflow_id=workflow, run_id=str(uuid.uuid4())), 202


@bp.post("/invoices/<invoice_id>/finalize")
def finalize(invoice_id: str) -> ResponseReturnValue:
    """Makes a draft final at once."""
    with auth.writing() as session:
        renewals.finalize(session, need(session, invoice_id))
    return jsonify(message="invoice finalized successfully")


@bp.post("/invoices/<invoice_id>/void")
def void(invoice_id: str) -> ResponseReturnValue:
    """What was paid goes to a wallet, not to the card."""
    with auth.writing() as session:
        invoices.void(session, need(session, invoice_id))
    return jsonify(message="invoice voided successfully")


@bp.post("/invoices/<invoice_id>/payment/attempt")
def attempt_payment(invoice_id: str) -> ResponseReturnValue:
    """Says that it was processed although nothing is paid: no saved method is charged."""
    with auth.reading() as session:
        row = need(session, invoice_id)
        if row.invoice_status not in ("FINALIZED", "SKIPPED"):
            message = "Invoice must be finalized before attempting payment"
            raise invalid(message, invoice_id=row.id, invoice_status=row.invoice_status)
    return jsonify(message="payment processed successfully")


@bp.put("/invoices/<invoice_id>/payment")
def update_payment(invoice_id: str) -> ResponseReturnValue:
    """Sets the payment status by hand; refused for an invoice that was paid by a payment."""
    body = requests.json_body(NOT_BOUND)
    status = requests.text(body, "payment_status", NOT_BOUND)
    amount = requests.decimal(body.get("amount"), NOT_BOUND)
    if not status:
        raise invalid(NOT_BOUND)
    with auth.writing() as session:
        row = need(session, invoice_id)
        invoices.set_payment_status(session, row, status, amount)
        return jsonify(billing.invoice(session, row))


@bp.get("/invoices/<invoice_id>/pdf")
def pdf(invoice_id: str) -> ResponseReturnValue:
    """The bytes; `?url=true` asks for a link to a store of files, which there is not."""
    with auth.reading() as session:
        row = need(session, invoice_id)
        if request.args.get("url", "").lower() == "true":
            message = "s3 is not enabled but is required to generate invoice pdf url."
            raise Refusal("system_error", message)
        if switches.read(session, "pdf") == "unavailable" or not invoice_pdf.is_possible():
            raise Refusal("system_error", "template error")
        content = invoice_pdf.render(billing.invoice(session, row))
    return Response(content, content_type="application/pdf")


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
