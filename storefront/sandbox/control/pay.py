"""The test payment page, in the manner of Razorpay's: it decides whether a card works."""

import hashlib
import hmac
from decimal import Decimal
from functools import partial
from urllib.parse import urlencode, urlsplit, urlunsplit

from babel.numbers import format_currency
from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from ..api import auth
from ..api.serializers.common import Body
from ..delivery.modes import MODES
from ..delivery.sender import TIMEOUT_S
from ..engine import outcomes, overrides, razorpay
from ..engine.errors import Refusal
from ..store.billing_rows import Invoice, InvoiceLine, Payment
from ..store.control_rows import Delivery
from ..store.database import Session
from ..store.rows import Customer, ProviderLink
from . import request_log
from .control_api import dispatcher
from .controls import MAX_SECONDS, arrange_for_session

bp = Blueprint("sandbox_pay", __name__, url_prefix="/pay")

KEY_SECRET = "rzp_key_secret_test"  # noqa: S105 - Razorpay's side of the redirect; there is no account behind it

# https://razorpay.com/docs/payments/payments/test-card-details/ and …/test-upi-details/
CARDS = {
    "4386 2894 0766 0153": "Visa, domestic",
    "2305 3242 5784 8228": "Mastercard, domestic",
    "5421 1393 0609 0628": "Mastercard, international",
    "5105 1051 0510 5100": "Mastercard, international",
    "5104 0600 0000 0008": "Mastercard, international",
    "4012 8888 8888 1881": "Visa, international",
}
UPI = {"success@razorpay": "UPI – success", "failure@razorpay": "UPI – declined"}
BANKS = {"Test bank": "Netbanking – success", "Test bank, declined": "Netbanking – declined"}
WAYS = {"card": CARDS, "upi": UPI, "netbanking": BANKS}
METHODS = CARDS | UPI | BANKS
REASONS = {
    "failure@razorpay": "The UPI app declined the request.",
    "Test bank, declined": "The bank declined the request.",
    "": "Choose a test card, a UPI ID or a bank first.",
}
UNKNOWN_METHOD = "The bank does not know this card or UPI ID."

# What the page says instead of a form.
CLOSED = {
    "paid": ("This payment link was already paid", "Nothing more to pay here. You can go back to the shop."),
    "cancelled": ("This payment link was cancelled", "It accepts no payment. Start again in the shop."),
    "expired": ("This payment link has expired", "It accepts no payment. Start again in the shop."),
}
LEFT = ("You left without paying", "Nothing was charged. You can close this page; the link stays open.")
PENDING = ("Waiting for your bank", "Nothing was charged yet. Approve the request, or go back to the shop.")
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"


def refusal(method: str) -> str:
    """Why this card or UPI id is declined; empty when it works."""
    typed = "".join(method.split())
    reasons = {"".join(known.split()): reason for known, reason in REASONS.items()}
    works = {"".join(known.split()) for known in METHODS} - set(reasons)
    return "" if typed in works else reasons.get(typed, UNKNOWN_METHOD)


def redirect_signature(
    secret: str, link_id: str, payment_id: str, status: str = "paid", reference: str = ""
) -> str:
    """Hex HMAC-SHA256 over `link|reference|status|payment`."""
    text = "|".join((link_id, reference, status, payment_id))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def return_url(success_url: str, link_id: str, payment_id: str) -> str:
    """Razorpay's five parameters behind the query that the address already has."""
    added = {
        "razorpay_payment_id": payment_id,
        "razorpay_payment_link_id": link_id,
        "razorpay_payment_link_reference_id": "",
        "razorpay_payment_link_status": "paid",
        "razorpay_signature": redirect_signature(KEY_SECRET, link_id, payment_id),
    }
    parts = urlsplit(success_url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(added))))))


@bp.after_request
def protect(response: Response) -> Response:
    # No form-action: Chromium applies it to the redirect that follows the payment, and shops live anywhere.
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


