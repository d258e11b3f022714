"""What shoppers look at: the status fragment, asked again and again, and the plans."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path

from tests.bench import rows
from tests.bench.load import Load, get, load
from tests.bench.servers import Running, served
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import copied, expect
from tests.bench.working import upstream

SECONDS = 1.0
FEW, MANY = 1_000, 1_000_000


def polls(database_url: str, pollers: int) -> list[bytes]:
    app = rows.shop(database_url)
    return [_poll(rows.signed_in(app, number), number) for number in range(pollers)]


def _poll(browser: rows.SignedIn, number: int) -> bytes:
    since = int(time.time()) - 60  # the ladder has come to its last step: every 15 seconds
    path = f"/orders/{rows.ref(number)}/status?page=success&since={since}"
    return get(path, Cookie=browser.cookie, User_Agent=rows.AGENT, HX_Request="true")


def poll(url: str) -> Figures:
    with upstream() as port:
        environ = rows.environ(url, port) | {"BENCH_TARGET": "shops:shop"}
        with served("tests.bench.target:app", environ, ready="/healthz") as server:
            return _measured(server, 16, cycle(polls(url, 16)))


def _measured(server: Running, connections: int, requests: Iterator[bytes]) -> Figures:

    expect(load(server.port, connections, 0.3, requests))
    before = server.cpu()
    result = load(server.port, connections, SECONDS, requests)
    expect(result)
    return {"rate": result.rate, "cpu": (server.cpu() - before) / result.answers}


def hello() -> Figures:
    with served(
        "tests.bench.target:app", rows.environ("sqlite://") | {"BENCH_TARGET": "floors:hello"}
    ) as server:
        return _measured(server, 16, cycle([get("/")]))


def plans(url: str) -> Figures:
    with upstream() as port:
        environ = rows.environ(url, port) | {"BENCH_TARGET": "shops:shop"}
        with served("tests.bench.target:app", environ) as server:
            return _measured(server, 16, cycle([get("/")]))


def page(like: Path) -> Figures:
    environ = rows.environ("sqlite://") | {"BENCH_TARGET": "floors:page", "BENCH_PAGE": str(like)}
    with served("tests.bench.target:app", environ) as server:
        return _measured(server, 16, cycle([get("/")]))


def keep_page(url: str, place: Path) -> None:
    """The plans page, for the page of the same size."""
    import requests

    with upstream() as port:
        environ = rows.environ(url, port) | {"BENCH_TARGET": "shops:shop"}
        with served("tests.bench.target:app", environ) as server:
            place.write_bytes(requests.get(f"http://127.0.0.1:{server.port}/", timeout=20).content)


def _load(port: int, connections: int, seconds: float, requests: list[bytes]) -> Load:
    return load(port, connections, seconds, cycle(requests))


def mixed(template: Path) -> Figures:
    """Webhooks and pollers: each alone, then both at once, from two processes."""
    with copied(template) as url, upstream() as port:
        environ = rows.environ(url, port) | {"BENCH_TARGET": "shops:shop"}
        asked = polls(url, 64)
        with (
            served("tests.bench.target:app", environ, ready="/healthz") as server,
            ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other,
        ):
            other.submit(_load, server.port, 1, 0.1, asked).result()
            hooks = load(server.port, 8, SECONDS, rows.webhooks(FEW))
            polled = other.submit(_load, server.port, 64, SECONDS, asked).result()
            both = other.submit(_load, server.port, 64, SECONDS + 1, asked)
            time.sleep(0.5)
            among = load(server.port, 8, SECONDS, rows.webhooks(FEW))
            for result in (hooks, polled, among, both.result()):
                expect(result)
            return {
                "p99": among.percentile(0.99) / hooks.percentile(0.99),
                "polls": both.result().rate / polled.rate,
            }


def measure(rounds: int, folder: Path) -> list[Row]:
    few, many, like = folder / "few.db", folder / "many.db", folder / "plans.html"
    rows.fill(f"sqlite:///{few}", FEW)
    rows.fill(f"sqlite:///{many}", MANY)
    keep_page(f"sqlite:///{few}", like)
    seen = Rounds().run(
        rounds,
        {
            "poll": partial(poll, f"sqlite:///{few}"),
            "many": partial(poll, f"sqlite:///{many}"),
            "hello": hello,
            "plans": partial(plans, f"sqlite:///{few}"),
            "page": partial(page, like),
            "mixed": partial(mixed, few),
        },
    )
    path = "status fragment, 16 pollers"
    return [
        Row(path, "Flask hello-world: rate", seen.ratio("poll", "hello", "rate"), 0.65),
        Row(path, "Flask hello-world: CPU", seen.ratio("poll", "hello", "cpu"), 1.75, True),
        Row(f"{path}, 1,000,000 orders", "1,000 orders: rate", seen.ratio("many", "poll", "rate"), 0.95),
        Row(
            "plans page, warm",
            "a Flask + Jinja page of its size: rate",
            seen.ratio("plans", "page", "rate"),
            0.9,
        ),
        Row("8 webhook senders among 64 pollers", "senders alone: p99", seen.median("mixed", "p99"), 3, True),
        Row("64 pollers among 8 webhook senders", "pollers alone: rate", seen.median("mixed", "polls"), 0.6),
    ]
