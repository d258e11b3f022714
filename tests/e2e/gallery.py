"""Every page of the shop in every state, without Flexprice and without a payment.

`PAGES` names them; `running()` serves them on a port of their own.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from flask import Flask, Response, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
)
from werkzeug.security import generate_password_hash
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from storefront import create_app
from storefront.accounts import service
from storefront.checkout import State
from storefront.checkout.offers import Catalog
from storefront.checkout.orders import slot_of
from storefront.emails.models import Email
from storefront.emails.rendering import render
from storefront.extensions import db
from storefront.flexprice import NotSent
from storefront.models import Order, PlanAccess, User, WebhookEvent
from storefront.operations.models import AuditNote, RejectedWebhook
from storefront.settings import Settings
from tests.e2e import gallery_billing
from tests.e2e.catalogs import CATALOGS, LONG_NAME, reader
from tests.e2e.gallery_billing import BILLING

PASSWORD = "a sentence to remember"
LENA = "lena" * 12  # a long address


class View(NamedTuple):
    """A page as somebody sees it: what is sold, who looks, where.

    `typed` goes into the page's form, which is sent; `lands` is where that leads, if not to `path`.
    """

    catalog: str
    who: str
    path: str
    typed: dict[str, str] | None = None
    lands: str = ""


# -- orders, one in every phase ---------------------------------------------------------------------

MINUTE = timedelta(minutes=1)
OPENED = {"session_requested_at": -3 * MINUTE, "expires_at": 12 * MINUTE}
PAID = OPENED | {"paid_at": -MINUTE}
FULFILLED = PAID | {"fulfilled_at": -MINUTE}
CAME_BACK = {"returned_paid_at": -MINUTE}
LINK = {"payment_url": "https://rzp.io/i/gallery"}
RECEIPT = {
    "invoice_number": "INV-202609-00042",
    "invoice_total_text": "588.82",
    "subscription_id": "subs_01",
}
LONG = {
    "plan_name": LONG_NAME,
    "plan_id": "plan_long",
    "currency": "usd",
    "billing_period": "ANNUAL",
    "amount_text": "1234567.50",
}
CLAIMED = {"unverified_payment_id": "pay_Nx0a1b2c3d4e5f"}

Row = tuple[State, dict[str, timedelta], dict[str, Any]]  # state, times from now, other columns

ORDERS: dict[str, Row] = {
    "unopened": (State.PLACED, {}, {}),
    "preparing": (State.PLACED, {"session_requested_at": 60 * MINUTE}, {}),  # just now, always
    "lost": (State.PLACED, {"session_requested_at": -3 * MINUTE}, {}),
    "waiting": (State.AWAITING_PAYMENT, OPENED | {"status_changed_at": -3 * MINUTE}, LINK),
    "overdue": (State.AWAITING_PAYMENT, OPENED | {"expires_at": -8 * MINUTE}, LINK),
    "confirming": (State.AWAITING_PAYMENT, OPENED | CAME_BACK, LINK),
    "paid": (State.PAID, PAID, {}),
    "ready": (State.FULFILLED, FULFILLED, RECEIPT),
    "refund_reported": (State.FULFILLED, FULFILLED | {"refunded_at": timedelta(0)}, RECEIPT),
    "ended": (State.FULFILLED, FULFILLED | {"revoked_at": timedelta(0)}, RECEIPT),
    "failed": (State.FAILED, OPENED, {}),
    "not_opened": (State.FAILED, OPENED, {"session_id": None}),
    "expired": (State.EXPIRED, OPENED, {}),
    "cancelled": (State.CANCELLED, OPENED, {}),
    "abandoned": (State.ABANDONED, OPENED, {}),
    "ended_unconfirmed": (State.EXPIRED, OPENED | CAME_BACK, CLAIMED),
    "mismatched": (State.MISMATCHED, OPENED, {}),
    "held": (State.HELD, PAID, {"review_note": "The invoice says INR 4990.00, ordered were INR 499.00."}),
    "stuck": (State.STUCK, PAID, {"review_note": "Paid, but the session was overwritten: expired."}),
    "paid_twice": (State.PAID_TWICE, PAID, {}),
    "paid_late": (State.PAID_LATE, OPENED | {"refunded_at": timedelta(0)}, {}),
    "refunded": (State.REFUNDED, PAID, {}),
}
# The same phases in other circumstances.
SPECIAL: dict[str, Row] = {
    "ready, invoice to come": (State.FULFILLED, FULFILLED, {"plan_id": "plan_starter"}),
    "opened": (State.AWAITING_PAYMENT, OPENED | {"status_changed_at": 60 * MINUTE}, LINK),  # new, always
    "long ago": (State.EXPIRED, OPENED | {"status_changed_at": -600 * MINUTE}, {}),
}
OF_LENA: dict[str, Row] = {
    "long, waiting": (State.AWAITING_PAYMENT, OPENED, LONG | LINK),
    "long, ready": (
        State.FULFILLED,
        FULFILLED,
        LONG | RECEIPT | {"invoice_total_text": "1456789.65", "invoice_number": "INV-" + "202609" * 5},
    ),
}
SEEN_AS = {  # the same orders at another address
    "checking": ("waiting", "success", ""),
    "slow": ("waiting", "failure", "?since=1"),
    "ready_to_pay": ("opened", "failure", "?since=1"),
    "another offer": ("waiting", "failure", "?other_offer=1"),
}
EMAILS = {"welcome": "ready", "payment_failed": "failed", "refunded": "refunded", "password_reset": ""}
ERRORS: dict[str, Exception] = {
    "400": BadRequest(),
    "403": Forbidden(),
    "404": NotFound(),
    "405": MethodNotAllowed(),
    "413": RequestEntityTooLarge(),
    "429": TooManyRequests(),
    "500": RuntimeError("shown in the gallery"),
    "database": OperationalError("SELECT 1", {}, Exception("shown in the gallery")),
    "flexprice": NotSent("shown in the gallery"),
    "form": CSRFError(),
}


@dataclass
class Gallery:
    app: Flask
    url: str
    refs: dict[str, str] = field(default_factory=dict)
    reset: str = ""
    catalogs: dict[str, Catalog] = field(
        default_factory=lambda: {name: Catalog(reader(plans)) for name, plans in CATALOGS.items()}
    )

    def sell(self, catalog: str) -> None:
        self.app.extensions["checkout"].catalog = self.catalogs[catalog]

    def fill(self) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        quick = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
        with self.app.app_context():
            asha = service.sign_up("Asha Rao", "asha@example.com", quick)
            service.sign_up("Bela", "bela@example.com", quick)
            service.sign_up("Olga", "olga@example.com", quick).is_operator = True
            lena = service.sign_up(" ".join(["Magdalena"] * 8), f"{LENA}@example.com", quick)
            self._orders(asha, ORDERS | SPECIAL, now)
            self._orders(lena, OF_LENA, now)
            gallery_billing.fill(self.app, lena, now, quick)
            reset = service.add_reset(asha)
            self._email("password_reset", asha, now, password_reset=reset)
            db.session.add_all(operations_rows(self.refs, now))
            self.reset = f"/reset-password/{service.token_of(service.add_reset(lena))}"
            db.session.commit()

    def _orders(self, user: User, orders: dict[str, Row], now: datetime) -> None:
        emailed = {phase: kind for kind, phase in EMAILS.items() if phase}
        for phase, (state, times, more) in orders.items():
            order = self._order(user, phase, state, "expires_at" in times, now)
            for column, gap in times.items():
                setattr(order, column, now + gap)
            for column, value in more.items():
                setattr(order, column, value)
            db.session.add(order)
            db.session.flush()
            self.refs[phase] = order.ref
            if phase in ("ready", "long, ready"):
                self._grant(user, order, now)
            if phase in emailed:
                self._email(emailed[phase], user, now, order=order)

    def _order(self, user: User, phase: str, state: State, opened: bool, now: datetime) -> Order:
        number = len(self.refs)
        return Order(
            user_id=user.id,
            customer_key=user.key,
            state=state,
            plan_id="plan_starter" if phase == "ready" else f"plan_{number}",
            plan_name="Starter",
            currency="inr",
            billing_period="MONTHLY",
            amount_text=str(Decimal(499)),
            return_url=self.url,
            created_at=now - 4 * MINUTE,
            status_changed_at=now,
            session_id=f"cs_{number}" if opened else None,
            last_checked_at=now + timedelta(days=1),  # nothing is asked of a Flexprice that is not there
        )

    def _email(self, kind: str, user: User, now: datetime, **of: Any) -> None:
        sent_at = now if kind == "welcome" else None
        expires_at = now + timedelta(days=3)
        db.session.add(
            Email(kind=kind, user=user, created_at=now, expires_at=expires_at, sent_at=sent_at, **of)
        )

    def _grant(self, user: User, order: Order, now: datetime) -> None:
        order.period_end = now + timedelta(days=30)
        order.slot = slot_of(user.key, order.plan_id)
        access = PlanAccess(plan_id=order.plan_id, plan_name=order.plan_name, order=order, granted_at=now)
        access.user = user
        db.session.add(access)

    def views(self) -> dict[str, View]:
        found = PAGES | {
            "a new password": View("usual", "", self.reset),
            "a new password, short": View("usual", "", self.reset, {"password": "short"}),
            "receipt": View("usual", "asha", f"/orders/{self.refs['ready']}/receipt"),
            "receipt, refund": View("usual", "asha", f"/orders/{self.refs['refund_reported']}/receipt"),
            "receipt, invoice to come": View(
                "usual", "asha", f"/orders/{self.refs['ready, invoice to come']}/receipt"
            ),
            "receipt, long": View("usual", LENA, f"/orders/{self.refs['long, ready']}/receipt"),
        }
        for name, (who, path) in OPERATIONS.items():
            found[name] = View("usual", who, path.format(**self.refs))
        for name, (who, path) in BILLING.items():
            found[name] = View("usual", LENA if who == "lena" else who, path)
        for phase, ref in self.refs.items():
            who = LENA if phase in OF_LENA else "asha"
            found[f"order {phase}"] = View("usual", who, f"/orders/{ref}/failure")
        for phase, (order, page, query) in SEEN_AS.items():
            found[f"order {phase}"] = View("usual", "asha", f"/orders/{self.refs[order]}/{page}{query}")
        return found


WRONG = {"email": "no address", "current_password": "guess"}
REVIEW = "/review?plan={}&currency=inr&billing_period=MONTHLY"
NEW = {"name": "Asha", "email": "asha@example.com", "password": PASSWORD}
PAGES = {
    "start": View("down", "", "/"),
    "start, signed in": View("usual", "asha", "/"),
    **{f"plans {catalog}": View(catalog, "", "/plans") for catalog in CATALOGS},
    "plans by the year": View("usual", "", "/plans?billing_period=ANNUAL"),
    "plans in dollars by the year": View("usual", "", "/plans?billing_period=ANNUAL&currency=usd"),
    "plans, one owned": View("usual", "asha", "/plans"),
    "not a member": View("usual", "bela", "/members", lands="/"),
    "a plan": View("usual", "", "/plans/plan_team?billing_period=ANNUAL"),
    "a long plan": View("long", "", "/plans/plan_the_plan_for_people_"),
    "a plan with a fee": View("odd", "", "/plans/plan_set_up"),
    "a plan, owned": View("usual", "asha", "/plans/plan_starter"),
    "sign in": View("usual", "", "/sign-in"),
    "sign in to continue": View("usual", "", "/account", lands="/sign-in?next=/account"),
    "review": View("usual", "asha", REVIEW.format("plan_team")),
    "review, with a fee": View("odd", "asha", REVIEW.format("plan_set_up")),
    "review, mistakes": View(
        "usual", "asha", REVIEW.format("plan_team"), {"gstin": "27X", "billing_name": ""}, lands="/checkout"
    ),
    "settings": View("usual", "asha", "/account/settings"),
    "settings, long": View("usual", LENA, "/account/settings"),
    "settings, wrong": View("usual", "asha", "/account/settings", WRONG, lands="/account/settings/email"),
    "delete account": View("usual", "bela", "/account/delete"),
    "delete account, active": View("usual", "asha", "/account/delete"),
    "terms": View("usual", "", "/terms"),
    "privacy": View("usual", "", "/privacy"),
    "refunds": View("usual", "", "/refunds"),
    "contact": View("usual", "", "/contact"),
    "sign in for a plan": View("usual", "", "/sign-in?next=/plans/plan_team"),
    "sign in, empty": View("usual", "", "/sign-in", {}),
    "sign in, wrong": View("usual", "", "/sign-in", {"email": "a@example.com", "password": "guess"}),
    "sign up": View("usual", "", "/sign-up"),
    "sign up for a plan": View("usual", "", "/sign-up?next=/plans/plan_team"),
    "sign up, empty": View("usual", "", "/sign-up", {}),
    "sign up, taken": View("usual", "", "/sign-up", NEW),
    "sign up, common": View("usual", "", "/sign-up", NEW | {"password": "1234567890"}),
    "forgotten": View("usual", "", "/forgot-password"),
    "forgotten, empty": View("usual", "", "/forgot-password", {}),
    "forgotten, sent": View("usual", "", "/forgot-password", {"email": "no@example.com"}, lands="/sign-in"),
    "account": View("usual", "asha", "/account"),
    "account, empty": View("usual", "bela", "/account"),
    "account, long": View("usual", LENA, "/account"),
    "members": View("usual", "asha", "/members"),
    "members, long": View("usual", LENA, "/members"),
    "emails": View("usual", "asha", "/emails"),
    "emails, empty": View("usual", "bela", "/emails"),
    **{
        f"an email, {kind}": View("usual", "asha", f"/emails/{number}")
        for number, kind in enumerate(EMAILS, 1)
    },
    **{f"sent {kind}": View("usual", "", f"/gallery/email/{kind}") for kind in EMAILS},
    **{f"error {kind}": View("usual", "", f"/gallery/error/{kind}") for kind in ERRORS},
}
OPERATIONS = {  # who looks where; a phase in braces is the reference of the order in it
    "qa": ("asha", "/qa"),
    "qa, empty": ("bela", "/qa"),
    "qa, one order": ("asha", "/qa/{ready}"),
    "qa, one with a problem": ("asha", "/qa/{stuck}"),
    "operator": ("olga", "/operator/"),
    "operator, orders": ("olga", "/operator/orders"),
    "operator, events": ("olga", "/operator/events"),
    "operator, emails": ("olga", "/operator/emails"),
    "operator, rejected webhooks": ("olga", "/operator/rejected"),
    "operator, checks": ("olga", "/operator/preflight"),
    "operator, order for review": ("olga", "/operator/orders/{held}"),
    "operator, order": ("olga", "/operator/orders/{ready}"),
    "operator, event": ("olga", "/operator/event?id=msg_broken"),
    "operator, search": ("olga", "/operator/search?q=asha@example.com"),
    "operator, search without result": ("olga", "/operator/search?q=nothing"),
}
NAMES = [
    *PAGES,
    *OPERATIONS,
    *BILLING,
    "a new password",
    "a new password, short",
    "receipt",
    "receipt, refund",
    "receipt, invoice to come",
    "receipt, long",
    *(f"order {phase}" for phase in (*ORDERS, *SPECIAL, *OF_LENA, *SEEN_AS)),
]


def operations_rows(refs: dict[str, str], now: datetime) -> Iterator[Any]:
    """What the operator pages show besides orders and emails."""
    body = '{"event_type": "checkout.session.completed", "checkout_session": {"id": "cs_4"}}'
    of = {
        "event_type": "checkout.session.completed",
        "customer_id": "cust_01",
        "body": body,
        "received_at": now,
    }
    yield WebhookEvent(id="msg_read", object_id="cs_4", processed_at=now, outcome="order paid", **of)
    yield WebhookEvent(
        id="msg_broken",
        object_id="cs_13",
        attempts=4,
        next_attempt_at=now + 9 * MINUTE,
        outcome="KeyError: 'invoice'",
        **of,
    )
    yield AuditNote(
        at=now,
        who="olga@example.com",
        action="note",
        subject="order",
        subject_id=refs["held"],
        text="Asked the bank.",
    )
    yield RejectedWebhook(
        at=now,
        cause="clock",
        message="the signature is right, but 4000 seconds old",
        count=3,
        remote_addr="203.0.113.9",
        user_agent="Svix-Webhooks/1.62",
        message_id="msg_old",
        body_bytes=812,
        body_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    )


def add_test_pages(app: Flask) -> None:
    """Errors on request, and emails as a mail program shows them."""

    def fail(kind: str) -> NoReturn:
        raise ERRORS[kind]

    def email(kind: str) -> Response:
        return Response(render(db.session.query(Email).filter_by(kind=kind).first()).html)

    def allow_style(response: Response) -> Response:
        if request.endpoint == "gallery.email":
            response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response

    app.add_url_rule("/gallery/error/<kind>", "gallery.fail", fail)
    app.add_url_rule("/gallery/email/<kind>", "gallery.email", email)
    gallery_billing.add_pages(app)
    app.after_request_funcs[None].insert(
        0, allow_style
    )  # after_request functions run in reverse: this is last


class WithoutAccessLog(WSGIRequestHandler):
    """Paths contain tokens."""

    def log_request(self, *_: Any) -> None:
        pass


@contextmanager
def running(folder: Path) -> Iterator[Gallery]:
    """The shop on a port of its own, its database in `folder`."""

    def answer(environ: Any, start: Any) -> Any:
        """Complete before it is sent: this server leaves a file open when the browser disconnects halfway."""
        pieces, status, headers = run_wsgi_app(app, environ, buffered=True)
        start(status, headers.to_wsgi_list())
        return pieces

    server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=WithoutAccessLog)
    url = f"http://127.0.0.1:{server.port}"
    app = create_app(
        Settings.from_env(
            {
                "FLEXPRICE_API_URL": "http://127.0.0.1:9/v1",
                "FLEXPRICE_API_KEY": "sk_of_the_gallery",
                "FLEXPRICE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
                "STOREFRONT_URL": url,
                "SECRET_KEY": "thirty-two characters, or more..",
                "DATABASE_URL": f"sqlite:///{folder}/gallery.db",
                "MAIL_URL": "keep:",
                "MAIL_FROM": "shop@kestrel.test",
                "RATE_LIMITS": "off",
            }
        )
    )
    add_test_pages(app)
    with app.app_context():
        db.create_all()
    gallery = Gallery(app, url)
    gallery.fill()
    gallery.sell("usual")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield gallery
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
