"""The shop's commands: `flask --app wsgi work`, `… reconcile`, `… operator EMAIL`, `… doctor`, `… inbox`."""

import json
import secrets
import signal
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from storefront import cli_inbox, doctor, lifesigns, reconcile, shoppers, worker
from storefront.database import writing
from storefront.extensions import MIGRATIONS, db, settings


def init_app(app: Flask) -> None:
    app.cli.add_command(Migrations("db", help="Perform database migrations."))
    app.cli.add_command(work)
    app.cli.add_command(ask_about_all)
    app.cli.add_command(operator)
    app.cli.add_command(examine)
    app.cli.add_command(cli_inbox.group)


class Migrations(click.Command):
    """`flask db …` of Flask-Migrate. It brings Alembic along, which a process that serves can do without."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        from flask_migrate import Migrate

        Migrate(current_app, db, directory=str(MIGRATIONS))
        return current_app.cli.commands["db"].make_context(*arguments, **more)  # which it has put there


@click.command("work")
@with_appcontext
def work() -> None:
    """Do what is owed: settle, fulfil, post letters. Told to stop, it finishes what it has in its hands."""
    stop = threading.Event()

    def finish(*_: Any) -> None:
        stop.set()

    def going() -> bool:
        return not stop.is_set()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    worker.run(beat=going, going=going)


@click.command("reconcile")
@click.option("--dry-run", is_flag=True, help="Ask, say what would be done, and write nothing.")
@with_appcontext
def ask_about_all(dry_run: bool) -> None:
    """Ask Flexprice about every order that waits for news, as after lost webhooks. May be run at any time.

    The worker does the same by itself, with growing gaps. Ends with 1 when an order could not be asked about.
    """
    ends: Counter[str] = Counter()
    failed = 0
    for asked in reconcile.run(datetime.now(UTC), dry=dry_run):
        if asked.error:
            failed += 1
            click.echo(f"order {asked.ref[-8:]}: could not be asked about: {asked.error}", err=True)
        elif asked.moved:
            click.echo(f"order {asked.ref[-8:]}: {asked.before} → {asked.after}")
        ends[f"could not be asked about, {asked.after}" if asked.error else asked.after] += 1
    summary = "; ".join(f"{count} {end.replace('_', ' ')}" for end, count in sorted(ends.items()))
    click.echo(f"{ends.total()} orders were waiting{': ' if summary else ''}{summary}.")
    if dry_run:
        click.echo("Nothing was written.")
    if failed:
        raise SystemExit(1)


@click.command("operator")
@click.argument("email")
@with_appcontext
@click.option("--revoke", is_flag=True, help="Take the role away again.")
def operator(email: str, revoke: bool) -> None:
    """Make a signed-up shopper an operator. They choose a new password first.

    Nobody has shown that an address is theirs by signing up with it: the link printed here goes to the
    person you mean, and whoever knew the old password is out.
    """
    nobodys_password = shoppers.hash_password(secrets.token_urlsafe(32))
    with writing():
        shopper = shoppers.find(email)
        if shopper is None:
            raise click.ClickException(f"Nobody has signed up as {email}.")
        shopper.is_operator = not revoke
        if not revoke:
            shoppers.set_password(shopper, nobodys_password)
        link = f"{settings().storefront_url}/reset-password/{shoppers.reset_token(shopper)}"
    if revoke:
        click.echo(f"{shopper.email} is no longer an operator.")
        return
    click.echo(f"{shopper.email} is an operator, and needs a new password first (once, within the hour):")
    click.echo(link)


COLOURS = {doctor.OK: "green", doctor.WARNING: "yellow", doctor.FAILS: "red"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--mail-to", help="Send a trial letter to this address as well.")
@with_appcontext
def examine(as_json: bool, mail_to: str | None) -> None:
    """Is the shop ready to go live? Ends with 1 when a check fails.

    It knocks at the shop's own address with a test message (msg_doctor_…), writes a row of its own, and asks
    the mail server to let it in; nothing is sold, sent or changed.
    """
    now = datetime.now(UTC)
    try:
        alive = lifesigns.is_alive(now)
    except SQLAlchemyError:  # one of the checks says so
        db.session.rollback()
        alive = False
    lines = doctor.examine(alive, now, act=True)
    if mail_to:
        lines.append(doctor.trial_letter(mail_to))
    failed = sum(line.status == doctor.FAILS for line in lines)
    if as_json:
        click.echo(json.dumps({"ready": not failed, "checks": [line._asdict() for line in lines]}, indent=2))
    else:
        tell(lines, failed)
    if failed:
        raise SystemExit(1)


def tell(lines: list[doctor.Line], failed: int) -> None:
    before = ""
    for line in lines:
        if line.check != before:
            click.secho(line.check, bold=True)
        before = line.check
        click.echo("  " + click.style(f"{line.status:8}", fg=COLOURS.get(line.status)) + line.why)
        if line.fix:
            click.echo(f"  {'':8}→ {line.fix}")
    click.echo(f"{failed} of {len(lines)} fail." if failed else "Nothing fails.")
