"""Every page of the shop in every state, without a payment: for looking at, and for what holds of all pages.

The walks (test_buying.py and its neighbours) go through the whole demo. Here the shop stands alone with rows
laid out beforehand, so that a state which takes a lost message and an hour to reach is one address.
`make gallery` shows all of it to a person: every page at three widths, by day and by night.
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
from sqlalchemy import create_engine
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
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from storefront import create_app, outbox, shoppers
from storefront.catalog import Catalog, CatalogUnavailable
from storefront.database import DatabaseBusy, writing
from storefront.extensions import db
from storefront.flexprice import NeverSent
from storefront.lifecycle import State
from storefront.models import Access, Base, InboxMessage, Letter, OperatorNote, Order, Refusal, Shopper
from storefront.settings import Settings
from tests.e2e.shelves import LONG_NAME, SHELVES, Shelf

PASSWORD = "a sentence to remember"


class Sight(NamedTuple):
    """What is for sale, who looks and where; `typed` goes into the page's form, which is sent."""

    shelf: str
    who: str
    path: str
    typed: dict[str, str] | None = None
    lands: str = ""  # where it leads, if not to `path`


# -- the orders, one in every state -----------------------------------------------------------------

OPENED = {"opening_at": timedelta(minutes=-3), "expires_at": timedelta(minutes=12)}
PAID = OPENED | {"paid_at": timedelta(minutes=-1)}
DONE = PAID | {"fulfilled_at": timedelta(minutes=-1)}
LINK = {"payment_url": "https://rzp.io/i/gallery"}
RECEIPT = {
    "invoice_number": "INV-202609-00042",
    "invoice_total": Decimal("588.82"),
    "subscription_id": "subs_01",
}
LONG = {
    "plan_name": LONG_NAME,
    "plan_id": "plan_long",
    "currency": "usd",
    "billing_period": "ANNUAL",
    "amount": Decimal("1234567.50"),
}

# phase shown: state, times from now, and other columns
ORDERS: dict[str, tuple[State, dict[str, timedelta], dict[str, Any]]] = {
    "unopened": (State.PLACED, {}, {}),
    "preparing": (State.PLACED, {"opening_at": timedelta(minutes=-3)}, {}),
    "waiting": (State.AWAITING_PAYMENT, OPENED, LINK),
    "paid": (State.PAID, PAID, {}),
    "ready": (State.FULFILLED, DONE, RECEIPT),
    "failed": (State.FAILED, OPENED, {}),
    "expired": (State.EXPIRED, OPENED, {}),
    "cancelled": (State.CANCELLED, OPENED, {}),
    "abandoned": (State.ABANDONED, OPENED, {}),
    "late": (State.PAID_LATE, OPENED, {}),
    "twice": (State.PAID_TWICE, PAID, {}),
    "mismatched": (State.MISMATCHED, OPENED, {}),
    "held": (State.HELD, PAID, {"flag": "The invoice says INR 4990.00, ordered were INR 499.00."}),
    "refunded": (State.REFUNDED, PAID, {}),
    "stuck": (State.STUCK, PAID, {"flag": "Paid, but the session was overwritten: expired."}),
}
# The same phases, as they look in other circumstances.
SPECIAL: dict[str, tuple[State, dict[str, timedelta], dict[str, Any]]] = {
    "just begun": (State.PLACED, {"opening_at": timedelta(seconds=-2)}, {}),
    "past its time": (State.AWAITING_PAYMENT, OPENED | {"expires_at": timedelta(minutes=-8)}, LINK),
    "ready, invoice to come": (State.FULFILLED, DONE, {"plan_id": "plan_starter"}),
    "returned": (State.FULFILLED, DONE | {"refunded_at": timedelta()}, RECEIPT),
    "over": (State.FULFILLED, DONE, RECEIPT),
}
OF_LENA: dict[str, tuple[State, dict[str, timedelta], dict[str, Any]]] = {
    "long, waiting": (State.AWAITING_PAYMENT, OPENED, LONG | LINK),
    "long, ready": (
        State.FULFILLED,
        DONE,
        LONG | RECEIPT | {"invoice_total": Decimal("1456789.65"), "invoice_number": "INV-" + "202609" * 5},
    ),
}
SEEN_AS = {  # the same orders by another address
    "checking": ("waiting", "success", ""),
    "slow": ("waiting", "failure", "?since=1"),
    "expired, looking on": ("expired", "success", ""),
}
LETTERS = {"welcome": "ready", "payment_failed": "failed", "refunded": "refunded", "password_reset": ""}


