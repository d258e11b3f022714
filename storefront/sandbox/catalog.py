"""What is for sale in the sandbox, the same ids after every reset."""

import hashlib
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from storefront.sandbox.schema import plans
from storefront.sandbox.store import CROCKFORD, Body, add, rfc3339

ENVIRONMENT = {
    "environment_id": "env_01K3B8N36096Q14DR9GPQY77ZX",
    "tenant_id": "tenant_01K3B8YYK596NGYA1DQ91K5GQA",
}
SEEDED = rfc3339(datetime(2026, 1, 1, tzinfo=UTC))
STAMPS = {
    "created_at": SEEDED,
    "updated_at": SEEDED,
    "created_by": "user_sandbox",
    "updated_by": "user_sandbox",
}
SYMBOLS = {"inr": "₹", "usd": "$", "jpy": "¥"}

# name, description, metadata, prices (currency, period, amount, type), entitlements (limit, words or yes)
PLANS: list[tuple[str, str, dict[str, str], list[tuple[str, str, str, str]], dict[str, int | str | bool]]] = [
    (
        "Free",
        "Try it out, for as long as you like",
        {},
        [("inr", "MONTHLY", "0", "FIXED"), ("usd", "MONTHLY", "0", "FIXED")],
        {"E-mails": 500, "API calls": 1000, "Support": "Community"},
    ),
    (
        "Starter",
        "For your first customers",
        {},
        [
            ("inr", "MONTHLY", "499", "FIXED"),
            ("inr", "ANNUAL", "4990", "FIXED"),
            ("usd", "MONTHLY", "9", "FIXED"),
            ("usd", "ANNUAL", "90", "FIXED"),
        ],
        {"E-mails": 10000, "API calls": 50000, "Custom domain": True, "Support": "E-mail"},
    ),
    (
        "Team",
        "For a team that sends every day",
        {"highlight": "true"},
        [
            ("inr", "MONTHLY", "1499.5", "FIXED"),
            ("inr", "ANNUAL", "14995", "FIXED"),
            ("usd", "MONTHLY", "29", "FIXED"),
            ("usd", "ANNUAL", "290", "FIXED"),
        ],
        {
            "E-mails": 100000,
            "API calls": 500000,
            "Custom domain": True,
            "Team seats": 10,
            "Support": "Priority e-mail",
        },
    ),
    (
        "Business",
        "For a company that depends on it",
        {},
        [
            ("inr", "MONTHLY", "4999", "FIXED"),
            ("inr", "ANNUAL", "49990", "FIXED"),
            ("usd", "MONTHLY", "99", "FIXED"),
            ("usd", "ANNUAL", "990", "FIXED"),
        ],
        {
            "E-mails": 1000000,
            "API calls": 5000000,
            "Custom domain": True,
            "Team seats": 50,
            "Support": "Phone",
        },
    ),
    (
        "Pay as you go",
        "Only what you send",
        {},
        [("inr", "MONTHLY", "0.05", "USAGE"), ("usd", "MONTHLY", "0.001", "USAGE")],
        {"Custom domain": True, "Support": "E-mail"},
    ),
    (
        "Studio",
        "Templates made with you, once, then a monthly fee",
        {},
        [
            ("inr", "MONTHLY", "2499", "FIXED"),
            ("inr", "ONETIME", "5000", "FIXED"),
            ("usd", "MONTHLY", "49", "FIXED"),
            ("usd", "ONETIME", "99", "FIXED"),
        ],
        {"E-mails": 50000, "Custom domain": True, "Own templates": True, "Support": "A person"},
    ),
    (
        "Pacific",
        "Sending from Tokyo",
        {},
        [("jpy", "MONTHLY", "1500", "FIXED"), ("usd", "MONTHLY", "12", "FIXED")],
        {"E-mails": 20000, "Support": "E-mail"},
    ),
]

PERIOD_NAMES = {"MONTHLY": "monthly", "ANNUAL": "yearly", "ONETIME": "set-up"}


def seed(conn: Connection) -> None:
    if conn.execute(select(func.count()).select_from(plans)).scalar():
        return
    for order, (name, description, metadata, prices, entitlements) in enumerate(PLANS):
        add(conn, plans, _plan(order, name, description, metadata, prices, entitlements))


def stable_id(prefix: str, name: str) -> str:
    digest = hashlib.sha256(f"{prefix}/{name}".encode()).digest()
    return f"{prefix}_01" + "".join(CROCKFORD[byte % 32] for byte in digest[:24])


def _plan(
    order: int,
    name: str,
    description: str,
    metadata: dict[str, str],
    prices: list[tuple[str, str, str, str]],
    entitlements: dict[str, int | str | bool],
) -> Body:
    key = name.lower().replace(" ", "_")
    plan_id = stable_id("plan", key)
    return {
        "id": plan_id,
        "name": name,
        "lookup_key": key,
        "description": description,
        "display_order": order,
        "metadata": metadata,
        "prices": [_price(plan_id, name, key, *price) for price in prices],
        "entitlements": [_entitlement(plan_id, *item) for item in entitlements.items()],
        "credit_grants": [],
        "status": "published",
        **ENVIRONMENT,
        **STAMPS,
    }


def _price(plan_id: str, name: str, key: str, currency: str, period: str, amount: str, kind: str) -> Body:
    lookup_key = f"{key}_{currency}_{period.lower()}"
    once = period == "ONETIME"
    return {
        "id": stable_id("price", lookup_key),
        "amount": amount,
        "display_amount": f"{SYMBOLS[currency]}{amount}",
        "currency": currency,
        "type": kind,
        "billing_model": "FLAT_FEE",
        "billing_cadence": "ONETIME" if once else "RECURRING",
        "billing_period": period,
        "billing_period_count": 1,
        "invoice_cadence": "ARREAR" if kind == "USAGE" else "ADVANCE",
        "trial_period_days": 0,
        "price_unit_type": "FIAT",
        "display_name": f"{name} {PERIOD_NAMES[period]}",
        "lookup_key": lookup_key,
        "description": "",
        "metadata": None,
        "meter_id": stable_id("meter", "emails") if kind == "USAGE" else "",
        "transform_quantity": {},
        "entity_type": "PLAN",
        "entity_id": plan_id,
        "status": "published",
        **ENVIRONMENT,
        **STAMPS,
    }


def _entitlement(plan_id: str, feature: str, value: int | str | bool) -> Body:
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
        "static_value": value if kind == "static" else "",
        "status": "published",
        "feature": {
            "id": feature_id,
            "name": feature,
            "lookup_key": key,
            "type": kind,
            "status": "published",
        },
        **STAMPS,
    }
    return body | ({"usage_limit": value, "usage_reset_period": "MONTHLY"} if kind == "metered" else {})
