"""The few calls the shop makes to Flexprice, over one pooled session, with every failure named."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import requests
from requests import exceptions as wire
from requests.adapters import HTTPAdapter

from .breaker import Breaker
from .errors import (
    AlreadyExists,
    CustomerMissing,
    FlexpriceError,
    NeverSent,
    NoAnswer,
    NotAllowed,
    NotFound,
    Refused,
    RouteMissing,
    SessionAlreadyOpen,
    Unavailable,
)
from .objects import (
    CheckoutSession,
    Customer,
    Environment,
    Invoice,
    Payment,
    Plan,
    Refund,
    SessionRequest,
    Subscription,
    UnreadableObject,
    parse_json,
)

log = logging.getLogger(__name__)
T = TypeVar("T")
Watch = Callable[[str, str, int, float], None]  # method, resource, status (0: no answer), seconds

CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 4.0  # with the connection's 2 s a page has its answer within 6
CANCEL_TIMEOUT = 10.0  # Flexprice cancels the link at the payment provider first
CREATE_TIMEOUT = 25.0  # a caller that hangs up early aborts the server's clean-up (contract C.6a)
PAGE_SIZE = 100  # allowed are 1 to 1000 (contract A.4)
MOST_PAGES = 100
LARGEST_ANSWER = 8 * 1024 * 1024

_SESSIONS = "/checkout/sessions"
_JSON_HEADERS = {"Accept": "application/json"}
# The request never left the machine. The pool's own errors hide inside requests' ConnectionError; they are
# known here by name, because this package imports nothing below requests.
_NOT_SENT = (
    wire.ConnectTimeout,
    wire.InvalidURL,
    wire.InvalidSchema,
    wire.MissingSchema,
    wire.InvalidHeader,
    wire.InvalidJSONError,
)
_NOT_SENT_INSIDE = frozenset(
    {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "SSLCertVerificationError"}
)


@dataclass(frozen=True, slots=True)
class _Answer:
    method: str
    path: str
    status: int
    raw: bytes
    request_id: str
    retry_after: str

    @property
    def reads(self) -> bool:
        return self.method == "GET" or self.path.endswith("/search")


class Client:
    """Safe to share between threads."""

    def __init__(
        self,
        url: str,
        api_key: str,
        environment_id: str | None = None,
        *,
        session: requests.Session | None = None,
        request_id: Callable[[], str] | None = None,
        watch: Watch | None = None,
        before_call: Callable[[], None] | None = None,
    ) -> None:
        """`request_id` names each call, for the logs of both sides; `watch` is told how each one went.

        `before_call`: what must be put down before an answer is waited for, such as a database transaction.
        """
        self._url = url.rstrip("/")
        self._headers = _JSON_HEADERS | {"x-api-key": _header_value(api_key, "API key")}  # not Bearer: A
        if environment_id:
            self._headers["X-Environment-ID"] = _header_value(environment_id, "environment id")
        self._session = session or _pooled_session(self._url)
        self._breaker = Breaker()
        self._request_id = request_id
        self._watch = watch or _nobody
        self._before_call = before_call

    # -- catalog and customers

    def search_plans(self) -> list[Plan]:
        """All published plans with prices and entitlements, in display order."""
        query = {
            "status": "published",
            "expand": "prices,entitlements,features",
            "sort": [{"field": "display_order", "direction": "asc"}],  # `name` fails with entitlements: B.3
        }
        plans = self._pages("POST", "/plans/search", query, Plan.from_json)
        return sorted(plans, key=lambda plan: plan.display_order)

    def create_customer(
        self, external_id: str, name: str, email: str, *, patience: float = READ_TIMEOUT
    ) -> Customer:
        body = {"external_id": external_id, "name": name, "email": email}
        return self._one("POST", "/customers", Customer.from_json, body=body, read=patience)

    def find_customer(self, external_id: str) -> Customer:
        return self._one("GET", f"/customers/external/{_quoted(external_id)}", Customer.from_json)

    def get_environment(self, environment_id: str) -> Environment:
        return self._one("GET", f"/environments/{_quoted(environment_id)}", Environment.from_json)

    # -- checkout sessions

    def create_session(self, order: SessionRequest) -> CheckoutSession:
        body = order.to_json()
        return self._one("POST", _SESSIONS, CheckoutSession.from_json, body=body, read=CREATE_TIMEOUT)

    def get_session(self, session_id: str, *, patience: float = READ_TIMEOUT) -> CheckoutSession:
        path = f"{_SESSIONS}/{_quoted(session_id)}"
        return self._one("GET", path, CheckoutSession.from_json, read=patience)

    def cancel_session(self, session_id: str) -> CheckoutSession:
        path = f"{_SESSIONS}/{_quoted(session_id)}/cancel"
        return self._one("POST", path, CheckoutSession.from_json, read=CANCEL_TIMEOUT)

    # -- what came of them

    def search_subscriptions(self, external_customer_id: str, statuses: Sequence[str]) -> list[Subscription]:
        """Without statuses Flexprice would give the active ones only (contract B.10)."""
        query = {"external_customer_id": external_customer_id, "subscription_status": list(statuses)}
        return self._pages("POST", "/subscriptions/search", query, Subscription.from_json)

    def get_subscription(self, subscription_id: str, *, patience: float = READ_TIMEOUT) -> Subscription:
        path = f"/subscriptions/{_quoted(subscription_id)}"
        return self._one("GET", path, Subscription.from_json, read=patience)

    def get_invoice(self, invoice_id: str, *, patience: float = READ_TIMEOUT) -> Invoice:
        return self._one("GET", f"/invoices/{_quoted(invoice_id)}", Invoice.from_json, read=patience)

    def invoices_of(self, subscription_id: str) -> list[Invoice]:
        query = {"subscription_id": subscription_id, "skip_line_items": True}
        return self._pages("POST", "/invoices/search", query, Invoice.from_json)

    def get_payment(self, payment_id: str) -> Payment:
        return self._one("GET", f"/payments/{_quoted(payment_id)}", Payment.from_json)

    def refunds_of(self, payment_id: str) -> list[Refund]:
        return self._pages("GET", "/refunds", {"payment_ids": payment_id}, Refund.from_json)

    # -- how

    def _one(
        self,
        method: str,
        path: str,
        read_object: Callable[[Mapping[str, Any]], T],
        *,
        body: Mapping[str, Any] | None = None,
        read: float = READ_TIMEOUT,
    ) -> T:
        answer = self._call(method, path, body=body, read=read)
        try:
            return read_object(parse_json(answer.raw))
        except UnreadableObject as error:
            _raise_unreadable(answer, str(error))

    def _pages(
        self, method: str, path: str, query: Mapping[str, Any], read_object: Callable[[Mapping[str, Any]], T]
    ) -> list[T]:
        """Read all pages, each row once; the offset in the answer means different things (contract A.4)."""
        rows: dict[str, T] = {}
        offset = 0
        for _ in range(MOST_PAGES):
            page = {**query, "limit": PAGE_SIZE, "offset": offset}
            body, params = (None, page) if method == "GET" else (page, None)
            answer = self._call(method, path, body=body, params=params)
            try:
                items, total = _page(answer.raw)
                rows.update((str(item.get("id")), read_object(item)) for item in items)
            except UnreadableObject as error:
                _raise_unreadable(answer, str(error))
            offset += len(items)
            if not items or offset >= total:
                break
        else:
            _raise_unreadable(answer, f"the list did not end after {MOST_PAGES} pages")
        return list(rows.values())

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        read: float = READ_TIMEOUT,
    ) -> _Answer:
        if self._before_call:
            self._before_call()
        started = time.monotonic()
        try:
            with self._breaker.turn():
                answer = self._exchange(method, path, body, params, read)
        except wire.RequestException as error:
            failure = _unanswered(method, path, error)
            self._watch(method, _resource(path), 0, time.monotonic() - started)
            log.info("Flexprice %s %s: %s.", method, path, failure.message)
            raise failure from error
        spent = time.monotonic() - started
        self._watch(method, _resource(path), answer.status, spent)
        level = logging.DEBUG if answer.reads and answer.status < 300 else logging.INFO
        log.log(
            level,
            "Flexprice answered %s %s with %d in %.0f ms (request %s).",
            method,
            path,
            answer.status,
            spent * 1000,
            answer.request_id or "unnamed",
        )
        if not 200 <= answer.status < 300:
            raise _failure(answer)
        return answer

    def _named_headers(self) -> dict[str, str]:
        name = _loggable(self._request_id()) if self._request_id else ""
        return self._headers | {"X-Request-ID": name} if name else self._headers

    def _exchange(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None,
        read: float,
    ) -> _Answer:
        with self._session.request(
            method,
            self._url + path,
            json=body,
            params=params,
            headers=self._named_headers(),
            timeout=(CONNECT_TIMEOUT, read),
            allow_redirects=False,
            stream=True,
        ) as response:
            return _Answer(
                method=method,
                path=path,
                status=response.status_code,
                raw=_limited_body(response, time.monotonic() + read),
                request_id=_loggable(response.headers.get("X-Request-ID", "")),
                retry_after=response.headers.get("Retry-After", ""),
            )


def _nobody(method: str, resource: str, status: int, seconds: float) -> None:
    """Nobody watches."""


def _resource(path: str) -> str:
    """`checkout` of /checkout/sessions/cs_1: what is asked about, without ids."""
    return path.split("/")[1]


def _pooled_session(url: str) -> requests.Session:
    """With the proxy and the certificates that the environment names: read once, for reading them is slow."""
    session = requests.Session()
    named = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify = named["proxies"], named["verify"]
    session.trust_env = False  # nor a password from a .netrc: the key is all that Flexprice is sent
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=32, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _header_value(value: str, name: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError(f"the Flexprice {name} is empty or holds spaces or foreign characters")
    return value


def _quoted(part: str) -> str:
    """A path parameter as one segment: no empty one and no dots, which would name another route."""
    if not part.strip("."):
        raise ValueError("an id in a path must not be empty or dots only")
    return quote(part, safe="")


def _loggable(request_id: str) -> str:
    return re.sub(r"[^!-~]", "", request_id)[:64]


def _limited_body(response: requests.Response, deadline: float) -> bytes:
    """Read the body, but not without end. A time-out counts from byte to byte, so the clock is read too."""
    raw = bytearray()
    for chunk in response.iter_content(4096):
        raw += chunk
        if len(raw) > LARGEST_ANSWER:
            raise wire.ContentDecodingError("the answer is too large")
        if time.monotonic() > deadline:
            raise wire.ReadTimeout("the answer trickles")
    return bytes(raw)


def _page(raw: bytes) -> tuple[list[Mapping[str, Any]], int]:
    data = parse_json(raw)
    items = data.get("items") if isinstance(data, Mapping) else None
    if items is None and isinstance(data, Mapping) and "items" in data:
        items = []  # an empty Go slice may be written as null
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise UnreadableObject("a list without items")
    paging = data.get("pagination")
    total = paging.get("total") if isinstance(paging, Mapping) else None
    if isinstance(total, bool) or not isinstance(total, int):
        raise UnreadableObject("a list without its total")
    return items, total


# -- failures


def _unanswered(method: str, path: str, error: wire.RequestException) -> FlexpriceError:
    if isinstance(error, _NOT_SENT) or any(type(e).__name__ in _NOT_SENT_INSIDE for e in _inside(error)):
        return NeverSent(f"no connection ({type(error).__name__})")
    failure = NoAnswer(f"no answer ({type(error).__name__})")
    failure.retryable = method == "GET" or path.endswith("/search")
    return failure


def _inside(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, but not __context__: that may be an older failure being handled."""
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