@dataclass
class Gallery:
    app: Flask
    url: str
    refs: dict[str, str] = field(default_factory=dict)
    reset: str = ""
    catalogs: dict[str, Catalog] = field(
        default_factory=lambda: {name: Catalog(Shelf(plans)) for name, plans in SHELVES.items()}  # type: ignore[arg-type]
    )

    def sells(self, shelf: str) -> None:
        self.app.extensions["catalog"] = self.catalogs[shelf]

    def lay_out(self, name: str = "Asha Rao", email: str = "asha@example.com") -> None:
        now = datetime.now(UTC)
        quick = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
        with self.app.app_context(), writing():
            asha = shoppers.sign_up(name, email, quick, now)
            shoppers.sign_up("Bela", "bela@example.com", quick, now)
            shoppers.sign_up("Olga", "olga@example.com", quick, now).is_operator = True
            lena = shoppers.sign_up(" ".join(["Magdalena"] * 8), f"{'lena' * 12}@example.com", quick, now)
            self._orders(asha, ORDERS | SPECIAL, now)
            self._orders(lena, OF_LENA, now)
            outbox.write("password_reset", asha, now, reset_url=f"{self.url}/reset-password/x")
            for letter in db.session.query(Letter).filter_by(kind="welcome"):
                letter.posted_at = now
            db.session.add_all(paperwork(self.refs, now))
            self.reset = f"/reset-password/{shoppers.reset_token(lena)}"

    def _orders(self, shopper: Shopper, orders: dict[str, Any], now: datetime) -> None:
        wrote = {phase: kind for kind, phase in LETTERS.items()}
        for phase, (state, times, more) in orders.items():
            order = self._order(shopper, phase, state, "expires_at" in times, now)
            for column, gap in times.items():
                setattr(order, column, now + gap)
            for column, value in more.items():
                setattr(order, column, value)
            db.session.add(order)
            db.session.flush()
            self.refs[phase] = order.ref
            if phase in ("ready", "long, ready"):
                self._owns(shopper, order, now)
            if phase in wrote:
                outbox.write(wrote[phase], shopper, now, order)

    def _order(self, shopper: Shopper, phase: str, state: State, opened: bool, now: datetime) -> Order:
        number = len(self.refs)
        return Order(
            shopper_id=shopper.id,
            state=state,
            plan_id="plan_starter" if phase == "ready" else f"plan_{number}",
            plan_name="Starter",
            currency="inr",
            billing_period="MONTHLY",
            amount=Decimal(499),
            created_at=now - timedelta(minutes=4),
            session_id=f"cs_{number}" if opened else None,
            next_ask_at=now + timedelta(days=1),  # nothing is asked of a Flexprice that is not there
        )

    def _owns(self, shopper: Shopper, order: Order, now: datetime) -> None:
        access = Access(plan_id=order.plan_id, plan_name=order.plan_name, order_id=order.id, granted_at=now)
        access.shopper_id, access.subscription_id = shopper.id, order.subscription_id
        access.paid_until = now + timedelta(days=30)
        db.session.add(access)

    def pages(self) -> dict[str, Sight]:
        team, long_one = SHELVES["usual"][1], SHELVES["long"][2]  # type: ignore[index]
        lena = "lena" * 12
        new = {"name": "Asha", "email": "asha@example.com", "password": PASSWORD}
        found = {
            **{f"plans {shelf}": Sight(shelf, "", "/") for shelf in SHELVES},
            "plans by the year": Sight("usual", "", "/?period=ANNUAL"),
            "plans in dollars by the year": Sight("usual", "", "/?period=ANNUAL&currency=usd"),
            "plans, one owned": Sight("usual", "asha", "/"),
            "plans, not a member": Sight("usual", "bela", "/members", lands="/"),
            "a plan": Sight("usual", "", f"/plans/{team.id}?period=ANNUAL"),
            "a long plan": Sight("long", "", f"/plans/{long_one.id}"),
            "a plan, owned": Sight("usual", "asha", "/plans/plan_starter"),
            "a plan, down": Sight("down", "", f"/plans/{team.id}"),
            "sign in": Sight("usual", "", "/sign-in"),
            "sign in to go on": Sight("usual", "", "/account", lands="/sign-in?next=/account"),
            "sign in, empty": Sight("usual", "", "/sign-in", {}),
            "sign in, wrong": Sight("usual", "", "/sign-in", {"email": "a@example.com", "password": "guess"}),
            "sign up": Sight("usual", "", "/sign-up"),
            "sign up for a plan": Sight("usual", "", f"/sign-up?next=/plans/{team.id}"),
            "sign up, empty": Sight("usual", "", "/sign-up", {}),
            "sign up, taken": Sight("usual", "", "/sign-up", new),
            "sign up, easily guessed": Sight("usual", "", "/sign-up", new | {"password": "1234567890"}),
            "forgotten": Sight("usual", "", "/forgot-password"),
            "forgotten, empty": Sight("usual", "", "/forgot-password", {}),
            "forgotten, sent": Sight(
                "usual", "", "/forgot-password", {"email": "no@example.com"}, lands="/sign-in"
            ),
            "a new password": Sight("usual", "", self.reset),
            "a new password, short": Sight("usual", "", self.reset, {"password": "short"}),
            "account": Sight("usual", "asha", "/account"),
            "account, empty": Sight("usual", "bela", "/account"),
            "account, long": Sight("usual", lena, "/account"),
            "members": Sight("usual", "asha", "/members"),
            "members, long": Sight("usual", lena, "/members"),
            "letters": Sight("usual", "asha", "/letters"),
            "letters, empty": Sight("usual", "bela", "/letters"),
            **{
                f"a letter, {kind}": Sight("usual", "asha", f"/letters/{number}")
                for number, kind in enumerate(LETTERS, 1)
            },
            **{f"mail {kind}": Sight("usual", "", f"/gallery/mail/{kind}") for kind in LETTERS},
            **{f"error {kind}": Sight("usual", "", f"/gallery/error/{kind}") for kind in ERRORS},
            "qa": Sight("usual", "asha", "/qa"),
            "qa, empty": Sight("usual", "bela", "/qa"),
            "qa, one order": Sight("usual", "asha", f"/qa/{self.refs['ready']}"),
            "qa, one lost": Sight("usual", "asha", f"/qa/{self.refs['stuck']}"),
            **{f"desk {page}": Sight("usual", "olga", f"/operator/{page}") for page in DESK},
            "desk order": Sight("usual", "olga", f"/operator/orders/{self.refs['held']}"),
            "desk order, delivered": Sight("usual", "olga", f"/operator/orders/{self.refs['ready']}"),
            "desk message": Sight("usual", "olga", "/operator/message?id=msg_broken"),
            "desk search": Sight("usual", "olga", "/operator/search?q=asha@example.com"),
            "desk search, nothing": Sight("usual", "olga", "/operator/search?q=nobody"),
            "receipt": Sight("usual", "asha", f"/orders/{self.refs['ready']}/receipt"),
            "receipt, returned": Sight("usual", "asha", f"/orders/{self.refs['returned']}/receipt"),
            "receipt, invoice to come": Sight(
                "usual", "asha", f"/orders/{self.refs['ready, invoice to come']}/receipt"
            ),
            "receipt, long": Sight("usual", lena, f"/orders/{self.refs['long, ready']}/receipt"),
        }
        for phase, ref in self.refs.items():
            who = lena if phase in OF_LENA else "asha"
            found[f"order {phase}"] = Sight("usual", who, f"/orders/{ref}/failure")
        for phase, (order, page, query) in SEEN_AS.items():
            found[f"order {phase}"] = Sight("usual", "asha", f"/orders/{self.refs[order]}/{page}{query}")
        return found


