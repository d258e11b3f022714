"""A shop and a legacy sandbox that share one clock, with a buyer who pays."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from storefront import access
from storefront.billing import Invoice, Subscription
from storefront.emails.models import Email
from storefront.extensions import checkout, db
from storefront.models import Order, PlanAccess, User
from storefront.sandbox.store.billing_rows import Invoice as TheirInvoice
from storefront.sandbox.store.billing_rows import Subscription as TheirSubscription
from storefront.sandbox.store.rows import ProviderLink
from storefront.sandbox.store.values import stable_id
from storefront.subscriptions import subscription_news
from tests.conftest import NewDatabase
from tests.shop_fixtures import HOME
from tests.unit.checkout.shop_and_sandbox import SAME_ORIGIN, SANDBOX, ShopAndSandbox


class Story(ShopAndSandbox):
    """Months of one customer, told as calls."""

    def __init__(self, shop: Flask, sandbox_url: str, clock: Path) -> None:
        super().__init__(shop, sandbox_url)
        self.clock = clock
        self.facts: list[str] = []
        subscription_news.connect(self._heard, shop)
        shop.config["CLOCK_FILE"] = str(clock)
        self.must("/_sandbox/switches", generation="legacy")
        self.browser = self.sign_in("asha")

    def _heard(self, _app: Flask, fact: str, **_: Any) -> None:
        self.facts.append(str(fact))

    @property
    def told(self) -> list[str]:
        """What the emails are about: those that a rollback forgot are not among them."""
        return [email.about for email in self._shop_rows(Email) if email.about]

    def emails(self, fact: str) -> int:
        """How many there are about this fact."""
        return sum(about.startswith(f"{fact} ") for about in self.told)

    def now(self) -> datetime:
        moved_s = float(self.clock.read_text()) if self.clock.exists() else 0.0
        return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=moved_s)

    grace = timedelta(days=3)

    def must(self, path: str, **body: Any) -> Any:
        answer = self._sandbox(path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json

    # -- what happens

    def bought(self, plan: str = "starter") -> Subscription:
        assert self.buy(self.browser, plan).status_code == 303
        self.on_payment_page(self.sessions()[-1], "pay")
        self.settle()
        return self.subscriptions()[-1]

    def start(self, plan: str) -> Any:
        """Press the button of a free plan, or of a trial."""
        terms = {"plan": stable_id("plan", plan), "currency": "inr", "billing_period": "MONTHLY"}
        return self.press("/billing/start", **terms)

    def owing(self) -> Invoice:
        """The open invoice of the first renewal that has one."""
        sub = self.bought()
        self.until("period_end", sub.subscription_id)
        self.until("invoice_finalized", sub.subscription_id)
        return self.open_bill()

    def at_flexprice(self, path: str, **body: Any) -> Any:
        """What somebody else does there with a key: in the dashboard, or by an app of their own."""
        key = {"x-api-key": "sk_of_a_test"}
        with self.wire.other_process():
            answer = self.wire.sandbox.post(f"/v1{path}", base_url=SANDBOX, headers=key, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json

    def set_at_flexprice(self, key: str, **value: Any) -> None:
        """A setting of Flexprice's."""
        sent = {"base_url": SANDBOX, "headers": {"x-api-key": "sk_of_a_test"}}
        answer = self.wire.sandbox.put(f"/v1/settings/{key}", json={"value": value}, **sent)
        assert answer.status_code == 200, answer.text

    def made_in_dashboard(self, plan: str, **more: Any) -> Any:
        return self.at_flexprice(
            "/subscriptions", customer_id=self.subscriptions()[0].flexprice_customer_id,
            plan_id=stable_id("plan", plan), currency="inr", billing_period="MONTHLY",
            billing_period_count=1, billing_cadence="RECURRING", **more,
        )  # fmt: skip

    def link_of_another(self, bill: Invoice, **more: Any) -> Any:
        """Somebody else's payment for an invoice: its id, and where it is paid."""
        asked = {
            "destination_type": "INVOICE", "destination_id": bill.invoice_id, "amount": bill.remaining_text,
            "payment_method_type": "PAYMENT_LINK", "payment_gateway": "razorpay", "currency": "inr",
            "process_payment": True, "idempotency_key": f"another {bill.id}",
        }  # fmt: skip
        return self.at_flexprice("/payments", **asked | more)

    def minutes_later(self, *columns: str) -> None:
        """These columns of all invoices were written five minutes ago."""
        with self.wire.other_process(), self.shop.app_context():
            for row in db.session.scalars(db.select(Invoice)):
                for name in columns:
                    if getattr(row, name):
                        setattr(row, name, getattr(row, name) - timedelta(minutes=5))
            db.session.commit()

    def desk(self) -> Any:
        """A browser of somebody at the operator desk."""
        browser = self.sign_in("olga")
        with self.shop.app_context():
            db.session.scalar(db.select(User).filter_by(email="olga@example.com")).is_operator = True
            db.session.commit()
        return browser

    def at_desk(self, desk: Any, path: str, **data: str) -> str:
        """Press a button there; the page that follows."""
        sent = {"base_url": HOME, "headers": SAME_ORIGIN, "data": data, "follow_redirects": True}
        return str(desk.post(f"/operator/billing/{path}", **sent).text)

    def make_customer(self) -> None:
        """As at the sign-up."""
        with self.shop.app_context():
            user = db.session.scalars(db.select(User)).first()
            assert checkout.ensure_customer(access.customer_of(user))

    def settle(self, deliver: bool = True) -> None:
        """Every message arrives, and the worker has nothing left to do."""
        if deliver:
            self.deliver(*self.events("checkout.", "subscription.", "invoice.", "payment."))
        turns = 4
        while turns and self.work():
            turns -= 1

    def until(self, target: str, thing: str, deliver: bool = True) -> None:
        answer = self.must("/_sandbox/clock", until=target, id=thing)
        self._read_clock(answer["now"])
        self.settle(deliver)

    def advance(self, step: str, deliver: bool = True) -> None:
        self._read_clock(self.must("/_sandbox/clock", advance=step)["now"])
        self.settle(deliver)

    def _read_clock(self, now: str) -> None:
        moment = datetime.fromisoformat(now)
        self.clock.write_text(str((moment - datetime.now(UTC)).total_seconds()))
        self.forget_prices()

    def press(self, path: str, **data: Any) -> Any:
        return self.browser.post(path, base_url=HOME, data=data, headers=SAME_ORIGIN)

    def see(self, path: str = "/billing") -> str:
        answer = self.browser.get(path, base_url=HOME)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    def offers_to_pay(self, invoice: Invoice) -> bool:
        """Whether the billing page has a button for it, by the name that a screen reader says."""
        buttons = re.findall(r"<button[^>]*>(.*?)</button>", self.see(), re.DOTALL)
        return f"Pay {invoice.number}" in [re.sub("<[^>]+>", "", label).strip() for label in buttons]

    def press_pay(self, invoice: Invoice) -> str:
        answer = self.press(f"/billing/invoices/{invoice.invoice_id}/pay")
        assert answer.status_code == 303, answer.text
        return str(answer.location)

    def at_provider(self, url: str, what: str) -> None:
        assert url.startswith(SANDBOX), url
        self.must("/_sandbox/provider", action=what, link=url)

    def due_again(self) -> None:
        """The worker does not wait for its real time."""
        self.shop.extensions["subscriptions"].look_through_at_s = 0.0
        with self.wire.other_process(), self.shop.app_context():
            for model in (Subscription, Invoice):
                for row in db.session.scalars(db.select(model)):
                    if row.next_attempt_at:
                        row.next_attempt_at = datetime(2020, 1, 1)  # noqa: DTZ001
            db.session.commit()

    # -- what is true

    def subscriptions(self) -> list[Subscription]:
        return self._shop_rows(Subscription)

    def bills(self) -> list[Invoice]:
        return self._shop_rows(Invoice)

    def open_bill(self) -> Invoice:
        (bill,) = [bill for bill in self.bills() if bill.is_open]
        return bill

    def their_subscriptions(self) -> list[TheirSubscription]:
        return self._rows_of(TheirSubscription)

    def their_invoices(self) -> list[TheirInvoice]:
        return self._rows_of(TheirInvoice)

    def links(self) -> list[ProviderLink]:
        return self._rows_of(ProviderLink)

    def plan_access(self) -> list[PlanAccess]:
        return self._shop_rows(PlanAccess)

    def has_access(self, plan: str = "") -> bool:
        """Whether a plan (of this name) may be used."""
        with self.wire.other_process(), self.shop.app_context():
            rows = db.session.scalars(db.select(PlanAccess)).all()
            return any(row.active_at(self.now()) and plan in row.plan_name for row in rows)

    def the_orders(self) -> list[Order]:
        return self._shop_rows(Order)


@pytest.fixture
def story(app: Flask, sandbox_in: NewDatabase, tmp_path: Path) -> Iterator[Story]:
    (tmp_path / "sandbox").mkdir()
    told = Story(app, sandbox_in(tmp_path / "sandbox"), tmp_path / "clock")
    yield told
    told.close()
