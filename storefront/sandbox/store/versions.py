"""Earlier versions of rows: what a replica that lags behind still has."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import inspect
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm.attributes import set_committed_value

from .base import Base, Json, Record
from .control_rows import RowVersion
from .values import new_id

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
Row = TypeVar("Row", bound=Base)


def keep(orm: OrmSession, store: str, now: datetime) -> None:
    """Writes down the versions of the rows that are about to be flushed."""
    changed = [row for row in orm.dirty if isinstance(row, Record) and orm.is_modified(row)]
    made = [row for row in orm.new if isinstance(row, Record)]
    known = (RowVersion.store == store, RowVersion.row_id.in_([row.id for row in changed]))
    with orm.no_autoflush:
        have = {found.row_id for found in orm.query(RowVersion).filter(*known)}
    for row in changed:
        if row.id not in have:
            _add(orm, store, row.id, BEFORE_ALL, _before(row))
    for row in (*made, *changed):
        _add(orm, store, row.id, now, _values(row))


def _add(orm: OrmSession, store: str, row_id: str, at: datetime, values: Json) -> None:
    version = RowVersion(id=new_id("version"), row_id=row_id, at=at, values=values)
    version.store = store
    orm.add(version)


def _values(row: Record) -> Json:
    return {name: _encoded(getattr(row, name)) for name in _names(row)}


def _before(row: Record) -> Json:
    """The values as they were read."""
    state = inspect(row)
    found = {}
    for name in _names(row):
        deleted = state.attrs[name].history.deleted
        found[name] = _encoded(deleted[0] if deleted else getattr(row, name))
    return found


def _names(row: Record) -> list[str]:
    return [attribute.key for attribute in inspect(type(row)).column_attrs if attribute.key != "store"]


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    return {"$decimal": str(value)} if isinstance(value, Decimal) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict) and "$time" in value:
        return datetime.fromisoformat(value["$time"])
    return Decimal(value["$decimal"]) if isinstance(value, dict) and "$decimal" in value else value


def as_seen(orm: OrmSession, store: str, rows: Sequence[Row], until: datetime) -> list[Row]:
    """The rows as they were at a time; those that were made later are left out.

    Changes the instances without marking them as changed: only for sessions that write nothing to them.
    """
    return [row for row in rows if not isinstance(row, Record) or _rewind(orm, store, row, until)]


def _rewind(orm: OrmSession, store: str, row: Record, until: datetime) -> bool:
    history = orm.query(RowVersion).filter(RowVersion.store == store, RowVersion.row_id == row.id)
    found = history.order_by(RowVersion.at.desc(), RowVersion.id.desc()).all()
    if not found:
        return True
    version = next((one for one in found if one.at <= until), None)
    if version is None:
        return False
    for name, value in (version.values or {}).items():
        set_committed_value(row, name, _decoded(value))
    return True
