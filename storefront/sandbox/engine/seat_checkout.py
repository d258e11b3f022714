"""A change of quantity that is paid first: nothing changes until then, or ever if its session expires."""

from ..store.billing_rows import Invoice, Subscription
from ..store.database import Session
from ..store.rows import Customer
from . import checkout, one_off, seats, session_lifecycle
from .errors import Refusal


def start(
    session: Session, subscription: Subscription, change: seats.Change, options: checkout.Options
) -> tuple[checkout.Created, Invoice]:
    """A checkout session for one invoice over all steps.

    :raises Refusal: a session for another change of this subscription is open, or the key is in use.
    """
    _refuse_second(session, subscription)
    items = [seats.item(subscription, step) for step in change.steps if step.amount]
    earliest = min(step.effective for step in change.steps if step.amount)
    invoice = one_off.draft(session, subscription, items, earliest)
    customer = session.need(Customer, subscription.customer_id)
    created = checkout.begin(session, customer, "modify_subscription", options)
    if created.result == "failed_already_exists":
        return created, invoice
    created.session.subscription_id = subscription.id
    created.session.change = seats.stored(change)
    try:
        checkout.offer(session, created.session, invoice, customer, options)
    except Refusal as refusal:
        session_lifecycle.end(session, created.session, "failed", refusal.reason)
        created.refusal = refusal
    return created, invoice


def _refuse_second(session: Session, subscription: Subscription) -> None:
    existing = seats.open_session(session, subscription)
    if existing:
        message = (
            "Complete or cancel the existing checkout before starting another payment-gated modification"
        )
        raise Refusal(
            "already_exists", message, subscription_id=subscription.id, checkout_session_id=existing.id
        )
