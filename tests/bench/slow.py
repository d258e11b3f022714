"""Clients that say little or nothing, against the documented start command."""

import socket
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench import rows
from tests.bench.load import load
from tests.bench.servers import served
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import copied

CLIENTS = 64
KINDS = {
    "silent": b"",
    "half a head": b"POST /webhooks/flexprice HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le",
    "half a body": b"POST /webhooks/flexprice HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 700\r\n\r\n{",
}


def crowd(template: Path, said: bytes) -> Figures:
    with copied(template) as url:
        environ = rows.environ(url) | {"BENCH_TARGET": "shops:shop"}
        with served("tests.bench.target:app", environ, ready="/healthz") as server, ExitStack() as lines:
            for _ in range(CLIENTS):
                line = lines.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                line.sendall(said)
            time.sleep(0.5)
            result = load(server.port, 8, 3.0, rows.webhooks(100))
            quick = sum(wait < 1.0 for wait in result.waits)
            return {"share": quick / (result.answers + result.errors)}


def measure(rounds: int, folder: Path) -> list[Row]:
    template = folder / "shop.db"
    rows.fill(f"sqlite:///{template}", 100)
    seen = Rounds().run(rounds, {name: partial(crowd, template, said) for name, said in KINDS.items()})
    return [
        Row(
            f"{CLIENTS} slow clients, {name}: good webhooks answered in 1 s",
            "all sent",
            seen.median(name, "share"),
            0.99,
        )
        for name in KINDS
    ]
