"""Webhooks from Flexprice: verify, store once, answer 204; the worker processes them afterwards.

Storing before acting is the inbox pattern: what was answered with 204 is never lost, and a second copy of a
message finds its id taken. Flexprice allows 5 seconds for the answer; this takes milliseconds.
"""

import logging
import re
from collections.abc import Callable
from datetime import timedelta

from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy import case, insert, or_, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ..flexprice import CheckoutSession, Event, InvalidSignature, NotFound, UnreadableResponse, is_signed
from . import orders, purchase, reconciliation
from .context import after_commit, ask, checkout, commit, db_now, load, rollback, send, session, update_where
from .models import OrderMixin, WebhookEventMixin
from .signals import order_needs_attention, webhook_rejected, webhook_stored
from .states import State

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024  # an invoice with many lines is some 20 kB
HINT_INTERVAL = timedelta(seconds=5)  # between two questions about one object, however many hints come
SET_ASIDE_AFTER = timedelta(minutes=60)  # an event that still makes no sense waits for a person
FINAL = ("completed", "failed", "expired", "cancelled")
OUR_REFERENCE = re.compile("[0-9a-f]{32}")


class RetryLater(Exception):
    """The event makes no sense yet: a replica lags, or the order is being opened."""


# -- receiving --------------------------------------------------------------------------------------


def receive() -> ResponseReturnValue:
    """204: the event is stored; 401 not authentic; 400 not an event; 413 too large; 503 not stored."""
    body = _limited_body()
    if body is None:
        return {"error": "body too large"}, 413
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        message_id = authenticate(body, headers)
        event = Event.from_body(body)
    except (InvalidSignature, UnreadableResponse) as error:
        return _reject(error, body, headers)
    try:
        if message_id is None:
            store_hint(event)
        else:
            store(message_id, event, body)
    except SQLAlchemyError as error:  # the database is away, full or locked, or no connection is free
        rollback()
        log.error("A webhook could not be stored (%s); Flexprice sends it again", type(error).__name__)
        return {"error": "not stored"}, 503, {"Retry-After": "5"}
    return "", 204


def _reject(
    error: InvalidSignature | UnreadableResponse, body: bytes, headers: dict[str, str]
) -> ResponseReturnValue:
    log.warning("Webhook rejected: %s", getattr(error, "reason", None) or error)
    send(webhook_rejected, error=error, body=body, headers=headers, remote_addr=request.remote_addr or "")
    invalid = isinstance(error, InvalidSignature)
    return ({"error": "signature not accepted"}, 401) if invalid else ({"error": "not an event"}, 400)


def _limited_body() -> bytes | None:
    """The raw bytes, since the signature covers them; None when there are too many."""
    length = request.content_length
    if length is None:  # chunked
        body = request.stream.read(MAX_BODY_BYTES + 1)
        return body if len(body) <= MAX_BODY_BYTES else None
    return request.get_data() if length <= MAX_BODY_BYTES else None


def authenticate(body: bytes, headers: dict[str, str]) -> str | None:
    """The id of a signed message; None for an unsigned one that has the header of FLEXPRICE_WEBHOOK_HEADER.

    :raises InvalidSignature: neither.
    """
    verifier, shared_header = checkout().verifier, checkout().shared_header
    if shared_header and not is_signed(headers):
        if not shared_header.matches(headers):
            raise InvalidSignature("shared_header")
        return None
    if verifier is None:
        raise InvalidSignature("no_match")  # no secret is set: nothing can be believed
    return verifier.verify(body, headers)


def store(message_id: str, event: Event, body: bytes | None) -> bool:
    """Keep an event; False when it is known already. Commits.

    :param body: None for an unsigned event: a hint.
    """
    now, ours = db_now(), body is not None and event.type.startswith("checkout.session.")
    values = {
        "id": message_id, "event_type": event.type, "object_id": _object_of(event),
        "order_ref": event.order_ref, "customer_id": event.customer_id,
        "body": body.decode() if body and ours else None, "signed": body is not None,
        "received_at": now, "next_attempt_at": now,
    }  # fmt: skip
    try:
        session().execute(insert(checkout().WebhookEvent).values(values))
        after_commit(webhook_stored, event_id=message_id, event_type=event.type)
        commit()  # before it is answered, and before it is acted upon
    except IntegrityError:
        rollback()  # known already
        return False
    return True


