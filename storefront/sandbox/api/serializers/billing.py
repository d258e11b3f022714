"""Subscriptions, invoices, payments, refunds, schedules."""

from collections.abc import Sequence
from datetime import datetime

from ...engine.catalog import prices_of
from ...store.billing_rows import (
    Invoice,
    InvoiceLine,
    Payment,
    Refund,
    Schedule,
    Subscription,
    SubscriptionLine,
)
from ...store.database import Session
from ...store.rows import Customer, Plan, Price
from ...store.values import decimal_text, optional_time, rfc3339
from . import catalog
from .common import NO_END, TENANT_ID, Body, row_fields, without_empty

SECONDS_A_DAY = 86_400
SUBSCRIPTION_NAMES = (
    *("id", "customer_id", "plan_id", "lookup_key", "subscription_status", "currency", "billing_cycle"),
    *("cancel_at_period_end", "billing_cadence", "billing_period", "billing_period_count", "version"),
    *("pause_status", "payment_behavior", "collection_method", "payment_terms", "timezone"),
    *("proration_behavior", "subscription_type"),
)


def subscription(
    session: Session, row: Subscription, *, lines: str = "whole", plan: str = "whole", customer: bool = True
) -> Body:
    """A subscription.

    :param lines: `whole` (with their prices), `short`, or `none`.
    :param plan: `whole` (with prices and entitlements), `short`, or `none` (null).
    :param customer: embed the customer; else null.
    """
    body: Body = {name: getattr(row, name) for name in SUBSCRIPTION_NAMES}
    body |= {
        "billing_anchor": rfc3339(row.billing_anchor),
        "start_date": rfc3339(row.start_date),
        "end_date": optional_time(row.end_date),
        "current_period_start": rfc3339(row.current_period_start),
        "current_period_end": rfc3339(row.current_period_end),
        "cancel_at": optional_time(row.cancel_at),
        "cancelled_at": optional_time(row.cancelled_at),
        "trial_start": optional_time(row.trial_start),
        "trial_end": optional_time(row.trial_end),
        "metadata": row.meta,
        "overage_factor": "1",
        "gateway_payment_method_id": "",
        "enable_true_up": False,
        **row_fields(row),
    }
    if lines != "none":
        body["line_items"] = subscription_lines(session, row, prices=lines == "whole")
    found = session.get(Plan, row.plan_id) if plan != "none" else None
    body["plan"] = found and (_whole_plan(session, found) if plan == "whole" else catalog.plan(found))
    owner = session.get(Customer, row.customer_id) if customer else None
    body["customer"] = catalog.customer(owner) if owner else None
    return without_empty(
        body, "lookup_key", "end_date", "cancelled_at", "metadata", "payment_terms", "line_items"
    )


def _whole_plan(session: Session, plan: Plan) -> Body:
    return catalog.whole_plan(session, plan, prices_of(session, plan.id))


def subscription_lines(session: Session, row: Subscription, *, prices: bool = True) -> list[Body]:
    own = session.all(SubscriptionLine, SubscriptionLine.subscription_id == row.id)
    return [subscription_line(session, line, with_price=prices) for line in own]


def subscription_line(session: Session, row: SubscriptionLine, *, with_price: bool = True) -> Body:
    names = (
        *(
            "id",
            "subscription_id",
            "customer_id",
            "entity_id",
            "entity_type",
            "plan_display_name",
            "price_id",
        ),
        *("price_type", "display_name", "currency", "billing_period", "billing_period_count"),
        "invoice_cadence",
    )
    body: Body = {name: getattr(row, name) for name in names}
    body |= {
        "price_unit_id": None,
        "price_unit": None,
        "quantity": decimal_text(row.quantity),
        "start_date": rfc3339(row.start_date),
        "end_date": rfc3339(row.end_date) if row.end_date else NO_END,
        "commitment_true_up_enabled": False,
        "commitment_windowed": False,
        **row_fields(row),
    }
    found = session.get(Price, row.price_id) if with_price else None
    return body | ({"price": catalog.price(found)} if found else {})


INVOICE_TEXTS = (
    *("id", "customer_id", "subscription_id", "invoice_type", "invoice_status", "payment_status", "currency"),
    *("invoice_number", "idempotency_key", "billing_sequence", "billing_reason", "billing_period"),
    *("description", "version"),
)
INVOICE_AMOUNTS = (
    *("amount_due", "amount_paid", "amount_remaining", "subtotal", "total", "total_discount", "total_tax"),
    *("total_prepaid_credits_applied", "adjustment_amount", "refunded_amount"),
)
INVOICE_TIMES = (
    *("due_date", "paid_at", "voided_at", "finalized_at", "issue_date", "last_computed_at"),
    *("period_start", "period_end"),
)
INVOICE_OPTIONAL = (
    *INVOICE_TIMES,
    *("billing_reason", "billing_period", "description", "metadata", "overpaid_amount", "line_items"),
    *("subscription_id", "subscription_customer_id"),
)


