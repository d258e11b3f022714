"""The web process or the worker is killed at each commit and each call of a step of the second month.

Afterwards the customer goes on as the pages say, the worker runs, and both sides agree: paid once, one live
link, one email per fact. `make test` takes some of the points, `make soak` every one.
"""

from collections import Counter

import pytest

from storefront.sandbox.store.values import stable_id
from tests.shop_fixtures import HOME
from tests.unit.checkout.shop_and_sandbox import SANDBOX
from tests.unit.subscriptions.conftest import Story


class Act:
    """One step of a customer, which can be repeated until the pages say that it is done."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.used: set[str] = set()  # links by which the customer has paid
        story.begin_again()
        story.facts.clear()
        self.prepare()

    def prepare(self) -> None:
        self.subscription_id = self.story.bought().subscription_id
        self.path = f"/billing/subscriptions/{self.subscription_id}"

    def go_on(self) -> None:
        raise NotImplementedError

    def told(self) -> Counter[str]:
        return Counter(about.partition(" ")[0] for about in self.story.told)

    def check(self) -> None:
        raise NotImplementedError

    def pays(self, link: str) -> None:
        if link.startswith(SANDBOX) and link not in self.used:
            self.used.add(link)
            self.story.at_provider(link, "pay")


class PayRenewal(Act):
    def prepare(self) -> None:
        super().prepare()
        self.story.must("/_sandbox/switches", first_renewal="billed")
        self.story.until("invoice_finalized", self.subscription_id)

    def go_on(self) -> None:
        for bill in self.story.bills():
            if bill.is_open and self.story.offers_to_pay(bill):
                self.pays(self.story.press_pay(bill))
                back = f"/billing/invoices/{bill.invoice_id}/return/{bill.attempt + 1}"
                self.story.browser.get(f"{back}?razorpay_payment_link_status=paid", base_url=HOME)

    def check(self) -> None:
        renewal = self.story.their_invoices()[-1]
        assert (renewal.payment_status, renewal.amount_paid) == ("SUCCEEDED", renewal.total)
        links = [one for one in self.story.payments() if one.destination_id == renewal.id]
        assert [one.payment_status for one in links] == ["SUCCEEDED"]
        assert [bill.link for bill in self.story.bills()] == ["settled", "settled"]
        assert self.told() == {"invoice_ready": 1, "invoice_paid": 1}
        assert self.story.has_access()


class Cancel(Act):
    def go_on(self) -> None:
        if "Cancel plan" in self.story.see():
            self.story.press(f"{self.path}/cancel", when="period_end")

    def check(self) -> None:
        (theirs,), (row,) = self.story.their_subscriptions(), self.story.subscriptions()
        assert theirs.cancel_at_period_end
        assert row.cancel_at
        assert row.cancel_schedule_id
        assert self.told() == {"cancel_scheduled": 1}
        assert self.story.has_access()


class ChangeToday(Act):
    def go_on(self) -> None:
        if self.story.has_access("Team"):
            return
        terms = {"plan": stable_id("plan", "team"), "currency": "inr", "billing_period": "MONTHLY"}
        place = self.story.press(f"{self.path}/change", when="today", **terms).location
        on_a_page = place and place.startswith("/")  # the order's: its link may be there by now
        for link in self.story.links_on(self.story.see(place)) if on_a_page else [place or ""]:
            self.pays(link)
        self.story.settle()

    def check(self) -> None:
        running = [one for one in self.story.their_subscriptions() if one.subscription_status == "active"]
        assert [one.plan_id for one in running] == [stable_id("plan", "team")]
        paid = [one for one in self.story.payments() if one.payment_status == "SUCCEEDED"]
        assert len(paid) == 2, "Starter and Team, once each"
        assert self.story.has_access("Team")
        assert not self.story.has_access("Starter")
        assert len(self.story.welcome_emails()) == 2
        assert all(count == 1 for count in self.told().values())
        assert [order.state for order in self.story.the_orders()].count("fulfilled") == 2


class StartFree(Act):
    def prepare(self) -> None:
        self.story.make_customer()

    def go_on(self) -> None:
        if not self.story.has_access():
            self.story.start("free")

    def check(self) -> None:
        running = [one for one in self.story.their_subscriptions() if one.subscription_status == "active"]
        assert len(running) == 1
        assert self.story.has_access()
        assert len(self.story.welcome_emails()) == 1
        assert [row.access for row in self.story.subscriptions()].count("granted") == 1
        assert self.told() == {}


ACTS = {"pay a renewal": PayRenewal, "cancel": Cancel, "change today": ChangeToday, "start free": StartFree}
SAMPLE = {"pay a renewal": (2, 5), "cancel": (2,), "change today": (3, 7), "start free": (2,)}


def survives(story: Story, act: type[Act], step: int) -> bool:
    """Whether the process was killed at this step."""
    told = act(story)
    died = True
    with story.killed_after(step):
        told.go_on()
        story.settle()
        died = False
    for minutes in (1, 3, 3):
        story.wait(minutes)
        story.due_again()
        story.settle()
        told.go_on()
    story.due_again()
    story.settle()
    told.check()
    return died


@pytest.mark.thorough
@pytest.mark.parametrize("name", ACTS)
def test_survives_a_kill(story: Story, name: str) -> None:
    for step in SAMPLE[name]:
        assert survives(story, ACTS[name], step), f"{name} has no step {step} any more"


@pytest.mark.soak
@pytest.mark.parametrize("name", ACTS)
def test_survives_a_kill_at_every_step(story: Story, name: str) -> None:
    step = 0
    while survives(story, ACTS[name], step):
        step += 1
    print(f"{name}: killed at each of {step} steps")
    assert step > max(SAMPLE[name])
