"""The sandbox as a server of its own."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import FrameType

from waitress import serve  # type: ignore[import-untyped]

from . import background
from .app import create_app
from .settings import SandboxSettings

THREADS = 8
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared only
ALONE = {"SANDBOX_DATABASE_URL": "sqlite://", "SANDBOX_WEBHOOK_URL": "", "SANDBOX_SEED": ""}
FIRST_CALL = """
  URL      {url}/v1
  key      {key}
  secret   {secret}
  console  {url}/_sandbox/

  curl -s {url}/v1/plans/search -H "x-api-key: {key}" -d '{{}}'
"""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def run(settings: SandboxSettings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s sandbox %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    app = create_app(settings)
    database, stop = app.extensions["sandbox"], threading.Event()
    thread = background.start(database, app.extensions["sandbox_dispatcher"], stop)
    try:
        serve(app, host=host, port=port, threads=THREADS, ident="")  # Flexprice names no server
    finally:
        stop.set()
        thread.join(timeout=2)
        database.close()


def main() -> None:
    """As the environment says: how the demo starts it."""
    run(SandboxSettings.from_env(), "127.0.0.1", int(os.environ.get("SANDBOX_PORT") or 8001))


def serve_alone(host: str, port: int, given: Mapping[str, str]) -> None:
    """Serves in memory, empty and without an endpoint unless told otherwise, and prints a first call.

    :param given: settings by the names of their environment variables.
    """
    settings = SandboxSettings.from_env({**ALONE, "SANDBOX_PORT": str(port), **given})
    settings = replace(settings, url=given.get("SANDBOX_URL", "").rstrip("/"))
    shown = settings.url or f"http://{'127.0.0.1' if host in ANY_ADDRESS else host}:{port}"
    secret = " ".join(settings.webhook_secrets)
    print(FIRST_CALL.format(url=shown, key=settings.api_key, secret=secret), flush=True)
    run(settings, host, port)


if __name__ == "__main__":
    main()
