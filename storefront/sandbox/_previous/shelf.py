"""Plans and their prices: how they look, and a way to put your own on the shelf."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, select

from storefront.sandbox._previous import store, validation
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.errors import invalid
from storefront.sandbox._previous.schema import plans, prices
from storefront.sandbox._previous.store import (
    ENVIRONMENT,
    Body,
    all_seen,
    current_store,
    find,
    money,
    rfc3339,
    save,
    stable_id,
)

bp = Blueprint("sandbox_shelf", __name__, url_prefix="/_sandbox/plans")

SYMBOLS = {"inr": "₹", "usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}
PERIOD_NAMES = {"MONTHLY": "monthly", "ANNUAL": "yearly", "ONETIME": "set-up"}

# What a price may say of itself beside its currency, period and amount.
WORDS_OF_A_PRICE: dict[str, tuple[str, ...]] = {
    "type": ("FIXED", "USAGE"),
    "billing_model": ("FLAT_FEE", "PACKAGE", "TIERED"),
    "invoice_cadence": ("ADVANCE", "ARREAR"),
    "tier_mode": ("VOLUME", "SLAB"),
    "status": ("published", "archived"),
}
TEXTS_OF_A_PRICE = ("lookup_key", "display_name", "description")
DATES_OF_A_PRICE = ("start_date", "end_date")


@bp.put("/<lookup_key>")
def stock(lookup_key: str) -> ResponseReturnValue:
    """`{"name": …, "prices": [{"currency", "billing_period", "amount", …}], "entitlements": {"Seats": 5}}`.

    The same key again replaces the plan and keeps its id; `"status": "archived"` takes it off the shelf.
    """
    asked = validation.json_object()
    with current_store().writing() as conn:
        put(conn, lookup_key, asked, now(conn))
        plan = find_plan(conn, lookup_key)
        shown = plan and plan | {"prices": all_prices(conn, [plan["id"]])}
    return jsonify(shown)


def find_plan(conn: Connection, lookup_key: str) -> Body | None:
    return find(conn, plans, lookup_key, "lookup_key")


def all_prices(conn: Connection, plan_ids: list[str]) -> list[Body]:
    """The newest first."""
    query = select(prices.c.body).where(prices.c.entity_id.in_(plan_ids))
    found = list(conn.execute(query.order_by(prices.c.body["sequence"].as_integer())).scalars())
    return [price for price in all_seen(conn, prices, found) if price["status"] == "published"]


def running_prices(conn: Connection, plan_ids: list[str], at: datetime) -> list[Body]:
    """Without those that have ended; those that have not begun are among them, as in Flexprice."""
    return [price for price in all_prices(conn, plan_ids) if not _has_ended(price, at)]


def _has_ended(price: Body, at: datetime) -> bool:
    return bool(price.get("end_date")) and datetime.fromisoformat(price["end_date"]) <= at


def put(conn: Connection, key: str, asked: Body, at: datetime) -> None:
    plan_id = stable_id("plan", key)
    name, fees = _text(asked, "name") or key, _objects(asked, "prices")
    made = [_price(plan_id, name, key, number, fee, at) for number, fee in enumerate(fees, 1)]
    if twice := [one for one, count in Counter(price["id"] for price in made).items() if count > 1]:
        raise invalid("Two prices have the same lookup_key", price_ids=twice)
    entitlements = asked.get("entitlements") or {}
    if not isinstance(entitlements, dict):
        raise invalid("entitlements is an object: a feature and its limit, words, or true")
    plan = {
        "id": plan_id,
        "name": name,
        "lookup_key": key,
        "description": _text(asked, "description"),
        "display_order": validation.whole(asked, "display_order", 0),
        "metadata": validation.metadata(asked),
        "entitlements": [_entitlement(plan_id, *item, at) for item in entitlements.items()],
        "credit_grants": [_grant(plan_id, one, at) for one in _objects(asked, "credit_grants")],
        "status": _choice(asked, "status", ("published", "archived")),
        **_stamps(at),
    }
    store.put(conn, plans, plan)
    for price in all_prices(conn, [plan_id]):
        save(conn, prices, price, status="archived")
    for price in made:
        store.put(conn, prices, price)


def _stamps(at: datetime) -> Body:
    when, who = rfc3339(at), "user_sandbox"
    return {"created_at": when, "updated_at": when, "created_by": who, "updated_by": who, **ENVIRONMENT}


def _text(asked: Body, name: str) -> str:
    return validation.word(asked, name, f"{name} is text")


def _objects(asked: Body, name: str) -> list[Body]:
    return validation.objects(asked, name, f"{name} is a list of objects")


def _choice(asked: Body, name: str, choices: tuple[str, ...]) -> str:
    chosen = asked.get(name, choices[0])
    if chosen not in choices:
        raise invalid(f"{name} cannot be that", allowed_values=list(choices))
    return str(chosen)


def _amount(asked: Body, name: str) -> str:
    try:
        amount = Decimal(str(asked.get(name)))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < 10**12:
        raise invalid(f"{name} is an amount in major units, as text", field=name)
    return money(amount)


def _price(plan_id: str, plan: str, key: str, number: int, asked: Body, at: datetime) -> Body:
    currency, period = _text(asked, "currency").lower(), asked.get("billing_period", "MONTHLY")
    if len(currency) != 3:
        raise invalid("Currency code must be 3 characters long")
    if period not in validation.PERIODS:
        raise invalid("Invalid billing period", billing_period=period)
    amount = _amount(asked, "amount")
    kind = _choice(asked, "type", WORDS_OF_A_PRICE["type"])
    lookup_key = f"{key}_{currency}_{period.lower()}"
    price: Body = {
        "amount": amount,
        "display_amount": f"{SYMBOLS.get(currency, currency.upper() + ' ')}{amount}",
        "currency": currency,
        "type": kind,
        "billing_model": "FLAT_FEE",
        "billing_cadence": "RECURRING",  # the only one there is, for one-time prices too
        "billing_period": period,
        "billing_period_count": 1,
        "invoice_cadence": "ARREAR" if kind == "USAGE" else "ADVANCE",
        "trial_period_days": validation.whole(asked, "trial_period_days", 0),
        "price_unit_type": "FIAT",
        "display_name": f"{plan} {PERIOD_NAMES.get(period, period.lower())}",
        "lookup_key": lookup_key,
        "description": "",
        "metadata": None,
        "meter_id": stable_id("meter", key) if kind == "USAGE" else "",
        "transform_quantity": {},
        "entity_type": "PLAN",
        "entity_id": plan_id,
        "sequence": number,
        "status": "published",
        **_stamps(at - timedelta(milliseconds=number)),  # the newest comes first in every list
        **_details(asked),
    }
    return price | {"id": stable_id("price", price["lookup_key"])}


def _details(asked: Body) -> Body:
    """What was said beyond the usual."""
    told: Body = {
        name: _choice(asked, name, choices) for name, choices in WORDS_OF_A_PRICE.items() if name in asked
    }
    told |= {name: _text(asked, name) for name in TEXTS_OF_A_PRICE if asked.get(name)}
    for name in DATES_OF_A_PRICE:
        if moment := validation.moment(_text(asked, name), f"{name} is a time such as 2026-09-01T00:00:00Z"):
            told[name] = rfc3339(moment)
    if asked.get("min_quantity") is not None:
        told["min_quantity"] = _amount(asked, "min_quantity")
    if asked.get("metadata") is not None:
        told["metadata"] = validation.metadata(asked)
    if isinstance(asked.get("transform_quantity"), dict):
        told["transform_quantity"] = asked["transform_quantity"]
    if isinstance(asked.get("tiers"), list):
        told["tiers"] = asked["tiers"]
    return told


def _grant(plan_id: str, asked: Body, at: datetime) -> Body:
    name = _text(asked, "name") or "Credits"
    return {
        "id": stable_id("cg", f"{plan_id}/{name}"),
        "name": name,
        "scope": "PLAN",
        "plan_id": plan_id,
        "credits": _amount(asked, "credits"),
        "cadence": "ONETIME",
        "expiration_type": "NEVER",
        "conversion_rate": "1",
        "status": "published",
        **_stamps(at),
    }


def _entitlement(plan_id: str, feature: str, value: Any, at: datetime) -> Body:
    key = feature.lower().replace("-", "").replace(" ", "_")
    kind = "boolean" if isinstance(value, bool) else "metered" if isinstance(value, int) else "static"
    feature_id = stable_id("feat", key)
    body: Body = {
        "id": stable_id("ent", f"{plan_id}/{key}"),
        "entity_type": "PLAN",
        "entity_id": plan_id,
        "feature_id": feature_id,
        "feature_type": kind,
        "is_enabled": True,
        "is_soft_limit": False,
        "static_value": str(value) if kind == "static" else "",
        "status": "published",
        "feature": {
            "id": feature_id,
            "name": feature,
            "lookup_key": key,
            "type": kind,
            "status": "published",
        },
        **_stamps(at),
    }
    return body | ({"usage_limit": value, "usage_reset_period": "MONTHLY"} if kind == "metered" else {})
