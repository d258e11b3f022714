"""The objects as Flexprice shows them."""

from sqlalchemy import Connection

from storefront.sandbox.schema import customers, payments, plans, subscriptions
from storefront.sandbox.store import Body, find

TERMINAL = ("completed", "failed", "expired")

# Ours, or Razorpay's: never in an answer.
PRIVATE = ("lapses", "link", "link_state", "mandate", "subscription_id", "status")

IN_WEBHOOK = (
    "id",
    "customer_id",
    "action",
    "checkout_status",
    "payment_provider",
    "expires_at",
    "checkout_invoice_id",
    "checkout_payment_id",
    "failure_reason",
    "completed_at",
    "cancelled_at",
    "payment_action",
)


def session(conn: Connection, body: Body, *, polling: bool = False, stale: bool = False) -> Body:
    terminal = body["checkout_status"] in TERMINAL
    shown = {name: value for name, value in body.items() if name not in PRIVATE and value is not None}
    payment = find(conn, payments, body.get("checkout_payment_id"))
    if payment:
        shown["payment"] = {"gateway": "razorpay", "id": payment["id"], "status": payment["payment_status"]}
    if body["checkout_status"] == "completed":
        # Not documented: our reading of the SDK's field names.
        shown["entity_creation_result"] = {"entity_id": body["subscription_id"], "status": "created"}
    return shown | {
        "terminal": terminal,
        "stale": stale and not terminal,
        "next_poll_after_ms": 2000 if polling and not terminal else 0,
    }


def session_in_webhook(body: Body) -> Body:
    return {name: body[name] for name in IN_WEBHOOK if body.get(name) is not None}


def plan(body: Body, expand: set[str]) -> Body:
    shown = {
        name: value for name, value in body.items() if name not in ("prices", "entitlements", "credit_grants")
    }
    if "prices" in expand:
        shown["prices"] = body["prices"]
    if "entitlements" in expand:
        shown["entitlements"] = [_entitlement(item, "features" in expand) for item in body["entitlements"]]
    if "credit_grant" in expand:
        shown["credit_grants"] = body["credit_grants"]
    return shown


def _entitlement(body: Body, with_feature: bool) -> Body:
    return {name: value for name, value in body.items() if with_feature or name != "feature"}


def subscription(conn: Connection, body: Body, *, lines: bool = True, customer: bool = True) -> Body:
    shown = {name: value for name, value in body.items() if lines or name != "line_items"}
    shown["plan"] = plan(find(conn, plans, body["plan_id"]) or {}, set())
    shown["customer"] = find(conn, customers, body["customer_id"]) if customer else None
    return shown


def invoice(conn: Connection, body: Body, *, lines: bool = True, whole: bool = True) -> Body:
    shown = {name: value for name, value in body.items() if lines or name != "line_items"}
    shown["customer"] = find(conn, customers, body["customer_id"])
    if whole:
        owner = find(conn, subscriptions, body["subscription_id"])
        shown["subscription"] = subscription(conn, owner) if owner else None
    return shown
