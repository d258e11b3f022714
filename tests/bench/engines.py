"""PostgreSQL against its floor and against gated SQLite, and two of each process against one."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.bench import floors, rows
from tests.bench.load import load
from tests.bench.servers import served
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import SENDERS, copied, expect, figures
from tests.bench.working import upstream, worker
from tests.conftest import Postgres

ORDERS = 10_000
SECONDS = 1.0


class Durable(Postgres):
    """As it comes: what is committed is on the disk."""

    HASTE = ()


@contextmanager
def on_postgres(server: Postgres, template: str) -> Iterator[str]:
    url = server.database(template)
    yield url
    server.administer(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def hooks(url: str, name: str) -> Figures:
    environ = rows.environ(url) | {"BENCH_TARGET": name}
    with served("tests.bench.target:app", environ, ready="/healthz") as server:
        return figures(server, partial(rows.webhooks, ORDERS))


def sqlite(template: Path) -> Figures:
    with copied(template) as url:
        return hooks(url, "shops:shop")


def postgres(server: Postgres, template: str, name: str) -> Figures:
    with on_postgres(server, template) as url:
        return hooks(url, name)


def sales(server: Postgres, processes: int) -> Figures:
    """Stored and fulfilled, by so many web processes and so many workers."""
    with on_postgres(server, "bench") as url, upstream() as port, ExitStack() as started:
        environ = rows.environ(url, port) | {"BENCH_TARGET": "shops:shop"}
        web = started.enter_context(
            served("tests.bench.target:app", environ, ready="/healthz", processes=processes)
        )
        for _ in range(processes):
            started.enter_context(worker(environ))
        engine = create_engine(url)
        time.sleep(3)
        began = time.perf_counter()
        result = load(web.port, 16, SECONDS, rows.webhooks(ORDERS))
        stored = expect(result)
        with engine.connect() as eyes:
            while (
                eyes.execute(text("SELECT count(*) FROM orders WHERE state='fulfilled'")).scalar_one()
                < stored
            ):
                eyes.rollback()
                time.sleep(0.05)
        engine.dispose()
        return {"rate": stored / (time.perf_counter() - began)}


def measure(rounds: int, folder: Path) -> list[Row]:
    template = folder / "shop.db"
    rows.fill(f"sqlite:///{template}", ORDERS)
    folder.chmod(0o755)
    place = folder / "postgres"
    place.mkdir()
    server = Durable(Durable.found(), place)
    try:
        server.administer("CREATE DATABASE bench")
        rows.fill(server.url("bench"), ORDERS)
        server.administer("CREATE DATABASE floor")
        floors.fill(server.url("floor"), ORDERS)
        seen = Rounds().run(
            rounds,
            {
                "sqlite": partial(sqlite, template),
                "postgres": partial(postgres, server, "bench", "shops:shop"),
                "floor": partial(postgres, server, "floor", "floors:webhook"),
                "one": partial(sales, server, 1),
                "two": partial(sales, server, 2),
            },
        )
    finally:
        server.stop()
    path = "webhook, durable (PostgreSQL)"
    return [
        *(
            Row(f"{path}, {n} senders", "floor: rate", seen.ratio("postgres", "floor", f"rate{n}"), 1.0)
            for n in SENDERS
        ),
        *(
            Row(f"{path}, {n} senders", "floor: CPU", seen.ratio("postgres", "floor", f"cpu{n}"), 1.15, True)
            for n in SENDERS
        ),
        *(
            Row(
                f"PostgreSQL, webhooks, {n} senders",
                "gated SQLite: rate",
                seen.ratio("postgres", "sqlite", f"rate{n}"),
                0.75,
            )
            for n in SENDERS
        ),
        *(
            Row(
                f"PostgreSQL, webhooks, {n} senders",
                "gated SQLite: p99",
                seen.ratio("postgres", "sqlite", f"p99_{n}"),
                1.5,
                True,
            )
            for n in (8, 32)
        ),
        Row(
            "two web processes and two workers on PostgreSQL",
            "one of each: rate",
            seen.ratio("two", "one", "rate"),
            1.5,
        ),
    ]
