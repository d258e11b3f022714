"""What is due by the sandbox's clock: the sweep, news that comes late, messages and their retries."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import Connection, delete, func, select, update

from storefront.sandbox._previous import clock, endings, razorpay
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.hooks import MINUTE
from storefront.sandbox._previous.schema import chores, deliveries, sessions
from storefront.sandbox._previous.senders import Senders
from storefront.sandbox._previous.store import Store, find, lever, pull

log = logging.getLogger(__name__)

SWEEP_EVERY = 30 * MINUTE
WALKING = threading.Lock()  # one walk at a time: the clock never goes back


def senders(app: Flask) -> Senders:
    found: Senders = app.extensions["sandbox_senders"]
    return found


def run_due(app: Flask) -> int:
    """Does and sends what is due, and returns when it is done; says how many attempts were made."""
    _do(app.extensions["sandbox"])
    return senders(app).send_all()


def _do(store: Store) -> None:
    _sweep_on_schedule(store)
    _work_off(store)


def walk(app: Flask, seconds: int) -> int:
    """Moves the clock through all that falls due on the way, each thing at its own time."""
    store: Store = app.extensions["sandbox"]
    with WALKING:
        sent = run_due(app)
        with store.reading() as conn:
            until = now(conn) + timedelta(seconds=seconds)
        while stop := _next_stop(store, until):
            with store.writing() as conn:
                clock.move_to(conn, stop)
            sent += run_due(app)
        with store.writing() as conn:
            clock.move_to(conn, max(until, now(conn)))
        return sent + run_due(app)


def _next_stop(store: Store, until: datetime) -> datetime | None:
    with store.reading() as conn:
        at = now(conn).timestamp()
        due = select(func.min(deliveries.c.due_at)).where(
            deliveries.c.state == "due", deliveries.c.due_at > at
        )
        chore = select(func.min(chores.c.due_at)).where(chores.c.due_at > at)
        open_ones = sessions.c.checkout_status.in_(("initiated", "pending"))
        lapse = conn.execute(select(func.min(sessions.c.lapses)).where(open_ones)).scalar()
        stops = [conn.execute(due).scalar(), conn.execute(chore).scalar()]
        if lapse is not None:
            stops.append((max(lapse, at) // SWEEP_EVERY + 1) * SWEEP_EVERY)
    nearest = min((stop for stop in stops if stop is not None), default=None)
    if nearest is None or nearest > until.timestamp():
        return None
    return datetime.fromtimestamp(nearest + 0.001, UTC)


def _sweep_on_schedule(store: Store) -> None:
    with store.reading() as conn:
        if _slot(conn) <= lever(conn, "swept", 0):
            return
    with store.writing() as conn:
        if _slot(conn) > lever(conn, "swept", 0):
            pull(conn, "swept", _slot(conn))
            endings.sweep(conn)


def _slot(conn: Connection) -> int:
    """Which half hour of sandbox time it is."""
    return int(now(conn).timestamp() // SWEEP_EVERY)


def _work_off(store: Store) -> None:
    """Flexprice hears now of money that was taken a while ago."""
    with store.reading() as conn:
        if conn.execute(_due_chores(conn)).first() is None:
            return
    with store.writing() as conn:
        for chore in conn.execute(_due_chores(conn)).all():
            conn.execute(delete(chores).where(chores.c.id == chore.id))
            session = find(conn, sessions, chore.session_id)
            if session:
                razorpay.tell_of_money(conn, session)


def _due_chores(conn: Connection) -> Any:
    return select(chores).where(chores.c.due_at <= now(conn).timestamp()).order_by(chores.c.id)


def start_background(app: Flask) -> threading.Thread:
    """Looks every 100 ms; ends with the process, or when `app.extensions["sandbox_stop"]` is set."""
    with app.extensions["sandbox"].writing() as conn:  # what the process before this one had in its hands
        conn.execute(update(deliveries).values(claimed_at=None))
    stop = app.extensions["sandbox_stop"] = threading.Event()

    def loop() -> None:
        while not stop.wait(0.1):
            try:
                _do(app.extensions["sandbox"])
                senders(app).start()
            except Exception:
                log.exception("the sandbox's deliveries stumbled")

    thread = threading.Thread(target=loop, name="sandbox-deliveries", daemon=True)
    thread.start()
    return thread
