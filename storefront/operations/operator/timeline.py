"""The history of an order: transitions, webhook events, emails, access and what operators did, in order."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from storefront.checkout.states import FOR_A_PERSON, State
from storefront.models import Order
from storefront.operations.operator.queries import OrderFile

GOOD = {State.PAID, State.FULFILLED}


@dataclass(frozen=True)
class Moment:
    """One line. `tone`: good, warn, bad or empty. `by`: who caused it."""

    at: datetime
    text: str
    tone: str = ""
    by: str = ""
    event_id: str = ""


def timeline(file: OrderFile) -> list[Moment]:
    """What happened to an order, the oldest first. All in real time: a test clock moves business dates only.

    What a sale did is written once: a later change of plan rewrites no line.
    """
    moments = [*_of_columns(file.order), *_of_transitions(file), *_of_rows(file)]
    moments += [Moment(note.at, note.text, by=note.who) for note in file.notes]
    return sorted(moments, key=lambda moment: moment.at)


def _of_columns(order: Order) -> Iterator[Moment]:
    when = (
        (order.created_at, "Order placed", ""),
        (order.session_requested_at, "Checkout session requested from Flexprice", ""),
        (order.cancel_requested_at, "Customer asked to cancel", "warn"),
        (order.invoice_verified_at, "Invoice compared with the order", ""),
        (order.refunded_at, "Refund reported", ""),
        (order.revoked_at, "Access ended", "warn"),
    )
    yield from (Moment(at, text, tone) for at, text, tone in when if at)
    if order.returned_paid_at:
        claimed = order.unverified_payment_id or "no payment id"
        text = f"Customer came back from Razorpay with the status “paid”: {claimed} (unverified)"
        yield Moment(order.returned_paid_at, text)


def _of_transitions(file: OrderFile) -> Iterator[Moment]:
    for moved in file.transitions:
        text = f"{words(moved.from_state)} → {words(moved.to_state)}: {moved.trigger}"
        tone = "good" if moved.to_state in GOOD else "warn" if moved.to_state in FOR_A_PERSON else ""
        yield Moment(moved.at, text, tone, by=moved.by)
        if moved.to_state == State.FULFILLED:
            yield Moment(moved.at, f"Access to {file.order.plan_name} granted", "good")


def _of_rows(file: OrderFile) -> Iterator[Moment]:
    for event in file.events:
        yield Moment(event.received_at, f"Webhook received: {event.event_type}", event_id=event.id)
    for email in file.emails:
        yield Moment(email.created_at, f"Email queued: {words(email.topic)}")
        if email.sent_at:
            yield Moment(email.sent_at, f"Email sent: {words(email.topic)}", "good")
        if email.failed_at:
            yield Moment(email.failed_at, f"Email failed: {words(email.topic)}", "bad")


def words(name: str) -> str:
    """A state or kind as a person reads it."""
    return name.replace("_", " ")
