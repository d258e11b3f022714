"""Forms of the console and JSON calls for tests: deliveries, payments, sessions, faults, overrides."""

from typing import Any

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from ..api import auth
from ..api.serializers import billing
from ..delivery import queue
from ..delivery.modes import MODES
from ..engine import cancellations, outcomes, overrides, provider, razorpay, session_lifecycle, switches
from ..engine.errors import not_found
from ..store.billing_rows import Payment, Subscription
from ..store.control_rows import Delivery, Event, Override
from ..store.database import Session
from ..store.rows import CheckoutSession, ProviderLink
from . import faults, request_log
from .access import answer, asked, control, number, one_of, scope
from .control_api import run_due

bp = control("sandbox_controls", __name__)

MAX_SECONDS = 86400
NUMBER = "<int(max=2147483647):number>"


# Messages.


@bp.post("/webhooks")
def arrange_delivery() -> ResponseReturnValue:
    """How messages go out from now on. `normal` and `twice` release what is held."""
    body = asked()
    mode = one_of(body, "mode", MODES)
    with auth.writing() as session:
        _arrange(session, "delivery", mode, scope(body))
        if mode in ("normal", "twice"):
            queue.release_held(session)
    return answer({"mode": mode})


def _arrange(session: Session, kind: str, name: str, where: dict[str, Any]) -> Override:
    about = {"about_session" if key == "session" else key: value for key, value in where.items()}
    return overrides.arrange(session, kind, name, **about)


@bp.post("/deliver")
def deliver() -> ResponseReturnValue:
    """Runs and sends what is due, and waits for it."""
    return answer({"sent": run_due()})


@bp.post(f"/deliveries/{NUMBER}/resend")
def resend_delivery(number: int) -> ResponseReturnValue:
    """The same message once more: the same id and body, a new timestamp."""
    with auth.writing() as session:
        delivery = session.get(Delivery, number)
        if delivery is None:
            raise not_found(f"delivery {number} not found")
        queue.add(session, session.need(Event, delivery.event_id))
    return answer({"event_id": delivery.event_id})


@bp.post("/events/<event_id>/resend")
def resend_event(event_id: str) -> ResponseReturnValue:
    with auth.writing() as session:
        event = session.get(Event, event_id)
        if event is None:
            raise not_found(f"message {event_id} not found")
        delivery = queue.add(session, event)
    return answer({"event_id": event_id, "delivery_id": delivery.id})


@bp.post("/events/resend")
def resend_all() -> ResponseReturnValue:
    """Every message (of one session), in the order in which things happened."""
    session_id = scope(asked())["session"]
    with auth.writing() as session:
        if session_id:
            need_checkout(session, session_id)
        events = queue.events_about(session, session_id)
        for event in events:
            queue.add(session, event)
    return answer({"resent": len(events)})


@bp.post("/switch")
def change_switch() -> ResponseReturnValue:
    """One switch, as a form sends it; /_sandbox/switches takes several as JSON."""
    body = asked()
    name = one_of(body, "name", switches.SWITCHES)
    many = switches.SWITCHES[name].many and bool(request.form)
    value: Any = request.form.getlist("value") if many else body.get("value")
    with auth.writing() as session:
        switches.change(session, name, value)
    return answer({"name": name, "value": value})


# Payments.


@bp.post("/outcomes")
def arrange_outcome() -> ResponseReturnValue:
    """What comes of the next payments, whatever card is used."""
    body = asked()
    outcome = one_of(body, "outcome", outcomes.OUTCOMES)
    with auth.writing() as session:
        _arrange(session, "outcome", outcome, scope(body))
    return answer({"outcome": outcome})


@bp.post("/completions")
def arrange_completion() -> ResponseReturnValue:
    """What Flexprice makes of the money: late, handled twice at once, or half done."""
    body = asked()
    completion, where = one_of(body, "completion", outcomes.COMPLETIONS), scope(body)
    with auth.writing() as session:
        _arrange(session, "completion", completion, where)
    return answer({"completion": completion, "seconds": where["seconds"]})


def need_checkout(session: Session, session_id: str) -> CheckoutSession:
    """:raises Refusal: there is no such session."""
    row = session.get(CheckoutSession, session_id)
    if row is None:
        raise not_found(f"checkout session {session_id} not found", id=session_id)
    return row


def arrange_for_session(
    session: Session, session_id: str, ways: dict[str, str], seconds: float | None
) -> None:
    """How this session's payment is taken and delivered, by kind; what is usual needs no override."""
    for kind, name in ways.items():
        if name not in ("normal", session_lifecycle.AT_ONCE):
            times = 1 if kind == "completion" else None
            where = {"about_session": session_id, "times": times, "seconds": seconds}
            overrides.arrange(session, kind, name, **where)  # type: ignore[arg-type]


@bp.post("/sessions/<session_id>/outcome")
def let_happen(session_id: str) -> ResponseReturnValue:
    """To this session, now, as on its payment page."""
    body = asked()
    outcome = one_of(body, "outcome", outcomes.OUTCOMES)
    known = (("delivery", MODES), ("completion", outcomes.COMPLETIONS))
    ways = {kind: one_of(body, kind, names) for kind, names in known if body.get(kind)}
    with auth.writing() as session:
        row = need_checkout(session, session_id)
        link = session.get(ProviderLink, row.link_id)
        if link is None:
            raise not_found(f"checkout session {session_id} has no payment link", id=session_id)
        arrange_for_session(session, session_id, ways, number(body, "seconds", MAX_SECONDS))
        payment_id = outcomes.happen(session, row, link, outcome)
        request_log.note(session, outcome, session_id, payment=payment_id)
        status = row.checkout_status
    return answer({"session": session_id, "checkout_status": status, "razorpay_payment_id": payment_id})


