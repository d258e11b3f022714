"""What only a person can decide about an order."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from storefront.checkout import State, Trigger, orders
from storefront.checkout.states import next_states
from storefront.models import Order


class Decision(NamedTuple):
    """What only a person can decide; the state table says for which orders."""

    label: str
    done: str
    applies: Callable[[Order], bool]
    act: Callable[[Order, str, str], bool]  # order, by, reason


def _moves(trigger: Trigger) -> Callable[[Order], bool]:
    return lambda order: State(order.state) in next_states(trigger)


DECISIONS = {
    "fulfill": Decision(
        "Fulfill anyway",
        "Released for fulfillment",
        _moves(Trigger.RELEASED),
        lambda order, by, reason: orders.release_for_fulfillment(order, by=by),
    ),
    "refunded": Decision(
        "Mark as refunded",
        "Marked as refunded",
        _moves(Trigger.REFUND_CONFIRMED),
        lambda order, by, reason: orders.confirm_refund(order, by=by),
    ),
    "close": Decision(
        "Close order",
        "Closed",
        _moves(Trigger.CLOSED),
        lambda order, by, reason: orders.close(order, by=by),
    ),
    "revoke": Decision(
        "End access",
        "Access ended",
        lambda order: order.is_active,
        lambda order, by, reason: orders.revoke(order, by=by, reason=reason),
    ),
}


def open_decisions(order: Order) -> dict[str, Decision]:
    """What can be decided about the order as it is."""
    return {name: decision for name, decision in DECISIONS.items() if decision.applies(order)}


def digest(note: str | None) -> str:
    """Identifies a review note in a form."""
    return hashlib.sha256((note or "").encode()).hexdigest()[:16] if note else ""
