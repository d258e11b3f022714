"""The worker: what is due is done once, by one worker, and no exception ends its loop."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DataError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storefront.accounts import service
from storefront.checkout import State, reconciliation, worker
from storefront.checkout import context as checkout_context
from storefront.checkout.context import backoff, commit
from storefront.checkout.signals import order_needs_attention, worker_ran
from storefront.emails.models import Email
from storefront.extensions import checkout, db
from storefront.flexprice import ServerError
from storefront.models import Order, PlanAccess, WebhookEvent

SECOND = timedelta(seconds=1)
on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def other_events(send_webhook: Any) -> Any:
    """Delivers events that need no call: `other_events(3)`."""

    def send(count: int) -> None:
        for number in range(count):
            body = {"event_type": "brand.new", "brand": {"id": f"b_{number}"}}
            assert send_webhook(body, message_id=f"msg_{number}").status_code == 204

    return send


# -- turns ------------------------------------------------------------------------------------------


def test_nothing_due_is_nothing_done(work: Any, sent: Any) -> None:
    with sent(worker_ran) as turns:
        assert work() == 0
    assert turns == [{"processed": 0}]


def test_turn_processes_what_is_due(other_events: Any, work: Any, rows: Any, sent: Any) -> None:
    other_events(3)
    with sent(worker_ran) as turns:
        assert work() == 3
    assert [event.outcome for event in rows(WebhookEvent)] == ["ignored"] * 3
    assert turns == [{"processed": 3}]


def test_turn_is_limited(app: Any, other_events: Any, rows: Any) -> None:
    other_events(5)
    with app.app_context():
        assert checkout.run_once(limit=2) == 2
    assert sum(event.processed_at is not None for event in rows(WebhookEvent)) == 2


def test_oldest_due_row_comes_first(context: Any, other_events: Any, pass_time: Any) -> None:
    other_events(1)
    pass_time(SECOND)
    other_events(2)
    claimed = worker.claim_due(WebhookEvent)
    assert claimed
    assert claimed[0] == "msg_0"


def test_order_is_not_checked_before_it_is_due(add_due: Any, work: Any) -> None:
    add_due(next_attempt_at=now() + SECOND * 30)
    assert work() == 0


def test_completed_event_and_order_are_done_in_a_turn(
    flexprice: Any, add_due: Any, send_webhook: Any, webhook: Any, work: Any, the_order: Any
) -> None:
    add_due(next_attempt_at=now() + timedelta(hours=1))
    send_webhook(webhook())
    flexprice.answer("GET", "/invoices/inv_01", {"error": "down"}, 503)
    assert work() == 2  # the event, then the order for its receipt
    assert the_order().state == State.FULFILLED


# -- claims -----------------------------------------------------------------------------------------


def test_claimed_row_is_left_to_its_worker(
    context: Any, other_events: Any, work: Any, pass_time: Any, the_event: Any
) -> None:
    """A worker that was killed after the claim gives it back by itself."""
    other_events(1)
    claimed = worker.claim_due(WebhookEvent)
    assert claimed
    assert worker.claim_due(WebhookEvent) is None
    assert (claimed[0], the_event().attempts) == ("msg_0", 1)
    assert claimed[1] - now() == pytest.approx(worker.LEASE, abs=SECOND)
    pass_time(worker.LEASE - 2 * SECOND)
    assert work() == 0
    pass_time(2 * SECOND)
    assert work() == 1
    assert the_event().outcome == "ignored"


def test_two_workers_take_different_rows(app: Any, other_events: Any) -> None:
    other_events(8)
    taken: list[str] = []
    barrier = threading.Barrier(2)

    def take() -> None:
        with app.app_context():
            barrier.wait(30)
            while len(taken) < 8:
                try:
                    if claimed := worker.claim_due(WebhookEvent):
                        taken.append(claimed[0])
                except OperationalError:
                    db.session.rollback()
            db.session.remove()

    workers = [threading.Thread(target=take) for _ in range(2)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(60)
    assert sorted(taken) == [f"msg_{number}" for number in range(8)]


def test_row_being_claimed_is_passed_by(context: Any, other_events: Any, app: Any) -> None:
    """On PostgreSQL: the other worker neither takes it nor waits for it."""
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no row locks: the UPDATE decides")
    other_events(2)
    first = select(WebhookEvent.id).order_by(WebhookEvent.next_attempt_at).limit(1).with_for_update()
    held = db.session.scalar(first)
    taken: list[Any] = []

    def take() -> None:
        with app.app_context():
            taken.append(worker.claim_due(WebhookEvent))

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(10)
    db.session.rollback()
    assert {held, taken[0][0]} == {"msg_0", "msg_1"}


def test_order_moved_while_it_was_checked_stays_due(context: Any, add_due: Any, act: Any) -> None:
    """The other transaction says when it is due, not this worker."""
    from storefront.checkout import Trigger, orders

    ref = add_due()
    claimed = worker.claim_due(Order)
    assert claimed
    act(ref, orders.transition, Trigger.PAYMENT_COMPLETED, by="webhook")
    worker.reschedule_order(claimed[0], claimed[1], None)
    order = orders.find(ref=ref)
    assert order
    assert order.next_attempt_at is not None
    assert order.next_attempt_at <= now()


def test_event_renewed_while_it_failed_stays_due(context: Any, other_events: Any, the_event: Any) -> None:
    other_events(1)
    claimed = worker.claim_due(WebhookEvent)
    assert claimed
    event = db.session.get(WebhookEvent, "msg_0", populate_existing=True)
    assert event
    event.next_attempt_at = then = now()
    commit()
    worker.retry_event("msg_0", claimed[1], ServerError("down"))
    assert the_event().next_attempt_at == then


def test_check_is_noted_with_its_time(flexprice: Any, add_due: Any, work: Any, the_order: Any) -> None:
    add_due()
    flexprice.answer("GET", "/checkout/sessions/cs_01", flexprice.session())
    work()
    assert now() - the_order().last_checked_at < 5 * SECOND
    assert the_order().attempts == 1


# -- what goes wrong --------------------------------------------------------------------------------


def test_broken_order_delays_no_other(
    flexprice: Any, add_user: Any, add_due: Any, add_order: Any, work: Any, rows: Any, fail_to_fulfill: Any
) -> None:
    values = {"state": State.PAID, "next_attempt_at": now(), "status_changed_at": now()}
    add_due(**values, session_id=None, invoice_id=None)
    for number in (2, 3):
        add_order(add_user(f"user{number}@example.com"), invoice_verified_at=now(), **values)
    fail_to_fulfill(only=lambda order: order.id == 2)
    work()
    assert [order.state for order in rows(Order)] == [State.FULFILLED, State.PAID, State.FULFILLED]
    assert [access.order_id for access in rows(PlanAccess)] == [1, 3]
    assert rows(Order)[1].next_attempt_at > now()


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (RuntimeError("a bug"), True),
        (ServerError("down"), False),
        (OperationalError("x", {}, Exception()), False),
        (InternalError("x", {}, Exception("idle-in-transaction timeout")), False),
        (PoolTimeout(), False),
        (DataError("x", {}, Exception("value too long")), True),
    ],
)
def test_order_whose_check_keeps_breaking_is_flagged(
    add_due: Any, work: Any, the_order: Any, pass_time: Any, sent: Any, monkeypatch: pytest.MonkeyPatch,
    error: Exception, noted: bool,
) -> None:  # fmt: skip
    """A database that is away says nothing about the order."""

    def fail(_order: Any) -> None:
        raise error

    monkeypatch.setitem(reconciliation.CHECKS, State.AWAITING_PAYMENT, fail)
    add_due()
    with sent(order_needs_attention) as notes:
        for _ in range(12):
            work()
            pass_time(timedelta(hours=2))
    assert the_order().attempts == 12
    assert the_order().state == State.AWAITING_PAYMENT
    assert [note["note"] for note in notes] == (
        ["Processing fails again and again: see the log"] if noted else []
    )


def test_loop_outlives_any_exception(context: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Kind: a loop that outlives anything."""
    stop, turns = threading.Event(), []

    def turn() -> int:
        turns.append(1)
        if len(turns) == 3:
            stop.set()
        raise (OperationalError("SELECT", {}, Exception("gone")) if len(turns) % 2 else KeyError("x"))

    monkeypatch.setattr(worker, "run_once", turn)
    monkeypatch.setattr(worker, "ERROR_INTERVAL_S", 0)
    worker.run_forever(stop)
    assert len(turns) == 3
    assert caplog.text.count("The worker's turn failed; it goes on") == 3


