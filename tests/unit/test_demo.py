"""`python wsgi.py`, as `make run` uses it: in a copy of the project, so that its instance/ is a new one."""

import http.client
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import free_port

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path) -> Path:
    for part in ("storefront", "templates", "static"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "wsgi.py", tmp_path)
    return tmp_path


@pytest.fixture
def environ() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PORT": str(free_port()), "SANDBOX_PORT": str(free_port())}


class Demo:
    """`python wsgi.py`, running; its output is in a file."""

    def __init__(self, clone: Path, environ: dict[str, str]) -> None:
        self.output = clone / "output.txt"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "wsgi.py"], cwd=clone, env=environ, stdout=output, stderr=subprocess.STDOUT
            )

    def says(self, words: str, within: float = 90) -> str:
        deadline = time.monotonic() + within
        while words not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)
        return self.output.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def demo(clone, environ) -> Iterator[Demo]:
    running = Demo(clone, environ)
    yield running
    if running.process.poll() is None:
        running.stop()


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
        timeout=120,
    )


def kept(clone: Path) -> dict[str, str]:
    lines = (clone / "instance" / "demo.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_demo_starts_serves_commands_and_stops(demo, clone, environ):
    said = demo.says("Try this")
    assert f"http://127.0.0.1:{environ['PORT']}" in said
    connection = http.client.HTTPConnection("127.0.0.1", int(environ["PORT"]), timeout=30)
    connection.request("GET", "/sign-in")
    assert connection.getresponse().status == 200
    connection.close()
    connection.request("GET", re.findall(r"/demo/operator/\S+", said)[0])
    signed_in = connection.getresponse()
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/operator/")
    connection.close()

    # The commands of the README, in a shell that knows nothing of the demo.
    shell = {"PATH": os.environ["PATH"]}
    listed = run(clone, shell, "-m", "flask", "--app", "wsgi", "emails", "worker", "--once")
    assert listed.returncode == 0, listed.stderr
    assert "reading instance/demo.env" in listed.stderr
    made = run(clone, shell, "-m", "flask", "--app", "wsgi", "operator", "operator@kestrel.test")
    assert f"http://127.0.0.1:{environ['PORT']}/reset-password/" in made.stdout

    assert demo.stop(signal.SIGINT) == 0
    assert not listens(environ["PORT"])
    assert not listens(environ["SANDBOX_PORT"])


@pytest.mark.thorough
def test_secrets_are_made_once_and_kept_to_the_owner(clone, environ):
    environ["FLEXPRICE_API_KEY"] = "sk_given_by_hand"
    secrets = []
    for _ in range(2):
        demo = Demo(clone, environ)
        said = demo.says("Try this")
        assert demo.stop() == 0
        values = kept(clone)
        assert "FLEXPRICE_API_KEY" not in values, "what was given is not kept"
        assert values["DEMO_OPERATOR_PASSWORD"] in said
        for name in ("FLEXPRICE_WEBHOOK_SECRET", "SECRET_KEY", "QA_TOKEN"):
            assert values[name] not in said
        assert "sk_given_by_hand" not in said
        secrets.append(values)
    assert secrets[0] == secrets[1]
    assert (clone / "instance" / "demo.env").stat().st_mode & 0o777 == 0o600
    assert (clone / "instance").stat().st_mode & 0o777 == 0o700


@pytest.mark.thorough
def test_a_child_that_ends_is_named_and_stops_the_demo(clone, environ):
    shutil.rmtree(clone / "storefront" / "sandbox")
    ended = run(clone, environ)
    assert ended.returncode == 1
    assert "The sandbox ended by itself" in ended.stderr
    assert not listens(environ["PORT"])


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "place"), [("PORT", ""), ("SANDBOX_PORT", ""), ("PORT", "127.0.0.1")])
def test_a_taken_port_is_one_sentence(clone, environ, name, place):
    """By a server of one address or of all. Kind: one server for each port."""
    with socket.socket() as other:
        other.bind((place, int(environ[name])))
        other.listen()
        ended = run(clone, environ)
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        f"The {'sandbox' if 'SAND' in name else 'shop'} cannot have port {environ[name]}"
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_one_sentence(clone, environ, port):
    ended = run(clone, environ | {"PORT": port})
    assert (ended.returncode, ended.stderr) == (1, "PORT must be a port number between 1 and 65535.\n")


