"""A paid order is fulfilled once; one order per customer and plan."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from storefront.checkout import State, Trigger, orders, reconciliation
from storefront.checkout.context import commit, rollback
from storefront.checkout.signals import order_needs_attention, order_transitioned
from storefront.emails.models import Email
from storefront.extensions import checkout, db
from storefront.flexprice import CheckoutSession, Invoice
from storefront.models import Order, OrderTransition, PlanAccess
from tests.samples import invoice, subscription

OLGA = "operator:olga@example.com"
ENDED = [State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED]


def told(status: str, number: int = 1, **more: Any) -> CheckoutSession:
    """A session as Flexprice tells it."""
    terminal = status != "pending"
    return CheckoutSession(f"cs_0{number}", "cust_01", status, terminal=terminal, **more)


def moment() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


# -- fulfillment -------------------------------------------------------------------------------------


def test_paid_order_is_fulfilled_once(add_opened: Any, act: Any, the_order: Any, rows: Any) -> None:
    ref = add_opened(state=State.PAID)
    assert act(ref, orders.fulfill, by="worker")
    assert not act(ref, orders.fulfill, by="worker")
    assert (the_order().state, the_order().is_active) == (State.FULFILLED, True)
    assert the_order().fulfilled_at is not None
    assert len(rows(PlanAccess)) == len(rows(Email)) == 1


@pytest.mark.parametrize("state", sorted(set(State) - {State.PAID}))
def test_only_paid_orders_are_fulfilled(
    add_opened: Any, act: Any, the_order: Any, rows: Any, state: State
) -> None:
    ref = add_opened(state=state)
    assert not act(ref, orders.fulfill, by="worker")
    assert (the_order().state, rows(PlanAccess)) == (state, [])


def test_failing_hook_leaves_the_order_paid(
    context: Any, add_opened: Any, the_order: Any, rows: Any, fail_to_fulfill: Any
) -> None:
    ref = add_opened()
    fail_to_fulfill()
    order = orders.find(ref=ref)
    assert order
    assert orders.settle(order.id, told("completed"), by="webhook")
    commit()
    assert (the_order().state, the_order().fulfilled_at) == (State.PAID, None)
    assert the_order().paid_at is not None
    assert (rows(PlanAccess), rows(Email)) == ([], [])
    assert [moved.to_state for moved in rows(OrderTransition)] == [State.PAID]  # receivers are still told


def test_transaction_that_fails_once_is_done_again(
    context: Any, add_opened: Any, the_order: Any, rows: Any, fail_to_fulfill: Any
) -> None:
    """As when a click takes the order's slot in between."""
    failures = iter([True])
    fail_to_fulfill(lambda order: next(failures, False))
    ref = add_opened()
    order = orders.find(ref=ref)
    assert order
    assert orders.settle(order.id, told("completed"), by="webhook")
    commit()
    assert the_order().state == State.FULFILLED
    assert [access.plan_id for access in rows(PlanAccess)] == ["plan_01"]
    assert [email.kind for email in rows(Email)] == ["welcome"]
    assert [moved.to_state for moved in rows(OrderTransition)] == [State.PAID, State.FULFILLED]


def test_failing_receiver_leaves_the_order_paid(
    app: Any, context: Any, add_opened: Any, the_order: Any, rows: Any
) -> None:
    """A receiver of `order_transitioned` runs in the transaction; paid is written without it."""

    def fail(_app: Any, **_: Any) -> None:
        raise RuntimeError("the receiver is broken")

    ref = add_opened()
    order = orders.find(ref=ref)
    assert order
    with order_transitioned.connected_to(fail, app):
        assert orders.settle(order.id, told("completed"), by="webhook")
        commit()
    assert (the_order().state, rows(PlanAccess)) == (State.PAID, [])


def test_receiver_that_breaks_the_transaction_stops_nothing(
    app: Any, context: Any, add_opened: Any, the_order: Any
) -> None:
    def break_it(_app: Any, order: Any, **_: Any) -> None:
        db.session.add(PlanAccess(user_id=None, plan_id=None, plan_name="x", order_id=order.id))
        db.session.flush()

    ref = add_opened()
    order = orders.find(ref=ref)
    assert order
    with order_transitioned.connected_to(break_it, app):
        orders.settle(order.id, told("completed"), by="webhook")
        commit()
    assert the_order().state == State.PAID


