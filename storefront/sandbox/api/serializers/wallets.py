"""Wallets and their transactions."""

from decimal import Decimal

from ...store.billing_rows import Subscription, Wallet, WalletTransaction
from ...store.values import decimal_text
from .common import NO_END, Body, row_fields

ALLOWED = ["USAGE"]  # credits pay usage only, never a plan's fees


def wallet(row: Wallet) -> Body:
    names = ("id", "customer_id", "currency", "wallet_status", "name", "wallet_type")
    body: Body = {name: getattr(row, name) for name in names}
    return body | {
        "balance": decimal_text(row.balance),
        "credit_balance": decimal_text(row.credit_balance),
        "description": "",
        "metadata": row.meta,
        "config": {"allowed_price_types": ALLOWED},
        "conversion_rate": "1",
        "topup_conversion_rate": "1",
        "alert_state": "ok",
        **row_fields(row),
    }


def transaction(row: WalletTransaction) -> Body:
    """A credit."""
    amount = decimal_text(row.amount)
    names = ("id", "wallet_id", "customer_id", "description", "transaction_reason", "currency")
    body: Body = {name: getattr(row, name) for name in (*names, "reference_id")}
    return body | {
        "type": "credit",
        "amount": amount,
        "credit_amount": amount,
        "credit_balance_before": decimal_text(row.credit_balance_before),
        "credit_balance_after": decimal_text(row.credit_balance_after),
        "transaction_status": "completed",
        "reference_type": "EXTERNAL",
        "metadata": row.meta,
        "expiry_date": None,
        "credits_available": amount,
        "priority": None,
        "topup_conversion_rate": "1",
        "idempotency_key": row.reference_id,
        **row_fields(row),
    }


def transaction_preview(row: Subscription, amount: Decimal) -> Body:
    """The credit that a plan change would give: a row that was never written."""
    texts = ("id", "wallet_id", "type", "transaction_status", "reference_type", "reference_id", "description")
    body: Body = dict.fromkeys((*texts, "idempotency_key", "environment_id", "tenant_id", "status"), "")
    body |= dict.fromkeys(("credit_amount", "credit_balance_before", "credit_balance_after"), "0")
    body |= dict.fromkeys(("metadata", "expiry_date", "priority"))
    body |= {"customer_id": row.customer_id, "currency": row.currency, "amount": decimal_text(amount)}
    body |= {"created_by": "", "updated_by": "", "created_at": NO_END, "updated_at": NO_END}
    return body | {"credits_available": "0", "transaction_reason": "SUBSCRIPTION_CREDIT_GRANT"}


def seat_credit_preview(row: Subscription, amount: Decimal) -> Body:
    """The credit that fewer seats would give."""
    text = decimal_text(amount)
    body = transaction_preview(row, amount) | row_fields(row)
    return body | {
        "id": "(preview-wallet-credit)",
        "type": "credit",
        "credit_amount": text,
        "credit_balance_after": text,
        "transaction_status": "completed",
        "reference_type": "EXTERNAL",
        "reference_id": "preview",
        "description": "Proration credit from subscription change (preview)",
        "topup_conversion_rate": "1",
    }
