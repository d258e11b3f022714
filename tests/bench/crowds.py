"""Many orders, and many who ask at once."""

import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path

from tests.bench import rows
from tests.bench.load import Load, load
from tests.bench.pages import FEW, SECONDS, poll, polls
from tests.bench.servers import served
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import copied, expect
from tests.bench.working import upstream

MANY = 1_000_000


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
    few, many = folder / "few.db", folder / "many.db"
    rows.fill(f"sqlite:///{few}", FEW)
    rows.fill(f"sqlite:///{many}", MANY)
    seen = Rounds().run(
        rounds,
        {
            "few": partial(poll, f"sqlite:///{few}"),
            "many": partial(poll, f"sqlite:///{many}"),
            "mixed": partial(mixed, few),
        },
    )
    flat = "status fragment, 16 pollers, 1,000,000 orders"
    return [
        Row(flat, "1,000 orders: rate", seen.ratio("many", "few", "rate"), 0.95),
        Row("8 webhook senders among 64 pollers", "senders alone: p99", seen.median("mixed", "p99"), 3, True),
        Row("64 pollers among 8 webhook senders", "pollers alone: rate", seen.median("mixed", "polls"), 0.6),
    ]
