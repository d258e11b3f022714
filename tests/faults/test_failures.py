"""Trouble around the shop, against the server of production: what goes on, and what is refused."""

import http.client
import json
import os
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from sqlalchemy import func, select

from storefront.models import WebhookEvent
from tests.faults.tunnel import Tunnel

NEWS = json.dumps({"event_type": "payment.updated"}).encode()
on_sqlite = pytest.mark.parametrize("stack", ["sqlite"], indirect=True)
SLOW_STARTS = {
    "silent": b"",
    "half of the headers": b"POST /webhooks/flexprice HTTP/1.1\r\nHost: x\r\n",
    "half of the body": b"POST /webhooks/flexprice HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{",
}


@pytest.fixture(scope="module")
def web(stack):
    """One process with four threads, half of what the demo starts by itself."""
    web = stack.start_web("four", threads=4)
    stack.wait_until_up(f"{web}/plans")
    return web


@pytest.fixture
def tell(stack, web):
    """Deliver a webhook that nobody has seen before: its id, the answer and the seconds it took."""

    def deliver(message_id=None, to=web):
        message_id = message_id or f"msg_{time.time_ns()}_{threading.get_ident()}"
        started = time.monotonic()
        headers = stack.signed(message_id, NEWS)
        answer = requests.post(f"{to}/webhooks/flexprice", data=NEWS, headers=headers, timeout=60)
        return message_id, answer, time.monotonic() - started

    return deliver


def kept(stack, ids):
    return stack.scalar(select(func.count()).where(WebhookEvent.id.in_(ids)))


# -- Flexprice hangs --------------------------------------------------------------------------------


@pytest.mark.thorough
@on_sqlite
def test_a_flexprice_that_hangs_leaves_webhooks_and_pages_alone(stack, web, tell, new_buyer):
    """Five shoppers go to the checkout of a process with four threads, and Flexprice answers none of them."""
    buyers = [new_buyer() for _ in range(5)]
    for buyer in buyers:
        buyer.sign_up()
    page = buyers[0].review_page()
    assert requests.get(web, timeout=60).ok  # it knows the plans
    stack.fault(fault="slow", path="/v1/", seconds=12, times=1000)
    with ThreadPoolExecutor(5) as clicks:
        hanging = [clicks.submit(click_buy, web, buyer, page) for buyer in buyers]
        stack.wait_until(lambda: stack.points_passed().count("web before POST /v1/checkout/sessions"))

        assert tell()[1].status_code == 204
        for path in ("/", "/sign-in", "/account", "/plans"):
            assert buyers[0].http.get(web + path, timeout=60).status_code == 200
        assert any(not click.done() for click in hanging), "Flexprice hung for too short a time to tell"

        stack.clear_faults()
        answers = [click.result() for click in hanging]
    # One was being asked about, the others were told at once; none saw an error of ours.
    assert {answer.status_code for answer in answers} <= {303, 503}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)
    for buyer in buyers:
        assert len(stack.orders_of(buyer.email)) <= 1
    for buyer in buyers[:2]:
        buyer.buy()
    stack.settle()
    stack.check_books()


@pytest.fixture
def tunnel(stack):
    sandbox = urlsplit(stack.sandbox_url)
    tunnel = Tunnel((sandbox.hostname, sandbox.port))
    yield tunnel
    tunnel.close()