def store_hint(event: Event) -> None:
    """An unsigned event only says what to ask Flexprice about: one row for each object. Commits."""
    row_id = f"hint:{event.type.partition('.')[0]}:{_object_of(event)}"[:300]
    if not _object_of(event) or store(row_id, event, None):
        return
    Row, now = checkout().WebhookEvent, db_now()
    # Asked about before: once more, HINT_INTERVAL from now. One under way is asked about again afterwards.
    due = case((Row.next_attempt_at.is_(None), now + HINT_INTERVAL), else_=Row.next_attempt_at)
    again = {"processed_at": None, "next_attempt_at": due, "received_at": now}
    update_where(Row, again, Row.id == row_id)
    commit()


def _object_of(event: Event) -> str:
    """What the event is about; of a refund its payment, which the order knows."""
    return event.payment_id if event.type.startswith("refund.") else event.object_id


# -- processing -------------------------------------------------------------------------------------


def process_event(event_id: str) -> bool:
    """Act on one stored event, in one transaction with the order that it moves. Commits.

    :returns: whether it is processed; one that makes no sense yet is not.
    :raises FlexpriceError: Flexprice could not be asked now.
    """
    event: WebhookEventMixin = load(checkout().WebhookEvent, event_id)
    handler = HANDLERS.get(event.event_type) or HANDLERS.get(event.event_type.partition(".")[0])
    received_at = event.received_at
    try:
        outcome = handler(event) if handler else "ignored"
        for hook in checkout().hooks.on_event:
            hook(event)
    except RetryLater as error:
        _retry_later(event_id, str(error))
        return False
    now = db_now()
    done = {"processed_at": now, "next_attempt_at": None, "outcome": outcome, "error": None}
    Row = checkout().WebhookEvent
    # A hint that came again in between is asked about once more.
    settled = update_where(Row, done, Row.id == event_id, Row.received_at == received_at)
    commit()
    return settled == 1


def _retry_later(event_id: str, why: str) -> None:
    rollback()
    event = load(checkout().WebhookEvent, event_id)
    event.outcome = why
    if db_now() - event.received_at > SET_ASIDE_AFTER:
        event.next_attempt_at = None  # set aside: visible to an operator, who can retry it
        log.error("webhook event %s (%s) is set aside: %s", event.id, event.event_type, why)
        after_commit(order_needs_attention, order=None, note=f"Webhook event {event.id} is set aside: {why}")
    commit()


def handle_session_event(event: WebhookEventMixin) -> str:
    """Believes a signed final status of our own session; asks Flexprice about everything else."""
    order = orders.find(session_id=event.object_id)
    announced = event.event_type.rpartition(".")[2] if event.signed else ""
    told = _told_by(event, announced)
    if order and told is None and announced == "initiated":
        return "we created it"
    if told is None or order is None:
        told = _ask_session(event.object_id)
    if announced in FINAL and not told.terminal:
        raise RetryLater("Flexprice does not say so yet")  # a replica that lags
    if order is None:
        return _unknown_session(told)
    moved = orders.settle(order.id, told, by="webhook", announced=announced)
    return "applied" if moved else "nothing new"


def _told_by(event: WebhookEventMixin, announced: str) -> CheckoutSession | None:
    """The body was built when it was delivered, so type and status may disagree: then Flexprice is asked."""
    told = Event.from_body(event.body.encode()).session if event.signed and event.body else None
    if told is None or not told.terminal or not told.customer_id:
        return None
    agrees = told.status == announced or (announced, told.status) == ("cancelled", "expired")
    return told if agrees else None


def _ask_session(session_id: str) -> CheckoutSession:
    try:
        return ask(checkout().client.get_checkout_session, session_id)
    except NotFound as error:
        raise RetryLater("Flexprice does not know the session (yet)") from error


