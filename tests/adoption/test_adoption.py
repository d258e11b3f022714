"""Two apps take the checkout in by docs/copying.md: their own pages stay as they were, and they sell."""

import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, text
from sqlalchemy.orm import DeclarativeBase

from storefront.checkout import Checkout, OrderMixin, WebhookEventMixin
from tests.adoption.changes import changes
from tests.adoption.hosts import HOSTS, Browser, Place, Shop
from tests.adoption.processes import (
    KEY,
    ROOT,
    SECRET,
    Relay,
    Sandbox,
    Server,
    environment,
    eventually,
    run,
)

MAX_CHANGES = 12
CSRF = ("before", "after", "off")
PLACES = [pytest.param("club", {"CLUB_CSRF": mode}, id=f"club-csrf-{mode}") for mode in CSRF]
PLACES.append(pytest.param("board", {}, id="board"))


# -- what it leaves as it was --------------------------------------------------------------------------


def test_the_steps_are_those_of_the_guide() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/copying.md").read_text(), re.MULTILINE)
    for host in HOSTS.values():
        assert [step.heading for step in host.steps] == headings


@pytest.mark.parametrize("name", HOSTS)
def test_own_tests_pass_before_and_after(name: str, tmp_path: Path) -> None:
    place = Place(HOSTS[name], tmp_path / "app")
    assert "passed" in place.own_tests()
    place.adopt()
    assert "passed" in place.own_tests()


@pytest.mark.parametrize(("name", "env"), PLACES)
def test_own_pages_answer_as_before(name: str, env: dict[str, str], tmp_path: Path) -> None:
    place = Place(HOSTS[name], tmp_path / "app", **env)
    before = place.probe()
    place.adopt()
    assert place.probe() == before


@pytest.mark.parametrize("name", HOSTS)
def test_an_app_without_keys_says_that_payments_are_not_set_up(name: str, tmp_path: Path) -> None:
    place = Place(HOSTS[name], tmp_path / "app")
    place.adopt()
    script = (
        f"from {place.host.app} import app; answer = app.test_client().get('/billing/plans'); "
        "print(answer.status_code, answer.text)"
    )
    shown = place.run(place.python, "-c", script)
    assert "503" in shown
    assert "not set up" in shown
    assert "FLEXPRICE_API_KEY is not set" in place.flask("checkout", "check", ok=False)


@pytest.mark.parametrize("name", HOSTS)
def test_own_pages_stand_when_flexprice_is_down(name: str, tmp_path: Path) -> None:
    place = Place(HOSTS[name], tmp_path / "app")
    before = place.probe()
    place.adopt()
    place.env |= {"FLEXPRICE_API_URL": "http://127.0.0.1:9/v1", "FLEXPRICE_API_KEY": "sk_of_a_test"}
    assert place.probe() == before
    script = f"from {place.host.app} import app; print(app.test_client().get('/billing/plans').text)"
    assert "not available at the moment" in place.run(place.python, "-c", script)


def test_the_tables_are_one_revision_of_the_app(tmp_path: Path) -> None:
    place = Place(HOSTS["club"], tmp_path / "app")
    revisions = place.folder / "migrations" / "versions"
    before, current = set(revisions.glob("*.py")), place.flask("db", "current")
    place.adopt()
    assert len(set(revisions.glob("*.py")) - before) == 1
    assert place.flask("db", "current") != current
    assert "No new upgrade operations detected" in place.flask("db", "check")


def test_an_empty_app_is_changed_in_few_places() -> None:
    class Base(DeclarativeBase):
        pass

    app = Flask("empty")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app, model_class=Base)

    class Order(OrderMixin, db.Model):  # type: ignore[name-defined,misc]
        pass

    class WebhookEvent(WebhookEventMixin, db.Model):  # type: ignore[name-defined,misc]
        pass

    found = changes(app, lambda: Checkout().init_app(app, db, Order, WebhookEvent))
    assert len(found) <= MAX_CHANGES, found


# -- what it does --------------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("club", "before", "sqlite"), id="club-sqlite"),
        pytest.param(("club", "after", "postgres"), id="club-postgres", marks=pytest.mark.postgres),
        pytest.param(("club", "off", "sqlite"), id="club-without-csrf", marks=pytest.mark.thorough),
        pytest.param(("board", "", "sqlite"), id="board-sqlite"),
    ],
)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    name, csrf, engine = request.param
    folder = tmp_path_factory.mktemp("shop") / "app"
    url = f"sqlite:///{folder}/club.db"
    if engine == "postgres":
        url = request.getfixturevalue("postgres").database("template0")
    place = Place(HOSTS[name], folder, CLUB_CSRF=csrf, DATABASE_URL=url)
    place.adopt()
    shop = Shop(place)
    yield shop
    shop.stop()


def customer(shop: Shop, name: str, url: str = "") -> Browser:
    mail = f"{name}@example.com"
    return Browser(shop, url, name=name, mail=mail, email=mail)


