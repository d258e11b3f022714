"""Razorpay's side of a sale: its payment link, and what it tells Flexprice about it.

Flexprice's handlers as read in its source, internal/integration/razorpay/webhook/handler.go.
"""

from collections.abc import Callable

from sqlalchemy import Connection

from storefront.sandbox._previous import endings, switches
from storefront.sandbox._previous.endings import AT_ONCE, HALF_DONE, IN_PARALLEL
from storefront.sandbox._previous.schema import payments, sessions
from storefront.sandbox._previous.store import Body, need, random_letters, save
from storefront.sandbox._previous.views import TERMINAL


def take(conn: Connection, session: Body) -> str:
    """Money is taken, whatever Flexprice hears of it; gives back Razorpay's payment id."""
    payment_id = f"pay_{random_letters(14)}"
    save(conn, sessions, session, link_state="paid", razorpay_payment_id=payment_id)
    return payment_id


def tell_of_money(conn: Connection, session: Body, manner: str = AT_ONCE) -> None:
    """By two events, the second of which finds nothing left to do."""
    told = [event for event in MONEY if event in switches.read(conn, "razorpay_events")]
    if manner == HALF_DONE:
        told.reverse()  # payment.captured would heal it: it comes too late and sees only that money is there
    if manner == IN_PARALLEL and len(told) < 2:
        manner = AT_ONCE
    for event in told:
        MONEY[event](conn, session, manner)


def told_again(conn: Connection, session: Body) -> None:
    """By the one event that heals a completion that stopped half way, or refunds it when it is too late."""
    if "payment_link.paid" in switches.read(conn, "razorpay_events"):
        _link_paid(conn, session)


def declined(conn: Connection, session: Body, reason: str) -> None:
    save(conn, sessions, session, declined=reason)
    _send(conn, "payment.failed", session)


def link_cancelled(conn: Connection, session: Body) -> None:
    save(conn, sessions, session, link_state="cancelled")
    _send(conn, "payment_link.cancelled", session)


def link_expired(conn: Connection, session: Body) -> None:
    save(conn, sessions, session, link_state="expired")
    _send(conn, "payment_link.expired", session)


def asked(conn: Connection, session: Body) -> None:
    """Flexprice looks for itself instead of waiting for an event."""
    if session["link_state"] == "paid":
        _link_paid(conn, session)


def _send(conn: Connection, event: str, session: Body) -> None:
    if event in switches.read(conn, "razorpay_events"):
        HANDLERS[event](conn, session)


# Flexprice's handlers. They look for a published session that has the payment: an aborted create never had
# one, and a DELETEd session is not found.


def _is_found(session: Body) -> bool:
    return session["status"] == "published" and "checkout_payment_id" in session


def _settle(conn: Connection, session: Body, manner: str) -> None:
    if session["checkout_status"] == "pending":
        endings.complete(conn, session, manner)
    elif session["checkout_status"] in ("expired", "failed"):
        endings.refund(conn, session)


def _link_paid(conn: Connection, session: Body, manner: str = AT_ONCE) -> None:
    if _is_found(session):
        _settle(conn, session, manner)


def _captured(conn: Connection, session: Body, manner: str) -> None:
    if need(conn, payments, session["payment_id"])["payment_status"] == "SUCCEEDED":
        return
    if _is_found(session):
        _settle(conn, session, manner)
    else:
        endings.book(conn, session)


def _failed(conn: Connection, session: Body) -> None:
    """One more attempt and nothing else; only after the session's end does the payment fail."""
    payment = need(conn, payments, session["payment_id"])
    if session["checkout_status"] in TERMINAL and payment["payment_status"] == "INITIATED":
        endings.fail_payment(conn, payment, session["declined"])
    endings.attempted(conn, payment, session["declined"])


def _link_cancelled(conn: Connection, session: Body) -> None:
    _close(conn, session, "payment_link.cancelled")


def _link_expired(conn: Connection, session: Body) -> None:
    _close(conn, session, "payment_link.expired")


def _close(conn: Connection, session: Body, event: str) -> None:
    """Both end in `failed`: `expired` is the word of Flexprice's own sweep."""
    if _is_found(session) and session["checkout_status"] == "pending":
        endings.end(conn, session, "failed", f"payment link {event} by provider")


MONEY: dict[str, Callable[[Connection, Body, str], None]] = {
    "payment.captured": _captured,
    "payment_link.paid": _link_paid,
}
HANDLERS: dict[str, Callable[[Connection, Body], None]] = {
    "payment.failed": _failed,
    "payment_link.cancelled": _link_cancelled,
    "payment_link.expired": _link_expired,
}
