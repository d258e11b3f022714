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
    run(SandboxSettings.from_env(), "127.0.0.1", int(os.environ.get("SANDBOX_PORT") or 8001))


if __name__ == "__main__":
    main()
