import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from requests.adapters import BaseAdapter
from werkzeug.serving import make_server

from storefront.sandbox.engine import time_travel
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store.base import Record
from storefront.sandbox.store.billing_rows import Invoice, Payment, Subscription
from storefront.sandbox.store.rows import CheckoutSession, Customer, Plan, Price, ProviderLink
from tests import sandboxes
from tests.conftest import NewDatabase
from tests.sandbox import described

UNREADABLE = {"unexpected": [True]}
SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
KEY = "sk_sandbox_tests"


MODELS: dict[str, type[Record]] = {
    "customers": Customer,
    "plans": Plan,
    "prices": Price,
    "sessions": CheckoutSession,
    "links": ProviderLink,
    "subscriptions": Subscription,
    "invoices": Invoice,
    "payments": Payment,
}


def run_due(app: Flask) -> int:
    """Runs and sends what is due in the default store; says how many attempts were made."""
    send_all = app.extensions["sandbox_dispatcher"].send_all
    return time_travel.run_due(app.extensions["sandbox"], "default", send_all)


def writing(app: Flask) -> Any:
    """The default store, behind the API's back."""
    return app.extensions["sandbox"].write("default")


class Receiver(ThreadingHTTPServer):
    """The shop's end: keeps what it got and answers with the statuses it was given, then 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], str]] = []
        self.answers: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hooks"
        self.got_one, self._open = threading.Event(), threading.Event()
        self._open.set()
        self._held = ""
        self._came = threading.Condition()

    def hold(self, those_that_say: str = "") -> None:
        """From now on no request is answered, or none of those."""
        self._held = those_that_say
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def came(self, number: int, seconds: float = 20) -> bool:
        with self._came:
            return self._came.wait_for(lambda: len(self.got) >= number, seconds)

    def take(self, headers: dict[str, str], body: str) -> None:
        with self._came:
            self.got.append((headers, body))
            self._came.notify_all()
        self.got_one.set()
        if self._held in body:
            self._open.wait(20)

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["event_type"] for _, body in self.got]

    def last(self, event_type: str) -> Any:
        return [json.loads(body) for _, body in self.got if json.loads(body)["event_type"] == event_type][-1]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        server.take({name.lower(): value for name, value in self.headers.items()}, body)
        self.send_response(server.answers.pop(0) if server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def hold_to_description(method: str, path: str, answer: requests.Response) -> None:
    """What a described route answers in JSON is as openapi.json says."""
    if described.operation(method, path.partition("?")[0]) is None or not answer.text.startswith(("{", "[")):
        return
    body = described.parsed(answer.text)
    if body is not None and body != UNREADABLE:  # a fault may cut an answer short, or say nonsense
        assert described.differences(method, path, answer.status_code, body) == []


class Client:
    """Calls the sandbox over HTTP, as the shop and a browser would."""

    def __init__(self, app: Flask, base: str) -> None:
        self.app, self.base = app, base
        self.http = requests.Session()
        self.headers = {"x-api-key": KEY}

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        options.setdefault("headers", self.headers)
        answer = self.http.request(
            method, self.base + path, json=body, timeout=5, allow_redirects=False, **options
        )
        hold_to_description(method, path, answer)
        return answer

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.call("POST", path, body, **options)

    def deliver(self) -> int:
        return run_due(self.app)

    def customer(self, external_id: str = "user-42", **fields: Any) -> Any:
        return self.post("/v1/customers", {"external_id": external_id, "name": "Asha Rao", **fields}).json()

    def plan(self, lookup_key: str) -> Any:
        found = self.post(
            "/v1/plans/search", {"lookup_key": lookup_key, "expand": "prices,entitlements,features"}
        )
        return found.json()["items"][0]

    def asked(self, plan: str = "starter", **changes: Any) -> dict[str, Any]:
        params = {"plan_id": self.plan(plan)["id"], "currency": "INR", "billing_period": "MONTHLY"}
        params |= changes.pop("params", {})
        return {
            "customer_external_id": "user-42",
            "action": "create_subscription",
            "payment_provider": "razorpay",
            "configuration": {"create_subscription_params": params},
            "success_url": "https://shop.test/return?order=1",
        } | changes

    def session(self, plan: str = "starter", **changes: Any) -> Any:
        response = self.post("/v1/checkout/sessions", self.asked(plan, **changes))
        assert response.status_code == 201, response.text
        return response.json()

    def read(self, session: Any) -> Any:
        return self.get(f"/v1/checkout/sessions/{session['id']}").json()

    def page(self, session: Any, action: str = "", **form: str) -> requests.Response:
        url = session["payment_action"]["url"] + (f"/{action}" if action else "")
        if action in ("", "leave"):
            return self.http.get(url, timeout=5)
        return self.http.post(url, data=form, timeout=5, allow_redirects=False)

    def see(self, path: str) -> str:
        """A page of the console, as a browser asks for it."""
        page = self.http.get(f"{self.base}/_sandbox/{path}", headers={"Accept": "text/html"}, timeout=5)
        assert page.status_code == 200, page.text
        assert page.headers["Content-Type"].startswith("text/html")
        return page.text

    def control(self, path: str, **wanted: Any) -> Any:
        answer = self.post(f"/_sandbox/{path}", wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def walk(self, step: str) -> Any:
        return self.control("clock", advance=step)

    def deliveries(self) -> list[dict[str, Any]]:
        """Oldest first."""
        items: list[dict[str, Any]] = self.get("/_sandbox/deliveries").json()["items"]
        return items[::-1]

    def pay(self, session: Any, method: str = "success@razorpay") -> requests.Response:
        return self.page(session, "pay", method=method)

    def advance(self, step: str) -> None:
        """Jumps: what falls due on the way happens late."""
        assert self.post("/_sandbox/clock", {"advance": step, "jump": True}).status_code == 200


class Wire(BaseAdapter):
    """The sandbox without a network: requests go straight into it."""

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self.browser = app.test_client(use_cookies=False)

    def send(self, request: requests.PreparedRequest, **_options: Any) -> requests.Response:
        answer = self.browser.open(
            request.path_url, method=request.method, headers=list(request.headers.items()), data=request.body
        )
        response = requests.Response()
        response.status_code, response._content = answer.status_code, answer.data
        response.headers = requests.structures.CaseInsensitiveDict(answer.headers.items())
        response.encoding, response.request, response.url = "utf-8", request, request.url or ""
        return response

    def close(self) -> None:
        pass


class Near(Client):
    """The same calls without a network, and what was told of them."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app, "http://sandbox.test")
        self.http.mount(self.base, Wire(app))

    def told(self) -> list[str]:
        """The names of all events so far, oldest first."""
        items = self.get("/_sandbox/events?limit=200").json()["items"]
        return [item["event_type"] for item in items[::-1]]

    def switch(self, **switches: Any) -> None:
        assert self.post("/_sandbox/switches", switches).status_code == 200

    def stock(self, lookup_key: str, **plan: Any) -> Any:
        answer = self.call("PUT", f"/_sandbox/plans/{lookup_key}", plan)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def bill(self, session: Any) -> Any:
        return self.get(f"/v1/invoices/{session['checkout_invoice_id']}").json()

    def change(self, table: str, key: str, **values: Any) -> None:
        """Behind the API's back."""
        with writing(self.app) as session:
            row = session.need(MODELS[table], key)
            for name, value in values.items():
                setattr(row, name, value)

    def found(self, path: str, **asked: Any) -> list[Any]:
        answer = self.post(path, asked)
        assert answer.status_code == 200, answer.text
        items: list[Any] = answer.json()["items"]
        return items


