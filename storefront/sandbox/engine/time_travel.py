"""What is due by a store's clock, and a clock that walks: each thing happens at its own time on the way."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import func, select

from ..store.control_rows import Delivery, Task
from ..store.database import Database, Session
from . import clock, scheduler

STEP_BEYOND = timedelta(milliseconds=1)
_walking = threading.Lock()  # one walk at a time

Deliver = Callable[[str], int]


def run_due(database: Database, store: str, deliver: Deliver) -> int:
    """Runs tasks and sends messages that are due; says how many attempts were made."""
    scheduler.run_due_tasks(database, store)
    return deliver(store)


def walk(database: Database, store: str, until: datetime, deliver: Deliver) -> int:
    """Moves the clock to `until` through all that falls due on the way.

    :raises ValueError: farther than the clock goes.
    """
    with _walking:
        sent = run_due(database, store, deliver)
        while stop := _next_stop(database, store, until):
            _move(database, store, stop + STEP_BEYOND)
            sent += run_due(database, store, deliver)
        _move(database, store, until)
        return sent + run_due(database, store, deliver)


def _move(database: Database, store: str, moment: datetime) -> None:
    """Never back: the clock ticks on while it walks."""
    with database.write(store) as session:
        clock.move_to(session, max(moment, session.now()))


def _next_stop(database: Database, store: str, until: datetime) -> datetime | None:
    with database.read(store) as session:
        now = session.now()
        stops = [moment for moment in _due_times(session) if moment is not None]
    nearest = min((moment for moment in stops if moment > now), default=None)
    return nearest if nearest and nearest <= until else None


def _due_times(session: Session) -> list[datetime | None]:
    """When the next task and the next delivery fall due."""
    now = session.now()
    task = select(func.min(Task.due_at)).where(Task.store == session.store, Task.due_at > now)
    sending = (Delivery.store == session.store, Delivery.state == "due", Delivery.due_at > now)
    delivery = select(func.min(Delivery.due_at)).where(*sending)
    return [session.orm.scalar(task), session.orm.scalar(delivery)]
