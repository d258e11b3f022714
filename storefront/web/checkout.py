"""The story of a checkout: place the order, open its session, go and pay."""

import logging
import time
from contextlib import suppress
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
from storefront.lifecycle import Fact
from storefront.models import Order
from storefront.web import patience
from storefront.web.security import is_payment_url
from storefront.web.words import _

log = logging.getLogger(__name__)
bp = Blueprint("checkout", __name__)


@bp.post("/checkout")
def start() -> Any:
    """Answers 303 to the payment page, or to a page of ours that says why not."""
    if not current_user.is_authenticated:
        return redirect(url_for("account.sign_up", next=_plan_page()), 303)
    now, clicked = datetime.now(UTC), time.monotonic()
    offer = chosen_offer(now)
    if offer.refusal:
        flash(_(offer.refusal), "error")
        return redirect(_plan_page(), 303)
    try:
        with writing():
            order, new = orders.place(current_user, offer, now, opening=True)
            mine = new or orders.claim_opening(order.id, now)
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
    if mine:  # once, however many clicks there were (decision 6)
        open_session(order, now, patience.SECONDS - (time.monotonic() - clicked))
    return redirect(where_to_pay(order), 303)


def chosen_offer(now: datetime) -> Offer:
    """From our catalog, never from the browser: the form names the offer, not its price."""
    form = request.form
    plan_id = form.get("plan", "")
    shelf = catalog().fresh(now, orders.mismatch_seen_at(current_user, plan_id))
    return shelf.offer(plan_id, form.get("currency", ""), form.get("billing_period", "")) or abort(404)


def open_session(order: Order, now: datetime, seconds: float) -> None:
    """So long at most: later the order's page takes the shopper on as soon as the session is there."""
    order_id, wanted = order.id, session_request(order)
    with suppress(patience.TakesLonger):
        patience.wait_for(lambda: ask_for_session(order_id, wanted, now), seconds)


def ask_for_session(order_id: int, wanted: SessionRequest, now: datetime) -> None:
    order = db.session.get_one(Order, order_id)
    try:
        if order.created_at < now and paid_unnoticed(order, now):
            return
        session = _create(order, wanted)
    except (NoAnswer, SessionAlreadyOpen) as error:
        log.warning("order %s: the answer was lost (%s); waiting for its session", order.ref, error)
        return
    except FlexpriceError as error:
        with writing():
            _not_opened(order, error, now)
        if error.retryable or isinstance(error, NotAllowed):
            raise
        return
    with writing():
        orders.session_opened(order, session, now)


def paid_unnoticed(order: Order, now: datetime) -> bool:
    """Before the same key is used again: behind an answer such as 502 a session may have been paid (C.4)."""
    if order.shopper.flexprice_id is None:
        return False
    try:
        found = flexprice().search_subscriptions(order.shopper.external_id, aftercare.TRACES)
    except NotFound:
        return False
    except (NotAllowed, Unavailable):
        raise
    except FlexpriceError as error:  # no session was asked for, whatever became of the question
        raise NeverSent(f"it could not be looked for an earlier payment: {error}") from error
    with writing():
        return fulfillment.find_payment(order, found, now)


def _create(order: Order, wanted: SessionRequest) -> CheckoutSession:
    """One call when the customer exists. A customer Flexprice has lost is made again, once."""
    if order.shopper.flexprice_id is None:
        know_customer(order)
        return flexprice().create_session(wanted)
    try:
        return flexprice().create_session(wanted)
    except CustomerMissing:
        log.warning("order %s: Flexprice does not know the customer; making them again", order.ref)
        know_customer(order)
        return flexprice().create_session(wanted)


def know_customer(order: Order) -> None:
    try:
        customer_id = shoppers.create_customer(flexprice(), order.shopper)
    except NoAnswer as error:  # about the customer: no session was asked for, so there is none to wait for
        raise NeverSent(f"the customer could not be made: {error}") from error
    with writing():
        order.shopper.flexprice_id = customer_id


def _not_opened(order: Order, error: FlexpriceError, now: datetime) -> None:
    """Flexprice was not reached, or said no: the same key may be used again, or the order ends here."""
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


def where_to_pay(order: Order) -> str:
    """The payment page; without one, the order's page, which waits."""
    url = order.payment_url
    if order.is_open and url and is_payment_url(url):
        return url
    if url and not is_payment_url(url):
        log.error("order %s: its payment address is not on a payment host; not sent there", order.ref)
    return url_for("orders.failure", ref=order.ref)


def _plan_page() -> str:
    form = request.form
    return url_for(
        "plans.show",
        plan=form.get("plan", "")[:64] or abort(400),
        period=form.get("billing_period"),
        currency=form.get("currency"),
    )
