"""docs/minimal_app.py against the sandbox, as real processes."""

import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.adoption.processes import (
    KEY,
    ROOT,
    SECRET,
    LossyApi,
    Process,
    Relay,
    Sandbox,
    environment,
    eventually,
    free_port,
    run,
)

FLASK = [sys.executable, "-m", "flask", "--app", "docs/minimal_app"]


class MinimalApp:
    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        port = free_port()
        self.url, self.database = f"http://127.0.0.1:{port}", home / "minimal.db"
        self.relay = Relay(f"{self.url}/webhooks/flexprice")
        self.sandbox = sandbox
        self.api = LossyApi(self.sandbox.url)
        self.env = environment(
            FLEXPRICE_API_URL=f"{self.api.url}/v1",
            FLEXPRICE_API_KEY=KEY,
            FLEXPRICE_WEBHOOK_SECRET=SECRET,
            BASE_URL=self.url,
            DATABASE=str(self.database),
        )
        self.process = Process([*FLASK, "run", "--port", str(port)], ROOT, self.env, home / "app.log")
        self.process.wait_for(self.url)

    def start_again(self) -> None:
        self.sandbox.start_again(self.relay.url)
        self.relay.dropping, self.relay.received[:], self.api.lose = True, [], None
        self.database.unlink(missing_ok=True)
        run([*FLASK, "init-db"], ROOT, self.env)
        self.relay.wait_for("customer.created")  # the only webhook so far: no test counts it
        self.relay.dropping = False

    def stop(self) -> None:
        for part in (self.process, self.api, self.relay):
            part.stop()

    def buy(self) -> str:
        """Where the click leads."""
        page = requests.get(self.url, timeout=20).text
        plan = self.sandbox.plan("Starter")
        assert plan in page
        sent = requests.post(f"{self.url}/checkout", data={"plan": plan}, timeout=40, allow_redirects=False)
        assert sent.status_code == 303
        return sent.headers["Location"]

    def status(self, order_page: str) -> str:
        found = re.search(r"Order \w+: (\w+)", requests.get(order_page, timeout=20).text)
        assert found
        return found[1]

    def rows(self, table: str) -> int:
        with sqlite3.connect(self.database) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[MinimalApp]:
    app = MinimalApp(tmp_path_factory.mktemp("minimal"), sandbox)
    yield app
    app.stop()


@pytest.fixture
def app(served: MinimalApp) -> MinimalApp:
    served.start_again()
    return served


def test_sale_grants_access_once(app: MinimalApp) -> None:
    order_page = app.sandbox.pay(app.buy())
    eventually(lambda: app.status(order_page) == "paid", "the order is paid")
    assert app.rows("access") == 1


def test_ten_copies_grant_access_once(app: MinimalApp) -> None:
    app.relay.dropping = True
    order_page = app.sandbox.pay(app.buy())
    completed = app.relay.wait_for("checkout.session.completed")
    assert app.status(order_page) == "pending"
    assert app.relay.deliver_copies(completed, 10) == [204] * 10
    assert (app.status(order_page), app.rows("access"), app.rows("events")) == ("paid", 1, 1)


def test_reconcile_finds_what_no_webhook_reported(app: MinimalApp) -> None:
    app.relay.dropping = True
    order_page = app.sandbox.pay(app.buy())
    app.relay.wait_for("checkout.session.completed")
    run([*FLASK, "reconcile"], ROOT, app.env)
    assert (app.status(order_page), app.rows("access"), app.rows("events")) == ("paid", 1, 0)
    run([*FLASK, "reconcile"], ROOT, app.env)
    assert app.rows("access") == 1


@pytest.mark.thorough
def test_reconcile_finds_a_lost_answer(app: MinimalApp) -> None:
    app.relay.dropping = True
    app.api.lose = "/v1/checkout/sessions"
    order_page = app.buy()
    assert order_page.startswith(app.url)  # no link to pay was received
    link = re.search(rb'"url":\s*"([^"]+)"', app.relay.wait_for("checkout.session.initiated").body)
    assert link
    app.sandbox.pay(link[1].decode())  # Razorpay sends the link by mail as well
    app.relay.wait_for("checkout.session.completed")
    run([*FLASK, "reconcile"], ROOT, app.env)
    assert (app.status(order_page), app.rows("access")) == ("paid", 1)


def test_forged_webhook_changes_nothing(app: MinimalApp) -> None:
    app.relay.dropping = True
    order_page = app.sandbox.pay(app.buy())
    completed = app.relay.wait_for("checkout.session.completed")
    completed.body += b" "
    assert app.relay.deliver(completed) == 401
    assert requests.post(app.relay.target, data=completed.body, timeout=20).status_code == 401
    assert (app.status(order_page), app.rows("access"), app.rows("events")) == ("pending", 0, 0)


def test_it_stays_a_page_of_code() -> None:
    assert len((ROOT / "docs/minimal_app.py").read_text().splitlines()) <= 150
