"""Subscriptions, invoices, payments and refunds: what a sale left behind, to be read at /v1/…"""

from typing import Any

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, Select, or_, select

from storefront.sandbox._previous import views
from storefront.sandbox._previous.checkout import published_customer
from storefront.sandbox._previous.door import newest_only, v1
from storefront.sandbox._previous.errors import invalid, not_found
from storefront.sandbox._previous.schema import invoices, payments, refunds, subscriptions
from storefront.sandbox._previous.search import Asked, Listing, instant, listed, page_of
from storefront.sandbox._previous.store import current_store, seen

bp = v1("sandbox_records", __name__)

SUBSCRIPTIONS = Listing(
    subscriptions,
    """lookup_key customer_id plan_id subscription_status currency billing_anchor start_date end_date
    current_period_start current_period_end cancelled_at cancel_at cancel_at_period_end trial_start trial_end
    billing_cadence billing_period billing_period_count version pause_status billing_cycle payment_behavior
    collection_method subscription_type timezone""",
    "Failed to list subscriptions",
)
INVOICES = Listing(
    invoices,
    """customer_id subscription_id invoice_type invoice_status payment_status currency amount_due amount_paid
    amount_remaining subtotal total description due_date paid_at voided_at finalized_at billing_period
    period_start period_end billing_reason invoice_number version idempotency_key""",
    "Failed to list invoices",
)
SUBSCRIPTION_STATUSES = ("active", "paused", "cancelled", "incomplete", "trialing", "draft")
SUBSCRIPTION_EXPANSIONS = (
    *("plan", "customer", "prices", "meters", "schedule", "coupon_associations", "coupon"),
    *("subscription_line_items", "entitlements"),
)


def _of_customer(conn: Connection, listing: Listing, query: Select[Any], asked: Asked) -> Select[Any]:
    """The external id wins: it replaces the customer's own."""
    customer_id = asked.word("customer_id")
    if external_id := asked.word("external_customer_id"):
        customer_id = published_customer(conn, external_id)["id"]
    return listing.among(query, {"customer_id": [customer_id] if customer_id else []})


# Subscriptions.


