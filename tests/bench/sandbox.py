"""Customers made in the sandbox at 0, 500 and 100,000 stored, and in localstripe at 500.

`python -m tests.bench.sandbox`: one run, rounds interleaved in random order, one client that waits for each
answer. Needs requirements-bench.txt.
"""

import argparse
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import insert

from storefront.sandbox.store.database import Database
from storefront.sandbox.store.rows import Customer

ROOT = Path(__file__).parents[2]
KEY = "sk_sandbox_default"
ROUND_S = 1.0
START_S = 60.0
FEW, MANY = 500, 100_000
AT_ONCE = 5_000  # rows of one transaction while a store is filled
Call = Callable[[http.client.HTTPConnection, str], None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(NamedTuple):
    port: int
    pid: int

    def cpu_s(self) -> float:
        """CPU time so far: it tells more than the clock on a machine with other work."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    per_s: float
    cpu_ms: float  # of the server, for one customer


@contextmanager
def server(command: list[str], port: int, folder: Path) -> Iterator[Server]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    with (folder / f"{port}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
        try:
            _await(port)
            yield Server(port, process.pid)
        finally:
            process.terminate()
            process.wait(20)


def _await(port: int) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("a server did not start")


def sandbox_with(stored: int, folder: Path) -> list[str]:
    """The command that serves a sandbox whose default store has that many customers."""
    file = folder / f"sandbox-{stored}.db"
    url = f"sqlite:///{file}"
    from storefront.sandbox import create_app
    from storefront.sandbox.settings import SandboxSettings

    database: Database = create_app(SandboxSettings(database_url=url, seed="")).extensions["sandbox"]
    for first in range(0, stored, AT_ONCE):
        with database.write("default") as session:
            now, last = session.now(), min(first + AT_ONCE, stored)
            rows = [_row(f"stored-{number}", now) for number in range(first, last)]
            session.orm.execute(insert(Customer), rows)
    database.close()
    return [sys.executable, "-m", "storefront.sandbox", "serve", "--database", url]


def _row(name: str, now: datetime) -> dict[str, object]:
    own = {"store": "default", "id": f"cust_{name}", "external_id": name, "name": "A"}
    return own | {"created_at": now, "updated_at": now}


def make_in_sandbox(connection: http.client.HTTPConnection, name: str) -> None:
    body = json.dumps({"external_id": name, "name": "Asha Rao"})
    connection.request("POST", "/v1/customers", body, {"x-api-key": KEY, "Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    answer.read()


def make_in_localstripe(connection: http.client.HTTPConnection, name: str) -> None:
    headers = {"Authorization": "Bearer sk_test_12345", "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/v1/customers", f"name=Asha+Rao&description={name}", headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()


def measured(target: Server, make: Call, prefix: str, *, count: int = 0) -> Round:
    """Makes customers for ROUND_S, or until `count` were made."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    began, cpu_s, made = time.perf_counter(), target.cpu_s(), 0
    while (made < count) if count else (time.perf_counter() - began < ROUND_S):
        make(connection, f"{prefix}-{made}")
        made += 1
    connection.close()
    return Round(made / (time.perf_counter() - began), (target.cpu_s() - cpu_s) * 1000 / made)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sandbox", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        ports: dict[str, Server] = {}
        for stored in (0, FEW, MANY):
            port = free_port()
            command = [*sandbox_with(stored, folder), "--port", str(port)]
            ports[f"sandbox, {stored} stored"] = stack.enter_context(server(command, port, folder))
        port = free_port()
        command = [sys.executable, "-m", "localstripe", "--port", str(port), "--from-scratch"]
        peer = f"localstripe, {FEW} stored"
        ports[peer] = stack.enter_context(server(command, port, folder))
        measured(ports[peer], make_in_localstripe, "fill", count=FEW)
        found: dict[str, list[Round]] = {place: [] for place in ports}
        for number in range(rounds):
            for place, target in random.sample(list(ports.items()), len(ports)):
                make = make_in_localstripe if place == peer else make_in_sandbox
                found[place].append(measured(target, make, f"round-{number}"))
        report(found, peer)


def report(found: dict[str, list[Round]], peer: str) -> None:
    """Medians: of the rates, of the server's CPU time, and of the ratios within each round."""
    for place, rounds in found.items():
        per_s, cpu_ms = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"{place}: {per_s:.0f} customers/s, {cpu_ms:.1f} ms of CPU each")
    none, few, many, other = (found[place] for place in (*(key for key in found if key != peer), peer))
    for title, over, under in (
        ("500 stored / localstripe", few, other),
        ("100,000 stored / none", many, none),
    ):
        pairs = list(zip(over, under, strict=True))
        per_s = statistics.median(a.per_s / b.per_s for a, b in pairs)
        cpu = statistics.median(b.cpu_ms / a.cpu_ms for a, b in pairs)
        print(f"{title}: {per_s:.2f} by the clock, {cpu:.2f} by CPU time")


if __name__ == "__main__":
    main()
