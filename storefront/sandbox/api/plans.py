"""Plans: /v1/plans."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine.catalog import prices_of
from ..engine.errors import Refusal, invalid, not_found
from ..store.billing_rows import Subscription
from ..store.database import Session
from ..store.rows import Entitlement, Feature, Plan
from ..store.values import new_id
from . import auth, requests
from .search import Asked, Listing, listed, page_with_metadata
from .serializers import catalog
from .serializers.common import Body

bp = auth.v1("sandbox_plans", __name__)

PLANS = Listing(Plan, "name lookup_key description display_order metadata", "Failed to apply query options")
# The plans' sort is copied to the query for their entitlements, which have no such columns as `name`.
SORTS_WITH_ENTITLEMENTS = ("created_at", "updated_at", "display_order")
EVERYTHING = {"prices", "entitlements", "features", "entitlement_plans", "credit_grant"}
TEXTS = ("name", "lookup_key", "description")


@bp.post("/plans")
def create() -> ResponseReturnValue:
    body = requests.json_body()
    name, key = requests.text(body, "name"), requests.text(body, "lookup_key")
    if not name:
        field = "Key: 'CreatePlanRequest.Name' Error:Field validation for 'Name' failed on the 'required' tag"
        raise invalid("Request validation failed", Name=field)
    requests.refuse_nul(body, "Failed to create plan")
    with auth.writing() as session:
        plan_id, now = new_id("plan"), session.now()
        _refuse_taken(session, key, plan_id, name)
        row = Plan(
            id=plan_id,
            name=name,
            lookup_key=key,
            description=requests.text(body, "description"),
            display_order=requests.whole(body, "display_order", 0),
            meta=requests.metadata(body) or None,
            created_at=now,
            updated_at=now,
        )
        return jsonify(catalog.plan(session.add(row))), 201


def _refuse_taken(session: Session, lookup_key: str, plan_id: str, name: str) -> None:
    """Flexprice speaks of the name, and means the lookup key.

    :raises Refusal: another published plan has this lookup key.
    """
    taken = (Plan.lookup_key == lookup_key, Plan.status == "published", Plan.id != plan_id)
    if lookup_key and session.first(Plan, *taken):
        message = "Plan with this name already exists"
        raise Refusal("already_exists", message, plan_id=plan_id, plan_name=name)


def need(session: Session, plan_id: str) -> Plan:
    """:raises Refusal: there is no such plan."""
    row = session.get(Plan, plan_id)
    if row is None:
        raise not_found(f"Plan with ID {plan_id} was not found", plan_id=plan_id)
    return row


@bp.get("/plans/<plan_id>")
def get(plan_id: str) -> ResponseReturnValue:
    """Whole, with prices that have ended; archived plans too."""
    with auth.reading() as session:
        row = need(session, plan_id)
        return jsonify(catalog.whole_plan(session, row, prices_of(session, plan_id), EVERYTHING))


@bp.get("/plans/lookup/<lookup_key>")
def get_by_lookup_key(lookup_key: str) -> ResponseReturnValue:
    with auth.reading() as session:
        row = session.first(Plan, Plan.lookup_key == lookup_key, Plan.status == "published")
        if row is None:
            raise not_found(f"Plan with lookup key {lookup_key} was not found", lookup_key=lookup_key)
        return jsonify(catalog.whole_plan(session, row, prices_of(session, row.id), EVERYTHING))


@bp.put("/plans/<plan_id>")
def update(plan_id: str) -> ResponseReturnValue:
    """Changes the fields that were sent."""
    body = requests.json_body()
    with auth.writing() as session:
        row = need(session, plan_id)
        for name in TEXTS:
            if body.get(name) is not None:
                setattr(row, name, requests.text(body, name))
        row.display_order = requests.whole(body, "display_order", row.display_order)
        if body.get("metadata") is not None:
            row.meta = requests.metadata(body) or None
        _refuse_taken(session, row.lookup_key, row.id, row.name)
        row.updated_at = session.now()
        return jsonify(catalog.plan(row))


@bp.delete("/plans/<plan_id>")
def delete(plan_id: str) -> ResponseReturnValue:
    """Archives the plan. The words of the answer are Flexprice's."""
    with auth.writing() as session:
        row = need(session, plan_id)
        active = (Subscription.plan_id == row.id, Subscription.subscription_status == "active")
        if session.count(Subscription, *active, Subscription.status == "published"):
            message = "Please remove the active subscriptions before deleting this plan."
            raise Refusal("invalid_operation", message, plan_id=row.id)
        row.status, row.updated_at = "archived", session.now()
    return jsonify(message="price deleted successfully")


@bp.get("/plans/<plan_id>/entitlements")
def entitlements(plan_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        plan = need(session, plan_id)
        own = session.all(
            Entitlement,
            Entitlement.entity_id == plan_id,
            Entitlement.status == "published",
            order=(Entitlement.created_at.desc(), Entitlement.id.desc()),
        )
        items = [
            catalog.entitlement(row, feature_row=session.get(Feature, row.feature_id), plan_row=plan)
            for row in own
        ]
    return listed(items, len(items), 0, 0)


@bp.post("/plans/search")
def search() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters")
    page, expand = asked.page(zero_is_default=True), asked.expand()
    with auth.reading() as session:
        query = PLANS.among(PLANS.query(session, asked), {"id": asked.texts("plan_ids")})
        if "lookup_key" in asked.body:
            query = query.where(Plan.lookup_key == asked.text("lookup_key"))
        query = PLANS.sorted(PLANS.within(query, "created_at", "created_at", asked), asked)
        found, total = page_with_metadata(session, query, page, asked.metadata())
        if found and "entitlements" in expand:
            _check_sort_of_entitlements(asked)
        items = [_shown(session, row, expand) for row in found]
    return listed(items, total, page[0], page[1] + page[0])


def _shown(session: Session, row: Plan, expand: set[str]) -> Body:
    """Expanded prices leave out ended ones and include those that have not begun."""
    prices = prices_of(session, row.id, ended=False) if "prices" in expand else []
    return catalog.whole_plan(session, row, prices, expand)


def _check_sort_of_entitlements(asked: Asked) -> None:
    for one in asked.objects("sort"):
        if one.text("field") not in SORTS_WITH_ENTITLEMENTS:
            raise invalid("Failed to apply query options")  # 400 or 500 at random in Flexprice
