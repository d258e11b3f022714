"""What Flexprice is asked about an order in each state, and when: webhooks may be lost, late or repeated.

Every check ends in `orders.apply_session` or another transition, exactly as a webhook does.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ..flexprice import (
    CheckoutSession,
    FlexpriceError,
    InvalidRequest,
    Invoice,
    NotFound,
    RouteNotFound,
    ServerError,
)
from . import orders, purchase
from .context import ask, checkout, commit, db_now, naive, shop_now
from .models import OrderMixin
from .states import ENDED_UNPAID, State, Trigger

log = logging.getLogger(__name__)

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# The next check comes after as long as the order has been in its state, between these two: the gaps double.
GAPS = {
    State.PLACED: (MINUTE, HOUR),
    State.AWAITING_PAYMENT: (5 * SECOND, HOUR),  # seconds, for the invoice that is not verified yet
    State.PAID: (2 * SECOND, 5 * MINUTE),  # somebody has paid and is waiting
}
OTHERWISE = (MINUTE, 6 * HOUR)
QUIET_WHILE_PAYING = MINUTE  # the page of the customer asks for a check itself
WATCH_FOR_MONEY = timedelta(days=3)  # after an end: a late authorization takes up to three days
# A session lives 15 to 25 minutes and a sweep every 30 minutes archives its draft; then nothing can be paid.
DRAFT_IS_LEFT_OVER = timedelta(minutes=60)
RESTART_AFTER = MINUTE  # a customer whose create call got no answer may begin again
GONE_AFTER = timedelta(hours=2)  # past its `expires_at`, an unknown session is given up
MAX_FULFILLMENT_ATTEMPTS = 10


def check_order(order_id: int) -> None:
    """Ask what must be asked about one order, and write what follows; it is to be rescheduled. Commits.

    :raises FlexpriceError: it could not be asked now.
    :raises FulfillmentFailed: a hook of the host raised.
    """
    order = orders.get(order_id)
    CHECKS[State(order.state)](order)
    commit()


def next_gap(order: OrderMixin) -> timedelta | None:
    """How long until the order is checked again; None: no more."""
    waited = db_now() - order.status_changed_at
    if order.state == State.FULFILLED:
        return _next_gap_of_active(order, waited)
    if order.state == State.AWAITING_PAYMENT and order.invoice_verified_at and waited < QUIET_WHILE_PAYING:
        return QUIET_WHILE_PAYING
    watched = order.state in GAPS or (order.state not in RESTING and waited < WATCH_FOR_MONEY)
    if not watched:
        return None
    if order.state == State.PAID and order.invoice_verified_at and order.attempts >= MAX_FULFILLMENT_ATTEMPTS:
        return DAY  # the host's hook fails; an outage of Flexprice delays nothing for so long
    shortest, longest = GAPS.get(State(order.state), OTHERWISE)
    return min(max(waited, shortest), longest)


def _next_gap_of_active(order: OrderMixin, waited: timedelta) -> timedelta | None:
    if order.revoked_at:
        return None
    if order.invoice_number is None and waited < HOUR:
        return max(waited, 5 * SECOND)  # the invoice gets its number when it is finalized
    until_end = order.access_ends_at - shop_now() if order.access_ends_at else DAY
    return min(max(until_end + MINUTE, 5 * MINUTE), DAY)


# -- the invoice -----------------------------------------------------------------------------------


def read_invoice(order: OrderMixin) -> Invoice:
    """The order's invoice with its subscription; no transaction stays open.

    :raises NotFound: there is none (yet): a replica lags, or Flexprice deleted it.
    :raises FlexpriceError: it could not be read.
    """
    client, invoice_id = checkout().client, order.invoice_id
    if invoice_id is None and order.session_id:  # a lost answer, and the webhook did not name it
        invoice_id = ask(client.get_checkout_session, order.session_id).invoice_id
    elif invoice_id is None and order.subscription_id:
        listed = ask(client.list_invoices, order.subscription_id)
        invoice_id = next((invoice.id for invoice in listed if invoice.paid), None)
    if invoice_id is None:
        raise NotFound("no invoice belongs to this order (yet)")
    invoice = ask(client.get_invoice, invoice_id)
    if invoice.subscription is None and invoice.subscription_id:
        return replace(invoice, subscription=ask(client.get_subscription, invoice.subscription_id))
    return invoice


def differences_of(order: OrderMixin, invoice: Invoice) -> str:
    """A sentence for the operator; empty when all is as ordered. Tax is not compared."""
    bought = invoice.subscription
    # By our own id where Flexprice names it: its own changes when a lost customer is created again.
    customers: tuple[Any, Any] = (order.customer_key, invoice.customer_external_id)
    if not invoice.customer_external_id:
        customers = (order.flexprice_customer_id, invoice.customer_id or (bought and bought.customer_id))
    pairs: dict[str, tuple[Any, Any]] = {
        "amount": (f"{order.amount.normalize():f}", f"{invoice.subtotal.normalize():f}"),
        "currency": (order.currency, invoice.currency),
        "plan": (order.plan_id, bought and bought.plan_id),
        "billing period": (order.billing_period, bought and bought.billing_period),
        "customer": customers,
    }
    different = {what: pair for what, pair in pairs.items() if (pair[0] or None) != (pair[1] or None)}
    return "; ".join(
        f"{what}: ordered {ours or 'none'}, charged {theirs or 'none'}"
        for what, (ours, theirs) in different.items()
    )


def record_invoice(order: OrderMixin, invoice: Invoice) -> None:
    """The invoice names the subscription, which later news of its end is matched by."""
    order.invoice_id, order.subscription_id = invoice.id, invoice.subscription_id or order.subscription_id
    order.invoice_number = invoice.number or order.invoice_number
    order.invoice_total_text, order.period_end = str(invoice.total), naive(invoice.period_end)


def verify_invoice(order: OrderMixin, invoice: Invoice, *, by: str) -> bool:
    """Does the session charge what was ordered? If not, the order leaves the way to fulfillment."""
    differences = differences_of(order, invoice)
    if not differences:
        record_invoice(order, invoice)
        order.invoice_verified_at = db_now()
        return True
    orders.transition(
        order, Trigger.INVOICE_MISMATCH, by=by, review_note=f"Not what was ordered: {differences}"
    )
    return False


# -- open orders ------------------------------------------------------------------------------------


def check_placed(order: OrderMixin) -> None:
    """Nothing was opened: try again. Or no answer came: look for a trace of the session."""
    if order.session_requested_at is None:
        if purchase.claim_session_request(order):
            purchase.open_session(order, by="worker")
        return
    found = orders.traces_of(order)
    if not orders.find_payment(order, found, by="worker"):
        abandon_if_lost(order, [draft.id for draft in found], after=DRAFT_IS_LEFT_OVER, by="worker")


def abandon_if_lost(order: OrderMixin, drafts: list[str], *, after: timedelta, by: str) -> bool:
    """Give the order up if its create call got no answer for `after`; False if not.

    :param drafts: ids of subscriptions that were found and are not active, for the operator.
    """
    waited = db_now() - (order.session_requested_at or order.created_at)
    if order.session_id or waited < after:
        return False
    left = f"; a draft was left over: {', '.join(drafts)}" if drafts else ""
    # Its session may become known at this moment, or be asked for again.
    still_lost = {"session_id": None, "session_requested_at": order.session_requested_at}
    note = orders.LOST + left
    return orders.transition(order, Trigger.ABANDONED, by=by, only_if=still_lost, review_note=note)


def restart(order: OrderMixin) -> bool:
    """A customer begins again after a lost answer: True when the order has made room for a new one. Commits.

    A session that was made all the same was never shown; should it be paid, the order counts again.

    :raises FlexpriceError: an earlier payment cannot be excluded now.
    """
    found = orders.traces_of(order)
    drafts = [draft.id for draft in found]
    paid = orders.find_payment(order, found, by="customer")
    made_room = not paid and abandon_if_lost(order, drafts, after=RESTART_AFTER, by="customer")
    commit()
    return made_room


def check_awaiting(order: OrderMixin) -> None:
    """The webhook may have been lost: the session is asked about for as long as the order is open."""
    problem: FlexpriceError | None = None
    try:  # compare the draft invoice with the order while the customer pays
        if not order.invoice_verified_at:
            verify_invoice(order, read_invoice(order), by="worker")
    except FlexpriceError as error:
        problem = error
    if order.state != State.AWAITING_PAYMENT:
        return  # the link is withdrawn in the next turn
    try:
        told = ask(checkout().client.get_checkout_session, order.session_id or "")
    except RouteNotFound:
        raise
    except NotFound:
        _session_is_gone(order)
        return
    if not orders.settle(order.id, told, by="worker") and problem and not told.terminal:
        raise problem


def _session_is_gone(order: OrderMixin) -> None:
    """Of another environment, or deleted: nobody can tell any more what becomes of it."""
    payable_until = order.expires_at or order.ordered_at or order.created_at
    if order.attempts >= 3 and shop_now() > payable_until + GONE_AFTER:
        orders.transition(
            order, Trigger.ABANDONED, by="worker", review_note="Flexprice no longer knows its session"
        )


# -- paid orders ------------------------------------------------------------------------------------


def check_paid(order: OrderMixin) -> None:
    """An invoice that was verified in time needs no call now: Flexprice may be down."""
    if order.attempts >= MAX_FULFILLMENT_ATTEMPTS:
        orders.add_review_note(order, "Paid, and not fulfilled after many attempts: see the log")
        commit()
    try:
        if order.invoice_verified_at or verify_invoice(order, read_invoice(order), by="worker"):
            orders.fulfill(order, by="worker")
    except NotFound:
        _invoice_is_gone(order)


def _invoice_is_gone(order: OrderMixin) -> None:
    """Flexprice deletes it when a late clean-up overwrites the completed session; else a replica lags."""
    told = ask(checkout().client.get_checkout_session, order.session_id) if order.session_id else None
    if told is None or not told.terminal:
        raise ServerError("the invoice of a paid order cannot be read yet")
    orders.apply_session(order, replace(told, completed_at=told.completed_at or told.expires_at), by="worker")


def check_fulfilled(order: OrderMixin) -> None:
    """Read the receipt, then follow the subscription: its end may be told by no webhook."""
    if order.subscription_id and order.revoked_at is None:
        follow_subscription(order, by="worker")
    if (
        order.amount
        and order.invoice_number is None
        and (order.invoice_id or order.session_id or order.subscription_id)
    ):
        record_invoice(order, read_invoice(order))


def follow_subscription(order: OrderMixin, *, by: str) -> None:
    """Access ends when the subscription has ended. `cancelled_at` alone means that an end is scheduled."""
    told = ask(checkout().client.get_subscription, order.subscription_id or "")
    order.access_ends_at = naive(told.cancel_at)
    if told.status == "cancelled":
        orders.revoke(order, by=by, reason="the subscription was cancelled")


# -- ended orders -----------------------------------------------------------------------------------


def check_ended(order: OrderMixin) -> None:
    """No link of an ended order stays payable, and money that came all the same is noticed."""
    if order.session_id is None:
        if order.state == State.ABANDONED and order.amount:  # it may be paid: Razorpay mails its link
            orders.find_payment(order, orders.traces_of(order), by="worker")
        return
    try:
        told = _ended_session(order.session_id)
    except NotFound:
        told = None
    _watch(order, told, money_of(order))


def _ended_session(session_id: str) -> CheckoutSession:
    """As it is, once it is over: a session that could still be paid is cancelled."""
    client = checkout().client
    told = ask(client.get_checkout_session, session_id)
    if told.terminal:
        return told
    try:
        return ask(client.cancel_checkout_session, session_id)
    except (InvalidRequest, NotFound):
        return told  # it ended in between, or this server cannot cancel: it expires


def check_reviewed(order: OrderMixin) -> None:
    """Flexprice's support may repair it, and a refund closes it; otherwise an operator decides."""
    told = ask(checkout().client.get_checkout_session, order.session_id) if order.session_id else None
    _watch(order, told, money_of(order))


