"""Two apps take the checkout in by docs/copying.md, and the second month by docs/second-month.md.

Their own pages stay as they were, they sell, and their customers live through later months.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from storefront.checkout import Checkout, OrderMixin, WebhookEventMixin
from storefront.subscriptions import InvoiceMixin, SubscriptionMixin, Subscriptions
from tests.adoption.changes import changes
from tests.adoption.hosts import HOSTS, Browser, Shop, Stages
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
DOWN = {"FLEXPRICE_API_URL": "http://127.0.0.1:9/v1", "FLEXPRICE_API_KEY": "sk_of_a_test"}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


# -- what it leaves as it was --------------------------------------------------------------------------


def test_the_steps_are_those_of_the_guide() -> None:
    for host in HOSTS.values():
        assert [step.heading for step in host.steps] == headings("copying.md")
        assert [step.heading for step in host.months] == headings("second-month.md")


def headings(guide: str) -> list[str]:
    """Of the steps, which are numbered."""
    return re.findall(r"^## (\d.+)$", (ROOT / "docs" / guide).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", HOSTS)
def test_own_tests_pass_before_and_after(name: str, stages: Stages) -> None:
    assert "passed" in stages.original(name).own_tests()
    assert "passed" in stages.adopted(name).own_tests()


@pytest.mark.parametrize(("name", "env"), PLACES)
def test_own_pages_answer_as_before(name: str, env: dict[str, str], stages: Stages) -> None:
    """Without keys, and with a Flexprice that is down; the pages of the checkout say so."""
    before, _ = stages.original(name).probe(**env)
    adopted, billing = stages.adopted(name), HOSTS[name].billing
    without_keys, more = adopted.probe("/billing/plans", billing, **env)
    assert without_keys == before
    assert more["/billing/plans"]["status"] == 503
    assert "not set up" in more["/billing/plans"]["body"]
    assert more[billing]["status"] == 303  # to sign in
    while_down, more = adopted.probe("/billing/plans", **env, **DOWN)
    assert while_down == before
    assert "not available at the moment" in more["/billing/plans"]["body"]


@pytest.mark.thorough
@pytest.mark.parametrize("name", HOSTS)
def test_check_says_which_keys_are_missing(name: str, stages: Stages) -> None:
    assert "FLEXPRICE_API_KEY is not set" in stages.adopted(name).flask("checkout", "check", ok=False)


def test_each_guide_adds_one_revision(stages: Stages) -> None:
    counts = []
    for place in (stages.original("club"), stages.selling("club"), stages.adopted("club")):
        counts.append(len(list((place.folder / "migrations" / "versions").glob("*.py"))))
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]
    assert "No new upgrade operations detected" in stages.adopted("club").flask("db", "check")


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

    class Subscription(SubscriptionMixin, db.Model):  # type: ignore[name-defined,misc]
        pass

    class Invoice(InvoiceMixin, db.Model):  # type: ignore[name-defined,misc]
        pass

    checkout = Checkout()
    found = changes(app, lambda: checkout.init_app(app, db, Order, WebhookEvent))
    assert len(found) <= MAX_CHANGES, found
    later = changes(app, lambda: Subscriptions(checkout).init_app(app, db, Subscription, Invoice))
    assert len(later) <= MAX_CHANGES, later
    kinds = {change.split()[0] for change in later}
    assert kinds == {"blueprint", "extension", "receiver", "route"}, "the templates of the app stay its own"


def test_second_month_comes_after_the_checkout() -> None:
    with pytest.raises(ValueError, match=r"call checkout.init_app first"):
        Subscriptions(Checkout()).init_app(Flask("empty"), object(), object, object)


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
def shop(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    stages: Stages,
    sandbox: Sandbox,
) -> Iterator[Shop]:
    name, csrf, engine = request.param
    folder = tmp_path_factory.mktemp("shop") / "app"
    place = stages.adopted(name).copy(
        folder, CLUB_CSRF=csrf, DATABASE_URL=f"sqlite:///{folder}/instance/club.db"
    )
    if engine == "postgres":
        place.env["DATABASE_URL"] = request.getfixturevalue("postgres").database("template0")
        place.flask("db", "upgrade")
        assert "No new upgrade operations detected" in place.flask("db", "check")
    shop = Shop(place, sandbox)
    yield shop
    shop.stop()


def customer(shop: Shop, name: str, url: str = "") -> Browser:
    mail = f"{name}@example.com"
    return Browser(shop, url, name=name, mail=mail, email=mail)


def granted(shop: Shop, browser: Browser) -> int:
    """How often this customer was given something: counted by the rows that `on_fulfill` wrote."""
    name = browser.form["name"]
    if shop.place.host.name == "board":
        return int(shop.rows(f"SELECT count(*) FROM access WHERE user_id = {shop.user_id(name)}")[0][0])
    query = "SELECT count(*) FROM documents d JOIN members m ON m.id = d.member_id WHERE m.full_name"
    return int(shop.rows(f"{query} = '{name}'")[0][0])


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_strangers_do_not_see_an_order(shop: Shop) -> None:
    browser = customer(shop, "owner")
    browser.buy()
    (ref,) = shop.rows("SELECT ref FROM checkout_orders ORDER BY id DESC LIMIT 1")[0]
    assert browser.get(f"/billing/orders/{ref}/failure").status_code == 200
    assert customer(shop, "stranger").get(f"/billing/orders/{ref}/failure").status_code == 404


@pytest.mark.thorough
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
    assert shop.rows(f"SELECT count(*) FROM checkout_webhook_events WHERE id = '{message_id}'") == [(1,)]


@pytest.mark.thorough
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
    (ref,) = shop.rows("SELECT ref FROM checkout_orders ORDER BY id DESC LIMIT 1")[0]
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


# -- the second month ----------------------------------------------------------------------------------


class Subscriber(Browser):
    """A customer who has bought, and lives through the months. The clock is that of the sandbox."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop, name="months", mail="months@example.com", email="months@example.com")
        self.billing = shop.place.host.billing
        self.wait_for(shop.sandbox.pay(self.buy()), "You are all set")
        self.subscription = self.newest_subscription()

    def newest_subscription(self) -> str:
        newest = "SELECT subscription_id FROM checkout_subscriptions ORDER BY id DESC LIMIT 1"
        return str(self.shop.rows(newest)[0][0])

    def emails_owed(self) -> list[str]:
        mine = (
            f"SELECT customer_key FROM checkout_subscriptions WHERE subscription_id = '{self.subscription}'"
        )
        return [
            kind for (kind,) in self.shop.rows(f"SELECT kind FROM email_to_send WHERE customer = ({mine})")
        ]

    def wait_until(self, target: str) -> None:
        self.shop.sandbox.control("clock", until=target, id=self.subscription)

    def pass_time(self, step: str) -> None:
        self.shop.sandbox.control("clock", advance=step)

    def wait_for_access(self, *plans: str) -> None:
        what = f"access to {plans}"
        try:
            eventually(lambda: self.shop.usable_plans(self.form["name"]) == list(plans), what, 30)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.get(self.billing).text}\n{self.shop.logs()}") from late

    def pay_invoice(self) -> None:
        invoice = self.open_invoice()
        sent = self.post(f"{self.billing}/invoices/{invoice}/pay", {}, of=self.billing)
        assert sent.headers["Location"].startswith(self.shop.sandbox.url)
        assert self.get(self.shop.sandbox.pay(sent.headers["Location"])).status_code == 200
        eventually(lambda: f"{invoice}/pay" not in self.get(self.billing).text, "the invoice is paid", 30)

    def open_invoice(self) -> str:
        found = re.search(r"/invoices/(\w+)/pay", self.wait_for(self.billing, "/pay"))
        assert found
        return found[1]

    def change(self, plan: str, when: str) -> str:
        form = {"plan": self.shop.sandbox.plan(plan), "currency": "inr", "billing_period": "MONTHLY"}
        path = f"{self.billing}/subscriptions/{self.subscription}/change"
        sent = self.post(path, form | {"when": when}, of=f"{path}?{urlencode(form)}")
        assert sent.status_code == 303, sent.text
        return sent.headers["Location"]

    def cancel(self) -> None:
        path = f"{self.billing}/subscriptions/{self.subscription}/cancel"
        sent = self.post(path, {}, of=path)
        assert sent.status_code == 303, f"{sent.text}\n{self.shop.logs()}"
        assert "then it ends" in self.get(self.billing).text


