"""The whole shop and the whole sandbox in one process, talking over real HTTP, and a shopper who clicks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
import requests
from flask import Response
from sqlalchemy import DateTime, select, update
from werkzeug.serving import BaseWSGIServer, make_server

from storefront import billing
from storefront import create_app as create_shop
from storefront.checkout import orders
from storefront.checkout.context import commit
from storefront.emails.models import Email
from storefront.extensions import checkout, db
from storefront.models import Order, PlanAccess, WebhookEvent
from storefront.sandbox.engine import time_travel
from storefront.sandbox.engine.catalog import prices_of
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store.billing_rows import Invoice, Subscription
from storefront.sandbox.store.control_rows import Delivery, Event
from storefront.sandbox.store.rows import CheckoutSession, Customer
from storefront.settings import Settings
from tests import sandboxes
from tests.conftest import NewDatabase

SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
KEY = "sk_sandbox_journeys"
QA_TOKEN = "a-token-of-the-test-bench-4711"
PASSWORD = "a sentence to remember"
SESSIONS = "/v1/checkout/sessions"


class Forms(HTMLParser):
    """The forms of a page, with their fields, and what the page says of the order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.phase: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attr = dict(attrs)
        self.phase = attr.get("data-phase") or self.phase
        if tag == "form":
            self.forms.append({"action": attr.get("action") or "", "fields": {}})
        name, off = attr.get("name"), attr.get("type") in ("radio", "checkbox") and "checked" not in attr
        if tag == "input" and self.forms and name and not off:
            self.forms[-1]["fields"][name] = attr.get("value") or ""

    def form(self, action: str) -> dict[str, Any]:
        return next(form for form in self.forms if form["action"].endswith(action))

    def offers(self, action: str) -> bool:
        return any(form["action"].endswith(action) for form in self.forms)


class Shopper:
    """Somebody with a browser: reads pages, fills forms, follows where they lead."""

    def __init__(self, shop_url: str) -> None:
        self.shop_url = shop_url
        self.http = requests.Session()
        self.email = ""

    def see(self, path: str) -> requests.Response:
        return self.http.get(urljoin(self.shop_url, path), timeout=20)

    def send(self, page: requests.Response, action: str, **typed: str) -> requests.Response:
        """Fill in the page's form and press its button; does not follow the answer."""
        form = Forms(page.text).form(action)
        url = urljoin(page.url, form["action"])
        return self.http.post(url, data=form["fields"] | typed, timeout=40, allow_redirects=False)

    def send_by_hand(self, path: str, **fields: str) -> requests.Response:
        """A form that no page shows, with a token from one that does."""
        token = next(
            form["fields"]["csrf_token"]
            for form in Forms(self.see("/account").text).forms
            if "csrf_token" in form["fields"]
        )
        url = urljoin(self.shop_url, path)
        return self.http.post(url, data=fields | {"csrf_token": token}, timeout=40, allow_redirects=False)

    def sign_up(self, name: str = "Asha Rao") -> None:
        self.email = f"{name.split()[0].lower()}@example.com"
        page = self.see("/sign-up")
        answer = self.send(page, "", name=name, email=self.email, password=PASSWORD)
        assert answer.status_code == 303, answer.text

    def plan_page(self, plan: str = "Starter", **choice: str) -> requests.Response:
        """From the list of plans to the page of the one with this name."""
        from storefront.sandbox.store.values import stable_id

        plan_id = stable_id("plan", plan.lower().replace(" ", "_"))
        wanted = "&".join(f"{name}={value}" for name, value in choice.items())
        return self.see(f"/plans/{plan_id}?{wanted}")

    def review_page(self, plan: str = "Starter", **choice: str) -> requests.Response:
        """Where Buy leads to; the sign-up for somebody who is not signed in."""
        from storefront.sandbox.store.values import stable_id

        plan_id = stable_id("plan", plan.lower().replace(" ", "_"))
        chosen = {"plan": plan_id, "currency": "inr", "billing_period": "MONTHLY"} | choice
        return self.see(f"/review?{urlencode(chosen)}")

    def buy(self, plan: str = "Starter", **choice: str) -> requests.Response:
        """From the review page; by hand where it offers nothing to send."""
        return self.send(self.review_page(plan, **choice), "/checkout")

    def pay(self, url: str, method: str = "success@razorpay") -> requests.Response:
        """On the payment page; gives back what the page answers, without going on."""
        return self.send(self.see(url), "/pay", other=method)

    def order_page(self, order: Order, page: str = "failure", **query: str) -> requests.Response:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return self.see(f"/orders/{order.ref}/{page}?{asked}")

    def phase(self, order: Order, page: str = "failure") -> str | None:
        return Forms(self.order_page(order, page).text).phase

    def try_again(self, order: Order) -> requests.Response:
        return self.send(self.order_page(order), "/checkout")

    def cancel(self, order: Order) -> requests.Response:
        return self.send(self.order_page(order), "/cancel")


