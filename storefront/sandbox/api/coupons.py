"""Coupons: /v1/coupons."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine import coupons
from ..engine.errors import invalid, not_found
from ..store.billing_rows import Coupon
from ..store.database import Session
from ..store.values import decimal_text, optional_time
from . import auth, requests, validation
from .search import Asked, Listing, listed, page_of
from .serializers.common import Body, in_nanoseconds, row_fields, without_empty

bp = auth.v1("sandbox_coupons", __name__)

TYPES, CADENCES = ("fixed", "percentage"), ("once", "repeated", "forever")
MOST_REDEMPTIONS = 1_000_000
COUPONS = Listing(
    Coupon,
    "name code type cadence currency total_redemptions max_redemptions redeem_after redeem_before",
    "Failed to apply query options",
)


def shown(row: Coupon) -> Body:
    names = ("id", "name", "max_redemptions", "total_redemptions", "type", "cadence", "currency")
    body: Body = {name: getattr(row, name) for name in (*names, "duration_in_periods")}
    body |= {
        "coupon_code": row.code,
        "amount_off": None if row.amount_off is None else decimal_text(row.amount_off),
        "percentage_off": None if row.percentage_off is None else decimal_text(row.percentage_off),
        "redeem_after": optional_time(row.redeem_after),
        "redeem_before": optional_time(row.redeem_before),
        "rules": None,
        "metadata": row.meta,
        **row_fields(row),
    }
    return without_empty(body, "coupon_code")


def _need(session: Session, coupon_id: str) -> Coupon:
    row = session.get(Coupon, coupon_id)
    if row is None or row.status != "published":
        raise not_found(f"Coupon with ID {coupon_id} was not found", coupon_id=coupon_id)
    return row


@bp.post("/coupons")
def create() -> ResponseReturnValue:
    body = requests.json_body()
    fields = _fields(body)
    name, code = requests.text(body, "name"), requests.text(body, "coupon_code")
    requests.refuse_nul(body, "Failed to create coupon")
    with auth.writing() as session:
        row = coupons.make(session, name, code, **fields)
        return jsonify(in_nanoseconds(shown(row), "created_at", "updated_at")), 201


def _fields(body: Body) -> Body:
    """Checked in Flexprice's order.

    :raises Refusal: the first rule that is broken.
    """
    kind, cadence = requests.text(body, "type"), requests.text(body, "cadence")
    fields = {"Name": requests.text(body, "name"), "Type": kind, "Cadence": cadence}
    validation.required("CreateCouponRequest", dict(fields))
    validation.one_of("CreateCouponRequest", {"Type": (kind, TYPES), "Cadence": (cadence, CADENCES)})
    after, before = (requests.moment(body.get(name)) for name in ("redeem_after", "redeem_before"))
    if after and before and after > before:
        raise invalid("Please provide valid date range")
    return {
        "type": kind,
        "cadence": cadence,
        **_amounts(body, kind),
        "redeem_after": after,
        "redeem_before": before,
        "max_redemptions": _most(body),
        "duration_in_periods": _periods(body, cadence),
        "meta": requests.metadata(body) or None,
        "currency": "" if kind == "percentage" else requests.text(body, "currency").lower(),
    }


def _amounts(body: Body, kind: str) -> Body:
    amount = requests.decimal(body.get("amount_off"))
    percent = requests.decimal(body.get("percentage_off"))
    if kind == "fixed" and (amount is None or amount <= 0):
        raise invalid("Please provide a valid discount amount")
    if kind == "percentage" and (percent is None or not 0 < percent <= 100):
        raise invalid("Please provide a valid percentage between 0 and 100")
    return {"amount_off": amount, "percentage_off": percent}


def _most(body: Body) -> int | None:
    if body.get("max_redemptions") is None:
        return None
    most = requests.whole(body, "max_redemptions", 0)
    if not 0 < most <= MOST_REDEMPTIONS:
        message = "Please provide a valid maximum redemption count"
        raise invalid(message, max_redemptions=most, limit=MOST_REDEMPTIONS)
    return most


def _periods(body: Body, cadence: str) -> int | None:
    given = body.get("duration_in_periods") is not None
    periods = requests.whole(body, "duration_in_periods", 0)
    if cadence != "repeated" and given:
        raise invalid("Duration in periods is only applicable for repeated cadence")
    if cadence == "repeated" and not given:
        raise invalid("Please specify how many billing periods this coupon should apply to")
    if cadence == "repeated" and periods <= 0:
        raise invalid("Please provide a valid number of billing periods")
    return periods or None


@bp.get("/coupons/<coupon_id>")
def get(coupon_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(shown(_need(session, coupon_id)))


@bp.get("/coupons/code/<code>")
def get_by_code(code: str) -> ResponseReturnValue:
    """Upper and lower case are the same."""
    with auth.reading() as session:
        return jsonify(shown(coupons.by_code(session, code)))


@bp.put("/coupons/<coupon_id>")
def update(coupon_id: str) -> ResponseReturnValue:
    """Its name and metadata; nothing else can be changed."""
    body = requests.json_body()
    with auth.writing() as session:
        row = _need(session, coupon_id)
        if "name" in body and not requests.text(body, "name"):
            raise invalid("Please provide a coupon name")
        row.name = requests.text(body, "name") or row.name
        if "metadata" in body:
            row.meta = requests.metadata(body) or None
        row.updated_at = session.now()
        return jsonify(shown(row))


@bp.delete("/coupons/<coupon_id>")
def delete(coupon_id: str) -> ResponseReturnValue:
    """Archives it; subscriptions that have it keep it."""
    with auth.writing() as session:
        row = _need(session, coupon_id)
        row.status, row.updated_at = "archived", session.now()
    return jsonify(message="Coupon deleted successfully")


@bp.post("/coupons/search")
def search() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters")
    limit, offset = asked.page(zero_is_default=True)
    lists = {"id": asked.texts("coupon_ids"), "code": asked.texts("coupon_codes")}
    with auth.reading() as session:
        query = COUPONS.sorted(COUPONS.among(COUPONS.query(session, asked), lists), asked)
        found, total = page_of(session, query, (limit, offset))
        items = [shown(row) for row in found]
    return listed(items, total, limit, offset + limit)
