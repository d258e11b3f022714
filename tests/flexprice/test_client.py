"""The client against pretended answers (contract A and B), and against real sockets that misbehave."""

from __future__ import annotations

import ast
import json
import logging
import pickle
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
import requests
import responses
from flexprice_samples import INVOICE, PAYMENT, PLAN, REFUND, SESSION, SUBSCRIPTION
from responses import matchers

from storefront.flexprice import (
    AlreadyExists,
    Client,
    CustomerMissing,
    FlexpriceError,
    NeverSent,
    NoAnswer,
    NotAllowed,
    NotFound,
    Refused,
    RouteMissing,
    SessionAlreadyOpen,
    SessionRequest,
    Unavailable,
)
from storefront.flexprice import client as module

URL = "https://flexprice.test/v1"
KEY = "sk_test_key"
ORDER = SessionRequest(
    "user-42", "plan_01", "inr", "MONTHLY", "ord_1001", "https://s", "https://f", "https://c"
)
CUSTOMER = {"id": "cust_01", "external_id": "user-42", "name": "Asha Rao", "email": "asha@example.test"}
OUR_HEADERS = matchers.header_matcher({"x-api-key": KEY, "Accept": "application/json"})


@pytest.fixture
def vendor():
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        yield mock


@pytest.fixture
def client():
    return Client(URL + "/", KEY)


def page(items, total=None, offset=50):
    total = len(items) if total is None else total
    return {"items": items, "pagination": {"total": total, "limit": 50, "offset": offset}}


def test_creating_a_session_sends_the_order_and_waits_long(vendor, client):
    match = [OUR_HEADERS, matchers.json_params_matcher(ORDER.to_json())]
    vendor.post(f"{URL}/checkout/sessions", json=SESSION, status=201, match=match)
    assert client.create_session(ORDER).payment_url == "https://rzp.io/rzp/AbC123"
    assert vendor.calls[0].request.req_kwargs["timeout"] == (2.0, 25.0)


def test_reading_a_session_waits_as_long_as_asked(vendor, client):
    vendor.get(f"{URL}/checkout/sessions/cs_01", json=SESSION, match=[OUR_HEADERS])
    assert client.get_session("cs_01", patience=1.5).id == "cs_01"
    assert vendor.calls[0].request.req_kwargs["timeout"] == (2.0, 1.5)


def test_the_environment_is_sent_when_there_is_one_and_never_a_bearer_key(vendor):
    vendor.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY, "env_01").get_payment("pay_01")
    sent = vendor.calls[0].request.headers
    assert sent["X-Environment-ID"] == "env_01"
    assert "Authorization" not in sent


def test_no_environment_is_sent_when_there_is_none(vendor, client):
    vendor.get(f"{URL}/payments/pay_01", json=PAYMENT)
    client.get_payment("pay_01")
    assert "X-Environment-ID" not in vendor.calls[0].request.headers


@pytest.mark.parametrize("key", ["", "two words", "line\n", "clé"])
def test_a_key_that_cannot_be_a_header_is_refused_at_once(key):
    with pytest.raises(ValueError, match="API key"):
        Client(URL, key)


def test_each_object_has_its_call(vendor, client):
    vendor.get(f"{URL}/customers/external/user-42", json=CUSTOMER, match=[OUR_HEADERS])
    vendor.post(f"{URL}/checkout/sessions/cs_01/cancel", json=SESSION | {"terminal": True})
    vendor.get(f"{URL}/subscriptions/subs_01", json=SUBSCRIPTION)
    vendor.get(f"{URL}/invoices/inv_01", json=INVOICE)
    vendor.get(f"{URL}/payments/pay_01", json=PAYMENT)
    assert client.find_customer("user-42").id == "cust_01"
    assert client.cancel_session("cs_01").terminal
    assert client.get_subscription("subs_01").status == "active"
    assert client.get_invoice("inv_01").paid
    assert client.get_payment("pay_01").amount == Decimal(499)