def _raise_unreadable(answer: _Answer, why: str) -> NoReturn:
    """A success nobody can read: a read may be repeated, of a write the outcome is unknown."""
    kind = Unavailable if answer.reads else NoAnswer
    raise kind(
        f"unreadable answer: {why}", status=answer.status, code="unreadable", request_id=answer.request_id
    )


def _failure(answer: _Answer) -> FlexpriceError:
    envelope = _envelope(answer.raw)
    message, code, details = _error_text(envelope, answer), _code(envelope), _details(envelope)
    kind = _kind(answer, envelope, message, code, details)
    failure = kind(message, status=answer.status, code=code, details=details, request_id=answer.request_id)
    if isinstance(failure, Unavailable):
        failure.retry_after = _retry_after(answer.retry_after)
    return failure


def _kind(
    answer: _Answer, envelope: Mapping[str, Any] | None, message: str, code: str, details: Mapping[str, Any]
) -> type[FlexpriceError]:
    creates_session = answer.method == "POST" and answer.path == _SESSIONS
    exists = code == "already_exists" or "already exists" in message.lower()
    no_customer = "lookup_key" in details or message.startswith("Customer with lookup key")
    table: tuple[tuple[bool, type[FlexpriceError]], ...] = (
        (answer.status in (401, 403), NotAllowed),
        (answer.status == 404 and envelope is None, RouteMissing),  # text/plain "404 page not found": A
        (answer.status == 404 and no_customer, CustomerMissing),
        (answer.status == 404, NotFound),
        (answer.status == 409 and creates_session, SessionAlreadyOpen),
        (answer.status == 409, AlreadyExists),
        (answer.status == 400 and exists and not creates_session, AlreadyExists),
        (answer.status == 429, Unavailable),
        (400 <= answer.status < 500, Refused),
    )
    return next((kind for applies, kind in table if applies), Unavailable)


