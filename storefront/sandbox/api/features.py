"""Features and the entitlements of plans: /v1/features, /v1/entitlements."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine.errors import Refusal, invalid, not_found
from ..store.database import Session
from ..store.rows import Entitlement, Feature, Plan
from ..store.values import new_id
from . import auth, requests
from .search import Asked, Listing, listed, page_of
from .serializers import catalog
from .serializers.common import Body

bp = auth.v1("sandbox_features", __name__)

FEATURES = Listing(Feature, "name lookup_key description type meter_id", "Failed to apply query options")
ENTITLEMENTS = Listing(
    Entitlement,
    "entity_type entity_id feature_id feature_type is_enabled usage_limit display_order",
    "Failed to apply query options",
)
FEATURE_TYPES = ["metered", "boolean", "static"]
FEATURE_TEXTS = ("name", "lookup_key", "description", "unit_singular", "unit_plural")


@bp.post("/features")
def create_feature() -> ResponseReturnValue:
    body = requests.json_body()
    name, kind, key = (requests.text(body, field) for field in ("name", "type", "lookup_key"))
    if not name:
        raise invalid("Feature name is required")
    if kind not in FEATURE_TYPES:
        raise invalid("Invalid feature type", type=kind, allowed_values=FEATURE_TYPES)
    requests.refuse_nul(body, "Failed to create feature")
    with auth.writing() as session:
        if key and session.first(Feature, Feature.lookup_key == key, Feature.status == "published"):
            message = "A feature with this lookup key already exists"
            raise Refusal("already_exists", message, lookup_key=key)
        now = session.now()
        meter = requests.text(body, "meter_id") or (new_id("meter") if kind == "metered" else "")
        row = Feature(id=new_id("feat"), name=name, type=kind, meter_id=meter, created_at=now, updated_at=now)
        _apply_feature(row, body)
        return jsonify(catalog.feature(session.add(row))), 201


def _apply_feature(row: Feature, body: Body) -> None:
    for name in FEATURE_TEXTS:
        if name in body:
            setattr(row, name, requests.text(body, name))
    if "metadata" in body:
        row.meta = requests.metadata(body) or None


def _need_feature(session: Session, feature_id: str) -> Feature:
    row = session.get(Feature, feature_id)
    if row is None:
        raise not_found(f"Feature with ID {feature_id} was not found", feature_id=feature_id)
    return row


@bp.get("/features/<feature_id>")
def get_feature(feature_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(catalog.feature(_need_feature(session, feature_id)))


@bp.put("/features/<feature_id>")
def update_feature(feature_id: str) -> ResponseReturnValue:
    body = requests.json_body()
    with auth.writing() as session:
        row = _need_feature(session, feature_id)
        _apply_feature(row, body)
        row.updated_at = session.now()
        return jsonify(catalog.feature(row))


@bp.delete("/features/<feature_id>")
def delete_feature(feature_id: str) -> ResponseReturnValue:
    with auth.writing() as session:
        row = _need_feature(session, feature_id)
        row.status, row.updated_at = "archived", session.now()
    return jsonify(message="feature deleted successfully")


@bp.post("/features/search")
def search_features() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters")
    limit, offset = asked.page(zero_is_default=True)
    lists = {"id": asked.texts("feature_ids"), "lookup_key": asked.texts("lookup_keys")}
    with auth.reading() as session:
        query = FEATURES.among(FEATURES.query(session, asked), lists)
        found, total = page_of(session, FEATURES.sorted(query, asked), (limit, offset))
        items = [catalog.feature(row) for row in found]
    return listed(items, total, limit, offset + limit)


# Entitlements.


@bp.post("/entitlements")
def create_entitlement() -> ResponseReturnValue:
    body = requests.json_body()
    with auth.writing() as session:
        plan_id = requests.text(body, "entity_id") or requests.text(body, "plan_id")
        plan, feature = session.get(Plan, plan_id), _need_feature(session, requests.text(body, "feature_id"))
        if plan is None:
            raise not_found(f"Plan with ID {plan_id} was not found", plan_id=plan_id)
        now = session.now()
        row = Entitlement(
            id=new_id("ent"),
            entity_type=requests.text(body, "entity_type") or "PLAN",
            entity_id=plan.id,
            feature_id=feature.id,
            feature_type=requests.text(body, "feature_type") or feature.type,
            created_at=now,
            updated_at=now,
        )
        _apply_entitlement(row, body)
        session.add(row)
        publish_created(session, row)
        shown = catalog.entitlement(row, feature_row=feature, plan_row=plan)
    return jsonify(shown), 201


def publish_created(session: Session, row: Entitlement) -> None:
    from ..engine.events import publish

    publish(session, "entitlement.created", row.id)


def _apply_entitlement(row: Entitlement, body: Body) -> None:
    row.is_enabled = bool(body.get("is_enabled", row.is_enabled))
    row.is_soft_limit = bool(body.get("is_soft_limit", row.is_soft_limit))
    row.static_value = requests.text(body, "static_value") or row.static_value
    row.usage_reset_period = requests.text(body, "usage_reset_period") or row.usage_reset_period
    if "usage_limit" in body:
        row.usage_limit = None if body["usage_limit"] is None else requests.whole(body, "usage_limit", 0)


def _need_entitlement(session: Session, entitlement_id: str) -> Entitlement:
    row = session.get(Entitlement, entitlement_id)
    if row is None:
        message = f"Entitlement with ID {entitlement_id} was not found"
        raise not_found(message, entitlement_id=entitlement_id)
    return row


@bp.get("/entitlements/<entitlement_id>")
def get_entitlement(entitlement_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(_shown(session, _need_entitlement(session, entitlement_id)))


def _shown(session: Session, row: Entitlement) -> Body:
    feature, plan = session.get(Feature, row.feature_id), session.get(Plan, row.entity_id)
    return catalog.entitlement(row, feature_row=feature, plan_row=plan)


@bp.put("/entitlements/<entitlement_id>")
def update_entitlement(entitlement_id: str) -> ResponseReturnValue:
    body = requests.json_body()
    with auth.writing() as session:
        row = _need_entitlement(session, entitlement_id)
        _apply_entitlement(row, body)
        row.updated_at = session.now()
        return jsonify(_shown(session, row))


@bp.delete("/entitlements/<entitlement_id>")
def delete_entitlement(entitlement_id: str) -> ResponseReturnValue:
    with auth.writing() as session:
        row = _need_entitlement(session, entitlement_id)
        row.status, row.updated_at = "archived", session.now()
    return jsonify(message="entitlement deleted successfully")


@bp.post("/entitlements/search")
def search_entitlements() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters")
    limit, offset = asked.page(zero_is_default=True)
    lists = {"entity_id": asked.texts("entity_ids") + asked.texts("plan_ids")}
    lists["feature_id"] = asked.texts("feature_ids")
    with auth.reading() as session:
        query = ENTITLEMENTS.among(ENTITLEMENTS.query(session, asked), lists)
        if entity_type := asked.text("entity_type"):
            query = query.where(Entitlement.entity_type == entity_type)
        found, total = page_of(session, ENTITLEMENTS.sorted(query, asked), (limit, offset))
        items = [catalog.entitlement(row) for row in found]
    return listed(items, total, limit, offset + limit)
