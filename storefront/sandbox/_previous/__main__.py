"""`python -m storefront.sandbox._previous`: the sandbox on its own port."""

import logging
import os
import signal
import sys
from types import FrameType

from waitress import serve  # type: ignore[import-untyped]

from storefront.sandbox._previous import create_app
from storefront.sandbox._previous.due import start_background


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s sandbox %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    app = create_app()
    thread = start_background(app)
    try:
        serve(app, host="127.0.0.1", port=int(os.environ.get("SANDBOX_PORT") or 8001), threads=8)
    finally:
        app.extensions["sandbox_stop"].set()
        thread.join(timeout=2)
        app.extensions["sandbox"].close()


if __name__ == "__main__":
    main()
