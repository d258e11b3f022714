"""The objects as Flexprice shows them."""

from sqlalchemy import Connection

from storefront.sandbox._previous import switches
from storefront.sandbox._previous.schema import customers, payments, plans, subscriptions
from storefront.sandbox._previous.store import Body, seen

TERMINAL = ("completed", "failed", "expired")

BOTH = (
    *("id", "customer_id", "action", "checkout_status", "payment_provider", "checkout_invoice_id"),
    *("checkout_payment_id", "payment_action", "idempotency_key", "success_url", "failure_url", "cancel_url"),
    *("metadata", "expires_at", "completed_at", "cancelled_at", "failure_reason", "created_at", "updated_at"),
)
LEGACY = (*BOTH, "environment_id", "tenant_id", "status", "created_by", "updated_by")


def session(conn: Connection, body: Body, *, polling: bool = False, stale: bool = False) -> Body:
    if switches.read(conn, "generation") == "legacy":
        return _only(LEGACY, body) | {"configuration": {}}
    terminal = body["checkout_status"] in TERMINAL
    shown = _only(BOTH, body)
    payment = seen(conn, payments, body.get("checkout_payment_id"))
    if payment:
        shown["payment"] = {"gateway": "razorpay", "id": payment["id"], "status": payment["payment_status"]}
    if body["checkout_status"] == "completed":
        # [infer] from the SDK's field names
        shown["entity_creation_result"] = {"entity_id": body["subscription_id"], "status": "created"}
    return shown | {
        "terminal": terminal,
        "stale": stale and not terminal,
        # [infer] the field is documented, the two seconds are ours
        "next_poll_after_ms": 2000 if polling and not terminal else 0,
    }


def _only(fields: tuple[str, ...], body: Body) -> Body:
    return {name: body[name] for name in fields if body.get(name) is not None}


def plan(body: Body, expand: set[str], prices: list[Body]) -> Body:
    shown = {name: value for name, value in body.items() if name not in ("entitlements", "credit_grants")}
    if "prices" in expand:
        shown["prices"] = prices
    if "entitlements" in expand:
        shown["entitlements"] = [_entitlement(item, "features" in expand) for item in body["entitlements"]]
    if "credit_grant" in expand:
        shown["credit_grants"] = body["credit_grants"]
    return shown


def _entitlement(body: Body, with_feature: bool) -> Body:
    return {name: value for name, value in body.items() if with_feature or name != "feature"}


def subscription(conn: Connection, body: Body, *, lines: bool = True, customer: bool = True) -> Body:
    shown = {name: value for name, value in body.items() if lines or name != "line_items"}
    shown["plan"] = plan(seen(conn, plans, body["plan_id"]) or {}, set(), [])
    shown["customer"] = seen(conn, customers, body["customer_id"]) if customer else None
    return shown


def invoice(conn: Connection, body: Body, *, lines: bool = True, whole: bool = True) -> Body:
    shown = {name: value for name, value in body.items() if lines or name != "line_items"}
    shown["customer"] = seen(conn, customers, body["customer_id"])
    if whole:
        owner = seen(conn, subscriptions, body["subscription_id"])
        shown["subscription"] = subscription(conn, owner) if owner else None
    return shown


# In a message each object is shorter: internal/webhook/dto.

IN_WEBHOOK: dict[str, tuple[str, ...]] = {
    "checkout_session": (
        *("id", "customer_id", "action", "checkout_status", "payment_provider", "expires_at"),
        *("checkout_invoice_id", "checkout_payment_id", "failure_reason", "completed_at", "cancelled_at"),
        "payment_action",
    ),
    "customer": (
        *("id", "external_id", "environment_id", "name", "email", "address_line1", "address_line2"),
        *("address_city", "address_state", "address_postal_code", "address_country", "timezone", "metadata"),
    ),
    "subscription": (
        *("id", "customer_id", "plan_id", "lookup_key", "subscription_status", "currency", "start_date"),
        *("end_date", "current_period_start", "current_period_end", "cancelled_at", "cancel_at"),
        *("cancel_at_period_end", "trial_start", "trial_end", "billing_cadence", "billing_period"),
        *("billing_period_count", "pause_status", "subscription_type", "metadata"),
    ),
    "invoice": (
        *("id", "customer_id", "environment_id", "subscription_id", "invoice_type", "invoice_status"),
        *("payment_status", "currency", "amount_due", "amount_paid", "amount_remaining", "total", "subtotal"),
        *("invoice_number", "paid_at", "finalized_at", "period_start", "period_end", "billing_reason"),
        *("line_items", "metadata"),
    ),
    "payment": (
        *("id", "destination_type", "destination_id", "payment_method_type", "amount", "currency"),
        *("payment_status", "payment_gateway", "succeeded_at", "failed_at", "refunded_at", "error_message"),
    ),
    "refund": (
        *("id", "payment_id", "invoice_id", "amount", "settled_amount", "currency", "refund_status"),
        *("refund_reason", "refund_destination", "payment_gateway", "gateway_refund_id", "attempt"),
        *("succeeded_at", "failed_at", "failure_reason", "metadata"),
    ),
    "wallet": (
        *("id", "customer_id", "name", "currency", "balance", "credit_balance", "conversion_rate"),
        *("wallet_status", "wallet_type"),
    ),
    "transaction": (
        *("id", "wallet_id", "customer_id", "type", "amount", "credit_amount", "credit_balance_before"),
        *("credit_balance_after", "currency", "description", "transaction_reason", "transaction_status"),
        *("reference_type", "reference_id", "metadata"),
    ),
}
IN_A_LINE = (
    *("id", "price_id", "display_name", "plan_display_name", "amount", "quantity"),
    *("period_start", "period_end"),
)


def in_webhook(conn: Connection, kind: str, body: Body) -> Body:
    """What is empty is left out, as Go's `omitempty` does."""
    shown = {name: body[name] for name in IN_WEBHOOK[kind] if body.get(name) not in (None, "", {}, [])}
    if kind in ("subscription", "invoice"):
        customer = seen(conn, customers, body["customer_id"])
        shown["customer"] = in_webhook(conn, "customer", customer) if customer else None
    if kind == "invoice":
        shown["line_items"] = [_only(IN_A_LINE, line) for line in body["line_items"]]
        owner = seen(conn, subscriptions, body["subscription_id"])
        shown["subscription"] = in_webhook(conn, "subscription", owner) if owner else None
    return shown
