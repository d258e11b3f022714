"""From an answer that is no success, or from none, to its exception."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
import requests

from storefront.flexprice import (
    APITimeout,
    AuthenticationError,
    CheckoutSessionRequest,
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
    _transport,
)
from tests.unit.flexprice.samples import KEY, SESSION, URL

REQUEST = CheckoutSessionRequest(
    "user-42", "plan_01", "inr", "MONTHLY", "ord_1001", "https://s", "https://f", "https://c"
)
SESSIONS = ("POST", "/checkout/sessions", lambda client: client.create_checkout_session(REQUEST))
CUSTOMERS = ("POST", "/customers", lambda client: client.create_customer("user-42", "A", "a@b.test"))
LOOKUP = ("GET", "/customers/external/user-42", lambda client: client.get_customer_by_external_id("user-42"))
CUSTOMER = ("GET", "/customers/cust_01", lambda client: client.get_customer("cust_01"))
CANCEL = ("POST", "/checkout/sessions/cs_01/cancel", lambda client: client.cancel_checkout_session("cs_01"))
READ = ("GET", "/checkout/sessions/cs_01", lambda client: client.get_checkout_session("cs_01"))
SEARCH = ("POST", "/subscriptions/search", lambda client: client.list_subscriptions("user-42", ["active"]))
CALLS = {"create": SESSIONS, "customer": CUSTOMERS, "cancel": CANCEL, "read": READ, "search": SEARCH}


def envelope(status, code, message, **details):
    return {"code": code, "message": message, "http_status_code": status, "details": details}


# Shapes, codes and messages: docs/flexprice-contract.md, sections A, B, C and G.
FAILURES = [
    (READ, 401, {"error": "Unauthorized"}, AuthenticationError, "Unauthorized"),
    (READ, 401, {"error": "Invalid token"}, AuthenticationError, "Invalid token"),
    (READ, 403, {"error": "Access denied", "message": "Invalid env"}, AuthenticationError, "Invalid env"),
    (SESSIONS, 403, {"message": "insufficient permissions"}, AuthenticationError, "insufficient permissions"),
    (CANCEL, 404, "404 page not found", RouteNotFound, "404 page not found"),
    (READ, 404, "", RouteNotFound, "an answer without text"),
    (
        READ,
        404,
        envelope(404, "not_found", "checkout session cs_01 not found", id="cs_01"),
        NotFound,
        "check",
    ),
    (
        LOOKUP,
        404,
        envelope(404, "not_found", "Customer with lookup key x was not found", lookup_key="x"),
        CustomerNotFound,
        "Customer",
    ),
    (
        CUSTOMER,
        404,
        envelope(404, "not_found", "Customer with ID x was not found", customer_id="x"),
        CustomerNotFound,
        "Customer",
    ),
    (SESSIONS, 404, {"message": "Customer with lookup key x was not found"}, CustomerNotFound, "Customer"),
    (SEARCH, 404, envelope(404, "not_found", "x", lookup_key="x"), CustomerNotFound, "x"),
    (
        SESSIONS,
        404,
        envelope(404, "not_found", "Plan with ID x was not found", plan_id="x"),
        NotFound,
        "Plan",
    ),
    (SESSIONS, 409, envelope(409, "already_exists", "An active checkout session"), Conflict, "An active"),
    (CUSTOMERS, 409, envelope(409, "already_exists", "A customer"), Conflict, "A customer"),
    (CUSTOMERS, 400, {"message": "A customer with this identifier already exists"}, Conflict, "A customer"),
    (CUSTOMERS, 400, envelope(400, "validation_error", "Request validation failed"), InvalidRequest, "Req"),
    (SESSIONS, 400, envelope(400, "validation_error", "An unexpected error"), InvalidRequest, "An unexp"),
    (SESSIONS, 400, envelope(400, "validation_error", "It already exists"), InvalidRequest, "It already"),
    (CANCEL, 400, envelope(400, "invalid_operation", "already terminal"), InvalidRequest, "already"),
    (
        SESSIONS,
        400,
        envelope(
            400, "validation_error", "Unable to create customer in Razorpay", customer_id="x", error="y"
        ),
        ProviderError,
        "Unable",
    ),
    (
        SESSIONS,
        500,
        envelope(500, "system_error", "Unable to create customer in Razorpay", customer_id="x"),
        ProviderError,
        "Unable",
    ),
    (
        SESSIONS,
        500,
        envelope(500, "internal_error", "Unable to create payment link in Razorpay", error="y"),
        ProviderError,
        "Unable",
    ),
    (SESSIONS, 500, {"message": "Unable to connect to Razorpay"}, ProviderError, "Unable"),
    (READ, 418, "<html>", InvalidRequest, "<html>"),
    (READ, 429, envelope(429, "too_many_requests", "slow down"), ServerError, "slow down"),
    (SESSIONS, 500, envelope(500, "internal_error", "Unable to connect"), ServerError, "Unable"),
    (READ, 500, {"message": "Unable to reach Razorpay"}, ServerError, "Unable"),
    (SESSIONS, 500, "", ServerError, "an answer without text"),
    (SESSIONS, 502, "<html>Bad gateway</html>", ServerError, "<html>Bad"),
    (READ, 500, {"error": "Internal server error", "message": "Failed"}, ServerError, "Failed"),
    (READ, 503, {"success": False, "error": {"message": "down", "internal_error": "x"}}, ServerError, "down"),
    (READ, 500, {"code": 7, "message": ["x"], "details": "y"}, ServerError, "{"),
    (READ, 500, "[" * 100_000, ServerError, "[["),
    (READ, 500, b"\xff\xfe", ServerError, "\ufffd"),
    (READ, 302, "", ServerError, "an answer without text"),
]


@pytest.mark.parametrize(("call", "status", "body", "kind", "message"), FAILURES, ids=count())
def test_every_refusal_has_its_class(server, client, call, status, body, kind, message):
    method, path, run = call
    content = {"json": body} if isinstance(body, dict) else {"body": body, "content_type": "text/plain"}
    server.add(method, URL + path, status=status, headers={"X-Request-ID": "01REQ"}, **content)
    with pytest.raises(FlexpriceError) as caught:
        run(client)
    error = caught.value
    assert type(error) is kind
    assert error.message.startswith(message)
    assert (error.status, error.request_id) == (status, "01REQ")
    assert error.retryable is issubclass(kind, ServerError)


def test_the_message_is_one_printable_line(server, client):
    body = {"code": "x\ny", "message": "one\r\ntwo\x00\ud800"}
    server.get(f"{URL}/payments/x", json=body, status=500)
    with pytest.raises(ServerError) as caught:
        client.get_payment("x")
    assert str(caught.value) == "500 x y one  two  "


def test_an_error_keeps_code_and_details(server, client):
    body = envelope(409, "already_exists", "An active session", idempotency_key="ord_1001")
    server.post(f"{URL}/checkout/sessions", json=body, status=409)
    with pytest.raises(Conflict) as caught:
        client.create_checkout_session(REQUEST)
    assert (caught.value.code, caught.value.details) == ("already_exists", {"idempotency_key": "ord_1001"})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("nan", None),
        ("inf", None),
        ("1e300", None),
        ("-1", None),
        ("soon", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(server, client, header, seconds):
    server.get(f"{URL}/payments/x", status=503, headers={"Retry-After": header} if header else {})
    with pytest.raises(ServerError) as caught:
        client.get_payment("x")
    assert caught.value.retry_after == (None if seconds is None else timedelta(seconds=seconds))


UNREADABLE = [b"", b"<html>", b'{"id": "cs_', b"\xff", b"[]", b"{}", b"null", b"[" * 100_000, b'{"id": NaN}']


@pytest.mark.parametrize("body", UNREADABLE, ids=count())
@pytest.mark.parametrize("name", CALLS)
def test_only_an_unreadable_read_is_retryable(server, client, name, body):
    method, path, run = CALLS[name]
    server.add(method, URL + path, body=body)
    with pytest.raises(UnreadableResponse) as caught:
        run(client)
    assert isinstance(caught.value, NoAnswer)
    assert (caught.value.retryable, caught.value.status) == (name in ("read", "search"), 200)


def test_an_answer_too_large_is_cut_off(server, client, monkeypatch):
    monkeypatch.setattr(_transport, "MAX_ANSWER_BYTES", 50_000)
    server.post(f"{URL}/checkout/sessions", body=b'{"id": "cs_01"}' + b" " * 200_000, status=201)
    with pytest.raises(NoAnswer):
        client.create_checkout_session(REQUEST)


def test_a_redirect_is_not_followed(server, client):
    server.get(f"{URL}/payments/x", status=307, headers={"Location": "https://elsewhere.test/"})
    with pytest.raises(ServerError):
        client.get_payment("x")
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectTimeout("x"), NotSent),
        (requests.exceptions.ProxyError("x"), NotSent),
        (requests.exceptions.InvalidURL("x"), NotSent),
        (requests.ReadTimeout("x"), APITimeout),
        (requests.ConnectionError("reset"), NoAnswer),
        (requests.exceptions.ChunkedEncodingError("x"), NoAnswer),
        (requests.exceptions.ContentDecodingError("x"), NoAnswer),
    ],
)
@pytest.mark.parametrize("name", CALLS)
def test_a_broken_connection_has_its_class(server, client, name, error, kind):
    method, path, run = CALLS[name]
    server.add(method, URL + path, body=error)
    with pytest.raises(FlexpriceError) as caught:
        run(client)
    assert type(caught.value) is kind
    assert caught.value.status == 0
    assert caught.value.retryable is (kind is NotSent or name in ("read", "search"))


def test_an_error_never_holds_the_key(server, client):
    server.post(f"{URL}/checkout/sessions", json=SESSION, status=500)
    with pytest.raises(ServerError) as caught:
        client.create_checkout_session(REQUEST)
    assert KEY not in repr(vars(caught.value))
