"""How an order moves, as a table. A pair that is missing is no error: it is a duplicate or a latecomer."""

from enum import StrEnum


class State(StrEnum):
    PLACED = "placed"  # ours alone; Flexprice may or may not know of it yet
    AWAITING_PAYMENT = "awaiting_payment"  # a session is open, its link can be paid
    PAID = "paid"  # the session is completed; the goods are owed
    FULFILLED = "fulfilled"  # the goods are delivered; nothing moves an order from here
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # by the shopper
    ABANDONED = "abandoned"  # the answer to our create was lost, and the shopper started again
    PAID_LATE = "paid_late"  # money came after the end; Flexprice sends it back
    PAID_TWICE = "paid_twice"  # a second payment for a plan already granted: to be refunded
    STUCK = "stuck"  # money came but the session did not complete, or was overwritten afterwards


class Fact(StrEnum):
    SESSION_OPENED = "session opened"
    SESSION_REFUSED = "session refused"
    PAYMENT_COMPLETED = "payment completed"
    PAYMENT_FAILED = "payment failed"
    SESSION_EXPIRED = "session expired"
    COMPLETION_UNDONE = "completion undone"  # completed once, failed or expired now (contract C.1)
    SHOPPER_CANCELLED = "shopper cancelled"
    GIVEN_UP = "given up"
    GOODS_DELIVERED = "goods delivered"
    ALREADY_GRANTED = "already granted"
    REFUND_SEEN = "refund seen"


S, F = State, Fact

NEXT: dict[tuple[State, Fact], State] = {
    (S.PLACED, F.SESSION_OPENED): S.AWAITING_PAYMENT,
    (S.PLACED, F.SESSION_REFUSED): S.FAILED,
    (S.PLACED, F.PAYMENT_COMPLETED): S.PAID,  # the webhook overtook us, or the answer was lost
    (S.PLACED, F.PAYMENT_FAILED): S.FAILED,
    (S.PLACED, F.SESSION_EXPIRED): S.EXPIRED,
    (S.PLACED, F.COMPLETION_UNDONE): S.STUCK,
    (S.PLACED, F.SHOPPER_CANCELLED): S.CANCELLED,
    (S.PLACED, F.GIVEN_UP): S.ABANDONED,
    (S.AWAITING_PAYMENT, F.PAYMENT_COMPLETED): S.PAID,
    (S.AWAITING_PAYMENT, F.PAYMENT_FAILED): S.FAILED,  # final at Flexprice too: late money is refunded there
    (S.AWAITING_PAYMENT, F.SESSION_EXPIRED): S.EXPIRED,  # trying again is a new order
    (S.AWAITING_PAYMENT, F.COMPLETION_UNDONE): S.STUCK,  # never EXPIRED: money was taken
    (S.AWAITING_PAYMENT, F.SHOPPER_CANCELLED): S.CANCELLED,
    (S.AWAITING_PAYMENT, F.REFUND_SEEN): S.PAID_LATE,
    # Our endings can be guesses; Flexprice's "completed" is final.
    (S.FAILED, F.PAYMENT_COMPLETED): S.PAID,
    (S.EXPIRED, F.PAYMENT_COMPLETED): S.PAID,
    (S.CANCELLED, F.PAYMENT_COMPLETED): S.PAID,
    (S.ABANDONED, F.PAYMENT_COMPLETED): S.PAID,
    (S.STUCK, F.PAYMENT_COMPLETED): S.PAID,  # Flexprice's people repaired it
    (S.FAILED, F.COMPLETION_UNDONE): S.STUCK,
    (S.EXPIRED, F.COMPLETION_UNDONE): S.STUCK,
    (S.CANCELLED, F.COMPLETION_UNDONE): S.STUCK,
    (S.ABANDONED, F.COMPLETION_UNDONE): S.STUCK,
    (S.FAILED, F.REFUND_SEEN): S.PAID_LATE,
    (S.EXPIRED, F.REFUND_SEEN): S.PAID_LATE,
    (S.CANCELLED, F.REFUND_SEEN): S.PAID_LATE,
    (S.ABANDONED, F.REFUND_SEEN): S.PAID_LATE,
    (S.STUCK, F.REFUND_SEEN): S.PAID_LATE,
    (S.PAID, F.GOODS_DELIVERED): S.FULFILLED,
    (S.PAID, F.ALREADY_GRANTED): S.PAID_TWICE,
}

OPEN = frozenset({S.PLACED, S.AWAITING_PAYMENT})
ENDED_UNPAID = frozenset({S.FAILED, S.EXPIRED, S.CANCELLED, S.ABANDONED})
SETTLED = frozenset(State) - OPEN - {S.PAID}


def moves(fact: Fact) -> dict[State, State]:
    """From which states `fact` leads on, and to which."""
    return {state: after for (state, known), after in NEXT.items() if known is fact}
