"""The operator's pages: everything about an order, a message or a letter, and the few buttons that are safe.

To everybody else these addresses do not exist (web/security.py). A button may be pressed twice: the second
press does nothing.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, NamedTuple

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import select

from storefront import aftercare, doorman, fulfillment, inbox, lifesigns, orders, outbox, support
from storefront.database import hold, writing
from storefront.extensions import db, flexprice
from storefront.flexprice import CAUSES, FlexpriceError, NotFound
from storefront.lifecycle import FOR_A_PERSON, OPEN, Fact, State, moves
from storefront.models import InboxMessage, Letter, Order

log = logging.getLogger(__name__)
bp = Blueprint("operator", __name__, url_prefix="/operator")

PATIENCE = 5.0  # seconds an operator waits for Flexprice
LONGEST_NOTE = 1000
AGES = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))
TONES = (
    {State.FULFILLED: "good", State.PAID: "wait"}
    | dict.fromkeys(OPEN, "wait")
    | dict.fromkeys(FOR_A_PERSON, "warn")
)


class Decision(NamedTuple):
    """What only a person can say; whether it fits the order's state is for the lifecycle to say."""

    fact: Fact
    act: Callable[[Order, datetime, str], bool]
    label: str
    done: str


DECISIONS = {
    "release": Decision(
        Fact.RELEASED, fulfillment.release, "Fulfil it as it is", "Released, to be fulfilled as it is"
    ),
    "refunded": Decision(
        Fact.REFUND_MADE, fulfillment.mark_refunded, "The money went back", "Marked as refunded"
    ),
}


@bp.context_processor
def words() -> dict[str, Any]:
    return {"tones": TONES, "causes": CAUSES, "now": datetime.now(UTC)}


@bp.app_template_filter()
def moment(when: datetime) -> str:
    """To the second: what came first matters to whoever looks for a fault."""
    return f"{when:%d %b %Y, %H:%M:%S} UTC"


@bp.app_template_filter()
def age(passed: timedelta) -> str:
    """How long, in the largest whole unit: 40 s, 5 min, 3 h, 12 days."""
    seconds = max(int(passed.total_seconds()), 0)
    size, unit = next(((size, unit) for size, unit in AGES if seconds >= size), AGES[-1])
    count = seconds // size
    return f"{count} {'day' if unit == 'days' and count == 1 else unit}"


# -- looking ----------------------------------------------------------------------------------------


@bp.get("/")
def index() -> Any:
    now = datetime.now(UTC)
    return render_template(
        "operator/index.html",
        worker_alive=lifesigns.is_alive(now),
        reasons=support.REASONS,
        by_reason=support.counts_by_reason(now),
        by_state=support.counts_by_state(),
        messages={name: support.count(InboxMessage, which) for name, which in support.MESSAGES.items()},
        letters={name: support.count(Letter, which) for name, which in support.LETTERS.items()},
        refused=doorman.by_cause(),
    )


@bp.get("/search")
def search() -> Any:
    words = request.args.get("q", "")[:255]
    found = support.search(words)
    if len(found.orders) == 1 and not found.messages and len(found.shoppers) <= 1:
        return redirect(url_for("operator.order", ref=found.orders[0].ref), 302)
    return render_template("operator/search.html", q=words, found=found)


@bp.get("/orders")
def all_orders() -> Any:
    show, oldest, number = listing()
    return render_template(
        "operator/orders.html",
        page=support.page_of(support.orders_of(show, datetime.now(UTC), oldest), number),
        show=show,
        oldest=oldest,
        reasons=support.REASONS,
        states=list(State),
    )


@bp.get("/messages")
def messages() -> Any:
    show, oldest, number = listing()
    page = support.page_of(support.messages_of(show, oldest), number)
    return render_template(
        "operator/messages.html", page=page, show=show, oldest=oldest, kinds=support.MESSAGES
    )


@bp.get("/letters")
def letters() -> Any:
    show, oldest, number = listing()
    page = support.page_of(support.letters_of(show, oldest), number)
    return render_template(
        "operator/letters.html", page=page, show=show, oldest=oldest, kinds=support.LETTERS
    )


def listing() -> tuple[str, bool, int]:
    """What a list is asked to show, whether the oldest come first, and which page of it."""
    args = request.args
    return args.get("show", ""), args.get("first") == "oldest", args.get("page", 1, type=int)


@bp.get("/refused")
def refused() -> Any:
    return render_template("operator/refused.html", by_cause=doorman.by_cause(), refusals=doorman.latest())


@bp.get("/orders/<ref>")
def order(ref: str) -> Any:
    order = the_order(ref)
    open_to = {name: choice for name, choice in DECISIONS.items() if order.state in moves(choice.fact)}
    return render_template("operator/order.html", case=support.case(order), decisions=open_to)


@bp.get("/message")  # its id may have any character in it, a slash too
def message() -> Any:
    found = db.session.get(InboxMessage, request.args.get("id", "")) or abort(404)
    about = orders.by_session(found.object_id) or orders.by_payment(found.object_id)
    return render_template(
        "operator/message.html",
        message=found,
        order=about or orders.by_ref(found.order_ref or ""),
        notes=support.notes("message", found.id),
    )


def the_order(ref: str) -> Order:
    return orders.by_ref(ref) or abort(404)


# -- doing ------------------------------------------------------------------------------------------


def typed(name: str) -> str:
    """What somebody wrote; PostgreSQL takes no NUL."""
    return request.form.get(name, "").replace("\0", "").strip()[:LONGEST_NOTE]


