"""How an order moves, as a table. A pair that is missing moves nothing: the news is a duplicate or late."""

from enum import StrEnum


class State(StrEnum):
    """Where an order is. `TRANSITIONS` says how it moves on."""

    PLACED = "placed"  # committed here; Flexprice may or may not know of it yet
    AWAITING_PAYMENT = "awaiting_payment"  # a checkout session is open, its link can be paid
    PAID = "paid"  # the session is completed; the customer's access is due
    FULFILLED = "fulfilled"  # access is granted; nothing moves an order from here
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # by the customer
    ABANDONED = "abandoned"  # given up: no answer to our create, or a session that Flexprice no longer knows
    MISMATCHED = "mismatched"  # the session would charge something other than was ordered: link withdrawn
    PAID_LATE = "paid_late"  # money came after the end, and a refund of it was seen
    # For a person: none of these is fulfilled by itself.
    HELD = "held"  # paid, but not for what was ordered
    PAID_TWICE = "paid_twice"  # a second payment for a plan the customer already has
    STUCK = "stuck"  # money came but the session did not complete, or was overwritten afterwards
    REFUNDED = "refunded"  # the money went back; nothing moves an order from here


class Trigger(StrEnum):
    """Why an order moves. An "event" is a webhook's; a transition has a trigger."""

    SESSION_CREATED = "session created"
    SESSION_REFUSED = "session refused"
    PAYMENT_COMPLETED = "payment completed"
    PAYMENT_FAILED = "payment failed"
    SESSION_EXPIRED = "session expired"
    COMPLETION_OVERWRITTEN = "completion overwritten"  # was completed, is failed or expired now
    PAYMENT_UNMATCHED = "payment unmatched"  # money was taken, the session did not complete
    INVOICE_MISMATCH = "invoice mismatch"  # another amount, plan or customer than ordered
    CANCELLED = "cancelled by customer"
    ABANDONED = "abandoned"
    FULFILLED = "fulfilled"
    DUPLICATE_PAYMENT = "duplicate payment"
    REFUND_SEEN = "refund seen"  # Flexprice says so
    REFUND_CONFIRMED = "refund confirmed"  # an operator says so
    RELEASED = "released"  # an operator says: fulfill it as it is
    CLOSED = "closed by operator"


S, T = State, Trigger

OPEN = frozenset({S.PLACED, S.AWAITING_PAYMENT})
ENDED_UNPAID = frozenset({S.FAILED, S.EXPIRED, S.CANCELLED, S.ABANDONED, S.MISMATCHED})
FOR_A_PERSON = frozenset({S.HELD, S.PAID_TWICE, S.STUCK})
SETTLED = frozenset(State) - OPEN - {S.PAID}
# One order per customer and plan may be in one of these (the unique column `slot`).
HOLDS_SLOT = frozenset({*OPEN, S.PAID, S.FULFILLED, S.HELD, S.STUCK})

TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (S.PLACED, T.SESSION_CREATED): S.AWAITING_PAYMENT,
    (S.PLACED, T.SESSION_REFUSED): S.FAILED,
    (S.PLACED, T.PAYMENT_COMPLETED): S.PAID,  # the webhook was faster, or the answer was lost
    (S.PLACED, T.COMPLETION_OVERWRITTEN): S.STUCK,  # the same, and overwritten since: money was taken
    (S.PLACED, T.CANCELLED): S.CANCELLED,
    (S.PLACED, T.ABANDONED): S.ABANDONED,
    (S.PLACED, T.CLOSED): S.ABANDONED,
    # PLACED and "failed" or "expired": that was an attempt we never saw. It moves nothing.
    (S.AWAITING_PAYMENT, T.PAYMENT_COMPLETED): S.PAID,
    (S.AWAITING_PAYMENT, T.PAYMENT_FAILED): S.FAILED,
    (S.AWAITING_PAYMENT, T.SESSION_EXPIRED): S.EXPIRED,  # trying again is a new order
    (S.AWAITING_PAYMENT, T.COMPLETION_OVERWRITTEN): S.STUCK,  # never EXPIRED: money was taken
    (S.AWAITING_PAYMENT, T.PAYMENT_UNMATCHED): S.STUCK,
    (S.AWAITING_PAYMENT, T.INVOICE_MISMATCH): S.MISMATCHED,
    (S.AWAITING_PAYMENT, T.CANCELLED): S.CANCELLED,
    (S.AWAITING_PAYMENT, T.REFUND_SEEN): S.PAID_LATE,  # the refund's event was faster than that of the end
    (S.AWAITING_PAYMENT, T.ABANDONED): S.ABANDONED,  # Flexprice no longer knows the session
    (S.AWAITING_PAYMENT, T.CLOSED): S.ABANDONED,
    # Our endings can be guesses; Flexprice's "completed" is final.
    (S.MISMATCHED, T.PAYMENT_COMPLETED): S.HELD,  # paid all the same, and known not to be what was ordered
    (S.STUCK, T.PAYMENT_COMPLETED): S.PAID,  # Flexprice's support repaired the session
    (S.PAID_LATE, T.PAYMENT_COMPLETED): S.STUCK,  # refunded *and* completed: a person decides
    (S.PAID, T.FULFILLED): S.FULFILLED,
    (S.PAID, T.DUPLICATE_PAYMENT): S.PAID_TWICE,
    (S.PAID, T.INVOICE_MISMATCH): S.HELD,
    (S.PAID, T.COMPLETION_OVERWRITTEN): S.STUCK,  # before access was granted: the subscription is gone
    # PAID and a refund that Flexprice reports: completed is completed. It is fulfilled and flagged.
    (S.PAID, T.REFUND_CONFIRMED): S.REFUNDED,  # an operator gave up on fulfilling it
    (S.HELD, T.RELEASED): S.PAID,
    (S.STUCK, T.RELEASED): S.PAID,
    (S.PAID_LATE, T.REFUND_CONFIRMED): S.REFUNDED,
}
for _ended in (S.FAILED, S.EXPIRED, S.CANCELLED, S.ABANDONED):
    TRANSITIONS[_ended, T.PAYMENT_COMPLETED] = S.PAID
for _ended in ENDED_UNPAID:
    TRANSITIONS[_ended, T.COMPLETION_OVERWRITTEN] = S.STUCK
    TRANSITIONS[_ended, T.PAYMENT_UNMATCHED] = S.STUCK
    TRANSITIONS[_ended, T.REFUND_SEEN] = S.PAID_LATE
for _review in FOR_A_PERSON:
    TRANSITIONS[_review, T.REFUND_SEEN] = S.REFUNDED
    TRANSITIONS[_review, T.REFUND_CONFIRMED] = S.REFUNDED
    TRANSITIONS[_review, T.CLOSED] = S.REFUNDED


def next_states(trigger: Trigger) -> dict[State, State]:
    """The states in which `trigger` moves an order, each with the state it moves to."""
    return {state: after for (state, known), after in TRANSITIONS.items() if known is trigger}
