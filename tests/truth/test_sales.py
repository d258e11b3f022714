"""Whole sales in any order: what happened at Flexprice decides how each ends, and nothing else does.

A machine of hypothesis plays shoppers, Flexprice, its messages and a worker that is killed, all mixed up,
late, twice or never. After each step no promise may be broken; once everybody has come to rest the shop must
have come to the same truth as Flexprice, whatever the way there was.
"""

import os
from collections import Counter
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from storefront.lifecycle import FOR_A_PERSON, OPEN, State

from storefront import fulfillment

CREATE = ("POST", "/v1/checkout/sessions")
SEARCH = ("POST", "/v1/subscriptions/search")
ANSWERS = ("", "", "lost", "hangs", "unreachable", "refused for now", "hidden by a proxy")
TROUBLE = ("", "", "unreachable", "refused for now", "lost")
MEANWHILE = ("", "", "second tab", "messages", "worker")
# Chance alone seldom comes to the rare places, so most of the sales begin near one, as many at each.
GIVEN_UP = ("lose", "give_up")
BEGINNINGS = {
    "nowhere": (),
    "opened": ("click",),
    "paid, and nothing heard": ("click", "pay"),
    "lost": ("lose",),
    "lost and paid": ("lose", "pay"),
    "given up": GIVEN_UP,
    "begun again": (*GIVEN_UP, "click"),
    "paid twice": (*GIVEN_UP, "click", "pay"),
    "dearer than shown": ("raise_price", "click"),
    "paid dearer than shown": ("raise_price", "click", "pay"),
    "paid too late": ("click", "sweep", "pay"),
    "given up and paid": (*GIVEN_UP, "pay"),
    "cancelled, and counts": ("click", "cancel", "repair"),
    "expired, and counts": ("click", "sweep", "hear", "repair"),
}
EACH = 15 if os.environ.get("REQUIRE_POSTGRES") else 8  # sales from each; CI takes its time
PLANS = ("starter", "starter", "team")
SOME = st.integers(0, 7)  # which of those there are
STEPS = st.one_of(st.none(), st.integers(0, 9))  # until the process is killed; None: it lives


