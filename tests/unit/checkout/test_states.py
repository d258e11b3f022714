"""The state table: every pair of a state and a trigger is decided."""

from itertools import product

import pytest

from storefront.checkout.states import (
    ENDED_UNPAID,
    FOR_A_PERSON,
    HOLDS_SLOT,
    OPEN,
    SETTLED,
    TRANSITIONS,
    State,
    Trigger,
    next_states,
)

S, T = State, Trigger
# Row by row: the states in which a trigger moves an order. Everything else moves nothing.
EXPECTED: dict[Trigger, dict[State, State]] = {
    T.SESSION_CREATED: {S.PLACED: S.AWAITING_PAYMENT},
    T.SESSION_REFUSED: {S.PLACED: S.FAILED},
    T.PAYMENT_COMPLETED: {
        **dict.fromkeys(
            (S.PLACED, S.AWAITING_PAYMENT, S.FAILED, S.EXPIRED, S.CANCELLED, S.ABANDONED), S.PAID
        ),
        S.STUCK: S.PAID,
        S.MISMATCHED: S.HELD,
        S.PAID_LATE: S.STUCK,
    },
    T.PAYMENT_FAILED: {S.AWAITING_PAYMENT: S.FAILED},
    T.SESSION_EXPIRED: {S.AWAITING_PAYMENT: S.EXPIRED},
    T.COMPLETION_OVERWRITTEN: dict.fromkeys((*OPEN, *ENDED_UNPAID, S.PAID), S.STUCK),
    T.PAYMENT_UNMATCHED: dict.fromkeys((S.AWAITING_PAYMENT, *ENDED_UNPAID), S.STUCK),
    T.INVOICE_MISMATCH: {S.AWAITING_PAYMENT: S.MISMATCHED, S.PAID: S.HELD},
    T.CANCELLED: dict.fromkeys(OPEN, S.CANCELLED),
    T.ABANDONED: dict.fromkeys(OPEN, S.ABANDONED),
    T.FULFILLED: {S.PAID: S.FULFILLED},
    T.DUPLICATE_PAYMENT: {S.PAID: S.PAID_TWICE},
    T.REFUND_SEEN: {
        **dict.fromkeys((S.AWAITING_PAYMENT, *ENDED_UNPAID), S.PAID_LATE),
        **dict.fromkeys(FOR_A_PERSON, S.REFUNDED),
    },
    T.REFUND_CONFIRMED: dict.fromkeys((*FOR_A_PERSON, S.PAID, S.PAID_LATE), S.REFUNDED),
    T.RELEASED: dict.fromkeys((S.HELD, S.STUCK), S.PAID),
    T.CLOSED: {**dict.fromkeys(OPEN, S.ABANDONED), **dict.fromkeys(FOR_A_PERSON, S.REFUNDED)},
}


@pytest.mark.parametrize(("state", "trigger"), list(product(State, Trigger)))
def test_every_pair_is_decided(state: State, trigger: Trigger) -> None:
    assert TRANSITIONS.get((state, trigger)) == EXPECTED[trigger].get(state)


@pytest.mark.parametrize("state", [S.FULFILLED, S.REFUNDED])
def test_nothing_moves_a_final_state(state: State) -> None:
    assert not [trigger for trigger in Trigger if (state, trigger) in TRANSITIONS]


def test_only_paid_orders_are_fulfilled() -> None:
    assert next_states(T.FULFILLED) == {S.PAID: S.FULFILLED}


def test_paid_orders_never_end_unpaid() -> None:
    moves = {after for (state, _), after in TRANSITIONS.items() if state is S.PAID}
    assert not moves & (ENDED_UNPAID | OPEN)


@pytest.mark.parametrize("state", sorted(set(State) - {S.FULFILLED, S.REFUNDED, *ENDED_UNPAID}))
def test_an_operator_can_end_every_waiting_state(state: State) -> None:
    by_hand = {T.CLOSED, T.REFUND_CONFIRMED, T.RELEASED}
    assert [trigger for trigger in by_hand if (state, trigger) in TRANSITIONS]


def test_a_slot_is_held_while_open_paid_or_active() -> None:
    assert OPEN | {S.PAID, S.FULFILLED, S.HELD, S.STUCK} == HOLDS_SLOT
    assert set(State) - OPEN - {S.PAID} == SETTLED
