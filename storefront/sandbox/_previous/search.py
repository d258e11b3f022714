"""How a list is asked for: filters, sorting and a page, with the quirks of Flexprice's own query builder.

Read in internal/types/filter.go, internal/dsl/dsl.go and applyEntityQueryOptions of internal/repository/ent.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import REAL, ColumnElement, Connection, Select, Table, cast, func, literal, select

from storefront.sandbox._previous import validation
from storefront.sandbox._previous.errors import invalid
from storefront.sandbox._previous.schema import plans, prices
from storefront.sandbox._previous.store import Body, all_seen

MOST = 1000
ROW = "id status created_at updated_at created_by updated_by environment_id tenant_id "
# Money is text in JSON; it is compared as a number.
MONEY = {"amount", "amount_due", "amount_paid", "amount_remaining", "subtotal", "total", "min_quantity"}


class Asked:
    """The body of a search. What has the wrong type is refused in the list's own words."""

    def __init__(self, malformed: str, broken: str | None = None, body: Body | None = None) -> None:
        self.body = validation.json_object(malformed) if body is None else body
        self.malformed, self.broken = malformed, broken or malformed
        for name in ("status", "order", "expand"):
            self.word(name)

    def word(self, name: str) -> str:
        return validation.word(self.body, name, self.malformed)

    def words(self, name: str) -> list[str]:
        return validation.words(self.body, name, self.malformed)

    def flag(self, name: str) -> bool:
        return validation.flag(self.body, name, self.malformed)

    def moment(self, name: str) -> datetime | None:
        return validation.moment(self.word(name), self.malformed)

    def number(self, name: str) -> float | None:
        number = validation.decimal(self.body.get(name), self.malformed)
        return None if number is None else float(number)

    def objects(self, name: str) -> "list[Asked]":
        found = validation.objects(self.body, name, self.malformed)
        return [Asked(self.malformed, body=one) for one in found]

    def metadata(self) -> dict[str, str]:
        return validation.metadata(self.body, self.malformed)

    def expand(self, allowed: Collection[str] | None = None) -> set[str]:
        """Comma-separated; `prices.meters` counts by its first word."""
        fields = {part.strip().split(".")[0] for part in self.word("expand").split(",")} - {""}
        if allowed is not None and (strange := sorted(fields - set(allowed))):
            raise invalid("Field is not allowed to be expanded", field=strange[0])
        return fields

    def time_range(self) -> tuple[datetime | None, datetime | None]:
        since, until = self.moment("start_time"), self.moment("end_time")
        if since and until and until < since:
            raise invalid("Please provide a valid time range", end_time="must be after start_time")
        return since, until

    def page(self, *, zero_is_default: bool = False, limited: bool = True) -> tuple[int, int]:
        limit = validation.whole(self.body, "limit", 50, self.malformed)
        offset = validation.whole(self.body, "offset", 0, self.malformed)
        if limit == 0 and zero_is_default:
            limit = 50
        if limit < 1 or (limited and limit > MOST):
            raise invalid(self.broken, limit="must be between 1 and 1000")
        if offset < 0:
            raise invalid(self.broken, offset="must be non-negative")
        return limit, offset

    def order(self) -> str:
        order = self.word("order") or "desc"
        if order not in ("asc", "desc"):
            raise invalid(self.broken, order="must be either 'asc' or 'desc'")
        return order

    def value(self) -> Any:
        """Of a filter: a tagged one, such as `{"string": "pro"}` or `{"array": ["a", "b"]}`."""
        tags = self.body.get("value")
        if not isinstance(tags, dict):
            # The original stumbles over a filter without a value and answers an empty 500.
            raise invalid(self.malformed)
        tagged = Asked(self.malformed, body=tags)
        if tags.get("string") is not None:
            return tagged.word("string")
        if tags.get("number") is not None:
            return tagged.number("number")
        if tags.get("boolean") is not None:
            return tagged.flag("boolean")
        return tagged.moment("date") or tagged.words("array") or None


