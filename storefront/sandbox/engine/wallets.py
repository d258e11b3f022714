"""Credits that come with a plan: into the customer's wallet of that currency.

[infer] The source names the events' first word only; their names and fields are the SDK's.
"""

from decimal import Decimal

from ..store.billing_rows import Subscription, Wallet, WalletTransaction
from ..store.database import Session
from ..store.rows import CreditGrant
from ..store.values import new_id, random_text
from .events import publish

PRORATION_WALLET = "Proration Credit Wallet"
PRORATION_TEXT = "Proration credit from subscription change"


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


def prepaid(session: Session, customer_id: str, currency: str, name: str = PRORATION_WALLET) -> Wallet:
    """The customer's first prepaid wallet of this currency; made with that name if there is none."""
    kind = (Wallet.wallet_type == "PRE_PAID", Wallet.wallet_status == "active", Wallet.currency == currency)
    found = session.first(Wallet, Wallet.customer_id == customer_id, *kind)
    if found:
        return found
    made = wallet_of(session, customer_id, currency, name)
    if name == PRORATION_WALLET:
        made.meta = {"created_for": "proration_credit", "source": "subscription_change"}
    return made


def top_up(
    session: Session,
    wallet: Wallet,
    amount: Decimal,
    description: str = PRORATION_TEXT,
    reason: str = "SUBSCRIPTION_CREDIT_GRANT",
    metadata: dict[str, str] | None = None,
) -> WalletTransaction:
    """Credits money that is not paid back: unused time, a voided invoice."""
    row = credit(session, wallet, amount, description, f"wallet_topup-{random_text(16).lower()}", reason)
    source = {"source": "subscription_change_proration", "customer_id": wallet.customer_id}
    row.meta = metadata or source
    publish(session, "wallet.transaction.created", row.id)
    return row


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
