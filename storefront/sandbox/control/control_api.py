"""The control API: the provider, the clock, the messages, the store and its switches."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from flask import current_app, g, jsonify, request
from flask.typing import ResponseReturnValue

from ..api import auth, requests
from ..api.serializers.common import Body
from ..delivery import signing
from ..delivery.dispatcher import Dispatcher
from ..engine import clock, provider, razorpay, session_lifecycle, switches, time_travel
from ..engine.errors import Refusal, invalid, not_found
from ..store.base import Record
from ..store.control_rows import Event, StoreState, Usage
from ..store.database import Condition, Session, empty_store, new_secret
from ..store.rows import Customer, Feature, ProviderLink
from ..store.values import decimal_text, rfc3339
from . import clock_targets, request_log, seeding
from .access import answer, asked, control, number, one_of
from .clock_targets import GO_ON, TARGETS

bp = control("sandbox_control_api", __name__)

Rec = TypeVar("Rec", bound=Record)

ACTIONS = ("pay", "decline", "cancel_link", "expire_link", "fail")
STEPS = ("link", "customer")
MAX_STOPS = 60
MAX_TIMES = 1_000_000
CURRENCY_LENGTH = 3


def dispatcher() -> Dispatcher:
    found: Dispatcher = current_app.extensions["sandbox_dispatcher"]
    return found


def run_due() -> int:
    """Runs what is due in the caller's store, and sends its messages."""
    return time_travel.run_due(auth.database(), g.store, dispatcher().send_all)


# The provider.


@bp.post("/provider")
def act_at_provider() -> ResponseReturnValue:
    """`{"action", "link", "events"?, "amount"?, "currency"?}`, or `{"action": "fail", "step"?, "times"?}`."""
    body = asked()
    action = one_of(body, "action", ACTIONS)
    if action == "fail":
        step = one_of({"step": "link"} | body, "step", STEPS)
        times = number({"times": 1} | body, "times", MAX_TIMES)
        with auth.writing() as session:
            provider.arrange_failure(session, step, int(times or 1))
        return answer({"action": action, "step": step, "times": int(times or 1)})
    with auth.writing() as session:
        link = _link(session, str(body.get("link") or ""))
        payment_id = _act(session, link, action, body)
        request_log.note(session, action, _session_id(session, link), payment=payment_id)
        state = link.state
    run_due()
    return answer({"action": action, "link": body["link"], "state": state, "payment_id": payment_id})


def _session_id(session: Session, link: ProviderLink) -> str | None:
    checkout = razorpay.checkout_of(session, link)
    return checkout.id if checkout else None


def _link(session: Session, url: str) -> ProviderLink:
    """By its URL, its code or its id at Razorpay."""
    code = url.rstrip("/").rpartition("/")[2].removeprefix("plink_")
    found = session.first(ProviderLink, ProviderLink.code == code)
    if found is None:
        raise not_found(f"payment link {url} not found", link=url)
    return found


def _act(session: Session, link: ProviderLink, action: str, body: Body) -> str | None:
    """Obeys whatever state the link is in."""
    if action == "decline":
        razorpay.decline(session, link, str(body.get("reason") or razorpay.DECLINED))
    elif action == "cancel_link":
        razorpay.close_link(session, link, razorpay.LINK_CANCELLED)
    elif action == "expire_link":
        razorpay.close_link(session, link, razorpay.LINK_EXPIRED)
    else:
        amount = number(body, "amount", 1e12)
        return razorpay.pay(
            session,
            link,
            events=_events(body),
            amount=None if amount is None else int(amount),
            currency=str(body.get("currency") or "").upper()[:CURRENCY_LENGTH],
        )
    return None


def _events(body: Body) -> Sequence[str] | None:
    """Those that arrive; an empty list is money without an event."""
    if body.get("events") is None:
        return None
    events = requests.texts(body, "events", "events is a list of Razorpay's event names")
    if unknown := [event for event in events if event not in razorpay.EVENTS]:
        raise invalid(f"No such event: {unknown[0]}", allowed_values=list(razorpay.EVENTS))
    return events


# The clock.


@bp.get("/clock")
def show_clock() -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(now=rfc3339(session.now()))


@bp.post("/clock")
def move_clock() -> ResponseReturnValue:
    """`{"set": time}`, `{"advance": "31d"}`, or `{"until": …, "id": …}`. What falls due happens on the way.

    `{"real": true}` sets the clock to wall time again; what happened keeps its dates.
    `{"advance": …, "jump": true}` skips what falls due: it happens late.
    """
    body, sent = asked(), 0
    try:
        if body.get("set"):
            _set(body)
        elif body.get("until"):
            sent = _walk_until(str(body["until"]), str(body.get("id") or ""))
        elif body.get("real"):
            _back_to_real_time()
        elif body.get("jump"):
            with auth.writing() as session:
                clock.move_to(session, session.now() + clock.parse_step(str(body.get("advance") or "")))
        else:
            sent = _walk(_now() + clock.parse_step(str(body.get("advance") or "")))
    except ValueError as error:
        raise invalid(str(error)) from None
    return answer({"now": rfc3339(_now()), "sent": sent})


def _back_to_real_time() -> None:
    with auth.writing() as session:
        session.state.clock_offset_s = 0.0


def _now() -> datetime:
    with auth.reading() as session:
        return session.now()


def _walk(until: datetime) -> int:
    return time_travel.walk(auth.database(), g.store, until, dispatcher().send_all)


