"""Customers, plans, prices and checkout sessions: /v1/… as Flexprice answers and refuses."""

import time
from typing import Any

from flask import current_app, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from storefront.sandbox import checkout, validation, views
from storefront.sandbox.billing import stamps
from storefront.sandbox.clock import now
from storefront.sandbox.door import current_settings, v1
from storefront.sandbox.errors import Refusal, invalid, not_found
from storefront.sandbox.events import tell
from storefront.sandbox.schema import customers, plans, sessions
from storefront.sandbox.store import Body, add, current_store, find, new_id, save

bp = v1("sandbox_api", __name__)

CUSTOMER_FIELDS = (*validation.CUSTOMER_TEXTS, "metadata")
PRICE_EXPANSIONS = {"meters", "priceunit", "plan", "addons", "groups"}


def listed(items: list[Body], total: int, limit: int, offset: int) -> ResponseReturnValue:
    return jsonify({"items": items, "pagination": {"total": total, "limit": limit, "offset": offset}})


# Customers.


@bp.post("/customers")
def create_customer() -> ResponseReturnValue:
    asked = validation.json_object()
    validation.customer(asked)
    with current_store().writing() as conn:
        customer: Body = {name: asked.get(name) or "" for name in CUSTOMER_FIELDS}
        customer |= {"id": new_id("cust"), "timezone": asked.get("timezone") or "UTC", **stamps(now(conn))}
        customer["metadata"] = asked.get("metadata")
        try:
            add(conn, customers, customer)
        except IntegrityError:
            message = "A customer with this identifier already exists"
            raise Refusal("already_exists", message, external_id=asked["external_id"]) from None
        tell(conn, "customer.created", customer["id"])
    return jsonify(customer), 201


@bp.get("/customers/external/<external_id>")
def get_customer_by_external_id(external_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        return jsonify(checkout.published_customer(conn, external_id))


@bp.get("/customers/<customer_id>")
def get_customer(customer_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        customer = find(conn, customers, customer_id)
    if customer is None:
        raise not_found(f"Customer with ID {customer_id} was not found", customer_id=customer_id)
    return jsonify(customer)


# Plans and prices.


@bp.post("/plans/search")
def search_plans() -> ResponseReturnValue:
    asked = validation.json_object("Invalid filter parameters")
    limit, offset = validation.page(asked, "Invalid filter parameters", zero_means_default=True)
    expand = set(validation.word(asked, "expand").split(","))
    status, ids = validation.word(asked, "status") or "published", validation.words(asked, "plan_ids")
    query = select(plans.c.body).where(plans.c.status == status).order_by(plans.c.display_order)
    if ids:
        query = query.where(plans.c.id.in_(ids))
    if lookup_key := validation.word(asked, "lookup_key"):
        query = query.where(plans.c.lookup_key == lookup_key)
    with current_store().reading() as conn:
        found = list(conn.execute(query).scalars())
    items = [views.plan(plan, expand) for plan in found[offset : offset + limit]]
    return listed(items, len(found), limit, offset + limit)


@bp.get("/plans/<plan_id>")
def get_plan(plan_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        plan = find(conn, plans, plan_id)
    if plan is None:
        raise not_found(f"Plan with ID {plan_id} was not found", plan_id=plan_id)
    return jsonify(plan)


@bp.post("/prices/search")
def search_prices() -> ResponseReturnValue:
    asked = validation.json_object("Invalid filter parameters")
    limit, offset = validation.page(asked | {"limit": asked.get("limit") or 50}, "x", zero_means_default=True)
    for field in filter(None, validation.word(asked, "expand").split(",")):
        if field not in PRICE_EXPANSIONS:
            raise invalid("Field is not allowed to be expanded", field=field)
    wanted = _price_filter(asked)
    with current_store().reading() as conn:
        every = conn.execute(select(plans.c.body).order_by(plans.c.display_order)).scalars()
        found = [price for plan in every for price in plan["prices"] if wanted(price)]
    return listed(found[offset : offset + limit], len(found), limit, offset + limit)


def _price_filter(asked: Body) -> Any:
    """`plan_ids` is taken and ignored, as in the original: `entity_ids` is what works."""
    lists = {
        "id": "price_ids",
        "entity_id": "entity_ids",
        "billing_period": "billing_periods",
        "meter_id": "meter_ids",
    }
    wanted = {field: validation.words(asked, name) for field, name in lists.items()}
    kind = validation.word(asked, "entity_type") or "PLAN"

    def matches(price: Body) -> bool:
        return price["entity_type"] == kind and all(
            not values or price[field] in values for field, values in wanted.items()
        )

    return matches


# Checkout sessions.


@bp.post("/checkout/sessions")
def create_session() -> ResponseReturnValue:
    asked = validation.json_object()
    with current_store().writing() as conn:
        session, refusal = checkout.create(conn, current_settings(), asked)
        shown = views.session(conn, session)
    if refusal:
        raise refusal
    return jsonify(shown), 201


@bp.get("/checkout/sessions/<session_id>")
def get_session(session_id: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        session = find(conn, sessions, session_id)
        if session is None:
            raise not_found(f"checkout session {session_id} not found", id=session_id)
        return jsonify(views.session(conn, session, polling=True, stale=_asked_just_now(session_id)))


def _asked_just_now(session_id: str) -> bool:
    # Not documented: the SDK says "debounced", we take a second.
    asked: dict[str, float] = current_app.extensions.setdefault("sandbox_asked", {})
    at = time.monotonic()
    if at - asked.get(session_id, at - 60) < 1:
        return True
    if len(asked) > 10_000:
        asked.clear()
    asked[session_id] = at
    return False


@bp.delete("/checkout/sessions/<session_id>")
def delete_session(session_id: str) -> ResponseReturnValue:
    """Hides the row and nothing else: the link stays payable."""
    with current_store().writing() as conn:
        session = find(conn, sessions, session_id)
        if session is None:
            raise not_found(f"checkout session {session_id} not found or already archived")
        save(conn, sessions, session, status="archived")
    return "", 204


@bp.post("/checkout/sessions/<session_id>/cancel")
def cancel_session(session_id: str) -> ResponseReturnValue:
    with current_store().writing() as conn:
        session = find(conn, sessions, session_id)
        if session is None or session["status"] != "published":
            raise not_found(f"checkout session {session_id} not found", id=session_id)
        checkout.cancel(conn, session)
        return jsonify(views.session(conn, session))
