"""The demo starter, as `make run` uses it: in a copy of the project, so that its instance/ is a fresh one."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def clone(tmp_path) -> Path:
    for part in ("storefront", "templates", "static"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", tmp_path)
    return tmp_path


@pytest.fixture
def environ() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PORT": free_port(), "SANDBOX_PORT": free_port()}


class Demo:
    """`python wsgi.py`, running; what it says is in a file."""

    def __init__(self, clone: Path, environ: dict[str, str]) -> None:
        self.output = clone / "output.txt"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "wsgi.py"], cwd=clone, env=environ, stdout=output, stderr=subprocess.STDOUT
            )

    def says(self, words: str, within: float = 45) -> str:
        deadline = time.monotonic() + within
        while words not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)
        return self.output.read_text()

    def ends(self, within: float = 45) -> int:
        return self.process.wait(within)


@pytest.fixture
def demo(clone, environ) -> Iterator[Demo]:
    running = Demo(clone, environ)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(15)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def listens(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def run(clone: Path, environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(arguments or ("wsgi.py",))],
        cwd=clone,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_starts_says_what_to_try_and_stops_cleanly(demo, environ, word):
    said = demo.says("Try this")
    assert f"http://127.0.0.1:{environ['PORT']}" in said
    line = http.client.HTTPConnection("127.0.0.1", int(environ["PORT"]), timeout=10)
    line.request("GET", "/")
    assert line.getresponse().status == 200
    line.close()

    demo.process.send_signal(word)
    assert demo.ends(within=15) == 0
    assert not listens(environ["PORT"])
    assert not listens(environ["SANDBOX_PORT"])


def test_secrets_are_made_once_kept_to_the_owner_and_never_printed(clone, environ):
    environ["FLEXPRICE_API_KEY"] = "sk_given_by_hand"
    kept = []
    for _ in range(2):
        demo = Demo(clone, environ)
        said = demo.says("Try this")
        demo.process.terminate()
        assert demo.ends() == 0
        kept.append((clone / "instance" / "demo.env").read_text())
        secrets = dict(line.split("=", 1) for line in kept[-1].splitlines())
        assert set(secrets) == {"FLEXPRICE_WEBHOOK_SECRET", "SECRET_KEY"}
        assert not any(secret in said for secret in (*secrets.values(), "sk_given_by_hand"))
    assert kept[0] == kept[1]
    assert (clone / "instance" / "demo.env").stat().st_mode & 0o777 == 0o600


def test_a_child_that_dies_is_named_and_takes_the_rest_along(clone, environ):
    shutil.rmtree(clone / "storefront" / "sandbox")
    ended = run(clone, environ)
    assert ended.returncode == 1
    assert "The sandbox ended by itself" in ended.stdout
    assert not listens(environ["PORT"])


def test_a_taken_port_is_said_before_anything_starts(clone, environ):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(environ["PORT"])))
        other.listen()
        ended = run(clone, environ)
    assert ended.returncode == 1
    assert f"The shop cannot have port {environ['PORT']}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_with_the_real_flexprice_nothing_is_made_up_and_nothing_is_kept(clone, environ):
    environ |= {"FLEXPRICE_API_URL": "https://api.flexprice.example/v1", "FLEXPRICE_API_KEY": "sk_real"}
    ended = run(clone, environ)
    assert ended.returncode == 1
    missing = re.findall(r"(\w+) is missing", ended.stderr)
    assert missing == [
        "FLEXPRICE_WEBHOOK_SECRET",
        "STOREFRONT_URL",
        "SECRET_KEY",
        "DATABASE_URL",
        "MAIL_URL",
        "MAIL_FROM",
    ]
    assert not (clone / "instance" / "demo.env").exists()
    assert "sk_real" not in ended.stdout + ended.stderr


def test_app_refuses_to_be_served_without_settings(clone):
    ended = run(clone, {"PATH": os.environ["PATH"]}, "-c", "import wsgi")
    assert ended.returncode == 1
    assert ended.stderr.startswith("The shop cannot start:")
    assert "Traceback" not in ended.stderr
