"""The thread that runs tasks and sends messages while the sandbox is up."""

import logging
import threading

from sqlalchemy import select

from .delivery.dispatcher import Dispatcher
from .engine import scheduler
from .store.control_rows import Task
from .store.database import Database

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1


def start(database: Database, dispatcher: Dispatcher, stop: threading.Event) -> threading.Thread:
    """Looks ten times a second until `stop` is set."""

    def loop() -> None:
        while not stop.wait(LOOK_EVERY_S):
            try:
                run_once(database, dispatcher)
            except Exception:
                log.exception("the sandbox's background work failed; it goes on")

    thread = threading.Thread(target=loop, name="sandbox-background", daemon=True)
    thread.start()
    return thread


def run_once(database: Database, dispatcher: Dispatcher) -> None:
    for store in _stores_with_tasks(database):
        scheduler.run_due_tasks(database, store)
    dispatcher.start()


def _stores_with_tasks(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.execute(select(Task.store).distinct()).scalars())
