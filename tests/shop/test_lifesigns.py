"""Signs of life: what a dead worker had in its hands is free within seconds, and a slow one's is not."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from storefront import aftercare, fulfillment, inbox, lifesigns, orders, outbox, worker
from storefront.database import writing
from storefront.extensions import db
from storefront.lifecycle import State
from storefront.models import Access, Heartbeat, InboxMessage, Letter, Order, Shopper

NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
WITHIN = 10.0  # seconds: the fault list's R20


def life():
    return lifesigns.Life(worker.free)


@pytest.fixture
def hands(context, tell, rows):
    """Take a message into a worker's hands; who holds it now."""
    tell({"event_type": "brand.new", "brand": {"id": "b_1"}}, message_id="msg_1")

    def take(one):
        with lifesigns.acting_as(one.name), writing():
            return bool(inbox.claim(datetime.now(UTC), 1))

    take.whose = lambda: rows(InboxMessage)[0].claimed_by
    return take


def beats(one, *clocks):
    for clock in clocks:
        one.beat(clock)


def seconds(first, last):
    """The moments at which a worker beats."""
    return [first + n * lifesigns.BEAT_EVERY for n in range(int((last - first) / lifesigns.BEAT_EVERY) + 1)]


def test_what_a_dead_worker_held_is_free_within_ten_seconds(context, hands):
    dead, living = life(), life()
    beats(dead, 0)
    assert hands(dead)
    beats(living, *seconds(1, 4))
    assert hands.whose() == dead.name
    beats(living, *seconds(5.5, WITHIN))
    assert hands.whose() is None
    assert hands(living)


def test_a_letter_of_a_dead_worker_is_free_too(context, enrol, order_of, rows, samples):
    enrol()
    order_of()
    dead, living = life(), life()
    with writing():
        outbox.write("welcome", db.session.get_one(Shopper, 1), samples.NOW, db.session.get_one(Order, 1))
    beats(dead, 0)
    with lifesigns.acting_as(dead.name), writing():
        assert outbox.claim(db.session.get_one(Letter, 1), samples.NOW)
    assert worker.post_letters(samples.NOW) == 0
    beats(living, *seconds(1, WITHIN))
    assert worker.post_letters(samples.NOW) == 1
    assert rows(Letter)[0].posted_at == samples.NOW


def test_an_order_that_a_dead_worker_looked_after_is_free_too(context, enrol, order_of, rows):
    """Even one with a gap of an hour, such as one that has been open for long."""
    enrol()
    now = datetime.now(UTC)
    order_of(state=State.AWAITING_PAYMENT, opening_at=now - timedelta(hours=3), next_look_at=now)
    dead, living = life(), life()
    beats(dead, 0)
    with lifesigns.acting_as(dead.name), writing():
        assert orders.claim_looks(now, aftercare.look_again_at, 1)
    beats(living, *seconds(1, 4))
    assert not orders.is_one_due(datetime.now(UTC))
    beats(living, *seconds(5.5, WITHIN))
    assert orders.is_one_due(datetime.now(UTC))


def test_what_it_had_looked_after_before_keeps_its_gap(context, enrol, order_of):
    enrol()
    now, before = datetime.now(UTC), datetime.now(UTC) - timedelta(minutes=2)
    order_of(state=State.AWAITING_PAYMENT, opening_at=now - timedelta(hours=3), next_look_at=before)
    dead, living = life(), life()
    with lifesigns.acting_as(dead.name), writing():
        assert orders.claim_looks(before, aftercare.look_again_at, 1)
    beats(dead, 0)
    beats(living, *seconds(1, WITHIN))
    assert not orders.is_one_due(datetime.now(UTC))


def test_a_worker_that_is_slow_but_beats_keeps_what_it_has(context, hands):
    slow, quick = life(), life()
    hands(slow)
    for clock in seconds(0, 60):
        beats(slow, clock)
        beats(quick, clock + 0.1)
    assert hands.whose() == slow.name


def test_who_was_held_up_itself_calls_nobody_dead(context, hands):
    """The database was held for longer than anybody may be silent, and all of them wait for it."""
    one, other = life(), life()
    hands(one)
    beats(one, *seconds(0, 3))
    beats(other, *seconds(0, 3))
    beats(other, 11)  # the first to get through again
    beats(one, 11.1)
    beats(other, *seconds(12.5, 17))
    beats(one, 12, 13.5, 15, 16.5)
    assert hands.whose() == one.name


def clock_off_by(shift):
    return SimpleNamespace(now=lambda zone: datetime.now(zone) + shift)


def test_clocks_that_differ_kill_nobody(context, hands, monkeypatch):
    behind, ahead = life(), life()
    hands(behind)
    for clock in seconds(0, 30):
        for one, shift in ((behind, -timedelta(minutes=10)), (ahead, timedelta(minutes=10))):
            monkeypatch.setattr(
                lifesigns, "datetime", type("Clock", (), {"now": lambda tz, s=shift: datetime.now(tz) + s})
            )
            beats(one, clock)
    assert hands.whose() == behind.name