def test_creating_a_customer_sends_its_three_fields(vendor, client):
    body = {"external_id": "user-42", "name": "Asha Rao", "email": "asha@example.test"}
    vendor.post(f"{URL}/customers", json=CUSTOMER, status=201, match=[matchers.json_params_matcher(body)])
    assert client.create_customer(**body).external_id == "user-42"


def test_ids_are_quoted_into_the_path(vendor, client):
    vendor.get(f"{URL}/customers/external/a%2Fb%3Fc%20%C3%A9", json=CUSTOMER)
    client.find_customer("a/b?c é")


@pytest.mark.parametrize("part", ["", ".", ".."])
def test_an_id_that_would_name_another_route_is_refused(client, part):
    with pytest.raises(ValueError, match="path"):
        client.get_session(part)


def test_plans_come_from_all_pages_in_display_order(vendor, client):
    def query(offset):
        body = {
            "status": "published",
            "expand": "prices,entitlements,features",
            "sort": [{"field": "display_order", "direction": "asc"}],
            "limit": 100,
            "offset": offset,
        }
        return [OUR_HEADERS, matchers.json_params_matcher(body)]

    plans = [PLAN | {"id": f"plan_{n}", "display_order": 9 - n} for n in range(3)]
    vendor.post(f"{URL}/plans/search", json=page(plans[:2], 3, 777), match=query(0))
    vendor.post(f"{URL}/plans/search", json=page(plans[2:], 3, 0), match=query(2))
    assert [plan.id for plan in client.search_plans()] == ["plan_2", "plan_1", "plan_0"]


def test_a_row_shown_on_two_pages_is_counted_once(vendor, client):
    vendor.post(f"{URL}/plans/search", json=page([PLAN], 2))
    vendor.post(f"{URL}/plans/search", json=page([PLAN], 2))
    assert len(client.search_plans()) == 1


@pytest.mark.parametrize("items", [[], None])
def test_an_empty_page_ends_the_list(vendor, client, items):
    vendor.post(f"{URL}/plans/search", json={"items": items, "pagination": {"total": 5}})
    assert client.search_plans() == []


def test_a_list_without_end_is_given_up(vendor, client, monkeypatch):
    monkeypatch.setattr(module, "MOST_PAGES", 3)
    numbers = count()

    def endless(_request):
        return 200, {}, json.dumps(page([PLAN | {"id": f"plan_{next(numbers)}"}], 10**9))

    vendor.add_callback(responses.POST, f"{URL}/plans/search", endless)
    with pytest.raises(Unavailable) as caught:
        client.search_plans()
    assert caught.value.retryable
    assert len(vendor.calls) == 3


@pytest.mark.parametrize(
    "body", [{}, [], {"items": {}}, {"items": [1], "pagination": {"total": 1}}, {"items": []}]
)
def test_a_list_in_another_shape_is_unreadable(vendor, client, body):
    vendor.post(f"{URL}/plans/search", json=body)
    with pytest.raises(Unavailable) as caught:
        client.search_plans()
    assert caught.value.code == "unreadable"


def test_subscriptions_are_searched_with_their_statuses(vendor, client):
    body = {
        "external_customer_id": "user-42",
        "subscription_status": ["draft", "active"],
        "limit": 100,
        "offset": 0,
    }
    vendor.post(
        f"{URL}/subscriptions/search", json=page([SUBSCRIPTION]), match=[matchers.json_params_matcher(body)]
    )
    found = client.search_subscriptions("user-42", ("draft", "active"))
    assert [subscription.metadata["order_ref"] for subscription in found] == ["ord_1001"]


def test_refunds_are_asked_for_by_payment(vendor, client):
    query = matchers.query_param_matcher({"payment_ids": "pay_01", "limit": 100, "offset": 0})
    vendor.get(f"{URL}/refunds", json=page([REFUND]), match=[query])
    assert [refund.status for refund in client.refunds_of("pay_01")] == ["SUCCEEDED"]


