"""`app` for any WSGI server and for `flask --app wsgi`; `python wsgi.py` starts the whole demo."""

from __future__ import annotations

import base64
import http.client
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from storefront.settings import Settings, SettingsError, is_loopback

if TYPE_CHECKING:
    from flask import Flask

ROOT = Path(__file__).resolve().parent
SECRETS_FILE = ROOT / "instance" / "demo.env"
PATIENCE = 30.0  # seconds until shop and sandbox must have answered
LAST_WORDS = 5.0  # seconds a child has to end by itself

Environment = dict[str, str]


def settings_or_exit(environ: Environment) -> Settings:
    try:
        return Settings.from_env(environ)
    except SettingsError as wrong:
        raise SystemExit("\n  - ".join(["The shop cannot start:", *wrong.problems])) from None


# --- The demo: sandbox, shop and worker as three processes, all of them on 127.0.0.1 ---


def demo() -> int:
    signals = Signals()
    os.chdir(ROOT)
    (ROOT / "instance").mkdir(exist_ok=True)
    with_sandbox = is_loopback(os.environ.get("FLEXPRICE_API_URL") or "http://localhost")
    environ = demo_environment() if with_sandbox else live_environment()
    settings = settings_or_exit(environ)
    ports = {"PORT": "shop"} | ({"SANDBOX_PORT": "sandbox"} if with_sandbox else {})
    for variable, name in ports.items():
        insist_on_free_port(variable, name, environ)

    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        upgrade = start(["-m", "flask", "--app", "wsgi", "db", "upgrade"], environ)
        for name, arguments in commands(environ, with_sandbox).items():
            if name == "worker" and upgrade.wait() != 0:  # who serves may come up meanwhile; who acts may not
                raise SystemExit("The database could not be brought up to date; the reason is above.")
            children[name] = start(arguments, environ)
        waiting = {name: int(environ[variable]) for variable, name in ports.items()}
        deadline = time.monotonic() + PATIENCE
        while not signals.stop:
            if dead := next((name for name, child in children.items() if child.poll() is not None), None):
                say(f"The {dead} ended by itself (exit code {children[dead].returncode}). Stopping the rest.")
                return 1
            if waiting and not (waiting := silent(waiting)):
                say(welcome(settings, environ, with_sandbox))
            if waiting and time.monotonic() > deadline:
                say(f"No answer from the {' and the '.join(waiting)} after {PATIENCE:.0f} seconds. Stopping.")
                return 1
            time.sleep(0.2)
        say("Stopping.")
        return 0
    finally:
        stop(children)


def live_environment() -> Environment:
    """The real Flexprice: everything comes from the environment, nothing is made up and nothing is kept."""
    return os.environ | {"PORT": os.environ.get("PORT") or "8000", "PYTHONUNBUFFERED": "1"}


def demo_environment() -> Environment:
    """What the environment says, and for the rest what makes the demo run. Empty counts as not set."""
    given = {name: value for name, value in os.environ.items() if value}
    port, sandbox_port = given.get("PORT", "8000"), given.get("SANDBOX_PORT", "8001")
    shop, sandbox = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}"
    defaults = {
        "PORT": port,
        "SANDBOX_PORT": sandbox_port,
        "FLEXPRICE_API_URL": f"{sandbox}/v1",
        "STOREFRONT_URL": shop,
        "DATABASE_URL": "sqlite:///instance/shop.db",
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@kestrel.test",
        "SANDBOX_URL": sandbox,
        "SANDBOX_WEBHOOK_URL": f"{shop}/webhooks/flexprice",
        "SANDBOX_DATABASE_URL": "sqlite:///instance/sandbox.db",
        "SANDBOX_MERCHANT": given.get("SHOP_NAME", "Kestrel"),
        "PYTHONUNBUFFERED": "1",
    }
    hosts = f"{given.get('PAYMENT_HOSTS', '')} 127.0.0.1:{sandbox_port}".strip()
    return defaults | kept_secrets(given) | given | {"PAYMENT_HOSTS": hosts}


