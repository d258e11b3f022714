"""Entitlements and usage."""

from ...engine import usage
from ...store.database import Session
from ...store.values import decimal_text, optional_time
from . import catalog
from .common import Body, without_empty


def aggregated(grant: usage.Grant) -> Body:
    """A feature with what its entitlements come to."""
    is_metered = grant.feature.type == "metered"
    entitlement: Body = {
        "is_enabled": True,
        "usage_limit": grant.limit,
        "is_soft_limit": grant.is_soft,
        "usage_reset_period": grant.reset_period,
        "static_values": grant.static_values,
        "aggregation_mode": "additive" if is_metered else "",
    }
    optional = ("usage_limit", "usage_reset_period", "static_values", "aggregation_mode")
    shown = {"feature": catalog.feature(grant.feature), "entitlement": without_empty(entitlement, *optional)}
    return shown | {"sources": sources(grant)}


def sources(grant: usage.Grant) -> list[Body]:
    return [
        without_empty(
            {
                "subscription_id": subscription.id,
                "entity_id": plan.id,
                "entity_type": "plan",
                "quantity": 1,
                "entity_name": plan.name,
                "entitlement_id": own.id,
                "is_enabled": own.is_enabled,
                "usage_limit": own.usage_limit,
                "static_value": own.static_value,
            },
            *("usage_limit", "static_value"),
        )
        for subscription, plan, own in grant.sources
    ]


def summary(session: Session, customer_id: str, grant: usage.Grant) -> Body:
    """How much of a feature was used."""
    used = usage.used(session, customer_id, grant.feature.id)
    return {
        "feature": catalog.feature(grant.feature),
        "total_limit": grant.limit,
        "is_unlimited": grant.limit is None,
        "current_usage": decimal_text(used),
        "usage_percent": decimal_text(usage.percent(used, grant.limit)),
        "is_enabled": True,
        "is_soft_limit": grant.is_soft,
        "next_usage_reset_at": optional_time(usage.next_reset(session, grant)),
        "sources": sources(grant),
    }
