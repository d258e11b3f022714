"""What may come of a payment: what the shopper does, what the merchant does, and what time does."""

from collections.abc import Callable
from typing import NamedTuple

from ..store.billing_rows import Payment
from ..store.database import Session
from ..store.rows import CheckoutSession, ProviderLink
from . import overrides, razorpay, session_lifecycle
from .errors import Refusal
from .session_lifecycle import AT_ONCE, HALF_DONE, IN_PARALLEL, TERMINAL

LATE, UNHEARD = "late", "unheard"
LATE_BY_S = 5.0  # unless the override says otherwise


class Choice(NamedTuple):
    help: str


# What Flexprice makes of the money.
COMPLETIONS = {
    AT_ONCE: Choice("At once"),
    LATE: Choice("Delayed: the browser returns first"),
    IN_PARALLEL: Choice("Duplicate processing (race): messages double"),
    HALF_DONE: Choice("Partial failure: invoice paid, session pending"),
    UNHEARD: Choice("Not at all: no event reaches Flexprice"),
}


class Outcome(NamedTuple):
    """`happen` gives back Razorpay's payment id when money was taken."""

    help: str
    happen: Callable[[Session, CheckoutSession, ProviderLink], str | None]
    also_after_the_end: bool = False


def pay(session: Session, checkout: CheckoutSession, link: ProviderLink) -> str:
    """The shopper pays; Flexprice hears of it at once, or as was arranged."""
    arranged = overrides.take(session, "completion", overrides.subject_of(session, checkout))
    if arranged is None:
        return razorpay.pay(session, link)
    if arranged.name == LATE:
        delay = LATE_BY_S if arranged.seconds is None else arranged.seconds
        return razorpay.pay(session, link, delay_s=delay)
    if arranged.name == UNHEARD:
        return razorpay.pay_unheard(session, link)
    return razorpay.pay(session, link, manner=arranged.name)


def _decline(session: Session, _checkout: CheckoutSession, link: ProviderLink) -> None:
    razorpay.decline(session, link)


def _leave(_session: Session, _checkout: CheckoutSession, _link: ProviderLink) -> None:
    """Walking away changes nothing."""


def _not_paid_in_time(session: Session, checkout: CheckoutSession, _link: ProviderLink) -> None:
    if checkout.checkout_status not in TERMINAL:
        session_lifecycle.end(session, checkout, "expired")


def _pay_late(session: Session, checkout: CheckoutSession, link: ProviderLink) -> str:
    _not_paid_in_time(session, checkout, link)
    return pay(session, checkout, link)


def _refund(session: Session, checkout: CheckoutSession, link: ProviderLink) -> str | None:
    payment_id = None
    if link.state == "created":
        payment_id = razorpay.pay(session, link)
    payment = session.need(Payment, checkout.payment_id)
    if payment.payment_status != "REFUNDED":
        session_lifecycle.refund(session, payment, link.captures[-1]["id"])
    return payment_id


def _cancel_link(session: Session, _checkout: CheckoutSession, link: ProviderLink) -> None:
    razorpay.close_link(session, link, razorpay.LINK_CANCELLED)


def _expire_link(session: Session, _checkout: CheckoutSession, link: ProviderLink) -> None:
    razorpay.close_link(session, link, razorpay.LINK_EXPIRED)


OUTCOMES = {
    "paid": Outcome("Paid", pay, also_after_the_end=True),
    "declined": Outcome("Declined by the bank", _decline, also_after_the_end=True),
    "pending": Outcome("Left pending", _leave),
    "cancelled": Outcome("Cancelled by the merchant", _cancel_link),
    "link_expired": Outcome("The link expires at Razorpay", _expire_link),
    "not_paid_in_time": Outcome("Not paid in time", _not_paid_in_time),
    "paid_too_late": Outcome("Paid too late", _pay_late, also_after_the_end=True),
    "refunded": Outcome("Paid, then refunded", _refund, also_after_the_end=True),
}


def happen(
    session: Session, checkout: CheckoutSession, link: ProviderLink, name: str, reason: str = ""
) -> str | None:
    """Lets an outcome happen to a session.

    :param reason: of a decline; then `name` is not looked at.
    :returns: Razorpay's payment id when money was taken.
    :raises Refusal: it cannot happen any more.
    """
    outcome, status = OUTCOMES[name], checkout.checkout_status
    refunding = name == "refunded" and link.state == "paid" and status == "completed"
    if link.state != "created" and not refunding:
        raise Refusal("invalid_operation", f"the payment link is {link.state}", session=checkout.id)
    if status in TERMINAL and not outcome.also_after_the_end:
        raise Refusal("invalid_operation", f"the session is already {status}", session=checkout.id)
    if reason:
        razorpay.decline(session, link, reason)
        return None
    return outcome.happen(session, checkout, link)
