"""A shop on its own database, a shopper's browser, and a Flexprice that answers only what it was told to."""

import base64
import hashlib
import hmac
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import count

import pytest
import responses
from sqlalchemy import event, select, text
from storefront.catalog import Offer

from storefront import create_app, orders, shoppers
from storefront.database import writing
from storefront.extensions import db
from storefront.models import InboxMessage, Order
from storefront.settings import Settings

HOME = "http://127.0.0.1:8000"
API = "http://127.0.0.1:8001/v1"
SIGNING_KEY = b"the shop's own signing key, 32 b"
PASSWORD = "correct horse battery"
NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)


@pytest.fixture
def env(database_url):
    return {
        "FLEXPRICE_API_URL": API,
        "FLEXPRICE_API_KEY": "sk_of_a_test",
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_" + base64.b64encode(SIGNING_KEY).decode(),
        "STOREFRONT_URL": HOME,
        "SECRET_KEY": "thirty-two characters, or more..",
        "DATABASE_URL": database_url,
        "MAIL_URL": "keep:",
        "RATE_LIMITS": "off",
        "MAIL_FROM": "shop@shop.example",
        "PAYMENT_HOSTS": "127.0.0.1:8001",
    }


@pytest.fixture
def build(env):
    """Build a shop, with some settings changed."""
    built = []

    def make(**changes):
        built.append(create_app(Settings.from_env(env | changes)))
        return built[-1]

    yield make
    for app in built:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def app(build):
    return build()


@pytest.fixture
def context(app):
    with app.app_context():
        yield app


@pytest.fixture
def vendor():
    """Flexprice, strictly: a call nobody announced fails, and so does an announced call nobody made."""
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        yield Vendor(mock)


class Vendor:
    def __init__(self, mock):
        self.mock = mock

    @property
    def calls(self):
        return [
            (call.request.method, call.request.url.removeprefix(API).partition("?")[0])
            for call in self.mock.calls
        ]

    def sent(self, number=-1):
        return json.loads(self.mock.calls[number].request.body)

    def answers(self, method, path, body=None, status=200, **more):
        self.mock.add(
            method, API + path, status=status, **({"json": body} if body is not None else {}), **more
        )

    def sells(self, *plans):
        page = {"items": list(plans), "pagination": {"total": len(plans), "limit": 100, "offset": 0}}
        self.answers("POST", "/plans/search", page)

    def opens(self, **changes):
        self.answers("POST", "/checkout/sessions", session(**changes), 201)


def price(amount="499", **changes):
    return {
        "id": f"price_{amount}_{'_'.join(map(str, changes.values()))}",
        "amount": amount,
        "currency": "INR",
        "type": "FIXED",
        "billing_model": "FLAT_FEE",
        "billing_cadence": "RECURRING",
        "billing_period": "MONTHLY",
        "invoice_cadence": "ADVANCE",
        "status": "published",
    } | changes


def plan(*prices, **changes):
    return {"id": "plan_01", "name": "Pro", "prices": list(prices), "entitlements": []} | changes


def session(**changes):
    return {
        "id": "cs_01",
        "customer_id": "cust_01",
        "checkout_status": "pending",
        "checkout_invoice_id": "inv_01",
        "checkout_payment_id": "pay_01",
        "expires_at": "2026-09-01T10:15:00Z",
        "payment_action": {"type": "payment_link", "url": "http://127.0.0.1:8001/pay/abc"},
        "terminal": False,
    } | changes


@pytest.fixture
def samples():
    """What Flexprice sends, by name."""

    class Samples:
        HOME, NOW, PASSWORD = HOME, NOW, PASSWORD

    Samples.price, Samples.plan, Samples.session = map(staticmethod, (price, plan, session))
    return Samples


class Browser:
    """One shopper's browser: keeps cookies, and sends forms as the pages would."""

    def __init__(self, app):
        self.client = app.test_client()

    def get(self, path, **more):
        return self.client.get(path, base_url=HOME, **more)

    def raw_post(self, path, data=None, **more):
        return self.client.post(path, base_url=HOME, data=data, **more)

    def post(self, path, **fields):
        return self.raw_post(path, fields | {"csrf_token": self.token()})

    def token(self):
        page = self.get("/forgot-password").text
        return re.search(r'name="csrf_token"[^>]* value="([^"]+)"', page)[1]

    def sign_in(self, email="asha@example.com", password=PASSWORD, **more):
        return self.post("/sign-in", email=email, password=password, **more)


