"""The pages: plans, the click, coming back; what protects them at the end. They show; the worker acts."""

import logging
import time
from datetime import timedelta
from typing import Any

from flask import Flask, Response, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ..flexprice import AuthenticationError, FlexpriceError, InvalidRequest, NoAnswer, NotFound, is_loopback
from . import context, orders, purchase, reconciliation
from .context import PAGE_TIMEOUT_S, ask, checkout, commit, db_now, is_payment_url, return_url, rollback
from .models import Customer, OrderMixin
from .offers import Offer
from .phases import CAN_PAY, CAN_TRY_AGAIN, is_polling, phase_of, poll_delay_s
from .states import State, Trigger

log = logging.getLogger(__name__)

MIN_CHECK_INTERVAL = timedelta(seconds=3)  # between two questions to Flexprice about one order
NOT_SET_UP = "Payments are not set up here yet."
UNAVAILABLE = (
    "Our prices are not available at the moment. This request did not charge you. Try again in a minute."
)


# -- plans ------------------------------------------------------------------------------------------


def plans() -> ResponseReturnValue:
    """Show all plans in the chosen currency and billing period."""
    snapshot = ask(checkout().catalog.current)
    currencies, periods = snapshot.currencies, snapshot.billing_periods
    return page(
        "plans.html",
        plans=snapshot.plans,
        stale=snapshot.stale,
        currencies=currencies,
        billing_periods=periods,
        currency=_choice("currency", currencies),
        billing_period=_choice("billing_period", periods),
        owned=_owned_plans(),
    )


def plan(plan_id: str) -> ResponseReturnValue:
    """Show one plan in the chosen currency and billing period."""
    customer = checkout().hooks.customer_loader()
    mismatched_at = orders.mismatched_at(customer.key, usable_id(plan_id)) if customer else None
    snapshot = ask(checkout().catalog.current, mismatched_at)
    shown = snapshot.plan(plan_id) or abort(404)
    currency = _choice("currency", list(dict.fromkeys(c for c, _ in shown.offers)))
    period = _choice("billing_period", [p for c, p in shown.offers if c == currency])
    return page(
        "plan.html",
        plan=shown,
        offer=shown.offer(currency, period),
        currency=currency,
        billing_period=period,
        owned=_owned_plans(),
        stale=snapshot.stale,
    )


def _choice(name: str, known: list[str]) -> str:
    asked = request.args.get(name, "")
    return next((value for value in known if value.lower() == asked.lower()), known[0] if known else "")


def _owned_plans() -> set[str]:
    customer = checkout().hooks.customer_loader()
    return orders.owned_plans(customer.key) if customer else set()


# -- the click --------------------------------------------------------------------------------------


def start() -> ResponseReturnValue:
    """Answers 303 to the payment page, or to a page of ours that says why not."""
    customer = checkout().hooks.customer_loader()
    if customer is None:
        return redirect(login_url(_plan_url()), 303)
    offer = _chosen_offer(customer)
    if offer.refusal:
        return message("This plan cannot be bought here", offer.refusal, _plan_url(), 422)
    for hook in checkout().hooks.before_start:
        if (response := hook(customer, offer)) is not None:
            return response
    try:
        order = buy(customer, offer)
    except purchase.AlreadyOwned as owned:
        return redirect(url_for("checkout.success", ref=owned.order.ref), 303)
    except purchase.OpenOrderExists as other:
        return redirect(url_for("checkout.failure", ref=other.order.ref, other_offer=1), 303)
    return redirect(where_to_pay(order), 303)


def buy(customer: Customer, offer: Offer) -> OrderMixin:
    """Place the order and open its session, once however often it is clicked."""
    order, claimed = purchase.place_order(customer, offer, return_url)
    waited = db_now() - (order.session_requested_at or db_now())
    lost = not claimed and order.state == State.PLACED and waited > reconciliation.RESTART_AFTER
    if lost and reconciliation.restart(order):  # no answer came to its create call: begin again
        order, claimed = purchase.place_order(customer, offer, return_url)
    if claimed:
        purchase.open_session(order, by="customer")
    return order


def where_to_pay(order: OrderMixin) -> str:
    """The payment page; without one, the order's page, which waits."""
    if order.is_open and is_payment_url(order.payment_url):
        return order.payment_url or ""
    if order.is_open and order.payment_url:
        log.error("order %s: its payment URL is on no payment host; nobody is sent there", order.ref)
    return url_for("checkout.failure", ref=order.ref)


def _chosen_offer(customer: Customer) -> Offer:
    """From our catalog, never from the browser: the form names the offer, not its price."""
    form, plan_id = request.form, usable_id(request.form.get("plan", ""), 400)
    mismatched_at = orders.mismatched_at(customer.key, plan_id)  # prices read before that are old
    snapshot = ask(checkout().catalog.for_sale, mismatched_at)
    plan = snapshot.plan(plan_id)
    offer = plan.offer(form.get("currency", ""), form.get("billing_period", "")) if plan else None
    return offer or abort(404)


