"""Rows in and out: the sandbox's own database, its ids and the way it writes money and time."""

import hashlib
import json
import logging
import secrets
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from flask import current_app, g, has_app_context
from sqlalchemy import (
    Connection,
    MetaData,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    or_,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.schema import CreateTable

from storefront.sandbox._previous import statements
from storefront.sandbox._previous.schema import arrangements, levers, metadata, versions
from storefront.sandbox._previous.statements import Body as Body
from storefront.sandbox._previous.statements import run, wording

log = logging.getLogger(__name__)

# There is one tenant with one environment.
ENVIRONMENT = {
    "environment_id": "env_01K3B8N36096Q14DR9GPQY77ZX",
    "tenant_id": "tenant_01K3B8YYK596NGYA1DQ91K5GQA",
}

LAG = "replica_lag"  # the fault that lets reads run behind

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
        self._prepare_tables()

    def _prepare_tables(self) -> None:
        """One made by another version of the sandbox is emptied: it holds practice, not business."""
        drawn = "".join(str(CreateTable(table)) for table in metadata.sorted_tables)
        version = zlib.crc32(drawn.encode()) & 0x7FFFFFFF
        with self.engine.connect() as conn:
            if conn.exec_driver_sql("PRAGMA user_version").scalar() == version:
                return
            if inspect(conn).get_table_names():
                log.warning("the sandbox's database is of another version: starting with an empty one")
                reflected = MetaData()
                reflected.reflect(conn)
                reflected.drop_all(conn)
            metadata.create_all(conn)
            conn.exec_driver_sql(f"PRAGMA user_version = {version}")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """From a replica that may lag, where the call was told to (faults.py)."""
        with self.engine.connect() as conn:
            yield conn.execution_options(lag=g.get("lag") if has_app_context() else None)

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


# Objects.


def add(conn: Connection, table: Table, body: Body) -> Body:
    statements.insert_body(conn, table, body)
    if _replica_lags(conn):
        _remember(conn, body, None)
    return body


def save(conn: Connection, table: Table, body: Body, **changes: Any) -> Body:
    body.update(changes)
    if _replica_lags(conn):
        _remember(conn, body, find(conn, table, body["id"]))
    statements.update_body(conn, table, body)
    return body


def put(conn: Connection, table: Table, body: Body) -> Body:
    """In the place of the one with its id, if there is one."""
    return add(conn, table, body) if find(conn, table, body["id"]) is None else save(conn, table, body)


def find(conn: Connection, table: Table, key: str | None, column: str = "id") -> Body | None:
    return statements.body_where(conn, table, column, key)


def need(conn: Connection, table: Table, key: str) -> Body:
    body = find(conn, table, key)
    if body is None:
        raise LookupError(f"{table.name} {key}")
    return body


# Reads that run behind, as they may when Flexprice asks a replica. Versions are kept while a lever says so.


_LAGS = wording(
    select(arrangements.c.id).where(
        arrangements.c.name == LAG, or_(arrangements.c.times.is_(None), arrangements.c.times > 0)
    )
)


def _replica_lags(conn: Connection) -> bool:
    return run(conn, _LAGS).fetchone() is not None


def _remember(conn: Connection, body: Body, before: Body | None) -> None:
    key = body["id"]
    if before and conn.execute(select(versions.c.id).where(versions.c.row == key).limit(1)).first() is None:
        conn.execute(insert(versions).values(row=key, at=0, body=before))
    conn.execute(insert(versions).values(row=key, at=_time(conn), body=body))


def _time(conn: Connection) -> float:
    return time.time() + float(lever(conn, "clock_offset", 0))


def seen(conn: Connection, table: Table, key: str | None) -> Body | None:
    """The row as this connection has it: a lagging replica as it was, or not at all yet."""
    body, lag = find(conn, table, key), conn.get_execution_options().get("lag")
    if body is None or not lag:
        return body
    known = select(versions.c.at, versions.c.body).where(versions.c.row == key).order_by(versions.c.id.desc())
    history = conn.execute(known).all()
    for version in history:
        if version.at <= _time(conn) - lag:
            old: Body = version.body
            return old
    return None if history else body


def all_seen(conn: Connection, table: Table, bodies: list[Body]) -> list[Body]:
    if not conn.get_execution_options().get("lag"):
        return bodies
    return [old for body in bodies if (old := seen(conn, table, body["id"]))]


# Levers.

_LEVER = wording(select(levers.c.value).where(levers.c.name == bindparam("called")))


def lever(conn: Connection, name: str, default: Any = None) -> Any:
    found = run(conn, _LEVER, called=name).fetchone()
    written = found[0] if found else None
    value = json.loads(written) if isinstance(written, str) else written  # SQLite keeps a number as one
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


def stable_id(prefix: str, name: str) -> str:
    """The same after every reset."""
    digest = hashlib.sha256(f"{prefix}/{name}".encode()).digest()
    return f"{prefix}_01" + "".join(CROCKFORD[byte % 32] for byte in digest[:24])


def random_letters(length: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(length))


def rfc3339(moment: datetime) -> str:
    """UTC with Z; trailing zeros of the fraction are dropped, as Go does."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"


def money(amount: Decimal) -> str:
    return format(amount.normalize(), "f") if amount else "0"