@bp.post("/sessions/<session_id>/paid-again")
def hear_again(session_id: str) -> ResponseReturnValue:
    """Razorpay sends `payment_link.paid` once more: that completes a session that stopped half-way."""
    with auth.writing() as session:
        row = need_checkout(session, session_id)
        link = session.get(ProviderLink, row.link_id)
        if link is None or not link.captures:
            raise not_found(f"paid checkout session {session_id} not found", id=session_id)
        razorpay.hear_again(session, link)
        request_log.note(session, "payment_link.paid again", session_id)
    return answer({"session": session_id, "checkout_status": row.checkout_status})


@bp.post("/sessions/<session_id>/overwrite")
def overwrite(session_id: str) -> ResponseReturnValue:
    """A late clean-up overwrites a completed session: `status` failed or expired."""
    status = one_of(asked(), "status", ("failed", "expired"))
    with auth.writing() as session:
        row = need_checkout(session, session_id)
        if row.checkout_status != "completed":
            raise not_found(f"completed checkout session {session_id} not found", id=session_id)
        session_lifecycle.overwrite(session, row, status)
    return answer({"session": session_id, "checkout_status": status})


@bp.post("/sessions/<session_id>/repair")
def repair(session_id: str) -> ResponseReturnValue:
    """Flexprice support completes an ended session by hand, with money that was not refunded."""
    with auth.writing() as session:
        row = need_checkout(session, session_id)
        link, payment = session.get(ProviderLink, row.link_id), session.get(Payment, row.payment_id)
        ended = row.checkout_status in ("failed", "expired") and row.completed_at is None
        if not ended or link is None or payment is None or payment.payment_status == "REFUNDED":
            raise not_found(f"unpaid, ended checkout session {session_id} not found", id=session_id)
        payment_id = link.captures[-1]["id"] if link.captures else provider.capture(session, link)
        session_lifecycle.complete_by_support(session, row, payment_id)
        request_log.note(session, "completed by support", session_id)
    return answer({"session": session_id, "checkout_status": row.checkout_status})


@bp.post("/sessions/<session_id>/expire")
def expire(session_id: str) -> ResponseReturnValue:
    """This session alone expires now, as the sweep would let it."""
    with auth.writing() as session:
        row = need_checkout(session, session_id)
        if row.checkout_status not in session_lifecycle.TERMINAL:
            session_lifecycle.end(session, row, "expired")
        status = row.checkout_status
    run_due()
    return answer({"session": session_id, "checkout_status": status})


@bp.post("/retry")
def retry_now() -> ResponseReturnValue:
    """Failed deliveries (of one `customer`) are tried again now, and late ones go out."""
    customer = scope(asked())["customer"]
    with auth.writing() as session:
        waiting = [Delivery.state == "due", Delivery.due_at > session.now()]
        rows = session.all(Delivery, *waiting, *([Delivery.customer_id == customer] if customer else []))
        for row in rows:
            row.due_at = session.now()
    return answer({"due": len(rows), "sent": run_due()})


@bp.post("/sweep")
def sweep() -> ResponseReturnValue:
    """Expires what was not paid in time, without waiting for the half hour."""
    with auth.writing() as session:
        expired = session_lifecycle.sweep(session)
    return answer({"expired": expired})


@bp.post("/subscriptions/<subscription_id>/cancel")
def cancel_subscription(subscription_id: str) -> ResponseReturnValue:
    with auth.writing() as session:
        row = session.get(Subscription, subscription_id)
        if row is None or row.subscription_status != "active":
            raise not_found("Subscription not found")
        at_period_end = asked().get("at_period_end") in (True, "yes")
        kind = "end_of_period" if at_period_end else "immediate"
        cancellations.cancel(session, row, cancellations.Request(kind))
        body = billing.subscription(session, row)
    return answer({"subscription": body})


# API faults, and everything that is arranged.


@bp.post("/faults")
def arrange_fault() -> ResponseReturnValue:
    """Once, unless `times` says otherwise; `times: 0` until it is removed."""
    body = asked()
    fault, where = one_of(body, "fault", faults.FAULTS), scope({"times": 1} | body)
    method, path = faults.DEFAULT_PLACES.get(fault, (None, "/v1/"))
    where["method"] = str(body["method"]).upper() if body.get("method") else method
    where["path"] = str(body.get("path") or path)
    with auth.writing() as session:
        _arrange(session, "fault", fault, where)
    return answer({"fault": fault, **where})


@bp.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    with auth.writing() as session:
        overrides.remove(session, Override.kind == "fault")
    return "", 204


def override_body(row: Override) -> dict[str, Any]:
    names = ("id", "kind", "name", "session", "customer", "method", "path", "times", "seconds")
    return {name: getattr(row, name) for name in names}


@bp.get("/overrides")
def list_overrides() -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(items=[override_body(row) for row in overrides.in_force(session)])


@bp.post(f"/overrides/{NUMBER}/remove")
def remove_override(number: int) -> ResponseReturnValue:
    with auth.writing() as session:
        if not overrides.remove(session, Override.id == number):
            raise not_found(f"override {number} not found")
    return answer({"removed": number})


@bp.post("/overrides/clear")
def clear_overrides() -> ResponseReturnValue:
    with auth.writing() as session:
        count = overrides.remove(session)
    return answer({"removed": count})
