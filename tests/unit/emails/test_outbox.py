"""Which emails are owed: written in the order's transaction, once for each order and kind."""

import pytest

from storefront.checkout import State, Trigger, context, orders
from storefront.emails import outbox
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import Order, OrderTransition


@pytest.fixture
def move(app, add_user, add_order):
    """Moves a new order of Asha's by a trigger; not yet committed."""
    add_user()
    pushed = app.app_context()
    pushed.push()

    def by(trigger, state=State.AWAITING_PAYMENT, **values):
        add_order(state=state, **values)
        order = db.session.query(Order).order_by(Order.id.desc()).first()
        assert orders.transition(order, trigger, by="a test")
        return order

    yield by
    pushed.pop()


@pytest.mark.parametrize(
    ("state", "trigger", "kinds"),
    [
        (State.PAID, Trigger.FULFILLED, ["welcome"]),
        (State.AWAITING_PAYMENT, Trigger.PAYMENT_FAILED, ["payment_failed"]),
        (State.EXPIRED, Trigger.REFUND_SEEN, ["refunded"]),
        (State.PAID_TWICE, Trigger.REFUND_CONFIRMED, ["refunded"]),
        (State.PLACED, Trigger.SESSION_REFUSED, []),  # nothing was paid, and the page says so
        (State.AWAITING_PAYMENT, Trigger.SESSION_EXPIRED, []),
        (State.AWAITING_PAYMENT, Trigger.CANCELLED, []),
        (State.AWAITING_PAYMENT, Trigger.PAYMENT_COMPLETED, []),
        (State.STUCK, Trigger.CLOSED, []),  # closed by an operator, who has written to them
    ],
)
def test_a_transition_owes_its_email(move, rows, state, trigger, kinds):
    move(trigger, state)
    context.commit()
    assert [email.kind for email in rows(Email)] == kinds


def test_a_rollback_owes_nothing(move, rows):
    move(Trigger.FULFILLED, State.PAID)
    db.session.rollback()
    assert rows(Email) == []
    assert rows(OrderTransition) == []


def test_an_order_gets_each_email_once(move, rows):
    order = move(Trigger.REFUND_SEEN, State.EXPIRED)  # paid late
    assert orders.transition(order, Trigger.REFUND_CONFIRMED, by="a test")  # refunded
    context.commit()
    assert [email.kind for email in rows(Email)] == ["refunded"]


def test_the_row_holds_nothing_rendered(move, rows):
    move(Trigger.FULFILLED, State.PAID, plan_name="A name of a plan")
    context.commit()
    [email] = rows(Email)
    assert "A name of a plan" not in str(vars(email))
    assert (email.user_id, email.order_id, email.sent_at, email.state) == (1, 1, None, "queued")
    assert email.expires_at - email.created_at == outbox.LIFETIME


@pytest.mark.parametrize("name", ["x" * 255, "ल" * 255, "🐎" * 255, "<b>&\"'", "%s {{ 7*7 }}"])
def test_any_plan_name_is_fulfilled_and_owed_its_email(move, rows, name):
    move(Trigger.FULFILLED, State.PAID, plan_name=name)
    context.commit()
    assert rows(Order)[0].state == State.FULFILLED
    assert len(rows(Email)) == 1


def test_an_operator_sends_an_email_again_once(move, rows):
    move(Trigger.FULFILLED, State.PAID)
    context.commit()
    email = db.session.query(Email).one()
    email.attempts = 1
    outbox.mark_sent(email)
    db.session.commit()
    assert outbox.send_again(email.id, attempts=1)
    [again] = rows(Email)
    assert (again.state, again.next_attempt_at is not None) == ("queued", True)
    db.session.query(Email).one().attempts = 2
    db.session.commit()
    assert not outbox.send_again(1, attempts=1), "a second click saw an older state"
    assert not outbox.send_again(99, attempts=0)
