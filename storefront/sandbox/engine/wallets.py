"""Credits that come with a plan: into the customer's wallet of that currency.

[infer] The source names the events' first word only; their names and fields are the SDK's.
"""

from decimal import Decimal

from ..store.billing_rows import Subscription, Wallet, WalletTransaction
from ..store.database import Session
from ..store.rows import CreditGrant
from ..store.values import new_id
from .events import publish


def grant_plan_credits(session: Session, subscription: Subscription, times: int = 1) -> None:
    """Credits what the plan grants. `times` doubles the messages, not the credits."""
    grants = session.all(
        CreditGrant, CreditGrant.plan_id == subscription.plan_id, CreditGrant.status == "published"
    )
    for grant in grants:
        wallet = wallet_of(session, subscription.customer_id, subscription.currency)
        row = credit(session, wallet, grant.credits, grant.name, subscription.id)
        for _ in range(times):
            publish(session, "wallet.transaction.created", row.id)


def wallet_of(session: Session, customer_id: str, currency: str, name: str = "") -> Wallet:
    """The customer's wallet of this currency (and name); made if there is none."""
    name = name or f"Credits in {currency.upper()}"
    found = session.first(
        Wallet, Wallet.customer_id == customer_id, Wallet.currency == currency, Wallet.name == name
    )
    if found:
        return found
    now = session.now()
    wallet = Wallet(
        id=new_id("wallet"),
        customer_id=customer_id,
        currency=currency,
        name=name,
        created_at=now,
        updated_at=now,
    )
    session.add(wallet)
    publish(session, "wallet.created", wallet.id)
    return wallet


def credit(
    session: Session,
    wallet: Wallet,
    amount: Decimal,
    description: str,
    reference_id: str,
    reason: str = "SUBSCRIPTION_CREDIT_GRANT",
) -> WalletTransaction:
    """Adds credits to a wallet, with a transaction; publishes nothing."""
    now, before = session.now(), wallet.credit_balance
    wallet.credit_balance = wallet.balance = before + amount
    wallet.updated_at = now
    return session.add(
        WalletTransaction(
            id=new_id("wtxn"),
            wallet_id=wallet.id,
            customer_id=wallet.customer_id,
            currency=wallet.currency,
            amount=amount,
            credit_balance_before=before,
            credit_balance_after=before + amount,
            description=description,
            transaction_reason=reason,
            reference_id=reference_id,
            created_at=now,
            updated_at=now,
        )
    )