def rows(shop: Shop, query: str) -> list[tuple[Any, ...]]:
    """What a query finds in the database that holds the orders."""
    if shop.place.host.name == "board":
        with sqlite3.connect(shop.place.folder / "orders.db") as db:
            return db.execute(query).fetchall()
    engine = create_engine(shop.place.env["DATABASE_URL"])
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]
    finally:
        engine.dispose()


def granted(shop: Shop, browser: Browser) -> int:
    """How often this customer was given something: counted by the rows that `on_fulfill` wrote."""
    name = browser.form["name"]
    if shop.place.host.name == "board":
        with sqlite3.connect(shop.place.folder / "board.db") as db:
            (user_id,) = db.execute("SELECT id FROM user WHERE name = ?", (name,)).fetchone()
        return int(rows(shop, f"SELECT count(*) FROM access WHERE user_id = {user_id}")[0][0])
    query = "SELECT count(*) FROM documents d JOIN members m ON m.id = d.member_id WHERE m.full_name"
    return int(rows(shop, f"{query} = '{name}'")[0][0])


def test_check_finds_nothing_wrong(shop: Shop) -> None:
    said = shop.place.flask("checkout", "check")
    assert "The checkout is set up." in said
    assert "warning" not in said


def test_pages_are_in_the_layout_of_the_app(shop: Shop) -> None:
    page = customer(shop, "layout").get("/billing/plans").text
    assert "Starter" in page
    assert shop.place.host.layout in page


def test_sale_fulfills_once(shop: Shop) -> None:
    browser = customer(shop, "sale")
    link = browser.buy()
    assert link.startswith(shop.sandbox.url)
    order_page = shop.sandbox.pay(link)
    assert order_page.startswith(f"{shop.url}/billing/orders/")
    browser.wait_for(order_page, "You are all set")
    assert granted(shop, browser) == 1
    assert "/billing/orders/" in browser.buy()  # it is theirs: no second session
    assert granted(shop, browser) == 1


def test_strangers_do_not_see_an_order(shop: Shop) -> None:
    browser = customer(shop, "owner")
    browser.buy()
    (ref,) = rows(shop, "SELECT ref FROM checkout_orders ORDER BY id DESC LIMIT 1")[0]
    assert browser.get(f"/billing/orders/{ref}/failure").status_code == 200
    assert customer(shop, "stranger").get(f"/billing/orders/{ref}/failure").status_code == 404


def test_customer_returns_to_the_host_of_the_click(shop: Shop) -> None:
    other = shop.url.replace("127.0.0.1", "localhost")
    browser = customer(shop, "other-host", other)
    order_page = shop.sandbox.pay(browser.buy())
    assert order_page.startswith(f"{other}/billing/orders/")
    browser.wait_for(order_page, "You are all set")


def test_lost_answer_is_found(shop: Shop) -> None:
    browser = customer(shop, "lost")
    shop.api.lose = "/v1/checkout/sessions"
    order_page = browser.buy()
    assert order_page.startswith("/billing/orders/")
    shown = browser.wait_for(order_page, "Continue payment")
    link = re.search(r'href="([^"]+)"[^>]*>Continue payment', shown)
    assert link
    browser.wait_for(shop.sandbox.pay(link[1]), "You are all set")
    assert granted(shop, browser) == 1


def test_ten_copies_of_a_webhook_fulfill_once(shop: Shop) -> None:
    browser = customer(shop, "copies")
    shop.relay.dropping = True
    try:
        seen = len(shop.relay.received)
        order_page = shop.sandbox.pay(browser.buy())
        completed = eventually(
            lambda: next(
                (w for w in shop.relay.received[seen:] if b"checkout.session.completed" in w.body), None
            )
        )
    finally:
        shop.relay.dropping = False
    assert shop.relay.deliver_copies(completed, 10) == [204] * 10
    browser.wait_for(order_page, "You are all set")
    assert granted(shop, browser) == 1
    message_id = next(v for k, v in completed.headers.items() if k.lower() in ("svix-id", "webhook-id"))
    assert rows(shop, f"SELECT count(*) FROM checkout_webhook_events WHERE id = '{message_id}'") == [(1,)]


def test_reconcile_finds_what_no_webhook_reported(shop: Shop) -> None:
    browser = customer(shop, "reconcile")
    shop.relay.dropping = True
    try:
        seen = len(shop.relay.received)
        order_page = shop.sandbox.pay(browser.buy())
        eventually(lambda: any(b"session.completed" in w.body for w in shop.relay.received[seen:]))
    finally:
        shop.relay.dropping = False
    ref = order_page.split("/orders/")[1][:32]
    planned = shop.place.flask("checkout", "reconcile", "--dry-run")
    # The worker may have been faster.
    assert ref not in planned or re.search(f"{ref}  (awaiting_payment -> paid|paid -> fulfilled)", planned)
    shop.place.flask("checkout", "reconcile")
    assert "You are all set" in browser.get(order_page).text
    assert granted(shop, browser) == 1


