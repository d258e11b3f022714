"""One message to a webhook endpoint: claimed, sent, retried as Svix or a self-hosted Flexprice does."""

import logging
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import NamedTuple

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from ..engine import switches
from ..settings import SandboxSettings
from ..store.control_rows import Attempt, Delivery, Event
from ..store.database import Database, Session
from ..store.values import new_id
from . import signing
from .build import build

log = logging.getLogger(__name__)

MINUTE, HOUR = 60, 3600
# Seconds from one failed attempt to the next. Flexprice documents six attempts, Svix eight.
# https://docs.flexprice.io/docs/webhook/webhooks · https://docs.svix.com/retries
RETRIES_S = {
    "flexprice": (5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR),
    "svix": (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR),
    "native": (15 * MINUTE, 2 * MINUTE, 2 * MINUTE, 2 * MINUTE),  # the job that picks up what failed
}
TIMEOUT_S = {"svix": 15, "native": 30}
MAX_KEPT_RESPONSE = 2000
HOLD_UP_S = 15.0  # how long a lost message is tried before the next ones go out
CONNECTIONS = urllib3.PoolManager(maxsize=32)
ERROR_NAMES: dict[type[Exception], str] = {
    ReadTimeoutError: "ReadTimeout",
    NewConnectionError: "ConnectionError",
    ConnectTimeoutError: "ConnectTimeout",
    ProtocolError: "ConnectionError",
}


class Message(NamedTuple):
    """An attempt about to be made."""

    store: str
    customer_id: str
    delivery_id: int
    number: int
    event_id: str
    body: str
    headers: dict[str, str]
    url: str
    timeout_s: int
    fault: str | None


class Result(NamedTuple):
    status: int | None
    text: str  # the response, or the name of the error
    took_s: float
    note: str | None = None


def signing_of(session: Session) -> str:
    return str(switches.read(session, "webhook_signing"))


def retries_of(session: Session) -> str:
    native = signing_of(session) == "native"
    return "native" if native else str(switches.read(session, "webhook_retries"))


def due(session: Session, customer_id: str | None = None, busy: Collection[str] = ()) -> Delivery | None:
    """The first delivery that is due: of this customer, and of none that a message is on its way to."""
    conditions = [Delivery.state == "due", Delivery.due_at <= session.now()]
    if customer_id is not None:
        conditions.append(Delivery.customer_id == customer_id)
    if busy:
        conditions.append(Delivery.customer_id.not_in(list(busy)))
    return session.first(Delivery, *conditions, order=Delivery.id)


def claim(
    session: Session, settings: SandboxSettings, busy: Collection[str], customer_id: str | None
) -> list[Message]:
    """The next attempt; or the ten that go together. Without an endpoint messages are built, not sent."""
    if not session.state.webhook_url:
        _build_all(session)
        return []
    while first := due(session, customer_id, busy):
        event = session.need(Event, first.event_id)
        if _built(session, event):
            return [_message(session, settings, one, event) for one in _together(session, first)]
        _lose(session, first)
    return []


def _build_all(session: Session) -> None:
    """Builds what is due, in its order; it is listed and sent nowhere."""
    waiting = session.select(Delivery, Delivery.state == "due", Delivery.due_at <= session.now())
    same = (Event.store == Delivery.store) & (Event.id == Delivery.event_id)
    query = waiting.join(Event, same).add_columns(Event).order_by(Delivery.id)
    for delivery, event in session.orm.execute(query).all():
        if delivery.due_at > session.now():  # held up by a lost message before it
            continue
        if _built(session, event):
            delivery.state = "unsent"
        else:
            _lose(session, delivery)


def _built(session: Session, event: Event) -> bool:
    """Writes the body: once, and again for each attempt in native mode, as Flexprice does."""
    if event.body is not None and signing_of(session) != "native":
        return True
    body = build(session, event)
    if body is None:
        return event.body is not None
    event.body, event.built_at = body, session.now()
    if event.message_number is None:
        session.state.message_sequence += 1
        event.message_number = session.state.message_sequence
    return True


def _lose(session: Session, delivery: Delivery) -> None:
    """The object is archived. Flexprice tries for a while, which holds up the messages behind it."""
    delivery.state, delivery.error = "lost", "the object is archived"
    if switches.read(session, "lost_messages") == "hold_up":
        until = session.now() + timedelta(seconds=HOLD_UP_S)
        for waiting in session.all(Delivery, Delivery.state == "due", Delivery.due_at < until):
            waiting.due_at = until


