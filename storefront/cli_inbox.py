"""`flask --app wsgi inbox …`: what came in, what was refused and why, and reading it once more."""

from datetime import UTC, datetime
from pathlib import Path

import click
from flask.cli import AppGroup

from storefront import doorman, inbox, support
from storefront.database import writing
from storefront.extensions import db, verifier
from storefront.flexprice import (
    CAUSES,
    BadSecret,
    BadSignature,
    Event,
    UnreadableObject,
    Verifier,
    diagnose,
    opens,
)
from storefront.models import InboxMessage

WHO = "the command line"
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

group = AppGroup("inbox", help="Messages from Flexprice: list, show, retry, replay, doctor.")


@group.command("list")
@click.option("--show", type=click.Choice(list(support.MESSAGES)), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def list_messages(show: str | None, limit: int) -> None:
    """The newest messages, one a line."""
    for message in db.session.scalars(support.messages_of(show or "", oldest_first=False).limit(limit)):
        told = (message.id, message.event_type, message.object_id, message.outcome or "")
        click.echo(f"{message.received_at:%Y-%m-%d %H:%M:%S}  {state(message):9}  {'  '.join(told)}")


@group.command("show")
@click.argument("message_id")
def show_message(message_id: str) -> None:
    """All that is known of one message, with the traceback of a reading that broke."""
    message = found(message_id)
    for name in ("id", "event_type", "object_id", "customer_id", "order_ref", "received_at", "attempts"):
        click.echo(f"{name:12} {getattr(message, name) or '–'}")
    click.echo(f"{'state':12} {state(message)}")
    click.echo(f"{'outcome':12} {message.outcome or '–'}")
    for note in support.notes("message", message.id):
        click.echo(f"{'note':12} {note.at:%Y-%m-%d %H:%M:%S} {note.who}: {note.text}")
    for text in filter(None, (message.traceback, message.body)):
        click.echo(f"\n{text}")


@group.command()
@click.argument("message_id")
def retry(message_id: str) -> None:
    """Read a waiting message now, without waiting for its gap."""
    message = found(message_id)
    if message.handled_at:
        raise click.ClickException("It has been handled already. To read it once more: inbox replay.")
    _once_more(message, "Tried again now")


@group.command()
@click.argument("message_id")
def replay(message_id: str) -> None:
    """Read a handled message once more. What it brought about already stays as it is."""
    message = found(message_id)
    if not message.handled_at:
        raise click.ClickException("It is waiting still. To read it now: inbox retry.")
    _once_more(message, "Replayed")


def _once_more(message: InboxMessage, deed: str) -> None:
    now, message_id, attempts = datetime.now(UTC), message.id, message.attempts
    with writing():
        if not inbox.once_more(message_id, attempts, now):
            raise click.ClickException("It is being read just now.")
        support.note(WHO, "message", message_id, deed, now)
    click.echo(f"{deed}: the worker reads {message_id} within a second.")


@group.command("doctor")
@click.option("--headers", "headers_file", type=EXISTING, help="A saved request: its headers, one a line.")
@click.option("--body", "body_file", type=EXISTING, help="A saved request: its body, byte for byte.")
@click.option(
    "--arrived",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    help="When it came, in UTC. Otherwise its age is left aside.",
)
@click.option("--other-secrets", type=EXISTING, help="Secrets it may have been signed with, one a line.")
def doctor(
    headers_file: Path | None, body_file: Path | None, arrived: datetime | None, other_secrets: Path | None
) -> None:
    """Why are webhooks refused? Of those that came lately, or of one request that was saved."""
    if headers_file is None and body_file is None:
        return refused_lately()
    if headers_file is None or body_file is None:
        raise click.UsageError("A saved request is examined with --headers and --body together.")
    headers = headers_in(headers_file.read_text(encoding="latin-1"))
    at = arrived.replace(tzinfo=UTC) if arrived else sent_at(headers)
    examine(doorman.Delivery(body_file.read_bytes(), headers, "", at), other_secrets)
    return None


def refused_lately() -> None:
    latest = {refusal.cause: refusal for refusal in reversed(doorman.latest(10_000))}
    if not latest:
        click.echo("No webhook has been refused.")
    for cause, count, at in doorman.by_cause():
        click.echo(f"{CAUSES.get(cause, cause)} [{cause}]: {count}, last {at:%Y-%m-%d %H:%M:%S} UTC")
        click.echo(f"    {latest[cause].says}")


def examine(delivery: doorman.Delivery, other_secrets: Path | None) -> None:
    """Ends with 1 when the shop would refuse it."""
    try:
        message_id = doorman.admit(delivery)
        event = Event.from_body(delivery.body)
    except BadSignature as refusal:
        finding = diagnose(
            verifier(), delivery.body, delivery.headers, refusal, doorman.opened_at(delivery.at)
        )
        click.echo(f"{CAUSES[finding.cause]} [{finding.cause}]")
        click.echo(f"    {finding.says}")
        if number := signed_by(delivery, other_secrets):
            click.echo(f"    It was signed with secret {number} of {other_secrets}.")
        raise SystemExit(1) from None
    except UnreadableObject as why:
        click.echo(f"{CAUSES['not_an_event']} [not_an_event]\n    Let in, but not an event: {why}.")
        raise SystemExit(1) from None
    if message_id:
        click.echo(f"Let in: message {message_id} ({event.type}) is signed with one of the shop's secrets.")
    else:
        click.echo(f"Let in as a hint: {event.type}, not signed, with the shared header.")


def signed_by(delivery: doorman.Delivery, other_secrets: Path | None) -> int | None:
    """Which line of the file has the secret, counted from 1. The secrets themselves are never repeated."""
    lines = other_secrets.read_text().split() if other_secrets else []
    for number, secret in enumerate(lines, start=1):
        try:
            if opens(Verifier([secret]), delivery.body, delivery.headers):
                return number
        except BadSecret:
            click.echo(f"    Secret {number} of {other_secrets} is malformed.")
    return None


def headers_in(text: str) -> dict[str, str]:
    """`Name: value` a line, as from a log, a proxy or `curl -v`; other lines are passed over."""
    lines = (line.lstrip("<> ").partition(":") for line in text.splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}


def sent_at(headers: dict[str, str]) -> datetime:
    """By its own stamp, so that a request saved last week is not called late."""
    stamp = headers.get("svix-timestamp") or headers.get("webhook-timestamp") or ""
    usable = stamp.isascii() and stamp.isdecimal() and len(stamp) <= 10
    return datetime.fromtimestamp(int(stamp), UTC) if usable else datetime.now(UTC)


def state(message: InboxMessage) -> str:
    if message.handled_at is None:
        return "broken" if message.traceback else "waiting"
    return "set aside" if (message.outcome or "").startswith("set aside") else "handled"


def found(message_id: str) -> InboxMessage:
    message = db.session.get(InboxMessage, message_id)
    if message is None:
        raise click.ClickException(f"There is no message {message_id}.")
    return message