@pytest.mark.soak
@on_sqlite
@pytest.mark.parametrize("hang", [Tunnel.hang_on_connect, Tunnel.hang_on_read])
def test_while_flexprice_hangs_everybody_has_a_page_within_six_seconds(stack, tell, new_buyer, tunnel, hang):
    """R14. Eight buyers press whatever there is in a process with eight threads, and messages come."""
    web = stack.start_web(hang.__name__, FLEXPRICE_API_URL=f"http://127.0.0.1:{tunnel.port}/v1")
    stack.wait_until_up(f"{web}/plans")
    buyers = [new_buyer() for _ in range(16)]
    for buyer in buyers:
        buyer.sign_up()
    page = buyers[0].review_page()
    assert requests.get(web, timeout=60).ok  # it knows the plans

    def crowd(buyers):
        went, told = [], []
        with ThreadPoolExecutor(len(buyers)) as presses:
            pressing = [presses.submit(press_all, stack, web, buyer, page, went) for buyer in buyers]
            while not all(buyer.done() for buyer in pressing) or len(told) < 500:
                told.append(tell(to=web))
        for buyer in pressing:
            buyer.result()
        assert {answer.status_code for _, answer, _ in told} == {204}
        return went, sorted(seconds for _, _, seconds in told)[-len(told) // 100]

    _, well = crowd(buyers[:8])
    hang(tunnel)
    went, hung = crowd(buyers[8:])
    slowest = max(seconds for _, seconds in went)
    print(
        f"\nFlexprice {hang.__name__.replace('_', 's ', 1).replace('_', ' ')}: {len(went)} pages,"
        f" {sum(seconds > 1 for _, seconds in went)} waited for more than 1 s, the slowest {slowest:.1f} s;"
        f" p99 of the messages {hung * 1000:.0f} ms, with a Flexprice that is well {well * 1000:.0f} ms"
    )
    assert {answer.status_code for answer, _ in went} <= {200, 303, 503}
    assert 1 < slowest <= 6
    assert hung <= 2 * well

    tunnel.close()
    tunnel.open()
    for buyer in buyers:
        buyer.buy()
    stack.settle()
    stack.check_books()


def press_all(stack, web, buyer, page, went):
    for _ in range(3):
        went.append(timed(click_buy, web, buyer, page))
        for path in ("/", "/account", *pages_of(stack, buyer)):
            went.append(timed(buyer.http.get, web + path, timeout=90, allow_redirects=False))


def pages_of(stack, buyer):
    refs = [order.ref for order in stack.orders_of(buyer.email)]
    return [f"/orders/{ref}/{page}" for ref in refs for page in ("failure", "status")]


def timed(do, *args, **more):
    started = time.monotonic()
    return do(*args, **more), time.monotonic() - started


def click_buy(web, buyer, page):
    form = page.forms["/checkout"] | {"csrf_token": buyer.see("/account").forms["/sign-out"]["csrf_token"]}
    return requests.post(
        f"{web}/checkout", data=form, cookies=buyer.http.cookies, timeout=90, allow_redirects=False
    )


# -- the database is held ---------------------------------------------------------------------------


@pytest.fixture
def held(stack):
    """Somebody else writes, and does not end until told to."""
    if stack.engine.dialect.name == "sqlite":
        other = sqlite3.connect(stack.engine.url.database, isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = psycopg.connect(stack.database_url.replace("+psycopg", ""))
    with closing(other):
        if stack.engine.dialect.name == "postgresql":
            other.execute("LOCK checkout_webhook_events IN EXCLUSIVE MODE")
        yield other


def all_at_once(tell, ids):
    with ThreadPoolExecutor(len(ids)) as senders:
        return list(senders.map(tell, ids))


@pytest.mark.thorough
def test_while_the_database_is_held_messages_are_refused_and_pages_are_read(stack, web, held, tell):
    ids = [f"msg_held_{time.time_ns()}_{n}" for n in range(32)]
    answers = [answer for _, answer, _ in all_at_once(tell, ids)]
    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in answers} == {(503, "5")}
    assert requests.get(web, timeout=60).ok

    held.execute("ROLLBACK")
    assert kept(stack, ids) == 0
    assert {answer.status_code for _, answer, _ in all_at_once(tell, ids)} <= {204, 503}
    for message_id in ids:  # again, as Flexprice does it
        tell(message_id)
    assert kept(stack, ids) == 32


@pytest.mark.soak
def test_while_the_database_is_held_everybody_is_told_soon(stack, held, tell):
    """With eight threads, as the demo has them. On SQLite each waits for `BUSY_TIMEOUT_S`."""
    tell = partial(tell, to=stack.shop_url)
    answers = all_at_once(tell, [f"msg_timed_{time.time_ns()}_{n}" for n in range(32)])
    assert {answer.status_code for _, answer, _ in answers} == {503}
    worst = max(seconds for _, _, seconds in answers)
    held.execute("ROLLBACK")
    _, answer, again = tell()
    print(
        f"\n{stack.engine.dialect.name}: database held, 32 messages, 8 threads: refused within {worst:.1f} s,"
        f" the next one answered {answer.status_code} after {again:.2f} s"
    )
    if stack.engine.dialect.name == "postgresql":
        assert worst <= 5  # Flexprice asks for an answer within 5 s


@pytest.mark.soak
@pytest.mark.parametrize(
    "stack", [pytest.param("postgresql", marks=pytest.mark.postgres, id="postgres")], indirect=True
)
def test_a_database_server_that_restarts_is_told_of_soon_and_used_at_once(stack, web, tell, postgres):
    """R13, with real processes: how soon 503, and how soon the first one is kept again."""
    postgres.stop()
    refused = [tell() for _ in range(20)]
    postgres.start()
    back = time.monotonic()
    while (answer := tell()[1]).status_code != 204:
        assert answer.status_code == 503
    again = time.monotonic() - back
    stack.engine.dispose()  # our own connections did not outlive it
    assert {answer.status_code for _, answer, _ in refused} == {503}
    worst = max(seconds for _, _, seconds in refused)
    print(f"\nPostgreSQL away: refused within {worst:.2f} s; back: the next one is kept after {again:.2f} s")
    assert kept(stack, [message_id for message_id, _, _ in refused]) == 0
    assert worst <= 2.5
    assert again <= 2


@pytest.mark.soak
@on_sqlite
def test_a_database_server_that_takes_up_no_connection_is_not_waited_for(stack, tunnel):
    """R13. Its machine has gone: what is sent there is dropped."""
    tunnel.hang_on_connect()
    away = f"postgresql+psycopg://shop@127.0.0.1:{tunnel.port}/shop"
    web = stack.start_web("cut off", DATABASE_URL=away)
    stack.wait_until(lambda: answers_at_all(web))
    started = time.monotonic()
    answer = requests.post(
        f"{web}/webhooks/flexprice", data=NEWS, headers=stack.signed("msg_cut_off", NEWS), timeout=60
    )
    spent = time.monotonic() - started
    print(f"\nPostgreSQL takes up no connection: {answer.status_code} after {spent:.1f} s")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert spent <= 2.5


def answers_at_all(web):
    try:
        return requests.get(f"{web}/static/nothing", timeout=60).status_code
    except requests.ConnectionError:
        return None


# -- bodies and slow clients ------------------------------------------------------------------------


def chunks(size):
    piece = b"x" * 65536
    for _ in range(size // len(piece)):
        yield piece


@pytest.mark.thorough
@on_sqlite
@pytest.mark.parametrize("size", [1, 5, 50])
@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_a_body_that_is_too_large_is_refused(stack, web, tell, size, how):
    size *= 1024 * 1024
    line = http.client.HTTPConnection(urlsplit(web).netloc, timeout=60)
    headers = stack.signed("msg_large", b"") | ({"Content-Length": str(size)} if how == "announced" else {})
    try:
        line.request("POST", "/webhooks/flexprice", chunks(size), headers, encode_chunked=how == "chunked")
        assert line.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it hung up while we were still sending
    finally:
        line.close()
    assert tell()[1].status_code == 204
    assert kept(stack, ["msg_large"]) == 0


@pytest.mark.soak
@on_sqlite
def test_large_bodies_are_refused_at_once_and_leave_nothing_in_memory(stack, web, tell):
    """R10. Ten of fifty megabytes: what the server does not read it does not keep."""
    leader = stack.processes["four"].running.pid
    before, times = weight_of(stack, leader), []
    for _ in range(10):
        line = http.client.HTTPConnection(urlsplit(web).netloc, timeout=60)
        started = time.monotonic()
        line.putrequest("POST", "/webhooks/flexprice")
        for name, value in (stack.signed("msg_large", b"") | {"Content-Length": str(50 * 1024**2)}).items():
            line.putheader(name, value)
        line.endheaders()
        assert line.getresponse().status == 413
        times.append(time.monotonic() - started)
        line.close()
    grown = (weight_of(stack, leader) - before) / 1024
    print(f"\nten bodies of 50 MB: refused within {max(times) * 1000:.0f} ms, memory {grown:+.1f} MB")
    assert tell()[1].status_code == 204
    assert sorted(times)[5] <= 0.05
    assert grown <= 5


def weight_of(stack, leader):
    """Of a process and its children, in kilobytes."""
    return sum(memory for pid, (memory, _) in stack.usage().items() if os.getpgid(pid) == leader)


@pytest.mark.thorough
@on_sqlite
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Length": "10"}, NEWS),  # less than there is
        ({"Content-Length": "-1"}, NEWS),
        ({"Content-Length": "ten"}, NEWS),
        ({"Transfer-Encoding": "chunked"}, b"zz\r\nnot a chunk\r\n0\r\n\r\n"),
        ({"Content-Length": str(len(NEWS)), "Content-Encoding": "gzip"}, b"\x1f\x8b" + NEWS[2:]),
    ],
    ids=["short length", "negative length", "length in words", "broken chunks", "gzip that is none"],
)
def test_a_body_that_is_not_what_its_headers_say_is_refused(stack, web, tell, headers, body):
    signed = stack.signed("msg_odd", NEWS) | {"Host": "127.0.0.1", "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in (signed | headers).items())
    with socket.create_connection(urlsplit(web).netloc.split(":"), timeout=60) as line:
        line.sendall(b"POST /webhooks/flexprice HTTP/1.1\r\n" + head.encode() + b"\r\n" + body)
        answer = line.recv(200)
    assert answer.split()[1] in (b"400", b"401"), answer
    assert tell()[1].status_code == 204
    assert kept(stack, ["msg_odd"]) == 0


@pytest.mark.soak
@on_sqlite
@pytest.mark.parametrize("kind", SLOW_STARTS)
def test_five_hundred_slow_clients_keep_nobody_waiting(stack, web, tell, kind):
    quiet = sorted(tell()[2] for _ in range(100))
    slow = [socket.create_connection(urlsplit(web).netloc.split(":")) for _ in range(500)]
    for line in slow:
        line.sendall(SLOW_STARTS[kind])
    answers = [tell() for _ in range(100)]
    for line in slow:
        line.close()
    assert {answer.status_code for _, answer, _ in answers} == {204}
    times = sorted(seconds for _, _, seconds in answers)
    print(
        f"\n{stack.engine.dialect.name}: 500 clients ({kind}): 100 of 100 messages kept,"
        f" p99 {times[98] * 1000:.0f} ms against {quiet[98] * 1000:.0f} ms without them"
    )
    assert times[98] < 1
    assert times[98] <= 3 * quiet[98]
