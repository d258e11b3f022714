"""Messages to the shop: signed, sent, tried again, as Svix (or a Flexprice of one's own) does it."""

import base64
import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import requests
from flask import Flask
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from storefront.sandbox import clock, endings, outcomes
from storefront.sandbox.clock import now
from storefront.sandbox.events import written
from storefront.sandbox.schema import attempts, chores, deliveries, events, sessions
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store import Store, find, lever, pull

log = logging.getLogger(__name__)

MINUTE, HOUR = 60, 3600

# Seconds from one failed attempt to the next. Flexprice's documentation names six attempts, Svix' eight.
# https://docs.flexprice.io/docs/webhook/webhooks · https://docs.svix.com/retries · contract E.4, E.5
LADDERS = {
    "flexprice": (5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR),
    "svix": (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR),
    "native": (15 * MINUTE, 2 * MINUTE, 2 * MINUTE, 2 * MINUTE),  # the job that picks up what failed
}
PATIENCE = {"svix": 15, "native": 30}  # seconds a receiver has
CLAIM = 60  # wall seconds after which a claim is taken for abandoned
SWEEP_EVERY = 30 * MINUTE
STALE = 600  # seconds: twice what a receiver may accept
NOBODYS_SECRET = "whsec_" + base64.b64encode(b"a secret that nobody was told of").decode()


class Attempt(NamedTuple):
    delivery_id: int
    number: int
    claimed_at: float
    event_id: str
    body: str
    twist: str | None
    native: bool


class Sent(NamedTuple):
    headers: dict[str, str]
    body: str
    status: int | None
    answer: str
    took: float
    note: str | None = None


# What goes out.


