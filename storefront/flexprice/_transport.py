"""One HTTP exchange with Flexprice: pooled, bounded in time, size and number; its failures are exceptions."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypedDict, TypeVar
from urllib.parse import quote, urlsplit

import requests
from requests import exceptions as wire
from requests.adapters import HTTPAdapter

from ._json import parse_json, printable_id
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

log = logging.getLogger(__name__)
T = TypeVar("T")
Timeout = float | tuple[float, float]
"""Seconds to read, or (seconds to connect, seconds to read)."""

VERSION = "0.1.0"
USER_AGENT = f"flexprice-storefront/{VERSION} python-requests/{requests.__version__}"
REQUEST_ID = "X-Request-ID"  # Flexprice returns it, and logs it
MAX_ANSWER_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 4096
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
_NOT_SENT_INSIDE = {
    "NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "SSLCertVerificationError",
}  # fmt: skip
_TIMEOUT_INSIDE = {"ReadTimeoutError", "TimeoutError"}


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A call that is about to be made.

    `path` is below the base URL. Headers that a hook puts into `headers` are sent with the call.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """How a call went: `status` is 0 when there was no answer, `resource` is the path's first part, such as
    `checkout`, `seconds` is the time it took and `request_id` its name in Flexprice's logs."""

    method: str
    path: str
    resource: str
    status: int
    seconds: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever the status."""

    method: str
    path: str
    status: int
    raw: bytes
    request_id: str
    retry_after: str


class EventHooks(TypedDict, total=False):
    """Functions called before and after each call. See `Client`."""

    request: Sequence[Callable[[ApiRequest], None]]
    response: Sequence[Callable[[ApiResponse], None]]


class Transport:
    """Sends requests over one session. Safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        session: requests.Session | None,
        event_hooks: EventHooks | None,
        max_concurrent: int,
    ) -> None:
        if max_concurrent < 1:
            raise ValueError("max_concurrent must be at least 1")
        if set(event_hooks or {}) - {"request", "response"}:
            raise ValueError("event_hooks has the keys request and response only")
        self._base_url = base_url.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": USER_AGENT, **headers}
        self._own_session = session is None
        self._session = session or pooled_session(self._base_url, max_concurrent)
        self._before = tuple((event_hooks or {}).get("request", ()))
        self._after = tuple((event_hooks or {}).get("response", ()))
        self._max_concurrent = max_concurrent
        self._slots = threading.BoundedSemaphore(max_concurrent)

    def close(self) -> None:
        """Close the pooled connections. A session that was handed in stays open."""
        if self._own_session:
            self._session.close()

    def send(
        self,
        method: str,
        path: str,
        timeout: tuple[float, float],
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send one request and return its 2xx answer.

        :param timeout: seconds to connect and seconds to read.
        :raises FlexpriceError: anything else came back, or nothing.
        """
        request = ApiRequest(method, path, {REQUEST_ID: secrets.token_hex(16)})
        for hook in self._before:
            hook(request)
        started, request_id = time.monotonic(), printable_id(request.headers.get(REQUEST_ID))
        if not self._slots.acquire(blocking=False):  # do not wait, so that a hang cannot spread
            busy = NotSent(f"all {self._max_concurrent} concurrent calls are busy", request_id=request_id)
            self._report(request, 0, 0.0, request_id, busy)
            raise busy
        try:
            answer = self._exchange(request, timeout, json=body, params=params)
        except wire.RequestException as error:
            lost = connection_error(method, path, error)
            lost.request_id = request_id
            self._report(request, 0, time.monotonic() - started, request_id, lost)
            raise lost from error
        finally:
            self._slots.release()
        failure = None if 200 <= answer.status < 300 else status_error(answer)
        self._report(request, answer.status, time.monotonic() - started, answer.request_id, failure)
        if failure:
            raise failure
        return answer

    def _exchange(self, request: ApiRequest, timeout: tuple[float, float], **content: Any) -> Answer:
        deadline = time.monotonic() + sum(timeout)
        with self._session.request(
            request.method,
            self._base_url + request.path,
            headers=self._headers | request.headers,
            timeout=timeout,
            allow_redirects=False,
            stream=True,
            **content,
        ) as response:
            return Answer(
                method=request.method,
                path=request.path,
                status=response.status_code,
                raw=_read_body(response, deadline),
                request_id=printable_id(
                    response.headers.get("X-Request-ID", request.headers.get(REQUEST_ID))
                ),
                retry_after=response.headers.get("Retry-After", ""),
            )

    def _report(
        self, request: ApiRequest, status: int, seconds: float, request_id: str, failure: Exception | None
    ) -> None:
        """Log the call and run the response hooks. A hook that raises must not lose the answer."""
        method, path = request.method, request.path
        level = logging.DEBUG if failure is None and is_read(method, path) else logging.INFO
        outcome = f"{status or failure} (request {request_id})"
        log.log(level, "Flexprice %s %s: %s after %.0f ms.", method, path, outcome, seconds * 1000)
        report = ApiResponse(method, path, path.split("/")[1], status, seconds, request_id)
        for hook in self._after:
            try:
                hook(report)
            except Exception:
                log.exception("A response hook of the Flexprice client failed.")


def header_value(value: str, name: str) -> str:
    """Return the value if it can be sent as a header.

    :raises ValueError: it is empty or holds white space, control or non-ASCII characters.
    """
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError(f"the Flexprice {name} is empty or holds spaces or non-ASCII characters")
    return value


def pooled_session(url: str, connections: int) -> requests.Session:
    """Return a session with the environment's proxy and certificates, read once because reading is slow.

    A loopback address is never asked through a proxy. The session keeps no cookies and sends no password
    from a .netrc file: the API key is all that Flexprice is sent.
    """
    session = requests.Session()
    settings = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies = {} if is_loopback(url) else settings["proxies"]
    session.verify = settings["verify"]
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def is_loopback(url: str) -> bool:
    """Return whether the URL names this machine: 127.0.0.0/8, also as ::ffff:127.0.0.1, ::1 or localhost."""
    try:
        host = urlsplit(url).hostname or ""
        if host in ("localhost", "localhost."):
            return True
        address = ipaddress.ip_address(host)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    except ValueError:
        return False


def _read_body(response: requests.Response, deadline: float) -> bytes:
    """Read the body up to a size and a deadline: requests' own time-out starts again with each byte.

    It reads what has arrived: `iter_content` would wait for a whole chunk, however slowly it comes.
    """
    read = getattr(response.raw, "read1", response.raw.read)  # urllib3 before 2.1 has no read1
    raw = bytearray()
    while True:
        try:
            some: bytes = read(CHUNK_BYTES, decode_content=True)
        except Exception as error:  # urllib3's own errors, which requests wraps in `iter_content` only
            raise wire.ConnectionError(error) from error
        if not some:
            return bytes(raw)
        raw += some
        if len(raw) > MAX_ANSWER_BYTES:
            raise wire.ContentDecodingError("the answer is too large")
        if time.monotonic() > deadline:
            raise wire.ReadTimeout("the answer trickles")


# -- from a failed exchange to its exception (docs/flexprice-contract.md#a1) ------------------------


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


class Calls:
    """What the methods of `Client` are made of: send a request, read the one object of its answer."""

    def __init__(self, transport: Transport, timeout: tuple[float, float]) -> None:
        self._transport = transport
        self._timeout = timeout

    def _one(
        self,
        method: str,
        path: str,
        read: Callable[[Mapping[str, Any]], T],
        timeout: Timeout | None,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> T:
        limits = both_timeouts(timeout, self._timeout)
        answer = self._transport.send(method, path, limits, body=body, params=params)
        try:
            return read(parse_json(answer.raw, tolerant=True))
        except UnreadableResponse as error:
            raise unreadable(answer, error.message) from None

    def _file(self, path: str, timeout: Timeout | None) -> bytes:
        return self._transport.send("GET", path, both_timeouts(timeout, self._timeout)).raw


def both_timeouts(timeout: Timeout | None, default: tuple[float, float]) -> tuple[float, float]:
    """Return (seconds to connect, seconds to read). One number is the time to read."""
    if timeout is None:
        return default
    return timeout if isinstance(timeout, tuple) else (default[0], timeout)


def segment(part: str) -> str:
    """Quote a path parameter as one segment: an empty one or dots would name another route."""
    if not part.strip("."):
        raise ValueError("an id in a path must not be empty or dots only")
    return quote(part, safe="")


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
    """Return the exception for an answer that is not 2xx.

    Its text is `message`, or `error.message` (documented, never seen from a server), or `error`, or the raw
    body.
    """
    try:
        data = json.loads(answer.raw)
    except (ValueError, RecursionError):
        data = None
    envelope: Mapping[str, Any] = data if isinstance(data, dict) else {}
    error, details = envelope.get("error"), envelope.get("details")
    nested: Mapping[str, Any] = error if isinstance(error, dict) else {}
    start = answer.raw[:200].decode("utf-8", "replace").strip()
    texts = [envelope.get("message"), nested.get("message"), error, start, "an answer without text"]
    message = next(text for text in texts if isinstance(text, str) and text)
    message = _one_line(message[:MAX_MESSAGE_CHARS])
    code = envelope.get("code") or nested.get("code")
    found: dict[str, Any] = {
        "code": _one_line(code[:MAX_CODE_CHARS]) if isinstance(code, str) else "",
        "details": details if isinstance(details, dict) else {},
    }
    return _error_class(answer, isinstance(data, dict), message, **found)(
        message,
        status=answer.status,
        request_id=answer.request_id,
        retry_after=_retry_after(answer.retry_after) if answer.retry_after else None,
        **found,
    )


def _error_class(
    answer: Answer, has_envelope: bool, message: str, code: str, details: Mapping[str, Any]
) -> type[FlexpriceError]:
    status = answer.status
    if status in (401, 403):
        return AuthenticationError
    if status == 404 and not has_envelope:  # "404 page not found" as text/plain
        return RouteNotFound
    if status == 404:
        no_customer = "lookup_key" in details or message.startswith("Customer with ")
        return CustomerNotFound if no_customer else NotFound
    # Flexprice's documentation has 400 where its server answers 409 for a customer who exists.
    exists = code == "already_exists" or "already exists" in message.lower()
    creates_customer = (answer.method, answer.path) == ("POST", "/customers")
    if status == 409 or (status == 400 and exists and creates_customer):
        return Conflict
    # "Unable to create customer in Razorpay", "Unable to create payment link in Razorpay" or "Unable to
    # connect to Razorpay".
    provider = answer.method == "POST" and message.startswith("Unable to ") and "Razorpay" in message
    if status in (400, 500) and provider:
        return ProviderError
    return InvalidRequest if 400 <= status < 500 and status != 429 else ServerError


def _one_line(text: str) -> str:
    """Replace everything that is not printable with a space, so that the text fits a log line."""
    return "".join(char if char.isprintable() else " " for char in text)


def _retry_after(header: str) -> timedelta | None:
    """Read `Retry-After`: seconds or an HTTP date; None for anything else."""
    try:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", header):
            return timedelta(seconds=float(header))
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(timedelta(0), moment - datetime.now(UTC))