DESK = ("", "orders", "messages", "letters", "refused", "doctor")
ERRORS: dict[str, Exception] = {
    "400": BadRequest(),
    "403": Forbidden(),
    "404": NotFound(),
    "405": MethodNotAllowed(),
    "413": RequestEntityTooLarge(),
    "429": TooManyRequests(),
    "500": RuntimeError("shown in the gallery"),
    "503": CatalogUnavailable(),
    "busy": DatabaseBusy(),
    "away": OperationalError("SELECT 1", {}, Exception("shown in the gallery")),
    "no-payments": NeverSent("shown in the gallery"),
    "old-form": CSRFError(),
}


def paperwork(refs: dict[str, str], now: datetime) -> Iterator[Any]:
    """What the operators' pages show besides orders."""
    body = '{"event_type": "checkout.session.completed", "checkout_session": {"id": "cs_4"}}'
    told = {"event_type": "checkout.session.completed", "customer_id": "cust_01", "received_at": now}
    yield InboxMessage(
        id="msg_read",
        object_id="cs_4",
        order_ref=refs["ready"],
        body=body,
        attempts=1,
        next_try_at=now,
        handled_at=now,
        outcome="order paid",
        **told,
    )
    yield InboxMessage(
        id="msg_broken",
        object_id="cs_13",
        order_ref=refs["stuck"],
        body=body,
        attempts=4,
        next_try_at=now + timedelta(minutes=9),
        outcome="KeyError: 'invoice'",
        traceback="Traceback (most recent call last):\n  File …, line 77, in settle\nKeyError: 'invoice'",
        **told,
    )
    yield OperatorNote(
        at=now, who="olga@example.com", subject="order", subject_id=refs["held"], text="Asked the bank."
    )
    yield Refusal(
        at=now,
        cause="clock",
        says="the signature is right, but 4000 seconds old",
        count=3,
        sender="203.0.113.9",
        agent="Svix-Webhooks/1.62",
        message_id="msg_old",
        body_bytes=812,
        body_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    )


