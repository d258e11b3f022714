"""One HTTP exchange with Flexprice: pooled, bounded in time, size and number, with event hooks."""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypedDict
from urllib.parse import urlsplit

import requests
from requests import exceptions as wire
from requests.adapters import HTTPAdapter

from ._failures import Answer, connection_error, status_error
from ._json import printable_id
from .exceptions import FlexpriceError, NotSent

log = logging.getLogger(__name__)

VERSION = "0.1.0"
USER_AGENT = f"flexprice-storefront/{VERSION} python-requests/{requests.__version__}"
MAX_ANSWER_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 4096


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
    `checkout`, `seconds` is the time it took and `request_id` Flexprice's name for it, or empty."""

    method: str
    path: str
    resource: str
    status: int
    seconds: float
    request_id: str


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
        request = ApiRequest(method, path)
        for hook in self._before:
            hook(request)
        headers = self._headers | request.headers
        started = time.monotonic()
        try:
            with self._slot():
                answer = self._exchange(method, path, headers, timeout, body=body, params=params)
        except wire.RequestException as error:
            lost = connection_error(method, path, error)
            self._report(method, path, 0, time.monotonic() - started, "", lost)
            raise lost from error
        except NotSent as busy:
            self._report(method, path, 0, 0.0, "", busy)
            raise
        failure = None if 200 <= answer.status < 300 else status_error(answer)
        self._report(method, path, answer.status, time.monotonic() - started, answer.request_id, failure)
        if failure:
            raise failure
        return answer

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Hold one of the `max_concurrent` slots; do not wait for one, so that a hang cannot spread."""
        if not self._slots.acquire(blocking=False):
            raise NotSent(f"all {self._max_concurrent} concurrent calls are busy")
        try:
            yield
        finally:
            self._slots.release()

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        timeout: tuple[float, float],
        **content: Mapping[str, Any] | None,
    ) -> Answer:
        deadline = time.monotonic() + sum(timeout)
        with self._session.request(
            method,
            self._base_url + path,
            json=content["body"],
            params=content["params"],
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            return Answer(
                method=method,
                path=path,
                status=response.status_code,
                raw=_read_body(response, deadline),
                request_id=printable_id(response.headers.get("X-Request-ID", "")),
                retry_after=response.headers.get("Retry-After", ""),
            )

    def _report(
        self,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_id: str,
        failure: FlexpriceError | None,
    ) -> None:
        """Log the call and run the response hooks. A hook that raises must not lose the answer."""
        quiet = failure is None and (method == "GET" or path.endswith("/search"))
        outcome = f"{status} (request {request_id or 'unnamed'})" if status else str(failure)
        level = logging.DEBUG if quiet else logging.INFO
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
    """Return whether the URL names this machine: 127.0.0.0/8, ::1 or localhost."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"


def _read_body(response: requests.Response, deadline: float) -> bytes:
    """Read the body up to a size and a deadline: requests' own time-out starts again with each byte."""
    raw = bytearray()
    while chunk := _read_some(response):
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise wire.ContentDecodingError("the answer is too large")
        if time.monotonic() > deadline:
            raise wire.ReadTimeout("the answer trickles")
    return bytes(raw)


def _read_some(response: requests.Response) -> bytes:
    """Return what has arrived: `iter_content` would wait for a whole chunk, however slowly it comes."""
    read = getattr(response.raw, "read1", response.raw.read)  # urllib3 before 2.1 has no read1
    try:
        some: bytes = read(CHUNK_BYTES, decode_content=True)
    except Exception as error:  # urllib3's own errors, which requests wraps in `iter_content` only
        raise wire.ConnectionError(error) from error
    return some
