"""How access ends, and what a person decides."""

from typing import Any

import pytest

from storefront.checkout import State, orders
from storefront.checkout.context import rollback
from storefront.extensions import checkout
from storefront.flexprice import CheckoutSession
from storefront.models import PlanAccess
from tests.shop_fixtures import NOW

OLGA = "operator:olga@example.com"


def told(status: str, number: int = 1, **more: Any) -> CheckoutSession:
    """A session as Flexprice tells it."""
    terminal = status != "pending"
    return CheckoutSession(f"cs_0{number}", "cust_01", status, terminal=terminal, **more)


# -- the end of access -------------------------------------------------------------------------------


def test_access_ends_once(add_opened: Any, act: Any, the_order: Any, rows: Any) -> None:
    ref = add_opened(state=State.PAID)
    act(ref, orders.fulfill, by="worker")
    assert act(ref, orders.revoke, by="webhook", reason="cancelled")
    ended_at = the_order().revoked_at
    assert not act(ref, orders.revoke, by="worker", reason="cancelled")
    assert (the_order().state, the_order().slot) == (State.FULFILLED, None)
    assert the_order().revoked_at == ended_at
    assert rows(PlanAccess)[0].revoked_at is not None


@pytest.mark.parametrize("state", sorted(set(State) - {State.FULFILLED}))
def test_only_fulfilled_orders_are_revoked(add_opened: Any, act: Any, the_order: Any, state: State) -> None:
    ref = add_opened(state=state)
    assert not act(ref, orders.revoke, by="webhook", reason="cancelled")
    assert the_order().revoked_at is None


def test_ended_plan_can_be_bought_again(add_opened: Any, act: Any, rows: Any) -> None:
    first = add_opened(state=State.PAID)
    act(first, orders.fulfill, by="worker")
    act(first, orders.revoke, by="webhook", reason="cancelled")
    second = add_opened(state=State.PAID, session_id="cs_02")
    act(second, orders.fulfill, by="worker")
    act(first, orders.revoke, by="webhook", reason="cancelled")
    (access,) = rows(PlanAccess)
    assert (access.order_id, access.revoked_at) == (2, None)


@pytest.mark.parametrize(
    ("other", "runs"),
    [
        (None, True),
        ({"state": State.FULFILLED}, False),  # changed today: the new order has the slot, and the plan
        ({"state": State.FULFILLED, "revoked_at": NOW}, True),
        ({"state": State.AWAITING_PAYMENT}, True),  # bought again, not paid
        ({"state": State.FULFILLED, "slot": "another customer's"}, True),
    ],
)
def test_on_revoke_runs_unless_another_order_grants_the_plan(
    add_opened: Any, act: Any, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any] | None, runs: bool
) -> None:
    first = add_opened(state=State.FULFILLED, **({"slot": None} if other else {}))
    if other:
        add_opened(session_id="cs_02", **other)
    revoked: list[str] = []
    monkeypatch.setattr(checkout.hooks, "on_revoke", lambda order: revoked.append(order.ref))
    assert act(first, orders.revoke, by="webhook", reason="cancelled")
    assert revoked == [first] * runs


def test_failing_on_revoke_keeps_access(
    context: Any, add_opened: Any, the_order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_order: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(checkout.hooks, "on_revoke", fail)
    ref = add_opened(state=State.FULFILLED)
    order = orders.find(ref=ref)
    assert order
    with pytest.raises(RuntimeError):
        orders.revoke(order, by="worker", reason="cancelled")
    rollback()
    assert the_order().revoked_at is None  # and is tried again


@pytest.mark.parametrize("state", sorted(State))
def test_refund_is_noted_in_every_state(add_opened: Any, act: Any, the_order: Any, state: State) -> None:
    ref = add_opened(state=state)
    act(ref, orders.refund_seen, by="webhook")
    assert the_order().refunded_at is not None
    known = (State.PLACED, State.PAID, State.FULFILLED, State.PAID_LATE, State.REFUNDED)
    assert (the_order().state == state) == (state in known)


# -- what a person decides ---------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(State))
@pytest.mark.parametrize(
    ("decide", "allowed"),
    [
        (orders.release_for_fulfillment, {State.HELD, State.STUCK}),
        (
            orders.confirm_refund,
            {State.HELD, State.STUCK, State.PAID_TWICE, State.PAID, State.PAID_LATE},
        ),
        (
            orders.close,
            {State.PLACED, State.AWAITING_PAYMENT, State.HELD, State.STUCK, State.PAID_TWICE},
        ),
    ],
)
def test_decision_needs_its_state(
    add_opened: Any, act: Any, the_order: Any, state: State, decide: Any, allowed: set[State]
) -> None:
    ref = add_opened(state=state)
    assert act(ref, decide, by=OLGA) is (state in allowed)
    assert (the_order().state != state) is (state in allowed)


@pytest.mark.parametrize("state", [State.HELD, State.STUCK])
def test_released_order_is_fulfilled_as_it_is(
    add_opened: Any, act: Any, the_order: Any, rows: Any, state: State
) -> None:
    ref = add_opened(state=state, invoice_verified_at=None, review_note="Not what was ordered")
    act(ref, orders.release_for_fulfillment, by=OLGA)
    assert the_order().invoice_verified_at is not None
    act(ref, orders.fulfill, by="worker")
    assert (the_order().state, the_order().review_note) == (State.FULFILLED, f"Released by {OLGA}")
    assert len(rows(PlanAccess)) == 1


@pytest.mark.parametrize("paid_at", [None, NOW])
def test_released_order_counts_as_paid(add_opened: Any, act: Any, the_order: Any, paid_at: Any) -> None:
    ref = add_opened(state=State.STUCK, paid_at=paid_at)
    act(ref, orders.release_for_fulfillment, by=OLGA)
    assert the_order().state == State.PAID
    assert (the_order().paid_at == NOW) is (paid_at is not None)
    assert the_order().paid_at is not None


def test_confirmed_refund_has_a_time(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened(state=State.HELD)
    act(ref, orders.confirm_refund, by=OLGA)
    assert the_order().refunded_at is not None


def test_confirmed_refund_keeps_the_first_time(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened(state=State.PAID_LATE, refunded_at=NOW)
    act(ref, orders.confirm_refund, by=OLGA)
    assert (the_order().state, the_order().refunded_at) == (State.REFUNDED, NOW)
    assert the_order().review_note == f"Refund confirmed by {OLGA}"


def test_closed_order_still_notices_money(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened()
    act(ref, orders.close, by=OLGA)
    assert (the_order().state, the_order().review_note) == (State.ABANDONED, f"Closed by {OLGA}")
    act(ref, orders.apply_session, told("completed"), by="webhook")
    assert the_order().state == State.PAID
