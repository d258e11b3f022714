"""What `python wsgi.py` starts: the shop, the sandbox and the two workers, each a process on 127.0.0.1.

With FLEXPRICE_API_URL on another machine no sandbox is started, and nothing is made up or kept.
"""

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from storefront.demo_environment import (
    OPERATOR,
    ROOT,
    CannotStart,
    Environment,
    banner,
    demo_environment,
    port_of,
)
from storefront.flexprice import is_loopback
from storefront.settings import SERVER_THREADS, Settings, SettingsError

START_S = 30.0  # until shop and sandbox must answer
STOP_S = 5.0  # for a child to end by itself


def main() -> int:
    """Start the demo; returns the exit code."""
    stopping = Signals()
    os.chdir(ROOT)
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        with_sandbox = is_loopback(os.environ.get("FLEXPRICE_API_URL") or "http://localhost")
        environ = demo_environment() if with_sandbox else dict(os.environ) | {"PORT": port_of("PORT", "8000")}
        settings = Settings.from_env(environ)
        ports = {"shop": environ["PORT"]} | ({"sandbox": environ["SANDBOX_PORT"]} if with_sandbox else {})
        for name, port in ports.items():
            require_free_port(name, int(port))
        prepare(settings, environ.get("DEMO_OPERATOR_PASSWORD"))
        for name, arguments in commands(environ, with_sandbox).items():
            children[name] = start(arguments, environ)
        return watch(children, ports, banner(environ, with_sandbox), stopping)
    except SettingsError as error:
        return fail("\n  - ".join(["The shop cannot start:", *error.problems]))
    except CannotStart as error:
        return fail(str(error))
    finally:
        stop(children)


def watch(
    children: dict[str, subprocess.Popen[bytes]], ports: dict[str, str], welcome: str, stopping: "Signals"
) -> int:
    """Print the banner once all answer, then wait until the demo is stopped or a child ends."""
    silent, deadline = dict(ports), time.monotonic() + START_S
    while not stopping.asked:
        if dead := next((name for name, child in children.items() if child.poll() is not None), None):
            return fail(f"The {dead} ended by itself (exit code {children[dead].returncode}).")
        if silent:
            silent = {name: port for name, port in silent.items() if not answers(int(port))}
            if not silent:
                say(welcome)
            elif time.monotonic() > deadline:
                return fail(f"No answer from the {' and the '.join(silent)} after {START_S:.0f} seconds.")
        time.sleep(0.2)
    say("Stopping.")
    return 0


# -- the database -----------------------------------------------------------------------------------


def prepare(settings: Settings, operator_password: str | None) -> None:
    """Create the tables, and the demo's operator."""
    from flask_migrate import upgrade

    from storefront import create_app

    if settings.database_url.get_backend_name() == "sqlite":
        require_known_version(Path(settings.database_url.database or ""))
    app = create_app(settings)
    with app.app_context():
        upgrade()
        if operator_password:
            seed_operator(operator_password)


def seed_operator(password: str) -> None:
    """An operator to sign in as, unless there is one with this address."""
    from storefront.accounts import service
    from storefront.extensions import db

    if service.find(OPERATOR) is None:
        user = service.sign_up("Operator", OPERATOR, service.hash_password(password))
        user.is_operator = True
        db.session.commit()


def require_known_version(file: Path) -> None:
    """A database of another version of this demo cannot be upgraded."""
    if not file.exists() or file.stat().st_size == 0:
        return
    connection = sqlite3.connect(file)
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError:
        found = None
    finally:
        connection.close()
    revisions = (ROOT / "storefront" / "migrations" / "versions").glob("*.py")
    if found is None or not any(revision.name.startswith(found[0]) for revision in revisions):
        raise CannotStart(
            f"{file.parent.name}/ was made by another version of this demo. To start again: "
            f"move the folder away, or delete it, and run the demo once more."
        )


# -- processes --------------------------------------------------------------------------------------


def commands(environ: Environment, with_sandbox: bool) -> dict[str, list[str]]:
    """What to run, by name. The sandbox and the emails are optional packages."""
    listen, threads = f"--listen=127.0.0.1:{environ['PORT']}", f"--threads={SERVER_THREADS}"
    started = {"sandbox": ["-m", "storefront.sandbox"]} if with_sandbox else {}
    started["shop"] = ["-m", "waitress", listen, threads, "wsgi:app"]
    started["worker"] = ["-m", "flask", "--app", "wsgi", "checkout", "worker"]
    if (ROOT / "storefront" / "emails").exists():
        started["email worker"] = ["-m", "flask", "--app", "wsgi", "emails", "worker"]
    return started


def start(arguments: list[str], environ: Environment) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C reaches the demo only, which then ends its children in order."""
    return subprocess.Popen([sys.executable, *arguments], env=environ, start_new_session=True)  # noqa: S603


def require_free_port(name: str, port: int) -> None:
    with socket.socket() as probe:
        if os.name != "nt":  # there it would allow a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as refused:
            variable = "PORT" if name == "shop" else "SANDBOX_PORT"
            raise CannotStart(
                f"The {name} cannot have port {port}: {refused.strerror}. Is it running already? "
                f"Stop it, or choose another port: {variable}={port % 65535 + 10} python wsgi.py"
            ) from None


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        child.terminate()
    deadline = time.monotonic() + STOP_S
    for child in children.values():
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Signals:
    """Ctrl-C, SIGTERM and a closed terminal all ask the demo to stop."""

    def __init__(self) -> None:
        self.asked = False
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self.ask)

    def ask(self, *_: object) -> None:
        self.asked = True


def fail(reason: str) -> int:
    print(reason, file=sys.stderr, flush=True)
    return 1


def say(text: str) -> None:
    print(text, flush=True)
