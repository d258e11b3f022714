"""The real shop and the real sandbox in one process, without a socket: quick, and the same every time.

Requests, signatures and rows are real. A call goes wrong only where a test says so, and the shop can be
killed at each commit and at each call.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask
from requests.adapters import BaseAdapter
from sqlalchemy import DateTime, delete, event, select
from urllib3 import HTTPResponse
from werkzeug.test import Client as WsgiClient
from werkzeug.test import TestResponse

from storefront.accounts import service
from storefront.billing import Invoice as ShopInvoice
from storefront.billing import Subscription
from storefront.checkout import commands, orders
from storefront.checkout.context import commit
from storefront.emails.models import Email
from storefront.extensions import checkout, db
from storefront.flexprice import Client
from storefront.models import Order, OrderTransition, PlanAccess, User, WebhookEvent
from storefront.sandbox.delivery.build import build
from storefront.sandbox.engine.catalog import prices_of
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store.base import Base
from storefront.sandbox.store.billing_rows import Invoice, Payment
from storefront.sandbox.store.control_rows import Event
from storefront.sandbox.store.rows import CheckoutSession, ProviderLink
from storefront.sandbox.store.values import stable_id
from tests import sandboxes
from tests.shop_fixtures import HOME, send_webhook_to

SANDBOX = "http://127.0.0.1:8001"
CREATE = ("POST", "/v1/checkout/sessions")
SEARCH = ("POST", "/v1/subscriptions/search")
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
KEPT_BY_SANDBOX = {
    "stores", "customers", "plans", "prices", "features", "entitlements", "credit_grants", "overrides"
}  # fmt: skip


class Killed(BaseException):
    """kill -9, as far as the code can tell: nothing after this line runs."""


class Instead(Exception):
    """What answers a call in place of Flexprice."""

    def __init__(self, status: int, body: bytes = b"<html>x</html>") -> None:
        self.status, self.body = status, body


ANYWHERE = dict.fromkeys(("call", "answer", "commit", "committed", "mail", "mailed"), Killed)


class Wire(BaseAdapter):
    """Carries the shop's calls to the sandbox, and goes wrong on request."""

    def __init__(self, sandbox: Flask) -> None:
        super().__init__()
        self.sandbox = WsgiClient(sandbox)
        self.faults: dict[tuple[str, str], str] = {}  # the next call there goes wrong in this way
        self.during_create: Callable[[], object] | None = None  # done before the shop hears of its session
        self.steps_left: int | None = None  # commits and calls until the shop's process is killed
        self.breaks: dict[str, Callable[[], BaseException]] = dict(ANYWHERE)  # or what else happens there
        self.lasts = False  # from that step on, not only there

    def step(self, where: str) -> None:
        if self.steps_left is not None and where in self.breaks:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.steps_left = 0 if self.lasts else None
                raise self.breaks[where]()

    @contextmanager
    def other_process(self) -> Iterator[None]:
        """What runs here is not killed."""
        steps, self.steps_left = self.steps_left, None
        try:
            yield
        finally:
            self.steps_left = steps

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        try:
            return self._carry(request)
        except Instead as other:
            return self._answer(request, other.status, other.body, {})

    def _carry(self, request: requests.PreparedRequest) -> requests.Response:
        self.step("call")
        call = (request.method or "", urlsplit(request.url or "").path)
        fault = self.faults.pop(call, "")
        if fault == "unreachable":
            raise requests.ConnectTimeout(request=request)
        if fault == "hangs":
            raise requests.ReadTimeout(request=request)
        if fault == "refused for now":
            return self._answer(request, 503, b"", {})
        if fault == "shows nothing":
            return self._answer(request, 200, b'{"items": [], "pagination": {"total": 0}}', {})
        with self.other_process():
            got = self.sandbox.open(
                request.path_url, method=request.method, base_url=SANDBOX, data=request.body,
                headers=dict(request.headers),
            )  # fmt: skip
            answer = self._answer(request, got.status_code, got.get_data(), dict(got.headers))
        if call == CREATE and self.during_create:
            act, self.during_create = self.during_create, None
            act()
        if fault == "lost":
            raise requests.ReadTimeout(request=request)
        if fault == "hidden by a proxy":
            return self._answer(request, 502, b"<html>bad gateway</html>", {})
        self.step("answer")
        return answer

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _answer(
        request: requests.PreparedRequest, status: int, body: bytes, headers: dict[str, str]
    ) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, request.url or ""
        response.headers.update(headers)
        response.raw = HTTPResponse(io.BytesIO(body), preload_content=False)
        return response


