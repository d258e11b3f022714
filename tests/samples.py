"""Objects as Flexprice sends them, for tests of the shop. Each takes changes as keyword arguments."""

from typing import Any

API = "http://127.0.0.1:8001/v1"


def customer(**changes: Any) -> dict[str, Any]:
    return {"id": "cust_01", "external_id": "x", "name": "Asha Rao", "email": "asha@example.com"} | changes


def price(amount: str = "499", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"price_{amount}_{'_'.join(map(str, changes.values()))}",
        "amount": amount,
        "currency": "INR",
        "type": "FIXED",
        "billing_model": "FLAT_FEE",
        "billing_cadence": "RECURRING",
        "billing_period": "MONTHLY",
        "invoice_cadence": "ADVANCE",
        "status": "published",
    } | changes


def plan(*prices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "plan_01", "name": "Pro", "prices": list(prices), "entitlements": []} | changes


def session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "cs_01",
        "customer_id": "cust_01",
        "checkout_status": "pending",
        "checkout_invoice_id": "inv_01",
        "checkout_payment_id": "pay_01",
        "expires_at": "2026-09-01T10:15:00Z",
        "payment_action": {"type": "payment_link", "url": "http://127.0.0.1:8001/pay/abc"},
        "terminal": False,
    } | changes


def invoice(**changes: Any) -> dict[str, Any]:
    return {
        "id": "inv_01",
        "customer_id": "cust_01",
        "subscription_id": "subs_01",
        "invoice_status": "DRAFT",
        "payment_status": "PENDING",
        "currency": "inr",
        "subtotal": "499",
        "total": "499",
        "amount_due": "499",
        "invoice_number": "",
        "line_items": [],
    } | changes


def subscription(**changes: Any) -> dict[str, Any]:
    return {
        "id": "subs_01",
        "customer_id": "cust_01",
        "plan_id": "plan_01",
        "billing_period": "MONTHLY",
        "currency": "inr",
        "subscription_status": "active",
        "metadata": {},
    } | changes


def webhook(status: str = "completed", **changes: Any) -> dict[str, Any]:
    """The body of checkout.session.<status>; keyword arguments replace its top-level keys."""
    return {
        "event_type": f"checkout.session.{status}",
        "checkout_session": session(checkout_status=status),
    } | changes
