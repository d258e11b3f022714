"""Wallets, to be read: /v1/customers/{id}/wallets and /v1/wallets."""

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from ..engine.checkout import published_customer
from ..engine.errors import invalid, not_found
from ..store.billing_rows import Wallet, WalletTransaction
from ..store.database import Session
from ..store.values import decimal_text, rfc3339
from . import auth
from .search import Asked, Listing, listed, page_of
from .serializers import wallets

bp = auth.v1("sandbox_wallets", __name__)


WALLETS = Listing(Wallet, "customer_id currency name wallet_status", "Failed to apply query options")
TRANSACTIONS = Listing(
    WalletTransaction,
    "wallet_id customer_id currency amount transaction_reason reference_id",
    "Failed to apply query options",
)


def _need(session: Session, wallet_id: str) -> Wallet:
    row = session.get(Wallet, wallet_id)
    if row is None:
        raise not_found("Wallet not found")
    return row


@bp.get("/customers/<customer_id>/wallets")
def of_customer(customer_id: str) -> ResponseReturnValue:
    """A bare list; an unknown customer has none."""
    with auth.reading() as session:
        found = session.all(Wallet, Wallet.customer_id == customer_id)
        return jsonify([wallets.wallet(row) for row in found])


@bp.get("/customers/wallets")
def of_customer_by_query() -> ResponseReturnValue:
    """By `?id=`, or by `?lookup_key=`, the external id."""
    customer_id, key = request.args.get("id", ""), request.args.get("lookup_key", "")
    if not customer_id and not key:
        raise invalid("Either id or lookup_key must be provided")
    with auth.reading() as session:
        customer_id = customer_id or published_customer(session, key).id
        found = session.all(Wallet, Wallet.customer_id == customer_id)
        return jsonify([wallets.wallet(row) for row in found])


@bp.get("/wallets/<wallet_id>")
def get(wallet_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(wallets.wallet(_need(session, wallet_id)))


@bp.get("/wallets/<wallet_id>/balance/real-time")
def balance(wallet_id: str) -> ResponseReturnValue:
    """The balance less the usage that is not billed yet; there is none here."""
    with auth.reading() as session:
        row = _need(session, wallet_id)
        return jsonify(
            wallets.wallet(row)
            | {
                "real_time_balance": decimal_text(row.balance),
                "real_time_credit_balance": decimal_text(row.credit_balance),
                "balance_updated_at": rfc3339(row.updated_at),
                "current_period_usage": "0",
            }
        )


@bp.get("/wallets/<wallet_id>/transactions")
def transactions(wallet_id: str) -> ResponseReturnValue:
    """Newest first."""
    order = (WalletTransaction.created_at.desc(), WalletTransaction.id.desc())
    with auth.reading() as session:
        _need(session, wallet_id)
        found = session.all(WalletTransaction, WalletTransaction.wallet_id == wallet_id, order=order)
        items = [wallets.transaction(row) for row in found]
    return listed(items, len(items), 50, 50)


@bp.post("/wallets/search")
def search() -> ResponseReturnValue:
    """By `wallet_ids`; `status` means the wallet's own."""
    asked = Asked("Invalid filter parameters")
    limit, offset = asked.page(zero_is_default=True)
    lists = {
        "id": asked.texts("wallet_ids"),
        "wallet_status": [status] if (status := asked.text("status")) else [],
    }
    with auth.reading() as session:
        query = WALLETS.among(session.select(Wallet, Wallet.status == "published"), lists)
        found, total = page_of(session, WALLETS.by_age(query, asked.order()), (limit, offset))
        items = [wallets.wallet(row) for row in found]
    return listed(items, total, limit, offset + limit)


@bp.post("/wallets/transactions/search")
def search_transactions() -> ResponseReturnValue:
    """By wallet (`id`), reason or reference."""
    asked = Asked("Invalid filter parameters")
    limit, offset = asked.page(zero_is_default=True)
    names = {"wallet_id": "id", "transaction_reason": "transaction_reason", "reference_id": "reference_id"}
    lists = {column: [value] for column, name in names.items() if (value := asked.text(name))}
    with auth.reading() as session:
        query = TRANSACTIONS.among(TRANSACTIONS.query(session, asked), lists)
        found, total = page_of(session, TRANSACTIONS.sorted(query, asked), (limit, offset))
        items = [wallets.transaction(row) for row in found]
    return listed(items, total, limit, offset + limit)
