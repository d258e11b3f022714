"""Features and the entitlements of plans: /v1/features, /v1/entitlements."""

import re

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine.errors import Refusal, invalid, not_found
from ..engine.events import publish
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
FEATURE_TYPES = ["metered", "boolean", "static", "config"]
FEATURE_TEXTS = ("name", "description", "unit_singular", "unit_plural")
RESETS = ("", "MONTHLY", "ANNUAL", "WEEKLY", "DAILY", "QUARTERLY", "HALF_YEARLY", "NEVER")


@bp.post("/features")
def create_feature() -> ResponseReturnValue:
    body = requests.json_body()
    name, kind = requests.text(body, "name"), requests.text(body, "type")
    if not name or not kind:
        raise invalid(requests.BAD_FORMAT)
    if kind not in FEATURE_TYPES:
        raise invalid("Invalid feature type", type=kind, allowed_types=FEATURE_TYPES)
    if kind == "metered" and not body.get("meter_id") and not requests.an_object(body, "meter"):
        raise invalid("Please provide meter details to setup a metered feature")
    _check_units(body, "Please provide both unit singular and unit plural")
    requests.refuse_nul(body, "Failed to create feature")
    key = requests.text(body, "lookup_key") or re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    with auth.writing() as session:
        if key and session.first(Feature, Feature.lookup_key == key, Feature.status == "published"):
            message = "A feature with this lookup key already exists"
            raise Refusal("already_exists", message, lookup_key=key)
        now = session.now()
        meter = requests.text(body, "meter_id") or (new_id("meter") if kind == "metered" else "")
        row = Feature(id=new_id("feat"), name=name, type=kind, lookup_key=key, created_at=now, updated_at=now)
        row.meter_id = meter
        _apply_feature(row, body)
        session.add(row)
        publish(session, "feature.created", row.id)
        return jsonify(catalog.feature(row)), 201


def _check_units(units: Body, message: str) -> None:
    """:raises Refusal: only one of the two names of the unit is there."""
    if bool(units.get("unit_singular")) != bool(units.get("unit_plural")):
        raise invalid(message)


def _apply_feature(row: Feature, body: Body) -> None:
    for name in FEATURE_TEXTS:
        if body.get(name) is not None:
            setattr(row, name, requests.text(body, name))
    if body.get("metadata") is not None:
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
    """The lookup key and the type stay."""
    body = requests.json_body()
    with auth.writing() as session:
        row = _need_feature(session, feature_id)
        _apply_feature(row, body)
        units = {"unit_singular": row.unit_singular, "unit_plural": row.unit_plural}
        _check_units(units, "Unit singular and unit plural must be set together")
        row.updated_at = session.now()
        publish(session, "feature.updated", row.id)
        return jsonify(catalog.feature(row))


@bp.delete("/features/<feature_id>")
def delete_feature(feature_id: str) -> ResponseReturnValue:
    """Archives a feature that no plan grants."""
    with auth.writing() as session:
        row = session.get(Feature, feature_id)
        if row is None:
            raise not_found("The specified feature does not exist")
        if session.count(Entitlement, Entitlement.feature_id == row.id, Entitlement.status == "published"):
            message = "Feature is linked to some plans, please remove the feature from the plans first"
            raise Refusal("invalid_operation", message)
        row.status, row.updated_at = "archived", session.now()
        publish(session, "feature.deleted", row.id)
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
    _check_entitlement(body)
    with auth.writing() as session:
        plan = _granting(session, body)
        feature = _need_feature(session, requests.text(body, "feature_id"))
        row = _new_entitlement(session, plan, feature, body)
        _refuse_second(session, row)
        session.add(row)
        publish(session, "entitlement.created", row.id)
        shown = catalog.entitlement(row, feature_row=feature, plan_row=plan)
    return jsonify(shown), 201


