"""kill -9 in the second month: a renewal's payment, a change today, a cancellation, a free plan.

As test_kill.py for sales. tests/unit/subscriptions/test_kills.py has the same points without processes.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sqlalchemy import select
from sqlalchemy.orm import Session

from storefront.billing import Invoice, Subscription
from storefront.emails.models import Email
from storefront.models import User
from storefront.sandbox.store import billing_rows as theirs
from storefront.sandbox.store.values import stable_id
from tests.faults.conftest import Buyer
from tests.faults.stack import Stack

NewBuyer = Callable[[], Buyer]
TEAM = {"plan": stable_id("plan", "team"), "currency": "inr", "billing_period": "MONTHLY"}
TURNS = 100  # until a customer gives up


def rows(stack: Stack, model: Any, **columns: Any) -> list[Any]:
    with Session(stack.engine, expire_on_commit=False) as session:
        return list(session.scalars(select(model).filter_by(**columns).order_by(model.id)))


def their_rows(stack: Stack, model: Any, *conditions: Any) -> list[Any]:
    with Session(stack.sandbox_engine, expire_on_commit=False) as session:
        return list(session.scalars(select(model).where(*conditions).order_by(model.id)))


class Act:
    """One step of a customer, gone on with as the pages say until it is done."""

    def __init__(self, stack: Stack, buyer: Buyer) -> None:
        self.stack, self.buyer = stack, buyer
        self.paid: set[str] = set()
        buyer.sign_up()
        self.key = rows(stack, User, email=buyer.email)[0].key
        self.prepare()

    def prepare(self) -> None:
        self.buyer.buy()
        self.stack.wait_until(lambda: [s for s in self.plans() if s.period_end], "no subscription")
        self.path = f"/billing/subscriptions/{self.plans()[0].subscription_id}"

    def plans(self) -> list[Any]:
        return rows(self.stack, Subscription, customer_key=self.key)

    def running(self) -> list[Any]:
        """At Flexprice."""
        ids = [plan.flexprice_customer_id for plan in self.plans()]
        of = theirs.Subscription.customer_id.in_(ids)
        return their_rows(
            self.stack, theirs.Subscription, of, theirs.Subscription.subscription_status == "active"
        )

    def go_on(self) -> None:
        raise NotImplementedError

    def is_done(self) -> bool:
        raise NotImplementedError

    def do(self) -> None:
        for turn in range(TURNS):
            if self.is_done():
                return
            self.go_on()
            time.sleep(0.3)
            if turn % 5 == 4:  # each time makes every order due: the worker must get to the plans too
                self.stack.time_passes()
        said = [(s.plan_name, s.status, s.access, s.replaced_by, s.end_requested_at) for s in self.plans()]
        raise AssertionError(f"{said} {self.paid}\n{self.stack.logs()}")

    def pays(self, link: str) -> None:
        if link.startswith(self.stack.sandbox_url) and link not in self.paid:
            self.paid.add(link)
            self.buyer.pay(link)

    def emails(self) -> Counter[str]:
        """By fact, each sent once. A reminder comes where the worker looks in the day before a renewal."""
        user = rows(self.stack, User, email=self.buyer.email)[0]
        written = rows(self.stack, Email, user_id=user.id)
        assert self.stack.mail_server.received().get(self.buyer.email, 0) == len(written)
        found = Counter(email.about.partition(" ")[0] if email.about else email.kind for email in written)
        assert found.pop("renewal_coming", 1) == 1
        return found


class PayRenewal(Act):
    def prepare(self) -> None:
        super().prepare()
        wanted = {"until": "invoice_finalized", "id": self.plans()[0].subscription_id}
        requests.post(f"{self.stack.sandbox_url}/_sandbox/clock", json=wanted, timeout=60).raise_for_status()
        self.stack.wait_until(lambda: any(bill.is_open for bill in self.bills()), "no invoice")

    def bills(self) -> list[Any]:
        return rows(self.stack, Invoice, customer_key=self.key)

    def is_done(self) -> bool:
        return all(bill.paid and bill.link == "settled" for bill in self.bills())

    def go_on(self) -> None:
        page = self.buyer.see("/billing")
        if page.action("/pay"):
            self.pays(self.buyer.send(page, "/pay").headers["Location"])

    def check(self) -> None:
        renewal = self.bills()[-1]
        links = their_rows(self.stack, theirs.Payment, theirs.Payment.destination_id == renewal.invoice_id)
        assert [one.payment_status for one in links] == ["SUCCEEDED"]
        assert self.emails() == {"welcome": 1, "invoice_ready": 1, "invoice_paid": 1}


class Cancel(Act):
    def is_done(self) -> bool:
        return bool(self.plans()[0].cancel_at)

    def go_on(self) -> None:
        page = self.buyer.see(f"{self.path}/cancel")
        fields = next((form for form in page.forms.values() if "when" in form), None)
        if fields:
            self.buyer.insist("POST", f"{self.stack.shop_url}{self.path}/cancel", data=fields)

    def check(self) -> None:
        (subscription,) = self.running()
        assert subscription.cancel_at_period_end
        assert self.emails() == {"welcome": 1, "cancel_scheduled": 1}


class ChangeToday(Act):
    def is_done(self) -> bool:
        old = self.plans()[0]
        return bool(old.replaced_by) and old.status == "cancelled"

    def go_on(self) -> None:
        csrf = next(form for form in self.buyer.see("/account").forms.values() if "csrf_token" in form)
        url = f"{self.stack.shop_url}{self.path}/change"
        place = self.buyer.insist("POST", url, data=csrf | TEAM | {"when": "today"}).headers.get(
            "Location", ""
        )
        self.pays(self.buyer.see(place).payment_url if place.startswith("/") else place)

    def check(self) -> None:
        assert [one.plan_id for one in self.running()] == [TEAM["plan"]]
        assert len(self.paid) == 1
        assert self.emails()["welcome"] == 2
        assert set(self.emails().values()) <= {1, 2}


class StartFree(Act):
    def prepare(self) -> None:
        """Nothing is bought before."""

    def is_done(self) -> bool:
        return any(plan.status == "active" for plan in self.plans())

    def go_on(self) -> None:
        page = self.buyer.see(f"/plans/{stable_id('plan', 'free')}")
        if page.action("/billing/start"):
            self.buyer.send(page, "/billing/start")

    def check(self) -> None:
        assert len(self.running()) == 1
        assert self.emails() == {"welcome": 1}


ACTS: dict[str, type[Any]] = {
    "pay a renewal": PayRenewal, "cancel": Cancel, "change today": ChangeToday, "start free": StartFree,
}  # fmt: skip
MOMENTS = {
    "pay a renewal": "web after POST /v1/payments",  # the link exists, and nobody here knows it
    "cancel": "web after POST /v1/subscriptions/…/cancel",
    "change today": "worker after POST /v1/subscriptions/…/cancel",  # the old plan's end
    "start free": "web after POST /v1/subscriptions",
}


def points_of(stack: Stack, buyer: Buyer, act: type[Any]) -> list[str]:
    """The points that one which goes well passes."""
    told = act(stack, buyer)
    stack.settle()
    (stack.faults / "trace").write_text("")
    told.do()
    stack.settle()
    told.check()
    return stack.points_passed()


def survives(stack: Stack, buyer: Buyer, act: type[Any], point: str) -> bool:
    told = act(stack, buyer)
    stack.settle()
    stack.arm(point)
    told.do()
    stack.settle()
    died = stack.disarm()
    told.check()
    return died


@pytest.mark.thorough
@pytest.mark.parametrize("name", ACTS)
def test_survives_a_kill(stack: Stack, new_buyer: NewBuyer, name: str) -> None:
    found = [p for p in points_of(stack, new_buyer(), ACTS[name]) if p.startswith(MOMENTS[name])]
    assert found, "there is no such moment any more"
    assert survives(stack, new_buyer(), ACTS[name], found[0])


@pytest.mark.soak
@pytest.mark.parametrize("name", ACTS)
def test_survives_a_kill_at_every_point(stack: Stack, new_buyer: NewBuyer, name: str) -> None:
    points = points_of(stack, new_buyer(), ACTS[name])
    died = [point for point in points if survives(stack, new_buyer(), ACTS[name], point)]
    print(f"\n{stack.engine.dialect.name}: {name}: died at {len(died)} of {len(points)} points")
    assert len(died) >= len(points) * 0.5  # the worker passes some of them only by chance
