"""An order between the click and its end: what Flexprice is asked, when, and what is then written."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from storefront import fulfillment, orders, terms
from storefront.extensions import flexprice
from storefront.flexprice import (
    CheckoutSession,
    Invoice,
    NotFound,
    Payment,
    Refused,
    RouteMissing,
    Subscription,
    Unavailable,
)
from storefront.fulfillment import Act
from storefront.lifecycle import ENDED_UNPAID, Fact, State
from storefront.models import Order

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

SHOPPERS_OWN = MINUTE  # while they pay: the page asks for them, the worker does not
TRACES = ("draft", "active", "trialing")
WATCH_FOR_MONEY = timedelta(days=3)  # after the end: as long as a late authorisation may take

# How long until an order is looked after again: as long as it has waited so far, between these two. So the
# gaps double, and while an order is open they end in an hourly look that never stops (decision 15).
PATIENCE = {
    State.PLACED: (MINUTE, HOUR),
    State.AWAITING_PAYMENT: (5 * SECOND, HOUR),  # seconds: should its terms be unreadable at first
    State.PAID: (2 * SECOND, 5 * MINUTE),  # somebody has paid and is waiting
}
OTHERWISE = (MINUTE, 6 * HOUR)


def look_again_at(order: Order, now: datetime) -> datetime:
    waited = now - order.waiting_since
    if order.state == State.AWAITING_PAYMENT and order.terms_checked_at and waited < SHOPPERS_OWN:
        return order.waiting_since + SHOPPERS_OWN
    least, most = PATIENCE.get(State(order.state), OTHERWISE)
    return now + min(max(waited, least), most)


def ask(order: Order, now: datetime, *, at_once: bool = False) -> Act:
    """Ask Flexprice what must be asked (no transaction is open), and return what is to be done.

    `at_once`: even about an order that was opened a moment ago. Raises FlexpriceError.
    """
    if at_once and order.state == State.AWAITING_PAYMENT:
        return ask_session(order)
    return LOOKS[State(order.state)](order, now)


def find_lost_session(order: Order, now: datetime) -> Act:
    """No answer came to our create. Is there a trace of it?"""
    if order.session_id or not order.opening_at:
        return _nothing
    found = flexprice().search_subscriptions(order.shopper.external_id, TRACES)
    return lambda at: _recovered(order, found, at)


def _recovered(order: Order, found: list[Subscription], now: datetime) -> str:
    moved = fulfillment.recover(order, found, now, patience=fulfillment.DRAFT_IS_LEFT_OVER)
    return order.state if moved else "no trace of a payment"


def follow_session(order: Order, now: datetime) -> Act:
    """The webhook may have been lost: an open order is asked about for as long as it is open."""
    if now - (order.opening_at or order.created_at) < SHOPPERS_OWN:
        return _follow(order, None)
    return ask_session(order)


def ask_session(order: Order) -> Act:
    return _follow(order, flexprice().get_session(order.session_id or ""))


def _follow(order: Order, session: CheckoutSession | None) -> Act:
    checked = order.terms_checked_at or (session and session.terminal)
    invoice = None if checked else terms.charged(flexprice(), order)
    return lambda at: _followed(order, session, invoice, at)


def _followed(order: Order, session: CheckoutSession | None, invoice: Invoice | None, now: datetime) -> str:
    if session and fulfillment.settle(order, session, now):
        return order.state
    if invoice and not order.terms_checked_at and fulfillment.check_terms(order, invoice, now):
        orders.look_again(order.id, State.AWAITING_PAYMENT, look_again_at(order, now))
    return order.state


def hand_over(order: Order, now: datetime) -> Act:
    """Terms that were checked in time need no call now: Flexprice may be down."""
    if order.terms_checked_at:
        return lambda at: _handed_over(order, None, at)
    try:
        invoice = terms.charged(flexprice(), order)
    except NotFound:
        return _without_invoice(order)
    return lambda at: _handed_over(order, invoice, at)


def _without_invoice(order: Order) -> Act:
    """It is deleted when a completed session is overwritten (contract C.1); else a replica lags."""
    session = flexprice().get_session(order.session_id) if order.session_id else None
    if session is None or session.status == "completed" or not session.terminal:
        raise Unavailable("the invoice of a paid order cannot be read yet")
    overwritten = replace(session, completed_at=session.completed_at or order.paid_at)
    return lambda at: order.state if fulfillment.settle(order, overwritten, at) else "nothing new"


def _handed_over(order: Order, invoice: Invoice | None, now: datetime) -> str:
    if order.state != State.PAID:
        return "another worker got here first"
    if invoice and not order.terms_checked_at and not fulfillment.check_terms(order, invoice, now):
        return order.state
    fulfillment.fulfill(order, now)
    if invoice and invoice.number:
        fulfillment.keep_receipt(order, invoice, now)
    return order.state


def fetch_receipt(order: Order, now: datetime) -> Act:
    if order.invoice_number or now - order.waiting_since > WATCH_FOR_MONEY:
        return _rest(order)
    if not (order.invoice_id or order.session_id or order.subscription_id):
        return _rest(order)  # released by an operator without any record of Flexprice's
    planned, invoice = order.next_look_at, terms.invoice_of(flexprice(), order)
    return lambda at: _kept(order, planned, invoice, at)


def _kept(order: Order, planned: datetime | None, invoice: Invoice, now: datetime) -> str:
    if not invoice.number:
        return "no invoice number yet"  # a replica that lags
    fulfillment.keep_receipt(order, invoice, now)
    return _rested(order.id, planned)


def watch_the_ended(order: Order, now: datetime) -> Act:
    """No link of an ended order stays payable, and money that came all the same is noticed (contract D.4)."""
    if now - order.waiting_since > WATCH_FOR_MONEY:
        return _rest(order)
    if order.session_id is None:
        return find_late_trace(order)
    try:
        session = _ended_session(order.session_id)
    except NotFound:
        session = None
    money = money_of(order)
    return lambda at: watched(order, session, money, at)


def find_late_trace(order: Order) -> Act:
    """An order we gave up may have left a link behind, which Razorpay mails to the customer."""
    if order.state != State.ABANDONED:
        return _rest(order)  # Flexprice's own word was that nothing was opened
    found = flexprice().search_subscriptions(order.shopper.external_id, TRACES)
    return lambda at: _recovered(order, found, at)


def _ended_session(session_id: str) -> CheckoutSession:
    """As it is, once it is over: one that could still be paid is cancelled (decision 11)."""
    session = flexprice().get_session(session_id)
    if session.terminal:
        return session
    try:
        return flexprice().cancel_session(session_id)
    except (Refused, NotFound, RouteMissing):
        return session  # it ended meanwhile, or this server cannot cancel: it runs out


def money_of(order: Order) -> str:
    """What became of the payment: REFUNDED, SUCCEEDED, …; empty when there is none."""
    if not order.payment_id:
        return ""
    try:
        payment: Payment = flexprice().get_payment(order.payment_id)
    except NotFound:  # put away with its session (contract F.23)
        return ""
    if payment.status not in fulfillment.MONEY_TAKEN:
        return payment.status
    try:
        refunds = flexprice().refunds_of(order.payment_id)
    except (NotFound, RouteMissing):  # older servers know no refunds (contract B.13)
        return payment.status
    return "REFUNDED" if any(refund.status == "SUCCEEDED" for refund in refunds) else payment.status


def watched(order: Order, session: CheckoutSession | None, money: str, now: datetime) -> str:
    """What the session and the payment say of an order that is over here."""
    if session and fulfillment.settle(order, session, now):
        return order.state
    if money == "REFUNDED" and fulfillment.refund_seen(order, now):
        return order.state
    if money in fulfillment.MONEY_TAKEN and order.state in ENDED_UNPAID:
        orders.advance(order, Fact.PAYMENT_STRANDED, now)
    return order.state


def wait_for_a_person(order: Order, now: datetime) -> Act:
    """Flexprice's people may repair it, and a refund closes it; otherwise an operator decides."""
    if now - order.waiting_since > WATCH_FOR_MONEY:
        return _rest(order)
    session = flexprice().get_session(order.session_id) if order.session_id else None
    money = money_of(order)
    return lambda at: watched(order, session, money, at)


def rest(order: Order, now: datetime) -> Act:
    return _rest(order)


def _rest(order: Order) -> Act:
    order_id, planned = order.id, order.next_look_at
    return lambda now: _rested(order_id, planned)


def _rested(order_id: int, planned: datetime | None) -> str:
    orders.rest(order_id, planned)
    return "nothing more to look after"


def _nothing(now: datetime) -> str:
    return "nothing to ask"


LOOKS: dict[State, Callable[[Order, datetime], Act]] = {
    State.PLACED: find_lost_session,
    State.AWAITING_PAYMENT: follow_session,
    State.PAID: hand_over,
    State.FULFILLED: fetch_receipt,
    State.FAILED: watch_the_ended,
    State.EXPIRED: watch_the_ended,
    State.CANCELLED: watch_the_ended,
    State.ABANDONED: watch_the_ended,
    State.MISMATCHED: watch_the_ended,
    State.HELD: wait_for_a_person,
    State.PAID_TWICE: wait_for_a_person,
    State.STUCK: wait_for_a_person,
    State.PAID_LATE: rest,
    State.REFUNDED: rest,
}