@pytest.fixture
def open_browser(app):
    return lambda: Browser(app)


@pytest.fixture
def browser(open_browser):
    return open_browser()


@pytest.fixture
def enrol(app):
    """Sign somebody up without a browser, and return their id."""

    def make(email="asha@example.com", flexprice_id="cust_01", operator=False):
        with app.app_context(), writing():
            shopper = shoppers.sign_up("Asha Rao", email, shoppers.hash_password(PASSWORD), NOW)
            shopper.flexprice_id, shopper.is_operator = flexprice_id, operator
            db.session.flush()
            return shopper.id

    return make


@pytest.fixture
def asha(enrol, browser):
    """A browser in which Asha is signed in."""
    enrol()
    assert browser.sign_in().status_code == 303
    return browser


@pytest.fixture
def order_of(app):
    """Place an order without a browser, set its fields, and return its reference."""

    def make(shopper_id=1, plan_id="plan_01", **values):
        if "state" in values:  # an opened one: what it charges was checked in time
            values = {"terms_checked_at": NOW} | values
        with app.app_context(), writing():
            offer = Offer(plan_id, "Pro", "inr", "MONTHLY", Decimal(499))
            order, _ = orders.place(shopper_id, offer, NOW)
            for name, value in values.items():
                setattr(order, name, value)
            return order.ref

    return make


@pytest.fixture
def rows(app):
    """All rows of a table, as they are now, the oldest first."""

    def read(model):
        age = [model.received_at] if model is InboxMessage else model.__table__.primary_key
        with app.app_context():
            found = list(db.session.scalars(select(model).order_by(*age)))
            db.session.expunge_all()
            return found

    return read


@pytest.fixture
def the_order(rows):
    def read():
        (order,) = rows(Order)
        return order

    return read


@pytest.fixture
def sign():
    """Signature headers made by hand, so that the shop does not check its own arithmetic."""

    def make(body, message_id="msg_1", at=None, family="svix", key=SIGNING_KEY):
        stamp = str(int((at or datetime.now(UTC)).timestamp()))
        digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        signature = "v1," + base64.b64encode(digest).decode()
        return {
            f"{family}-id": message_id,
            f"{family}-timestamp": stamp,
            f"{family}-signature": signature,
        }

    return make


@pytest.fixture
def tell(app, tell_to):
    """Deliver a webhook."""
    return partial(tell_to, app)


@pytest.fixture
def tell_to(sign):
    """Deliver it to one shop of several."""

    def deliver(app, body, headers=None, **signing):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = sign(raw, **signing) if headers is None else headers
        return app.test_client().post(
            "/webhooks/flexprice",
            base_url=HOME,
            data=raw,
            headers=headers,
            content_type="application/json",
        )

    return deliver


def news(status="completed", **changes):
    return {
        "event_type": f"checkout.session.{status}",
        "checkout_session": session(checkout_status=status),
    } | changes


@pytest.fixture(name="news")
def _news():
    return news


SOMEBODY_WAITS = text(
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def meanwhile(app):
    """On PostgreSQL somebody else writes and commits: just before our first statement that begins so.

    Or before the one of this number. Or they wait for a row of ours, and write when we have committed.
    """
    with app.app_context():
        engine = db.engine

    def write(do):
        with app.app_context(), writing():
            return do()

    @contextmanager
    def interrupted(when, do):
        others, numbers = [], count()

        def it_is_time(said):
            return next(numbers) == when if isinstance(when, int) else said.startswith(when)

        def interrupt(_connection, _cursor, said, *_):
            if not others and it_is_time(said):
                others.append(None)
                others[0] = somebody.submit(write, do)
                while not (others[0].done() or somebody_waits()):
                    time.sleep(0.005)

        with ThreadPoolExecutor(1) as somebody:
            event.listen(engine, "before_cursor_execute", interrupt)
            yield
            event.remove(engine, "before_cursor_execute", interrupt)
            assert others, f"there was no {when}"
            others[0].result()

    def somebody_waits():
        with engine.connect() as watcher:
            return watcher.execute(SOMEBODY_WAITS).first()

    return interrupted
