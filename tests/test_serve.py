"""The production server: one port, a few processes, and nobody's request is lost when it stops."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parent.parent

APP = """
import os, threading, time
def note():
    time.sleep(1)
    open("noted", "w").close()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
    if environ["PATH_INFO"] == "/later":
        threading.Thread(target=note, daemon=False).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


class Server:
    def __init__(self, folder: Path, app: str, *options: str) -> None:
        (folder / "tiny.py").write_text(app)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "storefront.serve", "tiny:app", "--listen", f"127.0.0.1:{self.port}"]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [*command, *options], cwd=folder, env=environ, stderr=subprocess.PIPE, text=True
        )

    def get(self, path: str = "/") -> str:
        for _ in range(200):
            try:
                return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=20).text
            except requests.ConnectionError:
                if self.process.poll() is not None:
                    raise
                time.sleep(0.05)
        raise AssertionError("no answer")

    def pids(self, wanted: int) -> set[str]:
        seen: set[str] = set()
        for _ in range(500):
            seen.add(self.get())
            if len(seen) == wanted:
                break
        return seen

    def end(self) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    servers: list[Server] = []

    def run(*options: str, app: str = APP) -> Server:
        servers.append(Server(tmp_path, app, *options))
        return servers[-1]

    yield run
    for server in servers:
        server.end()


def test_the_processes_share_one_port(start):
    assert len(start("--processes", "2").pids(2)) == 2


def test_a_request_under_way_is_answered_before_the_server_stops(start):
    server = start("--processes", "1")
    server.get()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(server.get, "/slow")
        time.sleep(0.3)
        assert server.end() == (0, "")
        assert slow.result().isdecimal()


def test_what_goes_on_behind_an_answer_is_finished_before_the_server_stops(start, tmp_path):
    server = start("--processes", "1")
    server.get("/later")
    assert server.end() == (0, "")
    assert (tmp_path / "noted").exists()


def test_a_process_that_dies_is_replaced(start, monkeypatch):
    server = start("--processes", "1")
    first = server.get()
    os.kill(int(first), signal.SIGKILL)
    assert server.get() != first


def test_an_orphan_ends_by_itself(start):
    server = start("--processes", "1")
    served_by = int(server.get())
    server.process.kill()
    for _ in range(200):
        if (
            not Path(f"/proc/{served_by}/cmdline").exists()
            or not Path(f"/proc/{served_by}/cmdline").read_bytes()
        ):
            break
        time.sleep(0.05)
    else:
        os.kill(served_by, signal.SIGKILL)
        pytest.fail("it goes on without its parent")


def test_a_port_that_is_taken_ends_the_server_and_says_so(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        server.process.wait(20)
    code, said = server.end()
    assert code == 1
    assert "Address already in use" in said


def test_an_app_that_refuses_to_start_ends_the_server_and_says_why(start):
    server = start("--processes", "2", app="raise SystemExit('The shop cannot start: no key.')")
    server.process.wait(20)
    code, said = server.end()
    assert code == 1
    assert set(said.splitlines()) == {"The shop cannot start: no key."}


def test_an_app_that_breaks_ends_the_server_with_its_traceback(start):
    server = start(app="1 / 0")
    server.process.wait(20)
    code, said = server.end()
    assert code == 1
    assert re.search(r"ZeroDivisionError", said)


@pytest.mark.parametrize(
    "sent", [b"", b"POST / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
def test_clients_that_say_little_or_nothing_keep_nobody_waiting(start, sent):
    server = start("--processes", "1", "--threads", "1")
    server.get()
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(64)]
    for line in silent:
        line.sendall(sent)
    assert server.get().isdecimal()
    for line in silent:
        line.close()


ECHO = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ.get("HTTP_X_FORWARDED_PROTO", "nothing").encode()]
"""


def test_what_a_proxy_says_reaches_the_shop_which_knows_whom_to_believe(start):
    server = start("--processes", "1", app=ECHO)
    server.get()
    said = requests.get(
        f"http://127.0.0.1:{server.port}/", headers={"X-Forwarded-Proto": "https"}, timeout=20
    )
    assert said.text == "https"


IMPATIENT = """
import __main__ as serve
serve.LIMITS["channel_timeout"] /= 30
serve.LIMITS["cleanup_interval"] = 1  # how often it looks
"""


def test_a_line_that_stays_silent_is_closed_by_the_server(start):
    server = start("--processes", "1", app=IMPATIENT + APP)
    server.get()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        line.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
        assert line.recv(1) == b""


def test_a_body_beyond_all_limits_is_refused_before_it_is_read(start):
    server = start("--processes", "1")
    server.get()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        assert b" 413 " in line.recv(100)
