"""What a customer may use, by their subscriptions' plans, and how much of it was used."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ..store.billing_rows import Subscription, SubscriptionLine
from ..store.control_rows import Usage
from ..store.database import Session
from ..store.rows import Entitlement, Feature, Plan
from . import switches
from .errors import Refusal
from .periods import period_end

RUNNING = ("active", "trialing")
ORDER = {"metered": 1, "static": 2, "boolean": 3}


@dataclass
class Grant:
    """A feature and the entitlements to it, each with its subscription and plan."""

    feature: Feature
    sources: list[tuple[Subscription, Plan, Entitlement]] = field(default_factory=list)

    @property
    def limit(self) -> int | None:
        """The sum; None: without limit, also for features that are not metered."""
        limits = [own.usage_limit for _, _, own in self.sources]
        if self.feature.type != "metered" or None in limits:
            return None
        return sum(limit or 0 for limit in limits)

    @property
    def is_soft(self) -> bool:
        return self.feature.type == "metered" and any(own.is_soft_limit for _, _, own in self.sources)

    @property
    def reset_period(self) -> str:
        if self.feature.type != "metered":
            return ""
        return next((own.usage_reset_period for _, _, own in self.sources if own.usage_reset_period), "")

    @property
    def static_values(self) -> list[str]:
        if self.feature.type != "static":
            return []
        return list(dict.fromkeys(own.static_value for _, _, own in self.sources if own.static_value))


def running_subscriptions(session: Session, customer_id: str) -> Sequence[Subscription]:
    """The active and trialing ones."""
    return session.all(
        Subscription,
        Subscription.customer_id == customer_id,
        Subscription.subscription_status.in_(RUNNING),
        Subscription.status == "published",
        order=(Subscription.created_at.desc(), Subscription.id.desc()),
    )


def grants(
    session: Session, subscriptions: Sequence[Subscription], feature_ids: Collection[str] = ()
) -> list[Grant]:
    """What these subscriptions entitle to, one item per feature.

    :param feature_ids: only these features.
    """
    found: dict[str, Grant] = {}
    for subscription in subscriptions:
        plan = session.get(Plan, subscription.plan_id)
        for own in _entitlements(session, subscription.plan_id) if plan else ():
            feature = session.get(Feature, own.feature_id)
            if plan and feature and (not feature_ids or feature.id in feature_ids):
                grant = found.setdefault(feature.id, Grant(feature))
                grant.sources.append((subscription, plan, own))
    return list(found.values())


def _entitlements(session: Session, plan_id: str) -> Sequence[Entitlement]:
    return session.all(
        Entitlement,
        Entitlement.entity_id == plan_id,
        Entitlement.status == "published",
        Entitlement.is_enabled.is_(True),
        order=(Entitlement.created_at, Entitlement.id),
    )


def in_order(found: Sequence[Grant]) -> list[Grant]:
    """Metered features first, then static and boolean ones, each by name."""
    return sorted(found, key=lambda grant: (ORDER.get(grant.feature.type, 4), grant.feature.name))


def used(session: Session, customer_id: str, feature_id: str) -> Decimal:
    """What was set by `PUT /_sandbox/usage`; nothing while the store of events is down."""
    if switches.read(session, "usage_store") == "down":
        return Decimal(0)
    row = session.first(Usage, Usage.customer_id == customer_id, Usage.feature_id == feature_id)
    return row.value if row else Decimal(0)


def percent(usage: Decimal, limit: int | None) -> Decimal:
    return round(usage * 100 / limit, 2) if limit else Decimal(0)


def next_reset(session: Session, grant: Grant) -> datetime | None:
    """The midnight at which the count begins again; None for what never does."""
    period, subscription, now = grant.reset_period, grant.sources[0][0], session.now()
    if period in ("", "NEVER"):
        return None
    if period == "DAILY":
        return _midnight(now + timedelta(days=1))
    start = subscription.billing_anchor
    while start <= now:
        start = period_end(subscription.billing_anchor, start, period)
    return _midnight(start)


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def refuse_without_store(session: Session, subscription: Subscription) -> None:
    """A plan with usage prices cannot be counted while the store of events is down.

    :raises Refusal: `database_error`.
    """
    if switches.read(session, "usage_store") == "up":
        return
    lines = (SubscriptionLine.subscription_id == subscription.id, SubscriptionLine.price_type == "USAGE")
    if session.count(SubscriptionLine, *lines):
        raise Refusal("database_error", "Failed to get usage")
