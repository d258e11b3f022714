"""Two workers that come to two things of one shopper in the same moment."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from storefront.lifecycle import Fact, State

from storefront import aftercare, fulfillment, inbox, orders
from storefront.database import DatabaseBusy, writing
from storefront.extensions import db
from storefront.models import Access, Order

on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
PLANS = ["plan_02", "plan_03", "plan_04"]  # another one each, until all are there


def test_two_paid_orders_of_one_plan_grant_it_once(context, enrol, order_of, rows):
    """Also where the plan was held before: both then find the same row to revive."""
    enrol()
    before, *paid = [order_of(plan_id=plan, state=State.PAID) for plan in PLANS]
    with writing():
        db.session.execute(update(Order).values(plan_id="plan_01"))
    with writing():
        fulfillment.fulfill(orders.by_ref(before), datetime.now(UTC))
        db.session.scalars(select(Access)).one().revoked_at = datetime.now(UTC)

    at_once(context, paid)
    for ref in paid:  # on SQLite the second one may have been told to come again
        with writing():
            fulfillment.fulfill(orders.by_ref(ref), datetime.now(UTC))

    states = [order.state for order in rows(Order) if order.ref in paid]
    assert sorted(states) == [State.FULFILLED, State.PAID_TWICE]
    assert [access.revoked_at for access in rows(Access)] == [None]


def at_once(context, refs):
    everybody = threading.Barrier(len(refs))

    def fulfil(ref):
        with context.app_context(), contextlib.suppress(DatabaseBusy):
            order = orders.by_ref(ref)
            everybody.wait(60)
            with writing():
                fulfillment.fulfill(order, datetime.now(UTC))
            db.session.remove()

    workers = [threading.Thread(target=fulfil, args=(ref,)) for ref in refs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@on_postgresql
@pytest.mark.parametrize("what", ["messages", "orders"])
def test_what_one_worker_is_just_taking_no_other_takes_or_waits_for(
    context, enrol, order_of, tell, news, what
):
    enrol()
    now = datetime.now(UTC) + timedelta(minutes=1)
    for number in (1, 2):
        assert tell(news(), message_id=f"msg_{number}").status_code == 204
        order_of(plan_id=f"plan_{number}", state=State.PAID, next_look_at=now)

    def take():
        if what == "messages":
            return [message.id for message in inbox.claim(now, 1)]
        return orders.claim_looks(now, aftercare.look_again_at, 1)

    def take_as_another():
        with context.app_context(), writing():
            return take()

    with ThreadPoolExecutor() as other, writing():
        taken = take() + other.submit(take_as_another).result()
    assert sorted(taken) == (["msg_1", "msg_2"] if what == "messages" else [1, 2])


def test_an_order_that_is_paid_while_it_is_looked_at_keeps_its_turn(context, enrol, order_of, rows):
    """One worker was to say when it is looked at again; meanwhile another one heard that it is paid."""
    enrol()
    now = datetime.now(UTC)
    order = order_of(state=State.AWAITING_PAYMENT)
    with writing():
        orders.advance(orders.by_ref(order), Fact.PAYMENT_COMPLETED, now)
    later = now + timedelta(minutes=1)
    with writing():
        orders.look_again(1, State.AWAITING_PAYMENT, later)
        orders.rest(1, planned=later)
    assert rows(Order)[0].next_look_at == now
    with writing():
        orders.look_again(1, State.PAID, later)
        orders.rest(1, planned=later)
    assert rows(Order)[0].next_look_at is None


def test_of_two_pages_that_look_in_the_same_moment_one_asks_flexprice(context, enrol, order_of):
    enrol()
    order_of(state=State.AWAITING_PAYMENT)
    now = datetime.now(UTC)

    def may_ask(at):
        with writing():
            return orders.claim_asking(1, at)

    assert [may_ask(now), may_ask(now), may_ask(now + orders.ASK_AT_MOST_EVERY)] == [True, False, True]
