"""`flask emails worker`: send emails, from the command line."""

import signal
import threading
from typing import Any

import click
from flask.cli import AppGroup

from storefront.emails import worker

emails = AppGroup("emails", help="Emails to users.")


@emails.command("worker")
@click.option("--once", is_flag=True, help="Send what is due and end, for cron.")
def run_worker(once: bool) -> None:
    """Send the emails of the outbox. A first SIGTERM or Ctrl-C lets the email in progress finish."""
    if once:
        click.echo(f"{worker.run_once()} emails processed.")
        return
    stop = threading.Event()

    def finish(*_: Any) -> None:
        stop.set()

    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), finish)
    worker.run_forever(stop)
