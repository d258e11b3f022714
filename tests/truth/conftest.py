"""The real shop and the real sandbox in one process, without a socket: quick, and the same every time.

Real requests, real signatures, real rows. Time stands still unless it is told to pass, a call goes wrong only
where a test says so, and a process can be killed at each commit and at each call it makes.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import Row, delete, event, select, text
from urllib3 import HTTPResponse
from werkzeug.test import Client as WsgiClient

from storefront import create_app as create_shop
from storefront import reconcile, shoppers, worker
from storefront.database import writing
from storefront.extensions import db
from storefront.models import Access, InboxMessage, Letter, Order, Shopper
from storefront.sandbox import clock, endings, events, signing
from storefront.sandbox import create_app as create_sandbox
from storefront.sandbox import schema as sandbox_rows
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.shelf import all_prices
from storefront.sandbox.store import save, stable_id
from storefront.settings import Settings
from tests.conftest import NewDatabase

SHOP, SANDBOX = "http://127.0.0.1:18000", "http://127.0.0.1:18001"
KEY, SECRET = "sk_sandbox_truth", "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
CREATE = ("POST", "/v1/checkout/sessions")
KEPT_BY_SANDBOX = {"customers", "plans", "prices", "levers", "arrangements"}


class Killed(BaseException):
    """kill -9, as far as the code can tell: nothing after this line is run."""


class Clock(datetime):
    """What the shop takes for datetime: stands where the test has put it."""

    at: ClassVar[datetime]

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.at


class Wire:
    """Between the two: carries requests to the applications, and goes wrong on request."""

    def __init__(self) -> None:
        self.apps: dict[str, WsgiClient] = {}
        self.wrong: dict[tuple[str, str], str] = {}  # the next call there goes wrong, in this way
        self.meanwhile: Callable[[], object] | None = None  # done while the shop waits for its session
        self.countdown: int | None = None  # steps the shop's process still has to live

    def step(self) -> None:
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                self.countdown = None
                raise Killed

    def send(self, _adapter: Any, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        ours = f"{url.scheme}://{url.netloc}" == SANDBOX
        call = (request.method or "", url.path)
        if ours:
            self.step()
        wrong = self.wrong.pop(call, "") if ours else ""
        if wrong == "unreachable":
            raise requests.ConnectTimeout(request=request)
        if wrong == "hangs":
            raise requests.ReadTimeout(request=request)
        if wrong == "refused for now":
            return self._answer(request, 503, b"", {})
        if wrong == "shows nothing":
            return self._answer(request, 200, b'{"items": [], "pagination": {"total": 0}}', {})
        said = self._carried(url.netloc, request)
        if call == CREATE and self.meanwhile:
            act, self.meanwhile = self.meanwhile, None
            act()
        if wrong == "lost":
            raise requests.ReadTimeout(request=request)
        if wrong == "hidden by a proxy":
            return self._answer(request, 502, b"<html>bad gateway</html>", {})
        if ours:
            self.step()
        return said

    def _carried(self, netloc: str, request: requests.PreparedRequest) -> requests.Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        app, countdown = self.apps[netloc], self.countdown
        self.countdown = None  # another process
        try:
            got = app.open(
                request.path_url,
                method=request.method,
                base_url=f"http://{netloc}",
                data=body,
                headers=dict(request.headers),
            )
            return self._answer(request, got.status_code, got.get_data(), dict(got.headers))
        finally:
            self.countdown = countdown

    @staticmethod
    def _answer(
        request: requests.PreparedRequest, status: int, body: bytes, headers: dict[str, str]
    ) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, request.url or ""
        response.headers.update(headers)
        response.raw = HTTPResponse(io.BytesIO(body), preload_content=False)
        return response


class Street:
    """Both sides, and everything that may happen on them."""

    home = SHOP

    def __init__(self, database_url: str, sandbox_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on_sqlite = database_url.startswith("sqlite")
        self.wire = Wire()
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", lambda *a, **k: self.wire.send(*a, **k))
        monkeypatch.setattr(signing, "time", SimpleNamespace(time=self._seconds))
        for door in ("checkout", "orders", "plans", "webhooks"):
            monkeypatch.setattr(f"storefront.web.{door}.datetime", Clock)
        Clock.at = self.start = datetime.now(UTC)
        self.settings = SandboxSettings(
            database_url=sandbox_url, url=SANDBOX, api_key=KEY, webhook_secrets=(SECRET,)
        )
        self.sandbox = create_sandbox(self.settings)
        self._bodies: dict[str, str] = {}
        self.store = self.sandbox.extensions["sandbox"]
        _hurry(self.store.engine)
        self.shop = create_shop(
            Settings.from_env(
                {
                    "FLEXPRICE_API_URL": f"{SANDBOX}/v1",
                    "FLEXPRICE_API_KEY": KEY,
                    "FLEXPRICE_WEBHOOK_SECRET": SECRET,
                    "STOREFRONT_URL": SHOP,
                    "SECRET_KEY": "s" * 40,
                    "DATABASE_URL": database_url,
                    "MAIL_URL": "keep:",
                    "MAIL_FROM": "shop@example.com",
                    "RATE_LIMITS": "off",
                    "PAYMENT_HOSTS": urlsplit(SANDBOX).netloc,
                }
            )
        )
        self.shop.config["WTF_CSRF_ENABLED"] = False  # forged forms are another test's subject
        with self.shop.app_context():
            if self.on_sqlite:
                _hurry(db.engine)
            event.listen(db.engine, "commit", lambda _connection: self.wire.step())
        commit = db.session.commit

        def commit_and_step() -> None:
            commit()
            self.wire.step()

        monkeypatch.setattr(db.session, "commit", commit_and_step)
        self.wire.apps = {
            urlsplit(SHOP).netloc: WsgiClient(self.shop),
            urlsplit(SANDBOX).netloc: WsgiClient(self.sandbox),
        }
        self.lever("webhooks", mode="hold")  # a test delivers what and when it likes

    @staticmethod
    def _seconds() -> float:
        return Clock.at.timestamp()

    def close(self) -> None:
        with self.shop.app_context():
            db.session.remove()
            db.engine.dispose()
        self.store.close()

    def begin_afresh(self) -> None:
        """As if nothing had ever been bought."""
        self.wire.wrong.clear()
        self.wire.countdown = self.wire.meanwhile = None
        self._bodies.clear()
        with self.store.writing() as conn:
            for table in sandbox_rows.metadata.sorted_tables:
                if table.name not in KEPT_BY_SANDBOX:
                    conn.execute(delete(table))
        with self.shop.app_context(), writing():
            for model in (Letter, Access, InboxMessage, Order):
                db.session.execute(delete(model))
        self.shop.extensions["catalog"]._shelf = None
        self.set_price("499")

    # Who comes.

    def member(self, name: str) -> Any:
        """A signed-in browser."""
        email = f"{name}@example.com"
        with self.shop.app_context():
            if shoppers.find(email) is None:
                client = self.shop.extensions["flexprice"]
                with writing():
                    shopper = Shopper(name=name, email=email, password_hash="-", created_at=Clock.at)
                    db.session.add(shopper)
                    db.session.flush()
                    key = shopper.external_id
                customer = shoppers.create_customer(client, shoppers.find(email))
                with writing():
                    shoppers.find(email).flexprice_id = customer  # type: ignore[union-attr]
                assert key
            session_key = shoppers.find(email).session_key  # type: ignore[union-attr]
        browser = self.shop.test_client()
        with browser.session_transaction(base_url=SHOP) as session:
            session["_user_id"], session["_fresh"] = session_key, True
        return browser

    # What they and the others do.

    def click(self, browser: Any, plan: str = "starter") -> Any:
        offer = {"plan": stable_id("plan", plan), "currency": "inr", "billing_period": "MONTHLY"}
        return browser.post("/checkout", base_url=SHOP, data=offer)

    def on_payment_page(self, session: dict[str, Any], button: str) -> int:
        data = {"other": "success@razorpay"} if button == "pay" else {}
        return self._sandbox("POST", f"/pay/{session['link']}/{button}", data=data).status_code

    def deliver(self, *message_ids: str) -> None:
        """Messages of Flexprice's, in this order; each may come as often as it likes, and says the same."""
        countdown, self.wire.countdown = self.wire.countdown, None
        for message_id in message_ids:
            body = self._bodies.get(message_id) or self._bodies.setdefault(
                message_id, self._written(message_id)
            )
            headers = signing.headers(self.settings, message_id, body)
            answer = self.wire.apps[urlsplit(SHOP).netloc].post(
                "/webhooks/flexprice", base_url=SHOP, data=body.encode(), headers=headers
            )
            assert answer.status_code == 204, answer.text
        self.wire.countdown = countdown

    def _written(self, message_id: str) -> str:
        rows = sandbox_rows.events
        with self.store.reading() as conn:
            event = conn.execute(select(rows).where(rows.c.id == message_id)).one()
            return events.written(conn, event.event_type, event.entity_id)

    def work(self) -> None:
        with self.shop.app_context():
            try:
                worker.one_pass(Clock.at)
            finally:
                db.session.remove()

    def reconcile(self, *, dry: bool = False) -> list[reconcile.Asked]:
        with self.shop.app_context():
            try:
                return list(reconcile.run(Clock.at, dry=dry))
            finally:
                db.session.remove()

    def decide(self, ref: str, how: Callable[..., bool]) -> bool:
        with self.shop.app_context(), writing():
            order = db.session.scalars(select(Order).where(Order.ref == ref)).one()
            return how(order, Clock.at, "olga@example.com")

    def wait(self, **how_long: float) -> None:
        """For both; Flexprice's sweep comes by every half hour."""
        passed = timedelta(**how_long)
        Clock.at += passed
        with self.store.writing() as conn:
            clock.advance(conn, f"{int(passed.total_seconds())}s")
            if passed >= timedelta(minutes=30):
                endings.sweep(conn)

    @contextmanager
    def killed_after(self, steps: int | None) -> Iterator[None]:
        """The shop's process dies at the step after so many commits and calls, if it comes that far."""
        self.wire.countdown = steps
        try:
            with suppress(Killed):
                yield
        finally:
            self.wire.countdown = None

    def _sandbox(self, method: str, path: str, **more: Any) -> Any:
        app = self.wire.apps[urlsplit(SANDBOX).netloc]
        countdown, self.wire.countdown = self.wire.countdown, None
        try:
            return app.open(path, method=method, base_url=SANDBOX, **more)
        finally:
            self.wire.countdown = countdown

    def lever(self, name: str, **wanted: Any) -> None:
        answer = self._sandbox("POST", f"/_sandbox/{name}", json=wanted)
        assert answer.status_code == 200, answer.text

    def repair(self, session_id: str) -> None:
        """If nothing was sent back meanwhile."""
        assert self._sandbox("POST", f"/_sandbox/sessions/{session_id}/repair").status_code in (200, 404)

    def set_price(self, amount: str) -> None:
        with self.store.writing() as conn:
            for price in all_prices(conn, [stable_id("plan", "starter")]):
                if (price["currency"], price["billing_period"]) == ("inr", "MONTHLY"):
                    save(conn, sandbox_rows.prices, price, amount=amount)

    # What is so.

    def orders(self) -> list[Row[Any]]:
        return self._read(select(Order.__table__).order_by(Order.id))

    def _read(self, query: Any) -> list[Row[Any]]:
        with self.shop.app_context(), db.engine.connect() as conn:
            return list(conn.execute(query))

    @staticmethod
    def now() -> datetime:
        return Clock.at

    def accesses(self) -> list[int]:
        """Of which orders."""
        return [row.order_id for row in self._read(select(Access.order_id).order_by(Access.id))]

    def letters(self, kind: str) -> list[int]:
        """To which orders."""
        found = select(Letter.order_id).where(Letter.kind == kind)
        return [row.order_id for row in self._read(found.order_by(Letter.id))]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the shop but what it received."""
        with self.shop.app_context(), db.engine.connect() as conn:
            return {
                table.name: [tuple(row) for row in conn.execute(select(table).order_by(*table.primary_key))]
                for table in db.metadata.sorted_tables
                if table.name not in ("inbox", "heartbeats")
            }

    def at_flexprice(self, table: str) -> list[dict[str, Any]]:
        rows = getattr(sandbox_rows, table)
        with self.store.reading() as conn:
            return list(conn.execute(select(rows.c.body).order_by(rows.c.id)).scalars())

    def messages(self, about: str = "") -> list[str]:
        """The ids of what Flexprice has said (of types that begin so), in the order in which it happened."""
        rows = sandbox_rows.events
        found = select(rows.c.id).where(rows.c.event_type.startswith(about))
        with self.store.reading() as conn:
            return list(conn.execute(found.order_by(text("rowid"))).scalars())

    @staticmethod
    def links_on(page: str) -> set[str]:
        return set(re.findall(rf'"({SANDBOX}/pay/\w+)', page))


def _hurry(engine: Any) -> None:
    """No test here cuts the power: rows need not reach the disk."""
    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], scope="module")
def database_url(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_in: NewDatabase,
) -> str:
    if request.param == "sqlite":
        return sqlite_in(tmp_path_factory.mktemp("shop"))
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture(scope="module")
def street(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, sandbox_in: NewDatabase
) -> Iterator[Street]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        street = Street(database_url, sandbox_in(tmp_path_factory.mktemp("street")), monkeypatch)
        yield street
        street.close()
