"""The test payment page, in the manner of Razorpay's: it decides here whether a card works."""

import hashlib
import hmac
from decimal import Decimal
from urllib.parse import urlencode, urlsplit, urlunsplit

from babel.numbers import format_currency
from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, select

from storefront.sandbox._previous import events, hooks, journal, levers, outcomes
from storefront.sandbox._previous.door import current_settings
from storefront.sandbox._previous.errors import Refusal
from storefront.sandbox._previous.schema import customers, deliveries, invoices, sessions
from storefront.sandbox._previous.schema import events as messages
from storefront.sandbox._previous.store import Body, current_store, find, need

bp = Blueprint("sandbox_pay", __name__, url_prefix="/pay")

KEY_SECRET = "rzp_key_secret_test"  # noqa: S105 - Razorpay's side of the redirect, there is no real account behind it

# https://razorpay.com/docs/payments/payments/test-card-details/ and …/test-upi-details/
METHODS = {
    "4386 2894 0766 0153": "Visa, domestic",
    "2305 3242 5784 8228": "Mastercard, domestic",
    "5421 1393 0609 0628": "Mastercard, international",
    "5105 1051 0510 5100": "Mastercard, international",
    "5104 0600 0000 0008": "Mastercard, international",
    "4012 8888 8888 1881": "Visa, international",
    "success@razorpay": "UPI, works",
    "failure@razorpay": "UPI, is declined",
}
REASONS = {
    "failure@razorpay": "Payment failed: the UPI app declined the request.",
    "": "Choose a test card or a UPI id first.",
}
UNKNOWN = "The bank does not know this card or UPI id."

# What the page says instead of a form.
CLOSED = {
    "paid": ("This payment link was already paid", "Nothing more to pay here. You can go back to the shop."),
    "cancelled": ("This payment link was cancelled", "It takes no more money. Start again in the shop."),
    "expired": ("This payment link has expired", "It takes no more money. Start again in the shop."),
}
LEFT = ("You left without paying", "Nothing was charged. You can close this page; the link stays open.")


def refusal(method: str) -> str | None:
    """Why this card or UPI id is declined; None when the money flows."""
    typed = "".join(method.split())
    works = {"".join(known.split()) for known in METHODS} - set(REASONS)
    return None if typed in works else REASONS.get(typed, UNKNOWN)


def redirect_signature(
    secret: str, plink: str, payment_id: str, status: str = "paid", reference: str = ""
) -> str:
    text = "|".join((plink, reference, status, payment_id))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def return_url(success_url: str, plink: str, payment_id: str) -> str:
    """Razorpay's five parameters behind whatever the address already says."""
    added = {
        "razorpay_payment_id": payment_id,
        "razorpay_payment_link_id": plink,
        "razorpay_payment_link_reference_id": "",
        "razorpay_payment_link_status": "paid",
        "razorpay_signature": redirect_signature(KEY_SECRET, plink, payment_id),
    }
    parts = urlsplit(success_url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(added))))))


POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"


@bp.after_request
def protect(response: Response) -> Response:
    # No form-action: Chromium applies it to the redirect that follows the payment, and shops live anywhere.
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


def _message(title: str, text: str, status: int = 200) -> ResponseReturnValue:
    return render_template("sandbox/message.html", title=title, text=text), status


def _unknown() -> ResponseReturnValue:
    return _message("No such payment link", "Check the address, or start again in the shop.", 404)


