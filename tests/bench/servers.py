"""The processes that are measured: gunicorn servers, workers, and a PostgreSQL server of the bench's own."""

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from .load import fetch

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    until_s = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until_s:
            raise RuntimeError(f"timed out: {what}")
        time.sleep(0.01)


@contextmanager
def process(*command: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python <command>`, until the block ends."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env = inherited | {"PYTHONPATH": str(ROOT)} | environ
    log = subprocess.DEVNULL if "BENCH_LOG" not in os.environ else None
    started = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(40)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def server(app: str, processes: int = 2, threads: int = 4, **environ: str) -> Iterator[int]:
    """`app` (module:variable) behind gunicorn, ours and the peers alike; gives its port."""
    port = free_port()
    options = ["--workers", str(processes), "--threads", str(threads), "--bind", f"127.0.0.1:{port}"]
    with process("-m", "gunicorn", "--worker-class", "gthread", *options, app, **environ):
        wait_until(lambda: fetch(port, "/ready") == 200, f"{app} does not start")
        yield port


@contextmanager
def postgres(folder: Path) -> Iterator[Callable[[], str]]:
    """A PostgreSQL server; gives a function that makes a new database and returns its URL."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name))
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
    home, port = folder / "postgres", free_port()
    home.mkdir()
    folder.chmod(0o755)
    if user:
        os.chown(home, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    initdb = [programs / "initdb", "--auth=trust", "--username=bench", "-D", home / "data"]
    subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=home)
    command = [programs / "postgres", "-D", home / "data", "-p", str(port)]
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    quiet = subprocess.DEVNULL
    started = subprocess.Popen([*command, *options], user=user, cwd=home, stdout=quiet, stderr=quiet)
    admin = create_engine(
        f"postgresql+psycopg://bench@127.0.0.1:{port}/postgres", isolation_level="AUTOCOMMIT"
    )
    names = iter(range(10_000))

    def answers() -> bool:
        try:
            with admin.connect():
                return True
        except OperationalError:
            return False

    def new_database() -> str:
        name = f"bench_{next(names)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return f"postgresql+psycopg://bench@127.0.0.1:{port}/{name}"

    try:
        wait_until(answers, "PostgreSQL does not start")
        yield new_database
    finally:
        admin.dispose()
        started.send_signal(signal.SIGINT)
        started.wait(30)