def usable_id(text: str, status: int = 404) -> str:
    """The text when it can be an id; PostgreSQL refuses to look for a NUL."""
    return text if 0 < len(text) <= 255 and text.isprintable() else abort(status)


def _plan_url() -> str:
    chosen: dict[str, Any] = {name: request.form.get(name) for name in ("currency", "billing_period")}
    return url_for("checkout.plan", plan_id=usable_id(request.form.get("plan", ""), 400), **chosen)


# -- coming back ------------------------------------------------------------------------------------


def success(ref: str) -> ResponseReturnValue:
    """Show the order to a customer who comes back from paying. The address proves no payment."""
    return show(ref, "success")


def failure(ref: str) -> ResponseReturnValue:
    """Show the order to a customer who has not paid, or waits for the payment page."""
    return show(ref, "failure")


def show(ref: str, name: str) -> ResponseReturnValue:
    """Show an order to its customer; a signed-out visitor signs in first."""
    customer = checkout().hooks.customer_loader()
    if customer is None:
        return redirect(login_url(request.full_path.rstrip("?")), 302)
    order = _own_order(ref, customer)
    note_return(order)
    return page(f"{name}.html", **_view_of(order, name))


def status(ref: str) -> ResponseReturnValue:
    """The fragment that the page polls. It shows, and may have the worker check the order."""
    name = "success" if request.args.get("page") == "success" else "failure"
    customer = checkout().hooks.customer_loader()
    if customer is None:  # htmx would put the sign-in page into the fragment's place
        home = url_for(f"checkout.{name}", ref=ref)
        return "", 401, {"HX-Redirect": login_url(home)}
    order = _own_order(ref, customer)
    _have_it_checked(order)
    return page("_status.html", **_view_of(order, name))


def _own_order(ref: str, customer: Customer) -> OrderMixin:
    """A stranger's order is not found, exactly like one that does not exist."""
    return orders.find(ref=usable_id(ref), customer_key=customer.key) or abort(404)


def note_return(order: OrderMixin) -> None:
    """Keep what the return URL claims: it chooses words and helps support, and moves nothing."""
    if request.args.get("razorpay_payment_link_status") != "paid" or order.returned_paid_at:
        return
    payment_id = request.args.get("razorpay_payment_id", "")
    known = payment_id[:40] if payment_id.isascii() and payment_id.isprintable() else None
    try:
        claimed = {"returned_paid_at": db_now(), "unverified_payment_id": known}
        orders.change(order, claimed, returned_paid_at=None)
        orders.note_claimed_payment(order)
        commit()
    except Exception:
        rollback()
        log.exception("order %s: the return could not be noted", order.ref)


def _have_it_checked(order: OrderMixin) -> None:
    now = db_now()
    checked_lately = order.last_checked_at and now - order.last_checked_at < MIN_CHECK_INTERVAL
    if order.state == State.AWAITING_PAYMENT and not checked_lately:
        due = {"next_attempt_at": now, "last_checked_at": now}
        orders.change(order, due, last_checked_at=order.last_checked_at)
        commit()


def _view_of(order: OrderMixin, name: str) -> dict[str, Any]:
    now, unix_now = db_now(), int(time.time())
    since = min(max(request.args.get("since", unix_now, type=int), unix_now - 3600), unix_now)
    watched_s = unix_now - since
    phase = phase_of(order, name, watched_s, now, context.moved_by())
    return {
        "order": order,
        "phase": phase,
        "page": name,
        "polling": is_polling(order, now),
        "delay": poll_delay_s(watched_s),
        "status_url": url_for("checkout.status", ref=order.ref, page=name, since=since),
        "check_url": url_for(f"checkout.{name}", ref=order.ref, since=since),
        "can_pay": phase in CAN_PAY and is_payment_url(order.payment_url),
        "can_cancel": order.is_open and phase not in ("preparing", "confirming", "checking"),
        "can_try_again": phase in CAN_TRY_AGAIN,
        "paid_claimed": order.returned_paid_at is not None,
        "other_offer": "other_offer" in request.args,
    }


# -- cancelling -------------------------------------------------------------------------------------


def cancel(ref: str) -> ResponseReturnValue:
    """Cancel an open order; answer 303 to its page, or say why it stays open."""
    customer = checkout().hooks.customer_loader()
    if customer is None:
        return redirect(login_url(url_for("checkout.failure", ref=ref)), 303)
    order = _own_order(ref, customer)
    problem = cancel_order(order) if order.is_open else ""
    page_url = url_for("checkout.failure", ref=ref)
    return message("Cancel order", problem, page_url, 200) if problem else redirect(page_url, 303)


