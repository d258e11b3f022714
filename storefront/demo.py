"""What `python wsgi.py` starts: the shop, the sandbox and the two workers, each a process on 127.0.0.1.

Everything that the demo makes up for itself is kept in instance/demo.env, so that `flask --app wsgi …` commands
meet the same shop. With FLEXPRICE_API_URL on another machine no sandbox is started and nothing is kept.
"""

import base64
import http.client
import logging
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from storefront.settings import SERVER_THREADS, Settings, SettingsError, is_loopback

ROOT = Path(__file__).resolve().parents[1]
ENV_FILE = ROOT / "instance" / "demo.env"
OPERATOR = "operator@kestrel.test"
START_S = 30.0  # until shop and sandbox must answer
STOP_S = 5.0  # for a child to end by itself
ENV_FILE_IS_USED = "None of FLEXPRICE_*, SECRET_KEY and DATABASE_URL is set: reading instance/demo.env."

log = logging.getLogger(__name__)
Environment = dict[str, str]


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


class CannotStart(Exception):
    """A sentence for whoever started the demo."""


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


# -- the environment --------------------------------------------------------------------------------


def load_environment(environ: Mapping[str, str]) -> Environment:
    """For `flask --app wsgi …`: the demo's environment, when the environment names no shop of its own."""
    names_a_shop = any(
        name.startswith("FLEXPRICE_") or name in ("SECRET_KEY", "DATABASE_URL") for name in environ
    )
    if names_a_shop or not ENV_FILE.exists():
        return dict(environ)
    log.info(ENV_FILE_IS_USED)
    return read_env_file() | dict(environ)


def read_env_file() -> Environment:
    lines = ENV_FILE.read_text(encoding="utf-8").splitlines() if ENV_FILE.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def demo_environment() -> Environment:
    """What the environment says, and for the rest what makes the demo run. Empty counts as not set."""
    given = {name: value for name, value in os.environ.items() if value}
    port, sandbox_port = port_of("PORT", "8000"), port_of("SANDBOX_PORT", "8001")
    shop, sandbox = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}"
    made = kept_secrets() | {
        "PORT": port,
        "SANDBOX_PORT": sandbox_port,
        "FLEXPRICE_API_URL": f"{sandbox}/v1",
        "FLEXPRICE_API_KEY": "sk_sandbox_default",
        "STOREFRONT_URL": shop,
        "DATABASE_URL": "sqlite:///instance/shop.db",
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@kestrel.test",
        "CHECKOUT_PAYMENT_HOSTS": f"127.0.0.1:{sandbox_port}",
        "SANDBOX_URL": sandbox,
        "SANDBOX_WEBHOOK_URL": f"{shop}/webhooks/flexprice",
        "SANDBOX_DATABASE_URL": "sqlite:///instance/sandbox.db",
        "SANDBOX_SHOP_QA_URL": f"{shop}/qa",
        "SANDBOX_MERCHANT": given.get("SHOP_NAME", "Kestrel"),
    }
    write_env_file({name: value for name, value in made.items() if name not in given})
    return made | given | {"PYTHONUNBUFFERED": "1"}


def kept_secrets() -> Environment:
    """The demo's secrets: made at the first start and kept."""
    made = {
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "QA_TOKEN": secrets.token_urlsafe(24),
        "DEMO_OPERATOR_PASSWORD": secrets.token_urlsafe(12),
    }
    known = read_env_file()
    return {name: known.get(name, value) for name, value in made.items()}


def write_env_file(values: Environment) -> None:
    """Readable by its owner only."""
    try:
        ENV_FILE.parent.mkdir(mode=0o700, exist_ok=True)
        ENV_FILE.parent.chmod(0o700)
        ENV_FILE.touch(mode=0o600)
        ENV_FILE.chmod(0o600)
        ENV_FILE.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    except OSError as error:
        raise CannotStart(f"The folder instance/ cannot be written: {error.strerror}.") from None


def port_of(variable: str, default: str) -> str:
    port = os.environ.get(variable) or default
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CannotStart(f"{variable} must be a port number between 1 and 65535.")
    return port


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


def banner(environ: Environment, with_sandbox: bool) -> str:
    if not with_sandbox:
        here = f"http://127.0.0.1:{environ['PORT']}"
        return f"The shop is at {environ['STOREFRONT_URL']} (on this machine: {here}). Ctrl-C stops it."
    shop, sandbox = environ["STOREFRONT_URL"], environ["SANDBOX_URL"]
    return f"""
  The shop      {shop}
  The sandbox   {sandbox}  (a practice Flexprice; no real money)
  Scenarios     {sandbox}/_sandbox/guide  (everything that can go wrong, one click each)
  Operator      {shop}/operator  sign in as {OPERATOR}, password {environ["DEMO_OPERATOR_PASSWORD"]}

  Try this:
    1. Open {shop}, choose a plan and sign up with any name and email address.
    2. Pay with the test card 4386 2894 0766 0153 (UPI failure@razorpay shows a declined payment).
    3. Watch the page change to "ready", then read your email at {shop}/emails

  Ctrl-C stops everything; your data is still there next time.
"""


def fail(reason: str) -> int:
    print(reason, file=sys.stderr, flush=True)
    return 1


def say(text: str) -> None:
    print(text, flush=True)
