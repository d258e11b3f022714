"""What happens by itself at a time of the store's clock, and a clock that walks through it.

A task is a row with a kind, a target and a due time; its handler is registered under the kind:

    @handles("checkout.sweep")
    def sweep(session: Session, task: Task) -> None: ...

    schedule(session, "checkout.sweep", checkout.id, due)

Handlers run in a transaction of their own, in the order in which tasks fall due. When the clock walks, it
stops at each task's time, so that `session.now()` inside a handler is that time.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..store.control_rows import Task
from ..store.database import Database, Session
from ..store.values import new_id

Handler = Callable[[Session, Task], None]
HANDLERS: dict[str, Handler] = {}


def handles(kind: str) -> Callable[[Handler], Handler]:
    """Registers the handler of a kind of task."""

    def register(handler: Handler) -> Handler:
        HANDLERS[kind] = handler
        return handler

    return register


def schedule(
    session: Session, kind: str, target: str, due_at: datetime, data: dict[str, Any] | None = None
) -> Task:
    """Plans a task; one of the same kind and target that is still planned is replaced."""
    cancel(session, kind, target)
    return session.add(Task(id=new_id("task"), kind=kind, target=target, due_at=due_at, data=data))


def cancel(session: Session, kind: str, target: str) -> None:
    """Takes a planned task back; nothing happens if there is none."""
    session.delete(Task, Task.kind == kind, Task.target == target)


def planned(session: Session, kind: str, target: str) -> Task | None:
    return session.first(Task, Task.kind == kind, Task.target == target)


def next_task(session: Session) -> Task | None:
    """The one that falls due first."""
    return session.first(Task, order=(Task.due_at, Task.id))


def run_due_tasks(database: Database, store: str) -> int:
    """Runs what is due by the store's clock; says how many tasks that were."""
    done = 0
    while _is_due(database, store):
        with database.write(store) as session:
            task = next_task(session)
            if task is None or task.due_at > session.now():
                break
            session.delete(Task, Task.id == task.id)
            HANDLERS[task.kind](session, task)
        done += 1
    return done


def _is_due(database: Database, store: str) -> bool:
    with database.read(store) as session:
        task = next_task(session)
        return task is not None and task.due_at <= session.now()
