"""Payments: /v1/payments."""

from decimal import Decimal

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from ..engine import payments
from ..engine.errors import invalid, not_found
from ..store.billing_rows import Payment
from ..store.database import Session
from . import auth, requests
from .search import Asked, Listing, listed, page_of
from .serializers import billing
from .serializers.common import Body, in_nanoseconds

bp = auth.v1("sandbox_payments", __name__)

MAX_KEY_LENGTH = 50
PAYMENTS = Listing(
    Payment,
    """destination_id destination_type payment_method_type payment_status payment_gateway currency amount
    idempotency_key""",
    "Failed to apply query options",
)


def need(session: Session, payment_id: str) -> Payment:
    """:raises Refusal: there is none. Archived ones are found, deleted ones are not."""
    row = session.get(Payment, payment_id)
    if row is None or row.status == "deleted":
        raise not_found("Payment not found", payment_id=payment_id)
    return row


@bp.post("/payments")
def create() -> ResponseReturnValue:
    """Pays an invoice by a link. The same request is answered with the old payment, as it now is."""
    asked = _asked(requests.json_body())
    with auth.writing() as session:
        made = payments.create(session, asked)
        shown = in_nanoseconds(
            billing.payment(session, made.payment, invoice_number=False), "created_at", "updated_at"
        )
    if made.refusal:
        raise made.refusal
    return jsonify(shown), 201


def _asked(body: Body) -> payments.Request:
    names = ("destination_id", "destination_type", "payment_method_type", "currency", "payment_gateway")
    invoice_id, kind, method, currency, gateway = (requests.text(body, name) for name in names)
    amount, key = requests.decimal(body.get("amount")), requests.text(body, "idempotency_key")
    if not (invoice_id and kind and method and currency):
        raise invalid(requests.BAD_FORMAT)
    if len(currency) != requests.CURRENCY_LENGTH:
        raise invalid("Currency code must be 3 characters long")
    _check_method(body, method, gateway)
    if kind != "INVOICE":
        raise invalid(
            "Only invoice and auth destination types are supported", allowed=["INVOICE", "CUSTOMER"]
        )
    requests.refuse_too_long(key, MAX_KEY_LENGTH, "Failed to create payment")
    requests.refuse_nul(body, "Failed to create payment")
    return payments.Request(
        invoice_id,
        amount or Decimal(0),
        currency,
        requests.flag(body, "process_payment"),
        method,
        gateway if method == "PAYMENT_LINK" else "",
        key,
        requests.metadata(body) or None,
        _noted_for_the_gateway(body),
    )


def _check_method(body: Body, method: str, gateway: str) -> None:
    """The sandbox has Razorpay's links, and money that the merchant took elsewhere."""
    method_id = requests.text(body, "payment_method_id")
    details = {"payment_method_type": method}
    if method == "OFFLINE" and method_id:
        message = "Do not provide payment method ID for offline or credits payment methods"
        raise invalid(message, **details, payment_method_id=method_id)
    if method == "PAYMENT_LINK" and not gateway:
        raise invalid("Payment gateway must be specified for payment link method type", **details)
    if method not in ("PAYMENT_LINK", "OFFLINE"):
        raise invalid("Payment method ID is required for online payment methods", **details)


def _noted_for_the_gateway(body: Body) -> dict[str, str]:
    """Kept beside the payment, and not used for Razorpay's links."""
    noted = {name: requests.text(body, name) for name in ("success_url", "cancel_url")}
    if requests.flag(body, "save_card_and_make_default"):
        noted["save_card_and_make_default"] = "true"
    return {name: value for name, value in noted.items() if value}


@bp.get("/payments/<payment_id>")
def get(payment_id: str) -> ResponseReturnValue:
    """Reading an unsettled payment asks Razorpay, and settles it or finds its link closed."""
    with auth.reading() as session:
        row = need(session, payment_id)
        asks = session.lag is None and payments.is_asked_about(session, row)
        body = billing.payment(session, row)
    if asks:
        with auth.writing() as session:
            row = need(session, payment_id)
            payments.ask(session, row)
            body = billing.payment(session, row)
    return jsonify(body)


@bp.get("/payments")
def search() -> ResponseReturnValue:
    """By invoice, status, method or gateway. Asks nobody."""
    asked = Asked("Invalid filter parameters", body=_query())
    limit, offset = asked.page(zero_is_default=True)
    names = ("destination_id", "destination_type", "payment_method_type", "payment_status", "payment_gateway")
    lists = {name: [value] for name in (*names, "currency") if (value := asked.text(name))}
    lists["id"] = request.args.getlist("payment_ids")
    with auth.reading() as session:
        query = PAYMENTS.among(PAYMENTS.query(session, asked), lists)
        found, total = page_of(session, PAYMENTS.by_age(query, asked.order()), (limit, offset))
        items = [billing.payment(session, row) for row in found]
    return listed(items, total, limit, offset + limit)


def _query() -> Body:
    body: Body = dict(request.args)
    for name in ("limit", "offset"):
        if name in body:
            try:
                body[name] = int(body[name])
            except ValueError:
                raise invalid("Invalid filter parameters") from None
    return body


@bp.post("/payments/<payment_id>/process")
def process(payment_id: str) -> ResponseReturnValue:
    """Makes the link of a payment that has none."""
    with auth.writing() as session:
        row = need(session, payment_id)
        refusal = payments.process(session, row)
        shown = billing.payment(session, row, invoice_number=False)
    if refusal:
        raise refusal
    return jsonify(shown)


@bp.delete("/payments/<payment_id>")
def delete(payment_id: str) -> ResponseReturnValue:
    with auth.writing() as session:
        payments.delete(session, need(session, payment_id))
    return jsonify(message="payment deleted successfully")
