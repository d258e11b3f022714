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
    MISMATCHED = "mismatched"  # the session would charge something else than was ordered: link withdrawn
    PAID_LATE = "paid_late"  # money came after the end; Flexprice sends it back
    # For a person: none of these is fulfilled by itself.
    HELD = "held"  # paid, but not for what was ordered
    PAID_TWICE = "paid_twice"  # a second payment for a plan already granted: to be refunded
    STUCK = "stuck"  # money came but the session did not complete, or was overwritten afterwards
    REFUNDED = "refunded"  # the money went back; nothing moves an order from here


class Fact(StrEnum):
    SESSION_OPENED = "session opened"
    SESSION_REFUSED = "session refused"
    PAYMENT_COMPLETED = "payment completed"
    PAYMENT_FAILED = "payment failed"
    SESSION_EXPIRED = "session expired"
    COMPLETION_UNDONE = "completion undone"  # completed once, failed or expired now (contract C.1)
    PAYMENT_STRANDED = "payment stranded"  # money was taken, the session did not complete (contract C.5, C.7)
    TERMS_DIFFER = "terms differ"  # another amount, plan or customer than ordered
    SHOPPER_CANCELLED = "shopper cancelled"
    GIVEN_UP = "given up"
    GOODS_DELIVERED = "goods delivered"
    ALREADY_GRANTED = "already granted"
    REFUND_SEEN = "refund seen"  # Flexprice says so
    REFUND_MADE = "refund made"  # an operator says so
    RELEASED = "released"  # an operator says: fulfil it as it is


S, F = State, Fact

NEXT: dict[tuple[State, Fact], State] = {
    (S.PLACED, F.SESSION_OPENED): S.AWAITING_PAYMENT,
    (S.PLACED, F.SESSION_REFUSED): S.FAILED,
    (S.PLACED, F.PAYMENT_COMPLETED): S.PAID,  # the webhook overtook us, or the answer was lost
    (S.PLACED, F.COMPLETION_UNDONE): S.STUCK,  # the same, and overwritten since: money was taken
    (S.PLACED, F.SHOPPER_CANCELLED): S.CANCELLED,
    (S.PLACED, F.GIVEN_UP): S.ABANDONED,
    # PLACED and "failed" or "expired": that was an attempt we never saw. It moves nothing (decision 7).
    (S.AWAITING_PAYMENT, F.PAYMENT_COMPLETED): S.PAID,
    (S.AWAITING_PAYMENT, F.PAYMENT_FAILED): S.FAILED,  # final at Flexprice too: late money is refunded there
    (S.AWAITING_PAYMENT, F.SESSION_EXPIRED): S.EXPIRED,  # trying again is a new order
    (S.AWAITING_PAYMENT, F.COMPLETION_UNDONE): S.STUCK,  # never EXPIRED: money was taken
    (S.AWAITING_PAYMENT, F.PAYMENT_STRANDED): S.STUCK,
    (S.AWAITING_PAYMENT, F.TERMS_DIFFER): S.MISMATCHED,
    (S.AWAITING_PAYMENT, F.SHOPPER_CANCELLED): S.CANCELLED,
    (S.AWAITING_PAYMENT, F.REFUND_SEEN): S.PAID_LATE,  # the refund's news overtook that of the end
    # Our endings can be guesses; Flexprice's "completed" is final.
    (S.FAILED, F.PAYMENT_COMPLETED): S.PAID,
    (S.EXPIRED, F.PAYMENT_COMPLETED): S.PAID,
    (S.CANCELLED, F.PAYMENT_COMPLETED): S.PAID,
    (S.ABANDONED, F.PAYMENT_COMPLETED): S.PAID,
    (S.MISMATCHED, F.PAYMENT_COMPLETED): S.HELD,  # paid all the same, and known not to be what was ordered
    (S.STUCK, F.PAYMENT_COMPLETED): S.PAID,  # Flexprice's people repaired it
    (S.PAID_LATE, F.PAYMENT_COMPLETED): S.STUCK,  # refunded *and* completed: a person decides
    (S.FAILED, F.COMPLETION_UNDONE): S.STUCK,
    (S.EXPIRED, F.COMPLETION_UNDONE): S.STUCK,
    (S.CANCELLED, F.COMPLETION_UNDONE): S.STUCK,
    (S.ABANDONED, F.COMPLETION_UNDONE): S.STUCK,
    (S.MISMATCHED, F.COMPLETION_UNDONE): S.STUCK,
    (S.FAILED, F.PAYMENT_STRANDED): S.STUCK,
    (S.EXPIRED, F.PAYMENT_STRANDED): S.STUCK,
    (S.CANCELLED, F.PAYMENT_STRANDED): S.STUCK,
    (S.ABANDONED, F.PAYMENT_STRANDED): S.STUCK,
    (S.MISMATCHED, F.PAYMENT_STRANDED): S.STUCK,
    (S.FAILED, F.REFUND_SEEN): S.PAID_LATE,
    (S.EXPIRED, F.REFUND_SEEN): S.PAID_LATE,
    (S.CANCELLED, F.REFUND_SEEN): S.PAID_LATE,
    (S.ABANDONED, F.REFUND_SEEN): S.PAID_LATE,
    (S.MISMATCHED, F.REFUND_SEEN): S.PAID_LATE,
    (S.PAID, F.GOODS_DELIVERED): S.FULFILLED,
    (S.PAID, F.ALREADY_GRANTED): S.PAID_TWICE,
    (S.PAID, F.TERMS_DIFFER): S.HELD,
    (S.PAID, F.COMPLETION_UNDONE): S.STUCK,  # before the goods were delivered: there is no subscription now
    # PAID and a refund: completed is completed. It is delivered, and the refund flagged (decision 9).
    (S.HELD, F.RELEASED): S.PAID,
    (S.STUCK, F.RELEASED): S.PAID,
    (S.HELD, F.REFUND_SEEN): S.REFUNDED,
    (S.STUCK, F.REFUND_SEEN): S.REFUNDED,
    (S.PAID_TWICE, F.REFUND_SEEN): S.REFUNDED,
    (S.HELD, F.REFUND_MADE): S.REFUNDED,
    (S.STUCK, F.REFUND_MADE): S.REFUNDED,
    (S.PAID_TWICE, F.REFUND_MADE): S.REFUNDED,
    (S.PAID_LATE, F.REFUND_MADE): S.REFUNDED,  # confirmed by a person
}

OPEN = frozenset({S.PLACED, S.AWAITING_PAYMENT})
ENDED_UNPAID = frozenset({S.FAILED, S.EXPIRED, S.CANCELLED, S.ABANDONED, S.MISMATCHED})
FOR_A_PERSON = frozenset({S.HELD, S.PAID_TWICE, S.STUCK})
SETTLED = frozenset(State) - OPEN - {S.PAID}


def moves(fact: Fact) -> dict[State, State]:
    """From which states `fact` leads on, and to which."""
    return {state: after for (state, known), after in NEXT.items() if known is fact}
