"""The pages a shopper comes back to. They show; the worker acts."""

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from flask_login import current_user, login_required

from storefront import aftercare, fulfillment, inbox, orders, outbox, shoppers
from storefront.catalog import for_shoppers
from storefront.database import DatabaseBusy, writing
from storefront.extensions import db, flexprice
from storefront.flexprice import CheckoutSession, FlexpriceError, NoAnswer, NotFound, Refused, RouteMissing
from storefront.lifecycle import OPEN, Fact, State
from storefront.models import Order
from storefront.web import kept, pace, patience
from storefront.web.words import _

log = logging.getLogger(__name__)
bp = Blueprint("orders", __name__, url_prefix="/orders/<ref>")

SLOW_AFTER = 120  # seconds
PATIENCE = 4.0  # seconds a page waits for Flexprice
HALF_A_MINUTE = timedelta(seconds=30)  # "in 14 minutes" changes at the half
START_AGAIN_AFTER = timedelta(minutes=2)  # the create call has given up long before
LATE_MONEY = timedelta(minutes=2)  # so long money may be on its way behind an end
AFTER_THE_END = 5  # seconds between looks, at least

WAITED_FOR = OPEN | {State.PAID}

BEING_PREPARED = for_shoppers("The payment is still being prepared. Please try again in a minute.")
BEING_CANCELLED = for_shoppers("We have asked for it to be cancelled, and wait for the answer.")
STAYS_PAYABLE = for_shoppers("This payment cannot be cancelled: the link stays payable until it lapses.")

PHASES = {
    State.PAID: "paid",
    State.FULFILLED: "ready",
    State.FAILED: "failed",
    State.EXPIRED: "expired",
    State.CANCELLED: "cancelled",
    State.ABANDONED: "abandoned",
    State.MISMATCHED: "mismatched",
    State.PAID_LATE: "late",
    State.HELD: "held",
    State.PAID_TWICE: "twice",
    State.STUCK: "stuck",
    State.REFUNDED: "refunded",
}


@dataclass(frozen=True)
class Watch:
    """How the page goes on looking. `since`: when this shopper began to watch, in Unix seconds."""

    since: int
    delay: int
    status_url: str
    check_url: str
    can_start_again: bool


def page_goes_to_sign_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """htmx would put the sign-in page into the fragment's place: tell it to leave the page instead."""

    @wraps(view)
    def guarded(ref: str, *more: Any) -> Any:
        if "HX-Request" in request.headers and not current_user.is_authenticated:
            home = url_for("orders.success", ref=ref)
            return "", 401, {"HX-Redirect": url_for("account.sign_in", next=home)}
        return view(ref, *more)

    return guarded


@bp.get("/success")
@login_required
def success(ref: str) -> Any:
    return show(ref, "success")


@bp.get("/failure")
@login_required
def failure(ref: str) -> Any:
    return show(ref, "failure")


@bp.get("/status")
def status(ref: str) -> Any:
    """Asked again and again while somebody waits, so one query, and no more unless there is something new."""
    page = "success" if request.args.get("page") == "success" else "failure"
    now = datetime.now(UTC)
    order = orders.glance(ref, session.get("_user_id", ""))
    if order is None or order.state not in WAITED_FOR:
        return any_status(ref, page, now)
    ask_flexprice(order, now)
    return kept.for_one(
        "orders/_status.html", seen(order, page, now), lambda: look(ref, page, now, ask=False)
    )


@page_goes_to_sign_in
@login_required
def any_status(ref: str, page: str, now: datetime) -> Any:
    return render_template("orders/_status.html", **look(ref, page, now))


def seen(order: orders.Glance, page: str, now: datetime) -> Hashable:
    """All that the fragment of a waiting order depends on."""
    since = pace.since(now)
    watched = int(now.timestamp()) - since
    told = phase(order, page, watched), pace.delay(watched), can_start_again(order, now)
    time_left = (order.expires_at - now) // HALF_A_MINUTE if order.expires_at else None
    return page, since, told, time_left, orders.shown(order)


@bp.get("/receipt")
@login_required
def receipt(ref: str) -> Any:
    """To print or keep. There is none before the sale is whole."""
    order = own_order(ref)
    if order.state != State.FULFILLED:
        return redirect(url_for("orders.success", ref=ref), 302)
    return render_template("orders/receipt.html", order=order)


def show(ref: str, page: str) -> str:
    return render_template("orders/show.html", **look(ref, page, datetime.now(UTC)))


def look(ref: str, page: str, now: datetime, ask: bool = True) -> dict[str, Any]:
    order = own_order(ref)
    if ask:
        ask_flexprice(order, now)
    watch = watching(order, page, now)
    shown = phase(order, page, int(now.timestamp()) - watch.since)
    return {
        "order": order,
        "phase": afterwards(order, now) if shown == "ready" else shown,
        "watch": watch,
        "letter": outbox.of_order(order, "welcome") if order.state == State.FULFILLED else None,
        "now": now,
        "looks_on": looks_on(order, page, watch, now),
    }


def own_order(ref: str) -> Order:
    return orders.find(ref, current_user) or abort(404)


