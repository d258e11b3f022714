"""Every pair of state and fact is decided here; a pair without a mark stays where it is."""

import pytest

from storefront import orders
from storefront.database import writing
from storefront.lifecycle import ENDED_UNPAID, FOR_A_PERSON, NEXT, OPEN, SETTLED, Fact, State, moves

FACTS = tuple(Fact)
# One column per fact, in the order of `Fact`. A dot: stays.
MATRIX = """
state            opened   refused completed failed expired undone stranded differ     cancelled given-up  delivered granted    refund-seen refund-made released
placed           awaiting_payment failed paid .    .       stuck  .        .          cancelled abandoned .         .          .           .           .
awaiting_payment .        .       paid      failed expired stuck  stuck    mismatched cancelled .         .         .          paid_late   .           .
paid             .        .       .         .      .       stuck  .        held       .         .         fulfilled paid_twice .           .           .
fulfilled        .        .       .         .      .       .      .        .          .         .         .         .          .           .           .
failed           .        .       paid      .      .       stuck  stuck    .          .         .         .         .          paid_late   .           .
expired          .        .       paid      .      .       stuck  stuck    .          .         .         .         .          paid_late   .           .
cancelled        .        .       paid      .      .       stuck  stuck    .          .         .         .         .          paid_late   .           .
abandoned        .        .       paid      .      .       stuck  stuck    .          .         .         .         .          paid_late   .           .
mismatched       .        .       held      .      .       stuck  stuck    .          .         .         .         .          paid_late   .           .
paid_late        .        .       stuck     .      .       .      .        .          .         .         .         .          .           refunded    .
held             .        .       .         .      .       .      .        .          .         .         .         .          refunded    refunded    paid
paid_twice       .        .       .         .      .       .      .        .          .         .         .         .          refunded    refunded    .
stuck            .        .       paid      .      .       .      .        .          .         .         .         .          refunded    refunded    paid
refunded         .        .       .         .      .       .      .        .          .         .         .         .          .           .           .
"""  # noqa: E501
ROWS = {line.split()[0]: line.split()[1:] for line in MATRIX.strip().splitlines()[1:]}
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


@pytest.mark.parametrize("state", [State.FULFILLED, State.REFUNDED])
def test_what_is_final_never_moves(state):
    assert not [pair for pair in NEXT if pair[0] is state]


@pytest.mark.parametrize("fact", [Fact.PAYMENT_FAILED, Fact.SESSION_EXPIRED])
def test_a_failure_moves_only_an_order_whose_session_we_know(fact):
    """A failed create tells of an id we never saw: it must not fail the order whose second try succeeds."""
    assert set(moves(fact)) == {State.AWAITING_PAYMENT}


def test_nothing_is_delivered_that_was_not_paid():
    assert set(moves(Fact.GOODS_DELIVERED)) == {State.PAID}
    assert {fact for (_, fact), after in NEXT.items() if after is State.PAID} == {
        Fact.PAYMENT_COMPLETED,
        Fact.RELEASED,
    }


def test_only_a_person_leads_out_of_what_is_for_a_person_or_news_of_the_money():
    allowed = {Fact.RELEASED, Fact.REFUND_MADE, Fact.REFUND_SEEN, Fact.PAYMENT_COMPLETED}
    assert {fact for (state, fact) in NEXT if state in FOR_A_PERSON} == allowed
    assert (State.HELD, Fact.PAYMENT_COMPLETED) not in NEXT  # it is paid already; that is not the question


def test_the_groups_of_states_do_not_overlap():
    assert not OPEN & SETTLED
    assert OPEN | SETTLED | {State.PAID} == set(State)
    assert ENDED_UNPAID < SETTLED
    assert FOR_A_PERSON < SETTLED
