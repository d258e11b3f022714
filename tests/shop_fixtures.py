"""The shop on a database of its own, browsers, users, orders, webhooks, and a fake Flexprice."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import responses
from flask import Flask
from sqlalchemy import select
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from tests.samples import API, customer, invoice, plan, price, session, subscription, webhook

HOME = "http://127.0.0.1:8000"
SIGNING_KEY = b"the shop's own signing key, 32 b"
PASSWORD = "correct horse battery"
NOW = datetime(2026, 9, 1, 10, 0)  # noqa: DTZ001 - naive UTC, as in the tables


@pytest.fixture
def env(database_url: str) -> dict[str, str]:
    """The environment of the shop under test."""
    return {
        "FLEXPRICE_API_URL": API,
        "FLEXPRICE_API_KEY": "sk_of_a_test",
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_" + base64.b64encode(SIGNING_KEY).decode(),
        "STOREFRONT_URL": HOME,
        "SECRET_KEY": "thirty-two characters, or more..",
        "DATABASE_URL": database_url,
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@shop.example",
        "RATE_LIMITS": "off",
        "CHECKOUT_PAYMENT_HOSTS": "127.0.0.1:8001",
    }


@pytest.fixture
def make_app(env: dict[str, str]) -> Iterator[Callable[..., Flask]]:
    """Builds a shop: `make_app(RATE_LIMITS="memory:")` changes some of the environment."""
    from storefront import create_app
    from storefront.extensions import db
    from storefront.settings import Settings

    made: list[Flask] = []

    def make(**changes: str) -> Flask:
        made.append(create_app(Settings.from_env(env | changes)))
        return made[-1]

    yield make
    for app in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture(scope="session")
def shared_apps() -> Iterator[dict[str, Flask]]:
    """One shop for each set of settings, since making one takes longer than most tests here."""
    from storefront.extensions import db

    apps: dict[str, Flask] = {}
    yield apps
    for app in apps.values():
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(
    env: dict[str, str],
    make_app: Callable[..., Flask],
    shared_apps: dict[str, Flask],
    sqlite_in: Callable[[Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Flask:
    """The shop as if it were new: no rows, nothing cached, its settings as made. On PostgreSQL it is new."""
    from storefront import create_app
    from storefront.extensions import db, limiter
    from storefront.operations.qa.answers import Answers
    from storefront.operations.qa.ribbon import Ribbon
    from storefront.settings import Settings

    if not env["DATABASE_URL"].startswith("sqlite"):
        return make_app()
    key = repr(sorted((env | {"DATABASE_URL": ""}).items()))
    if key not in shared_apps:
        url = sqlite_in(tmp_path_factory.mktemp("shared"))
        shared_apps[key] = made = create_app(Settings.from_env(env | {"DATABASE_URL": url}))
        made.extensions["as made"] = dict(made.config), url, dict(vars(limiter))
    app = shared_apps[key]
    app.config.clear()
    config, env["DATABASE_URL"], limits = app.extensions["as made"]
    app.config.update(config)
    vars(limiter).update(limits)  # it is one for all apps of a process, with the store of the last
    for name in ("client", "catalog", "verifier", "shared_header"):
        vars(app.extensions["checkout"]).pop(name, None)
    app.extensions["qa_answers"], app.extensions["qa_ribbon"] = Answers(), Ribbon()
    app.extensions["subscriptions"].usage.clear()
    with app.app_context():
        if limiter.enabled:
            limiter.reset()
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(table.delete())
        db.session.commit()
    return app


@pytest.fixture
def context(app: Flask) -> Iterator[Flask]:
    """The shop with its app context pushed."""
    with app.app_context():
        yield app


@pytest.fixture(autouse=True)
def _fast_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop's own hash is slow on purpose; one test is about that."""
    from storefront.accounts import service

    fast = partial(generate_password_hash, method="pbkdf2:sha256:1")
    monkeypatch.setattr(service, "generate_password_hash", fast)
    monkeypatch.setattr(service, "UNKNOWN_USER_HASH", fast("the password of no user"))


# -- Flexprice --------------------------------------------------------------------------------------