def _message(title: str, text: str, status: int = 200, back: str = "") -> ResponseReturnValue:
    """:param back: where the shop is; of the default store it is known."""
    shop = auth.settings().shop_url if g.get("store", auth.DEFAULT_STORE) == auth.DEFAULT_STORE else ""
    return render_template("sandbox/message.html", title=title, text=text, back=back or shop), status


def _way_back(code: str) -> str:
    """Where the shop wants a customer who did not pay."""
    with auth.reading() as session:
        checkout = razorpay.checkout_of(session, _link(session, code))
    urls = (checkout.cancel_url, checkout.failure_url, checkout.success_url) if checkout else ()
    known = [url for url in urls if url and urlsplit(url).scheme in ("http", "https")]
    return known[0] if known else ""


def _unknown() -> ResponseReturnValue:
    return _message("No such payment link", "Check the address, or start again in the shop.", 404)


def _choose_store(code: str) -> bool:
    """The store that has this link; whether there is one."""
    query = select(ProviderLink.store).where(ProviderLink.code == code)
    with auth.database().engine.connect() as connection:
        found = connection.execute(query).scalar() if "\x00" not in code else None
    g.store = found or auth.DEFAULT_STORE
    return found is not None


def _link(session: Session, code: str) -> ProviderLink:
    found = session.first(ProviderLink, ProviderLink.code == code)
    if found is None:
        raise LookupError(f"payment link {code}")
    return found


@bp.get("/<code>")
def page(code: str) -> ResponseReturnValue:
    if not _choose_store(code):
        return _unknown()
    with auth.reading() as session:
        link = _link(session, code)
        if link.state in CLOSED:
            return _message(*CLOSED[link.state], back=_way_back(code))
        return render_template("sandbox/pay.html", link=link, **_chosen(), **_shown(session, link))


def _chosen() -> Body:
    """The tab, and the test data that its fields are filled with."""
    tab = request.args.get("tab", "card")
    tab = tab if tab in WAYS else "card"
    use = request.args.get("use", "")
    return {"ways": WAYS, "tab": tab, "use": use if use in WAYS[tab] else next(iter(WAYS[tab]))}


def _shown(session: Session, link: ProviderLink) -> Body:
    payment = session.need(Payment, link.payment_id)
    invoice = session.need(Invoice, payment.destination_id)
    lines = session.all(InvoiceLine, InvoiceLine.invoice_id == invoice.id)
    money = partial(format_currency, currency=link.currency, locale="en_IN")
    return {
        "amount": money(Decimal(link.amount) / 100),
        "merchant": auth.settings().merchant,
        "lines": [(line.display_name, money(line.amount)) for line in lines if line.amount],
        "customer": session.need(Customer, link.customer_id),
        "declined": link.declined,
        "session": razorpay.checkout_of(session, link),
        "outcomes": outcomes.OUTCOMES,
        "modes": MODES,
        "completions": outcomes.COMPLETIONS,
    }


@bp.post("/<code>/pay")
def pay(code: str) -> ResponseReturnValue:
    method = request.form.get("other", "").strip() or request.form.get("method", "")
    tab = request.form.get("tab", "")
    return _try(code, "declined" if refusal(method) else "paid", refusal(method), method, tab=tab)


@bp.post("/<code>/decline")
def decline(code: str) -> ResponseReturnValue:
    return _try(code, "declined")


@bp.post("/<code>/cancel")
def cancel(code: str) -> ResponseReturnValue:
    return _try(code, "cancelled")


@bp.get("/<code>/leave")
def leave(code: str) -> ResponseReturnValue:
    """Walking away changes nothing: no redirect, no event."""
    if not _choose_store(code):
        return _unknown()
    return _message(*LEFT, back=_way_back(code))


