"""Connections, transactions and the query layer: every query of a `Session` is about one store."""

import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    Select,
    event,
    func,
    select,
    text,
)
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session as OrmSession

from . import billing_rows, engines, rows, versions  # noqa: F401  (their tables belong to the metadata)
from .base import Base, Record
from .control_rows import StoreState
from .values import random_text

log = logging.getLogger(__name__)

STORE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}")

Row = TypeVar("Row", bound=Base)
Rec = TypeVar("Rec", bound=Record)
Condition = ColumnElement[bool]


class StateView(NamedTuple):
    """What every call asks about its store, as of the last commit."""

    switches: dict[str, Any]
    defaults: dict[str, Any]
    has_overrides: bool
    used_at: float
    clock_offset_s: float

    def now(self) -> datetime:
        """The time by the store's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset_s)


class Database:
    """The engine, and one writer per store at a time. One process may use a database at a time.

    :param url: an SQLAlchemy URL; `sqlite://` is gone with the process.
    """

    def __init__(self, url: str, clock_file: str = "", clock_store: str = "") -> None:
        """:param clock_file: gets the offset of `clock_store`'s clock in seconds whenever it changes."""
        self._clock_file, self._clock_store, self._clock_told = clock_file, clock_store, ""
        self.engine = engines.engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._locks: dict[str, threading.RLock] = {}
        self._views: dict[str, StateView] = {}
        self._states: dict[str, StoreState] = {}  # as committed; only the store's writer takes one
        self._guard = threading.Lock()
        engines.create_tables(self.engine)

    @contextmanager
    def read(self, store: str) -> Iterator["Session"]:
        """A consistent view of one store. Nothing is written."""
        with OrmSession(self.engine, expire_on_commit=False) as orm:
            yield Session(orm, store)

    @contextmanager
    def write(self, store: str) -> Iterator["Session"]:
        """One transaction, alone in this store; committed at the end, rolled back by an exception."""
        with self._lock(store), OrmSession(self.engine, expire_on_commit=False) as orm:
            orm.connection(execution_options={"sandbox_write": True})
            if not self.is_sqlite:
                orm.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": store})
            session = Session(orm, store, self._states.pop(store, None))
            _keep_versions(session)
            yield session
            orm.commit()
            self._remember(store, session.loaded_state)
            if session.loaded_state is not None:
                self._states[store] = session.loaded_state

    def view(self, store: str) -> StateView | None:
        """The store's state without a query; None if there is no such store."""
        if store not in self._views:
            with self.read(store) as session:
                self._remember(store, session.get(StoreState, None))
        return self._views.get(store)

    def _remember(self, store: str, state: StoreState | None) -> None:
        if state is not None:
            own = (state.switches, state.defaults, state.has_overrides)
            self._views[store] = StateView(*own, state.used_at, state.clock_offset_s)
            self._tell_clock(store, str(state.clock_offset_s))

    def _tell_clock(self, store: str, offset_s: str) -> None:
        """A shop that reads the file has the same time; replaced in one step, so that it is never half."""
        if not self._clock_file or store != self._clock_store or offset_s == self._clock_told:
            return
        half_written = Path(f"{self._clock_file}.new")
        half_written.write_text(offset_s)
        half_written.replace(self._clock_file)
        self._clock_told = offset_s

    def known(self, store: str) -> bool:
        """Whether the store exists already."""
        return self.view(store) is not None

    def forget(self, store: str) -> None:
        """Called after a store was removed."""
        self._views.pop(store, None)
        self._states.pop(store, None)

    def names(self) -> list[str]:
        with OrmSession(self.engine) as orm:
            return list(orm.execute(select(StoreState.store)).scalars())

    def close(self) -> None:
        self.engine.dispose()

    def _lock(self, store: str) -> threading.RLock:
        name = "" if self.is_sqlite else store  # SQLite has one writer
        with self._guard:
            return self._locks.setdefault(name, threading.RLock())


