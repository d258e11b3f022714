"""The story of a checkout: place the order, open its session, go and pay."""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask_login import current_user

from storefront import aftercare, fulfillment, orders, shoppers
from storefront.catalog import Offer
from storefront.database import writing
from storefront.extensions import catalog, db, flexprice, settings
from storefront.flexprice import (
    CheckoutSession,
    CustomerMissing,
    FlexpriceError,
    NeverSent,
    NoAnswer,
    NotAllowed,
    NotFound,
    SessionAlreadyOpen,
    SessionRequest,
    Unavailable,
)
from storefront.lifecycle import Fact, State
from storefront.models import Order
from storefront.web import patience
from storefront.web.security import is_payment_url
from storefront.web.words import _

log = logging.getLogger(__name__)
bp = Blueprint("checkout", __name__)


@dataclass(frozen=True)
class Opening:
    """What it takes to ask for a session, when no row may be held meanwhile."""

    order_id: int
    wanted: SessionRequest
    asked_before: bool
    known_customer: bool  # at Flexprice, as far as we know


@bp.post("/checkout")
def start() -> Any:
    """Answers 303 to the payment page, or to a page of ours that says why not."""
    if not current_user.is_authenticated:
        return redirect(url_for("account.sign_up", next=_plan_page()), 303)
    now, clicked, shopper_id = datetime.now(UTC), time.monotonic(), current_user.id
    offer = chosen_offer(shopper_id, now)
    if offer.refusal:
        flash(_(offer.refusal), "error")
        return redirect(_plan_page(), 303)
    try:
        with writing():
            order, new = orders.place(shopper_id, offer, now, opening=True)
            mine = new or orders.claim_opening(order.id, now)  # one click of many (decision 6)
            opening = opening_of(order, new) if mine else None
            ref, link = order.ref, order.link
    except orders.AlreadyYours:
        flash(_("You have %(plan)s already.", plan=offer.plan_name), "info")
        return redirect(url_for("account.show"), 303)
    except orders.AlreadyPaid as paid:
        said = _("You have paid for %(plan)s. Please do not pay again: see below.", plan=offer.plan_name)
        flash(said, "info")
        return redirect(url_for("orders.success", ref=paid.order.ref), 303)
    except orders.AnotherOfferOpen as open_payment:
        said = _(
            "You have an open payment for %(plan)s: continue it or cancel it first.", plan=offer.plan_name
        )
        flash(said, "info")
        return redirect(url_for("orders.failure", ref=open_payment.order.ref), 303)
    if opening:
        link = open_session(opening, now, patience.SECONDS - (time.monotonic() - clicked))
    return redirect(where_to_pay(ref, link), 303)


def chosen_offer(shopper_id: int, now: datetime) -> Offer:
    """From our catalog, never from the browser: the form names the offer, not its price."""
    form = request.form
    plan_id = form.get("plan", "")
    shelf = catalog().fresh(now, orders.mismatch_seen_at(shopper_id, plan_id))
    return shelf.offer(plan_id, form.get("currency", ""), form.get("billing_period", "")) or abort(404)


def opening_of(order: Order, new: bool) -> Opening:
    known = order.shopper.flexprice_id is not None
    return Opening(order.id, session_request(order), not new, known)


def open_session(opening: Opening, now: datetime, seconds: float) -> str | None:
    """The payment link. After so long none: the order's page takes the shopper on as soon as it is there."""
    with suppress(patience.TakesLonger):
        return patience.wait_for(lambda: ask_for_session(opening, now), seconds)
    return None


def ask_for_session(opening: Opening, now: datetime) -> str | None:
    ref = opening.wanted.idempotency_key
    try:
        if opening.asked_before and paid_unnoticed(opening, now):
            return None
        session = _create(opening)
    except (NoAnswer, SessionAlreadyOpen) as error:
        log.warning("order %s: the answer was lost (%s); waiting for its session", ref, error)
        return None
    except FlexpriceError as error:
        with writing():
            _not_opened(opening.order_id, error, now)
        if error.retryable or isinstance(error, NotAllowed):
            raise
        return None
    with writing():
        return orders.session_opened(opening.order_id, session, now).link


def paid_unnoticed(opening: Opening, now: datetime) -> bool:
    """Before the same key is used again: behind an answer such as 502 a session may have been paid (C.4).

    Whoever else has found it, or ended the order meanwhile: no session is asked for then.
    """
    if not opening.known_customer:
        return False
    try:
        found = flexprice().search_subscriptions(opening.wanted.customer_external_id, aftercare.TRACES)
    except NotFound:
        return False
    except (NotAllowed, Unavailable):
        raise
    except FlexpriceError as error:  # no session was asked for, whatever became of the question
        raise NeverSent(f"it could not be looked for an earlier payment: {error}") from error
    with writing():
        order = db.session.get_one(Order, opening.order_id)
        return fulfillment.find_payment(order, found, now) or order.state != State.PLACED


def _create(opening: Opening) -> CheckoutSession:
    """One call when the customer exists. A customer Flexprice has lost is made again, once."""
    if not opening.known_customer:
        know_customer(opening)
        return flexprice().create_session(opening.wanted)
    try:
        return flexprice().create_session(opening.wanted)
    except CustomerMissing:
        log.warning(
            "order %s: Flexprice does not know the customer; making them again",
            opening.wanted.idempotency_key,
        )
        know_customer(opening)
        return flexprice().create_session(opening.wanted)


def know_customer(opening: Opening) -> None:
    shopper = db.session.get_one(Order, opening.order_id).shopper
    try:
        customer_id = shoppers.create_customer(flexprice(), shopper)
    except NoAnswer as error:  # about the customer: no session was asked for, so there is none to wait for
        raise NeverSent(f"the customer could not be made: {error}") from error
    with writing():
        shopper.flexprice_id = customer_id


def _not_opened(order_id: int, error: FlexpriceError, now: datetime) -> None:
    """Flexprice was not reached, or said no: the same key may be used again, or the order ends here."""
    order = db.session.get_one(Order, order_id)
    log.warning("order %s: no session: %s (request %s)", order.ref, error, error.request_id)
    if error.retryable or isinstance(error, NotAllowed):
        orders.release_opening(order.id)
    else:
        orders.advance(order, Fact.SESSION_REFUSED, now, flag=f"Flexprice refused the session: {error.code}")


def session_request(order: Order) -> SessionRequest:
    base = settings().storefront_url
    failure = base + url_for("orders.failure", ref=order.ref)
    return SessionRequest(
        customer_external_id=order.shopper.external_id,
        plan_id=order.plan_id,
        currency=order.currency,
        billing_period=order.billing_period,
        idempotency_key=order.ref,
        success_url=base + url_for("orders.success", ref=order.ref),
        failure_url=failure,
        cancel_url=failure,
    )


def where_to_pay(ref: str, link: str | None) -> str:
    """The payment page; without one, the order's page, which waits."""
    if link and is_payment_url(link):
        return link
    if link:
        log.error("order %s: its payment address is not on a payment host; not sent there", ref)
    return url_for("orders.failure", ref=ref)


def _plan_page() -> str:
    form = request.form
    return url_for(
        "plans.show",
        plan=form.get("plan", "")[:64] or abort(400),
        period=form.get("billing_period"),
        currency=form.get("currency"),
    )
