"""The levers, /_sandbox/…, for people (forms) and scripts (JSON): for one session, one customer, or all."""

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, delete, select, update

from storefront.sandbox._previous import (
    catalog,
    clock,
    due,
    endings,
    events,
    faults,
    journal,
    levers,
    outcomes,
    razorpay,
    switches,
)
from storefront.sandbox._previous.errors import Refusal, invalid, not_found
from storefront.sandbox._previous.schema import deliveries, metadata, payments, sessions, subscriptions
from storefront.sandbox._previous.schema import events as messages
from storefront.sandbox._previous.store import Body, current_store, find, pull, rfc3339

bp = Blueprint("sandbox_controls", __name__, url_prefix="/_sandbox")

HOME = "/_sandbox/"


@bp.before_app_request
def refuse_strangers() -> Response | None:
    """A page elsewhere may lead here; the levers, whichever door has them, it may not pull."""
    reads = request.method in ("GET", "HEAD", "OPTIONS")
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.path.startswith(HOME) and not reads:
        return Response("The levers are for this machine's own pages and scripts.\n", 403)
    return None


# What was asked, and how it is answered.


def asked() -> Body:
    """JSON whatever its content type says, so that a bare `curl -d` works; else a form's fields."""
    body = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else request.form.to_dict()


def done(**facts: Any) -> ResponseReturnValue:
    if not request.form or isinstance(request.get_json(force=True, silent=True), dict):
        return jsonify(facts)
    back = request.form.get("back", HOME)
    return redirect(back if back.startswith(HOME) else HOME, 303)


def one_of(body: Body, name: str, known: Any) -> str:
    value = body.get(name)
    if not isinstance(value, str) or value not in known:
        raise invalid(f"No such {name}", allowed_values=list(known))
    return value


def number(body: Body, name: str, most: float) -> float | None:
    try:
        value = float(body[name]) if body.get(name) not in (None, "") else None
    except (TypeError, ValueError):
        raise invalid(f"{name} is a number") from None
    if value is not None and not 0 <= value <= most:
        raise invalid(f"{name} is between 0 and {most:g}")
    return value


def scope(body: Body) -> Body:
    """`session`, `customer`, `times`: all optional; `target` is an id of either kind."""
    times = number(body, "times", 1_000_000)
    found: Body = {"times": int(times) if times else None, "seconds": number(body, "seconds", 86400)}
    target = str(body.get("target") or "").strip()
    named = {"session" if target.startswith("cs_") else "customer": target} if target else {}
    for name in ("session", "customer"):
        found[name] = str(body.get(name) or "").strip() or named.get(name)
    return found


# Time.


@bp.post("/clock")
def advance_clock() -> ResponseReturnValue:
    """Jumps; with `through` it walks: retries, sweeps and late news happen at their own time on the way."""
    body, app = asked(), current_app._get_current_object()  # type: ignore[attr-defined]
    text, sent = str(body.get("advance", "")), 0
    try:
        if body.get("through"):
            sent = due.walk(app, clock.seconds(text))
        else:
            with current_store().writing() as conn:
                clock.advance(conn, text)
    except ValueError as error:
        raise invalid(str(error)) from None
    with current_store().reading() as conn:
        return done(now=rfc3339(clock.now(conn)), sent=sent)


@bp.post("/sweep")
def sweep() -> ResponseReturnValue:
    with current_store().writing() as conn:
        expired = endings.sweep(conn)
    return done(expired=expired)


# Messages.


@bp.post("/webhooks")
def plan_deliveries() -> ResponseReturnValue:
    body = asked()
    mode, where = one_of(body, "mode", events.PLANS), scope(body)
    with current_store().writing() as conn:
        levers.arrange(conn, "delivery", mode, **where)
        if mode in ("normal", "twice"):
            kept = (deliveries.c.state == "held", deliveries.c.twist.is_(None))
            conn.execute(update(deliveries).where(*kept).values(state="due"))
            events.turn_round(conn)
    return done(mode=mode)


@bp.post("/deliver")
def deliver() -> ResponseReturnValue:
    return done(sent=due.run_due(current_app._get_current_object()))  # type: ignore[attr-defined]


