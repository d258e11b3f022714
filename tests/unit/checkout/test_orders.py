"""An order moves by one UPDATE, which decides; the status of its session moves it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from storefront.checkout import State, Trigger, orders, reconciliation
from storefront.checkout.context import commit, rollback
from storefront.checkout.signals import order_needs_attention, order_transitioned
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.flexprice import CheckoutSession, Invoice, Subscription
from storefront.models import Order, OrderTransition, PlanAccess
from tests.samples import invoice
from tests.shop_fixtures import NOW

OLGA = "operator:olga@example.com"


def told(status: str, number: int = 1, **more: Any) -> CheckoutSession:
    """A session as Flexprice tells it."""
    terminal = status != "pending"
    return CheckoutSession(f"cs_0{number}", "cust_01", status, terminal=terminal, **more)


def moment() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


# -- transitions -------------------------------------------------------------------------------------


def test_transition_is_sent_recorded_and_due(
    add_opened: Any, act: Any, the_order: Any, rows: Any, sent: Any
) -> None:
    ref = add_opened(attempts=7)
    with sent(order_transitioned) as moves:
        assert act(ref, orders.transition, Trigger.SESSION_EXPIRED, by="webhook")
    order = the_order()
    assert (order.state, order.slot, order.attempts) == (State.EXPIRED, None, 0)
    assert order.status_changed_at == order.next_attempt_at > NOW
    (move,) = moves
    assert (move["from_state"], move["to_state"]) == (State.AWAITING_PAYMENT, State.EXPIRED)
    assert (move["trigger"], move["by"]) == (Trigger.SESSION_EXPIRED, "webhook")
    (row,) = rows(OrderTransition)
    assert (row.from_state, row.to_state, row.by) == ("awaiting_payment", "expired", "webhook")


def test_second_transition_changes_nothing(add_opened: Any, act: Any, the_order: Any, rows: Any) -> None:
    ref = add_opened()
    assert act(ref, orders.transition, Trigger.PAYMENT_FAILED, by="webhook")
    before = vars(the_order())
    assert not act(ref, orders.transition, Trigger.PAYMENT_FAILED, by="webhook")
    assert not act(ref, orders.transition, Trigger.SESSION_EXPIRED, by="worker")
    after = vars(the_order())
    assert {name: after[name] for name in before if name[0] != "_"} == {
        name: value for name, value in before.items() if name[0] != "_"
    }
    assert len(rows(OrderTransition)) == 1


def test_rolled_back_transition_sends_no_alert(
    context: Any, add_opened: Any, the_order: Any, sent: Any
) -> None:
    ref = add_opened(state=State.PAID)
    with sent(order_needs_attention) as notes:
        order = orders.find(ref=ref)
        assert order
        orders.transition(order, Trigger.COMPLETION_OVERWRITTEN, by="worker")
        rollback()
        commit()
    assert (notes, the_order().state) == ([], State.PAID)


def test_failing_receiver_after_the_commit_stops_nothing(
    app: Any, add_opened: Any, act: Any, the_order: Any
) -> None:
    """A signal after the commit is not part of the transaction; its exception is logged."""

    def fail(_app: Any, **_: Any) -> None:
        raise RuntimeError("the receiver is broken")

    ref = add_opened(state=State.PAID)
    with order_needs_attention.connected_to(fail, app):
        assert act(ref, orders.transition, Trigger.COMPLETION_OVERWRITTEN, by="worker")
    assert the_order().state == State.STUCK


def test_customer_is_named_until_settled(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened()
    act(ref, orders.transition, Trigger.PAYMENT_COMPLETED, by="webhook")
    assert the_order().customer_email == "asha@example.com"
    act(ref, orders.fulfill, by="worker")
    assert (the_order().customer_name, the_order().customer_email) == (None, None)


def test_lost_note_goes_when_payment_is_found(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened(state=State.ABANDONED, review_note=orders.LOST + "; a draft was left over: subs_1")
    act(ref, orders.transition, Trigger.PAYMENT_COMPLETED, by="worker")
    assert (the_order().state, the_order().review_note) == (State.PAID, None)


def test_note_of_something_else_stays(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened(review_note="Flexprice reports a refund for this order")
    act(ref, orders.transition, Trigger.PAYMENT_COMPLETED, by="webhook")
    assert the_order().review_note == "Flexprice reports a refund for this order"


def test_note_is_added_once_and_alerts_once(add_opened: Any, act: Any, the_order: Any, sent: Any) -> None:
    ref = add_opened()
    with sent(order_needs_attention) as notes:
        for note in ("first", "100 of the second", "first", "100% second", "100% second"):
            act(ref, orders.add_review_note, note)
    assert the_order().review_note == "first; 100 of the second; 100% second"
    assert [note["note"] for note in notes] == ["first", "100 of the second", "100% second"]
    assert all(isinstance(note["order"], Order) for note in notes)


def test_note_is_of_one_order(add_opened: Any, add_order: Any, act: Any, rows: Any) -> None:
    ref = add_opened()
    add_order(state=State.CANCELLED)
    act(ref, orders.add_review_note, "a note")
    assert [order.review_note for order in rows(Order)] == ["a note", None]


def test_operator_is_not_alerted_of_their_own_decision(add_opened: Any, act: Any, sent: Any) -> None:
    ref = add_opened()
    with sent(order_needs_attention) as notes:
        act(ref, orders.close, by=OLGA)
    assert notes == []


# -- sessions ----------------------------------------------------------------------------------------


def test_session_is_recorded_with_its_end(add_user: Any, add_order: Any, act: Any, the_order: Any) -> None:
    add_user()
    ref = add_order(session_requested_at=NOW)
    until = datetime(2026, 9, 1, 10, 15, tzinfo=UTC)
    assert act(ref, orders.record_session, told("pending", expires_at=until), by="customer")
    assert the_order().expires_at == until.replace(tzinfo=None)


def test_last_mismatch_is_of_the_customer_and_the_plan(context: Any, add_user: Any, add_order: Any) -> None:
    """Prices read before it are old: the next page reads them again."""
    add_user()
    times = [NOW + timedelta(minutes=n) for n in range(6)]
    add_order(state=State.MISMATCHED, customer_key="asha", status_changed_at=times[0])
    add_order(state=State.REFUNDED, customer_key="asha", status_changed_at=times[1])
    add_order(state=State.EXPIRED, customer_key="asha", status_changed_at=times[3])
    add_order(state=State.MISMATCHED, customer_key="other", status_changed_at=times[4])
    add_order(state=State.MISMATCHED, customer_key="asha", plan_id="plan_02", status_changed_at=times[5])
    assert orders.mismatched_at("asha", "plan_01") == times[1]
    assert orders.mismatched_at("nobody", "plan_01") is None


def test_order_keeps_its_first_session(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened()
    assert not act(ref, orders.record_session, told("pending", 2), by="customer")
    assert act(ref, orders.record_session, told("pending", 1), by="customer")
    assert the_order().session_id == "cs_01"


def test_session_of_an_ended_order_is_withdrawn(
    add_user: Any, add_order: Any, act: Any, the_order: Any
) -> None:
    """It ended before the answer came: the worker looks at once."""
    add_user()
    ref = add_order(state=State.CANCELLED)
    assert act(ref, orders.record_session, told("pending"), by="customer")
    order = the_order()
    assert (order.state, order.session_id) == (State.CANCELLED, "cs_01")
    assert order.next_attempt_at <= moment()


@pytest.mark.parametrize(
    ("state", "session", "announced", "after"),
    [
        (State.AWAITING_PAYMENT, told("pending"), "", State.AWAITING_PAYMENT),
        (State.AWAITING_PAYMENT, told("completed"), "", State.PAID),
        (State.AWAITING_PAYMENT, told("failed"), "", State.FAILED),
        (State.AWAITING_PAYMENT, told("expired"), "", State.EXPIRED),
        (State.AWAITING_PAYMENT, told("expired", completed_at=NOW), "", State.STUCK),
        (State.AWAITING_PAYMENT, told("failed"), "completed", State.STUCK),
        (State.AWAITING_PAYMENT, told("pending", payment_status="SUCCEEDED"), "", State.STUCK),
        (State.AWAITING_PAYMENT, told("pending", payment_status="OVERPAID"), "", State.STUCK),
        (State.PLACED, told("completed"), "", State.PAID),
        (State.PLACED, told("failed"), "", State.PLACED),
        (State.PLACED, told("expired"), "", State.PLACED),
        (State.EXPIRED, told("completed"), "", State.PAID),
        (State.EXPIRED, told("failed"), "", State.EXPIRED),
        (State.EXPIRED, told("expired", completed_at=NOW), "", State.STUCK),
        (State.MISMATCHED, told("completed"), "", State.HELD),
        (State.PAID_LATE, told("completed"), "", State.STUCK),
        (State.STUCK, told("completed"), "", State.PAID),
        (State.PAID, told("expired", completed_at=NOW), "", State.STUCK),
        (State.PAID, told("expired"), "", State.PAID),
        (State.FULFILLED, told("expired", completed_at=NOW), "", State.FULFILLED),
        (State.FULFILLED, told("failed"), "", State.FULFILLED),
        (State.HELD, told("completed"), "", State.HELD),
        (State.REFUNDED, told("completed"), "", State.REFUNDED),
    ],
)
def test_status_of_the_session_moves_the_order(
    add_opened: Any, act: Any, the_order: Any, state: State, session: Any, announced: str, after: State
) -> None:
    ref = add_opened(state=state)
    moved = act(ref, orders.apply_session, session, by="worker", announced=announced)
    assert (the_order().state, moved) == (after, after != state)


def test_session_names_the_invoice_and_the_payment(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened(invoice_id=None, payment_id=None)
    act(ref, orders.apply_session, told("pending", invoice_id="inv_2", payment_id="pay_2"), by="worker")
    assert (the_order().invoice_id, the_order().payment_id) == ("inv_2", "pay_2")
    act(ref, orders.apply_session, told("expired"), by="worker")  # deleted with its session
    assert (the_order().invoice_id, the_order().payment_id) == ("inv_2", "pay_2")
    assert (the_order().state, the_order().paid_at) == (State.EXPIRED, None)


def test_completed_session_of_a_fulfilled_order_is_no_news(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened(state=State.FULFILLED)
    assert not act(ref, orders.apply_session, told("completed"), by="worker")
    assert (the_order().state, the_order().review_note) == (State.FULFILLED, None)


def test_overwritten_fulfilled_order_is_flagged(add_opened: Any, act: Any, the_order: Any) -> None:
    ref = add_opened(state=State.FULFILLED)
    act(ref, orders.apply_session, told("expired", completed_at=NOW), by="webhook")
    note = "Fulfilled, but Flexprice overwrote the completed session: it will not renew"
    assert the_order().review_note == note
    assert the_order().revoked_at is None


@pytest.mark.parametrize(("session_id", "customer_id"), [("cs_02", "cust_01"), ("cs_01", "cust_02")])
def test_session_of_another_is_not_believed(
    add_opened: Any, act: Any, the_order: Any, session_id: str, customer_id: str
) -> None:
    ref = add_opened()
    other = CheckoutSession(session_id, customer_id, "completed", terminal=True)
    assert not act(ref, orders.apply_session, other, by="webhook")
    assert the_order().state == State.AWAITING_PAYMENT
    assert "not believed" in the_order().review_note


def test_expired_session_after_a_cancel_is_a_cancel(add_opened: Any, act: Any, the_order: Any) -> None:
    """Flexprice's word for a cancelled session is "expired"."""
    ref = add_opened(cancel_requested_at=NOW)
    act(ref, orders.apply_session, told("expired"), by="worker")
    assert the_order().state == State.CANCELLED


