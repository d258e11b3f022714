"""Subscriptions, invoices, payments and refunds: what a sale left behind, to be read at /v1/…"""

from typing import Any

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, Select, func, select

from storefront.sandbox import validation, views
from storefront.sandbox.api import listed
from storefront.sandbox.checkout import published_customer
from storefront.sandbox.door import v1
from storefront.sandbox.errors import not_found
from storefront.sandbox.schema import invoices, payments, refunds, subscriptions
from storefront.sandbox.store import Body, current_store, find

bp = v1("sandbox_records", __name__)


def _page(conn: Connection, query: Select[Any], limit: int, offset: int) -> tuple[list[Body], int]:
    total = conn.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    return list(conn.execute(query.limit(limit).offset(offset)).scalars()), total


def _customer_ids(conn: Connection, asked: Body) -> list[str]:
    ids = validation.words(asked, "customer_ids")
    if customer_id := validation.word(asked, "customer_id"):
        ids = [*ids, customer_id]
    if external_id := validation.word(asked, "external_customer_id"):
        ids = [*ids, published_customer(conn, external_id)["id"]]
    return ids


@bp.get("/subscriptions/<subscription_id>")
def get_subscription(subscription_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        subscription = find(conn, subscriptions, subscription_id)
        if subscription is None or subscription["status"] != "published":
            raise not_found("Subscription not found")
        return jsonify(views.subscription(conn, subscription))


@bp.post("/subscriptions/search")
def search_subscriptions() -> ResponseReturnValue:
    asked = validation.json_object("Please provide valid filter parameters")
    limit, offset = validation.page(asked, "Please provide valid filter parameters", zero_means_default=False)
    lines, expand = bool(asked.get("with_line_items")), validation.word(asked, "expand").split(",")
    # Without a status only active ones: the surprise is the original's.
    statuses = validation.words(asked, "subscription_status") or ["active"]
    table = subscriptions.c
    query = select(table.body).where(table.status == "published", table.subscription_status.in_(statuses))
    fields = {"id": "subscription_ids", "plan_id": "plan_ids", "billing_period": "billing_period"}
    for field, name in fields.items():
        if values := validation.words(asked, name):
            query = query.where(table.body[field].as_string().in_(values))
    if plan_id := validation.word(asked, "plan_id"):
        query = query.where(table.body["plan_id"].as_string() == plan_id)
    with current_store().reading() as conn:
        if ids := _customer_ids(conn, asked):
            query = query.where(table.customer_id.in_(ids))
        found, total = _page(conn, query.order_by(table.id.desc()), limit, offset)
        items = [views.subscription(conn, body, lines=lines, customer="customer" in expand) for body in found]
    return listed(items, total, limit, offset + limit)


@bp.get("/invoices/<invoice_id>")
def get_invoice(invoice_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        invoice = find(conn, invoices, invoice_id)
        if invoice is None:
            raise not_found(f"invoice {invoice_id} not found")
        if invoice["status"] != "published":
            # The original stumbles over the archived subscription first.
            raise not_found("Subscription not found")
        return jsonify(views.invoice(conn, invoice))


@bp.post("/invoices/search")
def search_invoices() -> ResponseReturnValue:
    asked = validation.json_object("invalid request body")
    limit, offset = validation.page(asked, "invalid query filter", zero_means_default=False)
    table = invoices.c
    query = select(table.body).where(table.status == "published")
    fields = {"id": "invoice_ids", "invoice_status": "invoice_status", "payment_status": "payment_status"}
    for field, name in fields.items():
        if values := validation.words(asked, name):
            query = query.where(table.body[field].as_string().in_(values))
    for field in ("currency", "invoice_type"):
        if value := validation.word(asked, field):
            query = query.where(table.body[field].as_string() == value)
    if subscription_id := validation.word(asked, "subscription_id"):
        query = query.where(table.subscription_id == subscription_id)
    lines = not asked.get("skip_line_items")
    with current_store().reading() as conn:
        if ids := _customer_ids(conn, asked):
            query = query.where(table.customer_id.in_(ids))
        found, total = _page(conn, query.order_by(table.id.desc()), limit, offset)
        items = [views.invoice(conn, body, lines=lines, whole=False) for body in found]
    return listed(items, total, limit, offset)  # the one list whose offset comes back as it was asked


@bp.get("/payments/<payment_id>")
def get_payment(payment_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        payment = find(conn, payments, payment_id)
    if payment is None:
        raise not_found("Payment not found", payment_id=payment_id)
    return jsonify(payment)


@bp.get("/refunds")
def list_refunds() -> ResponseReturnValue:
    page = {
        name: request.args.get(name, fallback, type=int) for name, fallback in (("limit", 50), ("offset", 0))
    }
    limit, offset = validation.page(page, "Invalid filter parameters", zero_means_default=True)
    query = select(refunds.c.body).order_by(refunds.c.id.desc())
    # payment_ids=a,b as the SDK sends it, or the parameter given twice
    if ids := [part for value in request.args.getlist("payment_ids") for part in value.split(",") if part]:
        query = query.where(refunds.c.payment_id.in_(ids))
    with current_store().reading() as conn:
        found, total = _page(conn, query, limit, offset)
    return listed(found, total, limit, offset + limit)


@bp.get("/refunds/<refund_id>")
def get_refund(refund_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        refund = find(conn, refunds, refund_id)
    if refund is None:
        raise not_found(f"refund {refund_id} not found", id=refund_id)
    return jsonify(refund)