@pytest.mark.thorough
@pytest.mark.parametrize("revision", ["0007_of_another_version", None])
def test_data_of_another_version_is_one_sentence(clone, environ, revision):
    (clone / "instance").mkdir()
    with sqlite3.connect(clone / "instance" / "shop.db") as database:
        database.execute("CREATE TABLE shoppers (id)")
        if revision:
            database.execute("CREATE TABLE alembic_version (version_num)")
            database.execute("INSERT INTO alembic_version VALUES (?)", [revision])
    database.close()
    ended = run(clone, environ)
    assert ended.returncode == 1
    assert ended.stderr.startswith("instance/ was made by another version of this demo. To start again: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.thorough
def test_with_the_real_flexprice_nothing_is_made_up(clone, environ):
    environ |= {"FLEXPRICE_API_URL": "https://api.flexprice.example/v1", "FLEXPRICE_API_KEY": "sk_real"}
    ended = run(clone, environ)
    assert ended.returncode == 1
    missing = [
        "FLEXPRICE_WEBHOOK_SECRET",
        "STOREFRONT_URL",
        "SECRET_KEY",
        "DATABASE_URL",
        "MAIL_URL",
        "MAIL_FROM",
    ]
    assert re.findall(r"(\w+) is missing", ended.stderr) == missing
    assert not (clone / "instance" / "demo.env").exists()
    assert "sk_real" not in ended.stdout + ended.stderr


@pytest.mark.thorough
def test_the_app_refuses_to_start_without_settings(clone):
    ended = run(clone, {"PATH": os.environ["PATH"]}, "-c", "import wsgi")
    assert ended.returncode == 1
    assert ended.stderr.startswith("The shop cannot start:")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("named", ["FLEXPRICE_API_KEY", "SECRET_KEY", "DATABASE_URL"])
def test_an_environment_that_names_a_shop_is_left_alone(tmp_path, monkeypatch, named):
    from storefront import demo_environment

    monkeypatch.setattr(demo_environment, "ENV_FILE", tmp_path / "demo.env")
    (tmp_path / "demo.env").write_text("SECRET_KEY=of the demo\nPORT=1\n")
    assert demo_environment.load_environment({named: "x"}) == {named: "x"}
    assert demo_environment.load_environment({"PORT": "2"}) == {"SECRET_KEY": "of the demo", "PORT": "2"}


HIDE_POSIX = """
import os, sys
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None
for function in ("fork", "getuid", "geteuid", "setsid"):
    if hasattr(os, function):
        delattr(os, function)
import importlib, pkgutil, storefront
left_out = ("storefront.migrations", "storefront.sandbox._previous")
for module in pkgutil.walk_packages(storefront.__path__, "storefront."):
    if not module.name.startswith(left_out):
        importlib.import_module(module.name)
import wsgi
print("started", wsgi.app.name)
"""


def test_nothing_needs_a_module_that_windows_lacks(clone, environ):
    settings = {
        "FLEXPRICE_API_URL": "http://127.0.0.1:9/v1",
        "FLEXPRICE_API_KEY": "sk_of_a_test",
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "STOREFRONT_URL": "http://127.0.0.1:8000",
        "SECRET_KEY": "thirty-two characters, or more..",
        "DATABASE_URL": "sqlite:///instance/shop.db",
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@shop.example",
    }
    ended = run(clone, environ | settings, "-c", HIDE_POSIX)
    assert ended.stdout == "started storefront\n", ended.stderr
