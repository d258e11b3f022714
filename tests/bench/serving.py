"""Why this server: its rate, and what slow clients do to it, beside what most Flask apps start with."""

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path

from tests.bench import rows
from tests.bench.load import get, load
from tests.bench.servers import Running, free_port, running, served
from tests.bench.slow import CLIENTS
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import expect

TARGET = "tests.bench.target:app"
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 700\r\n\r\n{"


def ours() -> AbstractContextManager[Running]:
    return served(TARGET, _environ())


def gunicorn() -> AbstractContextManager[Running]:
    """Two processes with four threads, as ours, and a common port that the kernel shares out."""
    port = free_port()
    how = ["-k", "gthread", "-w", "2", "--threads", "4", "--reuse-port", "-b", f"127.0.0.1:{port}"]
    return running("-m", "gunicorn", *how, TARGET, port=port, ready="/", **_environ())


def _environ() -> dict[str, str]:
    return rows.environ("sqlite://") | {"BENCH_TARGET": "floors:hello"}


def looked_at(server: Callable[[], AbstractContextManager[Running]]) -> Figures:
    with server() as process:
        expect(load(process.port, 16, 0.3, cycle([get("/")])))
        quiet = load(process.port, 16, 1.0, cycle([get("/")]))
        expect(quiet)
        with ExitStack() as lines:
            for _ in range(CLIENTS):
                line = lines.enter_context(socket.create_connection(("127.0.0.1", process.port)))
                line.sendall(HALF_A_BODY)
            time.sleep(0.5)
            among = load(process.port, 8, 2.0, cycle([get("/")]), patience=5.0)
    quick = sum(wait < 1.0 for wait in among.waits)
    return {"rate": quiet.rate, "share": quick / max(among.answers + among.errors, 1)}


def measure(rounds: int, folder: Path) -> list[Row]:
    seen = Rounds().run(rounds, {"ours": partial(looked_at, ours), "gunicorn": partial(looked_at, gunicorn)})
    crowd = f"{CLIENTS} clients with half a body: answered in 1 s"
    return [
        Row(
            "hello-world, 16 clients, this server",
            "gunicorn gthread: rate",
            seen.ratio("ours", "gunicorn", "rate"),
            0.9,
        ),
        Row(f"{crowd}, this server", "all sent", seen.median("ours", "share"), 0.99),
        Row(f"{crowd}, gunicorn in its place", "all sent", seen.median("gunicorn", "share"), 0.99, True),
    ]
