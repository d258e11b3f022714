"""Checkout sessions: /v1/checkout/sessions."""

from datetime import timedelta

from flask import g, jsonify
from flask.typing import ResponseReturnValue

from ..engine import checkout, razorpay, session_lifecycle, switches
from ..engine.errors import not_found
from ..store.database import Session
from ..store.rows import CheckoutSession, ProviderLink
from . import auth, requests, validation
from .serializers.checkout import checkout_session, poll_after_ms
from .serializers.common import Body, in_nanoseconds

bp = auth.v1("sandbox_checkout_sessions", __name__)

CREATED_TIMES = ("created_at", "updated_at", "expires_at")


@bp.post("/checkout/sessions")
def create() -> ResponseReturnValue:
    external_id, asked, options = validation.checkout_session(requests.json_body())
    with auth.writing() as session:
        customer = checkout.published_customer(session, external_id)
        aborted = g.get("fault") == "aborted"
        created = checkout.sell_subscription(session, customer, asked, options, aborted=aborted)
        shown = in_nanoseconds(
            checkout_session(session, created.session, result=created.result), *CREATED_TIMES
        )
        if created.refusal is None and created.session.mandate == "no_action":
            _charge_saved_method(session, created.session)
    if created.refusal:
        raise created.refusal
    return jsonify(shown), 200 if created.result == "failed_already_exists" else 201


def _charge_saved_method(session: Session, row: CheckoutSession) -> None:
    """A saved token is charged at once; the events follow the answer."""
    razorpay.pay(session, session.need(ProviderLink, row.link_id))


@bp.get("/checkout/sessions/<session_id>")
def get(session_id: str) -> ResponseReturnValue:
    """Legacy: a plain read. Newest: asks Razorpay first, once per wait, and may settle the session."""
    with auth.reading() as session:
        row = session.get(CheckoutSession, session_id)
        if row is None:
            raise not_found(f"checkout session {session_id} not found", id=session_id)
        settles = switches.read(session, "polling_reads") == "settle" and not switches.is_legacy(session)
        asks = settles and session.lag is None
        stale = asks and _asked_just_now(session, row)
        body = checkout_session(session, row, stale=stale)
    if asks and not stale and row.checkout_status == "pending":
        body = _ask_razorpay(session_id)
    return jsonify(body)


def _asked_just_now(session: Session, row: CheckoutSession) -> bool:
    if row.asked_at is None or not row.names_payment:
        return not row.names_payment
    return session.now() - row.asked_at < timedelta(milliseconds=poll_after_ms(session, row))


def _ask_razorpay(session_id: str) -> Body:
    with auth.writing() as session:
        row = session.need(CheckoutSession, session_id)
        row.asked_at = session.now()
        if row.checkout_status == "pending":
            razorpay.ask(session, row)
        return checkout_session(session, row)


@bp.delete("/checkout/sessions/<session_id>")
def delete(session_id: str) -> ResponseReturnValue:
    """Hides the row. The link stays payable, and paying it sells nothing."""
    with auth.writing() as session:
        row = session.get(CheckoutSession, session_id)
        if row is None:
            raise not_found(f"checkout session {session_id} not found or already archived")
        session_lifecycle.delete(session, row)
    return "", 204


@bp.post("/checkout/sessions/<session_id>/cancel")
@auth.newest_only
def cancel(session_id: str) -> ResponseReturnValue:
    with auth.writing() as session:
        row = session.get(CheckoutSession, session_id)
        if row is None or row.status != "published":
            # [infer] a DELETEd session is not found
            raise not_found(f"checkout session {session_id} not found", id=session_id)
        session_lifecycle.cancel(session, row)
        return jsonify(checkout_session(session, row))