def _unknown_session(told: CheckoutSession) -> str:
    """A session whose 201 was lost: ours only if its key and customer match an order that has none."""
    order = orders.find(ref=told.idempotency_key or "")
    paid = told.status == "completed" or told.completed_at
    if order is None:
        if paid and OUR_REFERENCE.fullmatch(told.idempotency_key or ""):
            raise RetryLater("a payment for an order that does not exist here")
        return "not one of our sessions"
    order_id, key = order.id, order.customer_key
    customer = ask(checkout().client.get_customer_by_external_id, key)
    order = orders.get(order_id)
    if customer.id != told.customer_id:
        if paid:
            raise RetryLater("a payment of another customer")
        return "the session of another customer"
    if order.session_id and order.session_id != told.id:
        if paid:
            orders.add_review_note(order, f"Session {told.id} of this order was paid as well: refund it")
        return "another session of an order that has its own"
    if told.status not in ("pending", "completed") and not told.completed_at:
        return _unseen_attempt(order)
    if not orders.record_session(order, told, by="webhook"):
        raise RetryLater("the order got another session in between")
    orders.settle(order_id, told, by="webhook")
    return "session adopted"


def _unseen_attempt(order: OrderMixin) -> str:
    """A create that failed at the payment provider sends `failed` for a session that nobody was told of."""
    requested = order.session_requested_at
    if order.is_open and requested and db_now() - requested < purchase.LOST_AFTER:
        raise RetryLater("the order is being opened: this may be its session")
    return "an attempt that was never shown moves nothing"


def handle_subscription_event(event: WebhookEventMixin) -> str:
    """Access ends when Flexprice says so; a create call whose answer was lost shows up here too."""
    Order, subscription_id, kind = checkout().Order, event.object_id, event.event_type
    ours = or_(Order.subscription_id == subscription_id, Order.ref == event.order_ref)
    order: OrderMixin | None = session().scalar(select(Order).where(ours).order_by(Order.id).limit(1))
    if order is None:
        return "not one of our orders"
    if order.is_open:
        if order.session_id is None and order.session_requested_at:
            orders.check_now(order)  # a trace of the lost session
        return "the order is open"
    if order.state == State.PAID and kind == "subscription.cancelled":
        raise RetryLater("the order is to be fulfilled first")
    followed = order.is_active and kind in ("subscription.cancelled", "subscription.updated")
    if followed and event.signed:
        order.subscription_id = order.subscription_id or subscription_id
    if not followed or order.subscription_id != subscription_id:
        return "nothing to change"
    try:
        reconciliation.follow_subscription(order, by="webhook")
    except NotFound:
        if kind == "subscription.cancelled" and event.signed:
            orders.revoke(order, by="webhook", reason="the subscription was cancelled")
    return "access ended" if order.revoked_at else "access follows the subscription"


def handle_refund_event(event: WebhookEventMixin) -> str:
    """A refund tells of money, not of the session: an open order's session is asked about first."""
    Order = checkout().Order
    order: OrderMixin | None = session().scalar(select(Order).where(Order.payment_id == event.object_id))
    if order is None:
        return "not one of our payments"
    order_id = order.id
    if event.event_type == "refund.failed" and event.signed:
        orders.add_review_note(order, "Flexprice could not send the money back: refund it by hand")
        return "failed refund noted"
    if not event.signed and ask(checkout().client.get_payment, event.object_id).status != "REFUNDED":
        return "Flexprice knows of no refund"
    if order.is_open and order.session_id:
        orders.settle(order_id, _ask_session(order.session_id), by="webhook")
    orders.refund_seen(orders.get(order_id), by="webhook")
    return "refund noted"


HANDLERS: dict[str, Callable[[WebhookEventMixin], str]] = {  # by type, else by its first word
    "checkout.session.initiated": handle_session_event,  # names a session whose 201 was lost
    "checkout.session.completed": handle_session_event,  # paid: access is due
    "checkout.session.failed": handle_session_event,  # frees the plan, so that the customer can try again
    "checkout.session.expired": handle_session_event,  # the same
    "checkout.session.cancelled": handle_session_event,  # newest servers send it beside `expired`
    "subscription": handle_subscription_event,
    "refund": handle_refund_event,
}


def retry(event_id: str) -> bool:
    """An operator has an event processed again: safe, every effect can happen only once. Commits."""
    Row = checkout().WebhookEvent
    again = {"processed_at": None, "next_attempt_at": db_now(), "attempts": 0, "received_at": db_now()}
    found = update_where(Row, again, Row.id == event_id)
    commit()
    return found == 1
