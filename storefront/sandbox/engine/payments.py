"""Payments of invoices by link (POST /payments): made, settled by Razorpay's events or by a read."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from ..store.billing_rows import Invoice, InvoiceLine, Payment, Subscription
from ..store.database import Session
from ..store.rows import Customer, ProviderLink
from ..store.values import decimal_text, new_id
from . import billing, provider, renewals, switches, wallets
from .errors import Refusal, invalid
from .events import publish
from .scheduler import schedule

DELETABLE = ("INITIATED", "FAILED")
TOO_MUCH = "Payment amount cannot be greater than the remaining balance on the invoice"
SAME_MOMENT = timedelta(seconds=10)  # a tester's next call, however slow the machine


@dataclass(frozen=True)
class Request:
    """What POST /payments asks for."""

    invoice_id: str
    amount: Decimal
    currency: str
    process: bool = False
    method: str = "PAYMENT_LINK"  # or OFFLINE: money the merchant took elsewhere
    gateway: str = ""
    idempotency_key: str = ""
    metadata: dict[str, str] | None = None
    gateway_metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class Made:
    """A payment; `refusal` is raised by the caller after its commit: the row stays."""

    payment: Payment
    refusal: Refusal | None = None


def create(session: Session, asked: Request) -> Made:
    """Makes a payment, or gives back the one that was made with the same key.

    :raises Refusal: a rule is broken before there is a row.
    """
    invoice = _payable(session, asked)
    if asked.amount <= 0:
        raise invalid("Amount must be greater than 0")
    key = asked.idempotency_key or _key(asked)
    if existing := session.first(Payment, Payment.idempotency_key == key):
        return Made(existing)
    now = session.now()
    payment = session.add(
        Payment(
            id=new_id("pay"),
            destination_id=invoice.id,
            amount=asked.amount,
            currency=asked.currency.lower(),
            idempotency_key=key,
            payment_method_type=asked.method,
            payment_gateway=asked.gateway,
            payment_status="PENDING" if asked.method == "OFFLINE" else "INITIATED",
            track_attempts=asked.method != "OFFLINE",
            meta=asked.metadata,
            gateway_metadata=asked.gateway_metadata or None,
            save_card_and_make_default="save_card_and_make_default" in asked.gateway_metadata,
            created_at=now,
            updated_at=now,
        )
    )
    publish(session, "payment.created", payment.id)
    return Made(payment, process(session, payment) if asked.process else None)


def _payable(session: Session, asked: Request) -> Invoice:
    invoice = session.get(Invoice, asked.invoice_id)
    if invoice is None or invoice.status != "published":
        missing = {"id": asked.invoice_id, "invoice_id": asked.invoice_id}
        raise invalid(f"invoice {asked.invoice_id} not found", **missing)
    if invoice.payment_status == "SUCCEEDED":
        raise invalid("Cannot create payment for an already paid invoice", invoice_id=invoice.id)
    if invoice.invoice_status == "VOIDED":
        raise invalid("Cannot create payment for a voided invoice", invoice_id=invoice.id)
    if invoice.currency != asked.currency.lower():
        currencies = {"invoice_currency": invoice.currency, "payment_currency": asked.currency}
        raise invalid("Payment currency must match invoice currency", **currencies)
    return invoice


def _key(asked: Request) -> str:
    """The same for the same invoice, amount, currency, method and gateway."""
    parts = (
        asked.invoice_id,
        decimal_text(asked.amount),
        asked.currency.lower(),
        asked.method,
        asked.gateway,
    )
    return f"payment-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}"


def process(session: Session, payment: Payment) -> Refusal | None:
    """Makes the link of a payment; one that has a link keeps it.

    :returns: why there is no link; the payment is INITIATED then.
    :raises Refusal: it is neither INITIATED nor PENDING.
    """
    if payment.payment_status not in ("INITIATED", "PENDING"):
        message = "Invalid payment status for processing payment link"
        status = payment.payment_status
        raise Refusal("invalid_operation", message, payment_id=payment.id, status=status)
    if payment.payment_method_type == "OFFLINE":
        _take_offline(session, payment)
        return None
    if payment.payment_status == "PENDING":
        publish(session, "payment.pending", payment.id)
        return None
    publish(session, "payment.pending", payment.id)
    try:
        _open_link(session, payment)
    except Refusal as refusal:
        return refusal
    payment.payment_status, payment.updated_at = "PENDING", session.now()
    publish(session, "payment.pending", payment.id)
    return None


def _open_link(session: Session, payment: Payment) -> None:
    if payment.payment_gateway != "razorpay":
        gateway = {"payment_gateway": payment.payment_gateway, "payment_id": payment.id}
        raise invalid("Payment gateway not supported for payment links", **gateway)
    invoice = session.need(Invoice, payment.destination_id)
    if payment.amount > invoice.amount_remaining:
        amounts = {
            "invoice_paid": decimal_text(invoice.amount_paid),
            "invoice_remaining": decimal_text(invoice.amount_remaining),
            "invoice_total": decimal_text(invoice.amount_due),
            "payment_amount": decimal_text(payment.amount),
        }
        raise invalid(TOO_MUCH, invoice_id=invoice.id, payment_id=payment.id, **amounts)
    customer, metadata = session.need(Customer, invoice.customer_id), payment.meta or {}
    synced = switches.is_on(session, "invoice_sync")
    link = provider.open_link(
        session,
        payment,
        invoice,
        customer,
        callback_url="" if synced else metadata.get("success_url", ""),
        metadata=metadata,
        expire_by=invoice.due_date if synced else None,
    )
    if link.expire_by:
        schedule(session, "provider.link_expiry", link.id, link.expire_by)
    payment.link_id, payment.payment_url = link.id, link.url
    payment.gateway_tracking_id = f"inv_{link.code}" if synced else link.id  # the page of Razorpay's invoice
    known = {"gateway": "razorpay", "payment_link_id": link.id, "payment_url": link.url}
    payment.gateway_metadata = (payment.gateway_metadata or {}) | known


def _take_offline(session: Session, payment: Payment) -> None:
    """The merchant has the money: it settles any invoice, also one with a credit line."""
    payment.payment_status, payment.succeeded_at = "SUCCEEDED", session.now()
    payment.updated_at = session.now()
    publish(session, "payment.pending", payment.id)
    publish(session, "payment.success", payment.id)
    settle(session, payment, always=True)


def link_captured(session: Session, payment: Payment, link: ProviderLink, gateway_payment_id: str) -> None:
    """Razorpay's `payment.captured` for a link that belongs to no checkout session.

    A payment that has succeeded is left as it is. One that has failed gets an attempt, and its money is
    booked nowhere: its status cannot become SUCCEEDED any more.
    """
    from .session_lifecycle import add_attempt

    if payment.payment_status in ("INITIATED", "PENDING", "PROCESSING"):
        succeed(session, payment, gateway_payment_id)
    elif payment.payment_status == "FAILED":
        add_attempt(session, payment)


def succeed(session: Session, payment: Payment, gateway_payment_id: str) -> None:
    """Books the money. No attempt is added, unlike for a checkout."""
    payment.payment_status, payment.gateway_payment_id = "SUCCEEDED", gateway_payment_id
    payment.succeeded_at = payment.updated_at = session.now()
    publish(session, "payment.updated", payment.id)
    settle(session, payment)


def settle(session: Session, payment: Payment, *, always: bool = False) -> None:
    """Settles the invoice. One with a credit line is not: settling refuses the negative line.

    :param always: whatever lines the invoice has.
    """
    invoice = session.need(Invoice, payment.destination_id)
    if invoice.invoice_status == "VOIDED":
        return
    refused = _has_credit_line(session, invoice) and not switches.is_on(session, "upgrade_link_settles")
    if refused and not always:
        return
    billing.settle(session, invoice, payment.amount)
    _activate_incomplete(session, invoice)
    publish(session, "invoice.update.payment", invoice.id)


def _has_credit_line(session: Session, invoice: Invoice) -> bool:
    lines = session.all(InvoiceLine, InvoiceLine.invoice_id == invoice.id)
    return any(line.amount < 0 for line in lines)


def _activate_incomplete(session: Session, invoice: Invoice) -> None:
    """An `incomplete` subscription begins with the payment of its first invoice."""
    subscription = session.get(Subscription, invoice.subscription_id)
    if subscription is None or subscription.subscription_status != "incomplete":
        return
    subscription.subscription_status = "active"
    subscription.updated_at, subscription.updated_by = session.now(), ""
    wallets.grant_plan_credits(session, subscription)
    publish(session, "subscription.activated", subscription.id)
    renewals.plan(session, subscription)


def is_asked_about(session: Session, payment: Payment) -> bool:
    """Whether a read asks Razorpay: while it is unsettled, and beside its event with `double_booking`."""
    if not payment.payment_url:
        return False
    return payment.payment_status in ("PENDING", "PROCESSING") or _is_booked_twice(session, payment)


def _is_booked_twice(session: Session, payment: Payment) -> bool:
    """A read in the moment of Razorpay's event once booked the money a second time."""
    if payment.succeeded_at is None or payment.booked_twice or not switches.is_on(session, "double_booking"):
        return False
    return session.now() - payment.succeeded_at < SAME_MOMENT


def ask(session: Session, payment: Payment) -> None:
    """A read of an unsettled payment asks Razorpay: paid, or a link that is closed."""
    if _is_booked_twice(session, payment):
        payment.booked_twice = True
        settle(session, payment)
    link = session.get(ProviderLink, payment.link_id)
    if link is None or payment.payment_status not in ("PENDING", "PROCESSING"):
        return
    if link.captures:
        succeed(session, payment, link.captures[-1]["id"])
    elif link.state in ("cancelled", "expired"):
        payment.payment_status, payment.failed_at = "FAILED", session.now()
        payment.updated_at = session.now()
        publish(session, "payment.updated", payment.id)


def delete(session: Session, payment: Payment) -> None:
    """:raises Refusal: it is neither INITIATED nor FAILED."""
    status = payment.payment_status
    if status not in DELETABLE:
        message = f"A payment in status {status} cannot be deleted. Void or refund it instead."
        raise invalid(message, payment_id=payment.id, payment_status=status)
    payment.status, payment.updated_at = "deleted", session.now()