def test_payment_of_a_lost_session_is_found(add_user: Any, add_order: Any, act: Any, the_order: Any) -> None:
    add_user()
    ref = add_order(session_requested_at=NOW)
    draft = Subscription("subs_1", "cust_01", "plan_01", "draft", metadata={"order_ref": ref})
    assert not act(ref, orders.find_payment, [draft], by="worker")
    active = Subscription(
        "subs_2", "cust_01", "plan_01", "active", metadata={"order_ref": ref}, latest_invoice_id="inv_2"
    )
    assert act(ref, orders.find_payment, [draft, active], by="worker")
    order = the_order()
    assert (order.state, order.subscription_id, order.invoice_id) == (State.PAID, "subs_2", "inv_2")
    assert order.paid_at is not None


def test_order_whose_session_becomes_known_is_not_given_up(
    context: Any, add_user: Any, add_order: Any
) -> None:
    """While it is looked for, the answer or a webhook may come, or the session may be asked for again."""
    add_user()
    add_order(session_requested_at=NOW)
    for known in ({"session_id": "cs_01"}, {"session_id": None, "session_requested_at": moment()}):
        order = orders.get(1)
        with db.engine.begin() as elsewhere:
            elsewhere.execute(update(Order).values(known))
        assert not reconciliation.abandon_if_lost(order, [], after=timedelta(), by="worker")
        assert orders.get(1).state == State.PLACED
        commit()


