"""One exchange: hooks, logs, proxies, the number of calls at once, and real sockets that misbehave."""

from __future__ import annotations

import ast
import gzip
import json
import logging
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from storefront import flexprice
from storefront.flexprice import (
    ApiResponse,
    APITimeout,
    CheckoutSessionRequest,
    Client,
    NoAnswer,
    NotSent,
    ServerError,
    is_loopback,
)
from tests.unit.flexprice.samples import KEY, PAYMENT, SESSION, URL

REQUEST = CheckoutSessionRequest(
    "user-42", "plan_01", "inr", "MONTHLY", "ord_1001", "https://s", "https://f", "https://c"
)
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_by_chance(monkeypatch):
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# -- hooks and logs


def test_request_hooks_see_the_call_and_add_headers(server):
    seen = []

    def name_it(request):
        seen.append((request.method, request.path, request.headers["X-Request-ID"]))
        request.headers["X-Request-ID"] = "ours-1"

    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY, event_hooks={"request": [name_it]}).get_payment("pay_01")
    ((method, path, random_id),) = seen
    assert (method, path, len(random_id)) == ("GET", "/payments/pay_01", 32)
    assert server.calls[0].request.headers["X-Request-ID"] == "ours-1"
    assert server.calls[0].request.headers["x-api-key"] == KEY


def test_response_hooks_see_how_it_went(server):
    seen: list[ApiResponse] = []
    client = Client(URL, KEY, event_hooks={"response": [seen.append]})
    server.get(f"{URL}/payments/pay_01", json=PAYMENT, headers={"X-Request-ID": "01REQ"})
    server.get(f"{URL}/checkout/sessions/cs_01", status=500)
    server.get(f"{URL}/plans/plan_01", body=requests.ReadTimeout("x"))
    client.get_payment("pay_01")
    with pytest.raises(ServerError):
        client.get_checkout_session("cs_01")
    with pytest.raises(APITimeout):
        client.get_plan("plan_01")
    assert [(call.method, call.resource, call.status) for call in seen] == [
        ("GET", "payments", 200),
        ("GET", "checkout", 500),
        ("GET", "plans", 0),
    ]
    assert all(0 <= call.seconds < 5 for call in seen)


def test_every_call_has_a_request_id_of_its_own(server, caplog):
    """Flexprice logs and returns it: a call without an answer can be found there too."""
    caplog.set_level(logging.INFO, logger="storefront.flexprice")
    seen: list[ApiResponse] = []
    client = Client(URL, KEY, event_hooks={"response": [seen.append]})
    server.get(f"{URL}/payments/pay_01", json=PAYMENT, headers={"X-Request-ID": "01REQ"})
    server.get(f"{URL}/plans/plan_01", body=requests.ReadTimeout("x"))
    client.get_payment("pay_01")
    with pytest.raises(APITimeout) as caught:
        client.get_plan("plan_01")
    first, lost = [call.request.headers["X-Request-ID"] for call in server.calls]
    assert first != lost
    assert [call.request_id for call in seen] == ["01REQ", lost]
    assert caught.value.request_id == lost
    assert f"(request {lost})" in caplog.text


def test_a_request_hook_can_stop_the_call(server):
    def refuse(_request):
        raise RuntimeError("in a transaction")

    with pytest.raises(RuntimeError, match="in a transaction"):
        Client(URL, KEY, event_hooks={"request": [refuse]}).get_payment("pay_01")
    assert len(server.calls) == 0


def test_a_response_hook_cannot_lose_the_answer(server, caplog):
    def fail(_response):
        raise RuntimeError("no metrics")

    server.post(f"{URL}/checkout/sessions", json=SESSION, status=201)
    client = Client(URL, KEY, event_hooks={"response": [fail]})
    assert client.create_checkout_session(REQUEST).id == "cs_01"
    assert "no metrics" in caplog.text


def test_an_impossible_header_is_not_sent():
    def break_it(request):
        request.headers["X-Request-ID"] = "two\nlines"

    with pytest.raises(NotSent):
        Client(URL, KEY, event_hooks={"request": [break_it]}).get_payment("pay_01")


def test_one_line_is_logged_without_key_or_body(server, client, caplog):
    caplog.set_level(logging.DEBUG, logger="storefront.flexprice")
    server.post(f"{URL}/checkout/sessions", json=SESSION, status=201, headers={"X-Request-ID": "01REQ"})
    client.create_checkout_session(REQUEST)
    (record,) = [record for record in caplog.records if record.name.startswith("storefront.flexprice")]
    text = record.getMessage()
    assert text.startswith("Flexprice POST /checkout/sessions: 201 (request 01REQ) after ")
    assert record.levelno == logging.INFO
    assert KEY not in text
    assert "rzp.io" not in text


