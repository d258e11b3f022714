"""What kind of Flexprice this is today: rows, changed while it runs and read where they matter."""

from typing import Any, NamedTuple

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from storefront.sandbox._previous.errors import invalid
from storefront.sandbox._previous.store import current_store, lever, pull

bp = Blueprint("sandbox_switches", __name__, url_prefix="/_sandbox/switches")

RAZORPAY_EVENTS = (
    "payment.captured",
    "payment_link.paid",
    "payment.failed",
    "payment_link.cancelled",
    "payment_link.expired",
)


class Switch(NamedTuple):
    default: Any
    choices: tuple[str, ...]
    says: str
    many: bool = False


SWITCHES = {
    "generation": Switch("newest", ("newest", "legacy"), "which of the two API generations answers"),
    "tenant": Switch("active", ("active", "suspended"), "a suspended tenant may read but not write"),
    "razorpay_events": Switch(
        list(RAZORPAY_EVENTS), RAZORPAY_EVENTS, "the events Razorpay sends to Flexprice", many=True
    ),
    "polling_reads": Switch(
        "show", ("show", "settle"), "whether reading a session asks Razorpay and may complete it"
    ),
    "mandates": Switch(
        "link", ("link", "no_action"), "charge_automatically: a link without callback, or charged at once"
    ),
}


def read(conn: Connection, name: str) -> Any:
    return lever(conn, f"switch:{name}", SWITCHES[name].default)


def turn(conn: Connection, name: str, value: Any) -> None:
    """Refuses what the switch cannot be, with what it can be."""
    switch = SWITCHES.get(name)
    if switch is None:
        raise invalid("No such switch", allowed_values=list(SWITCHES))
    chosen = value if switch.many else [value]
    if not isinstance(chosen, list) or any(choice not in switch.choices for choice in chosen):
        raise invalid(f"{name} cannot be that", allowed_values=list(switch.choices))
    pull(conn, f"switch:{name}", value)


@bp.get("")
def show() -> ResponseReturnValue:
    with current_store().reading() as conn:
        return jsonify({name: read(conn, name) for name in SWITCHES})


@bp.post("")
def change() -> ResponseReturnValue:
    wanted = request.get_json(force=True, silent=True)
    if not isinstance(wanted, dict):
        raise invalid("Send a JSON object of switches", allowed_values=list(SWITCHES))
    with current_store().writing() as conn:
        for name, value in wanted.items():
            turn(conn, name, value)
    return show()