# -- transactions ------------------------------------------------------------------------------------


def test_change_needs_the_columns_as_they_were(context: Any, add_opened: Any) -> None:
    order = orders.find(ref=add_opened())
    assert order
    db.session.execute(update(Order).values(review_note="written by another"))
    assert not orders.change(order, {"attempts": 9}, review_note=None)
    assert (order.review_note, order.attempts) == ("written by another", 0)
    assert orders.change(order, {"attempts": 9}, review_note="written by another")
    assert order.attempts == 9


@pytest.mark.parametrize(
    "write",
    [
        lambda order: orders.transition(order, Trigger.PAYMENT_COMPLETED, by="webhook"),
        lambda order: orders.apply_session(order, told("completed"), by="webhook"),
        lambda order: orders.settle(order.id, told("completed"), by="webhook"),
        lambda order: orders.record_session(order, told("pending"), by="customer"),
        lambda order: orders.add_review_note(order, "a note"),
        lambda order: orders.refund_seen(order, by="webhook"),
        lambda order: orders.close(order, by=OLGA),
        lambda order: orders.check_now(order),
        lambda order: reconciliation.verify_invoice(order, Invoice.from_json(invoice()), by="worker"),
    ],
)
def test_rollback_leaves_nothing(context: Any, add_opened: Any, rows: Any, write: Any) -> None:
    """No function commits by itself, and none opens a savepoint before its first write."""
    ref = add_opened(invoice_verified_at=None)

    def everything() -> list[Any]:
        models = (Order, OrderTransition, PlanAccess, Email)
        return [
            {name: value for name, value in vars(row).items() if name[0] != "_"}
            for model in models
            for row in rows(model)
        ]

    before = everything()
    order = orders.find(ref=ref)
    assert order
    write(order)
    rollback()
    assert everything() == before
