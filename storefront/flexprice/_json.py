"""The strict reader of everything Flexprice sends.

It is strict about types and forms, because a wrong amount or a wrong id costs money, and tolerant of what a
real server does: keys left out when empty, null for nothing, `""` for "no number yet", nine fraction digits
in times, and Go's zero time for "no end". What it lets through fits a column: text loses what PostgreSQL
cannot store, and ids, labels and amounts have the lengths below.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from .exceptions import UnreadableResponse

log = logging.getLogger(__name__)
T = TypeVar("T")
D = TypeVar("D")

MAX_ID_CHARS = 255
MAX_LABEL_CHARS = 255
MAX_AMOUNT_CHARS = 40  # written without an exponent
LATEST = datetime(9999, 1, 1, tzinfo=UTC)  # the last second of 9999, for "no end", fits no zone east of UTC
AMOUNT_LIMIT = Decimal(10**20)  # sums and roundings of such amounts are exact
IMPOSSIBLE = object()
"""Stands for a number that cannot be right: no field accepts it."""

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
# RFC 3339 with 0 to 9 fraction digits; digits beyond microseconds are cut off.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# Lone surrogates cannot be encoded; PostgreSQL cannot store NUL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def parse_json(raw: bytes, *, tolerant: bool = False) -> Any:
    """Read JSON. Numbers become `Decimal`, never float.

    :param tolerant: an impossible number spoils only its field: it becomes `IMPOSSIBLE`.
    :raises UnreadableResponse: it is not JSON in UTF-8, or holds NaN, Infinity or an impossible number.
    """

    def read_number(text: str) -> object:
        if _NUMBER.fullmatch(text):
            return Decimal(text)
        if tolerant:
            return IMPOSSIBLE
        raise ValueError

    decoder = json.JSONDecoder(parse_float=read_number, parse_int=read_number, parse_constant=read_number)
    try:
        return decoder.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UnreadableResponse("not JSON") from None


class ObjectList(list[T]):
    """A list of objects, and how many more could not be read.

    `unreadable` counts the objects that were left out, because they could not be read or because the list was
    too long. If you conclude "there is none" from a list, treat `unreadable > 0` as "unknown".
    """

    unreadable: int = 0


def read_rows(rows: Iterable[Any], read: Callable[[Any], T]) -> ObjectList[T]:
    """Read each row, and leave out those that cannot be read."""
    found = ObjectList[T]()
    for row in rows:
        try:
            found.append(read(row))
        except UnreadableResponse as error:
            found.unreadable += 1
            name = printable_id(row.get("id")) if isinstance(row, Mapping) else ""
            log.warning("Left out an unreadable object of Flexprice's (id %s): %s.", name, error)
    return found


class Fields:
    """Typed access to the fields of one JSON object. A missing key and null are the same.

    :param data: the object.
    :param kind: what it is, for error messages.
    :raises UnreadableResponse: (every method) it is not an object, or the field has another form.
    """

    def __init__(self, data: object, kind: str) -> None:
        if not isinstance(data, Mapping):
            raise UnreadableResponse(f"{kind} is not an object")
        self.data = data
        self._kind = kind

    def get(self, name: str, read: Callable[[Any], T], default: D) -> T | D:
        """The field as one of the readers below reads it, or the default when it is missing."""
        value = self.data.get(name)
        if value is None:
            return default
        try:
            return read(value)
        except UnreadableResponse:
            raise UnreadableResponse(f"{self._kind} has no usable {name!r}") from None

    def required(self, name: str, read: Callable[[Any], T]) -> T:
        """The field, which must be there and not be empty."""
        value = self.get(name, read, None)
        if value is None or value == "":
            raise UnreadableResponse(f"{self._kind} has no usable {name!r}")
        return value

    def inner(self, name: str) -> Fields:
        """The object under this name; an empty one when it is missing."""
        found = self.data.get(name)
        return Fields({} if found is None else found, f"{self._kind}.{name}")

    def many(self, name: str, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
        """The published objects in the list under this name, read; empty when it is missing.

        `status` is the row's own state, and a missing one means published.
        """
        used, found = (None, "published"), self.rows(name)
        return tuple(read(row) for row in found if not isinstance(row, Mapping) or row.get("status") in used)

    def rows(self, name: str) -> list[Any]:
        """The list under this name, as it is; empty when it is missing."""
        rows = self.data.get(name)
        if not isinstance(rows, list | None):
            raise UnreadableResponse(f"{self._kind} has no usable {name!r}")
        return rows or []

    def metadata(self) -> dict[str, str]:
        """The object's metadata, cleaned. Values that are not text are left out."""
        pairs = self.inner("metadata").data.items()
        return {text(key): text(value) for key, value in pairs if isinstance(value, str)}


# -- readers of one field: each raises UnreadableResponse for another form --------------------------


def text(value: object) -> str:
    """Text of any length, without NUL and lone surrogates."""
    if not isinstance(value, str):
        raise UnreadableResponse("not text")
    return _UNSTORABLE.sub("", value)


def label(value: object) -> str:
    """Text that is shown, cleaned and cut to 255 characters."""
    return text(value)[:MAX_LABEL_CHARS]


def word(value: object) -> str:
    """A word of an enumeration in upper case, which may be longer; cleaned and cut to 255 characters."""
    return label(text(value).upper())


def identifier(value: object) -> str:
    """An id, a status or another short text, as it is: too long, in any case, or not storable is unusable."""
    if not isinstance(value, str) or _UNSTORABLE.search(value) or len(value.upper().lower()) > MAX_ID_CHARS:
        raise UnreadableResponse("not an id")
    return value


def time(value: object) -> datetime | None:
    """An RFC 3339 time in UTC, at most `LATEST`; None when it is empty or Go's zero time (year 1)."""
    written = text(value)
    if not written:
        return None
    match = _TIME.fullmatch(written)
    if not match:
        raise UnreadableResponse("not an RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnreadableResponse("not a possible time") from None
    return min(moment, LATEST) if moment.year > 1 else None


def money(value: object) -> Decimal:
    """An amount in major units (rupees, not paise) from text or a number, without rounding."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnreadableResponse("not an amount")
    written = value if isinstance(value, str) else str(Decimal(value))
    number = Decimal(written) if _NUMBER.fullmatch(written) else AMOUNT_LIMIT
    if abs(number) >= AMOUNT_LIMIT or len(f"{number:f}") > MAX_AMOUNT_CHARS:
        raise UnreadableResponse("not an amount")
    return number


def whole(value: object) -> int:
    """A whole number within 64 bits."""
    number = None if isinstance(value, str) else money(value)
    if number is None or abs(number) >= 2**63 or number != int(number):
        raise UnreadableResponse("not a whole number")
    return int(number)


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UnreadableResponse("not true or false")
    return value


def identifier_or_empty(value: object) -> str:
    """An id, or an empty text when it is missing or unusable."""
    try:
        return identifier(value or "")
    except UnreadableResponse:
        return ""


def printable_id(value: object) -> str:
    """An id for a log line or a header: at most 64 visible ASCII characters, else empty."""
    return re.sub(r"[^!-~]", "", value)[:64] if isinstance(value, str) else ""
