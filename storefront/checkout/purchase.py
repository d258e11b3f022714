"""The click: place the order, then open its checkout session at Flexprice. Both commit."""

import logging
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError

from ..flexprice import (
    AuthenticationError,
    CheckoutSession,
    CheckoutSessionRequest,
    Conflict,
    CustomerNotFound,
    FlexpriceError,
    NoAnswer,
    NotSent,
)
from .context import PAGE_TIMEOUT_S, ask, backoff, checkout, commit, db_now, rollback, session, shop_now
from .models import Customer, OrderMixin
from .offers import Offer
from .orders import change, find, find_payment, get, record_session, slot_of, traces_of, transition
from .states import State, Trigger

log = logging.getLogger(__name__)

LOST_AFTER = timedelta(seconds=40)  # longer than the create call waits: no answer by then is a lost answer
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=10), timedelta(minutes=10)
MAX_SESSION_ATTEMPTS = 10  # to create the session; then a person is asked


class OrderExists(Exception):
    """No new order is placed. `order`: the one that is in the way."""

    def __init__(self, order: OrderMixin) -> None:
        super().__init__(order.ref)
        self.order = order


class AlreadyOwned(OrderExists):
    """The customer has this plan, or has paid for it."""


class OpenOrderExists(OrderExists):
    """The plan has an open order for another currency, billing period or price."""


def place_order(
    customer: Customer, offer: Offer, return_url: Callable[[str], str], **values: Any
) -> tuple[OrderMixin, bool]:
    """The open order for this offer, and whether the caller may ask Flexprice for its session. Commits.

    :param return_url: a function from the order's reference to its address without /success or /failure.
    :param values: further columns of a new order.
    :raises AlreadyOwned: the plan is paid for already.
    :raises OpenOrderExists: another offer of the plan is open; continue or cancel that first.
    """
    taken: IntegrityError | None = None
    for _ in range(2):
        order = new_order(customer, offer, return_url, values)
        session().add(order)
        try:
            commit()  # before Flexprice is called
        except IntegrityError as error:  # a double click, another tab, or the plan is theirs
            rollback()
            taken = error
        else:
            log.info("order %s placed: %s, %s %s", order.ref, order.plan_name, order.amount, order.currency)
            return order, True
        if first := find(slot=slot_of(customer.key, offer.plan_id)):
            return _continue(first, offer), claim_session_request(first)
    raise taken or AssertionError  # no order holds the slot: a constraint of the host's


def new_order(
    customer: Customer, offer: Offer, return_url: Callable[[str], str], values: dict[str, Any]
) -> OrderMixin:
    """An order that is not yet in the database session; for its arguments see `place_order`."""
    now, ref = db_now(), secrets.token_hex(16)
    order: OrderMixin = checkout().Order(
        ref=ref, state=State.PLACED,
        created_at=now, ordered_at=shop_now(), status_changed_at=now, return_url=return_url(ref),
        customer_key=customer.key, customer_name=customer.name, customer_email=customer.email,
        plan_id=offer.plan_id, plan_name=offer.plan_name, currency=offer.currency,
        billing_period=offer.billing_period, amount_text=str(offer.amount),
        session_requested_at=now, next_attempt_at=now + LOST_AFTER,
        **{"slot": slot_of(customer.key, offer.plan_id), **values},
    )  # fmt: skip
    checkout().hooks.on_order_created(order)
    return order


def _continue(order: OrderMixin, offer: Offer) -> OrderMixin:
    if not order.is_open:
        raise AlreadyOwned(order)
    same = (order.currency, order.billing_period) == (offer.currency, offer.billing_period)
    if same and order.amount != offer.amount:  # while no session was asked for, today's price counts
        today = {"amount_text": str(offer.amount)}
        same = change(order, today, state=State.PLACED, session_requested_at=None)
    if not same:
        raise OpenOrderExists(order)
    return order


def claim_session_request(order: OrderMixin) -> bool:
    """True for the one caller who may ask Flexprice for this order's session. Commits."""
    now = db_now()
    values = {"session_requested_at": now, "next_attempt_at": now + LOST_AFTER}
    mine = change(order, values, state=State.PLACED, session_requested_at=None, session_id=None)
    commit()
    return mine


def open_session(order: OrderMixin, *, by: str) -> None:
    """Create the order's checkout session; called by the one who claimed it. Commits, whatever comes of it.

    Afterwards the order awaits its payment; or waits for a lost answer, which the worker looks for; or is
    tried again later with the same key, since a refused create is no failed payment; or has failed.
    """
    order_id = order.id
    try:
        paid = order.attempts > 0 and find_earlier_payment(order, by=by)
        created = None if paid else _create_session(order)
    except (NoAnswer, Conflict) as error:  # there may be a session: never a second request without a look
        log.warning("order %s: no answer to the create call: %s", order.ref, error)
    except FlexpriceError as error:
        _not_opened(get(order_id), error, by)
    else:
        if created:
            record_session(get(order_id), created, by=by)
    commit()


def _create_session(order: OrderMixin) -> CheckoutSession:
    request = CheckoutSessionRequest(
        customer_external_id=order.customer_key,
        plan_id=order.plan_id,
        currency=order.currency,
        billing_period=order.billing_period,
        idempotency_key=order.ref,
        success_url=f"{order.return_url}/success",
        failure_url=f"{order.return_url}/failure",
        cancel_url=f"{order.return_url}/failure",
    )
    try:
        return ask(checkout().client.create_checkout_session, request)
    except CustomerNotFound:
        create_customer(Customer(order.customer_key, order.customer_name or "", order.customer_email or ""))
        return ask(checkout().client.create_checkout_session, request)


def find_earlier_payment(order: OrderMixin, *, by: str) -> bool:
    """Before the key is used again: behind an answer such as 502 a session may have been made, and paid.

    :raises FlexpriceError: when that cannot be told; NotSent without an answer, as nothing was created.
    """
    try:
        found = traces_of(order)
    except NoAnswer as error:
        raise NotSent(f"earlier payments cannot be searched: {error}") from error
    return find_payment(order, found, by=by)


def create_customer(customer: Customer) -> None:
    """Make the customer in Flexprice; one that exists already is fine.

    :raises NotSent: without an answer, since no session was asked for yet.
    """
    try:
        create = checkout().client.create_customer
        ask(create, customer.key, customer.name, customer.email, timeout=PAGE_TIMEOUT_S)
    except Conflict:
        log.info("Flexprice knows customer %s already", customer.key)
    except NoAnswer as error:
        raise NotSent(f"the customer could not be created: {error}") from error


def _not_opened(order: OrderMixin, error: FlexpriceError, by: str) -> None:
    """Nothing can be paid and the key is free: try the same order again later, or end it."""
    log.warning("order %s: no session: %s (request %s)", order.ref, error, error.request_id)
    again = error.retryable or isinstance(error, AuthenticationError)
    if again and order.attempts < MAX_SESSION_ATTEMPTS:
        later = db_now() + backoff(order.attempts + 1, FIRST_RETRY, LONGEST_RETRY)
        attempts = max(order.attempts, 1)
        released = {"session_requested_at": None, "next_attempt_at": later, "attempts": attempts}
        change(order, released, state=State.PLACED)
        return
    note = f"Flexprice did not open a session: {error.status} {error.code or error.message}"
    transition(order, Trigger.SESSION_REFUSED, by=by, review_note=note)
