"""Engines and `with writing():` — the one place that knows SQLite from PostgreSQL."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import scoped_session

from storefront.extensions import db

PATIENCE = 0.5  # seconds a writer waits at the gate: several waves must fit into a webhook's 5 s
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    f"PRAGMA busy_timeout={int(PATIENCE * 1000)}",
    "PRAGMA foreign_keys=ON",
)


class DatabaseBusy(Exception):
    """Somebody else has been writing for too long. Nothing was written; try again in a second."""


class Gate:
    """Lets one writer in at a time, across threads and processes.

    SQLite's own waiting is unfair: without a gate the unlucky writer waits seconds, with it milliseconds.
    """

    def __init__(self, path: Path) -> None:
        self._thread = threading.Lock()
        self._path = path

    @contextmanager
    def passed(self) -> Iterator[None]:
        if not self._thread.acquire(timeout=PATIENCE):
            raise DatabaseBusy
        try:
            with self._path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # the other process holds it for PATIENCE at most
                yield
        finally:
            self._thread.release()


def init_app(app: Flask) -> None:
    with app.app_context():
        engine = db.engine
    app.extensions["gate"] = _prepare_sqlite(engine) if engine.dialect.name == "sqlite" else None


def _prepare_sqlite(engine: Engine) -> Gate:
    @event.listens_for(engine, "connect")
    def _manual_transactions(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own mode loses updates without an error
        for pragma in PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    gate = Path(f"{engine.url.database}.gate")
    gate.parent.mkdir(parents=True, exist_ok=True)
    return Gate(gate)


@contextmanager
def writing() -> Iterator[scoped_session[Session]]:
    """One short write transaction: commits at the end, rolls back on an exception.

    Ends a read that is still open, so what was read before must be looked at again.
    Raises DatabaseBusy when another writer holds the database for too long.
    """
    gate: Gate | None = current_app.extensions["gate"]
    db.session.rollback()
    with gate.passed() if gate else nullcontext():
        try:
            db.session.connection(execution_options={"writes": True})
            yield db.session
            db.session.commit()
        except OperationalError as error:
            db.session.rollback()
            if "locked" in str(error) or "busy" in str(error):
                raise DatabaseBusy from error
            raise
        except BaseException:
            db.session.rollback()
            raise


def insert_or_ignore(session: scoped_session[Session], model: Any, **values: Any) -> bool:
    """Insert a row; False when its key is already taken."""
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    result: Any = session.execute(insert(model).values(**values).on_conflict_do_nothing())
    return bool(result.rowcount)
