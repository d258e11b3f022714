"""Subscriptions: /v1/subscriptions."""

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, or_

from ..engine import cancellations, subscriptions, switches
from ..engine.checkout import published_customer
from ..engine.errors import Refusal, invalid, not_found
from ..store.billing_rows import Subscription
from ..store.database import Session
from ..store.rows import Customer
from ..store.values import decimal_text, rfc3339
from . import auth, new_subscription, requests
from .search import Asked, Listing, listed, page_of
from .serializers import billing
from .serializers.checkout import checkout_session
from .serializers.common import Body, in_nanoseconds, without_empty

bp = auth.v1("sandbox_subscriptions", __name__)

SUBSCRIPTIONS = Listing(
    Subscription,
    """lookup_key customer_id plan_id subscription_status currency billing_anchor start_date end_date
    current_period_start current_period_end cancelled_at cancel_at cancel_at_period_end trial_start trial_end
    billing_cadence billing_period billing_period_count version pause_status billing_cycle payment_behavior
    collection_method subscription_type timezone""",
    "Failed to apply query options",
)
CREATED_TIMES = ("created_at", "updated_at", "expires_at")
INVOICE_POLICIES = ("cancel_immediately_inovice_policy", "cancel_immediately_invoice_policy")
POLICIES = ("generate_invoice", "skip")
STATUSES = ("active", "paused", "cancelled", "incomplete", "trialing", "draft")
EXPANSIONS = (
    *("plan", "customer", "prices", "meters", "schedule", "coupon_associations", "coupon"),
    *("subscription_line_items", "entitlements"),
)


def need(session: Session, subscription_id: str) -> Subscription:
    """:raises Refusal: there is none, or it is archived with a failed checkout."""
    row = session.get(Subscription, subscription_id)
    if row is None or row.status != "published":
        raise not_found("Subscription not found")
    return row


@bp.post("/subscriptions")
def create() -> ResponseReturnValue:
    """Without `checkout` active at once, billed or not; with it a draft until it is paid. Not idempotent."""
    body = requests.json_body()
    asked, options = new_subscription.subscription(body)
    with auth.writing() as session:
        customer = _customer(session, body)
        made = subscriptions.create(session, customer, asked, options)
        shown = _created(session, made)
    if made.refusal:
        raise made.refusal
    return jsonify(shown), 201


def _customer(session: Session, body: Body) -> Customer:
    """By its own id, else by the external one."""
    if customer_id := requests.text(body, "customer_id"):
        found = session.get(Customer, customer_id)
        if found is None or found.status != "published":
            raise not_found(f"Customer with ID {customer_id} was not found", customer_id=customer_id)
        return found
    return published_customer(session, requests.text(body, "external_customer_id"))


def _created(session: Session, made: subscriptions.Made) -> Body:
    lines = "none" if made.was_draft else "short"
    shown = billing.subscription(session, made.subscription, lines=lines, plan="none", customer=False)
    shown = in_nanoseconds(shown, "created_at", "updated_at")
    if made.invoice:
        gated = made.checkout is not None
        shown["latest_invoice"] = billing.invoice(
            session, made.invoice, subscription_too=gated, customer_too=gated
        )
    if made.checkout:
        shown["checkout_session"] = in_nanoseconds(checkout_session(session, made.checkout), *CREATED_TIMES)
    return shown


@bp.post("/subscriptions/<subscription_id>/cancel")
def cancel(subscription_id: str) -> ResponseReturnValue:
    """Ends a subscription now, with its period, or at a date."""
    body = requests.json_body()
    asked = _cancellation(body)
    with auth.writing() as session:
        row = need(session, subscription_id)
        done = cancellations.cancel(session, row, asked)
        shown = {
            "subscription_id": row.id,
            "cancellation_type": asked.type,
            "effective_date": rfc3339(done.effective_date),
            "status": row.subscription_status,
            "reason": asked.reason,
            "proration_details": done.details,
            "total_credit_amount": decimal_text(done.credit),
            "message": done.message,
            "processed_at": rfc3339(session.now()),
        }
    return jsonify(without_empty(shown, "reason"))


