"""Objects as Flexprice sends them, cut from the samples in docs/flexprice-contract.md."""

from __future__ import annotations

from typing import Any

URL = "https://flexprice.test/v1"
KEY = "sk_test_key"

CUSTOMER = {"id": "cust_01", "external_id": "user-42", "name": "Asha Rao", "email": "asha@example.test"}
SESSION = {
    "id": "cs_01",
    "customer_id": "cust_01",
    "action": "create_subscription",
    "checkout_status": "pending",
    "payment_provider": "razorpay",
    "checkout_invoice_id": "inv_01",
    "checkout_payment_id": "pay_01",
    "idempotency_key": "ord_1001",
    "expires_at": "2026-09-01T10:15:01.5Z",
    "metadata": {"order_ref": "ord_1001"},
    "payment_action": {"type": "payment_link", "url": "https://rzp.io/rzp/AbC123"},
    "terminal": False,
    "stale": False,
    "next_poll_after_ms": 2000,
    "created_at": "2026-09-01T10:00:01.5Z",
}
PRICE = {
    "id": "price_01",
    "amount": "499",
    "display_amount": "₹499",
    "currency": "INR",
    "type": "FIXED",
    "billing_model": "FLAT_FEE",
    "billing_cadence": "RECURRING",
    "billing_period": "MONTHLY",
    "billing_period_count": 1,
    "invoice_cadence": "ADVANCE",
    "trial_period_days": 0,
    "display_name": "Pro monthly",
    "status": "published",
}
ENTITLEMENT = {
    "feature_type": "metered",
    "is_enabled": True,
    "usage_limit": 10000,
    "usage_reset_period": "MONTHLY",
    "is_soft_limit": False,
    "static_value": "",
    "feature": {"id": "feat_01", "name": "API calls"},
}
PLAN = {
    "id": "plan_01",
    "name": "Pro",
    "lookup_key": "pro",
    "display_order": 2,
    "metadata": {"highlight": "true"},
    "prices": [PRICE],
    "entitlements": [ENTITLEMENT],
}
SUBSCRIPTION = {
    "id": "subs_01",
    "customer_id": "cust_01",
    "plan_id": "plan_01",
    "subscription_status": "Active",
    "currency": "INR",
    "billing_period": "MONTHLY",
    "start_date": "2026-09-01T10:00:01.6Z",
    "current_period_end": "2026-10-01T10:00:01Z",
    "cancel_at": None,
    "metadata": {"order_ref": "ord_1001"},
    "latest_invoice": {"id": "inv_01"},
    "status": "published",
}
INVOICE = {
    "id": "inv_01",
    "subscription_id": "subs_01",
    "invoice_status": "finalized",
    "payment_status": "SUCCEEDED",
    "currency": "inr",
    "subtotal": "499",
    "total": "499.5",
    "total_tax": "0.5",
    "amount_paid": "499.5",
    "invoice_number": None,
    "paid_at": "2026-09-01T10:03:20Z",
}
PAYMENT = {
    "id": "pay_01",
    "payment_status": "INITIATED",
    "amount": "499",
    "currency": "inr",
    "destination_id": "inv_01",
}
REFUND = {
    "id": "ref_01",
    "payment_id": "pay_01",
    "refund_status": "succeeded",
    "amount": 499,
    "currency": "inr",
}


def page(items: list[Any] | None, total: int | None = None, offset: int = 50) -> dict[str, Any]:
    """Return a page of a list; the offset is one that must not be believed."""
    total = len(items or []) if total is None else total
    return {"items": items, "pagination": {"total": total, "limit": 50, "offset": offset}}