def test_one_that_comes_to_life_again_may_not_say_what_became_of_the_message(context, hands, rows):
    held_up, other = life(), life()
    beats(held_up, 0)
    hands(held_up)
    beats(other, *seconds(0, WITHIN))
    hands(other)
    beats(held_up, 11)
    message = rows(InboxMessage)[0]
    with lifesigns.acting_as(held_up.name):
        with pytest.raises(inbox.LostClaim), writing():
            inbox.done(message, "settled", NOW)
        with writing():
            inbox.again(message, "waits", NOW)
    assert (hands.whose(), rows(InboxMessage)[0].handled_at) == (other.name, None)


def test_what_it_was_about_to_do_is_undone(context, enrol, order_of, tell, news, rows, monkeypatch):
    """Taken for dead between reading a message and writing what it means: the order is left to the other."""
    enrol()
    order_of(state=State.AWAITING_PAYMENT, session_id="cs_01", customer_id="cust_01", terms_checked_at=NOW)
    tell(news())
    understand = fulfillment.understand

    def taken_over_meanwhile(*about):
        act = understand(*about)
        with writing():
            worker.free(lifesigns.me(), NOW)
            db.session.execute(update(InboxMessage).values(next_try_at=NOW + timedelta(days=9999)))
        return act

    monkeypatch.setattr(fulfillment, "understand", taken_over_meanwhile)
    now = rows(InboxMessage)[0].received_at
    worker.read_inbox(now)
    assert rows(Order)[0].state == State.AWAITING_PAYMENT
    monkeypatch.setattr(fulfillment, "understand", understand)
    worker.one_pass(NOW + timedelta(days=9999))
    assert rows(Order)[0].state == State.FULFILLED
    assert len(rows(Access)) == 1


def test_a_message_lost_to_another_worker_is_not_set_aside(context, hands, rows, monkeypatch):
    hands(life())  # so that there is one

    def taken_over_meanwhile(*about):
        with writing():
            worker.free(lifesigns.me(), NOW)
        raise fulfillment.NotYet("nobody knows it")

    monkeypatch.setattr(fulfillment, "understand", taken_over_meanwhile)
    with writing():
        db.session.execute(update(InboxMessage).values(claimed_at=None, claimed_by=None))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with writing():
        (message,) = inbox.claim(tomorrow, 1)
    worker.read_together([message], tomorrow)
    assert rows(InboxMessage)[0].handled_at is None


def test_a_worker_beats_while_it_waits_for_an_answer(context, tell, rows, monkeypatch):
    monkeypatch.setattr(lifesigns, "BEAT_EVERY", 0.01)
    tell({"event_type": "brand.new", "brand": {"id": "b_1"}}, message_id="msg_1")
    waiting = threading.Event()
    heard = []

    def answered(client, message):
        first = db.session.scalar(lifesigns.newest_beat())
        while db.session.scalar(lifesigns.newest_beat()) == first:
            db.session.rollback()
            assert not waiting.wait(0.01)
        heard.append(lifesigns.me())
        return lambda now: "noted"

    monkeypatch.setattr(fulfillment, "understand", answered)
    turns = iter([True, False])
    worker.run(beat=lambda: next(turns))
    assert heard[0].startswith("worker ")
    assert rows(InboxMessage)[0].outcome == "noted"
    assert rows(Heartbeat) == []  # it has gone of its own will, and says so


def test_a_worker_that_ends_says_so(context):
    seen = []

    def once():
        seen.append(lifesigns.is_alive(datetime.now(UTC)))
        return len(seen) < 2

    worker.run(beat=once)
    assert seen == [False, True]
    assert not lifesigns.is_alive(datetime.now(UTC))


LIVES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(("beat", "beat", "beat", "take", "die"))), max_size=40
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_living_worker_loses_what_it_holds_and_no_dead_one_keeps_it(context, hands):
    """Three workers beat, take the message and die in any order; time passes between the steps."""

    @settings(
        max_examples=20, deadline=None, database=None, phases=set(Phase) - {Phase.explain},
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(LIVES, st.lists(st.sampled_from((0.1, 0.4)), min_size=40, max_size=40))
    def whatever_happens(steps, pauses):
        with writing():
            db.session.execute(delete(Heartbeat))
            db.session.execute(update(InboxMessage).values(claimed_at=None, claimed_by=None))
        workers = [life() for _ in range(3)]
        clock, alive = 0.0, set(range(3))
        for one in workers:
            one.beat(clock)
        for (who, what), pause in zip(steps, pauses, strict=False):
            clock += pause
            if what == "die":
                alive.discard(who)
            for number in sorted(alive):  # whoever lives beats in time
                if what == "beat" or clock - workers[number]._last_beat >= lifesigns.BEAT_EVERY:
                    workers[number].beat(clock)
            holder = hands.whose()
            if what == "take" and who in alive:
                assert hands(workers[who]) == (holder is None)
            assert hands.whose() is None or holder in (None, hands.whose())
            if holder in {workers[number].name for number in alive}:
                assert hands.whose() == holder
        if alive:
            last = workers[min(alive)]
            for passed in seconds(clock + 1, clock + 1 + WITHIN):
                for number in alive:
                    workers[number].beat(passed)
            assert hands.whose() in {None, *(workers[number].name for number in alive)}
            if hands.whose() is None:
                assert hands(last)

    whatever_happens()
