"""Subscriptions: what begins and ends with them."""

from ..store.billing_rows import Subscription
from ..store.database import Session


def activated(session: Session, subscription: Subscription) -> None:
    """Called once when a subscription becomes active: plans what happens at the end of its period."""
