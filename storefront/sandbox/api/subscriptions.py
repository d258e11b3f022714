"""Subscriptions: /v1/subscriptions."""

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, or_

from ..engine.checkout import published_customer
from ..engine.errors import Refusal, invalid, not_found
from ..store.billing_rows import Subscription
from ..store.database import Session
from . import auth
from .search import Asked, Listing, listed, page_of
from .serializers import billing

bp = auth.v1("sandbox_subscriptions", __name__)

SUBSCRIPTIONS = Listing(
    Subscription,
    """lookup_key customer_id plan_id subscription_status currency billing_anchor start_date end_date
    current_period_start current_period_end cancelled_at cancel_at cancel_at_period_end trial_start trial_end
    billing_cadence billing_period billing_period_count version pause_status billing_cycle payment_behavior
    collection_method subscription_type timezone""",
    "Failed to apply query options",
)
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


@bp.get("/subscriptions/<subscription_id>")
def get(subscription_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(billing.subscription(session, need(session, subscription_id)))


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
