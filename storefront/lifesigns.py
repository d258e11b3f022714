"""Which workers live. What one had in its hands when it died is free again within seconds.

A worker beats from a thread of its own: one that waits for an answer is slow, not dead. The others do not
compare clocks: they watch whether a beat changes. Who could not beat themselves say nothing about others.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from flask import Flask, current_app
from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from storefront.database import DatabaseBusy, insert_or_ignore, writing
from storefront.extensions import db
from storefront.models import Heartbeat, InboxMessage, Letter, random_key

log = logging.getLogger(__name__)

WORKER = "worker"  # how the names of all their beats begin
BEAT_EVERY = 1.5  # seconds
SILENT_FOR = 5.0  # seconds after which a worker is dead to the others
LONGEST_LOOK = timedelta(minutes=1)  # at the orders that were taken up together; Flexprice may be slow
CLAIM_LASTS = timedelta(minutes=10)  # of a worker that lives and hangs; a dead one's are free at once
ALIVE_WITHIN = timedelta(seconds=30)  # for people: nobody need be called sooner

_me: ContextVar[str] = ContextVar("worker", default=WORKER)


def me() -> str:
    """Whose claims those are that are made here."""
    return _me.get()


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    token = _me.set(name)
    try:
        yield
    finally:
        _me.reset(token)


def unclaimed(kind: type[InboxMessage] | type[Letter], now: datetime) -> ColumnElement[bool]:
    """In nobody's hands, or in those of one who hangs."""
    return or_(kind.claimed_at.is_(None), kind.claimed_at < now - CLAIM_LASTS)


def is_alive(now: datetime) -> bool:
    """Is there any worker? A web process alone fulfils nothing."""
    beat = db.session.scalar(newest_beat())
    return beat is not None and now - beat < ALIVE_WITHIN


def newest_beat() -> Select[datetime]:
    return select(func.max(Heartbeat.beat_at)).where(Heartbeat.name.startswith(WORKER))


def beat(now: datetime, name: str = WORKER) -> None:
    with writing() as session:
        insert_or_ignore(session, Heartbeat, name=name, beat_at=now)
        session.execute(update(Heartbeat).where(Heartbeat.name == name).values(beat_at=now))


class Life:
    """One worker's, from its first beat to its end.

    `free` lets go of what the one so named had in its hands, which it may have taken up since then.
    """

    def __init__(self, free: Callable[[str, datetime], None]) -> None:
        self.name = f"{WORKER} {random_key()}"
        self._free = free
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_beat = 0.0
        self._watched: dict[str, tuple[datetime, float]] = {}  # the others' beats, and since when they stand

    def begin(self) -> None:
        """Nothing is taken up before the first beat. Called again, it does nothing."""
        if not self._thread:
            self.beat(time.monotonic())
            app = cast(Any, current_app)._get_current_object()
            self._thread = threading.Thread(target=self._go_on, args=(app,), daemon=True)
            self._thread.start()

    def _go_on(self, app: Flask) -> None:
        while not self._over.wait(BEAT_EVERY):
            with app.app_context():
                try:
                    self.beat(time.monotonic())
                except (DatabaseBusy, SQLAlchemyError) as error:
                    log.warning("no beat just now: %s", type(error).__name__)
                finally:
                    db.session.remove()

    def beat(self, clock: float) -> None:
        """Give a sign, and take from the dead what they had in their hands."""
        beat(datetime.now(UTC), self.name)
        if clock - self._last_beat > SILENT_FOR / 2:
            self._watched.clear()  # held up: perhaps the others were too, by the same thing
        self._last_beat = clock
        for name, beat_at in self._silent(clock):
            self._bury(name, beat_at)

    def _silent(self, clock: float) -> list[tuple[str, datetime]]:
        others = select(Heartbeat.name, Heartbeat.beat_at).where(Heartbeat.name.startswith(WORKER))
        now = {row.name: row.beat_at for row in db.session.execute(others) if row.name != self.name}
        self._watched = {
            name: known if (known := self._watched.get(name)) and known[0] == beat_at else (beat_at, clock)
            for name, beat_at in now.items()
        }
        return [
            (name, beat_at) for name, (beat_at, since) in self._watched.items() if clock - since >= SILENT_FOR
        ]

    def _bury(self, name: str, beat_at: datetime) -> None:
        """Unless it has come to life meanwhile. One that does so later finds its claims gone."""
        with writing():
            unchanged = delete(Heartbeat).where(Heartbeat.name == name, Heartbeat.beat_at == beat_at)
            result: Any = db.session.execute(unchanged)
            if result.rowcount:
                self._free(name, beat_at - LONGEST_LOOK)
                log.warning("%s is dead; what it had in its hands is free", name)

    @contextmanager
    def lived(self) -> Iterator["Life"]:
        """What is done within is done in its name. One that ends of its own will has nothing in its hands."""
        with acting_as(self.name):
            yield self
        self._over.set()
        if self._thread:
            self._thread.join()
            with suppress(DatabaseBusy, SQLAlchemyError), writing():
                db.session.execute(delete(Heartbeat).where(Heartbeat.name == self.name))
            db.session.remove()