def invoice(
    session: Session,
    row: Invoice,
    *,
    lines: bool | Sequence[InvoiceLine] = True,
    subscription_too: bool = True,
    customer_too: bool = True,
) -> Body:
    """An invoice with its customer.

    :param lines: those of a preview, which are not stored.
    :param subscription_too: embed the subscription, as a GET does (SUBSCRIPTION invoices only).
    """
    body: Body = {name: getattr(row, name) for name in INVOICE_TEXTS}
    body |= {name: decimal_text(getattr(row, name)) for name in INVOICE_AMOUNTS}
    body |= {name: optional_time(getattr(row, name)) for name in INVOICE_TIMES}
    body |= {"is_manually_edited": False, "metadata": row.meta, **row_fields(row)}
    body["overpaid_amount"] = decimal_text(row.overpaid_amount) if row.overpaid_amount is not None else None
    is_subscription = row.invoice_type == "SUBSCRIPTION"
    body["subscription_customer_id"] = row.customer_id if is_subscription else ""
    if lines:
        own = lines_of(session, row) if lines is True else lines
        body["line_items"] = [invoice_line(line) for line in own]
    body = without_empty(body, *INVOICE_OPTIONAL)
    owner = session.get(Subscription, row.subscription_id) if subscription_too else None
    if owner and is_subscription:
        body["subscription"] = subscription(session, owner)
    customer = session.get(Customer, row.customer_id) if customer_too else None
    return body | ({"customer": catalog.customer(customer)} if customer else {})


def lines_of(session: Session, row: Invoice) -> Sequence[InvoiceLine]:
    return session.all(InvoiceLine, InvoiceLine.invoice_id == row.id)


def invoice_preview(session: Session, row: Invoice, lines: Sequence[InvoiceLine], **options: bool) -> Body:
    """An invoice that is not stored: without number, key and sequence."""
    body = invoice(session, row, lines=lines, subscription_too=False, **options)
    return body | {"invoice_number": None, "idempotency_key": None, "billing_sequence": None}


def invoice_line(row: InvoiceLine) -> Body:
    texts = (
        *("id", "invoice_id", "customer_id", "subscription_id", "entity_id", "entity_type"),
        *("plan_display_name", "price_id", "price_type", "display_name", "currency"),
        "subscription_line_item_id",
    )
    amounts = (
        *("amount", "quantity", "prepaid_credits_applied", "line_item_discount", "invoice_level_discount"),
    )
    body: Body = {name: getattr(row, name) for name in texts}
    body |= {name: decimal_text(getattr(row, name)) for name in amounts}
    body |= {
        "period_start": optional_time(row.period_start),
        "period_end": optional_time(row.period_end),
        "metadata": row.meta,
        **row_fields(row),
    }
    return without_empty(body, "entity_id", "plan_display_name", "subscription_line_item_id", "metadata")


PAYMENT_TEXTS = (
    *("id", "idempotency_key", "destination_type", "destination_id", "payment_method_type"),
    *("payment_method_id", "payment_gateway", "currency", "payment_status", "track_attempts"),
    *("gateway_payment_id", "gateway_tracking_id", "gateway_metadata", "payment_url", "error_message"),
    "save_card_and_make_default",
)
PAYMENT_TIMES = ("succeeded_at", "failed_at", "refunded_at", "voided_at")
PAYMENT_OPTIONAL = (
    *PAYMENT_TIMES,
    *("gateway_payment_id", "gateway_tracking_id", "gateway_metadata", "payment_url", "error_message"),
    *("attempts", "metadata"),
)


def payment(session: Session, row: Payment, *, invoice_number: bool = True) -> Body:
    """A payment; it has no row status and an empty environment."""
    body: Body = {name: getattr(row, name) for name in PAYMENT_TEXTS}
    body |= {name: optional_time(getattr(row, name)) for name in PAYMENT_TIMES}
    attempts = [attempt | {"tenant_id": TENANT_ID} for attempt in row.attempts]
    body |= {"amount": decimal_text(row.amount), "attempts": attempts, "metadata": row.meta}
    if invoice_number:
        paid = session.get(Invoice, row.destination_id)
        body["invoice_number"] = paid.invoice_number if paid else ""
    body |= row_fields(row, environment=False, status=False) | {"environment_id": ""}
    return without_empty(body, *PAYMENT_OPTIONAL)


def schedule(row: Schedule, now: datetime) -> Body:
    """A planned change as lists show it; only a plan change shows its configuration."""
    is_pending, left = row.schedule_status == "pending", (row.scheduled_at - now).total_seconds()
    body: Body = {
        "id": row.id,
        "subscription_id": row.subscription_id,
        "schedule_type": row.schedule_type,
        "scheduled_at": rfc3339(row.scheduled_at),
        "status": row.schedule_status,
        "configuration": row.configuration if row.schedule_type == "plan_change" else None,
        "executed_at": optional_time(row.executed_at),
        "cancelled_at": optional_time(row.cancelled_at),
        "execution_result": row.result,
        "error_message": row.error_message,
        "days_until_execution": 0 if row.executed_at else int(left / SECONDS_A_DAY),
        "can_be_cancelled": is_pending and left > 0,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }
    optional = ("configuration", "executed_at", "cancelled_at", "execution_result", "error_message")
    return without_empty(body, *optional)


def refund(row: Refund) -> Body:
    names = (
        *("id", "payment_id", "invoice_id", "currency", "refund_status", "refund_reason"),
        *("refund_destination", "payment_gateway", "gateway_refund_id", "attempt", "failure_reason"),
    )
    body: Body = {name: getattr(row, name) for name in names}
    times = ("initiated_at", "succeeded_at", "failed_at")
    body |= {name: optional_time(getattr(row, name)) for name in times}
    body |= {
        "amount": decimal_text(row.amount),
        "settled_amount": decimal_text(row.amount),
        **row_fields(row),
    }
    return without_empty(body, *times, "failure_reason")