SESSIONS = ("POST", "/checkout/sessions", lambda client: client.create_session(ORDER))
CUSTOMERS = ("POST", "/customers", lambda client: client.create_customer("user-42", "A", "a@b.test"))
LOOKUP = ("GET", "/customers/external/user-42", lambda client: client.find_customer("user-42"))
CANCEL = ("POST", "/checkout/sessions/cs_01/cancel", lambda client: client.cancel_session("cs_01"))
READ = ("GET", "/checkout/sessions/cs_01", lambda client: client.get_session("cs_01"))


def envelope(status, code, message, **details):
    return {"code": code, "message": message, "http_status_code": status, "details": details}


# Shapes: contract A.1. Codes: A.2. Messages: B and C.4.
FAILURES = [
    (READ, 401, {"error": "Unauthorized"}, NotAllowed, "Unauthorized"),
    (READ, 401, {"error": "Invalid token"}, NotAllowed, "Invalid token"),
    (
        READ,
        403,
        {"error": "Access denied", "message": "Invalid environment"},
        NotAllowed,
        "Invalid environment",
    ),
    (SESSIONS, 403, {"message": "insufficient permissions"}, NotAllowed, "insufficient permissions"),
    (CANCEL, 404, "404 page not found", RouteMissing, "404 page not found"),
    (READ, 404, "", RouteMissing, "an answer without text"),
    (
        READ,
        404,
        envelope(404, "not_found", "checkout session cs_01 not found", id="cs_01"),
        NotFound,
        "checkout",
    ),
    (
        LOOKUP,
        404,
        envelope(404, "not_found", "Customer with lookup key x was not found", lookup_key="x"),
        CustomerMissing,
        "Customer",
    ),
    (SESSIONS, 404, {"message": "Customer with lookup key x was not found"}, CustomerMissing, "Customer"),
    (
        SESSIONS,
        404,
        envelope(404, "not_found", "Plan with ID x was not found", plan_id="x"),
        NotFound,
        "Plan",
    ),
    (
        SESSIONS,
        409,
        envelope(409, "already_exists", "An active checkout session"),
        SessionAlreadyOpen,
        "An active",
    ),
    (CUSTOMERS, 409, envelope(409, "already_exists", "A customer"), AlreadyExists, "A customer"),
    (
        CUSTOMERS,
        400,
        {"message": "A customer with this identifier already exists"},
        AlreadyExists,
        "A customer",
    ),
    (CUSTOMERS, 400, envelope(400, "validation_error", "Request validation failed"), Refused, "Request"),
    (
        SESSIONS,
        400,
        envelope(400, "validation_error", "An unexpected error occurred"),
        Refused,
        "An unexpected",
    ),
    (CANCEL, 400, envelope(400, "invalid_operation", "already terminal"), Refused, "already"),
    (READ, 418, "<html>", Refused, "<html>"),
    (READ, 429, envelope(429, "too_many_requests", "slow down"), Unavailable, "slow down"),
    (SESSIONS, 500, envelope(500, "internal_error", "Unable to connect"), Unavailable, "Unable"),
    (SESSIONS, 500, "", Unavailable, "an answer without text"),
    (SESSIONS, 502, "<html>Bad gateway</html>", Unavailable, "<html>Bad"),
    (READ, 500, {"error": "Internal server error", "message": "Failed to resolve"}, Unavailable, "Failed"),
    (READ, 503, {"success": False, "error": {"message": "down", "internal_error": "x"}}, Unavailable, "down"),
    (READ, 500, {"code": 7, "message": ["x"], "details": "y"}, Unavailable, "{"),
    (READ, 500, "[" * 100_000, Unavailable, "[["),
    (READ, 500, b"\xff\xfe", Unavailable, "\ufffd"),
    (READ, 302, "", Unavailable, "an answer without text"),
]


@pytest.mark.parametrize(("call", "status", "body", "kind", "message"), FAILURES, ids=count())
def test_every_shape_of_refusal_becomes_its_own_error(vendor, client, call, status, body, kind, message):
    method, path, run = call
    content = {"json": body} if isinstance(body, dict) else {"body": body, "content_type": "text/plain"}
    vendor.add(method, URL + path, status=status, headers={"X-Request-ID": "01REQ"}, **content)
    with pytest.raises(FlexpriceError) as caught:
        run(client)
    error = caught.value
    assert type(error) is kind
    assert error.message.startswith(message)
    assert (error.status, error.request_id, error.answered) == (status, "01REQ", True)
    assert error.retryable is (kind is Unavailable)