def money_of(order: OrderMixin) -> str:
    """What became of the payment: REFUNDED, SUCCEEDED, …; empty when there is none."""
    client, payment_id, status = checkout().client, order.payment_id, ""
    if not payment_id:
        return ""
    try:
        status = ask(client.get_payment, payment_id).status
        if status not in orders.MONEY_TAKEN:
            return status
        refunds = ask(client.list_refunds, payment_id)
    except RouteNotFound:  # servers of August 2026 have no refunds
        return status
    except NotFound:  # archived with its session
        return ""
    return "REFUNDED" if any(refund.status == "SUCCEEDED" for refund in refunds) else status


def _watch(order: OrderMixin, told: CheckoutSession | None, money: str) -> None:
    if told and orders.apply_session(order, told, by="worker"):
        return
    if money == "REFUNDED" and orders.transition(
        order, Trigger.REFUND_SEEN, by="worker", refunded_at=db_now()
    ):
        return
    if money in orders.MONEY_TAKEN and order.state in ENDED_UNPAID:
        orders.transition(order, Trigger.PAYMENT_UNMATCHED, by="worker")


RESTING = frozenset({State.PAID_LATE, State.REFUNDED})
CHECKS: dict[State, Callable[[OrderMixin], None]] = {
    State.PLACED: check_placed,
    State.AWAITING_PAYMENT: check_awaiting,
    State.PAID: check_paid,
    State.FULFILLED: check_fulfilled,
    **dict.fromkeys(ENDED_UNPAID, check_ended),
    State.HELD: check_reviewed,
    State.PAID_TWICE: check_reviewed,
    State.STUCK: check_reviewed,
    **dict.fromkeys(RESTING, lambda order: None),
}
