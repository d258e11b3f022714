"""What each path costs beside the same thing done plainly: each group gives rows of the table."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from sqlalchemy import func, select
from standardwebhooks import Webhook

from . import apps
from .load import load, request
from .servers import ROOT, free_port, postgres, process, server, wait_until
from .stub import PLAN
from .table import Figures, Rounds, Row

SECONDS = 2.0
BACKLOG = 2_000
NewDatabase = Callable[[], str]
signer = Webhook(apps.SECRET)
message_numbers = count()


# -- rows and requests ------------------------------------------------------------------------------


@contextmanager
def host(url: str) -> Iterator[None]:
    """The host app's tables and session in this process."""
    os.environ["BENCH_DATABASE"] = url
    with apps.ours().app_context():
        if url.startswith("sqlite"):
            apps.db.session.execute(apps.db.text("PRAGMA journal_mode=WAL"))  # stays with the file
        apps.db.create_all()
        yield
        apps.db.session.remove()
        apps.db.engine.dispose()


def fill(url: str, orders: int, users: int = 1) -> None:
    """Open orders with the session ids cs_0, cs_1, …, whose invoices are verified."""
    now = datetime.now(UTC).replace(tzinfo=None)
    with host(url):
        apps.db.session.execute(apps.db.insert(apps.User), [{"id": n, "name": "Asha"} for n in range(users)])
        for start in range(0, orders, 10_000):
            numbers = range(start, min(start + 10_000, orders))
            rows = [order_row(number, number % users, now) for number in numbers]
            apps.db.session.execute(apps.db.insert(apps.Order), rows)
        apps.db.session.commit()


def order_row(number: int, user: int, now: datetime) -> dict[str, object]:
    later = now + timedelta(hours=1)
    return {
        "ref": f"{number:032d}", "slot": f"user-{user} {PLAN} {number}", "state": "awaiting_payment",
        "customer_key": f"user-{user}", "plan_id": PLAN, "plan_name": "Bench", "currency": "inr",
        "billing_period": "MONTHLY", "amount_text": "499", "return_url": "http://127.0.0.1/",
        "created_at": now, "status_changed_at": now, "session_requested_at": now, "attempts": 0,
        "session_id": f"cs_{number}", "flexprice_customer_id": "cust_0", "invoice_number": "INV-1",
        "payment_url": "https://pay.bench.example/1", "invoice_verified_at": now,
        "last_checked_at": later, "next_attempt_at": later,
    }  # fmt: skip


def completed(number: int) -> tuple[str, str]:
    """A message id and the body of `checkout.session.completed` for the session cs_<number>."""
    body = (
        f'{{"event_type":"checkout.session.completed","checkout_session":{{"id":"cs_{number}",'
        '"customer_id":"cust_0","checkout_status":"completed","terminal":true}}'
    )
    return f"msg_{next(message_numbers)}", body


def webhook(number: int) -> bytes:
    message_id, body = completed(number)
    sent_at = datetime.now(UTC)
    return request(
        "POST",
        "/billing/webhooks/flexprice",
        body.encode(),
        Content_Type="application/json",
        svix_id=message_id,
        svix_timestamp=str(int(sent_at.timestamp())),
        svix_signature=signer.sign(message_id, sent_at, body),
    )


def sign_in(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in/0") as answer:
        return str(answer.headers["Set-Cookie"]).partition(";")[0]


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, NewDatabase]]:
    numbers = count()
    with postgres(folder) as new_postgres:
        yield {
            "SQLite": lambda: f"sqlite:///{folder}/{next(numbers)}.db",
            "PostgreSQL": new_postgres,
        }


# -- groups -----------------------------------------------------------------------------------------


def webhooks(rounds: int, folder: Path) -> list[Row]:
    """A webhook is stored before it is answered: 8 senders."""
    rows = []
    with databases(folder) as known:
        for engine, new in known.items():
            seen = Rounds().run(rounds, {name: _receiving(name, new) for name in ("ours", "plain")})
            path = f"webhook stored before the answer, 8 senders, {engine}"
            ratio = seen.ratio("ours", "plain", "rate")
            rows += [
                Row(path, "verify, one INSERT, commit in plain Flask: rate", ratio, 0.8),
                Row(path, "p99", seen.median("ours", "p99"), 0.25, at_most=True, unit="s"),
            ]
    return rows


def _receiving(name: str, new: NewDatabase) -> Callable[[], Figures]:
    def run() -> Figures:
        url = new()
        fill(url, 10)
        with server(f"tests.bench.apps:{name}()", BENCH_DATABASE=url) as port:
            load(port, 8, 0.5, map(webhook, count()))
            result = load(port, 8, SECONDS, map(webhook, count())).check()
        return {"rate": result.rate, "p99": result.percentile(0.99)}

    return run


