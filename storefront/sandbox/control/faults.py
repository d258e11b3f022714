"""API faults: calls go wrong in a way that was arranged."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from flask import Flask, Response, g, jsonify, request
from sqlalchemy import func, literal, or_

from ..api import auth
from ..engine import overrides
from ..engine.errors import Refusal, not_found
from ..engine.overrides import REPLICA_LAG
from ..store.control_rows import Override
from ..store.database import Session
from .access import json_object


class Fault(NamedTuple):
    help: str
    before: Callable[[float], Response] | None = None  # answers instead of the API
    after: Callable[[Response, float], Response] | None = None  # spoils what the API answered
    seconds: float = 0.0  # unless the override says otherwise


def _down(_seconds: float) -> Response:
    return Response("<html><body>503 Service Unavailable</body></html>", status=503)


def _error_500(_seconds: float) -> Response:
    return Response("", status=500)  # a panic has no body


def _environment_unresolved(_seconds: float) -> Response:
    return _middleware_error(error="Internal server error", message="Failed to resolve environment")


def _tenant_unverified(_seconds: float) -> Response:
    return _middleware_error(message="failed to verify tenant access")


def _middleware_error(**body: str) -> Response:
    response = jsonify(body)
    response.status_code = 500
    return response


def _rate_limited(seconds: float) -> Response:
    code, message = "too_many_requests", "Rate limit exceeded"
    response = jsonify({"code": code, "message": message, "http_status_code": 429})
    response.status_code = 429
    response.headers["Retry-After"] = str(max(1, round(seconds)))
    return response


def _timeout_before(seconds: float) -> Response:
    time.sleep(seconds)
    return _cut(Response(status=200, content_type="application/json"), b"{}")


def _timeout_after(response: Response, seconds: float) -> Response:
    time.sleep(seconds)
    return _cut(response, response.get_data())


def _cut(response: Response, body: bytes) -> Response:
    """Announces the whole body, sends half of it, and closes the connection."""

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]

    response.response = half()
    response.headers["Content-Length"] = str(len(body))
    return response


def _slow(response: Response, seconds: float) -> Response:
    time.sleep(seconds)
    return response


def _wrong_json(response: Response, _seconds: float) -> Response:
    response.set_data(b'{"unexpected":[true]}')
    return response


def _truncated(response: Response, _seconds: float) -> Response:
    body = response.get_data()
    response.set_data(body[: len(body) // 2])
    return response


def _html(response: Response, _seconds: float) -> Response:
    response.set_data(b"<!doctype html><title>Sign in to this network</title><p>Please accept the terms.")
    response.content_type = "text/html"
    return response


def _tenant_suspended(_seconds: float) -> Response:
    response = jsonify({"message": "tenant account is suspended"})
    response.status_code = 403
    return response


def _customer_missing(_seconds: float) -> Response:
    external_id = (json_object() or {}).get("customer_external_id") or request.path.rpartition("/")[2]
    message = f"Customer with lookup key {external_id} was not found"
    return _refused(not_found(message, lookup_key=external_id))


def _duplicate_key(_seconds: float) -> Response:
    message, key = (
        "An active checkout session with this idempotency key already exists",
        (json_object() or {}).get("idempotency_key"),
    )
    return _refused(Refusal("already_exists", message, idempotency_key=key))


def _refused(refusal: Refusal) -> Response:
    response = jsonify(refusal.body())
    response.status_code = refusal.status
    return response


FAULTS = {
    "down": Fault("503 and an HTML page: a gateway without a server behind it", _down),
    "error_500": Fault("500 without a body", _error_500),
    "environment_unresolved": Fault(
        "500 before anything: the environment is not resolved", _environment_unresolved
    ),
    "tenant_unverified": Fault("500 before anything: the tenant is not verified", _tenant_unverified),
    "rate_limited": Fault("429 with Retry-After (its seconds)", _rate_limited, seconds=1),
    "timeout_before": Fault("the connection is cut, and nothing was done", _timeout_before),
    "timeout_after": Fault("it is done, but the answer is lost", after=_timeout_after),
    "aborted": Fault("half is done: the caller hung up, and the work stopped there", after=_timeout_after),
    "slow": Fault("the right answer, late", after=_slow, seconds=3),
    "wrong_json": Fault("done, but the answer is JSON of another shape", after=_wrong_json),
    "truncated": Fault("done, but the answer ends in the middle", after=_truncated),
    "html": Fault("200 and the page of a Wi-Fi portal", after=_html),
    REPLICA_LAG: Fault("reads, and messages, run behind by some seconds", seconds=overrides.DEFAULT_LAG_S),
    "customer_missing": Fault("404: the customer is not known", _customer_missing),
    "tenant_suspended": Fault("403: the tenant is suspended", _tenant_suspended),
    "duplicate_key": Fault("409: a session with this key is open", _duplicate_key),
}

CREATE = ("POST", "/v1/checkout/sessions")
# Where a fault strikes when the call does not say: those that make no sense elsewhere.
DEFAULT_PLACES: dict[str, tuple[str | None, str]] = {
    "aborted": CREATE,
    "tenant_unverified": CREATE,
    "customer_missing": CREATE,
    "tenant_suspended": CREATE,
    "duplicate_key": CREATE,
}


def register(app: Flask) -> None:
    app.before_request(_before)
    app.after_request(_after)


def _before() -> Response | None:
    if not request.path.startswith("/v1/"):
        return None
    caller = auth.caller(request.headers.get("x-api-key", ""))
    g.store = caller.store if caller else auth.DEFAULT_STORE
    arranged = _next()
    if arranged is None:
        return None
    request.get_data()  # a server holds the connection while a body is unread
    name, seconds = arranged
    fault, g.fault = FAULTS[name], name
    if name == REPLICA_LAG:
        g.lag = timedelta(seconds=seconds)
    if fault.before:
        return fault.before(seconds)
    g.spoil = (fault.after, seconds)
    return None


def _next() -> tuple[str, float] | None:
    """The fault that fits this call and its seconds, used up by one."""
    view = auth.database().view(g.store)
    if view is None or not view.has_overrides:
        return None
    with auth.database().write(g.store) as session:
        found = _take(session)
        if found is None:
            return None
        seconds = FAULTS[found.name].seconds if found.seconds is None else found.seconds
        return found.name, seconds


def _take(session: Session) -> Override | None:
    starts = func.substr(literal(request.path), 1, func.length(Override.path)) == Override.path
    fits = [
        or_(Override.method.is_(None), Override.method == request.method),
        or_(Override.path.is_(None), starts),
    ]
    if not auth.is_read():
        fits.append(Override.name != REPLICA_LAG)
    return overrides.take(session, "fault", overrides.subject_named(session, _subject()), *fits)


def _subject() -> str:
    """The id this call is about: in its path, or its customer in its body."""
    named = re.search(r"/(?:external/([^/]+)|((?:cs|cust|subs|inv|pay|refund)_\w+))", request.path)
    if named:
        return str(named[1] or named[2])
    body = json_object() or {}
    fields = ("customer_external_id", "external_customer_id", "external_id", "customer_id")
    return next((body[name] for name in fields if isinstance(body.get(name), str)), "").replace("\x00", "")


def _after(response: Response) -> Response:
    spoil, seconds = g.pop("spoil", (None, 0.0))
    return spoil(response, seconds) if spoil else response