@pytest.fixture(scope="module")
def subscriber(shop: Shop) -> Subscriber:
    return Subscriber(shop)


@pytest.mark.parametrize(
    ("plan", "button", "shown"),
    [
        ("Free", "Start free", "Active."),
        ("Business", "Start the trial", "Then we send you the first invoice."),
    ],
)
def test_plan_starts_without_a_payment(shop: Shop, plan: str, button: str, shown: str) -> None:
    """By the button of the packaged page, which nobody has written for this app."""
    browser = customer(shop, f"{plan.lower()}-starter")
    page = f"/billing/plans/{shop.sandbox.plan(plan)}?currency=inr&billing_period=MONTHLY"
    form = re.search(rf'<form[^>]* action="([^"]+/start)">(.*?)>{button}<', browser.get(page).text, re.DOTALL)
    assert form, browser.get(page).text
    fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form[2]))
    started = browser.post(form[1], fields, of=page)
    assert started.status_code == 303, started.text
    browser.wait_for(started.headers["Location"], "There was nothing to pay.")
    browser.wait_for(shop.place.host.billing, shown)
    assert granted(shop, browser) == 1
    assert button not in browser.get(page).text


@pytest.mark.thorough
def test_renewal_is_shown_and_paid(subscriber: Subscriber) -> None:
    subscriber.wait_for_access("Starter")
    page = subscriber.get(subscriber.billing).text
    assert subscriber.shop.place.host.layout in page
    assert "Nothing is charged automatically" in page
    subscriber.wait_until("invoice_finalized")
    subscriber.pay_invoice()
    subscriber.wait_for_access("Starter")