def test_a_read_is_logged_for_debugging_only(server, client, caplog):
    caplog.set_level(logging.INFO, logger="storefront.flexprice")
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    client.get_payment("pay_01")
    assert not caplog.records


# -- proxies, certificates, passwords, cookies


def test_proxy_and_certificates_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/own.pem")
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY).get_payment("pay_01")
    sent = server.calls[0].request.req_kwargs
    assert (sent["proxies"]["https"], sent["verify"]) == ("http://proxy.test:3128", "/etc/ssl/own.pem")


def test_no_proxy_of_the_environment_is_obeyed(server, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "flexprice.test")
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY).get_payment("pay_01")
    assert server.calls[0].request.req_kwargs["proxies"] == {}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8001/v1", True),
        ("http://127.8.9.1/v1", True),
        ("http://[::1]:8001/v1", True),
        ("http://localhost:8001/v1", True),
        ("http://LOCALHOST./v1", True),
        ("http://localhost.example.com/v1", False),
        ("http://128.0.0.1/v1", False),
        ("https://us.api.flexprice.io/v1", False),
        ("http://[::ffff:127.0.0.1]/v1", True),
        ("http://localhost.:8001", True),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://[::ffff:192.0.2.1]/v1", False),
        ("http://[", False),
        ("", False),
        ("not a url", False),
    ],
)
def test_loopback_addresses_are_known(url, expected):
    """Kind: one reader for addresses of this machine, in every spelling."""
    assert is_loopback(url) is expected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_is_never_asked_through_a_proxy(monkeypatch, name, host):
    """Kind: this machine is asked directly."""
    monkeypatch.setenv(name, "http://proxy.invalid:3128")
    with serve(answer_payment) as url, Client(url.replace("127.0.0.1", host), KEY) as client:
        assert client.get_payment("pay_01").id == "pay_01"


def test_a_netrc_password_is_not_sent(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine flexprice.test login asha password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY).get_payment("pay_01")
    assert "Authorization" not in server.calls[0].request.headers


def test_cookies_are_not_kept():
    with serve(answer_payment, times=2, seen=(seen := [])) as url, Client(url, KEY) as client:
        client.get_payment("pay_01")
        client.get_payment("pay_01")
    assert len(seen) == 2
    assert not any(b"cookie" in request.lower() for request in seen)


# -- sessions of one's own


class CountingSession(requests.Session):
    closed = 0

    def close(self):
        self.closed += 1
        super().close()


def test_a_given_session_is_used_and_left_open(server):
    session = CountingSession()
    session.headers["X-Mine"] = "yes"
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    with Client(URL, KEY, session=session) as client:
        client.get_payment("pay_01")
    assert server.calls[0].request.headers["X-Mine"] == "yes"
    assert session.closed == 0
    session.close()


def test_leaving_the_context_closes_connections():
    closed = threading.Event()

    def keep_alive(connection):
        body = json.dumps(PAYMENT).encode()
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.settimeout(10)
        if not connection.recv(65536):
            closed.set()

    with serve(keep_alive) as url:
        with Client(url, KEY) as client:
            client.get_payment("pay_01")
            assert not closed.is_set()
        assert closed.wait(10)


# -- calls at once


class Hanging:
    """A server that takes requests and answers when it is told to."""

    def __init__(self):
        self.taken = threading.Semaphore(0)
        self.end = threading.Event()

    def __call__(self, connection):
        self.taken.release()
        self.end.wait(30)
        answer_payment(connection)


def test_one_call_too_many_is_not_sent():
    hanging, seen = Hanging(), []
    hooks = {"response": [seen.append]}
    with serve(hanging, times=3) as url, Client(url, KEY, max_concurrent=2, event_hooks=hooks) as client:
        with ThreadPoolExecutor(2) as pool:
            under_way = [pool.submit(client.get_payment, "pay_01", timeout=30) for _ in range(2)]
            assert all(hanging.taken.acquire(timeout=10) for _ in under_way)
            started = time.monotonic()
            with pytest.raises(NotSent, match="2 concurrent calls are busy") as caught:
                client.get_payment("pay_01")
            assert time.monotonic() - started < 10  # the others hang for 30 s
            assert (caught.value.retryable, caught.value.status) == (True, 0)
            assert [(call.status, call.seconds) for call in seen] == [(0, 0.0)]
            hanging.end.set()
            assert [call.result().id for call in under_way] == ["pay_01"] * 2
        assert client.get_payment("pay_01").id == "pay_01"