class World:
    """The shop and the sandbox, and what a test may do to both."""

    def __init__(self, database_url: str, sandbox_url: str, clock: Path | None = None) -> None:
        """:param clock: a file by which the shop's business dates follow the sandbox's clock."""
        self.clock = str(clock or "")
        self.before_answer: Callable[[], None] | None = None
        self.shoppers: list[Shopper] = []
        self._servers: list[BaseWSGIServer] = []
        self.sandbox_url, mount_sandbox = self._serve()
        self.shop_url, mount_shop = self._serve()
        self.sandbox = sandboxes.start(
            SandboxSettings(
                database_url=sandbox_url,
                url=self.sandbox_url,
                webhook_url=f"{self.shop_url}/webhooks/flexprice",
                api_key=KEY,
                webhook_secrets=(SECRET,),
                clock_file=self.clock,
                shop_qa_url=f"{self.shop_url}/qa",
                qa_token=QA_TOKEN,
            )
        )
        self.shop = create_shop(Settings.from_env(self._environment(database_url)))
        self._calls = sandboxes.Calls(self.sandbox)
        mount_sandbox(self._answer_of_sandbox)
        mount_shop(self.shop)

    def _environment(self, database_url: str) -> dict[str, str]:
        return {
            "FLEXPRICE_API_URL": f"{self.sandbox_url}/v1",
            "FLEXPRICE_API_KEY": KEY,
            "FLEXPRICE_WEBHOOK_SECRET": SECRET,
            "FLEXPRICE_WEBHOOK_HEADER": "X-Api-Key: k8Jq2-the-value-agreed-upon-4711",
            "STOREFRONT_URL": self.shop_url,
            "SECRET_KEY": "s" * 40,
            "CLOCK_FILE": self.clock,
            "DATABASE_URL": database_url,
            "MAIL_URL": "keep:",
            "RATE_LIMITS": "off",
            "QA_TOKEN": QA_TOKEN,
            "MAIL_FROM": "shop@example.com",
            "CHECKOUT_PAYMENT_HOSTS": urlsplit(self.sandbox_url).netloc,
        }

    def _serve(self) -> tuple[str, Callable[[Any], None]]:
        """A port first, its application later: each side must know the other's address."""
        mounted: list[Any] = []
        server = make_server("127.0.0.1", 0, lambda env, start: mounted[0](env, start), threaded=True)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", mounted.append

    def _answer_of_sandbox(self, environ: dict[str, Any], start: Any) -> Any:
        answer = self._calls(environ, start)
        if self.before_answer and (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("POST", SESSIONS):
            act, self.before_answer = self.before_answer, None
            act()  # it has committed, and has not answered
        return answer

    def close(self) -> None:
        for shopper in self.shoppers:
            shopper.http.close()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        with self.shop.app_context():
            checkout.client.close()
            db.session.remove()
            db.engine.dispose()
        sandboxes.stop(self.sandbox, self._calls)

    # Who comes.

    def visitor(self) -> Shopper:
        self.shoppers.append(Shopper(self.shop_url))
        return self.shoppers[-1]

    def shopper(self, name: str = "Asha Rao") -> Shopper:
        shopper = self.visitor()
        shopper.sign_up(name)
        return shopper

    # What time does.

    def deliver(self) -> int:
        """Send what the sandbox has to send."""
        send_all = self.sandbox.extensions["sandbox_dispatcher"].send_all
        return time_travel.run_due(self.sandbox.extensions["sandbox"], "default", send_all)

    def work(self, after: timedelta = timedelta()) -> int:
        """One turn of the worker, after so much time has passed."""
        self.pass_time(after)
        with self.shop.app_context():
            try:
                return checkout.run_once()
            finally:
                db.session.remove()

    def pass_time(self, how_long: timedelta) -> None:
        """Everything that the shop has written moves into the past; the sandbox has a clock of its own."""
        with self.shop.app_context():
            for model in (Order, WebhookEvent, PlanAccess, Email):
                columns = [c for c in model.__table__.columns if isinstance(c.type, DateTime)]
                for row in db.session.scalars(select(model)):
                    for column in columns:
                        if (moment := getattr(row, column.key)) is not None:
                            setattr(row, column.key, moment - how_long)
            db.session.commit()
            db.session.remove()

    def settle(self) -> None:
        self.deliver()
        self.work()

    # The control API of the sandbox.

    def control(self, name: str, **wanted: Any) -> Any:
        answer = requests.post(f"{self.sandbox_url}/_sandbox/{name}", json=wanted, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def webhooks(self, mode: str) -> None:
        self.control("webhooks", mode=mode)

    def fault(self, fault: str, path: str = "/v1/", times: int = 1000, **where: Any) -> None:
        self.control("faults", fault=fault, path=path, times=times, **where)

    def down(self, path: str = "/v1/") -> None:
        self.fault("down", path)

    def up(self) -> None:
        assert requests.delete(f"{self.sandbox_url}/_sandbox/faults", timeout=10).status_code == 204

    def later(self, step: str) -> None:
        self.control("clock", advance=step)

    def flexprice(self) -> Any:
        """A transaction on Flexprice's own rows."""
        return self.sandbox.extensions["sandbox"].write("default")

    def set_prices(self, plan_id: str, amount: str) -> None:
        """Behind the shop's back: all prices of the plan at once."""
        with self.flexprice() as session:
            for price in prices_of(session, plan_id):
                price.amount = Decimal(amount)

    def bill_differently(self, **changes: Any) -> None:
        """What the newest session charges for, changed behind everybody's back: invoice and subscription."""
        newest = self.sessions()[-1]["id"]
        with self.flexprice() as session:
            checkout_session = session.need(CheckoutSession, newest)
            for model, row_id in (
                (Invoice, checkout_session.invoice_id),
                (Subscription, checkout_session.subscription_id),
            ):
                row = session.need(model, row_id)
                for name, value in changes.items():
                    if hasattr(row, name):
                        old = getattr(row, name)
                        setattr(row, name, Decimal(value) if isinstance(old, Decimal) else value)

    def decide(self, how: Callable[..., bool]) -> bool:
        """An operator decides about the newest order."""
        ref = self.order().ref
        with self.shop.app_context():
            order = orders.find(ref=ref)
            moved = how(order, by="operator:olga@example.com")
            commit()
            return moved

    def forget_prices(self) -> None:
        """As if the shop had read them long ago."""
        catalog = self.shop.extensions["checkout"].catalog
        catalog.cached = replace(catalog.cached, read_at_s=catalog.cached.read_at_s - 3600)

    def lose_customers(self) -> None:
        """And what was still to be said about them."""
        with self.flexprice() as session:
            for event in session.all(Event, Event.entity == "customer"):
                session.delete(Delivery, Delivery.event_id == event.id)
            session.delete(Customer)

    def set_order(self, **values: Any) -> None:
        """The newest one, as it may be found between two steps."""
        newest = self.order().id
        with self.shop.app_context():
            db.session.execute(update(Order).where(Order.id == newest).values(**values))
            db.session.commit()

    def claim_messages(self) -> None:
        """As a worker does that is killed in the next moment."""
        later = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=2)
        with self.shop.app_context():
            due = update(WebhookEvent).where(WebhookEvent.next_attempt_at.is_not(None))
            db.session.execute(due.values(next_attempt_at=later, attempts=WebhookEvent.attempts + 1))
            db.session.commit()

    def delete_session(self) -> None:
        """Somebody with a key deletes the newest one at Flexprice."""
        url = f"{self.sandbox_url}{SESSIONS}/{self.sessions()[-1]['id']}"
        assert requests.delete(url, headers={"x-api-key": KEY}, timeout=10).status_code == 204

    @contextmanager
    def shop_closed(self) -> Iterator[None]:
        """Between two deployments there is only a proxy."""
        served = self.shop.wsgi_app
        self.shop.wsgi_app = Response("away", status=502)  # type: ignore[method-assign]
        yield
        self.shop.wsgi_app = served  # type: ignore[method-assign]

    def change_session(self, session_id: str, **changes: Any) -> None:
        with self.flexprice() as session:
            row = session.need(CheckoutSession, session_id)
            for name, value in changes.items():
                setattr(row, name, value)

    def _listed(self, name: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = requests.get(f"{self.sandbox_url}/_sandbox/{name}", timeout=10).json()[
            "items"
        ]
        return items[::-1]

    def sessions(self) -> list[dict[str, Any]]:
        return self._listed("sessions")

    def deliveries(self) -> list[dict[str, Any]]:
        return self._listed("deliveries")

    def pay_url(self) -> str:
        """Of the newest session."""
        return str(self.sessions()[-1]["url"])

    # The rows of the shop.

    def _rows(self, model: Any, key: Any) -> list[Any]:
        with self.shop.app_context():
            try:
                return list(db.session.scalars(select(model).order_by(key)))
            finally:
                db.session.remove()

    def orders(self) -> list[Order]:
        return self._rows(Order, Order.id)

    def order(self) -> Order:
        """The newest one."""
        return self.orders()[-1]

    def find(self, order: Order) -> Order:
        """As it is now."""
        return next(found for found in self.orders() if found.id == order.id)

    def accesses(self) -> list[PlanAccess]:
        return self._rows(PlanAccess, PlanAccess.id)

    def emails(self, order: Order | None = None) -> list[str]:
        found = self._rows(Email, Email.id)
        return [email.kind for email in found if order is None or email.order_id == order.id]

    def events(self) -> list[WebhookEvent]:
        return self._rows(WebhookEvent, WebhookEvent.received_at)

    def subscriptions(self) -> list[billing.Subscription]:
        return self._rows(billing.Subscription, billing.Subscription.id)

    def invoices(self) -> list[billing.Invoice]:
        return self._rows(billing.Invoice, billing.Invoice.id)


@pytest.fixture
def world(tmp_path: Path, database_url: str, sandbox_in: NewDatabase) -> Iterator[World]:
    world = World(database_url, sandbox_in(tmp_path))
    yield world
    world.close()


@pytest.fixture(scope="session")
def a_world(sqlite_in: NewDatabase, sandbox_in: NewDatabase) -> Callable[..., World]:
    """For modules that share one: a folder, and with `one_clock` the shop's dates follow the sandbox's.

    The shop is on SQLite, unless a `database_url` is given.
    """

    def make(folder: Path, one_clock: bool = False, database_url: str = "") -> World:
        clock = folder / "clock" if one_clock else None
        return World(database_url or sqlite_in(folder), sandbox_in(folder), clock)

    return make


@pytest.fixture
def phase_of() -> Callable[[requests.Response], str | None]:
    return lambda page: Forms(page.text).phase


@pytest.fixture
def offers() -> Callable[[requests.Response, str], bool]:
    """Whether a page has a button that leads there."""
    return lambda page, action: Forms(page.text).offers(action)
