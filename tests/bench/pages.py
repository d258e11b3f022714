"""What shoppers look at: the status fragment, asked again and again, and the plans."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from tests.bench import floors, rows
from tests.bench.load import get, load
from tests.bench.servers import Running, served
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import expect
from tests.bench.working import upstream

SECONDS = 1.0
FEW = 1_000


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
    expect(load(server.port, connections, 20.0, islice(requests, 12 * connections)))  # both know them now
    before = server.cpu()
    result = load(server.port, connections, SECONDS, requests)
    expect(result)
    return {"rate": result.rate, "cpu": (server.cpu() - before) / result.answers}


def hello() -> Figures:
    with served(
        "tests.bench.target:app", rows.environ("sqlite://") | {"BENCH_TARGET": "floors:hello"}
    ) as server:
        return _measured(server, 16, cycle([get("/")]))


def bare(url: str) -> Figures:
    """The least a status can be: no shopper, one query, one small template."""
    with served("tests.bench.target:app", rows.environ(url) | {"BENCH_TARGET": "floors:poll"}) as server:
        return _measured(server, 16, cycle([get(f"/orders/ref{number}/status") for number in range(16)]))


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


def measure(rounds: int, folder: Path) -> list[Row]:
    few, floor, like = folder / "few.db", folder / "floor.db", folder / "plans.html"
    rows.fill(f"sqlite:///{few}", FEW)
    floors.fill(f"sqlite:///{floor}", FEW)
    keep_page(f"sqlite:///{few}", like)
    seen = Rounds().run(
        rounds,
        {
            "poll": partial(poll, f"sqlite:///{few}"),
            "hello": hello,
            "bare": partial(bare, f"sqlite:///{floor}"),
            "plans": partial(plans, f"sqlite:///{few}"),
            "page": partial(page, like),
        },
    )
    path, like_it = "status fragment, 16 pollers", "a Flask + Jinja page of its size: rate"
    return [
        Row(path, "Flask hello-world: rate", seen.ratio("poll", "hello", "rate"), 0.65),
        Row(path, "Flask hello-world: CPU", seen.ratio("poll", "hello", "cpu"), 1.75, True),
        Row(
            "one bare query, nobody signed in, 16 pollers",
            "Flask hello-world: rate",
            seen.ratio("bare", "hello", "rate"),
            0.65,
        ),
        Row(
            "one bare query, nobody signed in, 16 pollers",
            "Flask hello-world: CPU",
            seen.ratio("bare", "hello", "cpu"),
            1.75,
            True,
        ),
        Row("plans page, warm", like_it, seen.ratio("plans", "page", "rate"), 0.9),
    ]
