"""From a failed exchange to its exception. Source: docs/flexprice-contract.md#a1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from requests import exceptions as wire

from ._json import one_line, parse_json
from .exceptions import (
    APITimeout,
    AuthenticationError,
    Conflict,
    CustomerNotFound,
    FlexpriceError,
    InvalidRequest,
    NoAnswer,
    NotFound,
    NotSent,
    ProviderError,
    RouteNotFound,
    ServerError,
    UnreadableResponse,
)

MAX_MESSAGE_CHARS = 500
MAX_CODE_CHARS = 100

_NOT_SENT = (
    wire.ConnectTimeout,
    wire.ProxyError,  # raised only before the proxy has passed anything on
    wire.InvalidURL,
    wire.InvalidSchema,
    wire.MissingSchema,
    wire.InvalidHeader,
    wire.InvalidJSONError,
)
# urllib3's own errors hide inside requests' ConnectionError. They are known here by name, because this
# package imports nothing below requests.
_NOT_SENT_INSIDE = frozenset(
    {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "SSLCertVerificationError"}
)
_TIMEOUT_INSIDE = frozenset({"ReadTimeoutError", "TimeoutError"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever the status."""

    method: str
    path: str
    status: int
    raw: bytes
    request_id: str
    retry_after: str


def is_read(method: str, path: str) -> bool:
    """Return whether the call changes nothing at Flexprice, so that it may be repeated blindly."""
    return method == "GET" or path.endswith("/search")


def connection_error(method: str, path: str, error: wire.RequestException) -> FlexpriceError:
    """Return the exception for a request without an answer: was it sent?"""
    name = type(error).__name__
    inside = {type(one).__name__ for one in _chain(error)}
    if isinstance(error, _NOT_SENT) or inside & _NOT_SENT_INSIDE:
        return NotSent(f"no connection ({name})")
    if isinstance(error, wire.Timeout) or inside & _TIMEOUT_INSIDE:
        return APITimeout(f"no answer in time ({name})", retryable=is_read(method, path))
    return NoAnswer(f"no answer ({name})", retryable=is_read(method, path))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it wraps, but not __context__: that may be an older failure being handled."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [*one.args, one.__cause__]
        waiting += [getattr(one, "reason", None), getattr(one, "original_error", None)]


def unreadable(answer: Answer, why: str) -> UnreadableResponse:
    """Return the exception for a 2xx that cannot be read. A read may be repeated; a write has happened."""
    return UnreadableResponse(
        f"unreadable answer: {why}",
        status=answer.status,
        code="unreadable",
        request_id=answer.request_id,
        retryable=is_read(answer.method, answer.path),
    )


def status_error(answer: Answer) -> FlexpriceError:
    """Return the exception for an answer that is not 2xx."""
    envelope = _envelope(answer.raw)
    message, code, details = _message(envelope, answer.raw), _code(envelope), _details(envelope)
    return _error_class(answer, envelope, message, code, details)(
        message,
        status=answer.status,
        code=code,
        details=details,
        request_id=answer.request_id,
        retry_after=_retry_after(answer.retry_after),
    )


def _error_class(
    answer: Answer, envelope: Mapping[str, Any] | None, message: str, code: str, details: Mapping[str, Any]
) -> type[FlexpriceError]:
    status = answer.status
    no_customer = "lookup_key" in details or message.startswith("Customer with ")
    # Flexprice's documentation has 400 where its server answers 409 for a customer who exists.
    exists = code == "already_exists" or "already exists" in message.lower()
    exists = exists and (answer.method, answer.path) == ("POST", "/customers")
    table: tuple[tuple[bool, type[FlexpriceError]], ...] = (
        (status in (401, 403), AuthenticationError),
        (status == 404 and envelope is None, RouteNotFound),  # "404 page not found" as text/plain
        (status == 404 and no_customer, CustomerNotFound),
        (status == 404, NotFound),
        (status == 409 or (status == 400 and exists), Conflict),
        (status in (400, 500) and _is_provider_trouble(answer, message), ProviderError),
        (status == 429, ServerError),
        (400 <= status < 500, InvalidRequest),
    )
    return next((kind for applies, kind in table if applies), ServerError)


def _is_provider_trouble(answer: Answer, message: str) -> bool:
    """Return whether a create failed at Razorpay: "Unable to create customer in Razorpay", "Unable to create
    payment link in Razorpay" or "Unable to connect to Razorpay"."""
    return answer.method == "POST" and message.startswith("Unable to ") and "Razorpay" in message


def _envelope(raw: bytes) -> Mapping[str, Any] | None:
    try:
        data = parse_json(raw)
    except UnreadableResponse:
        return None
    return data if isinstance(data, Mapping) else None


def _nested(envelope: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return `error` of `{"success", "error": {"message"}}`: documented, never seen from a server."""
    inner = (envelope or {}).get("error")
    return inner if isinstance(inner, Mapping) else {}


def _message(envelope: Mapping[str, Any] | None, raw: bytes) -> str:
    """Return the text of an error: `message`, else `error`, else the raw body."""
    source = envelope or {}
    texts = (
        source.get("message"),
        _nested(envelope).get("message"),
        source.get("error"),
        raw[:200].decode("utf-8", "replace").strip(),
    )
    known = [text for text in texts if isinstance(text, str) and text]
    return one_line(known[0][:MAX_MESSAGE_CHARS]) if known else "an answer without text"


def _code(envelope: Mapping[str, Any] | None) -> str:
    code = (envelope or {}).get("code") or _nested(envelope).get("code")
    return one_line(code[:MAX_CODE_CHARS]) if isinstance(code, str) else ""


def _details(envelope: Mapping[str, Any] | None) -> dict[str, Any]:
    details = (envelope or {}).get("details")
    return dict(details) if isinstance(details, Mapping) else {}


def _retry_after(header: str) -> timedelta | None:
    """Read `Retry-After`: seconds or an HTTP date; None for anything else."""
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_until(header)
    possible = math.isfinite(seconds) and 0 <= seconds < timedelta.max.total_seconds()
    return timedelta(seconds=seconds) if possible else None


def _seconds_until(header: str) -> float:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return math.nan
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