class Sales(RuleBasedStateMachine):
    street: ClassVar[Any]
    where: ClassVar[str]  # it begins
    ends: ClassVar[Counter[str]] = Counter()
    sold_after: ClassVar[set[str]] = set()  # in which states orders were whose payment counted all the same

    def __init__(self) -> None:
        super().__init__()
        self.street.begin_afresh()
        self.browser = self.street.member("asha")
        self.orders: list[Any] = []
        self.offered: dict[str, set[str]] = {}
        self.fulfilled: set[str] = set()
        self.decided: set[str] = set()  # by an operator

    @initialize()
    def begin(self) -> None:
        note(f"begins: {self.where}")
        for step in BEGINNINGS[self.where]:
            self.promises_hold()
            getattr(self, f"begin_{step}")()

    def begin_click(self) -> None:
        self.click("starter", "", "", None)

    def begin_lose(self) -> None:
        self.click("starter", "lost", "", None)

    def begin_pay(self) -> None:
        for session in self.street.at_flexprice("sessions"):
            self.street.on_payment_page(session, "pay")

    def begin_give_up(self) -> None:
        """By a search in a replica that lags: the link of the order is payable still."""
        self.wait(3)
        self.start_again(0, blind=True)

    def begin_raise_price(self) -> None:
        self.browser.get("/", base_url=self.street.home)  # on the page it is the old one
        self.street.set_price("599")

    def begin_sweep(self) -> None:
        self.wait(31)

    def begin_cancel(self) -> None:
        self.cancel(0, "")

    def begin_hear(self) -> None:
        self.deliver_all()
        self.work(None)

    def begin_repair(self) -> None:
        self.repair(0)

    # What a shopper does.

    @rule(
        plan=st.sampled_from(PLANS),
        answer=st.sampled_from(ANSWERS),
        aside=st.sampled_from(MEANWHILE),
        steps=STEPS,
    )
    def click(self, plan: str, answer: str, aside: str, steps: int | None) -> None:
        acts = {
            "second tab": lambda: self.see(self.street.click(self.street.member("asha"), plan)),
            "messages": lambda: self.deliver_all(),
            "worker": self.street.work,
        }
        self.street.wire.wrong[CREATE] = answer
        self.street.wire.meanwhile = acts.get(aside)
        with self.street.killed_after(steps):
            self.see(self.street.click(self.browser, plan))
        self.street.wire.wrong.pop(CREATE, None)
        self.street.wire.meanwhile = None

    @rule(which=SOME, page=st.sampled_from(("success", "failure", "status")))
    def look(self, which: int, page: str) -> None:
        if order := self.one_of(self.orders, which):
            self.see(self.browser.get(f"/orders/{order.ref}/{page}", base_url=self.street.home), order.ref)

    @rule(which=SOME, answer=st.sampled_from(TROUBLE))
    def cancel(self, which: int, answer: str) -> None:
        if order := self.one_of(self.orders, which):
            path = f"/v1/checkout/sessions/{order.session_id}/cancel"
            self.street.wire.wrong["POST", path] = answer
            self.browser.post(f"/orders/{order.ref}/cancel", base_url=self.street.home)
            self.street.wire.wrong.pop(("POST", path), None)

    @rule(which=SOME, blind=st.booleans())
    def start_again(self, which: int, blind: bool) -> None:
        if order := self.one_of(self.orders, which):
            self.street.wire.wrong[SEARCH] = "shows nothing" if blind else ""
            self.browser.post(f"/orders/{order.ref}/start-again", base_url=self.street.home)
            self.street.wire.wrong.pop(SEARCH, None)

    # What happens on the payment page; a link may be paid that the shop never showed: Razorpay mails it.

    @rule(which=SOME, button=st.sampled_from(("pay", "pay", "pay", "decline", "cancel")))
    def use_link(self, which: int, button: str) -> None:
        links = [session for session in self.street.at_flexprice("sessions") if session.get("link")]
        if session := self.one_of(links, which):
            self.street.on_payment_page(session, button)

    # What Flexprice's people do: money counts that came after the end, where its code would send it back.

    @rule(which=SOME)
    def repair(self, which: int) -> None:
        sessions = self.street.at_flexprice("sessions")
        tries = Counter(session["idempotency_key"] for session in sessions)
        ended = [s for s in sessions if s.get("link") and tries[s["idempotency_key"]] == 1]
        if session := self.one_of([s for s in ended if s["checkout_status"] in ("expired", "failed")], which):
            self.street.repair(session["id"])

    # What Flexprice says, in any order, once, twice or never.

    @rule(which=st.integers(0, 40), times=st.integers(1, 2))
    def deliver(self, which: int, times: int) -> None:
        if message := self.one_of(self.heard(), which):
            self.street.deliver(*[message] * times)

    @rule()
    def deliver_all(self) -> None:
        self.street.deliver(*reversed(self.street.messages("checkout.session.")))

    # What the shop's people and processes do.

    @rule(steps=STEPS)
    def work(self, steps: int | None) -> None:
        with self.street.killed_after(steps):
            self.street.work()

    @rule(steps=STEPS)
    def reconcile(self, steps: int | None) -> None:
        with self.street.killed_after(steps):
            self.street.reconcile()

    @rule(minutes=st.sampled_from((0.1, 2, 31, 70)))
    def wait(self, minutes: float) -> None:
        self.street.wait(minutes=minutes)

    @rule(amount=st.sampled_from(("499", "599")))
    def change_price(self, amount: str) -> None:
        self.street.set_price(amount)

    @precondition(lambda self: any(order.state in FOR_A_PERSON for order in self.orders))
    @rule(which=SOME, how=st.sampled_from((fulfillment.release, fulfillment.mark_refunded)))
    def decide(self, which: int, how: Any) -> None:
        order = self.one_of([o for o in self.orders if o.state in FOR_A_PERSON], which)
        if self.street.decide(order.ref, how):
            self.decided.add(order.ref)

    # What must be so at any time.

    @invariant()
    def promises_hold(self) -> None:
        before = {order.id: order.state for order in self.orders}
        self.orders = self.street.orders()
        sold = [order.id for order in self.orders if order.state in (State.PAID, State.FULFILLED)]
        self.sold_after.update(before[known] for known in sold if known in before)
        self.nothing_is_delivered_unpaid()
        self.what_is_delivered_is_delivered_once_and_stays()
        self.one_payable_link_at_most_was_offered_for_an_order()
        self.one_order_of_a_plan_is_open_at_most()

    def nothing_is_delivered_unpaid(self) -> None:
        paid = self.completed()
        for order in self.orders:
            if order.state in (State.PAID, State.FULFILLED, State.HELD, State.PAID_TWICE):
                assert order.ref in paid or order.ref in self.decided, f"{order.state}, but nothing was paid"

    def what_is_delivered_is_delivered_once_and_stays(self) -> None:
        delivered = [order for order in self.orders if order.state == State.FULFILLED]
        now = {order.ref for order in delivered}
        assert self.fulfilled <= now
        self.fulfilled = now
        ids = sorted(order.id for order in delivered)
        assert sorted(self.street.letters("welcome")) == ids
        assert sorted(self.street.accesses()) == ids
        assert len({order.plan_id for order in delivered}) == len(delivered)

    def one_payable_link_at_most_was_offered_for_an_order(self) -> None:
        assert all(len(links) <= 1 for links in self.offered.values())

    def one_order_of_a_plan_is_open_at_most(self) -> None:
        opened = Counter(order.plan_id for order in self.orders if order.state in OPEN)
        assert all(count == 1 for count in opened.values())

    # What must be so in the end.

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            self.compare_with_flexprice()
            self.stay_at_rest()
        finally:
            self.street.wire.wrong.clear()

    def come_to_rest(self) -> None:
        """All messages come, the worker lives, and time passes: 94 minutes and two sweeps of Flexprice's."""
        self.street.wire.wrong.clear()
        told = self.heard()
        self.street.deliver(*reversed(told))
        for minutes in (2, 31, 61):
            self.street.work()
            self.street.wait(minutes=minutes)
        self.street.deliver(*(message for message in self.heard() if message not in told))
        self.street.work()
        self.promises_hold()

    def compare_with_flexprice(self) -> None:
        paid = self.completed()
        payments = {
            payment["id"]: payment["payment_status"] for payment in self.street.at_flexprice("payments")
        }
        granted = {order.plan_id for order in self.orders if order.state == State.FULFILLED}
        for order in self.orders:
            assert order.state in self.right_ends(order, paid.get(order.ref), payments, granted), (
                f"{order.state}: {paid.get(order.ref)}, {payments.get(order.payment_id)}, {order.flag}"
            )

    def right_ends(
        self, order: Any, charged: Decimal | None, payments: dict[str, str], granted: set[str]
    ) -> set[str]:
        if order.ref in self.decided:
            return {State.FULFILLED, State.REFUNDED, State.PAID_TWICE}
        if charged is not None and charged != Decimal(order.amount):
            return {State.HELD}
        if charged is not None:
            twice = {State.PAID_TWICE} if order.plan_id in granted else set()
            return {State.FULFILLED} | twice
        if payments.get(order.payment_id) == "REFUNDED":
            return {State.PAID_LATE}
        unopened = {State.PLACED} if order.opening_at is None else set()
        return {State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED, State.MISMATCHED} | unopened

    def stay_at_rest(self) -> None:
        self.ends.update(order.state for order in self.orders)
        once = [(order.ref, order.state) for order in self.street.orders()]
        self.street.deliver(*self.street.messages("checkout.session."))
        self.street.work()
        self.street.reconcile()
        assert [(order.ref, order.state) for order in self.street.orders()] == once

    # How it is known.

    def heard(self) -> list[str]:
        """All messages the shop acts on; of the others it only notes that they came."""
        kinds = ("checkout.session.", "subscription.", "refund.")
        return [message for kind in kinds for message in self.street.messages(kind)]

    @staticmethod
    def one_of(things: list[Any], which: int) -> Any:
        return things[which % len(things)] if things else None

    def see(self, page: Any, ref: str = "") -> None:
        """Note where a page offers to pay."""
        assert page.status_code in (200, 303, 503), page.status
        links = {page.location} if "/pay/" in (page.location or "") else self.street.links_on(page.text)
        for link in links:
            owners = [order.ref for order in self.street.orders() if order.payment_url == link]
            assert len(owners) == 1
            assert ref in ("", *owners)
            self.offered.setdefault(owners[0], set()).add(link)

    def completed(self) -> dict[str, Decimal]:
        """What Flexprice completed, by the order's reference, and what it charged."""
        invoices = {invoice["id"]: invoice for invoice in self.street.at_flexprice("invoices")}
        done = [s for s in self.street.at_flexprice("sessions") if s["checkout_status"] == "completed"]
        keys = [session["idempotency_key"] for session in done]
        assert len(keys) == len(set(keys)), "one order was paid for with two sessions"
        return {s["idempotency_key"]: Decimal(invoices[s["checkout_invoice_id"]]["subtotal"]) for s in done}


