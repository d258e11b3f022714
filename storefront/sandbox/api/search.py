"""How a list is asked for: filters, sorting and a page, with the quirks of Flexprice's own query builder.

Source: internal/types/filter.go, internal/dsl/dsl.go and applyEntityQueryOptions of internal/repository/ent.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, Float, Select, cast, func, select

from ..engine.errors import invalid
from ..store.base import Record
from ..store.database import Session
from ..store.types import Moment, Money
from . import requests
from .serializers.common import Body

MAX_LIMIT = 1000
DEFAULT_LIMIT = 50
ROW_COLUMNS = "id status created_at updated_at created_by updated_by environment_id tenant_id"
Rec = TypeVar("Rec", bound=Record)


class Asked:
    """The body of a search. A field of the wrong type is refused in the list's own words."""

    def __init__(self, malformed: str, broken: str | None = None, body: Body | None = None) -> None:
        self.body = requests.json_body(malformed, empty=None) if body is None else body
        self.malformed, self.broken = malformed, broken or malformed
        for name in ("status", "order", "expand"):
            self.text(name)

    def text(self, name: str) -> str:
        return requests.text(self.body, name, self.malformed)

    def texts(self, name: str) -> list[str]:
        return requests.texts(self.body, name, self.malformed)

    def flag(self, name: str) -> bool:
        return requests.flag(self.body, name, self.malformed)

    def moment(self, name: str) -> datetime | None:
        return requests.moment(self.text(name), self.malformed)

    def number(self, name: str) -> float | None:
        number = requests.decimal(self.body.get(name), self.malformed)
        return None if number is None else float(number)

    def objects(self, name: str) -> "list[Asked]":
        found = requests.objects(self.body, name, self.malformed)
        return [Asked(self.malformed, body=one) for one in found]

    def metadata(self) -> dict[str, str]:
        return requests.metadata(self.body, self.malformed)

    def expand(self, allowed: Collection[str] | None = None) -> set[str]:
        """Comma-separated; `prices.meters` counts by its first word."""
        fields = {part.strip().split(".")[0] for part in self.text("expand").split(",")} - {""}
        if allowed is not None and (strange := sorted(fields - set(allowed))):
            raise invalid("Field is not allowed to be expanded", field=strange[0])
        return fields

    def time_range(self) -> tuple[datetime | None, datetime | None]:
        since, until = self.moment("start_time"), self.moment("end_time")
        if since and until and until < since:
            raise invalid("Please provide a valid time range", end_time="must be after start_time")
        return since, until

    def page(self, *, zero_is_default: bool = False, limited: bool = True) -> tuple[int, int]:
        """Limit and offset. Without `limited`, -1 asks for all rows."""
        limit = requests.whole(self.body, "limit", DEFAULT_LIMIT, self.malformed)
        offset = requests.whole(self.body, "offset", 0, self.malformed)
        if limit == 0 and zero_is_default:
            limit = DEFAULT_LIMIT
        if limited and not 1 <= limit <= MAX_LIMIT:
            raise invalid(self.broken, limit="must be between 1 and 1000")
        if offset < 0:
            raise invalid(self.broken, offset="must be non-negative")
        return limit, offset

    def order(self) -> str:
        order = self.text("order") or "desc"
        if order not in ("asc", "desc"):
            raise invalid(self.broken, order="must be either 'asc' or 'desc'")
        return order

    def value(self) -> Any:
        """Of a filter: a tagged one, such as `{"string": "pro"}` or `{"array": ["a", "b"]}`."""
        tags = self.body.get("value")
        if not isinstance(tags, dict):
            raise invalid(self.malformed)  # Flexprice panics here: an empty 500
        tagged = Asked(self.malformed, body=tags)
        if tags.get("string") is not None:
            return tagged.text("string")
        if tags.get("number") is not None:
            return tagged.number("number")
        if tags.get("boolean") is not None:
            return tagged.flag("boolean")
        return tagged.moment("date") or tagged.texts("array") or None


