"""How a store behaves: choices that can be changed while the sandbox runs."""

from typing import Any, NamedTuple

from ..store.control_rows import StoreState
from ..store.database import Session, StateView
from .errors import invalid

RAZORPAY_EVENTS = (
    "payment.captured",
    "payment_link.paid",
    "payment.failed",
    "payment_link.cancelled",
    "payment_link.expired",
)


class Switch(NamedTuple):
    """`default` may be a pair: for the newest generation and for legacy."""

    default: Any
    choices: tuple[Any, ...]
    help: str
    many: bool = False


class ByGeneration(NamedTuple):
    newest: Any
    legacy: Any


ON_OFF = ("off", "on")

SWITCHES = {
    "generation": Switch("newest", ("newest", "legacy"), "which of the two API generations answers"),
    "tenant": Switch("active", ("active", "suspended"), "a suspended tenant may read but not write"),
    "razorpay_events": Switch(
        list(RAZORPAY_EVENTS), RAZORPAY_EVENTS, "the events Razorpay sends to Flexprice", many=True
    ),
    "polling_reads": Switch(
        ByGeneration("settle", "show"),
        ("show", "settle"),
        "whether reading a session asks Razorpay and may complete it",
    ),
    "mandates": Switch(
        "link", ("link", "no_action"), "charge_automatically: a link without callback, or charged at once"
    ),
    "late_money": Switch(
        ByGeneration("refunded", "untouched"),
        ("untouched", "refunded"),
        "money after the end of a session is refunded at Razorpay: whether the payment says so",
    ),
    "open_key": Switch(
        "refuse", ("refuse", "hand_back"), "create with the key of an open session: 409, or that session"
    ),
    "link_expiry_event": Switch(
        "off",
        ON_OFF,
        "newest: a link that Razorpay closes after 20 minutes is told of, which fails the session",
    ),
    "cancelled_event": Switch("off", ON_OFF, "cancel sends checkout.session.cancelled too, after expired"),
    "provider_customer_error": Switch(
        "400", ("400", "500"), "the status when Razorpay fails while a new customer is made there"
    ),
    "double_events": Switch("off", ON_OFF, "two Razorpay events at once double the messages about a payment"),
    "webhook_signing": Switch("svix", ("svix", "native"), "signed by Svix, or unsigned with one header"),
    "webhook_retries": Switch("flexprice", ("flexprice", "svix"), "six attempts, or Svix's eight"),
    "delivery_pace": Switch(
        "prompt",
        ("prompt", "throttled", "slow", "backlog"),
        "messages at once, five a second, 30 s late, or five minutes late",
    ),
    "lost_messages": Switch(
        "skip", ("skip", "hold_up"), "messages of archived objects are lost; hold_up: 15 s of trying before"
    ),
    # The second month.
    "first_renewal": Switch(
        ByGeneration("billed", "skipped"), ("billed", "skipped"), "the first renewal after a checkout"
    ),
    "double_booking": Switch("off", ON_OFF, "a read beside Razorpay's event books a payment twice"),
    "upgrade_link_settles": Switch("off", ON_OFF, "paying the link of an upgrade's invoice settles it"),
    "invoice_sync": Switch("off", ON_OFF, "invoices are synced to Razorpay: the link dies at the due date"),
    "pdf": Switch(ByGeneration("rendered", "unavailable"), ("rendered", "unavailable"), "PDFs of invoices"),
    "usage_store": Switch("up", ("up", "down"), "the store of usage events"),
}


def read(session: Session, name: str) -> Any:
    """The value in force: as it was set, else the default of the store's generation."""
    return read_of(session.state, name)


def read_of(state: StoreState | StateView, name: str) -> Any:
    """The same, from a store's state."""
    if name in state.switches:
        return state.switches[name]
    if name in state.defaults:
        return state.defaults[name]
    default = SWITCHES[name].default
    return getattr(default, read_of(state, "generation")) if isinstance(default, ByGeneration) else default


def is_on(session: Session, name: str) -> bool:
    return bool(read(session, name) == "on")


def is_legacy(session: Session) -> bool:
    return bool(read(session, "generation") == "legacy")


def change(session: Session, name: str, value: Any) -> None:
    """:raises Refusal: no such switch, or not one of its values; names those that are allowed."""
    switch = SWITCHES.get(name)
    if switch is None:
        raise invalid("No such switch", allowed_values=list(SWITCHES))
    chosen = value if switch.many else [value]
    if not isinstance(chosen, list) or any(choice not in switch.choices for choice in chosen):
        raise invalid(f"{name} cannot be that", allowed_values=list(switch.choices))
    session.state.switches = session.state.switches | {name: value}


def restore(session: Session, name: str) -> None:
    """Back to its default."""
    session.state.switches = {key: value for key, value in session.state.switches.items() if key != name}