def _together(session: Session, first: Delivery) -> Sequence[Delivery]:
    if first.fault != "together":
        return [first]
    same = (Delivery.event_id == first.event_id, Delivery.fault == "together", Delivery.state == "due")
    return session.all(Delivery, *same, order=Delivery.id)


def _message(session: Session, settings: SandboxSettings, delivery: Delivery, event: Event) -> Message:
    native, body = signing_of(session) == "native", event.body or ""
    if native:
        headers = signing.native_headers(settings.native_header)
    else:
        secrets, old = session.state.webhook_secrets, settings.old_webhook_secret
        headers = signing.svix_headers(secrets, event.id, body, fault=delivery.fault, old_secret=old)
    return Message(
        store=session.store,
        customer_id=delivery.customer_id,
        delivery_id=delivery.id,
        number=delivery.attempt + 1,
        event_id=event.id,
        body=signing.altered(body) if delivery.fault == "altered" else body,
        headers=headers,
        url=session.state.webhook_url,
        timeout_s=TIMEOUT_S["native" if native else "svix"],
        fault=delivery.fault,
    )


def send(database: Database, messages: list[Message]) -> None:
    """Sends and writes down what came back; several leave in the same moment."""
    if len(messages) == 1:
        _settle(database, messages[0], _post(messages[0]))
        return
    ready = threading.Barrier(len(messages))

    def at_once(message: Message) -> Result:
        ready.wait()
        return _post(message)

    with ThreadPoolExecutor(len(messages)) as pool:
        results = list(pool.map(at_once, messages))
    for message, result in zip(messages, results, strict=True):
        _settle(database, message, result)


def _post(message: Message) -> Result:
    first, began = message.number == 1, time.monotonic()
    if message.fault == "away" and first:
        return Result(None, "ConnectionError", 0.0, "not sent: the endpoint was away, as arranged")
    try:
        response = CONNECTIONS.request(
            "POST",
            message.url,
            body=message.body.encode(),
            headers=message.headers | {"Connection": "close"},
            timeout=message.timeout_s,
            redirect=False,
            retries=False,
        )
    except (HTTPError, LocationValueError) as error:
        return Result(None, _error_name(error), time.monotonic() - began)
    took = time.monotonic() - began
    if message.fault == "answer_500" and first:
        note = f"the endpoint answered {response.status}; counted as a 500, as arranged"
        return Result(500, "", took, note)
    return Result(response.status, response.data.decode(errors="replace")[:MAX_KEPT_RESPONSE], took)


def _error_name(error: Exception) -> str:
    known = (name for kind, name in ERROR_NAMES.items() if isinstance(error, kind))
    return next(known, type(error).__name__)


def _settle(database: Database, message: Message, result: Result) -> None:
    """Delivered, to be tried again, or failed for good."""
    with database.write(message.store) as session:
        delivery = session.get(Delivery, message.delivery_id)
        if delivery is None:  # the store was emptied in between
            return
        _move(session, delivery, message.number, result)
        session.add(_attempt(session, delivery, message, result))
    log.info("message %s attempt %s: %s", message.event_id, message.number, result.status or result.text)


def _move(session: Session, delivery: Delivery, number: int, result: Result) -> None:
    gaps = RETRIES_S[retries_of(session)]
    accepted = result.status is not None and 200 <= result.status < 300
    delivery.state = "delivered" if accepted else "failed" if number > len(gaps) else "due"
    if delivery.state == "due":
        delivery.due_at = session.now() + timedelta(seconds=gaps[number - 1])
    delivery.attempt = number
    delivery.response_status = result.status
    delivery.response_body = result.text if result.status is not None else None
    delivery.error = result.text if result.status is None else None


def _attempt(session: Session, delivery: Delivery, message: Message, result: Result) -> Attempt:
    return Attempt(
        id=new_id("attempt"),
        delivery_id=delivery.id,
        number=message.number,
        at=session.now(),
        took_s=result.took_s,
        headers=message.headers,
        body=message.body,
        response_status=delivery.response_status,
        response_body=delivery.response_body,
        error=delivery.error,
        note=result.note,
    )