class Listing(Generic[Rec]):
    """Rows that can be searched: by which columns, and what is said to any other."""

    def __init__(self, model: type[Rec], columns: str, unknown: str) -> None:
        self.model, self.unknown = model, unknown
        self.columns = set(f"{ROW_COLUMNS} {columns}".split())

    def column(self, name: str) -> ColumnElement[Any]:
        if name not in self.columns:
            raise invalid(self.unknown)  # marked twice in Flexprice: 400 or 500 at random
        found = getattr(self.model, name, None)
        if found is None:
            return cast(None, Float)
        return cast(found, Float) if isinstance(found.type, Money) else found

    def query(self, session: Session, asked: Asked) -> Select[Any]:
        """Published rows unless another status is asked for, and what `filters` leaves of them."""
        status = self.model.status == (asked.text("status") or "published")
        query = session.select(self.model, status)
        for one in asked.objects("filters"):
            column, value = self.column(one.text("field")), one.value()
            condition = CONDITIONS.get(one.text("operator"), _left_out)(column, value)
            query = query if condition is None else query.where(condition)
        return query

    def among(self, query: Select[Any], lists: dict[str, list[str]]) -> Select[Any]:
        for name, values in lists.items():
            query = query.where(self.column(name).in_(values)) if values else query
        return query

    def within(self, query: Select[Any], first: str, last: str, asked: Asked) -> Select[Any]:
        """The time range: each list means other columns by it."""
        since, until = asked.time_range()
        query = query.where(self.column(first) >= since) if since else query
        return query.where(self.column(last) <= until) if until else query

    def sorted(self, query: Select[Any], asked: Asked) -> Select[Any]:
        """By the `sort` list, then by age."""
        for one in asked.objects("sort"):
            column = self.column(one.text("field"))
            query = query.order_by(column.desc() if one.text("direction") == "desc" else column.asc())
        return self.by_age(query, asked.order())

    def by_age(self, query: Select[Any], order: str) -> Select[Any]:
        keys = (self.model.created_at, self.model.id)
        return query.order_by(*(key.asc() if order == "asc" else key.desc() for key in keys))


def page_of(session: Session, query: Select[Any], page: tuple[int, int]) -> tuple[Sequence[Any], int]:
    """The rows of a page and how many there are in all."""
    limit, offset = page
    total = session.orm.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    query = query.offset(offset) if offset else query
    found = session.orm.scalars(query.limit(limit) if limit >= 0 else query).all()
    shown = session.seen(found)
    return shown, total - len(found) + len(shown)


def page_with_metadata(
    session: Session, query: Select[Any], page: tuple[int, int], wanted: dict[str, str]
) -> tuple[Sequence[Any], int]:
    """The same, of the rows that carry all of this metadata.

    A JSON column is compared here, the same on every database.
    """
    if not wanted:
        return page_of(session, query, page)
    limit, offset = page
    rows = session.seen(session.orm.scalars(query).all())
    found = [row for row in rows if all((row.meta or {}).get(key) == value for key, value in wanted.items())]
    return found[offset : offset + limit], len(found)


def listed(items: list[Body], total: int, limit: int, offset: int) -> ResponseReturnValue:
    return jsonify({"items": items, "pagination": {"total": total, "limit": limit, "offset": offset}})


# What an operator makes of a column and a value. A pair that makes no sense (`gt` and a text) is ignored,
# and so is `gte`, which is accepted and does nothing.

Condition = ColumnElement[bool] | None


def _left_out(_column: ColumnElement[Any], _value: Any) -> Condition:
    return None


def _is_time(column: ColumnElement[Any]) -> bool:
    return isinstance(column.type, Moment)


def _equal(column: ColumnElement[Any], value: Any) -> Condition:
    if isinstance(value, list) or isinstance(value, datetime) != _is_time(column):
        return None if isinstance(value, list) else _as_text(column) == str(value)
    return cast(column, Float) == value if isinstance(value, float) else column == value


def _as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    from sqlalchemy import String

    return cast(column, String)


def _contains(column: ColumnElement[Any], value: Any) -> Condition:
    if not isinstance(value, str):
        return None
    return func.lower(_as_text(column)).contains(value.lower(), autoescape=True)


def _contains_not(column: ColumnElement[Any], value: Any) -> Condition:
    found = _contains(column, value)
    return None if found is None else ~found


def _greater(column: ColumnElement[Any], value: Any) -> Condition:
    return cast(column, Float) > value if isinstance(value, float) else None


def _less(column: ColumnElement[Any], value: Any) -> Condition:
    return cast(column, Float) < value if isinstance(value, float) else None


def _among(column: ColumnElement[Any], value: Any) -> Condition:
    return _as_text(column).in_(value) if isinstance(value, list) else None


def _not_among(column: ColumnElement[Any], value: Any) -> Condition:
    return _as_text(column).not_in(value) if isinstance(value, list) else None


def _before(column: ColumnElement[Any], value: Any) -> Condition:
    return column < value if isinstance(value, datetime) and _is_time(column) else None


def _after(column: ColumnElement[Any], value: Any) -> Condition:
    return column > value if isinstance(value, datetime) and _is_time(column) else None


CONDITIONS: dict[str, Callable[[ColumnElement[Any], Any], Condition]] = {
    "eq": _equal,
    "contains": _contains,
    "not_contains": _contains_not,
    "gt": _greater,
    "lt": _less,
    "gte": _left_out,
    "in": _among,
    "not_in": _not_among,
    "before": _before,
    "after": _after,
}