class ShopAndSandbox:
    """Both sides, and everything that may happen on them."""

    def __init__(self, shop: Flask, sandbox_url: str) -> None:
        self.shop = shop
        self.sandbox = sandboxes.start(
            SandboxSettings(database_url=sandbox_url, url=SANDBOX, webhook_url="", api_key="sk_of_a_test")
        )
        self.store = self.sandbox.extensions["sandbox"]
        self.wire = Wire(self.sandbox)
        self._bodies: dict[str, bytes] = {}
        assert self._sandbox("/_sandbox/webhooks", json={"mode": "hold"}).status_code == 200
        http = requests.Session()
        http.mount(SANDBOX, self.wire)
        shop.extensions["checkout"].client = Client(f"{SANDBOX}/v1", "sk_of_a_test", session=http)
        with shop.app_context():
            event.listen(db.engine, "commit", self._before_commit)
            event.listen(db.engine, "before_cursor_execute", self._before_statement)
            event.listen(db.session, "after_commit", self._after_commit)

    def close(self) -> None:
        with self.shop.app_context():
            event.remove(db.engine, "commit", self._before_commit)
            event.remove(db.engine, "before_cursor_execute", self._before_statement)
            event.remove(db.session, "after_commit", self._after_commit)
        sandboxes.stop(self.sandbox)

    def _before_commit(self, connection: Any) -> None:
        """A server that refuses to commit has ended the transaction."""
        try:
            self.wire.step("commit")
        except Exception:
            connection.connection.dbapi_connection.rollback()
            raise

    def _before_statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            self.wire.step("read")

    def _after_commit(self, _session: Any) -> None:
        self.wire.step("committed")

    def begin_again(self) -> None:
        """As if nothing had ever been bought."""
        self.wire.faults.clear()
        self.wire.steps_left = self.wire.during_create = None
        self.wire.lasts = False
        self._bodies.clear()
        with self.flexprice() as session:
            session.forget_rows()
            for table in Base.metadata.sorted_tables:
                if table.name not in KEPT_BY_SANDBOX:
                    session.orm.execute(table.delete())
        with self.shop.app_context():
            for model in (ShopInvoice, Subscription, Email, PlanAccess, OrderTransition, WebhookEvent, Order):
                db.session.execute(delete(model))
            db.session.commit()
        self.set_price("499")
        self.forget_prices()

    # -- what people do

    def sign_in(self, name: str) -> Any:
        """A browser in which this user is signed in."""
        email = f"{name}@example.com"
        with self.shop.app_context():
            user = db.session.scalar(select(User).where(User.email == email))
            user = user or service.sign_up(name, email, "-")
            db.session.commit()
            session_key = user.session_key
        browser = self.shop.test_client()
        with browser.session_transaction(base_url=HOME) as session:
            session["_user_id"], session["_fresh"] = session_key, True
        return browser

    def buy(self, browser: Any, plan: str = "starter") -> TestResponse:
        offer = {"plan": stable_id("plan", plan), "currency": "inr", "billing_period": "MONTHLY"}
        answer: TestResponse = browser.post("/checkout", base_url=HOME, data=offer, headers=SAME_ORIGIN)
        return answer

    def press_cancel(self, browser: Any, ref: str) -> TestResponse:
        answer: TestResponse = browser.post(f"/orders/{ref}/cancel", base_url=HOME, headers=SAME_ORIGIN)
        return answer

    def on_payment_page(self, session: Any, button: str) -> None:
        """`pay`, `pay late` (begun before the link was closed), `decline`, or the merchant's `cancel`."""
        with self.flexprice() as rows:
            link = rows.need(ProviderLink, session.link_id)
            code, url, paid = link.code, link.url, link.state == "paid"
        if button == "pay late":
            if not paid:
                self._sandbox("/_sandbox/provider", json={"action": "pay", "link": url})
            return
        data = {"other": "success@razorpay" if button == "pay" else "failure@razorpay"}
        if button == "cancel":
            self._sandbox(f"/pay/{code}/cancel")
        else:
            self._sandbox(f"/pay/{code}/pay", data=data)

    def decide(self, ref: str, how: Callable[..., bool]) -> bool:
        """An operator decides about an order."""
        with self.shop.app_context():
            order = orders.find(ref=ref)
            moved = how(order, by="operator:olga@example.com")
            commit()
            return moved

    # -- what the processes do

    def deliver(self, *event_ids: str) -> None:
        """Webhooks in this order; a repeated one says the same again."""
        with self.wire.other_process():
            for event_id in event_ids:
                body = self._bodies.get(event_id) or self._body(event_id)
                if body is None:
                    continue  # its object is archived: Flexprice loses the event
                self._bodies[event_id] = body
                answer = send_webhook_to(self.shop, body, message_id=event_id)
                assert answer.status_code == 204, answer.text

    def _body(self, event_id: str) -> bytes | None:
        with self.flexprice() as session:
            body = build(session, session.need(Event, event_id))
        return body.encode() if body else None

    def work(self) -> int:
        """One turn of the worker: how much it took up."""
        with self.shop.app_context():
            return checkout.run_once()

    def reconcile(self, dry_run: bool = False) -> list[tuple[str, str, str, str]]:
        """As `flask checkout reconcile` does."""
        waiting = [order.id for order in self.orders() if order.is_open or order.state == "paid"]
        act = commands.preview_orders if dry_run else commands.reconcile_orders
        with self.shop.app_context():
            return act(waiting)

    def wait(self, minutes: float) -> None:
        """Time passes for both: the shop's rows move into the past, the sandbox's clock walks on."""
        how_long = timedelta(minutes=minutes)
        with self.wire.other_process(), self.shop.app_context():
            for model in (Order, WebhookEvent):
                columns = [c.key for c in model.__table__.columns if isinstance(c.type, DateTime)]
                for row in db.session.scalars(select(model)):
                    for column in columns:
                        value: datetime | None = getattr(row, column)
                        setattr(row, column, value - how_long if value else None)
            db.session.commit()
        self._sandbox("/_sandbox/clock", json={"advance": f"{int(how_long.total_seconds())}s"})
        if minutes > 1:
            self.forget_prices()

    def forget_prices(self) -> None:
        vars(self.shop.extensions["checkout"]).pop("catalog", None)

    @contextmanager
    def killed_after(self, steps: int | None) -> Iterator[None]:
        """The shop's process dies at the step after a number of commits and calls, if it comes that far."""
        self.wire.steps_left = steps
        try:
            yield
        except Killed:
            with self.shop.app_context():
                db.engine.dispose()  # its connections die with it
        finally:
            self.wire.steps_left = None

    # -- what happens at Flexprice

    def _sandbox(self, path: str, **more: Any) -> TestResponse:
        with self.wire.other_process():
            return self.wire.sandbox.post(path, base_url=SANDBOX, **more)

    def flexprice(self) -> Any:
        """A transaction on Flexprice's own rows."""
        return self.store.write("default")

    def repair(self, session_id: str) -> None:
        """Flexprice's support lets a session count that had ended, unless its money went back."""
        assert self._sandbox(f"/_sandbox/sessions/{session_id}/repair").status_code in (200, 404)

    def set_price(self, amount: str) -> None:
        with self.flexprice() as session:
            for price in prices_of(session, stable_id("plan", "starter")):
                if (price.currency, price.billing_period) == ("inr", "MONTHLY"):
                    price.amount = Decimal(amount)

    def sessions(self) -> list[CheckoutSession]:
        return self._rows_of(CheckoutSession)

    def payments(self) -> list[Payment]:
        return self._rows_of(Payment)

    def invoices(self) -> list[Invoice]:
        return self._rows_of(Invoice)

    def _rows_of(self, model: Any) -> list[Any]:
        with self.flexprice() as session:
            found = list(session.all(model))
            session.orm.expunge_all()
            return found

    def events(self, *kinds: str) -> list[str]:
        """Ids of the events whose types begin so, in the order in which they happened."""
        with self.flexprice() as session:
            found = session.all(Event, order=Event.sequence)
            return [event.id for event in found if event.event_type.startswith(kinds)]

    # -- what the shop has

    def orders(self) -> list[Order]:
        return self._shop_rows(Order)

    def _shop_rows(self, model: Any) -> list[Any]:
        with self.wire.other_process(), self.shop.app_context():
            found = list(db.session.scalars(select(model).order_by(*model.__table__.primary_key)))
            db.session.expunge_all()
            return found

    def accesses(self) -> list[int]:
        """Ids of the orders that granted them."""
        return sorted(access.order_id for access in self._shop_rows(PlanAccess))

    def welcome_emails(self) -> list[int]:
        """Ids of the orders that they are about."""
        return sorted(email.order_id for email in self._shop_rows(Email) if email.kind == "welcome")

    @staticmethod
    def links_on(page: str) -> set[str]:
        return set(re.findall(rf'"({SANDBOX}/pay/\w+)', page))
