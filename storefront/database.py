"""Engines and `with writing():` — the one place that knows SQLite from PostgreSQL."""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from select import POLLIN, poll
from typing import Any, TypeVar

from flask import Flask, current_app, has_app_context
from flask_sqlalchemy.session import Session
from sqlalchemy import Connection, ExceptionContext, Select, Table, event, literal_column, make_url, select
from sqlalchemy.exc import InterfaceError, InternalError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import scoped_session

from storefront.extensions import db

Row = TypeVar("Row")

PATIENCE = 0.5  # seconds a writer waits while nothing moves: several waves must fit into a webhook's 5 s
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=4194304",  # what the WAL shrinks to once it has been copied back
)

# How long PostgreSQL is waited for, in libpq's words; the same names in DATABASE_URL win.
# `tcp_user_timeout`: for a server that has vanished without goodbye; `lock_timeout`: for a row in use.
POSTGRES_TIMES = {"connect_timeout": 2, "tcp_user_timeout": 3000, "options": "-c lock_timeout=500"}
POOL = {"pool_size": 10, "max_overflow": 10, "pool_timeout": 2}  # a process with more threads waits for 2 s

# What a driver says when somebody else has to finish first (PostgreSQL: by SQLSTATE).
BUSY_WORDS = ("database is locked", "database table is locked", "database is busy")
BUSY_STATES = {"55P03", "40P01", "40001"}  # lock not available, deadlock, serialization failure

# The database is away, full or read-only, or no connection to it is free: not this request's fault.
DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError, NoConnectionFree)


class DatabaseBusy(Exception):
    """Somebody else has been writing for too long. Nothing was written; try again in a second."""


class NotWriting(Exception):
    """A row was to be changed outside `with writing():`, where nothing is committed."""


def engine_options(url: str) -> dict[str, Any]:
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        return POOL
    times = {name: value for name, value in POSTGRES_TIMES.items() if name not in where.query}
    return POOL | {"connect_args": times}


def init_app(app: Flask) -> None:
    with app.app_context():
        engine = db.engine
    on_sqlite = engine.dialect.name == "sqlite"
    app.extensions["gate"] = Gate(Path(f"{engine.url.database}.gate")) if on_sqlite else None
    if on_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        event.listen(engine, "checkout", _leave_if_hung_up)
    event.listen(engine, "begin", _begin_sqlite if on_sqlite else _begin_postgresql)
    event.listen(engine, "handle_error", _name_the_mistake)


# -- transactions: whoever does not say that they write cannot ---------------------------------------


def _patience(connection: Connection) -> float | None:
    """Seconds a writer may wait for its turn; None for a reader."""
    patience: float | None = connection.get_execution_options().get("writes_within")
    return patience


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own mode loses updates without an error
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("one_question"):
        return  # sees one state of things by itself
    patience = _patience(connection)
    pragmas = (
        f"PRAGMA busy_timeout={int((PATIENCE if patience is None else patience) * 1000)}",
        f"PRAGMA query_only={'ON' if patience is None else 'OFF'}",
    )
    driver: Any = connection.connection.dbapi_connection
    if connection.info.get("pragmas") != pragmas:  # the driver's connection remembers them
        for pragma in pragmas:
            driver.execute(pragma)
        connection.info["pragmas"] = pragmas
    # A reader that began IMMEDIATE would queue behind writers; a writer that did not could never be upgraded.
    begin = "BEGIN" if patience is None else "BEGIN IMMEDIATE"
    try:
        driver.execute(begin)  # not through SQLAlchemy: this is on the way of every request
    except sqlite3.OperationalError as error:
        raise OperationalError(begin, None, error) from error


def _leave_if_hung_up(connection: Any, _record: Any, _lent: Any) -> None:
    """A server that has hung up said so on the line. To ask it would cost each transaction a round trip."""
    line = poll()
    if not connection.closed:
        line.register(connection.fileno(), POLLIN)
    if connection.closed or line.poll(0):  # nobody has asked anything: what can be read is an end
        raise InvalidatePoolError