@bp.post("/deliveries/<int(max=2147483647):delivery_id>/resend")
def resend(delivery_id: int) -> ResponseReturnValue:
    """The same message once more: same svix-id, same body, a fresh timestamp."""
    with current_store().writing() as conn:
        event_id = conn.execute(select(deliveries.c.event_id).where(deliveries.c.id == delivery_id)).scalar()
        if event_id is None:
            raise not_found(f"delivery {delivery_id} not found")
        events.enqueue(conn, event_id, "due", clock.now(conn).timestamp())
    return done(event_id=event_id)


@bp.post("/events/<event_id>/resend")
def resend_event(event_id: str) -> ResponseReturnValue:
    with current_store().writing() as conn:
        if conn.execute(select(messages.c.id).where(messages.c.id == event_id)).first() is None:
            raise not_found(f"message {event_id} not found")
        delivery_id = events.enqueue(conn, event_id, "due", clock.now(conn).timestamp())
    return done(event_id=event_id, delivery_id=delivery_id)


@bp.post("/events/resend")
def resend_all() -> ResponseReturnValue:
    """Every message (of one session), in the order in which they happened."""
    session_id = scope(asked())["session"]
    with current_store().writing() as conn:
        if session_id and find(conn, sessions, session_id) is None:
            raise not_found(f"checkout session {session_id} not found", id=session_id)
        ids = events.ids(conn, session_id)
        for event_id in ids:
            events.enqueue(conn, event_id, "due", clock.now(conn).timestamp())
    return done(resent=len(ids))


@bp.post("/signing")
def set_signing() -> ResponseReturnValue:
    return _switch("signing", "webhook_signing", ("svix", "native"))


@bp.post("/retries")
def set_retries() -> ResponseReturnValue:
    return _switch("retries", "webhook_retries", ("flexprice", "svix"))


def _switch(name: str, switch: str, known: tuple[str, ...]) -> ResponseReturnValue:
    value = one_of(asked(), name, known)
    with current_store().writing() as conn:
        pull(conn, f"switch:{switch}", value)
    return done(**{name: value})


@bp.post("/switch")
def turn_switch() -> ResponseReturnValue:
    """One switch, as a form sends it; /_sandbox/switches takes several as JSON."""
    body = asked()
    switch = switches.SWITCHES[one_of(body, "name", switches.SWITCHES)]
    value: Any = request.form.getlist("value") if switch.many else body.get("value")
    with current_store().writing() as conn:
        switches.turn(conn, body["name"], value)
    return done(name=body["name"], value=value)


# Payments.


@bp.post("/outcomes")
def plan_outcome() -> ResponseReturnValue:
    """Whatever card is used, this is what comes of the next payments."""
    body = asked()
    outcome, where = one_of(body, "outcome", outcomes.OUTCOMES), scope(body)
    with current_store().writing() as conn:
        levers.arrange(conn, "outcome", outcome, **where)
    return done(outcome=outcome)


@bp.post("/completions")
def plan_completion() -> ResponseReturnValue:
    """What Flexprice makes of the money: heard of late, handled twice at once, or half done."""
    body = asked()
    manner, where = one_of(body, "completion", outcomes.COMPLETIONS), scope(body)
    with current_store().writing() as conn:
        levers.arrange(conn, "completion", manner, **where)
    return done(completion=manner, seconds=where["seconds"])


@bp.post("/sessions/<session_id>/outcome")
def make_happen(session_id: str) -> ResponseReturnValue:
    """To this very session, now, as on its payment page."""
    body = asked()
    outcome = one_of(body, "outcome", outcomes.OUTCOMES)
    ways = {
        kind: one_of(body, kind, known)
        for kind, known in (("delivery", events.PLANS), ("completion", outcomes.COMPLETIONS))
        if body.get(kind)
    }
    with current_store().writing() as conn:
        session = find(conn, sessions, session_id)
        if session is None or session["link_state"] == "none":
            raise not_found(f"checkout session {session_id} not found", id=session_id)
        levers.for_session(conn, session_id, ways, number(body, "seconds", 86400))
        payment_id = outcomes.happen(conn, session, outcome)
        status = session["checkout_status"]
    return done(session=session_id, checkout_status=status, razorpay_payment_id=payment_id)


