"""`flask webhooks …`: look into an event, process it again, and find out why webhooks are rejected."""

from datetime import UTC, datetime
from pathlib import Path

import click
from flask import Flask
from flask.cli import AppGroup

from storefront.checkout.context import checkout, db_now
from storefront.checkout.webhooks import retry
from storefront.extensions import db
from storefront.flexprice import (
    Event,
    InvalidSecret,
    InvalidSignature,
    UnreadableResponse,
    WebhookVerifier,
    is_signed,
)
from storefront.models import WebhookEvent
from storefront.operations import audit, webhook_rejections
from storefront.operations.operator.attention import EVENTS, events_of
from storefront.operations.webhook_diagnosis import CAUSES, diagnose, has_signature

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
COLUMNS = (
    "id",
    "event_type",
    "object_id",
    "customer_id",
    "order_ref",
    "signed",
    "received_at",
    "attempts",
    "next_attempt_at",
    "processed_at",
    "outcome",
)

webhooks = AppGroup("webhooks", help="Webhook events: list, show, retry; why webhooks are rejected.")


def init_app(app: Flask) -> None:
    app.cli.add_command(webhooks)


@webhooks.command("list")
@click.option("--show", type=click.Choice(list(EVENTS)), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def list_events(show: str | None, limit: int) -> None:
    """List the newest events, one per line."""
    for event in db.session.scalars(events_of(show or "", oldest_first=False).limit(limit)):
        facts = (event.id, event.event_type, event.object_id, event.outcome or "")
        click.echo(f"{event.received_at:%Y-%m-%d %H:%M:%S}  {state(event):9}  {'  '.join(facts)}")


@webhooks.command("show")
@click.argument("event_id")
def show_event(event_id: str) -> None:
    """Print one event, with the traceback of its last failed attempt."""
    event = _find(event_id)
    click.echo(f"{'state':16} {state(event)}")
    for name in COLUMNS:
        value = getattr(event, name)
        click.echo(f"{name:16} {'–' if value in (None, '') else value}")
    for note in audit.notes("event", event.id):
        click.echo(f"{'note':16} {note.at:%Y-%m-%d %H:%M:%S} {note.who}: {note.text}")
    for text in filter(None, (event.error, event.body)):
        click.echo(f"\n{text}")


@webhooks.command("retry")
@click.argument("event_id")
def retry_event(event_id: str) -> None:
    """Process an event now, also one that was processed: every effect can happen only once."""
    event = _find(event_id)
    audit.add(audit.COMMAND_LINE, "retry", "event", event.id, "Retry requested")
    retry(event.id)
    click.echo(f"The worker processes {event_id} now.")


def state(event: WebhookEvent) -> str:
    if event.processed_at:
        return "processed"
    if event.next_attempt_at is None:
        return "set aside"
    return "failing" if event.error else "waiting"


def _find(event_id: str) -> WebhookEvent:
    event = db.session.get(WebhookEvent, event_id)
    if event is None:
        raise click.ClickException(f"There is no event {event_id}.")
    return event


# -- rejections -------------------------------------------------------------------------------------


@webhooks.command("rejected")
def rejected() -> None:
    """List why webhooks were rejected recently."""
    newest = {row.cause: row for row in reversed(webhook_rejections.latest(10_000))}
    if not newest:
        click.echo("No webhooks have been rejected.")
    for cause, count, at in webhook_rejections.by_cause():
        click.echo(f"{CAUSES.get(cause, cause)} [{cause}]: {count}, last {at:%Y-%m-%d %H:%M:%S} UTC")
        click.echo(f"    {newest[cause].message}")


@webhooks.command("diagnose")
@click.option("--headers", "headers_file", type=EXISTING, required=True, help="The headers, one per line.")
@click.option("--body", "body_file", type=EXISTING, required=True, help="The body, byte for byte.")
@click.option(
    "--arrived",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    help="When it came, in UTC. Otherwise its age is ignored.",
)
@click.option("--other-secrets", type=EXISTING, help="Secrets it may have been signed with, one per line.")
def diagnose_request(
    headers_file: Path, body_file: Path, arrived: datetime | None, other_secrets: Path | None
) -> None:
    """Find out why a saved request is rejected. Exits with 1 when the shop would reject it."""
    headers, body = headers_in(headers_file.read_text(encoding="latin-1")), body_file.read_bytes()
    at = arrived.replace(tzinfo=UTC) if arrived else sent_at(headers)
    try:
        message_id = authenticate(body, headers, at)
        event = Event.from_body(body)
    except InvalidSignature as rejection:
        _explain(rejection, body, headers)
        if number := signed_by(body, headers, other_secrets):
            click.echo(f"    It was signed with secret {number} of {other_secrets}.")
        raise SystemExit(1) from None
    except UnreadableResponse as error:
        click.echo(f"{CAUSES['not_an_event']} [not_an_event]\n    Authentic, but not an event: {error}.")
        raise SystemExit(1) from None
    if message_id:
        click.echo(f"Accepted: event {message_id} ({event.type}) is signed with one of the shop's secrets.")
    else:
        click.echo(f"Accepted as a hint: {event.type}, not signed, with the shared header.")


def authenticate(body: bytes, headers: dict[str, str], at: datetime) -> str | None:
    """As the webhook endpoint does, but at another time. Raises InvalidSignature."""
    shared_header, verifier = checkout().shared_header, checkout().verifier
    if shared_header and not is_signed(headers):
        if not shared_header.matches(headers):
            raise InvalidSignature("shared_header")
        return None
    if verifier is None:
        raise InvalidSignature("no_match")
    return verifier.verify(body, headers, at)


def _explain(rejection: InvalidSignature, body: bytes, headers: dict[str, str]) -> None:
    verified_at = webhook_rejections.last_verified_at(db_now())
    found = diagnose(checkout().verifier, body, headers, rejection, verified_at)
    click.echo(f"{CAUSES[found.cause]} [{found.cause}]\n    {found.message}")


def signed_by(body: bytes, headers: dict[str, str], other_secrets: Path | None) -> int | None:
    """Which line of the file has the secret, counted from 1. The secrets are never repeated."""
    lines = other_secrets.read_text(encoding="utf-8").split() if other_secrets else []
    for number, secret in enumerate(lines, start=1):
        try:
            if has_signature(WebhookVerifier([secret]), body, headers):
                return number
        except InvalidSecret:
            click.echo(f"    Secret {number} of {other_secrets} is malformed.")
    return None


def headers_in(text: str) -> dict[str, str]:
    """`Name: value` per line, as from a log, a proxy or `curl -v`; other lines are skipped."""
    lines = (line.lstrip("<> ").partition(":") for line in text.splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}


def sent_at(headers: dict[str, str]) -> datetime:
    """By its own timestamp, so that a request saved last week is not called late."""
    stamp = headers.get("svix-timestamp") or headers.get("webhook-timestamp") or ""
    usable = stamp.isascii() and stamp.isdecimal() and len(stamp) <= 10
    return datetime.fromtimestamp(int(stamp), UTC) if usable else datetime.now(UTC)