def ask_flexprice(order: Order | orders.Glance, now: datetime) -> None:
    """Now and then a look asks Flexprice; a terminal answer is filed for the worker."""
    if order.state != State.AWAITING_PAYMENT or (order.next_ask_at and order.next_ask_at > now):
        return
    try:
        with writing():
            mine = orders.claim_asking(order.id, now)
        if not mine:
            return
        session = flexprice().get_session(order.session_id or "", patience=PATIENCE)
        with writing():
            if session.terminal:
                inbox.note_answer(session.id, session.status, now)
            elif session.next_poll_after and session.next_poll_after > orders.ASK_AT_MOST_EVERY:
                orders.ask_later(order.id, now + session.next_poll_after)
    except (FlexpriceError, DatabaseBusy) as error:
        log.warning("order %s: could not ask just now: %s", order.ref, error or type(error).__name__)


def watching(order: Order, page: str, now: datetime) -> Watch:
    since = pace.since(now)
    delay = pace.delay(int(now.timestamp()) - since)
    return Watch(
        since=since,
        delay=max(delay, AFTER_THE_END) if order.settled else delay,
        status_url=url_for("orders.status", ref=order.ref, page=page, since=since),
        check_url=url_for(f"orders.{page}", ref=order.ref, since=since),
        can_start_again=can_start_again(order, now),
    )


def can_start_again(order: Order | orders.Glance, now: datetime) -> bool:
    return order.opening_at is not None and now - order.opening_at > START_AGAIN_AFTER


def looks_on(order: Order, page: str, watch: Watch, now: datetime) -> bool:
    """Until the end. Whoever comes back from paying to an unpaid end is shown late money, too."""
    if page == "success" and order.ended_unpaid:
        return now - max(datetime.fromtimestamp(watch.since, UTC), order.waiting_since) < LATE_MONEY
    return not order.settled


def phase(order: Order | orders.Glance, page: str, watched: int) -> str:
    """What is true of the order; the address it was reached by is only a hint for the words."""
    if order.state == State.PLACED:
        return "preparing" if order.opening_at else "unopened"
    if order.state == State.AWAITING_PAYMENT:
        if watched >= SLOW_AFTER:
            return "slow"
        just_back = page == "success" and watched < pace.LOOKS_AT[4]
        return "checking" if just_back or not order.payment_url else "waiting"
    return PHASES[State(order.state)]


def afterwards(order: Order, now: datetime) -> str:
    """What has become of a sale that was completed: no page says "open for you" when it is not."""
    if order.refunded_at:
        return "returned"
    held = shoppers.accesses(order.shopper_id, now)
    return "ready" if any(access.plan_id == order.plan_id for access in held) else "over"


@bp.post("/cancel")
@login_required
def cancel(ref: str) -> Any:
    order = own_order(ref)
    order_id, now = order.id, datetime.now(UTC)
    if order.is_open:
        try:
            problem = patience.wait_for(lambda: end_session(order_id, now), patience.SECONDS)
        except patience.TakesLonger:
            problem = BEING_CANCELLED
        if problem:
            flash(_(problem), "info")
    return redirect(url_for("orders.failure", ref=ref), 303)


def end_session(order_id: int, now: datetime) -> str:
    """Decision 11: end it at Flexprice first; what Flexprice answers is what the order becomes.

    Gives a sentence for the shopper when it could not be ended.
    """
    order = db.session.get_one(Order, order_id)
    if order.session_id is None:
        with writing():  # whoever may open it may also say that nobody does
            closed = orders.claim_opening(order_id, now) and orders.advance(
                order, Fact.SHOPPER_CANCELLED, now, opening_at=None
            )
            return "" if closed or not order.is_open else BEING_PREPARED
    with writing():
        orders.ask_cancel(order.id, now)
    session = ask_to_cancel(order, now)
    if session is None:
        return STAYS_PAYABLE
    with writing():
        fulfillment.settle(order, session, now)
    return ""


def ask_to_cancel(order: Order, now: datetime) -> CheckoutSession | None:
    """None when it cannot be cancelled. Only without an answer is it still open who ended the session."""
    session_id = order.session_id or ""
    try:
        session = flexprice().cancel_session(session_id)
        return replace(session, cancelled_at=session.cancelled_at or now)
    except Refused:  # it has ended already: how?
        return flexprice().get_session(session_id)
    except NoAnswer:
        raise
    except FlexpriceError as error:
        with writing():
            orders.take_back_cancel(order.id, now)
        if isinstance(error, RouteMissing | NotFound):  # an old server, or somebody deleted it there
            return None
        raise


@bp.post("/start-again")
@login_required
def start_again(ref: str) -> Any:
    """For an order whose answer was lost: look first, so that nobody is charged twice unnoticed."""
    order = own_order(ref)
    now = datetime.now(UTC)
    if order.state == State.PLACED and order.opening_at and order.session_id is None:
        found = flexprice().search_subscriptions(order.shopper.external_id, aftercare.TRACES)
        with writing():
            moved = fulfillment.recover(order, found, now, START_AGAIN_AFTER)
        if moved and order.state == State.ABANDONED:
            return redirect(url_for("plans.show", plan=order.plan_id), 303)
        if order.is_open:
            flash(
                _("A payment may still be under way for this order. Please give it a little longer."), "info"
            )
    return redirect(
        url_for("orders.failure", ref=ref, since=request.args.get("since", int(time.time()))), 303
    )
