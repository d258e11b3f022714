"""Fixtures for the checkout's tests: a Flexprice that sells one plan, a buyer, and time that passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from blinker import NamedSignal
from flask import Flask
from sqlalchemy import DateTime, select
from werkzeug.test import TestResponse

from storefront.checkout import State, orders
from storefront.checkout.context import commit
from storefront.checkout.signals import order_transitioned
from storefront.extensions import checkout, db
from storefront.models import Order, User, WebhookEvent
from tests.samples import invoice, subscription
from tests.shop_fixtures import HOME, NOW

OFFER = {"plan": "plan_01", "currency": "inr", "billing_period": "MONTHLY"}


OPENED = {
    "state": State.AWAITING_PAYMENT,
    "session_id": "cs_01",
    "flexprice_customer_id": "cust_01",
    "invoice_id": "inv_01",
    "payment_id": "pay_01",
    "payment_url": "http://127.0.0.1:8001/pay/abc",
    "session_requested_at": NOW,
    "invoice_verified_at": NOW,
}


def utc_now() -> datetime:
    """As the tables hold it."""
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture(autouse=True)
def _movers_are_known() -> Iterator[None]:
    """Whatever a test does: the timeline says of each transition who made it, in one of these words."""
    movers: set[str] = set()

    def note(_app: Any, by: str, **_: Any) -> None:
        movers.add(by.partition(":")[0])

    order_transitioned.connect(note)
    yield
    order_transitioned.disconnect(note)
    assert movers <= {"customer", "webhook", "worker", "operator", "cli", "reconcile"}


@pytest.fixture
def said(rows: Callable[[Any], list[Any]]) -> Callable[[], str]:
    """What came of the newest webhook event, as an operator reads it."""
    return lambda: str(rows(WebhookEvent)[-1].outcome)


@pytest.fixture
def asha(app: Flask, add_user: Callable[..., int], browser: Any) -> Any:
    """A browser in which the user Asha (id 1) is signed in; without the pages of the sign-in."""
    with app.app_context():
        session_key = db.session.get_one(User, add_user()).session_key
    with browser.client.session_transaction(base_url=HOME) as session:
        session["_user_id"], session["_fresh"] = session_key, True
    return browser


@pytest.fixture
def shop(flexprice: Any) -> Any:
    """A Flexprice that sells one plan, monthly and yearly."""
    flexprice.sells(flexprice.plan(flexprice.price("499"), flexprice.price("4990", billing_period="ANNUAL")))
    return flexprice


@pytest.fixture
def buy(asha: Any) -> Callable[..., TestResponse]:
    """Press Buy: `buy(billing_period="ANNUAL")`."""
    return lambda **changes: asha.post("/checkout", **(OFFER | changes))


@pytest.fixture
def pass_time(app: Flask) -> Callable[[timedelta], None]:
    """Everything that the shop has written moves into the past."""

    def move(how_long: timedelta) -> None:
        with app.app_context():
            for model in (Order, WebhookEvent):
                columns = [c.key for c in model.__table__.columns if isinstance(c.type, DateTime)]
                for row in db.session.scalars(select(model)):
                    for column in columns:
                        value: datetime | None = getattr(row, column)
                        setattr(row, column, value - how_long if value else None)
            db.session.commit()

    return move


@pytest.fixture
def act(app: Flask) -> Callable[..., Any]:
    """Call a function of `orders` with an order, and commit: `act(ref, orders.close, by="operator:o")`."""

    def run(ref: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with app.app_context():
            order = orders.find(ref=ref)
            assert order
            result = function(order, *args, **kwargs)
            commit()
            return result

    return run


@pytest.fixture
def add_opened(app: Flask, add_user: Callable[..., int], add_order: Callable[..., str]) -> Callable[..., str]:
    """Adds Asha's order whose session is open and whose invoice is verified: gives its reference."""
    add_user()
    return lambda **values: add_order(**OPENED | values)


@pytest.fixture
def the_event(rows: Callable[[Any], list[Any]]) -> Callable[[], Any]:
    """The only webhook event there is."""

    def read() -> Any:
        (event,) = rows(WebhookEvent)
        return event

    return read


@pytest.fixture
def fail_to_fulfill(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has `on_fulfill` raise, after it granted access: `fail_to_fulfill(lambda order: order.id == 2)`."""
    grant = checkout.hooks.on_fulfill

    def install(only: Callable[[Any], bool] = lambda order: True) -> None:
        def hook(order: Any) -> None:
            grant(order)
            if only(order):
                raise RuntimeError("the hook is broken")

        monkeypatch.setattr(checkout.hooks, "on_fulfill", hook)

    return install


@pytest.fixture
def sent(app: Flask) -> Callable[..., Any]:
    """Collects a signal: `with sent(order_needs_attention) as notes:`, each the keyword arguments."""

    @contextmanager
    def collect(signal: NamedSignal) -> Iterator[list[dict[str, Any]]]:
        found: list[dict[str, Any]] = []

        def receiver(_app: Any, **values: Any) -> None:
            found.append(values)

        with signal.connected_to(receiver, app):
            yield found

    return collect


@pytest.fixture
def deliver(send_webhook: Any, webhook: Any) -> Any:
    """Delivers a signed webhook about the session."""

    def send(status: str = "completed", message_id: str = "msg_1", **changes: Any) -> None:
        assert send_webhook(webhook(status, **changes), message_id=message_id).status_code == 204

    return send


@pytest.fixture
def invoice_of_order(the_order: Callable[[], Any]) -> Callable[..., dict[str, Any]]:
    """The only order's invoice, with its subscription and customer, as Flexprice sends it."""

    def make(**changes: Any) -> dict[str, Any]:
        bought = subscription(subscription_status="draft")
        buyer = {"id": "cust_01", "external_id": the_order().customer_key}
        return invoice(subscription=bought, customer=buyer) | changes

    return make


@pytest.fixture
def add_due(add_opened: Any) -> Any:
    """Adds an order that has just come to its state and is due."""

    def place(state: State = State.AWAITING_PAYMENT, **values: Any) -> str:
        moment = {
            "status_changed_at": utc_now(),
            "next_attempt_at": utc_now(),
            "session_requested_at": utc_now(),
        }
        return str(add_opened(**{"state": state, "invoice_verified_at": utc_now()} | moment | values))

    return place


@pytest.fixture
def check_for(the_order: Any, work: Any, pass_time: Any) -> Any:
    """Lets time pass until `last`; gives the seconds at which the worker checked the order."""

    def run(last: timedelta) -> list[int]:
        found, begun, passed = [], utc_now(), timedelta()
        while due := the_order().next_attempt_at:
            gap = max(due - utc_now(), timedelta()) + timedelta(milliseconds=1)
            if passed + gap > last:
                pass_time(last - passed)
                break
            pass_time(gap)
            passed += gap
            found.append(round((passed + utc_now() - begun).total_seconds()))  # the work takes time, too
            work()
        return found

    return run


@pytest.fixture
def opened(asha: Any, add_order: Any) -> Any:
    """Adds an order of Asha's, who is signed in; its link is payable for a quarter of an hour."""

    def add(**values: Any) -> str:
        defaults = {
            "state": State.AWAITING_PAYMENT, "session_id": "cs_01", "flexprice_customer_id": "cust_01",
            "payment_url": "http://127.0.0.1:8001/pay/abc", "session_requested_at": utc_now(),
            "expires_at": utc_now() + timedelta(minutes=15), "status_changed_at": utc_now(),
        }  # fmt: skip
        return str(add_order(**defaults | values))

    return add