def _cancellation(body: Body) -> cancellations.Request:
    """Legacy reads the misspelt policy only; the newest generation reads either."""
    names = ("cancellation_type", "reason", "proration_behavior", *INVOICE_POLICIES)
    kind, reason, behavior, misspelt, correct = (requests.text(body, name) for name in names)
    with auth.reading() as session:
        policy = misspelt if switches.is_legacy(session) else misspelt or correct
    if policy and policy not in POLICIES:
        message = "Cancel immediately invoice policy must be generate_invoice or skip"
        raise invalid(message, allowed_values=list(POLICIES), provided_value=policy)
    return cancellations.Request(
        kind,
        reason,
        requests.moment(body.get("cancel_at")),
        prorates=behavior == "create_prorations",
        generates_invoice=policy == POLICIES[0],
    )


@bp.get("/subscriptions/<subscription_id>")
def get(subscription_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(billing.subscription(session, need(session, subscription_id)))


@bp.put("/subscriptions/<subscription_id>")
def update(subscription_id: str) -> ResponseReturnValue:
    """Writes status and end as they are sent: a body without `cancel_at_period_end` sets that to false."""
    body = requests.json_body()
    status, at = requests.text(body, "status"), requests.moment(body.get("cancel_at"))
    with auth.writing() as session:
        row = need(session, subscription_id)
        ends = requests.flag(body, "cancel_at_period_end")
        subscriptions.overwrite(session, row, status, at, at_period_end=ends)
        return jsonify(billing.subscription(session, row))


@bp.post("/subscriptions/search")
def search() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters", "Please provide valid filter parameters")
    page, expand = asked.page(), asked.expand(EXPANSIONS)
    lines = "short" if asked.flag("with_line_items") or "subscription_line_items" in expand else "none"
    with auth.reading() as session:
        query = SUBSCRIPTIONS.sorted(_wanted(session, asked), asked)
        found, total = page_of(session, _of_customer(session, query, asked), page)
        customer = "customer" in expand
        items = [
            billing.subscription(session, row, lines=lines, plan="short", customer=customer) for row in found
        ]
    return listed(items, total, page[0], page[1] + page[0])


def _of_customer(
    session: Session, query: Select[tuple[Subscription]], asked: Asked
) -> Select[tuple[Subscription]]:
    """The external id wins over the customer's own."""
    customer_id = asked.text("customer_id")
    if external_id := asked.text("external_customer_id"):
        try:
            customer_id = published_customer(session, external_id).id
        except Refusal as refusal:
            refusal.details["external_customer_id"] = external_id
            raise
    return SUBSCRIPTIONS.among(query, {"customer_id": [customer_id] if customer_id else []})


def _wanted(session: Session, asked: Asked) -> Select[tuple[Subscription]]:
    statuses = asked.texts("subscription_status")
    if any(status not in STATUSES for status in statuses):
        raise invalid("Invalid subscription status")
    by_filter = any(one.text("field") == "subscription_status" for one in asked.objects("filters"))
    if not statuses and not by_filter:
        statuses = ["active"]  # Flexprice's default: cancelled and draft ones are hidden
    names = {"id": "subscription_ids", "customer_id": "customer_ids"} | {
        name: name for name in ("billing_period", "billing_cadence", "subscription_type")
    }
    lists = {column: asked.texts(name) for column, name in names.items()}
    lists["subscription_status"] = statuses
    lists["plan_id"] = [plan] if (plan := asked.text("plan_id")) else []
    query = SUBSCRIPTIONS.among(SUBSCRIPTIONS.query(session, asked), lists)
    query = SUBSCRIPTIONS.within(query, "current_period_start", "current_period_end", asked)
    if at := asked.moment("active_at"):
        ends = or_(Subscription.end_date.is_(None), Subscription.end_date > at)
        query = query.where(Subscription.start_date <= at, ends)
    return query