def test_hook_rows_that_cannot_be_written_fail(
    context: Any, add_opened: Any, the_order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the flush, not by the commit: the order stays paid."""
    ref = add_opened()
    monkeypatch.setattr(
        checkout.hooks, "on_fulfill", lambda order: db.session.add(PlanAccess(user_id=None, plan_id="x"))
    )
    order = orders.find(ref=ref)
    assert order
    orders.settle(order.id, told("completed"), by="webhook")
    commit()
    assert the_order().state == State.PAID


# -- one order per customer and plan -----------------------------------------------------------------


@pytest.mark.parametrize("state", ENDED)
def test_late_money_takes_the_free_slot(add_opened: Any, act: Any, the_order: Any, state: State) -> None:
    ref = add_opened(state=state)
    act(ref, orders.apply_session, told("completed"), by="webhook")
    slot = f"{the_order().customer_key} plan_01"
    assert (the_order().state, the_order().slot) == (State.PAID, slot)
    assert act(ref, orders.fulfill, by="worker")
    assert (the_order().state, the_order().slot) == (State.FULFILLED, slot)


@pytest.mark.parametrize(("status", "noted"), [("expired", True), ("failed", True), ("completed", False)])
@pytest.mark.parametrize("claimed", [True, False])
def test_unpaid_end_of_an_order_that_was_claimed_to_be_paid_is_noted(
    add_opened: Any, act: Any, the_order: Any, status: str, noted: bool, claimed: bool
) -> None:
    """The customer came back as paid, and the session ended otherwise: Flexprice may lack an event."""
    ref = add_opened(returned_paid_at=datetime.now(UTC).replace(tzinfo=None) if claimed else None)
    act(ref, orders.apply_session, told(status), by="webhook")
    assert the_order().review_note == (orders.CLAIMED_PAID if noted and claimed else None)


@pytest.mark.parametrize("other", [State.PLACED, State.AWAITING_PAYMENT, State.HELD, State.STUCK])
def test_late_money_takes_the_slot_of_an_unpaid_order(
    add_opened: Any, act: Any, rows: Any, other: State
) -> None:
    late = add_opened(state=State.EXPIRED)
    second = add_opened(state=other, session_id="cs_02")
    act(late, orders.apply_session, told("completed"), by="webhook")
    act(late, orders.fulfill, by="worker")
    assert [(order.state, order.slot is None) for order in rows(Order)] == [
        (State.FULFILLED, False),
        (other, True),
    ]
    if other in (State.PLACED, State.AWAITING_PAYMENT):  # paid as well
        act(second, orders.transition, Trigger.PAYMENT_COMPLETED, by="webhook")
        act(second, orders.fulfill, by="worker")
        assert rows(Order)[1].state == State.PAID_TWICE
        assert len(rows(PlanAccess)) == 1


def test_late_money_takes_no_slot_of_another_plan_or_customer(
    add_opened: Any, add_user: Any, act: Any, rows: Any
) -> None:
    late = add_opened(state=State.EXPIRED)
    add_opened(plan_id="plan_02", session_id="cs_02")
    add_opened(user_id=add_user("ben@example.com", "Ben"), session_id="cs_03")
    act(late, orders.apply_session, told("completed"), by="webhook")
    act(late, orders.fulfill, by="worker")
    assert all(order.slot for order in rows(Order))


@pytest.mark.parametrize("other", [State.PAID, State.FULFILLED])
def test_second_payment_for_a_plan_is_flagged(
    add_opened: Any, act: Any, rows: Any, sent: Any, other: State
) -> None:
    late = add_opened(state=State.EXPIRED)
    add_opened(state=other, session_id="cs_02")
    act(late, orders.apply_session, told("completed"), by="webhook")
    with sent(order_needs_attention) as notes:
        act(late, orders.fulfill, by="worker")
    assert [order.state for order in rows(Order)] == [State.PAID_TWICE, other]
    assert [note["note"] for note in notes] == [orders.NOTES[Trigger.DUPLICATE_PAYMENT]]


def test_slot_taken_at_the_same_moment_stays_paid(
    context: Any, add_opened: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unique column decides; the loser is tried again and found to be a second payment."""
    first = add_opened(state=State.PAID, slot=None)
    add_opened(state=State.FULFILLED, session_id="cs_02")
    taken = rows(Order)[1].slot
    with monkeypatch.context() as patch:
        patch.setattr(orders, "free_slot", lambda order: taken)  # as read before the other committed
        order = orders.find(ref=first)
        assert order
        with pytest.raises(Exception, match=r"UNIQUE|unique"):
            orders.fulfill(order, by="worker")
        rollback()
    assert [order.state for order in rows(Order)] == [State.PAID, State.FULFILLED]
    order = orders.find(ref=first)
    assert order
    orders.fulfill(order, by="worker")
    commit()
    assert [order.state for order in rows(Order)] == [State.PAID_TWICE, State.FULFILLED]


def test_two_paid_orders_grant_a_plan_once(app: Any, add_opened: Any, rows: Any) -> None:
    """Two workers come to them in the same moment."""
    refs = [add_opened(state=State.PAID, slot=None, session_id=f"cs_{n}") for n in range(2)]
    barrier = threading.Barrier(len(refs))

    def fulfill(ref: str) -> None:
        with app.app_context():
            for turn in range(5):
                order = orders.find(ref=ref)
                assert order
                db.session.rollback()
                if turn == 0:
                    barrier.wait(30)
                try:
                    orders.fulfill(order, by="worker")
                    commit()
                    break
                except Exception:
                    rollback()
            db.session.remove()

    workers = [threading.Thread(target=fulfill, args=(ref,)) for ref in refs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(order.state for order in rows(Order)) == [State.FULFILLED, State.PAID_TWICE]
    assert len(rows(PlanAccess)) == 1


# -- invoices ----------------------------------------------------------------------------------------


def test_verified_invoice_names_the_subscription(
    add_opened: Any, act: Any, the_order: Any, invoice_of_order: Any
) -> None:
    ref = add_opened(invoice_verified_at=None)
    told = Invoice.from_json(invoice_of_order(total="588.82", period_end="2026-10-01T10:00:00Z"))
    assert act(ref, reconciliation.verify_invoice, told, by="worker")
    order = the_order()
    assert (order.invoice_verified_at is None, order.subscription_id) == (False, "subs_01")
    assert str(order.invoice_total) == "588.82"  # tax is Flexprice's
    assert order.period_end is not None


@pytest.mark.parametrize(
    ("of_invoice", "of_subscription", "fits"),
    [
        ("cust_01", "cust_01", True),
        ("", "cust_01", True),
        ("cust_99", "cust_01", False),
        ("", "cust_99", False),
    ],
)
def test_invoice_without_our_id_is_compared_by_flexprices(
    context: Any, add_opened: Any, of_invoice: str, of_subscription: str, fits: bool
) -> None:
    order = orders.find(ref=add_opened(invoice_verified_at=None))
    assert order
    bought = subscription(customer_id=of_subscription)
    told = Invoice.from_json(invoice(customer_id=of_invoice, subscription=bought))
    assert reconciliation.verify_invoice(order, told, by="worker") is fits


def test_every_difference_is_named(context: Any, add_opened: Any) -> None:
    order = orders.find(ref=add_opened(currency=""))
    assert order
    told = Invoice.from_json(invoice(subtotal="599", subscription=subscription()))
    assert reconciliation.differences_of(order, told) == (
        "amount: ordered 499, charged 599; currency: ordered none, charged inr"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subtotal": "599"}, "amount: ordered 499, charged 599"),
        ({"currency": "usd"}, "currency: ordered inr, charged usd"),
        ({"customer": {"id": "cust_01", "external_id": "other"}}, "customer: ordered "),
        ({"subscription": None, "subscription_id": None}, "plan: ordered plan_01, charged none"),
    ],
)
@pytest.mark.parametrize(
    ("state", "after"), [(State.AWAITING_PAYMENT, State.MISMATCHED), (State.PAID, State.HELD)]
)
def test_other_invoice_leaves_the_way(
    add_opened: Any,
    act: Any,
    the_order: Any,
    invoice_of_order: Any,
    sent: Any,
    changes: Any,
    words: str,
    state: State,
    after: State,
) -> None:
    ref = add_opened(state=state, invoice_verified_at=None)
    with sent(order_needs_attention) as notes:
        told = Invoice.from_json(invoice_of_order(**changes))
        assert not act(ref, reconciliation.verify_invoice, told, by="worker")
    assert (the_order().state, the_order().invoice_verified_at) == (after, None)
    assert words in the_order().review_note
    assert len(notes) == 1
