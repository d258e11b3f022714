"""The webhook's door: durable and quick, at 1, 8 and 32 senders."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import floors, rows
from tests.bench.load import Load, load
from tests.bench.servers import Running, served
from tests.bench.table import Figures, Rounds, Row

ORDERS = 10_000
SENDERS = (1, 8, 32)
SECONDS = 1.0


@contextmanager
def copied(template: Path) -> Iterator[str]:
    """A database of its own for each server."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "bench.db"
        shutil.copy(template, place)
        yield f"sqlite:///{place}"


@contextmanager
def target(name: str, template: Path) -> Iterator[Running]:
    with (
        copied(template) as url,
        served(
            "tests.bench.target:app", rows.environ(url) | {"BENCH_TARGET": name}, ready="/healthz"
        ) as server,
    ):
        yield server


def figures(server: Running, make: Callable[[int], Iterator[bytes]], seconds: float = SECONDS) -> Figures:
    found: Figures = {}
    start = 0
    for senders in SENDERS:
        before = server.cpu()
        result = load(server.port, senders, seconds, make(start))
        start += result.answers
        expect(result)
        found |= {
            f"rate{senders}": result.rate,
            f"cpu{senders}": (server.cpu() - before) / result.answers,
            f"p99_{senders}": result.percentile(0.99),
            f"worst{senders}": max(result.waits),
        }
    return found


def expect(result: Load) -> int:
    """How many good answers. A figure of refusals is no figure."""
    good = sum(count for status, count in result.statuses.items() if status < 400)
    if result.errors or good < 0.98 * result.answers:
        raise RuntimeError(f"{result.errors} errors, answers {result.statuses}")
    return good


def one(name: str, template: Path, make: Callable[[int], Iterator[bytes]]) -> Figures:
    with target(name, template) as server:
        return figures(server, make)


def with_duplicates(template: Path) -> Figures:
    """The shop, and then the same messages once more."""
    with target("shops:shop", template) as server:
        found = figures(server, partial(rows.webhooks, ORDERS))
        sent = [rows.webhook(number, f"msg_twice_{number}") for number in range(1500)]
        first = load(server.port, 8, SECONDS, iter(sent))
        expect(first)
        again = load(server.port, 8, SECONDS, iter(sent[: first.answers]))
        expect(again)
        return found | {"new": first.rate, "known": again.rate}


def measure(rounds: int, folder: Path) -> list[Row]:
    shop_rows, floor_rows = folder / "shop.db", folder / "floor.db"
    rows.fill(f"sqlite:///{shop_rows}", ORDERS)
    floors.fill(f"sqlite:///{floor_rows}", ORDERS)
    ours = partial(rows.webhooks, ORDERS)
    seen = Rounds().run(
        rounds,
        {
            "shop": partial(with_duplicates, shop_rows),
            "floor": partial(one, "floors:webhook", floor_rows, ours),
            "ungated": partial(one, "shops:without_gate", shop_rows, ours),
            "stripe": partial(one, "floors:stripe_sample", floor_rows, lambda start: rows.stripe_webhooks()),
        },
    )
    path = "webhook, durable (SQLite)"
    return [
        *(
            Row(f"{path}, {n} senders", "floor: rate", seen.ratio("shop", "floor", f"rate{n}"), 1.0)
            for n in SENDERS
        ),
        *(
            Row(f"{path}, {n} senders", "floor: CPU", seen.ratio("shop", "floor", f"cpu{n}"), 1.15, True)
            for n in SENDERS
        ),
        Row(
            f"{path}, 8 senders", "without the gate: p99", seen.ratio("shop", "ungated", "p99_8"), 0.15, True
        ),
        Row(
            f"{path}, 32 senders", "without the gate: p99", seen.ratio("shop", "ungated", "p99_32"), 0.3, True
        ),
        Row(f"{path}, 32 senders", "worst answer", seen.worst("shop", "worst32"), 1.0, True, "s"),
        Row(
            f"{path}, 8 senders",
            "sample that stores nothing: rate",
            seen.ratio("shop", "stripe", "rate8"),
            0.5,
        ),
        Row(
            "webhook, a known message", "a new message: rate", seen.ratio("shop", "shop", "known", "new"), 1.0
        ),
    ]