def test_cancelled_order_frees_the_plan(shop: Shop) -> None:
    browser = customer(shop, "cancel")
    first = browser.buy()
    (ref,) = rows(shop, "SELECT ref FROM checkout_orders ORDER BY id DESC LIMIT 1")[0]
    page = f"/billing/orders/{ref}/failure"
    assert browser.post(f"/billing/orders/{ref}/cancel", {}, of=page).status_code == 303
    browser.wait_for(page, "Order cancelled")
    assert browser.buy() != first


def test_forged_webhook_is_refused(shop: Shop) -> None:
    seen = shop.relay.wait_for("checkout.session.initiated")
    seen.body += b" "
    assert shop.relay.deliver(seen) == 401


def test_form_of_another_site_is_refused(shop: Shop) -> None:
    browser = customer(shop, "forged-form")
    browser.url = shop.url.replace("127.0.0.1", "attacker.example")  # the Origin that is sent
    plan_id = shop.sandbox.plan("Starter")
    form = {"plan": plan_id, "currency": "inr", "billing_period": "MONTHLY"}
    headers = {"Origin": browser.url, "Sec-Fetch-Site": "cross-site"}
    sent = browser.http.post(f"{shop.url}/billing/checkout", data=form, headers=headers, timeout=30)
    assert sent.status_code in (400, 403)


def test_logs_hold_no_error(shop: Shop) -> None:
    assert "Traceback" not in shop.logs()


# -- how much one sale runs ----------------------------------------------------------------------------

# Functions and files of each copied folder. A customer known to Flexprice: nine and two fewer.
MAX_TRACED = {"checkout": (73, 10), "flexprice": (45, 7)}


class TraceHelper(Server):
    """Pays for the traced process, and gives it the webhooks, which it posts to itself."""

    sandbox: Sandbox
    relay: Relay

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if path == "/pay":
            self.sandbox.pay(body.decode())
            self.relay.wait_for("checkout.session.completed")
        messages = [{"headers": w.headers, "body": w.body.decode()} for w in self.relay.received]
        return 200, {"Content-Type": "application/json"}, json.dumps(messages).encode()


def test_one_sale_runs_few_functions(tmp_path: Path) -> None:
    place = Place(HOSTS["club"], tmp_path / "app", CLUB_CSRF="off")
    place.adopt()
    helper = TraceHelper()
    helper.relay = Relay("")
    helper.relay.dropping = True
    helper.sandbox = Sandbox(tmp_path, helper.relay.url)
    place.env |= {
        "FLEXPRICE_API_URL": f"{helper.sandbox.url}/v1",
        "FLEXPRICE_API_KEY": KEY,
        "FLEXPRICE_WEBHOOK_SECRET": SECRET,
        "CHECKOUT_PAYMENT_HOSTS": helper.sandbox.host,
    }
    script = str(ROOT / "tests" / "adoption" / "trace.py")
    try:
        said = place.run(place.python, script, helper.sandbox.plan("Starter"), helper.url)
    finally:
        for part in (helper, helper.relay, helper.sandbox.process):
            part.stop()
    found = json.loads(said.splitlines()[-1])
    assert found["state"] == "fulfilled"
    for folder, (max_functions, max_files) in MAX_TRACED.items():
        functions = [name for name in found["functions"] if name.startswith(f"{folder}/")]
        assert len(functions) <= max_functions, functions
        assert len({name.partition(":")[0] for name in functions}) <= max_files


# -- the oldest versions -------------------------------------------------------------------------------


@pytest.mark.thorough
def test_it_sells_on_the_oldest_versions(tmp_path: Path) -> None:
    """Flask 3.0 and SQLAlchemy 2.0.16. They are installed from the package index: this needs the internet."""
    python = oldest_python(tmp_path)
    place = Place(
        HOSTS["club"], tmp_path / "app", python=python, DATABASE_URL=f"sqlite:///{tmp_path}/club.db"
    )
    place.adopt()
    shop = Shop(place)
    try:
        browser = customer(shop, "oldest")
        browser.wait_for(shop.sandbox.pay(browser.buy()), "You are all set")
        assert granted(shop, browser) == 1
        test_lost_answer_is_found(shop)
        test_ten_copies_of_a_webhook_fulfill_once(shop)
        test_cancelled_order_frees_the_plan(shop)
    finally:
        shop.stop()


def oldest_python(folder: Path) -> str:
    """A Python with the packages of oldest.txt: ADOPTION_OLDEST_PYTHON, or a new environment."""
    if given := os.environ.get("ADOPTION_OLDEST_PYTHON"):
        return given
    run([sys.executable, "-m", "venv", str(folder / "oldest")], folder, environment())
    python = str(folder / "oldest" / "bin" / "python")
    wanted = str(ROOT / "tests" / "adoption" / "oldest.txt")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", wanted]
    said = run(pip, folder, dict(os.environ), ok=False, timeout_s=300)
    if "ERROR" in said:
        pytest.skip(f"the oldest versions cannot be installed here: {said[-300:]}")
    return python