def test_the_text_of_an_error_is_one_printable_line(vendor, client):
    body = {"code": "x\ny", "message": "one\r\ntwo\x00\ud800"}
    vendor.get(f"{URL}/payments/x", json=body, status=500)
    with pytest.raises(Unavailable) as caught:
        client.get_payment("x")
    assert str(caught.value) == "500 x y one  two  "


def test_an_error_keeps_code_and_details(vendor, client):
    body = envelope(409, "already_exists", "An active session", idempotency_key="ord_1001")
    vendor.post(f"{URL}/checkout/sessions", json=body, status=409)
    with pytest.raises(SessionAlreadyOpen) as caught:
        client.create_session(ORDER)
    assert (caught.value.code, caught.value.details) == ("already_exists", {"idempotency_key": "ord_1001"})
    assert str(pickle.loads(pickle.dumps(caught.value))) == "409 already_exists An active session"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("nan", None),
        ("inf", None),
        ("-1", None),
        ("soon", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms_or_not_at_all(vendor, client, header, seconds):
    vendor.get(f"{URL}/payments/x", status=503, headers={"Retry-After": header} if header else {})
    with pytest.raises(Unavailable) as caught:
        client.get_payment("x")
    assert caught.value.retry_after == seconds


UNREADABLE = [b"", b"<html>", b'{"id": "cs_', b"\xff", b"[]", b"{}", b"null", b"[" * 100_000, b'{"id": NaN}']


@pytest.mark.parametrize("body", UNREADABLE, ids=count())
def test_an_unreadable_success_leaves_the_outcome_of_a_write_unknown(vendor, client, body):
    vendor.post(f"{URL}/checkout/sessions", body=body, status=201)
    with pytest.raises(NoAnswer) as caught:
        client.create_session(ORDER)
    assert (caught.value.retryable, caught.value.answered, caught.value.status) == (False, False, 201)


@pytest.mark.parametrize("body", UNREADABLE, ids=count())
def test_an_unreadable_success_of_a_read_may_be_asked_for_again(vendor, client, body):
    vendor.get(f"{URL}/checkout/sessions/cs_01", body=body)
    with pytest.raises(Unavailable) as caught:
        client.get_session("cs_01")
    assert caught.value.retryable


def test_an_answer_without_end_is_cut_off(vendor, client, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_ANSWER", 50_000)
    vendor.post(f"{URL}/checkout/sessions", body=json.dumps(SESSION) + " " * 200_000, status=201)
    with pytest.raises(NoAnswer):
        client.create_session(ORDER)


def test_a_redirect_is_not_followed(vendor, client):
    vendor.get(f"{URL}/payments/x", status=307, headers={"Location": "https://elsewhere.test/"})
    with pytest.raises(Unavailable):
        client.get_payment("x")
    assert len(vendor.calls) == 1


def test_one_sentence_is_logged_per_call_without_key_or_body(vendor, client, caplog):
    caplog.set_level(logging.DEBUG, logger="storefront.flexprice")
    vendor.post(f"{URL}/checkout/sessions", json=SESSION, status=201, headers={"X-Request-ID": "01REQ"})
    client.create_session(ORDER)
    (record,) = [record for record in caplog.records if record.name.startswith("storefront.flexprice")]
    text = record.getMessage()
    assert text.startswith("Flexprice answered POST /checkout/sessions with 201 in")
    assert "01REQ" in text
    assert KEY not in text
    assert "rzp.io" not in text


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectTimeout("x"), NeverSent),
        (requests.exceptions.InvalidURL("x"), NeverSent),
        (requests.ReadTimeout("x"), NoAnswer),
        (requests.ConnectionError("reset"), NoAnswer),
        (requests.exceptions.ChunkedEncodingError("x"), NoAnswer),
        (requests.exceptions.ContentDecodingError("x"), NoAnswer),
    ],
)
def test_a_broken_connection_tells_whether_the_request_left(vendor, client, error, kind):
    vendor.post(f"{URL}/checkout/sessions", body=error)
    with pytest.raises(FlexpriceError) as caught:
        client.create_session(ORDER)
    assert type(caught.value) is kind
    assert caught.value.answered is False
    assert caught.value.retryable is (kind is NeverSent)


