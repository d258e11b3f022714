"""The body of a message, built when it is delivered: a late `initiated` may well say `completed`."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ..api.serializers import billing, catalog, checkout
from ..api.serializers.common import ENVIRONMENT_ID, Body, without_empty
from ..engine import overrides
from ..engine.events import entity_of
from ..store.billing_rows import Invoice, Payment, Refund, Subscription, Wallet, WalletTransaction
from ..store.control_rows import Event
from ..store.database import Session
from ..store.rows import CheckoutSession, Customer, Entitlement, Feature
from ..store.values import decimal_text, rfc3339

SESSION_KEYS = (
    *("id", "customer_id", "action", "checkout_status", "payment_provider", "expires_at"),
    *("checkout_invoice_id", "checkout_payment_id", "failure_reason", "completed_at", "cancelled_at"),
    "payment_action",
)
CUSTOMER_KEYS = (
    *("id", "external_id", "name", "email", "address_line1", "address_line2", "address_city"),
    *("address_state", "address_postal_code", "address_country", "timezone"),
)
SUBSCRIPTION_KEYS = (
    *("id", "customer_id", "plan_id", "lookup_key", "subscription_status", "currency", "start_date"),
    *("end_date", "current_period_start", "current_period_end", "cancelled_at", "cancel_at"),
    *("cancel_at_period_end", "trial_start", "trial_end", "billing_cadence", "billing_period"),
    *("billing_period_count", "pause_status", "subscription_type", "metadata"),
)
PAYMENT_KEYS = (
    *("id", "destination_type", "destination_id", "payment_method_type", "amount", "currency"),
    *("payment_status", "payment_gateway", "succeeded_at", "failed_at", "refunded_at", "voided_at"),
    "error_message",
)


REFUND_KEYS = (
    *("id", "payment_id", "invoice_id", "amount", "settled_amount", "currency", "refund_status"),
    *("refund_reason", "refund_destination", "payment_gateway", "gateway_refund_id", "attempt"),
    *("succeeded_at", "failed_at", "failure_reason"),
)


def build(session: Session, event: Event) -> str | None:
    """The message as of now, keys sorted as Svix sorts them; None: its object is archived, it is lost."""
    _, model = entity_of(event.event_type)
    row: Any = session.get(model, event.entity_id)
    if row is None or (isinstance(row, Subscription | Invoice) and row.status != "published"):
        return None
    lag = overrides.lag_s(session, overrides.subject_of(session, row))
    if lag is not None:
        session.lag = timedelta(seconds=lag)
        row = (session.seen([row]) or [row])[0]
    body = BUILDERS[model](session, row)
    session.lag = None
    if event.event_type == "checkout.session.cancelled":
        body["cancelled_at"] = rfc3339(event.created_at)
    message = {"event_type": event.event_type, event.entity: body}
    return json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _picked(body: Body, keys: tuple[str, ...]) -> Body:
    return {key: body[key] for key in keys if body.get(key) not in (None, "", {}, [])}


def _checkout_session(session: Session, row: CheckoutSession) -> Body:
    return _picked(checkout.checkout_session(session, row), SESSION_KEYS)


def _customer(_session: Session, row: Customer) -> Body:
    body = _picked(catalog.customer(row), CUSTOMER_KEYS) | {"environment_id": ENVIRONMENT_ID}
    return body | ({"metadata": row.meta} if row.meta else {})


def _subscription(session: Session, row: Subscription) -> Body:
    body = _picked(billing.subscription(session, row, lines="none", plan="none"), SUBSCRIPTION_KEYS)
    customer = session.get(Customer, row.customer_id)
    return body | ({"customer": _customer(session, customer)} if customer else {})


def _invoice(session: Session, row: Invoice) -> Body:
    return billing.invoice(session, row) | {"invoice_pdf_url": ""}


def _payment(session: Session, row: Payment) -> Body:
    body = billing.payment(session, row)
    return _picked(body, PAYMENT_KEYS) | {"invoice_number": body["invoice_number"]}


def _refund(_session: Session, row: Refund) -> Body:
    return _picked(billing.refund(row), REFUND_KEYS)


def _wallet(_session: Session, row: Wallet) -> Body:
    names = ("id", "customer_id", "name", "currency", "wallet_status", "wallet_type")
    body = {name: getattr(row, name) for name in names}
    amounts = {"balance": decimal_text(row.balance), "credit_balance": decimal_text(row.credit_balance)}
    return body | amounts | {"conversion_rate": "1"}


def _transaction(_session: Session, row: WalletTransaction) -> Body:
    names = (
        "id",
        "wallet_id",
        "customer_id",
        "currency",
        "description",
        "transaction_reason",
        "reference_id",
    )
    body = {name: getattr(row, name) for name in names}
    amount = decimal_text(row.amount)
    body |= {"type": "credit", "amount": amount, "credit_amount": amount, "reference_type": "EXTERNAL"}
    body |= {"transaction_status": "completed"}
    body["credit_balance_before"] = decimal_text(row.credit_balance_before)
    body["credit_balance_after"] = decimal_text(row.credit_balance_after)
    return without_empty(body | {"metadata": row.meta}, "description", "reference_id", "metadata")


def _feature(_session: Session, row: Feature) -> Body:
    return catalog.feature(row)


def _entitlement(_session: Session, row: Entitlement) -> Body:
    return catalog.entitlement(row)


BUILDERS: dict[Any, Callable[[Session, Any], Body]] = {
    CheckoutSession: _checkout_session,
    Customer: _customer,
    Subscription: _subscription,
    Invoice: _invoice,
    Payment: _payment,
    Refund: _refund,
    Wallet: _wallet,
    WalletTransaction: _transaction,
    Feature: _feature,
    Entitlement: _entitlement,
}