@bp.get("/<link>")
def page(link: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        session = find(conn, sessions, link, "link")
        if session is None or session["link_state"] == "none":
            return _unknown()
        if session["link_state"] in CLOSED:
            return _message(*CLOSED[session["link_state"]])
        return render_template("sandbox/pay.html", link=link, methods=METHODS, **_shown(conn, session))


def _shown(conn: Connection, session: Body) -> Body:
    invoice = need(conn, invoices, session["invoice_id"])
    currency = invoice["currency"].upper()
    return {
        "amount": format_currency(Decimal(invoice["amount_due"]), currency, locale="en_IN"),
        "merchant": current_settings().merchant,
        "lines": [line for line in invoice["line_items"] if line["amount"] != "0"],
        "customer": need(conn, customers, session["customer_id"]),
        "declined": session.get("declined"),
        "session": session,
        "outcomes": outcomes.OUTCOMES,
        "plans": events.PLANS,
        "completions": outcomes.COMPLETIONS,
    }


@bp.post("/<link>/pay")
def pay(link: str) -> ResponseReturnValue:
    method = request.form.get("other", "").strip() or request.form.get("method", "")
    return _try(link, "declined" if refusal(method) else "paid", refusal(method), method)


@bp.post("/<link>/decline")
def decline(link: str) -> ResponseReturnValue:
    return _try(link, "declined")


@bp.post("/<link>/cancel")
def cancel(link: str) -> ResponseReturnValue:
    return _try(link, "cancelled")


@bp.get("/<link>/leave")
def leave(link: str) -> ResponseReturnValue:
    """Walking away tells nobody anything: no redirect, no event."""
    return _message(*LEFT)


@bp.post("/<link>/stage")
def stage(link: str) -> ResponseReturnValue:
    """The tester says what happens, and how the news of it travels."""
    form, seconds = request.form, request.form.get("seconds", type=float)
    outcome = form.get("outcome", "")
    ways = {"delivery": form.get("delivery", "normal"), "completion": form.get("completion", "at_once")}
    known = outcome in outcomes.OUTCOMES and 0 <= (seconds or 0) <= 86400
    if not (known and ways["delivery"] in events.PLANS and ways["completion"] in outcomes.COMPLETIONS):
        return _message("No such outcome or delivery plan", "Go back and choose one of the list.", 400)
    with current_store().writing() as conn:
        session = find(conn, sessions, link, "link")
        if session is None:
            return _unknown()
        levers.for_session(conn, session["id"], ways, seconds)
    return _try(link, outcome, staged=True)


def _try(
    link: str, outcome: str, reason: str | None = None, method: str = "", *, staged: bool = False
) -> ResponseReturnValue:
    session: Body | None = None
    try:
        with current_store().writing() as conn:
            session = find(conn, sessions, link, "link")
            if session is None or session["link_state"] == "none":
                return _unknown()
            arranged = None if staged else levers.take(conn, "outcome", _whose(conn, session))
            if arranged:
                outcome, reason = arranged.name, None
            if method:
                journal.note(conn, "method", session["id"], method=" ".join(method.split()))
            payment_id = outcomes.happen(conn, session, outcome, reason)
            before_redirect = _waits_for_news(conn, session)
    except Refusal as refused:
        words = CLOSED.get(session["link_state"] if session else "")
        return _message(*(words or ("This session has ended", f"{refused.message.capitalize()}.")), 409)
    if before_redirect:
        current_app.extensions["sandbox_senders"].hurry(session["customer_id"], hooks.PATIENCE["svix"])
    if outcome == "pending":
        return _message(*LEFT)
    return (
        _back_to_shop(session, payment_id)
        if payment_id
        else redirect(url_for("sandbox_pay.page", link=link), 303)
    )


def _whose(conn: Connection, session: Body) -> levers.Who:
    return levers.who(conn, "checkout_session", session)


def _waits_for_news(conn: Connection, session: Body) -> bool:
    table = deliveries.c
    waiting = select(table.id).join(messages, messages.c.id == table.event_id)
    mine = messages.c.customer_id == session["customer_id"]
    now = (table.state == "due", table.twist == "before_redirect", mine)
    return conn.execute(waiting.where(*now).limit(1)).first() is not None


def _back_to_shop(session: Body, payment_id: str) -> ResponseReturnValue:
    success_url = session.get("success_url") or ""
    # A mandate's registration link knows no way back.
    if session.get("mandate") or urlsplit(success_url).scheme not in ("http", "https"):
        return _message("Payment successful", f"Reference {payment_id}. You can close this page.")
    return Response(status=303, headers={"Location": return_url(success_url, session["plink"], payment_id)})