def sign(secret: str, event_id: str, timestamp: int, body: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signatures(secrets: Sequence[str], event_id: str, timestamp: int, body: str) -> str:
    """One for each: while a secret is being rotated the receiver may know either."""
    return " ".join(sign(secret, event_id, timestamp, body) for secret in secrets)


def headers(settings: SandboxSettings, event_id: str, body: str, twist: str | None = None) -> dict[str, str]:
    timestamp = int(time.time())  # wall time, whatever the sandbox's clock says
    if twist == "stale":
        timestamp -= STALE
    secrets = {"bad_signature": (NOBODYS_SECRET,), "old_secret": (settings.old_webhook_secret,)}
    signing = secrets.get(twist or "", settings.webhook_secrets)
    return {
        "Content-Type": "application/json",
        "svix-id": event_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": signatures(signing, event_id, timestamp, body),
    }


def native_headers(settings: SandboxSettings) -> dict[str, str]:
    """Unsigned, no id, no time: a header the operator configured, and that is all (contract E.5)."""
    name, _, value = settings.native_header.partition(":")
    return {"Content-Type": "application/json", name.strip(): value.strip()}


def altered(body: str) -> str:
    """What somebody on the way would love to write: unpaid becomes paid, and paid becomes failed."""
    for status in ("pending", "failed", "expired"):
        body = body.replace(f'"checkout_status":"{status}"', '"checkout_status":"COMPLETED"')
        body = body.replace(
            f'"event_type":"checkout.session.{status}"', '"event_type":"checkout.session.COMPLETED"'
        )
    return body.replace("completed", "failed").replace("COMPLETED", "completed") + " "


# What is due.


def run_due(app: Flask) -> int:
    """Sweeps if it is time, then does and sends what is due; says how many attempts were made."""
    store: Store = app.extensions["sandbox"]
    settings: SandboxSettings = app.extensions["sandbox_settings"]
    _sweep_on_schedule(store)
    _work_off(store)
    sent = 0
    while claimed := _claim(store, settings):
        _send_all(store, settings, claimed)
        sent += len(claimed)
    return sent


def deliver_now(app: Flask) -> int:
    """As run_due, and nobody else is in the middle of it when this returns."""
    with app.extensions["sandbox_runner"]:
        return run_due(app)


def walk(app: Flask, seconds: int) -> int:
    """Moves the clock through all that falls due on the way, each thing at its own time."""
    store: Store = app.extensions["sandbox"]
    with app.extensions["sandbox_runner"]:
        sent = run_due(app)
        with store.reading() as conn:
            until = now(conn) + timedelta(seconds=seconds)
        while stop := _next_stop(store, until):
            with store.writing() as conn:
                clock.move_to(conn, stop)
            sent += run_due(app)
        with store.writing() as conn:
            clock.move_to(conn, max(until, now(conn)))
        return sent + run_due(app)


def _next_stop(store: Store, until: datetime) -> datetime | None:
    with store.reading() as conn:
        at = now(conn).timestamp()
        due = select(func.min(deliveries.c.due_at)).where(
            deliveries.c.state == "due", deliveries.c.due_at > at
        )
        chore = select(func.min(chores.c.due_at)).where(chores.c.due_at > at)
        open_ones = sessions.c.checkout_status.in_(("initiated", "pending"))
        lapse = conn.execute(select(func.min(sessions.c.lapses)).where(open_ones)).scalar()
        stops = [conn.execute(due).scalar(), conn.execute(chore).scalar()]
        if lapse is not None:
            stops.append((max(lapse, at) // SWEEP_EVERY + 1) * SWEEP_EVERY)
    nearest = min((stop for stop in stops if stop is not None), default=None)
    if nearest is None or nearest > until.timestamp():
        return None
    return datetime.fromtimestamp(nearest + 0.001, UTC)


def _sweep_on_schedule(store: Store) -> None:
    with store.reading() as conn:
        if _slot(conn) <= lever(conn, "swept", 0):
            return
    with store.writing() as conn:
        if _slot(conn) > lever(conn, "swept", 0):
            pull(conn, "swept", _slot(conn))
            endings.sweep(conn)


def _slot(conn: Connection) -> int:
    """Which half hour of sandbox time it is."""
    return int(now(conn).timestamp() // SWEEP_EVERY)


def _work_off(store: Store) -> None:
    """Flexprice hears now of money that was taken a while ago."""
    with store.reading() as conn:
        if conn.execute(_due_chores(conn)).first() is None:
            return
    with store.writing() as conn:
        for chore in conn.execute(_due_chores(conn)).all():
            conn.execute(delete(chores).where(chores.c.id == chore.id))
            session = find(conn, sessions, chore.session_id)
            if session:
                outcomes.tell_of_money(conn, session)


def _due_chores(conn: Connection) -> Any:
    return select(chores).where(chores.c.due_at <= now(conn).timestamp()).order_by(chores.c.id)


# One message.


def signing(conn: Connection, settings: SandboxSettings) -> str:
    return str(lever(conn, "switch:webhook_signing", settings.webhook_signing))


def ladder(conn: Connection, settings: SandboxSettings) -> str:
    native = signing(conn, settings) == "native"
    return "native" if native else str(lever(conn, "switch:webhook_retries", settings.webhook_retries))


def _claim(store: Store, settings: SandboxSettings) -> list[Attempt]:
    """The next attempt, ours alone (or the ten that go together); one whose claimer died is taken again."""
    table, wall = deliveries.c, time.time()
    unclaimed = or_(table.claimed_at.is_(None), table.claimed_at < wall - CLAIM)

    def due(conn: Connection) -> Row[Any] | None:
        at = now(conn).timestamp()
        query = select(deliveries).where(table.state == "due", table.due_at <= at, unclaimed)
        return conn.execute(query.order_by(table.id).limit(1)).first()

    with store.reading() as conn:
        if due(conn) is None:
            return []
    with store.writing() as conn:
        first = due(conn)
        if first is None:
            return []  # another thread got here first
        mine = [first]
        if first.twist == "together":
            others = (table.state == "due", table.event_id == first.event_id, table.twist == "together")
            mine = list(conn.execute(select(deliveries).where(*others, unclaimed)).all())
        ids = [delivery.id for delivery in mine]
        conn.execute(update(deliveries).where(table.id.in_(ids)).values(claimed_at=wall))
        native = signing(conn, settings) == "native"
        body = _body(conn, first.event_id, native)
        return [Attempt(one.id, one.attempt + 1, wall, one.event_id, body, one.twist, native) for one in mine]


def _body(conn: Connection, event_id: str, native: bool) -> str:
    """Written once and the same for every retry; Flexprice's own delivery writes it anew each time."""
    event = conn.execute(select(events).where(events.c.id == event_id)).one()
    if event.body is not None and not native:
        return str(event.body)
    body = written(conn, event.event_type, event.entity_id)
    conn.execute(update(events).where(events.c.id == event_id).values(body=body))
    return body


def _send_all(store: Store, settings: SandboxSettings, claimed: list[Attempt]) -> None:
    if len(claimed) == 1:
        _settle(store, settings, claimed[0], _send(settings, claimed[0]))
        return
    with ThreadPoolExecutor(len(claimed)) as together:
        answers = together.map(lambda attempt: _send(settings, attempt), claimed)
    for attempt, sent in zip(claimed, answers, strict=True):
        _settle(store, settings, attempt, sent)


def _send(settings: SandboxSettings, attempt: Attempt) -> Sent:
    signed = native_headers(settings) if attempt.native else _signed(settings, attempt)
    body = altered(attempt.body) if attempt.twist == "altered" else attempt.body
    first, began = attempt.number == 1, time.monotonic()
    if attempt.twist == "away" and first:
        return Sent(signed, body, None, "ConnectionError", 0.0, "not sent: the shop was away, by arrangement")
    try:
        response = requests.post(
            settings.webhook_url,
            data=body.encode(),
            headers=signed,
            timeout=PATIENCE["native" if attempt.native else "svix"],
            allow_redirects=False,
        )
    except requests.RequestException as error:
        return Sent(signed, body, None, type(error).__name__, time.monotonic() - began)
    took = time.monotonic() - began
    if attempt.twist == "answer_500" and first:
        note = f"the shop answered {response.status_code}; taken for a 500, by arrangement"
        return Sent(signed, body, 500, "", took, note)
    return Sent(signed, body, response.status_code, response.text[:2000], took)


def _signed(settings: SandboxSettings, attempt: Attempt) -> dict[str, str]:
    return headers(settings, attempt.event_id, attempt.body, attempt.twist)


def _settle(store: Store, settings: SandboxSettings, attempt: Attempt, sent: Sent) -> None:
    status = sent.status
    outcome = {
        "response_status": status,
        "response_body": sent.answer if status is not None else None,
        "error": sent.answer if status is None else None,
    }
    mine = (deliveries.c.id == attempt.delivery_id, deliveries.c.claimed_at == attempt.claimed_at)
    with store.writing() as conn:
        gaps, at = LADDERS[ladder(conn, settings)], now(conn).timestamp()
        accepted = status is not None and 200 <= status < 300
        state = "delivered" if accepted else "failed" if attempt.number > len(gaps) else "due"
        moved: dict[str, Any] = outcome | {"state": state, "attempt": attempt.number, "claimed_at": None}
        if state == "due":
            moved["due_at"] = at + gaps[attempt.number - 1]
        conn.execute(update(deliveries).where(*mine).values(moved))
        row = {"delivery_id": attempt.delivery_id, "number": attempt.number, "at": at, "took": sent.took}
        went = {"headers": sent.headers, "body": sent.body, "note": sent.note}
        conn.execute(insert(attempts).values(row | went | outcome))
    log.info("message %s attempt %s: %s", attempt.event_id, attempt.number, status or sent.answer)


def start_background(app: Flask) -> threading.Thread:
    """Looks every 100 ms; ends with the process, or when `app.extensions["sandbox_stop"]` is set."""
    with app.extensions["sandbox"].writing() as conn:  # what the process before this one had in its hands
        conn.execute(update(deliveries).values(claimed_at=None))
    stop = app.extensions["sandbox_stop"] = threading.Event()

    def loop() -> None:
        while not stop.wait(0.1):
            try:
                deliver_now(app)
            except Exception:
                log.exception("the sandbox's deliveries stumbled")

    thread = threading.Thread(target=loop, name="sandbox-deliveries", daemon=True)
    thread.start()
    return thread
