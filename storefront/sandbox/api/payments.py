"""Payments: /v1/payments."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine.errors import not_found
from ..store.billing_rows import Payment
from ..store.database import Session
from . import auth
from .serializers import billing

bp = auth.v1("sandbox_payments", __name__)


def need(session: Session, payment_id: str) -> Payment:
    """:raises Refusal: there is none. Archived ones are found."""
    row = session.get(Payment, payment_id)
    if row is None:
        raise not_found("Payment not found", payment_id=payment_id)
    return row


@bp.get("/payments/<payment_id>")
def get(payment_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(billing.payment(session, need(session, payment_id)))
