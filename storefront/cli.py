"""The shop's commands: `flask --app wsgi work`, `… operator EMAIL`."""

import signal
import threading
from typing import Any

import click
from flask import Flask
from flask.cli import with_appcontext

from storefront import shoppers, worker
from storefront.database import writing


def init_app(app: Flask) -> None:
    app.cli.add_command(work)
    app.cli.add_command(operator)


@click.command("work")
@with_appcontext
def work() -> None:
    """Do what is owed: settle, fulfil, post letters. Runs until it is told to stop."""
    stop = threading.Event()

    def finish(*_: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    worker.run(beat=lambda: not stop.is_set())


@click.command("operator")
@click.argument("email")
@with_appcontext
@click.option("--revoke", is_flag=True, help="Take the role away again.")
def operator(email: str, revoke: bool) -> None:
    """Make a signed-up shopper an operator: they see every letter."""
    with writing():
        shopper = shoppers.find(email)
        if shopper is None:
            raise click.ClickException(f"Nobody has signed up as {email}.")
        shopper.is_operator = not revoke
    click.echo(f"{email} is {'no longer ' if revoke else ''}an operator.")
