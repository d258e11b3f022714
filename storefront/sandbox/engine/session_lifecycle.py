"""How a checkout session ends, and what that does to its payment, invoice and subscription."""

from datetime import UTC, datetime, timedelta

from ..store.billing_rows import Invoice, Payment, Refund, Subscription
from ..store.control_rows import Task
from ..store.database import Session
from ..store.rows import CheckoutSession, ProviderLink
from ..store.values import new_id, random_text, rfc3339
from . import billing, renewals, seats, switches, wallets
from .errors import invalid
from .events import publish
from .scheduler import handles, schedule

TERMINAL = ("completed", "failed", "expired")
SWEEP_EVERY_S = 30 * 60
CARD_ID = "card_1"  # the payment method that Razorpay names for money without a session

# How a completion goes.
AT_ONCE, IN_PARALLEL, HALF_DONE = "at_once", "in_parallel", "half_done"


def complete(
    session: Session, checkout: CheckoutSession, gateway_payment_id: str, manner: str = AT_ONCE
) -> None:
    """Books the money and activates what was sold. Either half may have been done before.

    :param manner: HALF_DONE books the money only; IN_PARALLEL doubles the messages about the entities, as
        two processes do.
    """
    times = 2 if manner == IN_PARALLEL or switches.is_on(session, "double_events") else 1
    payment, invoice = session.need(Payment, checkout.payment_id), session.need(Invoice, checkout.invoice_id)
    if payment.payment_status != "SUCCEEDED":
        billing.finalize(session, invoice)
        succeed(session, payment, gateway_payment_id)
        _publish(session, times, ("invoice.update.finalized", invoice.id), ("payment.updated", payment.id))
    if manner == HALF_DONE:
        return
    billing.settle(session, invoice, invoice.amount_due - invoice.amount_paid)
    _publish(session, times, ("invoice.update.payment", invoice.id))
    _deliver_what_was_sold(session, checkout, times)
    now = session.now()
    checkout.checkout_status, checkout.open_key = "completed", None
    checkout.completed_at = checkout.updated_at = now
    checkout.updated_by = ""
    if switches.is_legacy(session):
        checkout.payment_action = None
    publish(session, "checkout.session.completed", checkout.id)


def _publish(session: Session, times: int, *events: tuple[str, str]) -> None:
    for event_type, entity_id in events:
        for _ in range(times):
            publish(session, event_type, entity_id)


def _deliver_what_was_sold(session: Session, checkout: CheckoutSession, times: int) -> None:
    if checkout.action != "create_subscription":
        seats.apply_paid_change(session, checkout)
        return
    subscription = session.need(Subscription, checkout.subscription_id)
    subscription.subscription_status, subscription.updated_by = "active", ""
    subscription.updated_at = session.now()
    wallets.grant_plan_credits(session, subscription, times)
    _publish(session, times, ("subscription.activated", subscription.id))
    renewals.plan(session, subscription)


def book_without_session(session: Session, payment: Payment, gateway_payment_id: str) -> None:
    """Money for a session that was DELETEd or never finished: written down; nothing activated or refunded."""
    succeed(session, payment, gateway_payment_id)
    payment.payment_method_id = CARD_ID
    publish(session, "payment.updated", payment.id)
    invoice = session.need(Invoice, payment.destination_id)
    if invoice.status == "published":
        billing.settle(session, invoice, payment.amount)
        publish(session, "invoice.update.payment", invoice.id)


def succeed(session: Session, payment: Payment, gateway_payment_id: str) -> None:
    """Marks a payment as paid, with one more attempt."""
    payment.gateway_payment_id, payment.payment_status = gateway_payment_id, "SUCCEEDED"
    payment.succeeded_at = payment.updated_at = session.now()
    add_attempt(session, payment)


def add_attempt(session: Session, payment: Payment, error_message: str = "") -> None:
    """Appends an attempt to a payment."""
    moment = rfc3339(session.now())
    attempt = {
        "id": new_id("attempt"),
        "payment_id": payment.id,
        "attempt_number": len(payment.attempts) + 1,
        **({"error_message": error_message} if error_message else {}),
        **{"created_at": moment, "updated_at": moment, "created_by": "", "updated_by": ""},
    }
    payment.attempts = [*payment.attempts, attempt]


def refund_late_money(session: Session, checkout: CheckoutSession, gateway_payment_id: str) -> None:
    """Money that came after the session's end goes back at Razorpay.

    Legacy's status rule forbids INITIATED to REFUNDED, so nothing shows it; the switch `late_money` decides.
    """
    payment = session.need(Payment, checkout.payment_id)
    if payment.payment_status == "REFUNDED" or switches.read(session, "late_money") == "untouched":
        return
    refund(session, payment, gateway_payment_id)


