"""A stand-in for Razorpay: customers and payment links, what happens to a link, and failures on demand."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ..store.billing_rows import Invoice, InvoiceLine, Payment
from ..store.control_rows import Override
from ..store.database import Session
from ..store.rows import Customer, ProviderLink
from ..store.values import random_text
from . import switches
from .errors import Refusal
from .events import publish
from .money import minor_units

MINIMUM = {"inr": Decimal(1), "usd": Decimal("0.01")}
SERVER_ERROR = "We are facing some trouble completing your request at the moment."
MAX_DESCRIPTION = 2048


def open_link(
    session: Session,
    payment: Payment,
    invoice: Invoice,
    customer: Customer,
    *,
    callback_url: str = "",
    metadata: dict[str, str] | None = None,
    expire_by: datetime | None = None,
) -> ProviderLink:
    """Asks Razorpay for a payment link; a customer who is new there is made first.

    :raises Refusal: Razorpay refuses, or a failure was arranged. Nothing can be paid then.
    """
    register_customer(session, customer)
    if fails(session, "link"):
        raise no_link(SERVER_ERROR)
    least = MINIMUM.get(payment.currency, Decimal(0))
    if payment.amount < least:
        raise no_link(f"The amount must be atleast {payment.currency.upper()} {least:.2f}")
    code, now = random_text(14), session.now()
    link = ProviderLink(
        id=f"plink_{code}",
        code=code,
        url=f"{session.link_base}/pay/{code}",
        payment_id=payment.id,
        customer_id=customer.id,
        amount=minor_units(payment.amount),
        currency=payment.currency.upper(),
        request=_request(session, payment, invoice, customer, metadata or {}),
        callback_url=callback_url,
        expire_by=expire_by,
        created_at=now,
        updated_at=now,
    )
    return session.add(link)


def register_customer(session: Session, customer: Customer) -> None:
    """Makes the customer at Razorpay, once.

    :raises Refusal: a failure was arranged.
    """
    known = customer.meta or {}
    if "razorpay_customer_id" in known:
        return
    if fails(session, "customer"):
        status = switches.read(session, "provider_customer_error")
        code = "validation_error" if status == "400" else "system_error"
        message = "Unable to create customer in Razorpay"
        reason = "failed to create customer in Razorpay"
        raise Refusal(code, message, reason=reason, customer_id=customer.id, error=SERVER_ERROR)
    customer.meta = known | {"razorpay_customer_id": f"cust_{random_text(14)}"}
    customer.updated_at = session.now()
    publish(session, "customer.updated", customer.id)


def no_link(error: str) -> Refusal:
    reason = "failed to create payment link in Razorpay"
    return Refusal("internal_error", "Unable to create payment link in Razorpay", reason=reason, error=error)


def fails(session: Session, step: str) -> bool:
    """Whether this call at Razorpay was arranged to fail; uses one failure up.

    :param step: `customer` or `link`.
    """
    if not session.state.has_overrides:
        return False
    found = session.first(
        Override, Override.kind == "provider", Override.name == step, Override.times > 0, order=Override.id
    )
    if found is None or found.times is None:
        return False
    found.times -= 1
    return True


def _request(
    session: Session, payment: Payment, invoice: Invoice, customer: Customer, metadata: dict[str, str]
) -> dict[str, Any]:
    """What Razorpay is sent beside amount, currency and callback; the caller's metadata wins in the notes."""
    lines = session.all(InvoiceLine, InvoiceLine.invoice_id == invoice.id)
    notes = {
        "flexprice_invoice_id": invoice.id,
        "flexprice_customer_id": customer.id,
        "flexprice_payment_id": payment.id,
        "payment_source": "flexprice",
    }
    notes |= {line.display_name: f"{line.amount:.2f} {payment.currency.upper()}" for line in lines}
    contact = {"name": customer.name, "email": customer.email, "contact": customer.contact}
    return {
        "description": _description(customer, invoice, [line.display_name for line in lines]),
        "customer": {name: value for name, value in contact.items() if value},
        "notify": {"sms": True, "email": True},
        "reminder_enable": True,
        "notes": notes | metadata,
    }


def _description(customer: Customer, invoice: Invoice, items: list[str]) -> str:
    item = (items or [""])[0] + (f" +{len(items) - 1} more" if len(items) > 1 else "")
    text = " | ".join((customer.name, item, invoice.invoice_number or "Invoice"))
    return text[:MAX_DESCRIPTION]


def capture(session: Session, link: ProviderLink, amount: int | None = None, currency: str = "") -> str:
    """Takes money on a link, whatever its state; gives back Razorpay's payment id.

    :param amount: minor units; the link's own if left out.
    """
    payment_id = f"pay_{random_text(14)}"
    taken = {"id": payment_id, "amount": amount or link.amount, "currency": currency or link.currency}
    link.captures = [*link.captures, taken]
    link.state, link.updated_at = "paid", session.now()
    return payment_id


def arrange_failure(session: Session, step: str, times: int) -> None:
    """Lets the next calls at Razorpay fail with a 500.

    :param step: `customer` or `link`.
    """
    session.state.has_overrides = True
    number = session.next_number(Override)
    session.add(Override(id=number, kind="provider", name=step, times=times))
