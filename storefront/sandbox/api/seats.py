"""Changes of quantity: /v1/subscriptions/{id}/modify."""

from decimal import Decimal

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine import seat_checkout, seats
from ..engine.checkout import Options
from ..engine.errors import invalid
from . import auth, requests, validation
from .serializers import changes
from .serializers.checkout import checkout_session
from .serializers.common import Body, in_nanoseconds
from .subscriptions import CREATED_TIMES, need

bp = auth.v1("sandbox_seats", __name__)

OTHER_TYPES = ("inheritance", "grouped_invoicing", "trial_end", "coupon", "tax", "addon")
PAID_FIRST = ["quantity_change", "addon"]
VALID = "inheritance, quantity_change, grouped_invoicing, trial_end, coupon, tax, addon"


@bp.post("/subscriptions/<subscription_id>/modify/preview")
def preview(subscription_id: str) -> ResponseReturnValue:
    """What other quantities would cost. Writes nothing."""
    wanted, _ = _asked(requests.json_body())
    with auth.reading() as session:
        row = need(session, subscription_id)
        return jsonify(changes.seat_preview(session, row, seats.quote(session, row, wanted)))


@bp.post("/subscriptions/<subscription_id>/modify/execute")
def execute(subscription_id: str) -> ResponseReturnValue:
    """Other quantities: at once with an open invoice or a credit, or paid first by a checkout session."""
    wanted, options = _asked(requests.json_body())
    refusal = None
    with auth.writing() as session:
        row = need(session, subscription_id)
        change = seats.quote(session, row, wanted)
        if options and change.net > 0:
            created, invoice = seat_checkout.start(session, row, change, options)
            refusal = created.refusal
            body = changes.seat_change_paid_first(session, row, change, invoice)
            shown = checkout_session(session, created.session, result=created.result)
            body["checkout_session"] = in_nanoseconds(shown, *CREATED_TIMES)
        else:
            seats.execute(session, row, change)
            body = changes.seat_change(session, row, change)
    if refusal:
        raise refusal
    return jsonify(body)


def _asked(body: Body) -> tuple[list[seats.Wanted], Options | None]:
    kind, checkout = requests.text(body, "type"), requests.an_object(body, "checkout")
    params = requests.an_object(body, "quantity_change_params")
    lines = requests.objects(params, "line_items")
    if not kind or (body.get("quantity_change_params") is not None and not lines):
        raise invalid(requests.BAD_FORMAT)
    if kind not in (*OTHER_TYPES, "quantity_change"):
        raise invalid(f"Valid values: {VALID}")
    paid_first = body.get("checkout") is not None
    if paid_first and kind not in PAID_FIRST:
        details = {"type": kind, "allowed_types": PAID_FIRST}
        raise invalid(f"checkout is only allowed for [{' '.join(PAID_FIRST)}]", **details)
    if kind != "quantity_change":
        raise invalid(f"The sandbox does not change {kind}")
    if not lines:
        raise invalid("An unexpected error occurred")
    return [_wanted(line) for line in lines], validation.options(checkout) if paid_first else None


def _wanted(line: Body) -> seats.Wanted:
    """A quantity that is left out is 0."""
    line_id, quantity = requests.text(line, "id"), requests.decimal(line.get("quantity")) or Decimal(0)
    if not line_id:
        raise invalid("Each line_item entry must have a non-empty id")
    if quantity < 0:
        raise invalid("Quantity cannot be negative")
    return seats.Wanted(line_id, quantity, requests.moment(line.get("effective_date")))