@bp.post("/<code>/outcome")
def choose_outcome(code: str) -> ResponseReturnValue:
    """A tester chooses what happens, and how messages about it are delivered."""
    form, seconds = request.form, request.form.get("seconds", type=float)
    outcome = form.get("outcome", "")
    ways = {"delivery": form.get("delivery", "normal"), "completion": form.get("completion", "at_once")}
    known = outcome in outcomes.OUTCOMES and 0 <= (seconds or 0) <= MAX_SECONDS
    if not (known and ways["delivery"] in MODES and ways["completion"] in outcomes.COMPLETIONS):
        return _message("No such outcome or delivery mode", "Go back and choose one of the list.", 400)
    if not _choose_store(code):
        return _unknown()
    with auth.writing() as session:
        checkout = razorpay.checkout_of(session, _link(session, code))
        if checkout:
            arrange_for_session(session, checkout.id, ways, seconds)
    return _try(code, outcome, chosen=True)


class Result:
    """What came of a try."""

    def __init__(self) -> None:
        self.payment_id: str | None = None
        self.outcome = ""
        self.customer_id = ""
        self.state = ""
        self.goes_back_to = ""
        self.link_id = ""
        self.before_redirect = False


def _try(
    code: str, outcome: str, reason: str = "", method: str = "", *, chosen: bool = False, tab: str = ""
) -> ResponseReturnValue:
    if not _choose_store(code):
        return _unknown()
    result = Result()
    try:
        with auth.writing() as session:
            _happen(session, _link(session, code), result, outcome, reason, method, chosen)
    except Refusal as refused:
        words = CLOSED.get(result.state) or ("This session has ended", f"{refused.message.capitalize()}.")
        return _message(*words, status=409, back=_way_back(code))
    if result.before_redirect:
        dispatcher().hurry(g.store, result.customer_id, TIMEOUT_S["svix"])
    return _answer(code, result, tab if tab in WAYS else None)


def _happen(
    session: Session,
    link: ProviderLink,
    result: Result,
    outcome: str,
    reason: str,
    method: str,
    chosen: bool,
) -> None:
    checkout = razorpay.checkout_of(session, link)
    result.state, result.customer_id, result.link_id = link.state, link.customer_id, link.id
    arranged = None
    if checkout and not chosen:
        arranged = overrides.take(session, "outcome", overrides.subject_of(session, checkout))
    result.outcome, reason = (arranged.name, "") if arranged else (outcome, reason)
    about = checkout.id if checkout else None
    if method:
        request_log.note(session, "method", about, method=" ".join(method.split()).replace("\x00", ""))
    if checkout:
        result.payment_id = outcomes.happen(session, checkout, link, result.outcome, reason)
    else:
        result.payment_id = _pay_invoice(session, link, result.outcome, reason)
    request_log.note(session, result.outcome, about, payment=result.payment_id)
    result.goes_back_to = "" if checkout and checkout.mandate else link.callback_url
    result.before_redirect = _waits_for_messages(session, link.customer_id)


def _pay_invoice(session: Session, link: ProviderLink, outcome: str, reason: str) -> str | None:
    """The link of POST /payments: no session, so only what happens at Razorpay itself."""
    if link.state != "created":
        raise Refusal("invalid_operation", f"the payment link is {link.state}")
    if outcome == "declined":
        razorpay.decline(session, link, reason or razorpay.DECLINED)
    elif outcome == "cancelled":
        razorpay.close_link(session, link, razorpay.LINK_CANCELLED)
    elif outcome == "link_expired":
        razorpay.close_link(session, link, razorpay.LINK_EXPIRED)
    elif outcome in ("paid", "paid_too_late"):
        return razorpay.pay(session, link)
    return None


def _waits_for_messages(session: Session, customer_id: str) -> bool:
    before = (Delivery.state == "due", Delivery.fault == "before_redirect")
    return session.first(Delivery, *before, Delivery.customer_id == customer_id) is not None


def _answer(code: str, result: Result, tab: str | None) -> ResponseReturnValue:
    if result.outcome == "pending":
        return _message(*PENDING, back=_way_back(code))
    if not result.payment_id:
        return redirect(url_for("sandbox_pay.page", code=code, tab=tab), 303)
    if urlsplit(result.goes_back_to).scheme not in ("http", "https"):
        return _message("Payment successful", f"Reference {result.payment_id}. You can close this page.")
    location = return_url(result.goes_back_to, result.link_id, result.payment_id)
    return Response(status=303, headers={"Location": location})