def _begin_postgresql(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    driver.read_only = _patience(connection) is None  # sent along with psycopg's BEGIN


def _name_the_mistake(context: ExceptionContext) -> None:
    """The database's refusal of a write in a reader's transaction is a mistake in the code, not trouble."""
    reader = context.connection is not None and _patience(context.connection) is None
    said = str(context.original_exception).lower()
    if reader and ("readonly database" in said or "read-only transaction" in said):
        raise NotWriting(context.statement) from context.original_exception


@contextmanager
def writing() -> Iterator[scoped_session[Session]]:
    """One short write transaction: commits at the end, rolls back on an exception.

    Ends a read that is still open, so what was read before must be looked at again.
    Raises DatabaseBusy when another writer holds the database for longer than PATIENCE.
    """
    db.session.rollback()
    with _busy_by_name(), _turn() as patience:
        try:
            db.session.connection(execution_options={"writes_within": patience})
            yield db.session
            db.session.commit()
        except BaseException:
            db.session.rollback()
            raise


@contextmanager
def writing_rows() -> Iterator[Connection]:
    """The same without a session, whose bookkeeping costs a webhook more than its row does."""
    end_reading()
    with _busy_by_name(), db.engine.connect() as connection, _turn() as patience:
        connection.execution_options(writes_within=patience)
        with connection.begin():
            yield connection


def _turn() -> AbstractContextManager[float]:
    """Gives the seconds of patience that are left for the database itself."""
    gate: Gate | None = current_app.extensions["gate"]
    return gate.passed(PATIENCE) if gate else nullcontext(PATIENCE)


@contextmanager
def _busy_by_name() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if is_busy(error):
            raise DatabaseBusy(f"{error.orig}") from error
        raise
    except NoConnectionFree as error:
        raise DatabaseBusy("no connection is free") from error


def end_reading() -> None:
    """No transaction stays open while an answer is waited for: it would hold a connection, and SQLite's WAL.

    What was read before is read again when it is next looked at.
    """
    if not has_app_context() or not db.session.registry.has() or not db.session().in_transaction():
        return
    if _patience(db.session.connection()) is not None:
        raise RuntimeError("nobody is called in the middle of a write: commit, call, commit")
    db.session.rollback()


def is_busy(error: OperationalError) -> bool:
    if getattr(error.orig, "sqlstate", None) in BUSY_STATES:
        return True
    return any(words in str(error.orig) for words in BUSY_WORDS)


class Gate:
    """Lets one SQLite writer in at a time, across threads and processes.

    SQLite's own waiting is unfair: without a gate the unlucky writer waits seconds, with it milliseconds.
    A queue that moves is waited in a little longer than one that stands still. One process at a time stands
    before the gate, in the doorway: who has just come out goes through there again, behind the others.
    """

    LOOK_EVERY = 0.0003  # seconds; flock itself cannot wait with a deadline

    def __init__(self, path: Path) -> None:
        self._thread = threading.Lock()
        self._path, self._doorway = path, path.with_name(f"{path.name}-next")
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in (self._path, self._doorway):
            file.touch()  # and it stays: a lock is on the file, not on its name

    @contextmanager
    def passed(self, patience: float) -> Iterator[float]:
        """Gives the seconds of patience that are left for the database itself."""
        queue = Queue(self._last_passed, patience)
        while not self._thread.acquire(timeout=queue.patience_left()):
            queue.look()
        try:
            with self._locked(self._doorway, queue) as doorway, self._locked(self._path, queue) as gate:
                fcntl.flock(doorway, fcntl.LOCK_UN)
                yield queue.patience_left()
                os.utime(gate)  # whoever waits sees that the queue moves
        finally:
            self._thread.release()

    @contextmanager
    def _locked(self, path: Path, queue: "Queue") -> Iterator[int]:
        file = os.open(path, os.O_RDONLY)
        try:
            while not _lock(file):
                queue.look()
                time.sleep(self.LOOK_EVERY)
            yield file
        finally:
            os.close(file)

    def _last_passed(self) -> int:
        return self._path.stat().st_mtime_ns


class Queue:
    """One writer's waiting: `patience` seconds since the queue last moved, LONGEST seconds in all."""

    LONGEST = 3.0

    def __init__(self, last_passed: Callable[[], int], patience: float) -> None:
        self._last_passed, self._patience = last_passed, patience
        self._until = time.monotonic() + patience
        self._at_most_until = time.monotonic() + max(patience, self.LONGEST)
        self._seen = last_passed()

    def patience_left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def look(self) -> None:
        """Raises DatabaseBusy when it has been too long."""
        now, passed = time.monotonic(), self._last_passed()
        if passed != self._seen:
            self._seen, self._until = passed, now + self._patience
        if now >= self._until:
            raise DatabaseBusy(f"nobody has passed the gate for {self._patience} s")
        if now >= self._at_most_until:
            raise DatabaseBusy(f"the queue at the gate is longer than {self.LONGEST} s")


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def beside_others(due: Select[Row]) -> Select[Row]:
    """On PostgreSQL several workers claim at once: each takes what no other is just taking.

    An order comes with its shopper, whose row stays free. SQLite has one writer and leaves this out.
    """
    return due.with_for_update(skip_locked=True, of=due.column_descriptions[0]["entity"])


def hold(model: Any, row_id: int) -> None:
    """Whoever else wants to hold this row waits until we commit. SQLite lets one write at a time anyway.

    Who writes a row that only names it (a letter to a shopper) need not wait: they may have what we wait for.
    """
    if db.session.get_bind().dialect.name != "sqlite":
        db.session.execute(select(model.id).where(model.id == row_id).with_for_update(key_share=True))


def insert_or_ignore(rows: scoped_session[Session] | Connection, model: Any, **values: Any) -> bool:
    """Insert a row; False when its key is already taken."""
    statement = _insert(model.__table__, db.engine.dialect.name)
    return rows.execute(statement, values).first() is not None


@cache
def _insert(table: Table, dialect: str) -> Any:
    """Written once for each table: on the webhook's way this is most of the work."""
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert
    return insert(table).on_conflict_do_nothing().returning(literal_column("1"))
