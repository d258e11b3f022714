"""Every page of the shop in every state, without a payment: for looking at, and for what holds of all pages.

The walks (test_buying.py and its neighbours) go through the whole demo. Here the shop stands alone with rows
laid out beforehand, so that a state which takes a lost message and an hour to reach is one address.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from flask import Flask
from flask_wtf.csrf import CSRFError
from sqlalchemy import create_engine
from werkzeug.exceptions import BadRequest, MethodNotAllowed, RequestEntityTooLarge, TooManyRequests
from werkzeug.security import generate_password_hash
from werkzeug.serving import make_server

from storefront import create_app, outbox, shoppers
from storefront.catalog import Catalog
from storefront.database import DatabaseBusy, writing
from storefront.extensions import db
from storefront.flexprice import Entitlement, NeverSent, Plan, Price
from storefront.lifecycle import State
from storefront.models import Access, Base, Order, Shopper
from storefront.settings import Settings

PASSWORD = "a sentence to remember"
LONG_NAME = "The plan for people who could not decide between the others!"  # 60 characters
assert len(LONG_NAME) == 60


# -- what is for sale -------------------------------------------------------------------------------


def price(amount: str, currency: str, period: str, **more: Any) -> Price:
    kind = {"type": "FIXED", "billing_model": "FLAT_FEE", "billing_cadence": "RECURRING"} | more
    return Price.from_json(
        {"id": "p", "amount": amount, "currency": currency, "billing_period": period} | kind
    )


def plan(name: str, rupees: str, features: dict[str, Any], **more: Any) -> Plan:
    year = str(Decimal(rupees) * 10)
    prices = (
        price(rupees, "inr", "MONTHLY"),
        price(year, "inr", "ANNUAL"),
        price(str(Decimal(rupees) / 50), "usd", "MONTHLY"),
    )
    return Plan(
        **{
            "id": "plan_" + name.lower().replace(" ", "_")[:20],
            "name": name,
            "description": f"{name}, described in one line",
            "prices": prices,
            "entitlements": tuple(entitlement(*item) for item in features.items()),
        }
        | more
    )


def entitlement(name: str, value: Any) -> Entitlement:
    if isinstance(value, bool):
        return Entitlement(name, "boolean", value)
    if isinstance(value, str):
        return Entitlement(name, "static", True, static_value=value)
    return Entitlement(name, "metered", True, usage_limit=value, usage_reset_period="MONTHLY")


SMALL = {"E-mails": 10000, "API calls": 50000, "Custom domain": True, "Support": "E-mail"}
TEAM = SMALL | {"E-mails": 100000, "Team seats": 10, "Support": "Priority e-mail"}
LARGE = TEAM | {
    "E-mails": None,
    "API calls": 5000000,
    "Single sign-on": True,
    "Support": "Phone, day and night",
}
FOURTEEN = LARGE | {f"Something more, number {number}": number % 3 != 0 for number in range(1, 8)}
USUAL = (
    plan("Starter", "499", SMALL),
    plan("Team", "1499.50", TEAM, metadata={"highlight": "true"}),
    plan("Business", "4999", LARGE | {"API calls": None}),
)
SHELVES: dict[str, tuple[Plan, ...] | None] = {
    "usual": USUAL,
    "one": USUAL[:1],
    "two": USUAL[:2],
    "nine": tuple(plan(f"Plan {number}", f"{number}99", SMALL) for number in range(1, 10)),
    "long": (
        *USUAL[:2],
        plan(LONG_NAME, "123456.50", FOURTEEN, description="A description that goes on. " * 9),
        plan(
            "Donaudampfschifffahrtsgesellschaftskapitän", "1", {"Rindfleischetikettierungsüberwachung": True}
        ),
    ),
    "odd": (
        plan("Free", "0", {"E-mails": 100}),
        plan("Pay as you go", "1", SMALL, prices=(price("0.05", "inr", "MONTHLY", type="USAGE"),)),
        plan("Pacific", "1", SMALL, prices=(price("1500", "jpy", "MONTHLY"),)),
        plan("Bare", "250", {}, description="", prices=(price("9", "usd", "ANNUAL"),)),
    ),
    "none": (),
    "down": None,
}


class Shelf:
    """Stands in for Flexprice where the catalog asks for plans."""

    def __init__(self, plans: Sequence[Plan] | None) -> None:
        self.plans = plans

    def search_plans(self) -> list[Plan]:
        if self.plans is None:
            raise NeverSent("Flexprice is down")
        return list(self.plans)


# -- the orders, one in every state -----------------------------------------------------------------

SESSION = {"opening_at": timedelta(minutes=-3), "expires_at": timedelta(minutes=12)}
PAID = SESSION | {"paid_at": timedelta(minutes=-1)}
DONE = PAID | {"fulfilled_at": timedelta(minutes=-1)}
RECEIPT = {
    "invoice_number": "INV-202609-00042",
    "invoice_total": Decimal("588.82"),
    "subscription_id": "subs_01",
}

# phase shown: state, times from now, and other columns
ORDERS: dict[str, tuple[State, dict[str, timedelta], dict[str, Any]]] = {
    "unopened": (State.PLACED, {}, {}),
    "preparing": (State.PLACED, {"opening_at": timedelta(minutes=-3)}, {}),
    "waiting": (State.AWAITING_PAYMENT, SESSION, {"payment_url": "https://rzp.io/i/gallery"}),
    "paid": (State.PAID, PAID, {}),
    "ready": (State.FULFILLED, DONE, RECEIPT),
    "failed": (State.FAILED, SESSION, {}),
    "expired": (State.EXPIRED, SESSION, {}),
    "cancelled": (State.CANCELLED, SESSION, {}),
    "late": (State.PAID_LATE, SESSION, {}),
    "twice": (State.PAID_TWICE, PAID, {}),
    "stuck": (State.STUCK, PAID, {}),
}
SEEN_AS = {  # the same orders by another address
    "checking": ("waiting", "success", ""),
    "slow": ("waiting", "failure", "?since=1"),
}


@dataclass
class Gallery:
    app: Flask
    url: str
    refs: dict[str, str] = field(default_factory=dict)

    def sells(self, shelf: str) -> None:
        self.app.extensions["catalog"] = Catalog(Shelf(SHELVES[shelf]))  # type: ignore[arg-type]

    def lay_out(self, name: str = "Asha Rao", email: str = "asha@example.com") -> None:
        now = datetime.now(UTC)
        quick = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
        with self.app.app_context(), writing():
            asha = shoppers.sign_up(name, email, quick, now)
            shoppers.sign_up("Bela", "bela@example.com", quick, now)
            shoppers.sign_up("Olga", "olga@example.com", quick, now).is_operator = True
            for number, (phase, (state, times, more)) in enumerate(ORDERS.items()):
                order = self._order(asha, number, phase, now)
                order.state = state
                for column, gap in times.items():
                    setattr(order, column, now + gap)
                for column, value in more.items():
                    setattr(order, column, value)
                db.session.add(order)
                db.session.flush()
                self.refs[phase] = order.ref
                if phase == "ready":
                    self._owns(asha, order, now)
                if phase in ("ready", "failed"):
                    outbox.write({"ready": "welcome", "failed": "payment_failed"}[phase], asha, now, order)

    def _order(self, asha: Shopper, number: int, phase: str, now: datetime) -> Order:
        return Order(
            shopper_id=asha.id,
            plan_id="plan_starter" if phase == "ready" else f"plan_{number}",
            plan_name="Starter",
            currency="inr",
            billing_period="MONTHLY",
            amount=Decimal(499),
            created_at=now - timedelta(minutes=4),
            session_id=f"cs_{number}" if "expires_at" in ORDERS[phase][1] else None,
            next_ask_at=now + timedelta(days=1),  # nothing is asked of a Flexprice that is not there
        )

    def _owns(self, asha: Shopper, order: Order, now: datetime) -> None:
        access = Access(plan_id=order.plan_id, plan_name=order.plan_name, order_id=order.id, granted_at=now)
        access.shopper_id, access.subscription_id = asha.id, order.subscription_id
        db.session.add(access)

    def pages(self) -> dict[str, tuple[str, str, str]]:
        """Name: what is for sale, who looks, and where."""
        found = {
            **{f"plans {shelf}": (shelf, "", "/") for shelf in SHELVES},
            "plans by the year": ("usual", "", "/?period=ANNUAL"),
            "plans, one owned": ("usual", "asha", "/"),
            "a plan": ("usual", "", "/plans/plan_team?period=ANNUAL"),
            "a long plan": ("long", "", f"/plans/{SHELVES['long'][2].id}"),  # type: ignore[index]
            "a plan, owned": ("usual", "asha", "/plans/plan_starter"),
            "a plan, down": ("down", "", "/plans/plan_team"),
            "sign in": ("usual", "", "/sign-in"),
            "sign up": ("usual", "", "/sign-up"),
            "forgotten": ("usual", "", "/forgot-password"),
            "account": ("usual", "asha", "/account"),
            "account, empty": ("usual", "bela", "/account"),
            "members": ("usual", "asha", "/members"),
            "letters": ("usual", "asha", "/letters"),
            "letters, empty": ("usual", "bela", "/letters"),
            "a letter": ("usual", "asha", "/letters/1"),
            "not found": ("usual", "", "/nowhere"),
            **{f"error {kind}": ("usual", "", f"/gallery/{kind}") for kind in ERRORS},
            "qa": ("usual", "asha", "/qa"),
            "qa, empty": ("usual", "bela", "/qa"),
            "qa, one order": ("usual", "asha", f"/qa/{self.refs['ready']}"),
            **{f"desk {page}": ("usual", "olga", f"/operator/{page}") for page in DESK},
            "desk order": ("usual", "olga", f"/operator/orders/{self.refs['stuck']}"),
            "desk search": ("usual", "olga", "/operator/search?q=asha"),
            "receipt": ("usual", "asha", f"/orders/{self.refs['ready']}/receipt"),
        }
        for phase, ref in self.refs.items():
            found[f"order {phase}"] = ("usual", "asha", f"/orders/{ref}/failure")
        for phase, (order, page, query) in SEEN_AS.items():
            found[f"order {phase}"] = ("usual", "asha", f"/orders/{self.refs[order]}/{page}{query}")
        return found


DESK = ("", "orders", "messages", "letters", "refused")
ERRORS: dict[str, Exception] = {
    "400": BadRequest(),
    "405": MethodNotAllowed(),
    "413": RequestEntityTooLarge(),
    "429": TooManyRequests(),
    "500": RuntimeError("shown in the gallery"),
    "busy": DatabaseBusy(),
    "no-payments": NeverSent("shown in the gallery"),
    "old-form": CSRFError(),
}


def add_errors(app: Flask) -> None:
    def fail(kind: str) -> NoReturn:
        raise ERRORS[kind]

    app.add_url_rule("/gallery/<kind>", "gallery.fail", fail)


@contextmanager
def standing(home: Path) -> Iterator[Gallery]:
    """The shop on a port of its own, its rows in `home`."""
    server = make_server("127.0.0.1", 0, lambda environ, start: app(environ, start), threaded=True)
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
    add_errors(app)
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
