"""A message to the shop: claimed, sent and tried again as Svix (or a Flexprice of one's own) does it."""

import json
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import certifi
import urllib3
from sqlalchemy import Connection, bindparam, func, or_, select, update
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from storefront.sandbox._previous import signing
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.events import written
from storefront.sandbox._previous.schema import attempts, deliveries, events
from storefront.sandbox._previous.settings import SandboxSettings
from storefront.sandbox._previous.statements import row, run, wording
from storefront.sandbox._previous.store import Store, lever

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
# A new line for each message: shops come and go.
LINES = urllib3.PoolManager(maxsize=32, ca_certs=certifi.where())
NAMES: dict[type[HTTPError], str] = {
    ReadTimeoutError: "ReadTimeout",
    NewConnectionError: "ConnectionError",
    ConnectTimeoutError: "ConnectTimeout",
    ProtocolError: "ConnectionError",
}
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


class Due(NamedTuple):
    id: int
    event_id: str
    attempt: int
    twist: str | None
    customer_id: str


# Of the columns of Due; in nobody's hands, or the one who had it died.
_D = deliveries.c
_DUE = (
    select(_D.id, _D.event_id, _D.attempt, _D.twist, events.c.customer_id)
    .join(events, events.c.id == _D.event_id)
    .where(_D.state == "due", or_(_D.claimed_at.is_(None), _D.claimed_at < bindparam("abandoned")))
    .order_by(_D.id)
)
_BUSY = select(func.json_each(bindparam("busy")).table_valued("value").c.value)
_NEXT = _DUE.where(_D.due_at <= bindparam("now"), events.c.customer_id.not_in(_BUSY)).limit(1)
_FIRST = wording(_NEXT)
_FIRST_OF_ONE = wording(_NEXT.where(events.c.customer_id == bindparam("customer")))
_TOGETHER = wording(_DUE.where(_D.event_id == bindparam("event_id"), _D.twist == "together"))
_CLAIM = wording(update(deliveries).where(_D.id == bindparam("of")), ["claimed_at"])
_EVENT = wording(
    select(events.c.event_type, events.c.entity_id, events.c.body).where(events.c.id == bindparam("of"))
)
_WRITE_DOWN = wording(update(events).where(events.c.id == bindparam("of")), ["body"])


def next_due(conn: Connection, customer: str | None = None, busy: Iterable[str] = ()) -> Due | None:
    """The first that is due and in nobody's hands (of this customer; of none of those)."""
    when = {"now": now(conn).timestamp(), "abandoned": time.time() - CLAIM, "busy": json.dumps(list(busy))}
    found = run(conn, _FIRST_OF_ONE if customer else _FIRST, **when, customer=customer).fetchone()
    return Due(*found) if found else None


def claim(conn: Connection, settings: SandboxSettings, first: Due) -> list[Attempt]:
    """The next attempt of this one, ours alone; or the ten that go together."""
    wall, mine = time.time(), [first]
    if first.twist == "together":
        others = run(conn, _TOGETHER, event_id=first.event_id, abandoned=wall - CLAIM).fetchall()
        mine = [Due(*other) for other in others]
    for one in mine:
        run(conn, _CLAIM, of=one.id, claimed_at=wall)
    native = signed_how(conn, settings) == "native"
    body = _body(conn, first.event_id, native)
    return [
        Attempt(one.id, one.attempt + 1, wall, one.event_id, body, one.twist, native, one.customer_id)
        for one in mine
    ]


def _body(conn: Connection, event_id: str, native: bool) -> str:
    """Written once and the same for every retry; Flexprice's own delivery writes it anew each time."""
    event_type, entity_id, body = run(conn, _EVENT, of=event_id).fetchone()
    if body is not None and not native:
        return str(body)
    body = written(conn, event_type, entity_id)
    run(conn, _WRITE_DOWN, of=event_id, body=body)
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
        response = LINES.request(
            "POST",
            settings.webhook_url,
            body=body.encode(),
            headers=headers | {"Connection": "close"},
            timeout=PATIENCE["native" if attempt.native else "svix"],
            redirect=False,
            retries=False,
        )
    except HTTPError as error:
        return Sent(headers, body, None, _named(error), time.monotonic() - began)
    took = time.monotonic() - began
    if attempt.twist == "answer_500" and first:
        note = f"the shop answered {response.status}; taken for a 500, by arrangement"
        return Sent(headers, body, 500, "", took, note)
    return Sent(headers, body, response.status, response.data.decode(errors="replace")[:2000], took)


def _named(error: HTTPError) -> str:
    return next((name for kind, name in NAMES.items() if isinstance(error, kind)), type(error).__name__)


def _headers(settings: SandboxSettings, attempt: Attempt) -> dict[str, str]:
    if attempt.native:
        return signing.native_headers(settings)
    return signing.headers(settings, attempt.event_id, attempt.body, attempt.twist)


# Ours still, and due when it was unless it is to be tried again.
_SETTLE = wording(
    update(deliveries)
    .where(_D.id == bindparam("of"), _D.claimed_at == bindparam("claimed"))
    .values(due_at=func.coalesce(bindparam("due_at"), _D.due_at)),
    ["state", "attempt", "claimed_at", "response_status", "response_body", "error"],
)


def _settle(store: Store, settings: SandboxSettings, attempt: Attempt, sent: Sent) -> None:
    status = sent.status
    outcome = {
        "response_status": status,
        "response_body": sent.answer if status is not None else None,
        "error": sent.answer if status is None else None,
    }
    with store.writing() as conn:
        gaps, at = LADDERS[ladder(conn, settings)], now(conn).timestamp()
        accepted = status is not None and 200 <= status < 300
        state = "delivered" if accepted else "failed" if attempt.number > len(gaps) else "due"
        due_at = at + gaps[attempt.number - 1] if state == "due" else None
        mine = {"of": attempt.delivery_id, "claimed": attempt.claimed_at}
        moved = outcome | {"state": state, "attempt": attempt.number, "claimed_at": None, "due_at": due_at}
        run(conn, _SETTLE, **mine, **moved)
        row(
            conn,
            attempts,
            delivery_id=attempt.delivery_id,
            number=attempt.number,
            at=at,
            took=sent.took,
            headers=json.dumps(sent.headers),
            body=sent.body,
            note=sent.note,
            **outcome,
        )
    log.info("message %s attempt %s: %s", attempt.event_id, attempt.number, status or sent.answer)
