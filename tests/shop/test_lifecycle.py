"""Every pair of state and fact is decided here; a pair without a mark stays where it is."""

import pytest

from storefront import orders
from storefront.database import writing
from storefront.lifecycle import ENDED_UNPAID, NEXT, OPEN, SETTLED, Fact, State, moves

FACTS = (
    Fact.SESSION_OPENED,
    Fact.SESSION_REFUSED,
    Fact.PAYMENT_COMPLETED,
    Fact.PAYMENT_FAILED,
    Fact.SESSION_EXPIRED,
    Fact.COMPLETION_UNDONE,
    Fact.SHOPPER_CANCELLED,
    Fact.GIVEN_UP,
    Fact.GOODS_DELIVERED,
    Fact.ALREADY_GRANTED,
    Fact.REFUND_SEEN,
)
# One column per fact, in the order above. A dot: stays.
MATRIX = """
placed awaiting_payment failed paid failed expired stuck cancelled abandoned . . .
awaiting_payment . . paid failed expired stuck cancelled . . . paid_late
paid . . . . . . . . fulfilled paid_twice .
fulfilled . . . . . . . . . . .
failed . . paid . . stuck . . . . paid_late
expired . . paid . . stuck . . . . paid_late
cancelled . . paid . . stuck . . . . paid_late
abandoned . . paid . . stuck . . . . paid_late
paid_late . . . . . . . . . . .
paid_twice . . . . . . . . . . .
stuck . . paid . . . . . . . paid_late
"""
ROWS = {line.split()[0]: line.split()[1:] for line in MATRIX.strip().splitlines()}
PAIRS = [
    (State(state), fact, State(state if after == "." else after))
    for state, afters in ROWS.items()
    for fact, after in zip(FACTS, afters, strict=True)
]


def test_the_matrix_knows_every_state_and_every_fact():
    assert {(state, fact) for state, fact, _ in PAIRS} == {(s, f) for s in State for f in Fact}


@pytest.mark.parametrize(("state", "fact", "after"), PAIRS, ids=lambda value: str(value))
def test_a_fact_leads_where_the_matrix_says(state, fact, after):
    assert NEXT.get((state, fact), state) is after
    assert moves(fact).get(state, state) is after


@pytest.mark.parametrize("state", State)
def test_a_row_moves_as_the_table_says(context, enrol, order_of, state):
    enrol()
    order = orders.by_ref(order_of())
    for fact, after in [(fact, after) for before, fact, after in PAIRS if before is state]:
        with writing():
            order.state = state
        with writing():
            assert orders.advance(order, fact, order.created_at) is (after is not state), fact
        assert order.state == after


def test_a_fulfilled_order_never_moves():
    assert not [pair for pair in NEXT if pair[0] is State.FULFILLED]


def test_the_groups_of_states_do_not_overlap():
    assert not OPEN & SETTLED
    assert OPEN | SETTLED | {State.PAID} == set(State)
    assert ENDED_UNPAID < SETTLED
