"""The shop's commands: `flask --app wsgi work`, `… operator EMAIL`."""

import secrets
import signal
import threading
from typing import Any

import click
from flask import Flask
from flask.cli import with_appcontext

from storefront import shoppers, worker
from storefront.database import writing
from storefront.extensions import settings


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
    """Make a signed-up shopper an operator. They choose a new password first.

    Nobody has shown that an address is theirs by signing up with it: the link printed here goes to the
    person you mean, and whoever knew the old password is out.
    """
    with writing():
        shopper = shoppers.find(email)
        if shopper is None:
            raise click.ClickException(f"Nobody has signed up as {email}.")
        shopper.is_operator = not revoke
        if not revoke:
            shoppers.set_password(shopper, secrets.token_urlsafe(32))
        link = f"{settings().storefront_url}/reset-password/{shoppers.reset_token(shopper)}"
    if revoke:
        click.echo(f"{shopper.email} is no longer an operator.")
        return
    click.echo(f"{shopper.email} is an operator, and needs a new password first (once, within the hour):")
    click.echo(link)