class Listing:
    """Rows that can be searched: by which columns, and what is said to any other."""

    def __init__(self, table: Table, columns: str, unknown: str) -> None:
        self.table, self.columns, self.unknown = table, set((ROW + columns).split()), unknown

    def column(self, name: str) -> ColumnElement[Any]:
        if name not in self.columns:
            raise invalid(self.unknown)  # marked twice in the original: 400 or 500 at random
        value = self.table.c[name] if name in self.table.c else self.table.c.body[name].as_string()
        return cast(value, REAL) if name in MONEY else value

    def query(self, asked: Asked) -> Select[Any]:
        """Published rows unless another status is asked for, and what `filters` leaves of them."""
        query = select(self.table.c.body).where(self.table.c.status == (asked.word("status") or "published"))
        for one in asked.objects("filters"):
            column, value = self.column(one.word("field")), one.value()
            condition = CONDITIONS.get(one.word("operator"), _left_out)(column, value)
            query = query if condition is None else query.where(condition)
        return query

    def among(self, query: Select[Any], lists: dict[str, list[str]]) -> Select[Any]:
        for name, values in lists.items():
            query = query.where(self.column(name).in_(values)) if values else query
        return query

    def within(self, query: Select[Any], first: str, last: str, asked: Asked) -> Select[Any]:
        """The time range: each list means other columns by it."""
        since, until = asked.time_range()
        query = query.where(instant(self.column(first)) >= instant(since)) if since else query
        return query.where(instant(self.column(last)) <= instant(until)) if until else query

    def with_metadata(self, query: Select[Any], wanted: dict[str, str]) -> Select[Any]:
        for key, value in wanted.items():
            pair = func.json_each(self.table.c.body, "$.metadata").table_valued("key", "value")
            has = select(literal(1)).select_from(pair).where(pair.c.key == key, pair.c.value == value)
            query = query.where(has.correlate(self.table).exists())
        return query

    def sorted(self, query: Select[Any], asked: Asked) -> Select[Any]:
        """By the `sort` list, then by age."""
        for one in asked.objects("sort"):
            column = self.column(one.word("field"))
            query = query.order_by(column.desc() if one.word("direction") == "desc" else column.asc())
        return self.by_age(query, asked.order())

    def by_age(self, query: Select[Any], order: str) -> Select[Any]:
        # Ids begin with the time they were made, but for what is on the shelf.
        on_shelf = self.table in (plans, prices)
        keys = [instant(self.column("created_at")), self.table.c.id] if on_shelf else [self.table.c.id]
        return query.order_by(*(key.asc() if order == "asc" else key.desc() for key in keys))


def instant(moment: Any) -> ColumnElement[float]:
    return func.julianday(moment.isoformat() if isinstance(moment, datetime) else moment)


def page_of(
    conn: Connection, table: Table, query: Select[Any], page: tuple[int, int]
) -> tuple[list[Body], int]:
    """The rows as this connection sees them: a lagging replica may not have them all yet."""
    limit, offset = page
    total = conn.execute(query.order_by(None).with_only_columns(func.count(table.c.id))).scalar_one()
    # Counted and paged by an index where there is one; the bodies are read of this page alone.
    ids = conn.execute(query.with_only_columns(table.c.id).limit(limit).offset(offset)).scalars().all()
    rows = conn.execute(select(table.c.id, table.c.body).where(table.c.id.in_(ids)))
    bodies = {row.id: row.body for row in rows}
    found = [bodies[key] for key in ids]
    shown = all_seen(conn, table, found)
    return shown, total - len(found) + len(shown)


def listed(items: list[Body], total: int, limit: int, offset: int) -> ResponseReturnValue:
    return jsonify({"items": items, "pagination": {"total": total, "limit": limit, "offset": offset}})


# What an operator makes of a column and a value. A pair that makes no sense (`gt` and a text) is left out
# without a word, and so is `gte`, which is accepted and does nothing.

Condition = ColumnElement[bool] | None


def _left_out(_column: ColumnElement[Any], _value: Any) -> Condition:
    return None


def _equal(column: ColumnElement[Any], value: Any) -> Condition:
    if isinstance(value, datetime):
        return instant(column) == instant(value)
    if isinstance(value, list):
        return _left_out(column, value)
    return cast(column, REAL) == value if isinstance(value, float) else column == value


def _contains(column: ColumnElement[Any], value: Any) -> Condition:
    return func.instr(func.lower(column), value.lower()) > 0 if isinstance(value, str) else None


def _contains_not(column: ColumnElement[Any], value: Any) -> Condition:
    return func.instr(func.lower(column), value.lower()) == 0 if isinstance(value, str) else None


def _greater(column: ColumnElement[Any], value: Any) -> Condition:
    return cast(column, REAL) > value if isinstance(value, float) else None


def _less(column: ColumnElement[Any], value: Any) -> Condition:
    return cast(column, REAL) < value if isinstance(value, float) else None


def _among(column: ColumnElement[Any], value: Any) -> Condition:
    return column.in_(value) if isinstance(value, list) else None


def _not_among(column: ColumnElement[Any], value: Any) -> Condition:
    return column.not_in(value) if isinstance(value, list) else None


def _before(column: ColumnElement[Any], value: Any) -> Condition:
    return instant(column) < instant(value) if isinstance(value, datetime) else None


def _after(column: ColumnElement[Any], value: Any) -> Condition:
    return instant(column) > instant(value) if isinstance(value, datetime) else None


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
