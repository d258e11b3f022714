"""Plans of one's own in one call: `PUT /_sandbox/plans/{lookup_key}`, also used for seeds."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..api import auth, requests
from ..api.serializers import catalog
from ..api.serializers.common import Body
from ..api.validation import PERIODS
from ..engine.catalog import prices_of
from ..engine.errors import invalid
from ..store.database import Session
from ..store.rows import CreditGrant, Entitlement, Feature, Plan, Price
from ..store.values import stable_id
from .access import control

bp = control("sandbox_plan_admin", __name__, "/_sandbox/plans")

EVERYTHING = ("entitlements", "features", "credit_grant")
PERIOD_NAMES = {"MONTHLY": "monthly", "ANNUAL": "yearly", "ONETIME": "set-up"}
MAX_AMOUNT = Decimal(10) ** 12
# What a price may say beside its currency, period and amount.
CHOICES: dict[str, tuple[str, ...]] = {
    "type": ("FIXED", "USAGE"),
    "billing_model": ("FLAT_FEE", "PACKAGE", "TIERED"),
    "invoice_cadence": ("ADVANCE", "ARREAR"),
    "tier_mode": ("VOLUME", "SLAB"),
    "status": ("published", "archived"),
}
TEXTS = ("lookup_key", "display_name", "description")
DATES = ("start_date", "end_date")


@bp.put("/<lookup_key>")
def put(lookup_key: str) -> ResponseReturnValue:
    """`{"name", "prices": [{"currency", "billing_period", "amount", …}], "entitlements": {"Seats": 5}}`.

    The same key again replaces the plan and keeps its id; `"status": "archived"` takes it off sale.
    """
    body = requests.json_body()
    with auth.writing() as session:
        plan = put_plan(session, lookup_key, body, session.now())
        prices = prices_of(session, plan.id)
        return jsonify(catalog.whole_plan(session, plan, prices, EVERYTHING))


def put_plan(session: Session, key: str, body: Body, at: datetime) -> Plan:
    """Makes or replaces a plan.

    :raises Refusal: a field that cannot be.
    """
    plan_id, name = stable_id("plan", key), _text(body, "name") or key
    prices = [
        _price(plan_id, name, key, number, fee, at) for number, fee in enumerate(_objects(body, "prices"), 1)
    ]
    if twice := [one for one, count in Counter(price["id"] for price in prices).items() if count > 1]:
        raise invalid("Two prices have the same lookup_key", price_ids=twice)
    entitlements = body.get("entitlements") or {}
    if not isinstance(entitlements, dict):
        raise invalid("entitlements is an object: a feature and its limit, text, or true")
    values = {
        "name": name,
        "lookup_key": key,
        "description": _text(body, "description"),
        "display_order": requests.whole(body, "display_order", 0),
        "meta": requests.metadata(body) or None,
        "status": _choice(body, "status", ("published", "archived")),
    }
    for price in prices_of(session, plan_id):
        price.status = "archived"
    for model in (Entitlement, CreditGrant):
        owner = Entitlement.entity_id if model is Entitlement else CreditGrant.plan_id
        session.delete(model, owner == plan_id)
    for price_values in prices:
        _upsert(session, Price, price_values)
    for number, (feature, value) in enumerate(entitlements.items()):
        _put_entitlement(session, plan_id, feature, value, at - timedelta(milliseconds=number))
    for grant in _objects(body, "credit_grants"):
        _upsert(session, CreditGrant, _grant(plan_id, grant, at))
    _upsert(session, Plan, {"id": plan_id, **values, **_stamps(at)})
    return session.need(Plan, plan_id)


def _upsert(session: Session, model: Any, values: Body) -> None:
    row = session.get(model, values["id"])
    if row is None:
        session.add(model(**values))
        return
    for name, value in values.items():
        setattr(row, name, value)


def _stamps(at: datetime) -> Body:
    return {"created_at": at, "updated_at": at}


def _text(body: Body, name: str) -> str:
    return requests.text(body, name, f"{name} is text")


def _objects(body: Body, name: str) -> list[Body]:
    return requests.objects(body, name, f"{name} is a list of objects")


def _choice(body: Body, name: str, choices: tuple[str, ...]) -> str:
    chosen = body.get(name, choices[0])
    if chosen not in choices:
        raise invalid(f"{name} cannot be that", allowed_values=list(choices))
    return str(chosen)


def _amount(body: Body, name: str) -> Decimal:
    try:
        amount = Decimal(str(body.get(name)))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < MAX_AMOUNT:
        raise invalid(f"{name} is an amount in major units, as text", field=name)
    return amount


def _price(plan_id: str, plan: str, key: str, number: int, body: Body, at: datetime) -> Body:
    currency, period = _text(body, "currency").lower(), body.get("billing_period", "MONTHLY")
    if len(currency) != 3:
        raise invalid("Currency code must be 3 characters long")
    if period not in PERIODS:
        raise invalid("Invalid billing period", billing_period=period)
    kind = _choice(body, "type", CHOICES["type"])
    made = at - timedelta(milliseconds=number)  # in every list the newest comes first
    price: Body = {
        "entity_type": "PLAN",
        "entity_id": plan_id,
        "amount": _amount(body, "amount"),
        "currency": currency,
        "type": kind,
        "billing_period": period,
        "invoice_cadence": "ARREAR" if kind == "USAGE" else "ADVANCE",
        "trial_period_days": requests.whole(body, "trial_period_days", 0),
        "display_name": f"{plan} {PERIOD_NAMES.get(period, period.lower())}",
        "lookup_key": f"{key}_{currency}_{period.lower()}",
        "meter_id": stable_id("meter", key) if kind == "USAGE" else "",
        "sequence": number,
        "status": "published",
        "start_date": made,
        "end_date": None,
        **_stamps(made),
        **_details(body),
    }
    return price | {"id": stable_id("price", price["lookup_key"])}


def _details(body: Body) -> Body:
    """What was said beyond the usual."""
    told: Body = {name: _choice(body, name, choices) for name, choices in CHOICES.items() if name in body}
    told |= {name: _text(body, name) for name in TEXTS if body.get(name)}
    for name in DATES:
        message = f"{name} is a time such as 2026-09-01T00:00:00Z"
        if moment := requests.moment(_text(body, name), message):
            told[name] = moment
    if body.get("min_quantity") is not None:
        told["min_quantity"] = _amount(body, "min_quantity")
    if body.get("metadata") is not None:
        told["meta"] = requests.metadata(body)
    if isinstance(body.get("transform_quantity"), dict):
        told["transform_quantity"] = body["transform_quantity"]
    if tiers := _objects(body, "tiers"):
        told["tiers"] = tiers
    return told


def _grant(plan_id: str, body: Body, at: datetime) -> Body:
    name = _text(body, "name") or "Credits"
    grant_id = stable_id("cg", f"{plan_id}/{name}")
    return {
        "id": grant_id,
        "name": name,
        "plan_id": plan_id,
        "credits": _amount(body, "credits"),
        **_stamps(at),
    }


def _put_entitlement(session: Session, plan_id: str, feature: str, value: Any, at: datetime) -> None:
    key, reset = feature.lower().replace("-", "").replace(" ", "_"), "MONTHLY"
    if isinstance(value, dict):  # {"limit": 10, "reset": "NEVER"}
        value, reset = requests.whole(value, "limit", 0), _text(value, "reset") or reset
    kind = "boolean" if isinstance(value, bool) else "metered" if isinstance(value, int) else "static"
    feature_id = stable_id("feat", key)
    described = {"name": feature, "lookup_key": key, "type": kind}
    _upsert(session, Feature, {"id": feature_id, **described, **_stamps(at)})
    values = {
        "id": stable_id("ent", f"{plan_id}/{key}"),
        "entity_type": "PLAN",
        "entity_id": plan_id,
        "feature_id": feature_id,
        "feature_type": kind,
        "static_value": str(value) if kind == "static" else "",
        "usage_limit": value if kind == "metered" else None,
        "usage_reset_period": reset if kind == "metered" else "",
        **_stamps(at),
    }
    session.add(Entitlement(**values))
