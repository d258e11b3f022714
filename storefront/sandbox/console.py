"""Behind the curtain, /_sandbox/: what happened, and the levers, for people (forms) and for tests (JSON)."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, select, update

from storefront.sandbox import checkout, clock, events, faults
from storefront.sandbox.errors import invalid, not_found
from storefront.sandbox.schema import deliveries, sessions, subscriptions
from storefront.sandbox.schema import events as events_table
from storefront.sandbox.store import Body, current_store, find, lever, pull, rfc3339

bp = Blueprint("sandbox_console", __name__, url_prefix="/_sandbox")

SHOWN = 200  # rows, newest first


@bp.after_request
def protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'self'; form-action 'self'"
    response.headers["Cache-Control"] = "no-store"
    return response


def asked() -> Body:
    """JSON whatever its content type says, so that a bare `curl -d` works; else a form's fields."""
    body = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else request.form.to_dict()


def done(**facts: Any) -> ResponseReturnValue:
    from_form = request.form and not isinstance(request.get_json(force=True, silent=True), dict)
    return redirect(url_for("sandbox_console.page"), 303) if from_form else jsonify(facts)


def recent_sessions(conn: Connection) -> list[Body]:
    return list(conn.execute(select(sessions.c.body).order_by(sessions.c.id.desc()).limit(SHOWN)).scalars())


def active_among(conn: Connection, shown: list[Body]) -> set[str]:
    ids = [session.get("subscription_id") for session in shown]
    active = subscriptions.c.subscription_status == "active"
    return set(conn.execute(select(subscriptions.c.id).where(subscriptions.c.id.in_(ids), active)).scalars())


def recent_deliveries(conn: Connection) -> list[Body]:
    event = events_table.c
    columns = (event.event_type, event.entity_id, event.body)
    query = select(deliveries, *columns).join(events_table, event.id == deliveries.c.event_id)
    rows = conn.execute(query.order_by(deliveries.c.id.desc()).limit(SHOWN)).mappings()
    return [dict(row) | {"due_at": rfc3339(datetime.fromtimestamp(row["due_at"], UTC))} for row in rows]


@bp.get("/")
def page() -> ResponseReturnValue:
    with current_store().reading() as conn:
        shown = recent_sessions(conn)
        return render_template(
            "sandbox/console.html",
            now=rfc3339(clock.now(conn).replace(microsecond=0)),
            mode=lever(conn, "webhook_mode", "normal"),
            modes=events.STATE_IN_MODE,
            faults=faults.FAULTS,
            sessions=shown,
            active=active_among(conn, shown),
            deliveries=recent_deliveries(conn),
        )


@bp.get("/sessions")
def list_sessions() -> ResponseReturnValue:
    with current_store().reading() as conn:
        return jsonify(items=recent_sessions(conn))


@bp.get("/deliveries")
def list_deliveries() -> ResponseReturnValue:
    with current_store().reading() as conn:
        return jsonify(items=recent_deliveries(conn))


@bp.post("/clock")
def advance_clock() -> ResponseReturnValue:
    with current_store().writing() as conn:
        try:
            moment = clock.advance(conn, str(asked().get("advance", "")))
        except ValueError as error:
            raise invalid(str(error)) from None
    return done(now=rfc3339(moment))


@bp.post("/sweep")
def sweep() -> ResponseReturnValue:
    with current_store().writing() as conn:
        expired = checkout.sweep(conn)
    return done(expired=expired)


@bp.post("/webhooks")
def set_webhook_mode() -> ResponseReturnValue:
    mode = asked().get("mode")
    if mode not in events.STATE_IN_MODE:
        raise invalid("No such mode", allowed_values=list(events.STATE_IN_MODE))
    with current_store().writing() as conn:
        pull(conn, "webhook_mode", mode)
        if mode in ("normal", "twice"):
            conn.execute(update(deliveries).where(deliveries.c.state == "held").values(state="due"))
    return done(mode=mode)


@bp.post("/deliveries/<int:delivery_id>/resend")
def resend(delivery_id: int) -> ResponseReturnValue:
    """The same message once more: same svix-id, same body, a fresh timestamp."""
    with current_store().writing() as conn:
        event_id = conn.execute(select(deliveries.c.event_id).where(deliveries.c.id == delivery_id)).scalar()
        if event_id is None:
            raise not_found(f"delivery {delivery_id} not found")
        events.enqueue(conn, event_id, "due", clock.now(conn).timestamp())
    return done(event_id=event_id)


@bp.post("/subscriptions/<subscription_id>/cancel")
def cancel_subscription(subscription_id: str) -> ResponseReturnValue:
    with current_store().writing() as conn:
        subscription = find(conn, subscriptions, subscription_id)
        if subscription is None or subscription["subscription_status"] != "active":
            raise not_found("Subscription not found")
        checkout.end_subscription(conn, subscription, at_period_end=asked().get("at_period_end") is True)
    return done(subscription=subscription)


@bp.post("/faults")
def arrange_fault() -> ResponseReturnValue:
    body = asked()
    if body.get("fault") not in faults.FAULTS:
        raise invalid("No such fault", allowed_values=list(faults.FAULTS))
    try:
        times, seconds = (
            int(body.get("times") or 1),
            float(body.get("seconds") or faults.SECONDS.get(body["fault"], 0)),
        )
    except (TypeError, ValueError):
        raise invalid("times and seconds are numbers") from None
    if not 0 <= seconds <= 600:
        raise invalid("seconds are between 0 and 600")
    path, method = str(body.get("path") or "/v1/"), body.get("method")
    with current_store().writing() as conn:
        faults.arrange(conn, body["fault"], path, str(method).upper() if method else None, times, seconds)
    return done(fault=body["fault"], path=path, method=method, times=times, seconds=seconds)


@bp.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    with current_store().writing() as conn:
        faults.clear(conn)
    return "", 204