# -- real sockets


def serve(behave):
    """Answer one connection on loopback with `behave`; give the base URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        with listener:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                behave(connection)

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def truncate(connection):
    connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"id":')


def stay_silent(_connection):
    time.sleep(0.6)


def talk_nonsense(connection):
    connection.sendall(b"\x00\x01 this is not HTTP\r\n\r\n")


@pytest.mark.parametrize("behave", [reset, truncate, stay_silent, talk_nonsense, lambda _connection: None])
def test_a_request_that_was_taken_but_not_answered_is_unknown(behave, monkeypatch):
    monkeypatch.setattr(module, "CREATE_TIMEOUT", 0.2)
    with pytest.raises(NoAnswer) as caught:
        Client(serve(behave), KEY).create_session(ORDER)
    assert caught.value.retryable is False


def test_a_lost_answer_is_unknown_even_while_an_older_failure_is_handled():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    try:
        Client(f"http://127.0.0.1:{port}/v1", KEY).create_session(ORDER)
    except NeverSent:
        with pytest.raises(NoAnswer):
            Client(serve(reset), KEY).create_session(ORDER)


def test_a_read_that_was_not_answered_may_be_asked_again():
    with pytest.raises(NoAnswer) as caught:
        Client(serve(stay_silent), KEY).get_session("cs_01", patience=0.1)
    assert caught.value.retryable


def test_a_refused_connection_was_never_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NeverSent):
        Client(f"http://127.0.0.1:{port}/v1", KEY).create_session(ORDER)


def test_an_unknown_host_was_never_sent():
    with pytest.raises(NeverSent):
        Client("http://shop.invalid/v1", KEY).create_session(ORDER)


def trickle(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(40):
        connection.sendall(b"1\r\n \r\n")
        time.sleep(0.05)


def test_an_answer_that_trickles_is_given_up():
    started = time.monotonic()
    with pytest.raises(NoAnswer):
        Client(serve(trickle), KEY).get_session("cs_01", patience=0.2)
    assert time.monotonic() - started < 1.5


def test_one_client_serves_many_threads(vendor, client):
    vendor.get(f"{URL}/payments/pay_01", json=PAYMENT)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.get_payment("pay_01").id, range(200)))
    assert found == ["pay_01"] * 200


def test_cookies_of_the_vendor_are_not_kept():
    def answer(connection):
        body = json.dumps(PAYMENT).encode()
        head = f"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    client = Client(serve(answer), KEY)
    client.get_payment("pay_01")
    assert not client._session.cookies


def test_the_proxy_and_the_certificates_are_those_of_the_environment(vendor, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/of-the-house.pem")
    vendor.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY).get_payment("pay_01")
    sent = vendor.calls[0].request.req_kwargs
    assert (sent["proxies"]["https"], sent["verify"]) == (
        "http://proxy.test:3128",
        "/etc/ssl/of-the-house.pem",
    )


def test_a_host_the_environment_excepts_is_asked_without_the_proxy(vendor, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "flexprice.test")
    vendor.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY).get_payment("pay_01")
    assert vendor.calls[0].request.req_kwargs["proxies"] == {}


def test_a_password_kept_for_the_host_is_not_sent(vendor, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine flexprice.test login asha password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    vendor.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY).get_payment("pay_01")
    assert "Authorization" not in vendor.calls[0].request.headers


def test_the_client_imports_only_what_it_may():
    allowed = {*sys.stdlib_module_names, "requests", "standardwebhooks"}
    for source in Path(module.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed
            assert not isinstance(node, ast.ImportFrom) or node.level <= 1