class FakeFlexprice:
    """Strict: a call that was not announced fails, and so does an announced call that was not made."""

    price, plan, session, customer = (
        staticmethod(price),
        staticmethod(plan),
        staticmethod(session),
        staticmethod(customer),
    )
    invoice, subscription = staticmethod(invoice), staticmethod(subscription)

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.mock = mock

    @property
    def calls(self) -> list[tuple[str, str]]:
        """(method, path) of every call so far."""
        return [
            (str(call.request.method), str(call.request.url).removeprefix(API).partition("?")[0])
            for call in self.mock.calls
        ]

    @property
    def timeouts_s(self) -> list[float]:
        """How long each call so far may take: to connect and to read its answer."""
        return [sum(call.request.req_kwargs["timeout"]) for call in self.mock.calls]

    def sent(self, number: int = -1) -> Any:
        """The JSON body of a call."""
        return json.loads(self.mock.calls[number].request.body or "null")

    def answer(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> None:
        """Announce a call and its answer."""
        self.mock.add(
            method, API + path, status=status, **({"json": body} if body is not None else {}), **more
        )

    def sells(self, *plans: dict[str, Any]) -> None:
        page = {"items": list(plans), "pagination": {"total": len(plans), "limit": 100, "offset": 0}}
        self.answer("POST", "/plans/search", page)

    def opens(self, **changes: Any) -> None:
        self.answer("POST", "/checkout/sessions", session(**changes), 201)


@pytest.fixture
def flexprice() -> Iterator[FakeFlexprice]:
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        yield FakeFlexprice(mock)


# -- people -----------------------------------------------------------------------------------------


class Browser:
    """A browser with cookies. `post` sends a form as a page of the shop does, `raw_post` anything."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(path, base_url=HOME, **more)

    def raw_post(self, path: str, data: Any = None, **more: Any) -> TestResponse:
        return self.client.post(path, base_url=HOME, data=data, **more)

    def post(self, path: str, **fields: Any) -> TestResponse:
        if self.client.get_cookie("storefront", "127.0.0.1") is None:
            self.get("/sign-in")
        return self.raw_post(path, fields, headers={"Sec-Fetch-Site": "same-origin"})

    def sign_in(self, email: str = "asha@example.com", password: str = PASSWORD, **more: Any) -> TestResponse:
        return self.post("/sign-in", email=email, password=password, **more)


@pytest.fixture
def open_browser(app: Flask) -> Callable[[], Browser]:
    return lambda: Browser(app)


@pytest.fixture
def browser(open_browser: Callable[[], Browser]) -> Browser:
    return open_browser()


@pytest.fixture
def add_user(app: Flask) -> Callable[..., int]:
    """Adds a user without a browser: `add_user("ben@example.com", operator=True)` gives the id."""
    from storefront.accounts import service
    from storefront.extensions import db

    def add(email: str = "asha@example.com", name: str = "Asha Rao", operator: bool = False) -> int:
        with app.app_context():
            user = service.sign_up(name, email, service.hash_password(PASSWORD))
            user.is_operator = operator
            db.session.commit()
            return user.id

    return add


@pytest.fixture
def asha(add_user: Callable[..., int], browser: Browser) -> Browser:
    """A browser in which the user Asha (id 1) is signed in."""
    add_user()
    assert browser.sign_in().status_code == 303
    return browser


@pytest.fixture
def operator(add_user: Callable[..., int], open_browser: Callable[[], Browser]) -> Browser:
    """A browser in which an operator is signed in."""
    add_user("olga@example.com", "Olga", operator=True)
    browser = open_browser()
    assert browser.sign_in("olga@example.com").status_code == 303
    return browser


# -- rows -------------------------------------------------------------------------------------------


@pytest.fixture
def add_order(app: Flask) -> Callable[..., str]:
    """Adds an order without a browser, with any column set: `add_order(state="paid")` gives its reference."""
    from storefront.checkout.states import HOLDS_SLOT, OPEN, State
    from storefront.extensions import db
    from storefront.models import Order, User, random_key

    def add(user_id: int = 1, plan_id: str = "plan_01", **values: Any) -> str:
        with app.app_context():
            user = db.session.get_one(User, user_id)
            state, ref = State(values.get("state", State.PLACED)), random_key()
            defaults: dict[str, Any] = {
                "ref": ref,
                "user_id": user_id,
                "slot": f"{user.key} {plan_id}" if state in HOLDS_SLOT else None,
                "customer_key": user.key,
                "customer_name": user.name,
                "customer_email": user.email,
                "plan_id": plan_id,
                "plan_name": "Pro",
                "currency": "inr",
                "billing_period": "MONTHLY",
                "amount_text": "499",
                "return_url": f"{HOME}/orders/{ref}",
                "created_at": NOW,
                "status_changed_at": NOW,
                "invoice_verified_at": None if state in OPEN else NOW,
            }
            db.session.add(Order(**(defaults | values)))
            db.session.commit()
            return ref

    return add


@pytest.fixture
def rows(app: Flask) -> Callable[[Any], list[Any]]:
    """All rows of a model as they are now, the oldest first."""
    from storefront.extensions import db
    from storefront.models import WebhookEvent

    def read(model: Any) -> list[Any]:
        order = [model.received_at] if model is WebhookEvent else model.__table__.primary_key
        with app.app_context():
            found = list(db.session.scalars(select(model).order_by(*order)))
            db.session.expunge_all()
            return found

    return read


@pytest.fixture
def the_order(rows: Callable[[Any], list[Any]]) -> Callable[[], Any]:
    """The only order there is."""
    from storefront.models import Order

    def read() -> Any:
        (order,) = rows(Order)
        return order

    return read


# -- webhooks ---------------------------------------------------------------------------------------


def sign(
    body: bytes,
    message_id: str = "msg_1",
    at: datetime | None = None,
    family: str = "svix",
    key: bytes = SIGNING_KEY,
) -> dict[str, str]:
    """Signature headers made by hand, so that the shop does not check its own arithmetic."""
    stamp = str(int((at or datetime.now(UTC)).timestamp()))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {f"{family}-id": message_id, f"{family}-timestamp": stamp, f"{family}-signature": signature}


def send_webhook_to(
    app: Flask, body: Any, headers: dict[str, str] | None = None, **signing: Any
) -> TestResponse:
    """Deliver a webhook to one shop of several. `body` is bytes, or anything that becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return app.test_client().post(
        "/webhooks/flexprice",
        base_url=HOME,
        data=raw,
        headers=sign(raw, **signing) if headers is None else headers,
        content_type="application/json",
    )


@pytest.fixture
def send_webhook(app: Flask) -> Callable[..., TestResponse]:
    """Delivers a signed webhook: `send_webhook(webhook("completed"), message_id="msg_2")`."""
    return partial(send_webhook_to, app)


@pytest.fixture(name="webhook")
def _webhook() -> Callable[..., dict[str, Any]]:
    """The body of a checkout.session.* webhook: `webhook("completed", …)`."""
    return webhook


@pytest.fixture
def work(app: Flask) -> Callable[[], int]:
    """One turn of the checkout's worker."""
    from storefront.extensions import checkout

    def turn() -> int:
        with app.app_context():
            return checkout.run_once()

    return turn
