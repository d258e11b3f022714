"""What an operator can do. Each action writes a note into the audit trail; pressed twice it happens once."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from storefront.checkout import orders
from storefront.checkout.context import commit, rollback
from storefront.checkout.webhooks import retry
from storefront.extensions import db
from storefront.models import WebhookEvent
from storefront.operations import audit, emails
from storefront.operations.access import form_int, form_text
from storefront.operations.operator.decisions import DECISIONS, digest
from storefront.operations.operator.pages import bp, the_order

log = logging.getLogger(__name__)

NOTE_NEEDED = "Add a note that says why: it stays with the order."
DONE_BEFORE = "This was done already."


def by_operator() -> str:
    return f"operator:{current_user.email}"[:320]


def record(action: str, subject: str, subject_id: str, text: str) -> bool:
    """Add the audit note of this request; False when its form was sent before."""
    key = request.form.get("form_key", "")
    if key and not (len(key) == 32 and key.isalnum() and key.isascii()):
        abort(400)
    return audit.add(current_user.email, action, subject, subject_id, text, key or None)


def operator_action(view: Callable[..., tuple[str, str]]) -> Callable[..., ResponseReturnValue]:
    """A button: the view returns what came of it and which page to go back to."""

    @wraps(view)
    def wrapper(**arguments: Any) -> ResponseReturnValue:
        message, back = view(**arguments)
        log.info("operator %s: %s: %s", current_user.email, request.url_rule, message)
        flash(message, "info")
        return redirect(back, 303)

    return wrapper


# -- orders -----------------------------------------------------------------------------------------


@bp.post("/orders/<ref>/check")
@operator_action
def check_now(ref: str) -> tuple[str, str]:
    """Let the worker ask Flexprice about this order now."""
    order, back = the_order(ref), url_for("operator.order", ref=ref)
    if not record("check", "order", ref, "Check with Flexprice requested"):
        return DONE_BEFORE, back
    orders.check_now(order)
    commit()
    return "The worker checks this order with Flexprice now. Reload the page in a moment.", back


@bp.post("/orders/<ref>/decide")
@operator_action
def decide(ref: str) -> tuple[str, str]:
    """Needs a reason, and the state that the operator saw."""
    order, back = the_order(ref), url_for("operator.order", ref=ref)
    name, reason = request.form.get("decision", ""), form_text("note")
    decision = DECISIONS.get(name) or abort(400)
    if not reason:
        return NOTE_NEEDED, back
    if order.state != request.form.get("state"):
        return f"The order is {order.state} now. Nothing was done.", back
    if not record(name, "order", ref, f"{decision.done}: {reason}"):
        return DONE_BEFORE, back
    if not decision.act(order, by_operator(), reason):
        state = order.state
        rollback()
        return f"This cannot be decided for an order that is {state}.", back
    commit()
    return f"{decision.done}.", back


@bp.post("/orders/<ref>/note")
@operator_action
def add_note(ref: str) -> tuple[str, str]:
    """Write a note; with `clear` also remove the review note, if it is still the one that was shown."""
    order, back = the_order(ref), url_for("operator.order", ref=ref)
    text, clear, shown = form_text("note"), form_text("clear"), order.review_note
    if not text:
        return NOTE_NEEDED, back
    if clear and clear != digest(shown):
        return "The review note has changed. Nothing was done.", back
    written = f"Review note cleared ({shown}): {text}" if clear else text
    if not record("clear" if clear else "note", "order", ref, written):
        return DONE_BEFORE, back
    if clear and not orders.change(order, {"review_note": None}, review_note=shown):
        rollback()
        return "The review note has changed. Nothing was done.", back
    commit()
    return ("Review note cleared." if clear else "Note added."), back


# -- events and emails ------------------------------------------------------------------------------


@bp.post("/event/retry")  # an event's id may contain any character, a slash too
@operator_action
def retry_event() -> tuple[str, str]:
    """Have an event processed again: every effect can happen only once."""
    event_id, back = _event()
    if not record("retry", "event", event_id, "Retry requested"):
        return DONE_BEFORE, back
    retry(event_id)  # commits
    return "The worker processes the event now. Reload the page in a moment.", back


@bp.post("/event/review")
@operator_action
def review_event() -> tuple[str, str]:
    """Take an event off the list of what needs attention."""
    event_id, back = _event()
    text = form_text("note")
    if not text:
        return "Add a note that says why: it stays with the event.", back
    if not record("reviewed", "event", event_id, f"Marked as reviewed: {text}"):
        return DONE_BEFORE, back
    commit()
    return "Marked as reviewed.", back


def _event() -> tuple[str, str]:
    event = db.session.get(WebhookEvent, request.form.get("id", "")[:300]) or abort(404)
    return event.id, url_for("operator.event", id=event.id)


@bp.post("/emails/<int(max=2147483647):email_id>/retry")
@operator_action
def retry_email(email_id: int) -> tuple[str, str]:
    """Send an email now, also one that was sent or given up."""
    email, attempts = the_email(email_id), form_int("attempts")
    ref = email.order.ref if email.order else ""
    back = url_for("operator.order", ref=ref) if ref else url_for("operator.all_emails")
    if email.attempts != attempts:
        return "It has been tried again already.", back
    before = f", sent before at {email.sent_at:%Y-%m-%d %H:%M} UTC" if email.sent_at else ""
    text = f"Email {email.topic.replace('_', ' ')}: send again requested{before}"
    if not record("retry", *(("order", ref) if ref else ("email", str(email_id))), text):
        return DONE_BEFORE, back
    if not emails.send_again(email_id, attempts):  # commits
        return "It is being sent already.", back
    return "The email is sent now. Reload the page in a moment.", back


def the_email(email_id: int) -> Any:
    found = db.session.get(emails.Email, email_id) if emails.in_use() else None
    return found or abort(404)
