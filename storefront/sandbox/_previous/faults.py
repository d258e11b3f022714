"""Bad days on request: calls to the API go wrong in a way that was asked for."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flask import Flask, Response, g, jsonify, request
from sqlalchemy import func, or_

from storefront.sandbox._previous import journal, levers
from storefront.sandbox._previous.door import is_read, number_request, show_number
from storefront.sandbox._previous.errors import Refusal, not_found
from storefront.sandbox._previous.store import LAG, current_store

A = levers.A


class Fault(NamedTuple):
    says: str
    before: Callable[[float], Response] | None = None  # answers instead of the API
    after: Callable[[Response, float], Response] | None = None  # spoils what the API answered
    seconds: float = 0.0  # unless something else was asked for


def _down(_seconds: float) -> Response:
    return Response("<html><body>503 Service Unavailable</body></html>", status=503)


def _error_500(_seconds: float) -> Response:
    return Response("", status=500)  # a panic: no body at all (contract A.1)


def _environment_unresolved(_seconds: float) -> Response:
    return _error_of_the_door(error="Internal server error", message="Failed to resolve environment")


def _tenant_unverified(_seconds: float) -> Response:
    return _error_of_the_door(message="failed to verify tenant access")


def _error_of_the_door(**body: str) -> Response:
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
    """Promises the whole body, sends half of it, and hangs up."""

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


def _customer_missing(_seconds: float) -> Response:
    external_id = _asked().get("customer_external_id") or request.path.rpartition("/")[2]
    message = f"Customer with lookup key {external_id} was not found"
    return _refused(not_found(message, lookup_key=external_id))


def _duplicate_key(_seconds: float) -> Response:
    message = "An active checkout session with this idempotency key already exists"
    return _refused(Refusal("already_exists", message, idempotency_key=_asked().get("idempotency_key")))


def _refused(refusal: Refusal) -> Response:
    response, status = refusal.response()
    response.status_code = status
    return response


FAULTS = {
    "down": Fault("503 and an HTML page: a gateway without a server behind it", _down),
    "error_500": Fault("500 without a body", _error_500),
    "environment_unresolved": Fault("500 before anything: which environment?", _environment_unresolved),
    "tenant_unverified": Fault("500 before anything: may this tenant write?", _tenant_unverified),
    "rate_limited": Fault("429 with Retry-After (its seconds)", _rate_limited, seconds=1),
    "timeout_before": Fault("the line is cut, and nothing was done", _timeout_before),
    "timeout_after": Fault("it is done, but the answer is lost", after=_timeout_after),
    "aborted": Fault("half is done: the caller hung up, and the work stopped there", after=_timeout_after),
    "slow": Fault("the right answer, late", after=_slow, seconds=3),
    "wrong_json": Fault("done, but the answer is JSON of another shape", after=_wrong_json),
    "truncated": Fault("done, but the answer ends in the middle", after=_truncated),
    "html": Fault("200 and the page of a Wi-Fi portal", after=_html),
    LAG: Fault("reads, and messages made from them, run behind by some seconds", seconds=levers.LAG_SECONDS),
    "customer_missing": Fault("404: the customer is not known", _customer_missing),
    "duplicate_key": Fault("409: a session with this key is open", _duplicate_key),
}

# Where a fault strikes when nobody says: those that make no sense elsewhere know their place.
PLACES: dict[str, tuple[str | None, str]] = {
    "aborted": ("POST", "/v1/checkout/sessions"),
    "tenant_unverified": ("POST", "/v1/checkout/sessions"),
    "customer_missing": ("POST", "/v1/checkout/sessions"),
    "duplicate_key": ("POST", "/v1/checkout/sessions"),
}


def register(app: Flask) -> None:
    app.before_request(number_request)
    app.before_request(_before)
    # Run in the opposite order: the number is on the answer before it is spoilt, and the journal sees all.
    app.after_request(_after)
    app.after_request(show_number)
    journal.register(app)


def _next() -> Any:
    """The fault that fits this call, used up by one."""
    with current_store().reading() as conn:
        if not levers.any_arranged(conn, "fault"):
            return None
    fits = [
        or_(A.method.is_(None), A.method == request.method),
        or_(A.path.is_(None), func.substr(request.path, 1, func.length(A.path)) == A.path),
    ]
    if not is_read():
        fits.append(A.name != LAG)
    with current_store().writing() as conn:
        return levers.take(conn, "fault", levers.known_as(conn, _whom()), *fits)


def _whom() -> str:
    """The id this call is about: in its path, or its customer in its body."""
    named = re.search(r"/(?:external/([^/]+)|((?:cs|cust|subs|inv|pay|refund)_\w+))", request.path)
    asked = _asked()
    fields = ("customer_external_id", "external_customer_id", "external_id", "customer_id")
    told = next((asked[name] for name in fields if isinstance(asked.get(name), str)), "")
    return (named[1] or named[2]) if named else told


def _asked() -> dict[str, Any]:
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:
        body = None
    return body if isinstance(body, dict) else {}


def _before() -> Response | None:
    arranged = _next() if request.path.startswith("/v1/") else None
    if arranged is None:
        return None
    request.get_data()  # a server holds the line while a body is unread
    fault = FAULTS[arranged.name]
    seconds = fault.seconds if arranged.seconds is None else arranged.seconds
    g.fault = arranged.name
    if arranged.name == LAG:
        g.lag = seconds
    if fault.before:
        return fault.before(seconds)
    g.spoil = (fault.after, seconds)
    return None


def _after(response: Response) -> Response:
    spoil, seconds = g.pop("spoil", (None, 0.0))
    return spoil(response, seconds) if spoil else response