def play(street: Any, examples: int, steps: int) -> None:
    """So many from each beginning. A failing run prints what was done, and the blob that plays it again."""
    Sales.street = street
    Sales.ends.clear()
    Sales.sold_after.clear()
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        print_blob=True,
        database=None,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=list(HealthCheck),
    )
    for where in BEGINNINGS:
        Sales.where = where
        run_state_machine_as_test(Sales, settings=how)


def test_whole_sales_in_any_order_end_in_the_truth(street: Any) -> None:
    play(street, examples=EACH if street.on_sqlite else 3, steps=8)
    assert {State.PAID_TWICE, State.HELD, State.PAID_LATE, State.EXPIRED, State.FULFILLED} <= set(Sales.ends)
    assert {State.EXPIRED, State.CANCELLED, State.ABANDONED} <= Sales.sold_after


@pytest.mark.soak
@pytest.mark.parametrize(
    "half", ["one half", "the other"]
)  # of the examples, for two cores: `-n 2 --dist load`
def test_thousands_of_whole_sales_in_any_order_end_in_the_truth(street: Any, half: str) -> None:
    """A fifth of a second each; on PostgreSQL twice that, and a third of them."""
    examples = int(os.environ.get("SOAK_EXAMPLES", "3000")) // 2 // len(BEGINNINGS)
    play(street, examples if street.on_sqlite else examples // 3, steps=30)
    print(f"\n{half}: {sum(Sales.ends.values())} orders ended: {dict(Sales.ends)}")
