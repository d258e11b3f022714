"""Checkout sessions: /v1/checkout/sessions."""

import time

from flask import current_app, g, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from storefront.sandbox._previous import checkout, endings, outcomes, razorpay, switches, validation, views
from storefront.sandbox._previous.door import current_settings, newest_only, v1
from storefront.sandbox._previous.errors import not_found
from storefront.sandbox._previous.schema import sessions
from storefront.sandbox._previous.store import Body, current_store, find, save, seen

bp = v1("sandbox_sessions", __name__)

DEBOUNCE = 1  # [infer] the SDK says reads are debounced, not for how long


@bp.post("/checkout/sessions")
def create() -> ResponseReturnValue:
    asked = validation.json_object()
    with current_store().writing() as conn:
        session, refusal = checkout.create(
            conn, current_settings(), asked, aborted=g.get("fault") == "aborted"
        )
        shown = views.session(conn, session)
        if not refusal and session.get("mandate") == "no_action":
            outcomes.pay(conn, session)  # a saved token was charged; the news follows the answer
    if refusal:
        raise refusal
    return jsonify(shown), 201


@bp.get("/checkout/sessions/<session_id>")
def get(session_id: str) -> ResponseReturnValue:
    """The polling read: with the switch on it asks Razorpay first, and may find the session paid."""
    with current_store().reading() as conn:
        session = seen(conn, sessions, session_id)
        asks = (
            switches.read(conn, "polling_reads") == "settle" and switches.read(conn, "generation") == "newest"
        )
    if session is None:
        raise not_found(f"checkout session {session_id} not found", id=session_id)
    stale = _asked_just_now(session_id)
    if asks and not stale and session["checkout_status"] == "pending":
        session = _ask_razorpay(session_id)
    with current_store().reading() as conn:
        return jsonify(views.session(conn, session, polling=True, stale=stale))


def _ask_razorpay(session_id: str) -> Body:
    with current_store().writing() as conn:
        session = _need(conn, session_id, f"checkout session {session_id} not found")
        razorpay.asked(conn, session)
        return session


def _need(conn: Connection, session_id: str, message: str, **details: str) -> Body:
    session = find(conn, sessions, session_id)
    if session is None:
        raise not_found(message, **details)
    return session


def _asked_just_now(session_id: str) -> bool:
    asked: dict[str, float] = current_app.extensions.setdefault("sandbox_asked", {})
    at = time.monotonic()
    if at - asked.get(session_id, at - 60) < DEBOUNCE:
        return True
    if len(asked) > 10_000:
        asked.clear()
    asked[session_id] = at
    return False


@bp.delete("/checkout/sessions/<session_id>")
def delete(session_id: str) -> ResponseReturnValue:
    """Hides the row and nothing else: the link stays payable, and paying it sells nothing."""
    with current_store().writing() as conn:
        session = _need(conn, session_id, f"checkout session {session_id} not found or already archived")
        save(conn, sessions, session, status="archived")
    return "", 204


@bp.post("/checkout/sessions/<session_id>/cancel")
@newest_only
def cancel(session_id: str) -> ResponseReturnValue:
    with current_store().writing() as conn:
        message = f"checkout session {session_id} not found"
        session = _need(conn, session_id, message, id=session_id)
        if session["status"] != "published":
            raise not_found(message, id=session_id)  # [infer] a DELETEd one is not there to be cancelled
        endings.cancel(conn, session)
        return jsonify(views.session(conn, session))
