"""What every call asks of SQLite: written as all statements are, but put into words only once."""

import json
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ClauseElement, Connection, Table, bindparam, insert, select, update
from sqlalchemy.dialects import sqlite

Body = dict[str, Any]

NAMED = sqlite.dialect(paramstyle="named")


class Wording(NamedTuple):
    text: str
    fixed: dict[str, Any]  # the values it was written with


def wording(statement: ClauseElement, names: Sequence[str] | None = None) -> Wording:
    compiled = statement.compile(dialect=NAMED, column_keys=names)
    return Wording(
        str(compiled), {name: value for name, value in compiled.params.items() if value is not None}
    )


def run(conn: Connection, wording: Wording, **values: Any) -> sqlite3.Cursor:
    """Within the transaction of this connection, if it has one."""
    driver: sqlite3.Connection = conn.connection.driver_connection  # type: ignore[assignment]
    return driver.execute(wording.text, wording.fixed | values)


def row(conn: Connection, table: Table, **values: Any) -> int:
    """A new one; gives back its number."""
    return run(conn, _insert(table, tuple(values)), **values).lastrowid or 0


@cache
def _insert(table: Table, names: tuple[str, ...]) -> Wording:
    return wording(insert(table), names)


# Tables of bodies: a body is written whole, and the columns it is found by are copied from it.


def body_where(conn: Connection, table: Table, column: str, key: Any) -> Body | None:
    found = run(conn, _select(table, column), key=key).fetchone()
    body: Body | None = json.loads(found[0]) if found else None
    return body


@cache
def _select(table: Table, column: str) -> Wording:
    return wording(select(table.c.body).where(table.c[column] == bindparam("key")))


def insert_body(conn: Connection, table: Table, body: Body) -> None:
    row(conn, table, **_columns(table, body))


def update_body(conn: Connection, table: Table, body: Body) -> None:
    run(conn, _update(table), **_columns(table, body))


@cache
def _update(table: Table) -> Wording:
    changed = [name for name in _names(table) if name != "id"] + ["body"]
    return wording(update(table).where(table.c.id == bindparam("id")), changed)


def _columns(table: Table, body: Body) -> dict[str, Any]:
    return {name: body.get(name) for name in _names(table)} | {"body": json.dumps(body)}


@cache
def _names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.c if column.name != "body")
