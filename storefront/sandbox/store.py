"""Rows in and out: the sandbox's own database, its ids and the way it writes money and time."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from flask import current_app
from sqlalchemy import Connection, Table, create_engine, event, insert, make_url, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from storefront.sandbox.schema import build, levers

Body = dict[str, Any]

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Store:
    def __init__(self, database_url: str) -> None:
        database = make_url(database_url).database
        if database and database != ":memory:":
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(database_url, pool_size=20)
        self._gate = threading.Lock()  # SQLite has one writer; waiting here is fairer than its busy loop
        event.listen(self.engine, "connect", _prepare)
        build(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.engine.connect() as conn:
            yield conn

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._gate, self.engine.connect() as conn:
            conn.exec_driver_sql("BEGIN IMMEDIATE")
            yield conn
            conn.commit()

    def close(self) -> None:
        self.engine.dispose()


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=15000"):
        connection.execute(f"PRAGMA {pragma}")


def current_store() -> Store:
    store: Store = current_app.extensions["sandbox"]
    return store


# Objects: a body is written whole, and the columns it is found by are copied from it.


def _columns(table: Table, body: Body) -> dict[str, Any]:
    return {column.name: body.get(column.name) for column in table.c if column.name != "body"} | {
        "body": body
    }


def add(conn: Connection, table: Table, body: Body) -> Body:
    conn.execute(insert(table).values(_columns(table, body)))
    return body


def save(conn: Connection, table: Table, body: Body, **changes: Any) -> Body:
    body.update(changes)
    conn.execute(update(table).where(table.c.id == body["id"]).values(_columns(table, body)))
    return body


def find(conn: Connection, table: Table, key: str | None, column: str = "id") -> Body | None:
    return conn.execute(select(table.c.body).where(table.c[column] == key)).scalar()


def need(conn: Connection, table: Table, key: str) -> Body:
    body = find(conn, table, key)
    if body is None:
        raise LookupError(f"{table.name} {key}")
    return body


# Levers.


def lever(conn: Connection, name: str, default: Any = None) -> Any:
    value = conn.execute(select(levers.c.value).where(levers.c.name == name)).scalar()
    return default if value is None else value


def pull(conn: Connection, name: str, value: Any) -> None:
    statement = upsert(levers).values(name=name, value=value)
    conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


# Ids, times, money.


def ulid() -> str:
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def new_id(prefix: str) -> str:
    return f"{prefix}_{ulid()}"


def random_letters(length: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(length))


def rfc3339(moment: datetime) -> str:
    """UTC with Z; trailing zeros of the fraction are dropped, as Go does."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"


def money(amount: Decimal) -> str:
    return format(amount.normalize(), "f") if amount else "0"