def test_loop_outlives_a_session_that_cannot_be_closed(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when PostgreSQL ends the connection between a question and the rollback that follows.

    Kind: letting go of a session raises nothing.
    """
    stop = threading.Event()

    def fail() -> None:
        stop.set()
        raise OperationalError("ROLLBACK", {}, Exception("gone"))

    monkeypatch.setattr(worker, "run_once", lambda: 0)
    with monkeypatch.context() as patch:
        patch.setattr(db.session, "remove", fail)
        worker.run_forever(stop)
    assert not db.session.registry.has()


def test_loop_keeps_no_session_between_turns(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    def turn() -> int:
        db.session.execute(db.select(Order))
        stop.set()
        return 0

    monkeypatch.setattr(worker, "run_once", turn)
    worker.run_forever(stop)
    assert not db.session.registry.has()


def test_receiver_of_worker_ran_may_raise(app: Any, work: Any) -> None:
    def fail(_app: Any, **_: Any) -> None:
        raise RuntimeError

    with worker_ran.connected_to(fail, app):
        assert work() == 0


@pytest.mark.parametrize("attempts", [-1, 0, 1, 2, 10, 1000, 2**63])
def test_backoff_doubles_and_never_overflows(attempts: int) -> None:
    gap = backoff(attempts, SECOND, timedelta(minutes=15))
    expected = 2 ** min(max(attempts - 1, 0), 20)
    assert gap == min(timedelta(seconds=expected), timedelta(minutes=15))


# -- clocks of several machines ----------------------------------------------------------------------


@pytest.fixture(params=[timedelta(hours=2), -90 * SECOND, -timedelta(days=9999)], ids=str)
def set_wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on the clock of this process is ahead, or behind; that of its database is right."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + request.param

    return lambda: monkeypatch.setattr(checkout_context, "datetime", Wrong)


@on_postgresql
def test_wrong_clock_delays_no_sale(
    flexprice: Any, add_opened: Any, send_webhook: Any, webhook: Any, work: Any, the_order: Any,
    set_wrong_clock: Callable[[], None],
) -> None:  # fmt: skip
    """Kind: clocks of several machines."""
    add_opened()
    assert send_webhook(webhook()).status_code == 204
    flexprice.answer("GET", "/invoices/inv_01", {"error": "down"}, 503)  # only for the receipt
    set_wrong_clock()
    work()
    assert the_order().state == State.FULFILLED
    assert abs(the_order().fulfilled_at - now()) < timedelta(minutes=1)


@on_postgresql
def test_wrong_clock_abandons_no_order(
    flexprice: Any, add_user: Any, add_order: Any, work: Any, the_order: Any,
    set_wrong_clock: Callable[[], None],
) -> None:  # fmt: skip
    """It is being opened at this moment.

    Kind: clocks of several machines.
    """
    add_user()
    add_order(session_requested_at=now(), created_at=now(), status_changed_at=now(), next_attempt_at=now())
    flexprice.answer("POST", "/subscriptions/search", {"items": [], "pagination": {"total": 0}})
    set_wrong_clock()
    work()
    assert the_order().state == State.PLACED
    assert abs(the_order().next_attempt_at - now()) < timedelta(minutes=2)


@on_postgresql
def test_wrong_clock_sends_no_email_twice(
    context: Any, add_user: Any, set_wrong_clock: Callable[[], None]
) -> None:
    """A worker whose clock is right is sending it.

    Kind: clocks of several machines.
    """
    add_user()
    service.request_reset("asha@example.com")
    assert worker.claim_due(Email)
    set_wrong_clock()
    assert worker.claim_due(Email) is None
