"""Two web machines behind a proxy and two workers, all processes of their own, sharing one PostgreSQL."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.wrappers import Request, Response

from tests.adoption.processes import ROOT, answers, eventually, free_port

ON_POSTGRES = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
OF_ONE_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "date"}


class Proxy:
    """In front of the machines, each in turn: hands on what came, and says for whom."""

    def __init__(self, machines: list[str]) -> None:
        self.turns = itertools.cycle(machines)
        self.served: dict[str, int] = dict.fromkeys(machines, 0)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request, machine = Request(environ), next(self.turns)
        self.served[machine] += 1
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_ONE_HOP}
        answer = requests.request(
            request.method,
            machine + request.full_path.rstrip("?"),
            data=request.get_data(),
            headers=headers | {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": request.host},
            allow_redirects=False,
            timeout=30,
        )
        kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in OF_ONE_HOP]
        return Response(answer.content, answer.status_code, kept)(environ, start_response)


class Fleet:
    def __init__(self, world: Any, database_url: str, logs: Path) -> None:
        self.environ = world._environment(database_url) | {"TRUSTED_PROXIES": "1", "PATH": os.environ["PATH"]}
        self.logs = logs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        ports = [free_port(), free_port()]
        for number, port in enumerate(ports, start=1):
            self.start(
                f"web {number}", "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1", "wsgi:app"
            )
            self.start(f"worker {number}", "-m", "flask", "--app", "wsgi", "checkout", "worker")
        self.start("emails", "-m", "flask", "--app", "wsgi", "emails", "worker")
        machines = [f"http://127.0.0.1:{port}" for port in ports]
        for machine in machines:
            eventually(lambda machine=machine: answers(f"{machine}/healthz"))
        self.proxy = world.shop.wsgi_app = Proxy(machines)

    def start(self, name: str, *arguments: str) -> None:
        with (self.logs / name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )

    def end(self) -> dict[str, int]:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(40) for name, process in self.processes.items()}

    def log(self) -> str:
        return "".join((self.logs / name).read_text() for name in self.processes)


@pytest.fixture
def fleet(world: Any, database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(world, database_url, tmp_path)
    yield fleet
    for process in fleet.processes.values():
        if process.poll() is None:
            process.kill()
            process.wait()


@ON_POSTGRES
def test_every_order_is_fulfilled_once_by_many_processes(world: Any, fleet: Fleet) -> None:
    world.webhooks("twice")

    def sale(name: str) -> None:
        shopper = world.shopper(name)
        shopper.pay(shopper.buy().headers["Location"])

    names = [f"Shopper{number} Rao" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sale, names))
    world.deliver()

    eventually(lambda: [order.state for order in world.orders()] == ["fulfilled"] * 4)
    eventually(lambda: len(world.emails()) == 4)
    assert len(world.accesses()) == 4
    assert world.emails() == ["welcome"] * 4
    assert all(count > 3 for count in fleet.proxy.served.values())
    assert fleet.end() == dict.fromkeys(fleet.processes, 0)
    assert "Traceback" not in fleet.log()
