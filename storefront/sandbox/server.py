"""The sandbox as a server of its own."""

import logging
import os
import signal
import sys
import threading
from types import FrameType

from waitress import serve  # type: ignore[import-untyped]

from . import background
from .app import create_app
from .settings import SandboxSettings

THREADS = 8
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
        serve(app, host=host, port=port, threads=THREADS)
    finally:
        stop.set()
        thread.join(timeout=2)
        database.close()


def main() -> None:
    """As the environment says: how the demo starts it."""
    run(SandboxSettings.from_env(), "127.0.0.1", int(os.environ.get("SANDBOX_PORT") or 8001))


def serve_alone(host: str, port: int, generation: str, seed: str, database: str, webhook_url: str) -> None:
    """Serves with nothing set, and prints how to make the first call."""
    url = os.environ.get("SANDBOX_URL", "").rstrip("/")
    hosts = tuple(os.environ.get("SANDBOX_ALLOWED_HOSTS", "").replace(",", " ").split())
    settings = SandboxSettings(
        database_url=database,
        url=url,
        webhook_url=webhook_url,
        generation=generation,
        seed=seed,
        allowed_hosts=hosts,
    )
    shown = url or f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared only
    secret = " ".join(settings.webhook_secrets)
    print(FIRST_CALL.format(url=shown, key=settings.api_key, secret=secret), flush=True)
    run(settings, host, port)


if __name__ == "__main__":
    main()