def refund(session: Session, payment: Payment, gateway_payment_id: str) -> None:
    """Writes a full refund down; the newest generation has a row and messages for it."""
    now, refund_id = session.now(), f"rfnd_{random_text(14)}"
    payment.payment_status, payment.gateway_payment_id = "REFUNDED", gateway_payment_id
    payment.refunded_at = payment.updated_at = now
    payment.meta = (payment.meta or {}) | {"razorpay_refund_id": refund_id}
    row = Refund(
        id=new_id("refund"),
        payment_id=payment.id,
        invoice_id=payment.destination_id,
        amount=payment.amount,
        currency=payment.currency,
        gateway_refund_id=refund_id,
        initiated_at=now,
        succeeded_at=now,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    if not switches.is_legacy(session):
        publish(session, "refund.created", row.id)
        publish(session, "refund.succeeded", row.id)


def end(session: Session, checkout: CheckoutSession, status: str, reason: str = "") -> None:
    """Ends an open session.

    :param status: `failed` or `expired`.
    :param reason: shown as `failure_reason`.
    """
    if checkout.checkout_status == "pending":
        archive_drafts(session, checkout)
    checkout.failure_reason, checkout.open_key = reason, None
    checkout.checkout_status, checkout.updated_at, checkout.updated_by = status, session.now(), ""
    publish(session, f"checkout.session.{status}", checkout.id)


def cancel(session: Session, checkout: CheckoutSession) -> None:
    """POST …/cancel of the newest generation: an open session expires and its link closes.

    :raises Refusal: it is completed.
    """
    if checkout.checkout_status == "completed":
        raise invalid("A completed session cannot be cancelled")
    if checkout.checkout_status in TERMINAL:
        return
    if link := session.get(ProviderLink, checkout.link_id):
        link.state = "cancelled" if link.state == "created" else link.state
    end(session, checkout, "expired")
    if switches.is_on(session, "cancelled_event"):
        publish(session, "checkout.session.cancelled", checkout.id)


def delete(session: Session, checkout: CheckoutSession) -> None:
    """DELETE hides the row; in the newest generation an open session expires first."""
    if not switches.is_legacy(session) and checkout.checkout_status not in TERMINAL:
        end(session, checkout, "expired")
    checkout.status = "archived"


def archive_drafts(session: Session, checkout: CheckoutSession) -> None:
    """Archives subscription and payment and deletes the invoice. A change leaves its subscription."""
    _set_row_status(session, checkout, "archived", "deleted")


def _set_row_status(session: Session, checkout: CheckoutSession, status: str, of_invoice: str) -> None:
    if checkout.action == "create_subscription" and checkout.subscription_id:
        session.need(Subscription, checkout.subscription_id).status = status
    if payment := session.get(Payment, checkout.payment_id):
        payment.status, payment.updated_by = status, ""
    if invoice := session.get(Invoice, checkout.invoice_id):
        invoice.status = of_invoice


def overwrite(session: Session, checkout: CheckoutSession, status: str) -> None:
    """A clean-up that read the session before it was paid writes it back: paid and ended at once.

    Source: internal/repository/ent/checkout_session.go, Update, has no status in its WHERE.
    """
    archive_drafts(session, checkout)
    if link := session.get(ProviderLink, checkout.link_id):
        checkout.payment_action = {"type": "payment_link", "url": link.url}
    if status == "failed":
        checkout.failure_reason = "payment link payment_link.cancelled by provider"
    checkout.checkout_status, checkout.updated_at = status, session.now()
    publish(session, f"checkout.session.{status}", checkout.id)


def complete_by_support(session: Session, checkout: CheckoutSession, gateway_payment_id: str) -> None:
    """Flexprice support can complete an ended session by hand; its own code would refund the payment."""
    _set_row_status(session, checkout, "published", "published")
    complete(session, checkout, gateway_payment_id)


def plan_sweep(session: Session, checkout: CheckoutSession) -> None:
    """Plans the first sweep after the session's `expires_at`; one runs every half hour."""
    slot = (checkout.expires_at.timestamp() // SWEEP_EVERY_S + 1) * SWEEP_EVERY_S
    due = datetime.fromtimestamp(slot, UTC)
    schedule(session, "checkout.sweep", due.isoformat(), due + timedelta(milliseconds=1))


def sweep(session: Session) -> int:
    """Expires what was not paid in time, DELETEd sessions too; says how many."""
    late = session.all(
        CheckoutSession,
        CheckoutSession.checkout_status.in_(("initiated", "pending")),
        CheckoutSession.expires_at < session.now(),
    )
    for checkout in late:
        end(session, checkout, "expired")
    return len(late)


@handles("checkout.sweep")
def _sweep_on_schedule(session: Session, _task: Task) -> None:
    sweep(session)