def deed(view: Callable[..., tuple[str, str]]) -> Callable[..., Any]:
    """A button: the view says what came of it and which page to go back to."""

    @wraps(view)
    def pressed(**place: Any) -> Any:
        outcome, back = view(**place)
        log.info("operator %s: %s: %s", current_user.email, request.path, outcome)
        flash(outcome, "info")
        return redirect(back, 303)

    return pressed


@bp.post("/orders/<ref>/ask")
@deed
def ask(ref: str) -> tuple[str, str]:
    """Ask Flexprice about this one order now; the answer goes the way every answer goes."""
    order, now = the_order(ref), datetime.now(UTC)
    before = order.state
    try:
        said = settled(order, now)
    except FlexpriceError as error:
        said = f"Flexprice could not be asked: {error}"
    with writing():
        after = the_order(ref).state
        outcome = f"{said} The order " + (
            f"is {after} now, was {before}." if after != before else f"stays {after}."
        )
        support.note(current_user.email, "order", ref, f"Asked Flexprice. {outcome}", now)
    return outcome, url_for("operator.order", ref=ref)


def settled(order: Order, now: datetime) -> str:
    """What Flexprice says, however long ago the order ended; it has reached the order by then."""
    if not order.session_id:
        return traced(order, now)
    try:
        session = flexprice().get_session(order.session_id, patience=PATIENCE)
    except NotFound:
        return "Flexprice does not know the session."
    money = aftercare.money_of(order) if order.settled else ""
    with writing():
        aftercare.watched(the_order(order.ref), session, money, now)
        orders.look_now(order.id, now)  # goods or receipt: the worker goes on at once
    return f"Flexprice says: {session.status}" + (f", payment {money}." if money else ".")


def traced(order: Order, now: datetime) -> str:
    if not order.opening_at:
        return "Flexprice has never been asked for a session."
    found = flexprice().search_subscriptions(order.shopper.external_id, aftercare.TRACES)
    with writing():
        fulfillment.recover(the_order(order.ref), found, now, patience=fulfillment.DRAFT_IS_LEFT_OVER)
        orders.look_now(order.id, now)
    return "The answer to the create was lost; looked for a subscription with our reference."


@bp.post("/orders/<ref>/decide")
@deed
def decide(ref: str) -> tuple[str, str]:
    """What only a person can decide: fulfil it as it is, or the money has gone back. Both want a reason."""
    decision = DECISIONS.get(request.form.get("decision", "")) or abort(400)
    now, back = datetime.now(UTC), url_for("operator.order", ref=ref)
    text = typed("note")
    if not text:
        return "Please write a note: the next person will want to know why.", back
    with writing():
        order = orders.held(ref) or abort(404)
        if order.state != request.form.get("state"):
            return f"The order is {order.state} by now. Nothing was done.", back
        if not decision.act(order, now, current_user.email):
            return f"That cannot be decided for an order that is {order.state}.", back
        support.note(current_user.email, "order", ref, f"{decision.done}: {text}", now)
    return f"{decision.done}.", back


@bp.post("/orders/<ref>/note")
@deed
def add_note(ref: str) -> tuple[str, str]:
    """A note; and the flag is cleared with it when that was asked for and is still the one that was read."""
    order, now = the_order(ref), datetime.now(UTC)
    text, flag = typed("note"), request.form.get("flag", "")
    back = url_for("operator.order", ref=ref)
    if not text:
        return "Please write a note: the next person will want to know why.", back
    with writing():
        hold(Order, order.id)
        if not flag and support.said_last(current_user.email, "order", ref, text):
            return "Noted.", back  # the same press once more
        if flag and not support.clear_flag(order.id, flag):
            return "The flag has changed or is gone already. Nothing was written.", back
        cleared = f"Flag cleared ({flag}): {text}" if flag else text
        support.note(current_user.email, "order", ref, cleared, now)
    return ("The flag is cleared." if flag else "Noted."), back


@bp.post("/message/again")
@deed
def read_again() -> tuple[str, str]:
    found = db.session.get(InboxMessage, typed("id")) or abort(404)
    now, was_handled = datetime.now(UTC), found.handled_at is not None
    message_id, back = found.id, url_for("operator.message", id=found.id)
    with writing():
        if not inbox.once_more(message_id, request.form.get("attempts", -1, type=int), now):
            return "It has been read again already, or is being read now.", back
        text = "Replayed" if was_handled else "Tried again now"
        support.note(current_user.email, "message", message_id, text, now)
    return f"{text}: the worker reads it within a second.", back


@bp.post("/letters/<int:letter_id>/again")
@deed
def post_again(letter_id: int) -> tuple[str, str]:
    letter = db.session.get(Letter, letter_id) or abort(404)
    now, ref = datetime.now(UTC), db.session.scalar(select(Order.ref).where(Order.id == letter.order_id))
    first = f"Letter “{letter.subject}” to be posted" + (
        f" again, after {letter.posted_at:%Y-%m-%d %H:%M} UTC" if letter.posted_at else " now"
    )
    back = url_for("operator.order", ref=ref) if ref else url_for("operator.letters")
    with writing():
        if not outbox.once_more(letter_id, request.form.get("attempts", -1, type=int), now):
            return "It has been posted again already, or is being posted now.", back
        subject = ("order", ref) if ref else ("letter", str(letter_id))
        support.note(current_user.email, *subject, first, now)
    return f"{first}. The worker posts it within a second.", back
