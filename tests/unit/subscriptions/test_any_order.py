"""Months in any order: whatever happens at Flexprice and to the shop, both end in the same truth."""

import random

import pytest

from storefront.subscriptions.states import RUNNING, suspend_at
from tests.unit.checkout.shop_and_sandbox import Killed
from tests.unit.subscriptions.conftest import Story

STEPS = 14


class Months:
    """One customer's months, as steps that may come in any order."""

    def __init__(self, story: Story, seed: int) -> None:
        self.story, self.random = story, random.Random(seed)
        self.subscription_id = story.bought().subscription_id
        self.path = f"/billing/subscriptions/{self.subscription_id}"

    def step(self) -> str:
        name = self.random.choice([name for name in dir(self) if name.startswith("when_")])
        getattr(self, name)()
        return name

    @property
    def deliver(self) -> bool:
        """Messages may be lost."""
        return self.random.random() < 0.6

    def when_a_period_ends(self) -> None:
        if self.running:
            self.story.until("period_end", self.subscription_id, deliver=self.deliver)

    def when_an_invoice_is_final(self) -> None:
        self.story.advance("3h", deliver=self.deliver)

    def when_days_pass(self) -> None:
        self.story.advance(f"{self.random.randint(1, 6)}d", deliver=self.deliver)

    def when_pay_is_pressed(self) -> None:
        for bill in self.open_bills()[:1]:
            answer = self.random.choice(["", "", "lost", "hangs", "unreachable"])
            if answer:
                self.story.wire.faults["POST", "/v1/payments"] = answer
            self.story.press(f"/billing/invoices/{bill.invoice_id}/pay")
            self.story.wire.faults.clear()

    def when_a_link_is_used(self) -> None:
        urls = [bill.payment_url for bill in self.open_bills() if bill.link == "open" and bill.payment_url]
        for url in urls[:1]:
            what = self.random.choice(["pay", "pay", "decline", "expire_link"])
            self.story._sandbox("/_sandbox/provider", json={"action": what, "link": url})

    def when_cancel_is_pressed(self) -> None:
        if self.running and self.random.random() < 0.5:
            self.story.press(f"{self.path}/cancel")

    def when_undo_is_pressed(self) -> None:
        self.story.press(f"{self.path}/undo", what=self.random.choice(["cancel", "change"]))

    def when_messages_come_twice(self) -> None:
        story = self.story
        names = story.events("subscription.", "invoice.", "payment.")
        self.random.shuffle(names)
        story.deliver(*names, *names[:3])

    def when_the_worker_is_killed(self) -> None:
        self.story.due_again()
        try:
            with self.story.killed_after(self.random.randint(0, 12)):
                self.story.work()
        except Killed:
            pass

    @property
    def running(self) -> bool:
        return self.story.their_subscriptions()[0].subscription_status in RUNNING

    def open_bills(self) -> list:  # type: ignore[type-arg]
        return [bill for bill in self.story.bills() if bill.is_open]

    # -- what always holds

    def promises_hold(self) -> None:
        for bill in self.story.their_invoices():
            links = [p for p in self.story.payments() if p.destination_id == bill.id]
            alive = [p for p in links if p.payment_status in ("INITIATED", "PENDING", "PROCESSING")]
            assert len(alive) <= 1, "at most one live link"
            paid = [p for p in links if p.payment_status == "SUCCEEDED"]
            assert len(paid) <= 1, "no second charge by us"
        said = self.story.told
        assert len(said) == len(set(said)), "one message for each fact"

    def agrees_with_flexprice(self) -> None:
        story = self.story
        for _ in range(3):
            story.due_again()
            story.settle()
        (row,), theirs = story.subscriptions(), story.their_subscriptions()[0]
        assert (row.status, row.plan_id) == (theirs.subscription_status, theirs.plan_id)
        bills = {bill.invoice_id: (bill.status, bill.payment_status) for bill in story.bills()}
        assert bills == {i.id: (i.invoice_status, i.payment_status) for i in story.their_invoices()}
        if row.status == "cancelled":
            assert not story.has_access()
            return
        from_then = suspend_at([bill.bill for bill in story.bills()], story.grace)
        assert story.has_access() is (from_then is None or from_then > story.now())


@pytest.mark.parametrize("seed", range(6))
def test_months_in_any_order(story: Story, seed: int) -> None:
    months = Months(story, seed)
    done = []
    for _ in range(STEPS):
        done.append(months.step())
        try:
            months.promises_hold()
        except AssertionError:
            print(done)
            raise
    months.agrees_with_flexprice()