def kept_secrets(given: Environment) -> Environment:
    """The demo's secrets: made on the first run and kept. What is given is neither made nor kept."""
    lines = SECRETS_FILE.read_text().splitlines() if SECRETS_FILE.exists() else []
    kept = dict(line.split("=", 1) for line in lines if "=" in line)
    made = {
        "FLEXPRICE_API_KEY": "sk_demo_" + secrets.token_urlsafe(24),
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "SECRET_KEY": secrets.token_urlsafe(48),
    }
    missing = {name: value for name, value in made.items() if name not in kept and name not in given}
    if missing:
        kept |= missing
        SECRETS_FILE.touch(mode=0o600)
        SECRETS_FILE.chmod(0o600)
        SECRETS_FILE.write_text("".join(f"{name}={value}\n" for name, value in kept.items()))
    return kept


def insist_on_free_port(variable: str, name: str, environ: Environment) -> None:
    port = environ[variable]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SystemExit(f"{variable} must be a port number between 1 and 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError as refused:
            raise SystemExit(
                f"The {name} cannot have port {port}: {refused.strerror}. Is it running already? "
                f"Stop what is there, or choose another port: {variable}={int(port) % 65535 + 10} make run"
            ) from None


def commands(environ: Environment, with_sandbox: bool) -> dict[str, list[str]]:
    sandbox = {"sandbox": ["-m", "storefront.sandbox"]} if with_sandbox else {}
    listen = ["--listen", f"127.0.0.1:{environ['PORT']}"]
    return sandbox | {
        "shop": ["-m", "storefront.serve", *listen, "--processes", "1", "--threads", "8"],
        "worker": ["-m", "flask", "--app", "wsgi", "work"],
    }


def start(arguments: list[str], environ: Environment) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C reaches the demo only, which then ends its children in good order."""
    return subprocess.Popen([sys.executable, *arguments], env=environ, start_new_session=True)  # noqa: S603


def silent(waiting: dict[str, int]) -> dict[str, int]:
    return {
        name: port
        for name, port in waiting.items()
        if not answers(port, "/healthz" if name == "shop" else "/")
    }


def answers(port: int, path: str) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        line.request("GET", path)
        return line.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def welcome(settings: Settings, environ: Environment, with_sandbox: bool) -> str:
    if not with_sandbox:
        here = f"http://127.0.0.1:{environ['PORT']}"
        return f"The shop is at {settings.storefront_url} (on this machine: {here}). Ctrl-C stops it."
    return f"""
  The shop      {settings.storefront_url}
  The sandbox   {environ["SANDBOX_URL"]}  (a practice Flexprice; no real money)
  Bad days      {environ["SANDBOX_URL"]}/_sandbox/guide  (all that can go wrong, one click each)

  Try this:
    1. Open {settings.storefront_url}, choose a plan and sign up with any name and address.
    2. Pay with the test card 4386 2894 0766 0153 (UPI failure@razorpay shows a declined payment).
    3. Watch the page turn to "ready", then read your welcome letter at {settings.storefront_url}/letters

  Ctrl-C stops everything; what you bought is still there next time.
"""


class Signals:
    """Ctrl-C, a polite kill and a closed terminal all mean the same: stop."""

    def __init__(self) -> None:
        self.stop = False
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self.note)

    def note(self, *_: object) -> None:
        self.stop = True


def stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for child in children.values():
        child.terminate()
    deadline = time.monotonic() + LAST_WORDS
    for child in children.values():
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(demo())


# --- The app ---


def shop() -> Flask:
    from storefront import create_app  # the demo above starts sooner without these
    from storefront.tracing import RequestIds
    from storefront.web.health import shout_without_worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(request_id)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(RequestIds())
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    made = create_app(settings_or_exit(dict(os.environ)))
    shout_without_worker(made)
    return made


app = shop()
