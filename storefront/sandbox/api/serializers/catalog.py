"""Customers, plans, prices, features, entitlements."""

from collections.abc import Collection, Sequence

from ...engine.money import SYMBOLS
from ...store.database import Session
from ...store.rows import CreditGrant, Customer, Entitlement, Feature, Plan, Price
from ...store.values import decimal_text, optional_time, rfc3339
from .common import Body, row_fields, without_empty

CUSTOMER_TEXTS = (
    *("external_id", "name", "email", "address_line1", "address_line2", "address_city", "address_state"),
    *("address_postal_code", "address_country", "timezone"),
)


def customer(row: Customer) -> Body:
    body: Body = {"id": row.id} | {name: getattr(row, name) for name in CUSTOMER_TEXTS}
    if row.contact:
        body["contact"] = row.contact
    return body | {"metadata": row.meta or None} | (row.extra or {}) | row_fields(row)


def feature(row: Feature) -> Body:
    names = ("id", "name", "lookup_key", "description", "type", "meter_id", "unit_singular", "unit_plural")
    return {name: getattr(row, name) for name in names} | {"metadata": row.meta or None} | row_fields(row)


def price(row: Price) -> Body:
    amount = decimal_text(row.amount)
    body: Body = {
        "id": row.id,
        "amount": amount,
        "display_amount": f"{SYMBOLS.get(row.currency, f'{row.currency.upper()} ')}{amount}",
        "currency": row.currency,
        "price_unit_type": row.price_unit_type,
        "price_unit_amount": "0",
        "conversion_rate": "1",
        "min_quantity": decimal_text(row.min_quantity) if row.min_quantity is not None else None,
        "type": row.type,
        "billing_period": row.billing_period,
        "billing_period_count": row.billing_period_count,
        "billing_model": row.billing_model,
        "billing_cadence": row.billing_cadence,
        "invoice_cadence": row.invoice_cadence,
        "trial_period_days": row.trial_period_days,
        "tier_mode": row.tier_mode,
        "tiers": row.tiers,
        "meter_id": row.meter_id,
        "lookup_key": row.lookup_key,
        "display_name": row.display_name,
        "description": row.description,
        "transform_quantity": {"divide_by": 1} if row.transform_quantity is None else row.transform_quantity,
        "metadata": row.meta or {},
        "entity_type": row.entity_type,
        "entity_id": row.entity_id,
        "parent_price_id": row.parent_price_id,
        "group_id": row.group_id,
        "start_date": rfc3339(row.start_date),
        "end_date": optional_time(row.end_date),
        "sequence": row.sequence,
        **row_fields(row),
    }
    optional = ("min_quantity", "tier_mode", "tiers", "parent_price_id", "group_id", "end_date", "sequence")
    return without_empty(body, *optional)


def entitlement(
    row: Entitlement, *, feature_row: Feature | None = None, plan_row: Plan | None = None
) -> Body:
    names = (
        *("id", "entity_type", "entity_id", "feature_id", "feature_type", "is_enabled", "is_soft_limit"),
        *("usage_limit", "usage_reset_period", "static_value", "display_order"),
    )
    body = {name: getattr(row, name) for name in names}
    body |= {"aggregation_mode": "additive", "plan_id": row.entity_id, **row_fields(row)}
    if feature_row is not None:
        body["feature"] = feature(feature_row)
    if plan_row is not None:
        body["plan"] = plan(plan_row)
    return body


def credit_grant(row: CreditGrant) -> Body:
    names = ("id", "name", "scope", "plan_id", "cadence", "expiration_type")
    body = {name: getattr(row, name) for name in names}
    return body | {"credits": decimal_text(row.credits), "conversion_rate": "1", **row_fields(row)}


def plan(row: Plan) -> Body:
    names = ("id", "name", "lookup_key", "description", "display_order")
    return {name: getattr(row, name) for name in names} | {"metadata": row.meta or None} | row_fields(row)


def whole_plan(
    session: Session,
    row: Plan,
    prices: Sequence[Price],
    expand: Collection[str] = ("entitlements", "features"),
) -> Body:
    """A plan with what belongs to it. Lists without items are left out.

    :param expand: `entitlements`, `features` and `entitlement_plans` (inside them), `credit_grant`.
    """
    body = plan(row)
    body["prices"] = [price(one) for one in prices]
    if "entitlements" in expand:
        body["entitlements"] = _entitlements(session, row, expand)
    if "credit_grant" in expand:
        own = session.all(CreditGrant, CreditGrant.plan_id == row.id, CreditGrant.status == "published")
        body["credit_grants"] = [credit_grant(one) for one in own]
    return without_empty(body, "prices", "entitlements", "credit_grants")


def _entitlements(session: Session, plan_row: Plan, expand: Collection[str]) -> list[Body]:
    own = session.all(
        Entitlement,
        Entitlement.entity_id == plan_row.id,
        Entitlement.status == "published",
        order=(Entitlement.created_at.desc(), Entitlement.id.desc()),
    )
    plan_too = plan_row if "entitlement_plans" in expand else None
    features = [session.get(Feature, one.feature_id) if "features" in expand else None for one in own]
    pairs = zip(own, features, strict=True)
    return [entitlement(one, feature_row=found, plan_row=plan_too) for one, found in pairs]
