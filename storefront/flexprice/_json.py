"""The strict reader of everything Flexprice sends.

It is strict about types and forms, because a wrong amount or a wrong id costs money, and tolerant of what a
real server does: keys left out when empty, null for nothing, `""` for "no number yet", nine fraction digits
in times, and Go's zero time for "no end". All text passes through here, and loses what PostgreSQL cannot
store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from .exceptions import UnreadableResponse

T = TypeVar("T")

MAX_ID_CHARS = 255
MAX_NAME_CHARS = 255
MAX_INTEGER_CHARS = 30
IMPOSSIBLE = object()
"""Stands for a number that cannot be right: no field accepts it."""

_MONEY = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
# RFC 3339 with 0 to 9 fraction digits; digits beyond microseconds are cut off.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# Lone surrogates cannot be encoded; PostgreSQL cannot store NUL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def parse_json(raw: bytes) -> Any:
    """Read JSON. Numbers with a fraction become `Decimal`, never float.

    :raises UnreadableResponse: it is not JSON in UTF-8, or holds NaN, Infinity or an impossible number.
    """
    return _load(raw, parse_float=_decimal, parse_constant=_reject_constant)


def parse_json_list(raw: bytes) -> Any:
    """Read JSON in which one impossible number must not spoil the rest: it becomes `IMPOSSIBLE`.

    :raises UnreadableResponse: it is not JSON in UTF-8.
    """
    return _load(raw, parse_float=_possible_decimal, parse_int=_possible_int, parse_constant=_impossible)


def _load(
    raw: bytes,
    *,
    parse_float: Callable[[str], object],
    parse_int: Callable[[str], object] = int,
    parse_constant: Callable[[str], object],
) -> Any:
    decoder = json.JSONDecoder(parse_float=parse_float, parse_int=parse_int, parse_constant=parse_constant)
    try:
        return decoder.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UnreadableResponse("not JSON") from None


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time as an aware `datetime` in UTC.

    :raises UnreadableResponse: it has another form, lacks a zone or is no possible time.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise UnreadableResponse("not an RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone
    try:
        parsed = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{offset}")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnreadableResponse("not a possible time") from None


def parse_money(value: object) -> Decimal:
    """Read an amount in major units (rupees, not paise) from a string or a number, without rounding.

    :raises UnreadableResponse: it is not a plain decimal number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnreadableResponse("not an amount")
    if isinstance(value, int) and abs(value) >= 10**20:
        raise UnreadableResponse("not an amount")
    return _decimal(str(value))


def clean_text(value: object) -> str:
    """Return the text without NUL and lone surrogates.

    :raises UnreadableResponse: it is not text.
    """
    if not isinstance(value, str):
        raise UnreadableResponse("not text")
    return _UNSTORABLE.sub("", value)


def one_line(text: str) -> str:
    """Replace everything that is not printable with a space, so that the text fits a log line."""
    return "".join(char if char.isprintable() else " " for char in text)


def printable_id(value: object) -> str:
    """Return an id for a log line or a header: at most 64 visible ASCII characters, else empty."""
    return re.sub(r"[^!-~]", "", value)[:64] if isinstance(value, str) else ""


