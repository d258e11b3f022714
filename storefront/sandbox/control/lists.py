"""The lists of the console: search by words, filters by column, both plain GET parameters."""

from typing import NamedTuple

from flask import current_app, request

from ..api.serializers.common import Body

MAX_ROWS = 200
MAX_SEARCHED = 2000  # of the newest


class Filter(NamedTuple):
    """A column that a list can be narrowed by: `?field=value`."""

    label: str
    field: str
    chosen: str
    options: list[str]  # the values that occur


class Listing(NamedTuple):
    """:param items: the newest that match, at most `MAX_ROWS`"""

    items: list[Body]
    q: str
    filters: list[Filter]

    @property
    def narrowed(self) -> bool:
        return bool(self.q or any(one.chosen for one in self.filters))


def limit() -> int:
    """How many rows are read: more where they are searched."""
    return MAX_SEARCHED if request.args else MAX_ROWS


def listed(items: list[Body], columns: dict[str, str], words_in: tuple[str, ...] = ()) -> Listing:
    """Those in which every word of `?q=` is found, and that have the chosen value in each column.

    :param columns: what can be filtered by: a label and the field
    :param words_in: the fields that are searched; all of them without this
    """
    q = request.args.get("q", "").strip()
    filters = [_filter(label, field, items) for label, field in columns.items()]
    words = q.lower().split()
    found = [
        item
        for item in items
        if all(_text(item, one.field) == one.chosen for one in filters if one.chosen)
        and (not words or _has(item, words, words_in))
    ]
    return Listing(found[:MAX_ROWS], q, filters)


def _filter(label: str, field: str, items: list[Body]) -> Filter:
    chosen = request.args.get(field, "").strip()
    occurring = {_text(item, field) for item in items} | {chosen}
    return Filter(label, field, chosen, sorted(occurring - {""}))


def _text(item: Body, field: str) -> str:
    value = item.get(field)
    return "" if value is None else str(value)


def _has(item: Body, words: list[str], fields: tuple[str, ...]) -> bool:
    searched = {name: item[name] for name in fields} if fields else item
    text = current_app.json.dumps(searched).lower()
    return all(word in text for word in words)