def cancel_order(order: OrderMixin) -> str:
    """End an open order at Flexprice: what Flexprice answers is what the order becomes.

    :returns: a sentence for the customer where it stays open; empty when it has ended.
    """
    if order.session_id is None:
        return _cancel_unopened(order)
    order_id, session_id, client = order.id, order.session_id, checkout().client
    orders.change(order, {"cancel_requested_at": db_now()}, cancel_requested_at=None)
    try:
        told = ask(client.cancel_checkout_session, session_id, timeout=PAGE_TIMEOUT_S)
    except InvalidRequest:  # it has ended already: how?
        told = ask(client.get_checkout_session, session_id, timeout=PAGE_TIMEOUT_S)
    except NoAnswer:
        orders.check_now(orders.get(order_id))
        commit()
        return "We have asked for this payment to be cancelled and are waiting for the answer."
    except FlexpriceError as error:
        orders.change(orders.get(order_id), {"cancel_requested_at": None})
        commit()
        if not isinstance(error, NotFound):
            raise
        # A server without this call, or a session that was deleted.
        return "This payment cannot be cancelled. The link stays payable until it expires."
    orders.settle(order_id, told, by="customer")
    commit()
    return ""


def _cancel_unopened(order: OrderMixin) -> str:
    if purchase.claim_session_request(order):  # who may open it may also say that nobody does
        orders.transition(order, Trigger.CANCELLED, by="customer")
        commit()
    elif not reconciliation.restart(order) and order.is_open:
        return "The payment page is still being prepared. Try again in a minute."
    return ""


# -- rendering --------------------------------------------------------------------------------------


def page(template: str, **values: Any) -> str:
    """Render a template of the checkout in the app's layout."""
    values["checkout_layout"] = current_app.config.get("CHECKOUT_LAYOUT") or "base.html"
    values["trial_offered"] = checkout().hooks.trial_offered
    return render_template(f"checkout/{template}", **values)


def message(title: str, text: str, next_url: str, status_code: int) -> ResponseReturnValue:
    """Answer with a sentence and a link to the next step."""
    label = "See the plan" if "/plans/" in next_url else "Try again" if status_code == 503 else "Continue"
    return page("message.html", title=title, message=text, next_url=next_url, next_label=label), status_code


def login_url(next_url: str) -> str:
    """Return the address of the sign-in page, which leads back to `next_url`."""
    return url_for(current_app.config.get("CHECKOUT_LOGIN_ENDPOINT") or abort(401), next=next_url)


def flexprice_failed(error: FlexpriceError) -> ResponseReturnValue:
    """An error page that says only what this request did."""
    rollback()
    log.warning("Flexprice could not be asked: %s (request %s)", error, error.request_id)
    text = NOT_SET_UP if isinstance(error, AuthenticationError) else UNAVAILABLE
    return message("Not available at the moment", text, url_for("checkout.plans"), 503)


def forbidden(error: HTTPException) -> ResponseReturnValue:
    """Answer a form that `check_origin` refused."""
    text = "This form was not sent from a page of this site. This request did not charge you."
    return message("Access denied", text, url_for("checkout.plans"), 403)


# -- protection of these pages -----------------------------------------------------------------------


def check_origin() -> None:
    """Refuse a form of another site. Runs before each POST of the blueprint but the webhook."""
    if request.method == "POST" and request.endpoint != "checkout.webhook" and not _is_own_form():
        abort(403)


def _is_own_form() -> bool:
    fetch_site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if fetch_site:
        return fetch_site == "same-origin"
    if origin:
        own_hosts = {request.host, context.host_of(current_app.config.get("CHECKOUT_BASE_URL"))}
        return context.host_of(origin) in own_hosts - {""}
    if "Cookie" not in request.headers:
        return True  # nobody is signed in: no one's rights can be used
    if "csrf" not in current_app.extensions:
        return False
    # No header tells where the form came from: then a valid token of Flask-WTF does, if your app has it.
    from flask_wtf.csrf import ValidationError, validate_csrf

    try:
        validate_csrf(request.form.get("csrf_token"))
    except ValidationError:
        return False
    return True


def exempt_webhook(app: Flask, **_: object) -> None:
    """CSRFProtect may be initialised before or after the checkout: exempt the webhook at each request."""
    if csrf := app.extensions.get("csrf"):
        csrf.exempt(app.view_functions["checkout.webhook"])


def secure_headers(response: Response) -> Response:
    """For the checkout's own pages. A header that your app sets afterwards wins."""
    sources = ["'self'"]  # Chromium holds the 303 to the payment page to them
    for host in context.payment_hosts(current_app):
        local = is_loopback(f"//{host}")
        sources += [f"http://{host}"] if local else [f"https://{host}", f"https://*.{host}"]
    policy = f"form-action {' '.join(sources)}; frame-ancestors 'none'; base-uri 'self'"
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Referrer-Policy", "same-origin")  # order addresses stay here
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.vary.add("Cookie")
    if request.endpoint == "checkout.status" and response.status_code == 200:
        response.add_etag()
        response.make_conditional(request)
    return response