@bp.post("/sessions/<session_id>/paid-again")
def tell_again(session_id: str) -> ResponseReturnValue:
    """Razorpay sends `payment_link.paid` once more: that heals a completion which stopped half way."""
    with current_store().writing() as conn:
        session = find(conn, sessions, session_id)
        if session is None or session["link_state"] != "paid":
            raise not_found(f"paid checkout session {session_id} not found", id=session_id)
        razorpay.told_again(conn, session)
        journal.note(conn, "payment_link.paid again", session_id)
    return done(session=session_id, checkout_status=session["checkout_status"])


@bp.post("/sessions/<session_id>/overwrite")
def overwrite(session_id: str) -> ResponseReturnValue:
    """A completed one is written over by a clean-up that came too late: `status` failed or expired."""
    status = one_of(asked(), "status", ("failed", "expired"))
    with current_store().writing() as conn:
        session = find(conn, sessions, session_id)
        if session is None or session["checkout_status"] != "completed":
            raise not_found(f"completed checkout session {session_id} not found", id=session_id)
        endings.overwrite(conn, session, status)
    return done(session=session_id, checkout_status=status)


@bp.post("/sessions/<session_id>/repair")
def repair(session_id: str) -> ResponseReturnValue:
    """One that ended unpaid completes by hand, with money that came all the same and was not sent back."""
    with current_store().writing() as conn:
        session = find(conn, sessions, session_id)
        if session is None or not _repairable(conn, session):
            raise not_found(f"unpaid, ended checkout session {session_id} not found", id=session_id)
        if session["link_state"] != "paid":
            razorpay.take(conn, session)
        endings.repair(conn, session)
        journal.note(conn, "repaired", session_id)
    return done(session=session_id, checkout_status=session["checkout_status"])


def _repairable(conn: Connection, session: Body) -> bool:
    ended = session["checkout_status"] in ("failed", "expired") and not session.get("completed_at")
    payment = find(conn, payments, session.get("payment_id"))
    return ended and payment is not None and payment["payment_status"] != "REFUNDED"


@bp.post("/subscriptions/<subscription_id>/cancel")
def cancel_subscription(subscription_id: str) -> ResponseReturnValue:
    with current_store().writing() as conn:
        subscription = find(conn, subscriptions, subscription_id)
        if subscription is None or subscription["subscription_status"] != "active":
            raise not_found("Subscription not found")
        at_end = asked().get("at_period_end") in (True, "yes")
        endings.end_subscription(conn, subscription, at_period_end=at_end)
    return done(subscription=subscription)


# Bad days of the API.


@bp.post("/faults")
def arrange_fault() -> ResponseReturnValue:
    """Once, unless `times` says otherwise; `times: 0` until it is taken back."""
    body = asked()
    fault, where = one_of(body, "fault", faults.FAULTS), scope({"times": 1} | body)
    method, path = faults.PLACES.get(fault, (None, "/v1/"))
    where["method"] = str(body["method"]).upper() if body.get("method") else method
    where["path"] = str(body.get("path") or path)
    with current_store().writing() as conn:
        levers.arrange(conn, "fault", fault, **where)
    return done(fault=fault, **where)


@bp.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    with current_store().writing() as conn:
        levers.take_back(conn, levers.A.kind == "fault")
    return "", 204


# All of them.


@bp.get("/levers")
def list_levers() -> ResponseReturnValue:
    with current_store().reading() as conn:
        return jsonify(items=list(levers.in_force(conn)))


@bp.post("/levers/<int(max=2147483647):lever_id>/take-back")
def take_back(lever_id: int) -> ResponseReturnValue:
    with current_store().writing() as conn:
        if not levers.take_back(conn, levers.A.id == lever_id):
            raise not_found(f"lever {lever_id} not found")
    return done(taken_back=lever_id)


@bp.post("/levers/clear")
def clear_levers() -> ResponseReturnValue:
    with current_store().writing() as conn:
        count = levers.take_back(conn)
    return done(taken_back=count)


@bp.post("/reset")
def reset() -> ResponseReturnValue:
    """Back to the first minute: no customers, no sessions, the seeded plans, the right time."""
    if str(asked().get("sure")).lower() not in ("yes", "true"):
        raise Refusal("invalid_operation", "This forgets everything: send sure=yes")
    with current_store().writing() as conn:
        for table in metadata.sorted_tables:
            conn.execute(delete(table))
        catalog.seed(conn)
        journal.note(conn, "reset")
    return done(reset=True)