@pytest.mark.thorough
def test_unpaid_plan_is_suspended_until_paid(subscriber: Subscriber) -> None:
    subscriber.wait_until("invoice_finalized")
    subscriber.pass_time("25h")
    subscriber.wait_for(subscriber.billing, "overdue")
    subscriber.wait_for_access("Starter")
    subscriber.pass_time("6d")
    subscriber.wait_for_access()
    assert "Paused" in subscriber.get(subscriber.billing).text
    stranger, invoice = customer(subscriber.shop, "curious"), subscriber.open_invoice()
    pay = f"{subscriber.billing}/invoices/{invoice}/pay"
    assert stranger.post(pay, {}, of=stranger.url).status_code == 404
    subscriber.pay_invoice()
    subscriber.wait_for_access("Starter")


@pytest.mark.thorough
def test_planned_end_is_undone(subscriber: Subscriber) -> None:
    subscriber.cancel()
    subscriber.wait_for_access("Starter")
    undo = f"{subscriber.billing}/subscriptions/{subscriber.subscription}/undo"
    assert subscriber.post(undo, {"what": "cancel"}, of=subscriber.billing).status_code == 303
    assert "Cancel plan" in subscriber.get(subscriber.billing).text


@pytest.mark.thorough
def test_plan_changes_at_the_renewal_and_today(subscriber: Subscriber) -> None:
    shop, old = subscriber.shop, subscriber.subscription
    subscriber.change("Team", "renewal")
    subscriber.wait_for_access("Starter")
    subscriber.wait_until("period_end")
    subscriber.wait_for_access("Team")
    subscriber.wait_for(shop.sandbox.pay(subscriber.change("Business", "today")), "You are all set")
    ended = f"SELECT access FROM checkout_subscriptions WHERE subscription_id = '{old}'"
    eventually(lambda: shop.rows(ended) == [("ended",)], "the replaced plan has ended", 30)
    subscriber.wait_for_access("Business")
    subscriber.subscription = subscriber.newest_subscription()


@pytest.mark.thorough
def test_cancelled_plan_ends_with_its_period(subscriber: Subscriber) -> None:
    subscriber.cancel()
    subscriber.wait_for_access("Business")
    subscriber.wait_until("period_end")
    subscriber.wait_for_access()
    subscriber.wait_for(subscriber.billing, "Your plan has ended")


@pytest.mark.thorough
def test_each_email_is_owed_once(subscriber: Subscriber) -> None:
    owed = subscriber.emails_owed()
    once = ("invoice_overdue", "suspended", "resumed", "cancel_undone", "ended")
    assert {kind: owed.count(kind) for kind in once} == dict.fromkeys(once, 1)
    assert owed.count("invoice_ready") == owed.count("invoice_paid") == 2


def test_logs_hold_no_error(shop: Shop) -> None:
    assert "Traceback" not in shop.logs()


# -- how much one sale runs ----------------------------------------------------------------------------

# Functions and files of each copied folder. The club makes the customer at sign-up, as the guide advises.
MAX_TRACED = {"checkout": (75, 9), "flexprice": (41, 5)}


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


@pytest.mark.thorough
def test_one_sale_runs_few_functions(tmp_path: Path, stages: Stages, sandbox: Sandbox) -> None:
    place = stages.selling("club").copy(tmp_path / "app", CLUB_CSRF="off")
    helper = TraceHelper()
    helper.relay = Relay("")
    helper.relay.dropping = True
    helper.sandbox = sandbox
    sandbox.start_again(helper.relay.url)
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
        for part in (helper, helper.relay):
            part.stop()
    found = json.loads(said.splitlines()[-1])
    assert found["state"] == "fulfilled"
    for folder, (max_functions, max_files) in MAX_TRACED.items():
        functions = [name for name in found["functions"] if name.startswith(f"{folder}/")]
        assert len(functions) <= max_functions, functions
        assert len({name.partition(":")[0] for name in functions}) <= max_files


# -- the oldest versions -------------------------------------------------------------------------------


@pytest.mark.thorough
def test_it_sells_on_the_oldest_versions(tmp_path: Path, stages: Stages, sandbox: Sandbox) -> None:
    """Flask 3.0 and SQLAlchemy 2.0.16. They are installed from the package index: this needs the internet."""
    folder = tmp_path / "app"
    place = stages.adopted("club").copy(folder, DATABASE_URL=f"sqlite:///{folder}/instance/club.db")
    place.use_python(oldest_python(tmp_path))
    shop = Shop(place, sandbox)
    try:
        browser = customer(shop, "oldest")
        browser.wait_for(shop.sandbox.pay(browser.buy()), "You are all set")
        assert granted(shop, browser) == 1
        test_lost_answer_is_found(shop)
        test_ten_copies_of_a_webhook_fulfill_once(shop)
        test_cancelled_order_frees_the_plan(shop)
        subscriber = Subscriber(shop)
        test_renewal_is_shown_and_paid(subscriber)
        test_unpaid_plan_is_suspended_until_paid(subscriber)
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
