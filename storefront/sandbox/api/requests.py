"""The body of a request, as Go's decoder takes it; what it does not take is refused."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import request

from ..engine.errors import Refusal, invalid
from .serializers.common import Body

BAD_FORMAT = "Invalid request format"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
LARGEST_NUMBER = 2**53
LAST_YEAR = 9990  # a subscription's period must end in a year that can be written down
NUL = "\x00"
CURRENCY_LENGTH = 3


def json_body(message: str = BAD_FORMAT, *, empty: Body | None = None) -> Body:
    """The object that was sent, whatever its content type; keys in another case count as their lower case.

    Text after the object is ignored; invalid UTF-8 is read as U+FFFD; a byte order mark is refused.

    :param empty: what an empty body stands for; refused if left out. `null` stands for `{}`.
    :raises Refusal: it is no object.
    """
    text = request.get_data().decode("utf-8", "replace").lstrip(" \t\r\n")
    if empty is not None and not text.strip():
        return empty
    try:
        body, _ = json.JSONDecoder(parse_constant=_no_number).raw_decode(text)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise invalid(message) from None
    if body is None:
        return {}  # Go's decoder leaves the request as it is
    if not isinstance(body, dict):
        raise invalid(message)
    return _in_lower_case(body)


def _in_lower_case(body: Body) -> Body:
    """Go matches keys without regard to case; the exact one wins."""
    lower = {key.lower(): value for key, value in body.items() if key != key.lower()}
    return lower | {key: value for key, value in body.items() if key == key.lower()} if lower else body


def refuse_nul(body: Any, message: str) -> None:
    """U+0000 in a stored text is a lasting 500.

    :raises Refusal: `database_error` with this message.
    """
    if NUL in json.dumps(body, ensure_ascii=False).replace("\\u0000", NUL):
        raise Refusal("database_error", message)


def refuse_too_long(value: str, limit: int, message: str) -> None:
    """A text that its column does not take is a 500.

    :raises Refusal: `database_error` with this message.
    """
    if len(value) > limit:
        raise Refusal("database_error", message)


def _no_number(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON


def text(body: Body, name: str, message: str = BAD_FORMAT) -> str:
    """A field of text; null and absent are empty."""
    value = body.get(name)
    if not isinstance(value, str | None):
        raise invalid(message)
    return value or ""


def optional_text(body: Body, name: str, message: str = BAD_FORMAT) -> str | None:
    """A field of text; absent and null are None, an empty one is kept."""
    return None if body.get(name) is None else text(body, name, message)


def texts(body: Body, name: str, message: str = BAD_FORMAT) -> list[str]:
    value = body.get(name)
    if not isinstance(value, list | None) or any(not isinstance(item, str) for item in value or []):
        raise invalid(message)
    return value or []


def an_object(body: Body, name: str, message: str = BAD_FORMAT) -> Body:
    value = body.get(name)
    if not isinstance(value, dict | None):
        raise invalid(message)
    return value or {}


def objects(body: Body, name: str, message: str = BAD_FORMAT) -> list[Body]:
    value = body.get(name)
    if not isinstance(value, list | None) or any(not isinstance(item, dict | None) for item in value or []):
        raise invalid(message)
    return [item for item in value or [] if item is not None]


def flag(body: Body, name: str, message: str = BAD_FORMAT) -> bool:
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise invalid(message)
    return bool(value)


def whole(body: Body, name: str, default: int, message: str = BAD_FORMAT) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | None) or abs(value or 0) > LARGEST_NUMBER:
        raise invalid(message)
    return default if value is None else value


def decimal(value: Any, message: str = BAD_FORMAT) -> Decimal | None:
    """An amount, as a number or as text; None if there is none."""
    if value is None:
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, str | int | float) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number) > LARGEST_NUMBER:
        raise invalid(message)
    return number


def moment(value: Any, message: str = BAD_FORMAT) -> datetime | None:
    """A time in RFC 3339; None if there is none."""
    if not isinstance(value, str | None):
        raise invalid(message)
    if not value:
        return None
    try:
        parsed = _parsed(value) if RFC3339.fullmatch(value) else None
    except (ValueError, OverflowError):
        parsed = None
    if parsed is None or parsed.year > LAST_YEAR:
        raise invalid(message)
    return parsed


def _parsed(value: str) -> datetime:
    microseconds = re.sub(r"(\.\d{6})\d+", r"\1", value.upper())
    return datetime.fromisoformat(microseconds).astimezone(UTC)


def metadata(body: Body, message: str = BAD_FORMAT) -> dict[str, str]:
    """Text values only; null becomes an empty text."""
    value = an_object(body, "metadata", message)
    if any(not isinstance(item, str | None) for item in value.values()):
        raise invalid(message)
    return {key: item or "" for key, item in value.items()}