def _envelope(raw: bytes) -> Mapping[str, Any] | None:
    try:
        data = parse_json(raw)
    except UnreadableObject:
        return None
    return data if isinstance(data, Mapping) else None


def _nested(envelope: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The vendor's page shows {"success", "error": {"message"}}; no server sends it, but it is accepted."""
    inner = (envelope or {}).get("error")
    return inner if isinstance(inner, Mapping) else {}


def _error_text(envelope: Mapping[str, Any] | None, answer: _Answer) -> str:
    """`message`, else `error`, else the raw text (contract A.1)."""
    source = envelope or {}
    candidates = (source.get("message"), _nested(envelope).get("message"), source.get("error"))
    raw = answer.raw[:200].decode("utf-8", "replace").strip()
    known = [text for text in (*candidates, raw) if isinstance(text, str) and text]
    return _one_line(known[0][:500]) if known else "an answer without text"


def _one_line(text: str) -> str:
    """Fit for a log line and for a database: no line breaks, no NUL, no lone surrogates."""
    return "".join(char if char.isprintable() else " " for char in text)


def _code(envelope: Mapping[str, Any] | None) -> str:
    code = (envelope or {}).get("code") or _nested(envelope).get("code")
    return _one_line(code[:100]) if isinstance(code, str) else ""


def _details(envelope: Mapping[str, Any] | None) -> dict[str, Any]:
    details = (envelope or {}).get("details")
    return dict(details) if isinstance(details, Mapping) else {}


def _retry_after(header: str) -> float | None:
    """Seconds or an HTTP date; None for anything else."""
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_until(header)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(header: str) -> float:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return math.nan
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