def _new_entitlement(session: Session, plan: Plan, feature: Feature, body: Body) -> Entitlement:
    """Not stored yet. Only a boolean feature can be granted and switched off.

    :raises Refusal: the feature is of another type.
    """
    kind, now = requests.text(body, "feature_type"), session.now()
    if feature.type != kind:
        raise invalid(f"Expected {feature.type}, got {kind}", expected=feature.type, actual=kind)
    row = Entitlement(
        id=new_id("ent"),
        entity_type="PLAN",
        entity_id=plan.id,
        feature_id=feature.id,
        feature_type=kind,
        created_at=now,
        updated_at=now,
    )
    _apply_entitlement(row, body)
    row.is_enabled = row.is_enabled or kind != "boolean"
    return row


def _check_entitlement(body: Body) -> None:
    """:raises Refusal: the first rule that is broken."""
    feature_id, kind = requests.text(body, "feature_id"), requests.text(body, "feature_type")
    if not feature_id or not kind:
        raise invalid(requests.BAD_FORMAT)
    if kind not in FEATURE_TYPES:
        raise invalid("Invalid feature type", type=kind, allowed_types=FEATURE_TYPES)
    if kind == "metered" and requests.text(body, "usage_reset_period") not in RESETS:
        raise invalid("Invalid entitlement usage reset period")
    if kind == "static" and not requests.text(body, "static_value"):
        raise invalid("Static value is required for static features")
    names = ("plan_id", "entity_type", "entity_id")
    plan_id, entity_type, entity_id = (requests.text(body, name) for name in names)
    if not plan_id and not (entity_type and entity_id):
        given = {"plan_id": plan_id, "entity_type": entity_type, "entity_id": entity_id}
        raise invalid("Please provide plan_id or entity_type and entity_id", **given)


def _granting(session: Session, body: Body) -> Plan:
    """:raises Refusal: there is no such plan; the sandbox grants by plans only."""
    entity_type, entity_id = (requests.text(body, name) for name in ("entity_type", "entity_id"))
    if not entity_type or not entity_id:
        entity_type, entity_id = "PLAN", requests.text(body, "plan_id")
    if entity_type != "PLAN":
        message = "Only PLAN, ADDON, and SUBSCRIPTION entity types are supported"
        raise invalid(message, entity_type=entity_type)
    plan = session.get(Plan, entity_id)
    if plan is None:
        raise not_found(f"Plan with ID {entity_id} was not found", plan_id=entity_id)
    return plan


def _refuse_second(session: Session, row: Entitlement) -> None:
    """:raises Refusal: the plan grants this feature already."""
    same = (Entitlement.entity_id == row.entity_id, Entitlement.feature_id == row.feature_id)
    if session.first(Entitlement, *same, Entitlement.status == "published"):
        message = "An entitlement with this plan and feature already exists"
        names = ("entity_type", "entity_id", "feature_id")
        details: Body = {name: getattr(row, name) for name in names}
        raise Refusal("already_exists", message, **details)


def _apply_entitlement(row: Entitlement, body: Body) -> None:
    for name in ("is_enabled", "is_soft_limit"):
        if body.get(name) is not None:
            setattr(row, name, requests.flag(body, name))
    row.static_value = requests.text(body, "static_value") or row.static_value
    row.usage_reset_period = requests.text(body, "usage_reset_period") or row.usage_reset_period
    if body.get("usage_limit") is not None:
        row.usage_limit = requests.whole(body, "usage_limit", 0)


def _need_entitlement(session: Session, entitlement_id: str) -> Entitlement:
    row = session.get(Entitlement, entitlement_id)
    if row is None:
        raise not_found("Entitlement not found", id=entitlement_id)
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
        row.usage_limit = row.usage_limit or None  # a limit of 0 takes the limit away here
        row.updated_at = session.now()
        publish(session, "entitlement.updated", row.id)
        return jsonify(catalog.entitlement(row))


@bp.delete("/entitlements/<entitlement_id>")
def delete_entitlement(entitlement_id: str) -> ResponseReturnValue:
    with auth.writing() as session:
        row = _need_entitlement(session, entitlement_id)
        row.status, row.updated_at = "archived", session.now()
        publish(session, "entitlement.deleted", row.id)
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