def usable_id(data: Mapping[str, Any], name: str) -> str:
    """Return the id under this name, or an empty text when it is missing or unusable."""
    value = data.get(name)
    usable = isinstance(value, str) and len(value) <= MAX_ID_CHARS and not _UNSTORABLE.search(value)
    return str(value) if usable else ""


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

    def _bad(self, name: str) -> NoReturn:
        raise UnreadableResponse(f"{self._kind} has no usable {name!r}")

    def _get(self, name: str, read: Callable[[Any], T], default: T) -> T:
        value = self.data.get(name)
        if value is None:
            return default
        try:
            return read(value)
        except UnreadableResponse:
            self._bad(name)

    def required_id(self, name: str) -> str:
        """An id, a status or another short text that must be there."""
        return self.id(name) or self._bad(name)

    def id(self, name: str) -> str:
        """An id or another short text, as it is: too long or not storable is unusable. Empty: none."""
        return self._get(name, _exact_id, "")

    def optional_id(self, name: str) -> str | None:
        """An id; None when it is missing or empty."""
        return self.id(name) or None

    def text(self, name: str) -> str:
        """Text of any length, cleaned. Empty: none."""
        return self._get(name, clean_text, "")

    def name(self, name: str) -> str:
        """Text that is shown, cleaned and cut to 255 characters. Empty: none."""
        return self.text(name)[:MAX_NAME_CHARS]

    def upper(self, name: str) -> str:
        """A word of an enumeration in upper case; unknown words are kept. Empty: none."""
        return self.name(name).upper()

    def time(self, name: str) -> datetime | None:
        """A time in UTC; None when it is missing, empty or Go's zero time (year 1, "no end")."""
        return self._get(name, _time_or_none, None)

    def money(self, name: str) -> Decimal:
        """An amount in major units that must be there."""
        return self._bad(name) if self.data.get(name) is None else self.money_or(name, Decimal(0))

    def money_or(self, name: str, default: Decimal) -> Decimal:
        """An amount in major units, or the default."""
        return self._get(name, parse_money, default)

    def optional_money(self, name: str) -> Decimal | None:
        """An amount in major units, or None."""
        return None if self.data.get(name) is None else self.money(name)

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number within 64 bits, or the default."""
        return self._get(name, _integer, default)

    def optional_integer(self, name: str) -> int | None:
        """A whole number within 64 bits, or None."""
        return None if self.data.get(name) is None else self.integer(name)

    def flag(self, name: str) -> bool:
        """True or false; false when it is missing."""
        return self._get(name, _flag, False)

    def metadata(self) -> dict[str, str]:
        """The object's metadata, cleaned. Values that are not text are left out."""
        pairs = self.inner("metadata").data.items()
        return {clean_text(key): clean_text(value) for key, value in pairs if isinstance(value, str)}

    def inner(self, name: str) -> Fields:
        """The object under this name; an empty one when it is missing."""
        found = self.data.get(name)
        return Fields({} if found is None else found, f"{self._kind}.{name}")

    def one(self, name: str, read: Callable[[Mapping[str, Any]], T]) -> T | None:
        """The object under this name, read; None when it is missing or empty."""
        found = self.data.get(name)
        return read(found) if found else None

    def many(self, name: str, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
        """The published objects in the list under this name, read; empty when it is missing."""
        rows: list[Any] = self._get(name, _list, [])
        return tuple(read(row) for row in rows if _published(row))


def _decimal(text: str) -> Decimal:
    if not _MONEY.fullmatch(text):
        raise UnreadableResponse("not an amount")
    return Decimal(text)


def _possible_decimal(text: str) -> object:
    return Decimal(text) if _MONEY.fullmatch(text) else IMPOSSIBLE


def _possible_int(text: str) -> object:
    return int(text) if len(text) <= MAX_INTEGER_CHARS else IMPOSSIBLE


def _impossible(_name: str) -> object:
    return IMPOSSIBLE


def _reject_constant(name: str) -> NoReturn:
    raise UnreadableResponse(f"{name} is not JSON")


def _exact_id(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_ID_CHARS or _UNSTORABLE.search(value):
        raise UnreadableResponse("not an id")
    return value


def _time_or_none(value: object) -> datetime | None:
    text = clean_text(value)
    if not text:
        return None
    moment = parse_time(text)
    return moment if moment.year > 1 else None


def _integer(value: object) -> int:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise UnreadableResponse("not a whole number")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UnreadableResponse("not true or false")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise UnreadableResponse("not a list")
    return value


def _published(row: object) -> bool:
    """Return whether the row is in use. `status` is the row's own state, and missing means published."""
    return not isinstance(row, Mapping) or row.get("status") in (None, "published")