def test_a_failed_call_frees_its_slot(server):
    server.get(f"{URL}/payments/pay_01", body=requests.ReadTimeout("x"))
    server.get(f"{URL}/payments/pay_01", status=500)
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    client = Client(URL, KEY, max_concurrent=1)
    for expected in (APITimeout, ServerError):
        with pytest.raises(expected):
            client.get_payment("pay_01")
    assert client.get_payment("pay_01").id == "pay_01"


def test_one_client_serves_many_threads(server):
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    client = Client(URL, KEY, max_concurrent=8)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.get_payment("pay_01").id, range(200)))
    assert found == ["pay_01"] * 200


# -- real sockets


@contextmanager
def serve(behave, times=1, seen=None):
    """Answer connections on loopback with `behave`; give the base URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection):
        with connection, suppress(OSError):
            request = connection.recv(65536)
            if seen is not None:
                seen.append(request)
            behave(connection)

    def accept():
        for _ in range(times):
            with suppress(OSError):
                connection, _address = listener.accept()
                workers.append(threading.Thread(target=answer, args=(connection,)))
                workers[-1].start()

    workers: list[threading.Thread] = []
    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *workers]:
            thread.join(10)


def answer_payment(connection):
    body = json.dumps(PAYMENT).encode()
    head = f"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(_connection):
    return


def truncate(connection):
    connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"id":')


def stay_silent(_connection):
    time.sleep(0.6)


def talk_nonsense(connection):
    connection.sendall(b"\x00\x01 this is not HTTP\r\n\r\n")


def stop_half_way(connection):
    connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"id":')
    time.sleep(0.6)


def trickle_chunks(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b"1\r\n \r\n")
        time.sleep(0.05)


def trickle_bytes(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (reset, NoAnswer),
        (hang_up, NoAnswer),
        (truncate, NoAnswer),
        (talk_nonsense, NoAnswer),
        (stay_silent, APITimeout),
        (stop_half_way, APITimeout),
    ],
)
def test_a_sent_create_without_answer_is_unknown(behave, kind):
    with serve(behave) as url, Client(url, KEY) as client:
        with pytest.raises(NoAnswer) as caught:
            client.create_checkout_session(REQUEST, timeout=0.2)
        assert type(caught.value) is kind
        assert caught.value.retryable is False


def test_an_older_failure_hides_no_lost_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    try:
        Client(f"http://127.0.0.1:{port}/v1", KEY).create_checkout_session(REQUEST)
    except NotSent:
        with serve(reset) as url, pytest.raises(NoAnswer):
            Client(url, KEY).create_checkout_session(REQUEST)


def test_an_unanswered_read_may_be_repeated():
    with serve(stay_silent) as url, pytest.raises(APITimeout) as caught:
        Client(url, KEY).get_checkout_session("cs_01", timeout=0.1)
    assert caught.value.retryable


def test_a_refused_connection_was_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSent):
        Client(f"http://127.0.0.1:{port}/v1", KEY).create_checkout_session(REQUEST)


def test_an_unknown_host_was_not_sent():
    with pytest.raises(NotSent):
        Client("http://shop.invalid/v1", KEY).create_checkout_session(REQUEST)


def test_an_unreachable_proxy_was_not_sent(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    with pytest.raises(NotSent):
        Client(URL, KEY).create_checkout_session(REQUEST)


@pytest.mark.parametrize("behave", [trickle_chunks, trickle_bytes])
def test_a_trickling_answer_is_given_up(behave):
    with serve(behave) as url, Client(url, KEY, timeout=(0.1, 0.2)) as client:
        started = time.monotonic()
        with pytest.raises(APITimeout):
            client.get_checkout_session("cs_01")
        assert time.monotonic() - started < 20  # the whole answer would take 50 s


def answer_in(encoding, transfer):
    """Answer with a payment, compressed or not, in chunks or with its length."""

    def answer(connection):
        body = json.dumps(PAYMENT | {"pad": "x" * 20_000}).encode()
        body = gzip.compress(body) if encoding == "gzip" else body
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nConnection: close\r\n"
        if transfer == "chunked":
            parts = [body[at : at + 7] for at in range(0, len(body), 7)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
            head += "Transfer-Encoding: chunked\r\n"
        else:
            head += f"Content-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"\r\n" + body)

    return answer


@pytest.mark.parametrize("transfer", ["chunked", "length"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_answers_in_every_encoding_are_read(encoding, transfer):
    with serve(answer_in(encoding, transfer)) as url, Client(url, KEY) as client:
        assert client.get_payment("pay_01").id == "pay_01"


# -- the package


def test_the_client_imports_little_and_relatively():
    allowed = {*sys.stdlib_module_names, "requests", "standardwebhooks"}
    for source in Path(flexprice.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed
