"""What may come of a payment: what the shopper does, what the merchant does, and what time does."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, insert

from storefront.sandbox._previous import endings, journal, levers, razorpay
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.endings import AT_ONCE, HALF_DONE, IN_PARALLEL
from storefront.sandbox._previous.errors import Refusal
from storefront.sandbox._previous.schema import chores
from storefront.sandbox._previous.store import Body
from storefront.sandbox._previous.views import TERMINAL

DECLINED = "Your payment was declined by the bank."
LATE = "late"
HEARS_LATE = 5.0  # seconds, unless something else was asked for


class Completion(NamedTuple):
    says: str


# What Flexprice makes of the money.
COMPLETIONS = {
    AT_ONCE: Completion("at once"),
    LATE: Completion("some seconds later: the browser is sent back before"),
    IN_PARALLEL: Completion("by two events in one moment: the news of invoice, payment and plan doubles"),
    HALF_DONE: Completion("and stumbles: the money is booked, the session stays pending"),
}


class Outcome(NamedTuple):
    says: str
    happen: Callable[[Connection, Body], str | None]  # gives back Razorpay's payment id when money was taken
    also_after_the_end: bool = False


def pay(conn: Connection, session: Body) -> str:
    """Razorpay takes the money; Flexprice hears of it at once, or later if that was arranged."""
    payment_id = razorpay.take(conn, session)
    arranged = levers.take(conn, "completion", levers.who(conn, "checkout_session", session))
    if arranged is None or arranged.name != LATE:
        razorpay.tell_of_money(conn, session, arranged.name if arranged else AT_ONCE)
    else:
        due_at = now(conn).timestamp() + (HEARS_LATE if arranged.seconds is None else arranged.seconds)
        conn.execute(insert(chores).values(session_id=session["id"], due_at=due_at))
    return payment_id


def decline(conn: Connection, session: Body, reason: str = DECLINED) -> None:
    razorpay.declined(conn, session, reason)


def _leave(_conn: Connection, _session: Body) -> None:
    """Walking away tells nobody anything."""


def _not_paid_in_time(conn: Connection, session: Body) -> None:
    if session["checkout_status"] not in TERMINAL:
        endings.end(conn, session, "expired")


def _pay_late(conn: Connection, session: Body) -> str:
    _not_paid_in_time(conn, session)
    return pay(conn, session)


def _refund(conn: Connection, session: Body) -> str | None:
    """After the payment is known, never before."""
    payment_id = None
    if session["link_state"] == "open":
        payment_id = razorpay.take(conn, session)
        razorpay.tell_of_money(conn, session)
    endings.refund(conn, session)
    return payment_id


OUTCOMES = {
    "paid": Outcome("Paid", pay, also_after_the_end=True),
    "declined": Outcome("Declined by the bank", decline, also_after_the_end=True),
    "pending": Outcome("Left pending", _leave),
    "cancelled": Outcome("Cancelled by the merchant", razorpay.link_cancelled),
    "link_expired": Outcome("The link expires at Razorpay", razorpay.link_expired),
    "not_paid_in_time": Outcome("Not paid in time", _not_paid_in_time),
    "paid_too_late": Outcome("Paid too late", _pay_late, also_after_the_end=True),
    "refunded": Outcome("Paid, then refunded", _refund, also_after_the_end=True),
}


def happen(conn: Connection, session: Body, name: str, reason: str | None = None) -> str | None:
    """Gives back Razorpay's payment id when money was taken; refuses what cannot be any more."""
    outcome, status = OUTCOMES[name], session["checkout_status"]
    refunding = name == "refunded" and session["link_state"] == "paid" and status == "completed"
    if session["link_state"] != "open" and not refunding:
        state = session["link_state"]
        raise Refusal("invalid_operation", f"the payment link is {state}", session=session["id"])
    if status in TERMINAL and not outcome.also_after_the_end:
        raise Refusal("invalid_operation", f"the session is already {status}", session=session["id"])
    payment_id = None
    if reason:
        decline(conn, session, reason)
    else:
        payment_id = outcome.happen(conn, session)
    journal.note(conn, name, session["id"], payment=payment_id)
    return payment_id