def ready(rounds: int, folder: Path) -> list[Row]:
    """From the webhook to the fulfilled order, while nothing else is due."""
    waits = []
    for number in range(rounds):
        url = f"sqlite:///{folder}/ready{number}.db"
        fill(url, 1)
        with server("tests.bench.apps:ours()", BENCH_DATABASE=url) as port, _worker(url), host(url):
            time.sleep(1.5)  # the worker has started and is idle
            started_s = time.perf_counter()
            load(port, 1, 5, iter([webhook(0)])).check()
            wait_until(lambda: _fulfilled() == 1, "the order is not fulfilled")
            waits.append(time.perf_counter() - started_s)
    waits.sort()
    return [Row("webhook to fulfilled, idle", "median", waits[len(waits) // 2], 1.0, at_most=True, unit="s")]


def _worker(url: str) -> object:
    return process("-m", "flask", "--app", "tests.bench.apps:ours", "checkout", "worker", BENCH_DATABASE=url)


def _fulfilled() -> int:
    apps.db.session.rollback()
    state = select(func.count()).select_from(apps.Order).where(apps.Order.state == "fulfilled")
    return apps.db.session.scalar(state) or 0


def backlog(rounds: int, folder: Path) -> list[Row]:
    """2,000 completed events are due at once."""
    rows = []
    with databases(folder) as known:
        for engine, new in known.items():
            targets = {"worker": _working(new, 1), "plain": _settling_plainly(new)}
            if engine == "PostgreSQL":
                targets["two workers"] = _working(new, 2)
            seen = Rounds().run(rounds, targets)
            path = f"backlog of {BACKLOG} completed events, {engine}"
            ratio = seen.ratio("worker", "plain", "rate")
            rows.append(Row(f"{path}, one worker", "the same transaction written plainly: rate", ratio, 0.8))
            if engine == "PostgreSQL":
                both = seen.ratio("two workers", "worker", "rate")
                rows.append(Row(f"{path}, two workers", "one worker: rate", both, 1.5))
    return rows


def _owed(new: NewDatabase) -> str:
    url, now = new(), datetime.now(UTC).replace(tzinfo=None)
    fill(url, BACKLOG, users=BACKLOG)
    with host(url):
        events = [
            {
                "id": message_id, "event_type": "checkout.session.completed", "object_id": f"cs_{number}",
                "customer_id": "cust_0", "body": body, "signed": True, "received_at": now, "attempts": 0,
                "next_attempt_at": now,
            }
            for number in range(BACKLOG)
            for message_id, body in [completed(number)]
        ]  # fmt: skip
        apps.db.session.execute(apps.db.insert(apps.WebhookEvent), events)
        apps.db.session.commit()
    return url


def _working(new: NewDatabase, workers: int) -> Callable[[], Figures]:
    return lambda: _timed(new, "checkout", workers)


def _settling_plainly(new: NewDatabase) -> Callable[[], Figures]:
    return lambda: _timed(new, "plain", 1)


def _timed(new: NewDatabase, how: str, processes: int) -> Figures:
    """Whole processes, which wait for a common start, so that importing is not part of it."""
    url = _owed(new)
    environ = os.environ | {"PYTHONPATH": str(ROOT), "BENCH_DATABASE": url}
    command = [sys.executable, "-m", "tests.bench.backlog", how, str(BACKLOG)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = [subprocess.Popen(command, cwd=ROOT, env=environ, text=True, **pipes) for _ in range(processes)]
    for one in started:
        assert one.stdout
        assert one.stdout.readline() == "ready\n"
    began_s = time.perf_counter()
    for one in started:
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in started:
        one.wait(600)
    seconds = time.perf_counter() - began_s
    with host(url):
        done = _fulfilled()
    if done != BACKLOG:
        raise RuntimeError(f"{done} of {BACKLOG} fulfilled")
    return {"rate": BACKLOG / seconds}


def checkout(rounds: int, folder: Path) -> list[Row]:
    """The click: place the order, create the session, 303."""
    stub_port = free_port()
    numbers = count()
    with process("-m", "tests.bench.stub", str(stub_port)):
        wait_until(lambda: _reachable(stub_port), "the stub does not start")
        new = lambda: f"sqlite:///{folder}/checkout{next(numbers)}.db"  # noqa: E731
        targets = {name: _buying(name, new, stub_port) for name in ("ours", "sdk")}
        seen = Rounds().run(rounds, targets)
    path = "POST /checkout, 4 customers at once"
    return [
        Row(path, "the same with the official SDK: rate", seen.ratio("ours", "sdk", "rate"), 1.3),
        Row(
            path, "calls to Flexprice for each", seen.median("ours", "calls"), 1.0, at_most=True, unit="calls"
        ),
    ]


def _reachable(port: int) -> bool:
    try:
        return _created(port) > 0
    except OSError:
        return False


def _created(stub_port: int) -> int:
    import json

    with urllib.request.urlopen(f"http://127.0.0.1:{stub_port}/created") as answer:
        return int(json.load(answer)["created"])


def _buying(name: str, new: NewDatabase, stub_port: int) -> Callable[[], Figures]:
    def run() -> Figures:
        url = new()
        fill(url, 0, users=20_000)
        api = f"http://127.0.0.1:{stub_port}/v1"
        with server(f"tests.bench.apps:{name}()", BENCH_DATABASE=url, BENCH_API_URL=api) as port:
            buyers = map(_purchase, map(apps_cookie, count()))
            load(port, 4, 0.5, buyers)
            before = _created(stub_port)
            result = load(port, 4, SECONDS, buyers).check()
            calls = _created(stub_port) - before - 1
        return {"rate": result.rate, "calls": calls / len(result.waits_s)}

    return run


def apps_cookie(user: int) -> str:
    """The session cookie of a customer who has not bought anything."""
    from flask.sessions import SecureCookieSessionInterface

    signing = SecureCookieSessionInterface().get_signing_serializer(_signing_app())
    assert signing
    return f"session={signing.dumps({'user': user % 20_000})}"


def _signing_app() -> apps.Flask:
    app = apps.Flask("signing")
    app.secret_key = "bench"
    return app


def _purchase(cookie: str) -> bytes:
    form = f"plan={PLAN}&currency=inr&billing_period=MONTHLY".encode()
    kind = "application/x-www-form-urlencoded"
    return request(
        "POST", "/billing/checkout", form, Cookie=cookie, Content_Type=kind, Sec_Fetch_Site="same-origin"
    )


def fragment(rounds: int, folder: Path) -> list[Row]:
    """The polled status fragment: 16 pollers."""
    small, large = f"sqlite:///{folder}/small.db", f"sqlite:///{folder}/large.db"
    fill(small, 1_000)
    fill(large, 1_000_000)
    targets = {
        "ours": _polling("ours", small),
        "plain": _polling("plain", small),
        "large": _polling("ours", large),
    }
    seen = Rounds().run(rounds, targets)
    path = "status fragment, 16 pollers"
    plainly = seen.ratio("ours", "plain", "rate")
    return [
        Row(path, "a page with the same sign-in and queries: rate", plainly, 0.8),
        Row(path, "1,000,000 orders against 1,000: rate", seen.ratio("large", "ours", "rate"), 0.95),
    ]


def _polling(name: str, url: str) -> Callable[[], Figures]:
    def run() -> Figures:
        with server(f"tests.bench.apps:{name}()", BENCH_DATABASE=url) as port:
            cookie = sign_in(port)
            polls = (
                request("GET", f"/billing/orders/{n % 1000:032d}/status", Cookie=cookie) for n in count()
            )
            load(port, 16, 0.5, polls)
            return {"rate": load(port, 16, SECONDS, polls).check().rate}

    return run


def imports(rounds: int, folder: Path) -> list[Row]:
    """Memory and time of importing the checkout, against Flask, Flask-SQLAlchemy and requests alone."""
    libraries = "import flask, flask_sqlalchemy, requests"
    targets = {"ours": f"{libraries}; import storefront.checkout", "libraries": libraries}
    seen = Rounds().run(rounds, {name: _importing(code) for name, code in targets.items()})
    return [
        Row("import of checkout/ and flexprice/", f"Flask, Flask-SQLAlchemy, requests: {what}",
            seen.ratio("ours", "libraries", what), 1.3, at_most=True)
        for what in ("time", "memory")
    ]  # fmt: skip


def _importing(code: str) -> Callable[[], Figures]:
    script = (
        f"import time, resource; began = time.perf_counter(); {code}; "
        "print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def run() -> Figures:
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, check=True
        )
        seconds, kilobytes = done.stdout.split()
        return {"time": float(seconds), "memory": float(kilobytes)}

    return run


GROUPS: dict[str, Callable[[int, Path], list[Row]]] = {
    group.__name__: group for group in (webhooks, ready, backlog, checkout, fragment, imports)
}
