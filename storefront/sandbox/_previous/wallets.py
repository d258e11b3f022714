"""Credits that come with a plan: into the customer's wallet of that currency, when the subscription starts.

[infer] The contract names the events' first word only; their names and fields are the SDK's.
"""

from decimal import Decimal

from sqlalchemy import Connection, select

from storefront.sandbox._previous.billing import stamps
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.events import tell
from storefront.sandbox._previous.schema import plans, transactions, wallets
from storefront.sandbox._previous.store import Body, add, find, money, new_id, save


def grant(conn: Connection, subscription: Body, times: int = 1) -> None:
    plan = find(conn, plans, subscription["plan_id"])  # it may have been put away while the link was open
    for credit in plan["credit_grants"] if plan else ():
        wallet = _wallet(conn, subscription)
        before, amount = Decimal(wallet["credit_balance"]), Decimal(credit["credits"])
        after = money(before + amount)
        save(conn, wallets, wallet, credit_balance=after, balance=after)
        transaction = {
            "id": new_id("wtxn"),
            "wallet_id": wallet["id"],
            "customer_id": wallet["customer_id"],
            "type": "credit",
            "amount": money(amount),
            "credit_amount": money(amount),
            "credit_balance_before": money(before),
            "credit_balance_after": after,
            "currency": wallet["currency"],
            "description": credit["name"],
            "transaction_reason": "SUBSCRIPTION_CREDIT_GRANT",
            "transaction_status": "completed",
            "reference_type": "EXTERNAL",
            "reference_id": subscription["id"],
            **stamps(now(conn)),
        }
        add(conn, transactions, transaction)
        for _ in range(times):
            tell(conn, "wallet.transaction.created", transaction["id"])


def _wallet(conn: Connection, subscription: Body) -> Body:
    customer_id, currency = subscription["customer_id"], subscription["currency"]
    mine = select(wallets.c.body).where(wallets.c.customer_id == customer_id, wallets.c.currency == currency)
    found: Body | None = conn.execute(mine).scalar()
    if found:
        return found
    wallet = {
        "id": new_id("wallet"),
        "customer_id": customer_id,
        "name": f"Credits in {currency.upper()}",
        "currency": currency,
        "balance": "0",
        "credit_balance": "0",
        "conversion_rate": "1",
        "wallet_status": "active",
        "wallet_type": "PRE_PAID",
        **stamps(now(conn)),
    }
    add(conn, wallets, wallet)
    tell(conn, "wallet.created", wallet["id"])
    return wallet
