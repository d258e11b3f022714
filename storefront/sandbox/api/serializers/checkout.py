"""Checkout sessions."""

from datetime import timedelta

from ...engine import switches
from ...engine.session_lifecycle import TERMINAL
from ...store.billing_rows import Payment
from ...store.database import Session
from ...store.rows import CheckoutSession
from ...store.values import optional_time, rfc3339
from .common import ENVIRONMENT_ID, TENANT_ID, Body

# How long to wait before the next read, by the session's age: newest.
POLL_LADDER = ((timedelta(seconds=30), 2000), (timedelta(minutes=2), 5000))
POLL_AT_MOST_MS = 10_000


def checkout_session(
    session: Session, row: CheckoutSession, *, result: str = "", stale: bool = False
) -> Body:
    """A session as its generation shows it.

    :param result: of a create call: `created`, `superseded`, `failed_already_exists`.
    """
    body = _both(row)
    if switches.is_legacy(session):
        own = {"environment_id": ENVIRONMENT_ID, "tenant_id": TENANT_ID, "status": row.status}
        return body | own | {"created_by": row.created_by, "updated_by": row.updated_by, "configuration": {}}
    terminal = row.checkout_status in TERMINAL
    body |= {
        "terminal": terminal,
        "stale": stale and not terminal,
        "next_poll_after_ms": poll_after_ms(session, row),
    }
    payment = session.get(Payment, row.payment_id) if row.names_payment else None
    if payment:
        gateway = {"gateway": payment.payment_gateway, "id": payment.id, "status": payment.payment_status}
        body["payment"] = gateway
    if result:
        body["entity_creation_result"] = {"entity_id": row.id, "status": result}
    return body


def poll_after_ms(session: Session, row: CheckoutSession) -> int:
    """0 when nothing more is to come."""
    if row.checkout_status in TERMINAL:
        return 0
    age = session.now() - row.created_at
    return next((wait for until, wait in POLL_LADDER if age < until), POLL_AT_MOST_MS)


def _both(row: CheckoutSession) -> Body:
    body: Body = {
        "id": row.id,
        "customer_id": row.customer_id,
        "action": row.action,
        "checkout_status": row.checkout_status,
        "payment_provider": row.payment_provider,
        "checkout_invoice_id": row.invoice_id if row.names_payment else None,
        "checkout_payment_id": row.payment_id if row.names_payment else None,
        "payment_action": row.payment_action,
        "failure_reason": row.failure_reason,
        "metadata": row.meta,
        "completed_at": optional_time(row.completed_at),
        "cancelled_at": optional_time(row.cancelled_at),
        "expires_at": rfc3339(row.expires_at),
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }
    body = {key: value for key, value in body.items() if value not in (None, "", {})}
    if row.idempotency_key is not None:
        body["idempotency_key"] = row.idempotency_key
    return body | _urls(row)


def _urls(row: CheckoutSession) -> Body:
    return {
        name: value
        for name in ("success_url", "failure_url", "cancel_url")
        if (value := getattr(row, name)) is not None
    }