class Session:
    """The rows of one store within one transaction.

    Rows are changed by setting their attributes; JSON columns are replaced, never changed in place.
    """

    def __init__(self, orm: OrmSession, store: str, state: StoreState | None = None) -> None:
        self.orm, self.store = orm, store
        self.lag: timedelta | None = None  # reads run behind by this, see store/versions.py
        self.link_base = ""  # where payment links begin: https://sandbox.example
        self.loaded_state = state
        if state is not None:
            orm.add(state)  # as it was committed: nothing is read
        self._added: dict[tuple[type[Base], Any], Base] = {}

    @property
    def state(self) -> StoreState:
        """The store's own row.

        :raises LookupError: there is no such store.
        """
        if self.loaded_state is None:
            self.loaded_state = self.need(StoreState, None)
        return self.loaded_state

    def now(self) -> datetime:
        """The time by the store's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.state.clock_offset_s)

    def get(self, model: type[Row], key: str | int | None) -> Row | None:
        """By primary key; the store's own row has None."""
        if model is StoreState:
            return self.orm.get(model, self.store)  # its primary key is the name alone
        if key is None:
            return None
        if (model, key) in self._added:
            return cast(Row, self._added[model, key])
        found = self.orm.get(model, (self.store, key))
        if found is None or self.lag is None:
            return found
        return next(iter(self.seen([found])), None)

    def need(self, model: type[Row], key: str | int | None) -> Row:
        """:raises LookupError: there is no such row."""
        found = self.get(model, key)
        if found is None:
            raise LookupError(f"{model.__tablename__} {key}")
        return found

    def select(self, model: type[Row], *conditions: Condition) -> Select[Row]:
        """A query about this store's rows, to be refined."""
        return select(model).where(model.store == self.store, *conditions)

    def all(
        self, model: type[Row], *conditions: Condition, order: Any = None, limit: int | None = None
    ) -> Sequence[Row]:
        query = self.select(model, *conditions).order_by(*_ordered(model, order))
        return self.seen(self.orm.scalars(query.limit(limit)).all())

    def first(self, model: type[Row], *conditions: Condition, order: Any = None) -> Row | None:
        query = self.select(model, *conditions).order_by(*_ordered(model, order))
        return next(iter(self.seen(self.orm.scalars(query.limit(1)).all())), None)

    def seen(self, found: Sequence[Row]) -> list[Row]:
        """The rows as this session sees them: a lagging replica has older ones, or not all of them yet."""
        if self.lag is None:
            return list(found)
        return versions.as_seen(self.orm, self.store, found, self.now() - self.lag)

    def count(self, model: type[Row], *conditions: Condition) -> int:
        query = select(func.count()).select_from(model).where(model.store == self.store, *conditions)
        return self.orm.scalar(query) or 0

    def add(self, row: Row) -> Row:
        """Stores a new row. Flushed before the next query; call `flush` to meet a unique constraint here."""
        row.store = self.store
        self.orm.add(row)
        self._added[type(row), getattr(row, "id", None)] = row
        if isinstance(row, StoreState):
            self.loaded_state = row
        return row

    def forget_rows(self) -> None:
        """After rows were deleted without this session."""
        self.loaded_state, self._added = None, {}

    def flush(self) -> None:
        """:raises IntegrityError: a unique constraint refuses a row."""
        self.orm.flush()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is written inside is undone by an exception, and the transaction goes on."""
        with self.orm.begin_nested():
            yield

    def delete(self, model: type[Row], *conditions: Condition) -> int:
        """Deletes rows; says how many."""
        self.orm.flush()
        self._added = {}
        result = self.orm.execute(sql_delete(model).where(model.store == self.store, *conditions))
        return int(getattr(result, "rowcount", 0))

    def next_number(self, model: Any) -> int:
        """The next id of rows that are numbered within the store."""
        highest = select(func.max(model.id)).where(model.store == self.store)
        self.orm.flush()
        return (self.orm.scalar(highest) or 0) + 1


def _keep_versions(session: Session) -> None:
    """While a store's reads may lag behind, every change of its rows is kept."""
    state = session.get(StoreState, None)
    if state is None or not state.keeps_versions:
        return

    def before_flush(orm: OrmSession, *_context: Any) -> None:
        versions.keep(orm, session.store, session.now())

    event.listen(session.orm, "before_flush", before_flush)


def create_store(session: Session, *, secret: str = "", webhook_url: str = "", seed: str = "") -> StoreState:
    """Makes the store of this session, empty, with a webhook secret of its own."""
    wall = time.time()
    state = StoreState(created_at=wall, used_at=wall, webhook_url=webhook_url, seed=seed)
    state.webhook_secrets = secret.split() or [new_secret()]
    return session.add(state)


def new_secret() -> str:
    import base64

    return "whsec_" + base64.b64encode(random_text(24).encode()).decode()


def empty_store(session: Session, *, keep_state: bool = True) -> None:
    """Deletes all rows of the store."""
    session.orm.expunge_all()
    session.forget_rows()
    for table in Base.metadata.sorted_tables:
        if not (keep_state and table.name == StoreState.__tablename__):
            session.orm.execute(table.delete().where(table.c.store == session.store))


def _ordered(model: type[Base], order: Any) -> tuple[Any, ...]:
    if order is not None:
        return order if isinstance(order, tuple) else (order,)
    return tuple(column for column in model.__table__.primary_key.columns)  # type: ignore[attr-defined]
