"""Subscriptions: what begins and ends with them."""

from ..store.billing_rows import Subscription
from ..store.database import Session
from .events import publish


def activated(session: Session, subscription: Subscription) -> None:
    """Called once when a subscription becomes active: plans what happens at the end of its period."""


def end(session: Session, subscription: Subscription, *, at_period_end: bool) -> None:
    """Cancels a subscription, now or with its period, as POST …/cancel does without options."""
    now = session.now()
    if at_period_end:
        subscription.cancel_at, subscription.cancel_at_period_end = subscription.current_period_end, True
        subscription.cancelled_at = now
    else:
        subscription.subscription_status = "cancelled"
        subscription.cancelled_at = subscription.cancel_at = subscription.end_date = now
    subscription.updated_at = now
    publish(session, "subscription.updated", subscription.id)
    if not at_period_end:
        publish(session, "subscription.cancelled", subscription.id)