def add_corners(app: Flask) -> None:
    """Errors on request, and letters as a mail program shows them."""

    def fail(kind: str) -> NoReturn:
        raise ERRORS[kind]

    def mail(kind: str) -> Response:
        letter = db.session.query(Letter).filter_by(kind=kind).first()
        assert letter is not None
        return Response(letter.body_html)

    def let_style(response: Response) -> Response:
        if request.endpoint == "gallery.mail":
            response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response

    app.add_url_rule("/gallery/error/<kind>", "gallery.fail", fail)
    app.add_url_rule("/gallery/mail/<kind>", "gallery.mail", mail)
    app.after_request_funcs[None].insert(0, let_style)  # the last to speak


@contextmanager
def standing(home: Path) -> Iterator[Gallery]:
    """The shop on a port of its own, its rows in `home`."""

    def answer(environ: Any, start: Any) -> Any:
        """Whole before it is sent: this server leaves a file open when the browser hangs up in its middle."""
        pieces, status, headers = run_wsgi_app(app, environ, buffered=True)
        start(status, headers.to_wsgi_list())
        return pieces

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    url = f"http://127.0.0.1:{server.port}"
    app = create_app(
        Settings.from_env(
            {
                "FLEXPRICE_API_URL": "http://127.0.0.1:9/v1",
                "FLEXPRICE_API_KEY": "sk_of_the_gallery",
                "FLEXPRICE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
                "STOREFRONT_URL": url,
                "SECRET_KEY": "thirty-two characters, or more..",
                "DATABASE_URL": f"sqlite:///{home}/gallery.db",
                "MAIL_URL": "keep:",
                "MAIL_FROM": "shop@kestrel.test",
                "RATE_LIMITS": "off",
            }
        )
    )
    add_corners(app)
    Base.metadata.create_all(engine := create_engine(f"sqlite:///{home}/gallery.db"))
    engine.dispose()
    gallery = Gallery(app, url)
    gallery.lay_out()
    gallery.sells("usual")
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
