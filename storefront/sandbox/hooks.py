"""A message to the shop: claimed, sent and tried again as Svix (or a Flexprice of one's own) does it."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import requests
from sqlalchemy import Connection, Row, insert, or_, select, update

from storefront.sandbox import signing
from storefront.sandbox.clock import now
from storefront.sandbox.events import written
from storefront.sandbox.schema import attempts, deliveries, events
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store import Store, lever

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


class Attempt(NamedTuple):
    delivery_id: int
    number: int
    claimed_at: float
    event_id: str
    body: str
    twist: str | None
    native: bool
    customer: str  # whom it is about


class Sent(NamedTuple):
    headers: dict[str, str]
    body: str
    status: int | None
    answer: str
    took: float
    note: str | None = None


def signed_how(conn: Connection, settings: SandboxSettings) -> str:
    return str(lever(conn, "switch:webhook_signing", settings.webhook_signing))


def ladder(conn: Connection, settings: SandboxSettings) -> str:
    native = signed_how(conn, settings) == "native"
    return "native" if native else str(lever(conn, "switch:webhook_retries", settings.webhook_retries))


# Which one.


def next_due(conn: Connection, customer: str | None = None, busy: Sequence[str] = ()) -> Row[Any] | None:
    """The first that is due and in nobody's hands (of this customer; of none of those)."""
    table, whose = deliveries.c, events.c.customer_id
    query = select(deliveries, whose).join(events, events.c.id == table.event_id)
    query = query.where(table.state == "due", table.due_at <= now(conn).timestamp(), _unclaimed())
    query = query.where(whose == customer) if customer else query
    return conn.execute(query.where(whose.not_in(busy)).order_by(table.id).limit(1)).first()


def _unclaimed() -> Any:
    """Nobody has it in hands, or the one who had it died."""
    return or_(deliveries.c.claimed_at.is_(None), deliveries.c.claimed_at < time.time() - CLAIM)


def claim(conn: Connection, settings: SandboxSettings, first: Row[Any]) -> list[Attempt]:
    """The next attempt of this one, ours alone; or the ten that go together."""
    table, wall, mine = deliveries.c, time.time(), [first]
    if first.twist == "together":
        others = (table.state == "due", table.event_id == first.event_id, table.twist == "together")
        mine = list(conn.execute(select(deliveries).where(*others, _unclaimed())).all())
    ids = [delivery.id for delivery in mine]
    conn.execute(update(deliveries).where(table.id.in_(ids)).values(claimed_at=wall))
    native = signed_how(conn, settings) == "native"
    body = _body(conn, first.event_id, native)
    return [
        Attempt(one.id, one.attempt + 1, wall, one.event_id, body, one.twist, native, first.customer_id)
        for one in mine
    ]


def _body(conn: Connection, event_id: str, native: bool) -> str:
    """Written once and the same for every retry; Flexprice's own delivery writes it anew each time."""
    event = conn.execute(select(events).where(events.c.id == event_id)).one()
    if event.body is not None and not native:
        return str(event.body)
    body = written(conn, event.event_type, event.entity_id)
    conn.execute(update(events).where(events.c.id == event_id).values(body=body))
    return body


# One message.


def send(store: Store, settings: SandboxSettings, claimed: list[Attempt]) -> None:
    """Several of them leave in the same moment."""
    if len(claimed) == 1:
        _settle(store, settings, claimed[0], _send(settings, claimed[0]))
        return
    ready = threading.Barrier(len(claimed))

    def at_once(attempt: Attempt) -> Sent:
        ready.wait()
        return _send(settings, attempt)

    with ThreadPoolExecutor(len(claimed)) as together:
        answers = list(together.map(at_once, claimed))
    for attempt, sent in zip(claimed, answers, strict=True):
        _settle(store, settings, attempt, sent)


def _send(settings: SandboxSettings, attempt: Attempt) -> Sent:
    body = signing.altered(attempt.body) if attempt.twist == "altered" else attempt.body
    headers = _headers(settings, attempt)
    first, began = attempt.number == 1, time.monotonic()
    if attempt.twist == "away" and first:
        note = "not sent: the shop was away, by arrangement"
        return Sent(headers, body, None, "ConnectionError", 0.0, note)
    try:
        response = requests.post(
            settings.webhook_url,
            data=body.encode(),
            headers=headers,
            timeout=PATIENCE["native" if attempt.native else "svix"],
            allow_redirects=False,
        )
    except requests.RequestException as error:
        return Sent(headers, body, None, type(error).__name__, time.monotonic() - began)
    took = time.monotonic() - began
    if attempt.twist == "answer_500" and first:
        note = f"the shop answered {response.status_code}; taken for a 500, by arrangement"
        return Sent(headers, body, 500, "", took, note)
    return Sent(headers, body, response.status_code, response.text[:2000], took)


def _headers(settings: SandboxSettings, attempt: Attempt) -> dict[str, str]:
    if attempt.native:
        return signing.native_headers(settings)
    return signing.headers(settings, attempt.event_id, attempt.body, attempt.twist)


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
