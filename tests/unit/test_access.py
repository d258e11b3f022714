"""What a buyer gets: granted once with the order, ended with it, and the order's history."""

from datetime import timedelta

import pytest

from storefront import access
from storefront.checkout import State, Trigger, context, orders
from storefront.extensions import db
from storefront.models import Order, OrderTransition, PlanAccess, User
from tests.shop_fixtures import NOW


@pytest.fixture
def buy(app, add_user, add_order):
    """A fulfilled order of Asha's."""
    add_user()
    pushed = app.app_context()
    pushed.push()

    def fulfilled(**columns):
        add_order(state=State.PAID, **columns)
        order = db.session.query(Order).order_by(Order.id.desc()).first()
        assert orders.fulfill(order, by="a test")
        context.commit()
        return order

    yield fulfilled
    pushed.pop()


def active():
    return [granted.plan_id for granted in access.active(db.session.get_one(User, 1), context.db_now())]


def test_a_fulfilled_order_grants_its_plan(buy):
    order = buy()
    granted = db.session.query(PlanAccess).one()
    assert (granted.user_id, granted.plan_name, granted.order_id) == (1, "Pro", order.id)
    assert active() == ["plan_01"]


def test_a_revoked_order_ends_its_access_only(buy):
    first, second = buy(), buy(plan_id="plan_02")
    assert orders.revoke(first, by="a test", reason="cancelled")
    context.commit()
    assert active() == [second.plan_id]


def test_a_plan_that_is_bought_again_is_granted_again(buy):
    first = buy()
    orders.revoke(first, by="a test", reason="cancelled")
    context.commit()
    again = buy()
    granted = db.session.query(PlanAccess).one()
    assert (granted.order_id, granted.revoked_at) == (again.id, None)


def test_the_end_of_an_earlier_order_does_not_touch_a_later_one(buy):
    later = buy()
    access.revoke(Order(user_id=1, plan_id="plan_01", id=later.id + 1))  # another order
    assert active() == ["plan_01"]


def test_access_ends_at_its_scheduled_end(buy):
    order = buy()
    order.access_ends_at = NOW + timedelta(days=1)
    granted = db.session.query(PlanAccess).one()
    assert granted.active_at(NOW)
    assert not granted.active_at(NOW + timedelta(days=1))


def test_every_transition_is_in_the_history(buy):
    order = buy()
    row = db.session.query(OrderTransition).one()
    assert (row.order_id, row.from_state, row.to_state) == (order.id, State.PAID, State.FULFILLED)
    assert (row.trigger, row.by) == (Trigger.FULFILLED, "a test")


def test_a_rollback_grants_nothing(app, add_user, add_order):
    add_user()
    add_order(state=State.PAID)
    with app.app_context():
        orders.fulfill(db.session.query(Order).one(), by="a test")
        db.session.rollback()
        assert db.session.query(PlanAccess).all() == []
        assert db.session.query(OrderTransition).all() == []


def test_signed_out_nobody_is_a_customer(app):
    with app.test_request_context():
        assert access.current_customer() is None
