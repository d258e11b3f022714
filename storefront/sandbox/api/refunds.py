"""Refunds, of the newest generation only: /v1/refunds."""

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from ..engine.errors import not_found
from ..store.billing_rows import Refund
from . import auth
from .search import Asked, Listing, listed, page_of
from .serializers import billing

bp = auth.v1("sandbox_refunds", __name__)

LISTS = {
    "payment_id": "payment_ids",
    "invoice_id": "invoice_ids",
    "refund_status": "refund_statuses",
    "refund_destination": "refund_destinations",
    "payment_gateway": "gateway",
}
REFUNDS = Listing(Refund, " ".join(LISTS), "Failed to apply query options")


@bp.get("/refunds")
@auth.newest_only
def list_refunds() -> ResponseReturnValue:
    """A list is `payment_ids=a,b`, as the SDK sends it, or the parameter given twice."""
    numbers = {name: _number(name) for name in ("limit", "offset")}
    asked = Asked("Invalid filter parameters", body={k: v for k, v in numbers.items() if v is not None})
    limit, offset = asked.page(zero_is_default=True)
    with auth.reading() as session:
        query = session.select(Refund)
        for column, name in LISTS.items():
            query = REFUNDS.among(query, {column: _parts(name)})
        if request.args.get("only_settled") == "true":
            query = query.where(Refund.refund_status == "SUCCEEDED")
        found, total = page_of(session, REFUNDS.by_age(query, "desc"), (limit, offset))
        items = [billing.refund(row) for row in found]
    return listed(items, total, limit, offset + limit)


def _number(name: str) -> int | str | None:
    text = request.args.get(name)
    return int(text) if text and text.removeprefix("-").isdecimal() and len(text) < 10 else text


def _parts(name: str) -> list[str]:
    return [part for value in request.args.getlist(name) for part in value.split(",") if part]


@bp.get("/refunds/<refund_id>")
@auth.newest_only
def get(refund_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        row = session.get(Refund, refund_id)
        if row is None:
            raise not_found(f"refund {refund_id} not found", id=refund_id)
        return jsonify(billing.refund(row))