def _set(body: Body) -> None:
    moment = requests.moment(body["set"], "set is a time such as 2026-09-01T00:00:00Z")
    if moment is None:
        raise invalid("set is a time such as 2026-09-01T00:00:00Z")
    with auth.writing() as session:
        backwards = moment < session.now()
        if backwards and session.state.event_sequence:
            raise Refusal("already_exists", "The clock goes back only while the store is empty: reset it")
        if backwards:
            clock.move_to(session, moment)
    if not backwards:
        _walk(moment)


def _walk_until(target: str, thing: str) -> int:
    """:raises Refusal: 409 with the reason where the target cannot be reached."""
    if target not in TARGETS:
        raise invalid("No such until", allowed_values=list(TARGETS))
    sent = 0
    for _ in range(MAX_STOPS):
        with auth.writing() as session:
            moment = TARGETS[target](session, thing)
            clock_targets.before(session, target, thing)
        sent += _walk(moment)
        if target == "session_expiry":
            sweep_now()
        if target not in GO_ON:
            return sent
        with auth.reading() as session:
            if not GO_ON[target](session, thing):
                return sent
    raise Refusal("already_exists", f"{target} was not reached after {MAX_STOPS} stops", id=thing)


def sweep_now() -> int:
    """Expires what was not paid in time, without waiting for the half hour."""
    with auth.writing() as session:
        expired = session_lifecycle.sweep(session)
    run_due()
    return expired


# Messages.


@bp.get("/messages")
def list_messages() -> ResponseReturnValue:
    """Those that were built, in that order; `?customer=` only about this one. Waits until nothing is due."""
    run_due()
    conditions: list[Condition] = [Event.message_number.is_not(None)]
    with auth.reading() as session:
        if customer := request.args.get("customer"):
            conditions.append(Event.customer_id == customer)
        events = session.all(Event, *conditions, order=Event.message_number)
        return jsonify([_message(event) for event in events])


def _message(event: Event) -> Body:
    body = current_app.json.loads(event.body or "null")
    return {"id": event.id, "at": event.message_number, "type": event.event_type, "body": body}


# The store.


@bp.post("/reset")
def reset() -> ResponseReturnValue:
    """Empties the store, its clock and its switches. What it was seeded with is put back."""
    if request.form and str(asked().get("sure")).lower() not in ("yes", "true"):
        raise Refusal("invalid_operation", "This deletes everything in the store: send sure=yes")
    with auth.writing() as session:
        empty_store(session)
        state = session.state
        state.clock_offset_s, state.switches = 0.0, {}
        state.event_sequence = state.message_sequence = state.delivery_sequence = 0
        state.invoice_sequence = state.price_sequence = 0
        state.keeps_versions = state.has_overrides = False
        seeding.fill(session, state.seed)
    return answer({"reset": True})


@bp.put("/store")
def configure_store() -> ResponseReturnValue:
    """`{"webhook_url", "webhook_secret"}`, both optional; answers with both."""
    body = asked()
    with auth.writing() as session:
        state = session.state
        if "webhook_url" in body:
            state.webhook_url = _endpoint(body)
        if "webhook_secret" in body:
            state.webhook_secrets = _secrets(body)
        return answer(_store_body(state))


@bp.get("/store")
def show_store() -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(_store_body(session.state))


def _endpoint(body: Body) -> str:
    url = str(body["webhook_url"] or "")
    if url and not url.startswith(("http://", "https://")):
        raise invalid("webhook_url is an http or https URL, or empty")
    return url


def _secrets(body: Body) -> list[str]:
    """One or, separated by spaces, several; a new one for an empty text."""
    secrets = str(body["webhook_secret"] or new_secret()).split()
    if not all(signing.is_secret(one) for one in secrets):
        raise invalid("webhook_secret is whsec_ and base64, or several of these with spaces between")
    return secrets


def _store_body(state: StoreState) -> Body:
    return {"webhook_url": state.webhook_url, "webhook_secret": " ".join(state.webhook_secrets)}


# Switches.


@bp.get("/switches")
def show_switches() -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify({name: switches.read(session, name) for name in switches.SWITCHES})


@bp.post("/switches")
def change_switches() -> ResponseReturnValue:
    """Several at once, as JSON."""
    wanted: Any = request.get_json(force=True, silent=True)
    if not isinstance(wanted, dict):
        raise invalid("Send a JSON object of switches", allowed_values=list(switches.SWITCHES))
    with auth.writing() as session:
        for name, value in wanted.items():
            switches.change(session, name, value)
    return show_switches()


# Usage.


@bp.put("/usage")
def set_usage() -> ResponseReturnValue:
    """`{"customer", "feature", "value"}`: what reads of usage show; ids, or external id and lookup key."""
    body = asked()
    value = number(body, "value", 1e12)
    with auth.writing() as session:
        customer = _find(session, Customer, Customer.external_id, str(body.get("customer") or ""))
        feature = _find(session, Feature, Feature.lookup_key, str(body.get("feature") or ""))
        session.delete(Usage, Usage.customer_id == customer.id, Usage.feature_id == feature.id)
        used = Decimal(str(value or 0))
        session.add(Usage(customer_id=customer.id, feature_id=feature.id, value=used))
    return answer({"customer": customer.id, "feature": feature.id, "value": decimal_text(used)})


def _find(session: Session, model: type[Rec], column: Any, name: str) -> Rec:
    """By id, else by this column.

    :raises Refusal: there is none.
    """
    found = session.get(model, name) or session.first(model, column == name, model.status == "published")
    if found is None:
        raise not_found(f"{model.__name__} {name} was not found", name=name)
    return found
