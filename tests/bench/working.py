"""From the webhook's answer to the goods: with the worker on."""

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.bench import floors, rows
from tests.bench.load import load
from tests.bench.servers import Running, free_port, running, served
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import copied, expect

ORDERS = 10_000
SECONDS = 1.5
DRAINED = 1_500  # of the backlog: its rate does not depend on how much is left
PATIENCE = 300.0


@contextmanager
def upstream() -> Iterator[int]:
    port = free_port()
    with running("-m", "tests.bench.stub", str(port), port=port, ready="/v1/invoices/inv_0"):
        yield port


@contextmanager
def worker(environ: dict[str, str]) -> Iterator[Running]:
    command = ["-m", "flask", "--app", "tests.bench.target", "work"]
    with running(*command, **environ | {"BENCH_TARGET": "shops:shop"}) as process:
        yield process


class Eyes:
    """Looks at the rows from outside, as a reader does."""

    def __init__(self, url: str) -> None:
        self.connection = sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)

    def _count(self, query: str) -> int:
        return int(self.connection.execute(query).fetchone()[0])

    def fulfilled(self) -> int:
        return self._count("SELECT count(*) FROM orders WHERE state = 'fulfilled'")

    def letters(self) -> int:
        return self._count("SELECT count(*) FROM letters")

    def alive(self) -> bool:
        return self._count("SELECT count(*) FROM heartbeats") > 0

    def wait(self, number: int, pause: float = 0.02) -> None:
        until = time.monotonic() + PATIENCE
        while self.fulfilled() < number:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.fulfilled()} of {number} orders fulfilled")
            time.sleep(pause)

    def rest(self) -> None:
        """Until the worker has nothing more to do: letters are posted, receipts are here."""
        while self._count("SELECT count(*) FROM orders WHERE state = 'fulfilled' AND next_look_at NOT NULL"):
            time.sleep(0.1)

    def wait_for_worker(self) -> None:
        while not self.alive():
            time.sleep(0.02)


def shop(template: Path) -> Figures:
    with copied(template) as url, upstream() as port:
        environ = rows.environ(url, port) | {"BENCH_TARGET": "shops:shop"}
        with served("tests.bench.target:app", environ, ready="/healthz") as server, worker(environ):
            eyes = Eyes(url)
            eyes.wait_for_worker()
            began = time.perf_counter()
            result = load(server.port, 8, SECONDS, rows.webhooks(ORDERS))
            stored = expect(result)
            eyes.wait(stored)
            found = {"rate": stored / (time.perf_counter() - began)}
            assert eyes.letters() == stored
            eyes.rest()
            return found | {"latency": statistics.median(idle(server, eyes, result.answers, stored))}


def idle(server: Running, eyes: Eyes, asked: int, done: int) -> Iterator[float]:
    for number in range(15):
        time.sleep(0.3)
        expect(load(server.port, 1, 5, iter([rows.webhook(asked + number)])))
        answered = time.perf_counter()
        eyes.wait(done + number + 1, pause=0.002)
        yield time.perf_counter() - answered


def backlog(template: Path) -> Figures:
    """Stored while the worker was away."""
    with copied(template) as url, upstream() as port:
        with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
            now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
            database.executemany(
                "INSERT INTO inbox (id, event_type, object_id, customer_id, body, received_at, attempts,"
                " next_try_at) VALUES (?, 'checkout.session.completed', ?, ?, ?, ?, 0, ?)",
                [
                    (f"msg_b{n}", f"cs_{n}", f"cust_{n}", rows.completed(n).decode(), now, now)
                    for n in range(ORDERS)
                ],
            )
        with worker(rows.environ(url, port)):
            eyes = Eyes(url)
            eyes.wait(100)
            began, start = time.perf_counter(), eyes.fulfilled()
            eyes.wait(start + DRAINED)
            return {"drain": (eyes.fulfilled() - start) / (time.perf_counter() - began)}


def floor(template: Path) -> Figures:
    with copied(template) as url:
        environ = rows.environ(url) | {"BENCH_TARGET": "floors:webhook"}
        with served("tests.bench.target:app", environ) as server:
            result = load(server.port, 8, SECONDS, rows.webhooks(ORDERS))
            expect(result)
            return {"rate": result.rate}


def measure(rounds: int, folder: Path) -> list[Row]:
    shop_rows, floor_rows = folder / "shop.db", folder / "floor.db"
    rows.fill(f"sqlite:///{shop_rows}", ORDERS)
    floors.fill(f"sqlite:///{floor_rows}", ORDERS)
    seen = Rounds().run(
        rounds,
        {
            "shop": partial(shop, shop_rows),
            "backlog": partial(backlog, shop_rows),
            "floor": partial(floor, floor_rows),
        },
    )
    path = "webhook with the worker on, 8 senders"
    return [
        Row(
            f"{path}: stored, fulfilled, letter written",
            "floor: rate",
            seen.ratio("shop", "floor", "rate"),
            0.6,
        ),
        Row(f"{path}: answer to fulfilled, idle", "median", seen.median("shop", "latency"), 0.15, True, "s"),
        Row(
            "backlog of 10,000 messages drained",
            "floor: rate",
            seen.ratio("backlog", "floor", "drain", "rate"),
            1.0,
        ),
    ]