def near(database_url: str) -> Iterator[Near]:
    settings = SandboxSettings(
        database_url=database_url,
        url="http://sandbox.test",
        webhook_url="http://127.0.0.1:9/nobody",
        api_key=KEY,
        webhook_secrets=(SECRET,),
    )
    app = sandboxes.start(settings)
    client = Near(app)
    yield client
    client.http.close()
    sandboxes.stop(app)


@pytest.fixture
def api(tmp_path: Path, sandbox_in: NewDatabase) -> Iterator[Near]:
    yield from near(sandbox_in(tmp_path))


@pytest.fixture(scope="module")
def catalog_api(tmp_path_factory: pytest.TempPathFactory, sandbox_in: NewDatabase) -> Iterator[Near]:
    """One for a whole module, for tests that only read."""
    yield from near(sandbox_in(tmp_path_factory.mktemp("catalog_api")))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def sandbox_settings(tmp_path: Path, sandbox_in: NewDatabase, receiver: Receiver) -> SandboxSettings:
    return SandboxSettings(
        database_url=sandbox_in(tmp_path),
        webhook_url=receiver.url,
        api_key=KEY,
        webhook_secrets=(SECRET,),
        merchant="Kestrel & Co",
    )


@pytest.fixture
def sandbox(sandbox_settings: SandboxSettings) -> Iterator[Client]:
    from dataclasses import replace

    server = make_server("127.0.0.1", 0, lambda environ, start: calls(environ, start), threaded=True)
    base = f"http://127.0.0.1:{server.server_port}"
    app = sandboxes.start(replace(sandbox_settings, url=base))
    calls = sandboxes.Calls(app)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    client = Client(app, base)
    yield client
    client.http.close()
    server.shutdown()
    server.server_close()
    sandboxes.stop(app, calls)
