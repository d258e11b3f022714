"""Months in any order: whatever happens at Flexprice and to the shop, both end in the same truth."""

import contextlib
import random
from typing import Any

import pytest

from storefront.billing import Invoice, Subscription
from storefront.sandbox.store.values import stable_id
from storefront.subscriptions.states import RUNNING, suspend_at
from tests.shop_fixtures import HOME
from tests.unit.checkout.shop_and_sandbox import Killed
from tests.unit.subscriptions.conftest import Story

STEPS = 18
LIVE = ("INITIATED", "PENDING", "PROCESSING")
PAIRS = {"suspended": "resumed", "cancel_scheduled": "cancel_undone"}  # the second undoes the first
ONCE = ("ended", "trial_ending")


class Months:
    """One customer's months, as steps that may come in any order."""

    def __init__(self, story: Story, seed: int) -> None:
        self.story, self.random = story, random.Random(seed)
        story.bought()
        if self.random.random() < 0.5:
            limits = {"auto_cancellation_enabled": True, "grace_period_days": 5}
            story.set_at_flexprice("subscription_config", **limits)

    def step(self) -> str:
        name = self.random.choice([name for name in dir(self) if name.startswith("when_")])
        getattr(self, name)()
        return name

    @property
    def deliver(self) -> bool:
        """Messages may be lost."""
        return self.random.random() < 0.6

    # -- time

    def when_a_period_ends(self) -> None:
        if row := self.running():
            self.story.until("period_end", row.subscription_id, deliver=self.deliver)

    def when_an_invoice_is_computed(self) -> None:
        if row := self.running():
            self.story.until("invoice_computed", row.subscription_id, deliver=self.deliver)

    def when_an_invoice_is_final(self) -> None:
        self.story.advance("3h", deliver=self.deliver)

    def when_days_pass(self) -> None:
        self.story.advance(f"{self.random.randint(1, 6)}d", deliver=self.deliver)

    def when_the_clock_jumps(self) -> None:
        """As after a night with the lid closed: what falls due happens late."""
        moved = self.story.must("/_sandbox/clock", advance=f"{self.random.randint(1, 40)}d", jump=True)
        self.story._read_clock(moved["now"])
        self.story.must("/_sandbox/deliver")

    # -- what the customer does

    def when_pay_is_pressed(self) -> None:
        for bill in self.open_bills()[:1]:
            if answer := self.random.choice(["", "", "lost", "hangs", "unreachable"]):
                self.story.wire.faults["POST", "/v1/payments"] = answer
            self.story.press(f"/billing/invoices/{bill.invoice_id}/pay")
            self.story.wire.faults.clear()

    def when_a_link_is_used(self) -> None:
        for bill in [bill for bill in self.open_bills() if bill.link == "open"][:1]:
            what = self.random.choice(["pay", "pay", "decline", "expire_link"])
            unheard = {"events": []} if self.random.random() < 0.3 else {}
            self.at_provider(bill, action=what, **unheard if what == "pay" else {})
            if what == "pay" and self.random.random() < 0.5:
                claim = "razorpay_payment_link_status=paid"
                back = f"/billing/invoices/{bill.invoice_id}/return/{bill.attempt}?{claim}"
                assert self.story.browser.get(back, base_url=HOME).status_code == 303

    def when_money_comes_late(self) -> None:
        """By a link that was found dead: Flexprice books it nowhere."""
        dead = [bill for bill in self.story.bills() if bill.link == "failed" and bill.payment_url]
        for bill in dead[:1]:
            self.at_provider(bill, action="pay")

    def when_cancel_is_pressed(self) -> None:
        if (row := self.running()) and self.random.random() < 0.5:
            self.fail_sometimes(f"/v1/subscriptions/{row.subscription_id}/cancel")
            self.story.press(f"/billing/subscriptions/{row.subscription_id}/cancel")
            self.story.wire.faults.clear()

    def when_undo_is_pressed(self) -> None:
        if row := self.running():
            what = self.random.choice(["cancel", "change"])
            self.story.press(f"/billing/subscriptions/{row.subscription_id}/undo", what=what)

    def when_a_change_is_planned(self) -> None:
        self.change("renewal")

    def when_the_plan_is_changed_today(self) -> None:
        if self.random.random() < 0.5:
            before = len(self.story.sessions())
            self.change("today")
            if len(self.story.sessions()) > before and self.random.random() < 0.7:
                self.story.on_payment_page(self.story.sessions()[-1], "pay")

    # -- what somebody does at Flexprice

    def when_it_is_paid_twice(self) -> None:
        for bill in [bill for bill in self.open_bills() if bill.link == "open"][:1]:
            other = self.of_another(bill)
            self.at_provider(bill, action="pay")
            if other:
                self.story.must("/_sandbox/provider", action="pay", link=other)

    def when_a_part_is_paid_elsewhere(self) -> None:
        for bill in self.open_bills()[:1]:
            if other := self.of_another(bill, amount="200", idempotency_key=f"a part of {bill.id}"):
                self.story.must("/_sandbox/provider", action="pay", link=other)

    def when_an_invoice_is_voided(self) -> None:
        if self.random.random() < 0.3:
            for bill in self.open_bills()[:1]:
                self.ask(f"/invoices/{bill.invoice_id}/void")

    def when_an_unpaid_plan_is_ended(self) -> None:
        """In the dashboard; with auto-cancellation it ends by itself too."""
        if self.open_bills() and (row := self.running()) and self.random.random() < 0.3:
            self.story._sandbox(f"/_sandbox/subscriptions/{row.subscription_id}/cancel", json={})

    # -- what happens to messages and processes

    def when_messages_come_twice_and_late(self) -> None:
        """A message that was lost before is built only now, from the state of today."""
        names = self.story.events("checkout.", "subscription.", "invoice.", "payment.")
        self.random.shuffle(names)
        self.story.deliver(*names[:12], *names[:3])

    def when_the_worker_is_killed(self) -> None:
        self.story.due_again()
        try:
            with self.story.killed_after(self.random.randint(0, 14)):
                self.story.work()
        except Killed:
            pass

    # -- how

    def running(self) -> Subscription | None:
        """The plan that the customer has, if it runs at Flexprice."""
        theirs = {row.id for row in self.story.their_subscriptions() if row.subscription_status in RUNNING}
        return next((r for r in reversed(self.story.subscriptions()) if r.subscription_id in theirs), None)

    def open_bills(self) -> list[Invoice]:
        return [bill for bill in self.story.bills() if bill.is_open]

    def change(self, when: str) -> None:
        if row := self.running():
            plan = "team" if row.plan_id != stable_id("plan", "team") else "starter"
            terms = {"plan": stable_id("plan", plan), "currency": "inr", "billing_period": "MONTHLY"}
            self.story.press(f"/billing/subscriptions/{row.subscription_id}/change", when=when, **terms)

    def fail_sometimes(self, path: str) -> None:
        if answer := self.random.choice(["", "", "lost", "refused for now"]):
            self.story.wire.faults["POST", path] = answer

    def at_provider(self, bill: Invoice, **body: Any) -> None:
        self.story._sandbox("/_sandbox/provider", json={"link": bill.payment_url} | body)

    def of_another(self, bill: Invoice, **more: Any) -> str:
        """A link that is not ours; empty where Flexprice refuses it."""
        try:
            return str(self.story.link_of_another(bill, **more)["payment_url"] or "")
        except AssertionError:
            return ""

    def ask(self, path: str) -> None:
        """Flexprice may refuse it: it knows more than the shop."""
        with contextlib.suppress(AssertionError):
            self.story.at_flexprice(path)

    # -- what always holds

    def promises_hold(self) -> None:
        for bill in self.story.their_invoices():
            ours = [p for p in self.story.payments() if p.idempotency_key.startswith(f"{bill.id[-40:]}:")]
            assert len([p for p in ours if p.payment_status in LIVE]) <= 1, "at most one live link"
            assert len([p for p in ours if p.payment_status == "SUCCEEDED"]) <= 1, "no second charge by us"
        said = self.story.told
        assert len(said) == len(set(said)), "one message for each fact"
        for subscription_id in {words.split()[1] for words in said}:
            self.messages_make_sense([w.split()[0] for w in said if w.split()[1] == subscription_id])

    def messages_make_sense(self, facts: list[str]) -> None:
        for first, second in PAIRS.items():
            told = [fact for fact in facts if fact in (first, second)]
            assert told == [first, second] * (len(told) // 2) + [first] * (len(told) % 2), told
        assert all(facts.count(fact) <= 1 for fact in ONCE), facts

    def agrees_with_flexprice(self) -> None:
        story = self.story
        for _ in range(4):
            story.due_again()
            story.settle()
        theirs = {row.id: (row.subscription_status, row.plan_id) for row in story.their_subscriptions()}
        rows = story.subscriptions()
        assert {r.subscription_id: (r.status, r.plan_id) for r in rows} == {
            row_id: told for row_id, told in theirs.items() if told[0] != "draft"
        }
        known = {row.subscription_id for row in rows}
        bills = {bill.invoice_id: (bill.status, bill.payment_status) for bill in story.bills()}
        assert bills == {
            i.id: (i.invoice_status, i.payment_status)
            for i in story.their_invoices()
            if i.subscription_id in known
        }
        assert story.has_access() is any(self.grants(row) for row in rows)

    def grants(self, row: Subscription) -> bool:
        """It runs, and nothing of it is overdue beyond the grace."""
        bills = [bill.bill for bill in self.story.bills() if bill.subscription_id == row.subscription_id]
        from_then = None if row.replaced_by else suspend_at(bills, self.story.grace)
        return row.status in RUNNING and (from_then is None or from_then > self.story.now())


SEEDS = [pytest.param(seed, marks=[] if seed < 4 else [pytest.mark.thorough]) for seed in range(60)]


@pytest.mark.parametrize("seed", SEEDS)
def test_months_in_any_order(story: Story, seed: int) -> None:
    months = Months(story, seed)
    done = []
    try:
        for _ in range(STEPS):
            done.append(months.step())
            months.promises_hold()
        months.agrees_with_flexprice()
        months.promises_hold()
    except AssertionError:
        print(done)
        raise
