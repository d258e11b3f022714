"""Messages to the shop: signed, sent, tried again, as Svix does it for Flexprice."""

import base64
import hashlib
import hmac
import logging
import threading
import time
from typing import NamedTuple

import requests
from flask import Flask
from sqlalchemy import Connection, or_, select, update

from storefront.sandbox import checkout
from storefront.sandbox.clock import now
from storefront.sandbox.events import written
from storefront.sandbox.schema import deliveries, events
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store import Store, lever, pull

log = logging.getLogger(__name__)

RETRIES = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600]  # seconds after each failure
PATIENCE = 15  # seconds a receiver has
CLAIM = 60  # wall seconds after which a claim is taken for abandoned
SWEEP_EVERY = 30 * 60


class Attempt(NamedTuple):
    delivery_id: int
    number: int
    claimed_at: float
    event_id: str
    body: str


def sign(secret: str, event_id: str, timestamp: int, body: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def headers(settings: SandboxSettings, event_id: str, body: str) -> dict[str, str]:
    timestamp = int(time.time())  # wall time, whatever the sandbox's clock says
    return {
        "Content-Type": "application/json",
        "svix-id": event_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": " ".join(
            sign(secret, event_id, timestamp, body) for secret in settings.webhook_secrets
        ),
    }


def run_due(app: Flask) -> int:
    """Sweeps if it is time, then sends what is due; says how many attempts were made."""
    store: Store = app.extensions["sandbox"]
    settings: SandboxSettings = app.extensions["sandbox_settings"]
    _sweep_on_schedule(store)
    sent = 0
    while attempt := _claim(store):
        _settle(store, attempt, *_send(settings, attempt))
        sent += 1
    return sent


def _sweep_on_schedule(store: Store) -> None:
    with store.reading() as conn:
        if _slot(conn) <= lever(conn, "swept", 0):
            return
    with store.writing() as conn:
        if _slot(conn) > lever(conn, "swept", 0):
            pull(conn, "swept", _slot(conn))
            checkout.sweep(conn)


def _slot(conn: Connection) -> int:
    """Which half hour of sandbox time it is."""
    return int(now(conn).timestamp() // SWEEP_EVERY)


def _claim(store: Store) -> Attempt | None:
    """The next attempt, ours alone; one whose claimer died is taken again."""
    table, wall = deliveries.c, time.time()
    unclaimed = or_(table.claimed_at.is_(None), table.claimed_at < wall - CLAIM)

    def due(conn: Connection) -> int | None:
        at = now(conn).timestamp()
        query = select(table.id).where(table.state == "due", table.due_at <= at, unclaimed).order_by(table.id)
        found: int | None = conn.execute(query.limit(1)).scalar()
        return found

    with store.reading() as conn:
        if due(conn) is None:
            return None
    with store.writing() as conn:
        delivery_id = due(conn)
        if delivery_id is None:
            return None  # another thread got here first
        conn.execute(update(deliveries).where(table.id == delivery_id).values(claimed_at=wall))
        delivery = conn.execute(select(deliveries).where(table.id == delivery_id)).one()
        return Attempt(
            delivery.id, delivery.attempt + 1, wall, delivery.event_id, _body(conn, delivery.event_id)
        )


def _body(conn: Connection, event_id: str) -> str:
    event = conn.execute(select(events).where(events.c.id == event_id)).one()
    if event.body is not None:
        return str(event.body)
    body = written(conn, event.event_type, event.entity_id)
    conn.execute(update(events).where(events.c.id == event_id).values(body=body))
    return body


def _send(settings: SandboxSettings, attempt: Attempt) -> tuple[int | None, str]:
    try:
        response = requests.post(
            settings.webhook_url,
            data=attempt.body.encode(),
            headers=headers(settings, attempt.event_id, attempt.body),
            timeout=PATIENCE,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        return None, type(error).__name__
    return response.status_code, response.text[:2000]


def _settle(store: Store, attempt: Attempt, status: int | None, answer: str) -> None:
    accepted = status is not None and 200 <= status < 300
    last = attempt.number > len(RETRIES)
    state = "delivered" if accepted else "failed" if last else "due"
    mine = (deliveries.c.id == attempt.delivery_id, deliveries.c.claimed_at == attempt.claimed_at)
    outcome = {
        "state": state,
        "attempt": attempt.number,
        "claimed_at": None,
        "response_status": status,
        "response_body": answer if status is not None else None,
        "error": answer if status is None else None,
    }
    with store.writing() as conn:
        if state == "due":
            outcome["due_at"] = now(conn).timestamp() + RETRIES[attempt.number - 1]
        conn.execute(update(deliveries).where(*mine).values(outcome))
    log.info("message %s attempt %s: %s", attempt.event_id, attempt.number, status or answer)


def start_background(app: Flask) -> threading.Thread:
    """Looks every 100 ms; ends with the process, or when `app.extensions["sandbox_stop"]` is set."""
    stop = app.extensions["sandbox_stop"] = threading.Event()

    def loop() -> None:
        while not stop.wait(0.1):
            try:
                run_due(app)
            except Exception:
                log.exception("the sandbox's deliveries stumbled")

    thread = threading.Thread(target=loop, name="sandbox-deliveries", daemon=True)
    thread.start()
    return thread
