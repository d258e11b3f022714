"""What belongs to a customer: their subscriptions and invoices."""

from decimal import Decimal

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine.checkout import published_customer
from ..engine.errors import not_found
from ..engine.events import publish
from ..store.billing_rows import Invoice, Subscription
from ..store.database import Session
from ..store.rows import Customer
from ..store.values import decimal_text
from . import auth
from .search import listed
from .serializers import billing
from .serializers.common import Body

bp = auth.v1("sandbox_customer_records", __name__)


@bp.get("/customers/external/<external_id>/subscriptions")
def subscriptions(external_id: str) -> ResponseReturnValue:
    """The active and trialing ones, with their lines."""
    order = (Subscription.created_at.desc(), Subscription.id.desc())
    with auth.reading() as session:
        customer = published_customer(session, external_id)
        found = session.all(
            Subscription,
            Subscription.customer_id == customer.id,
            Subscription.subscription_status.in_(("active", "trialing")),
            Subscription.status == "published",
            order=order,
        )
        items = [
            billing.subscription(session, row, lines="short", plan="short", customer=False) for row in found
        ]
    return listed(items, len(items), 50, 50)


@bp.get("/customers/<customer_id>/invoices/summary")
def summary(customer_id: str) -> ResponseReturnValue:
    """What is unpaid, by currency. Each read sends `invoice.payment.overdue` for each overdue invoice."""
    with auth.writing() as session:
        customer = session.get(Customer, customer_id)
        if customer is None:
            raise not_found(f"Customer with ID {customer_id} was not found", customer_id=customer_id)
        unpaid = _unpaid(session, customer_id)
        for row in unpaid:
            if _is_overdue(session, row):
                publish(session, "invoice.payment.overdue", row.id)
        currencies = sorted({row.currency for row in unpaid}) or ["usd"]
        summaries = [_of_currency(session, unpaid, currency) for currency in currencies]
    return jsonify(customer_id=customer_id, default_currency=currencies[0], summaries=summaries)


def _unpaid(session: Session, customer_id: str) -> list[Invoice]:
    return [
        row
        for row in session.all(Invoice, Invoice.customer_id == customer_id, Invoice.status == "published")
        if row.invoice_status == "FINALIZED" and row.payment_status in ("PENDING", "FAILED")
    ]


def _is_overdue(session: Session, row: Invoice) -> bool:
    return row.amount_remaining > 0 and row.due_date is not None and row.due_date < session.now()


def _of_currency(session: Session, unpaid: list[Invoice], currency: str) -> Body:
    own = [row for row in unpaid if row.currency == currency and row.amount_remaining > 0]
    overdue = [row for row in own if _is_overdue(session, row)]
    left = sum((row.amount_remaining for row in own), Decimal(0))
    late = sum((row.amount_remaining for row in overdue), Decimal(0))
    return {
        "customer_id": own[0].customer_id if own else "",
        "currency": currency,
        "total_revenue_amount": "0",
        "total_unpaid_amount": decimal_text(left),
        "total_overdue_amount": decimal_text(late),
        "total_invoice_count": len(own),
        "unpaid_invoice_count": len(own),
        "overdue_invoice_count": len(overdue),
        "unpaid_usage_charges": "0",
        "unpaid_fixed_charges": decimal_text(left),
    }