@bp.get("/subscriptions/<subscription_id>")
def get_subscription(subscription_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        subscription = seen(conn, subscriptions, subscription_id)
        if subscription is None or subscription["status"] != "published":
            raise not_found("Subscription not found")
        return jsonify(views.subscription(conn, subscription))


@bp.post("/subscriptions/search")
def search_subscriptions() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters", "Please provide valid filter parameters")
    page, expand = asked.page(), asked.expand(SUBSCRIPTION_EXPANSIONS)
    lines = asked.flag("with_line_items") or "subscription_line_items" in expand
    query = SUBSCRIPTIONS.sorted(_wanted_subscriptions(asked), asked)
    with current_store().reading() as conn:
        found, total = page_of(conn, subscriptions, _of_customer(conn, SUBSCRIPTIONS, query, asked), page)
        items = [views.subscription(conn, one, lines=lines, customer="customer" in expand) for one in found]
    return listed(items, total, page[0], page[1] + page[0])


def _wanted_subscriptions(asked: Asked) -> Select[Any]:
    statuses = asked.words("subscription_status")
    if any(status not in SUBSCRIPTION_STATUSES for status in statuses):
        raise invalid(asked.broken)
    by_filter = any(one.word("field") == "subscription_status" for one in asked.objects("filters"))
    if not statuses and not by_filter:
        statuses = ["active"]  # without a word on it only active ones: the surprise is the original's
    names = {"id": "subscription_ids", "customer_id": "customer_ids"} | {
        name: name for name in ("billing_period", "billing_cadence", "subscription_type")
    }
    lists = {column: asked.words(name) for column, name in names.items()}
    lists |= {"subscription_status": statuses}
    query = SUBSCRIPTIONS.among(SUBSCRIPTIONS.query(asked), lists)
    query = SUBSCRIPTIONS.among(query, {"plan_id": [plan] if (plan := asked.word("plan_id")) else []})
    query = SUBSCRIPTIONS.within(query, "current_period_start", "current_period_end", asked)
    if at := asked.moment("active_at"):
        starts, ends = SUBSCRIPTIONS.column("start_date"), SUBSCRIPTIONS.column("end_date")
        query = query.where(instant(starts) <= instant(at), or_(ends.is_(None), instant(ends) > instant(at)))
    return query


# Invoices.


@bp.get("/invoices/<invoice_id>")
def get_invoice(invoice_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        invoice = seen(conn, invoices, invoice_id)
        if invoice is None:
            raise not_found(f"invoice {invoice_id} not found")
        if invoice["status"] != "published":
            # The original stumbles over the archived subscription first.
            raise not_found("Subscription not found")
        return jsonify(views.invoice(conn, invoice))


@bp.post("/invoices/search")
def search_invoices() -> ResponseReturnValue:
    asked = Asked("invalid request body", "invalid query filter")
    page = asked.page()
    query = INVOICES.sorted(_wanted_invoices(asked), asked)
    lines = not asked.flag("skip_line_items")
    with current_store().reading() as conn:
        found, total = page_of(conn, invoices, _of_customer(conn, INVOICES, query, asked), page)
        items = [views.invoice(conn, one, lines=lines, whole=False) for one in found]
    # The one list whose offset comes back as it was asked.
    return listed(items, total, page[0], page[1])


def _wanted_invoices(asked: Asked) -> Select[Any]:
    column = INVOICES.column
    lists = {"id": asked.words("invoice_ids")}
    lists |= {name: asked.words(name) for name in ("invoice_status", "payment_status")}
    single = ("subscription_id", "invoice_type", "currency", "billing_reason")
    lists |= {name: [value] if (value := asked.word(name)) else [] for name in single}
    query = INVOICES.among(INVOICES.query(asked), lists)
    if not lists["invoice_status"]:
        query = query.where(column("invoice_status") != "SKIPPED")
    query = INVOICES.within(query, "period_start", "period_end", asked)
    for name in ("amount_due", "amount_remaining"):
        if (least := asked.number(f"{name}_gt")) is not None:
            query = query.where(column(name) > least)
    for name in ("period_start", "period_end"):
        if since := asked.moment(f"{name}_gte"):
            query = query.where(instant(column(name)) >= instant(since))
        if until := asked.moment(f"{name}_lte"):
            query = query.where(instant(column(name)) <= instant(until))
    return query


# Payments and refunds.


@bp.get("/payments/<payment_id>")
def get_payment(payment_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        payment = seen(conn, payments, payment_id)
    if payment is None:
        raise not_found("Payment not found", payment_id=payment_id)
    return jsonify(payment)


REFUND_LISTS = {
    "payment_id": "payment_ids",
    "invoice_id": "invoice_ids",
    "credit_note_id": "credit_note_ids",
    "refund_status": "refund_statuses",
    "refund_destination": "refund_destinations",
    "payment_gateway": "gateway",
}
REFUNDS = Listing(refunds, " ".join(REFUND_LISTS), "Failed to list refunds")


@bp.get("/refunds")
@newest_only
def list_refunds() -> ResponseReturnValue:
    """A list is `payment_ids=a,b`, as the SDK sends it, or the parameter given twice."""
    numbers = {name: _number(name) for name in ("limit", "offset")}
    asked = Asked("Invalid filter parameters", body={k: v for k, v in numbers.items() if v is not None})
    limit, offset = asked.page(zero_is_default=True)
    query = select(refunds.c.body)
    for column, name in REFUND_LISTS.items():
        query = REFUNDS.among(query, {column: _parts(name)})
    if request.args.get("only_settled") == "true":
        query = query.where(REFUNDS.column("refund_status") == "SUCCEEDED")
    with current_store().reading() as conn:
        found, total = page_of(conn, refunds, REFUNDS.by_age(query, "desc"), (limit, offset))
    return listed(found, total, limit, offset + limit)


def _number(name: str) -> int | str | None:
    text = request.args.get(name)
    return int(text) if text and text.removeprefix("-").isdecimal() and len(text) < 10 else text


def _parts(name: str) -> list[str]:
    return [part for value in request.args.getlist(name) for part in value.split(",") if part]


@bp.get("/refunds/<refund_id>")
@newest_only
def get_refund(refund_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        refund = seen(conn, refunds, refund_id)
    if refund is None:
        raise not_found(f"refund {refund_id} not found", id=refund_id)
    return jsonify(refund)
