"""Payments of invoices by link (POST /payments): made, settled by Razorpay's events or by a read."""

from ..store.billing_rows import Payment
from ..store.database import Session
from ..store.rows import ProviderLink


def link_captured(session: Session, payment: Payment, link: ProviderLink, gateway_payment_id: str) -> None:
    """Razorpay's `payment.captured` for a link that belongs to no checkout session."""


def link_declined(session: Session, payment: Payment, link: ProviderLink, reason: str) -> None:
    """Razorpay's `payment.failed` for a link that belongs to no checkout session."""
