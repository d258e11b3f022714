"""Whole sales in any order: what happened at Flexprice decides how each ends, and nothing else does.

A state machine of hypothesis plays customers, Flexprice, its webhooks and a worker that is killed: mixed up,
late, twice or never. After each step no promise may be broken. At the end the shop has come to the same truth
as Flexprice.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from flask import Flask
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

from storefront.checkout import State, orders
from storefront.checkout.states import FOR_A_PERSON, OPEN
from tests.conftest import NewDatabase
from tests.shop_fixtures import HOME
from tests.unit.checkout.shop_and_sandbox import CREATE, SEARCH, ShopAndSandbox

ANSWERS = ("", "", "lost", "hangs", "unreachable", "refused for now", "hidden by a proxy")
CANCEL_ANSWERS = ("", "", "unreachable", "refused for now", "lost")
DURING_CREATE = ("", "", "second tab", "webhooks", "worker")
# Chance seldom comes to the rare places, so sales begin near each of them.
GIVEN_UP = ("lose", "give_up")
BEGINNINGS: dict[str, tuple[str, ...]] = {
    "nowhere": (),
    "opened": ("click",),
    "paid, no webhook": ("click", "pay"),
    "lost": ("lose",),
    "lost and paid": ("lose", "pay"),
    "given up": GIVEN_UP,
    "begun again": (*GIVEN_UP, "click"),
    "paid twice": (*GIVEN_UP, "click", "pay"),
    "another price than shown": ("raise_price", "click"),
    "paid another price": ("raise_price", "click", "pay"),
    "paid too late": ("click", "expire", "pay_late"),
    "given up and paid": (*GIVEN_UP, "pay"),
    "cancelled and repaired": ("click", "cancel", "repair"),
    "expired and repaired": ("click", "expire", "work", "repair"),
}
PLANS = ("starter", "starter", "team")
NUMBERS = st.integers(0, 7)  # which of several
STEPS = st.one_of(st.none(), st.integers(0, 9))  # until the process is killed; None: it lives
DECISIONS = (orders.release_for_fulfillment, orders.confirm_refund)


class Sales(RuleBasedStateMachine):
    world: ClassVar[ShopAndSandbox]
    beginning: ClassVar[str]
    ends: ClassVar[Counter[str]] = Counter()
    sold_after: ClassVar[set[str]] = set()  # states of orders whose payment counted all the same

    def __init__(self) -> None:
        super().__init__()
        self.world.begin_again()
        self.browser = self.world.sign_in("asha")
        self.orders: list[Any] = []
        self.offered: dict[str, set[str]] = {}
        self.fulfilled: set[str] = set()
        self.decided: set[str] = set()  # by an operator

    @initialize()
    def begin(self) -> None:
        note(f"begins: {self.beginning}")
        for step in BEGINNINGS[self.beginning]:
            self.promises_hold()
            getattr(self, f"begin_{step}")()

    def begin_click(self) -> None:
        self.click("starter", "", "", "", None)

    def begin_lose(self) -> None:
        self.click("starter", "lost", "", "", None)

    def begin_pay(self) -> None:
        for session in self.world.sessions():
            self.world.on_payment_page(session, "pay")

    def begin_pay_late(self) -> None:
        for session in self.world.sessions():
            self.world.on_payment_page(session, "pay late")

    def begin_give_up(self) -> None:
        """After a search in a replica that lags: the link of the order can still be paid."""
        self.wait(3)
        self.click("starter", "unreachable", "shows nothing", "", None)

    def begin_raise_price(self) -> None:
        self.browser.get("/plans", base_url=HOME)  # shows the old price
        self.world.set_price("599")

    def begin_expire(self) -> None:
        self.wait(31)

    def begin_cancel(self) -> None:
        self.cancel(0, "")

    def begin_work(self) -> None:
        self.deliver_all()
        self.work(None)

    def begin_repair(self) -> None:
        self.repair(0)

    # -- what a customer does

    @rule(
        plan=st.sampled_from(PLANS),
        answer=st.sampled_from(ANSWERS),
        search=st.sampled_from(("", "", "shows nothing")),
        during=st.sampled_from(DURING_CREATE),
        steps=STEPS,
    )
    def click(self, plan: str, answer: str, search: str, during: str, steps: int | None) -> None:
        acts: dict[str, Any] = {
            "second tab": lambda: self.see(self.world.buy(self.world.sign_in("asha"), plan)),
            "webhooks": self.deliver_all,
            "worker": self.world.work,
        }
        wire = self.world.wire
        wire.faults |= {CREATE: answer, SEARCH: search}
        wire.during_create = acts.get(during)
        with self.world.killed_after(steps):
            self.see(self.world.buy(self.browser, plan))
        wire.faults.clear()
        wire.during_create = None

    @rule(which=NUMBERS, page=st.sampled_from(("success", "failure", "status")))
    def look(self, which: int, page: str) -> None:
        if order := one_of(self.orders, which):
            self.see(self.browser.get(f"/orders/{order.ref}/{page}", base_url=HOME), order.ref)

    @rule(which=NUMBERS, answer=st.sampled_from(CANCEL_ANSWERS))
    def cancel(self, which: int, answer: str) -> None:
        if order := one_of(self.orders, which):
            self.world.wire.faults["POST", f"/v1/checkout/sessions/{order.session_id}/cancel"] = answer
            self.see(self.world.press_cancel(self.browser, order.ref))
            self.world.wire.faults.clear()

    @rule(which=NUMBERS, button=st.sampled_from(("pay", "pay", "pay late", "decline", "cancel")))
    def use_link(self, which: int, button: str) -> None:
        """Also one that the shop never showed: Razorpay mails it."""
        links = [session for session in self.world.sessions() if session.link_id]
        if session := one_of(links, which):
            self.world.on_payment_page(session, button)

    # -- what Flexprice does

    @rule(which=NUMBERS)
    def repair(self, which: int) -> None:
        """Its support lets money count that came after the end."""
        sessions = self.world.sessions()
        tries = Counter(session.idempotency_key for session in sessions)
        once = [session for session in sessions if session.link_id and tries[session.idempotency_key] == 1]
        if session := one_of([s for s in once if s.checkout_status in ("expired", "failed")], which):
            self.world.repair(session.id)

    @rule(which=st.integers(0, 40), times=st.integers(1, 2))
    def deliver(self, which: int, times: int) -> None:
        if event_id := one_of(self.events(), which):
            self.world.deliver(*[event_id] * times)

    @rule()
    def deliver_all(self) -> None:
        self.world.deliver(*reversed(self.world.events("checkout.session.")))

    @rule(amount=st.sampled_from(("499", "599")))
    def change_price(self, amount: str) -> None:
        self.world.set_price(amount)

    # -- what the shop's people and processes do

    @rule(steps=STEPS)
    def work(self, steps: int | None) -> None:
        with self.world.killed_after(steps):
            self.world.work()

    @rule(steps=STEPS)
    def reconcile(self, steps: int | None) -> None:
        with self.world.killed_after(steps):
            self.world.reconcile()

    @rule(minutes=st.sampled_from((0.1, 2, 31, 70)))
    def wait(self, minutes: float) -> None:
        self.world.wait(minutes)

    @precondition(lambda self: any(order.state in FOR_A_PERSON for order in self.orders))
    @rule(which=NUMBERS, how=st.sampled_from(DECISIONS))
    def decide(self, which: int, how: Any) -> None:
        order = one_of([o for o in self.orders if o.state in FOR_A_PERSON], which)
        if self.world.decide(order.ref, how):
            self.decided.add(order.ref)

    # -- what holds at any time

    @invariant()
    def promises_hold(self) -> None:
        before = {order.id: order.state for order in self.orders}
        self.orders = self.world.orders()
        sold = [order.id for order in self.orders if order.state in (State.PAID, State.FULFILLED)]
        self.sold_after.update(before[known] for known in sold if known in before)
        self.nothing_unpaid_is_fulfilled()
        self.fulfilled_once_and_for_good()
        self.one_link_at_most_is_offered_per_order()
        self.one_order_of_a_plan_is_open()

    def nothing_unpaid_is_fulfilled(self) -> None:
        paid = self.completed()
        for order in self.orders:
            if order.state in (State.PAID, State.FULFILLED, State.HELD, State.PAID_TWICE):
                assert order.ref in paid or order.ref in self.decided, f"{order.state}, but not paid"

    def fulfilled_once_and_for_good(self) -> None:
        done = [order for order in self.orders if order.state == State.FULFILLED]
        now = {order.ref for order in done}
        assert self.fulfilled <= now
        self.fulfilled = now
        ids = sorted(order.id for order in done)
        assert self.world.welcome_emails() == ids
        assert self.world.accesses() == ids
        assert len({order.plan_id for order in done}) == len(done)

    def one_link_at_most_is_offered_per_order(self) -> None:
        assert all(len(links) <= 1 for links in self.offered.values())

    def one_order_of_a_plan_is_open(self) -> None:
        opened = Counter(order.plan_id for order in self.orders if order.state in OPEN)
        assert all(count == 1 for count in opened.values())

    # -- what holds in the end

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            self.compare_with_flexprice()
            self.stay_at_rest()
        finally:
            self.world.wire.faults.clear()

    def come_to_rest(self) -> None:
        """All webhooks come, the worker lives, and 94 minutes and three sweeps of Flexprice's pass."""
        told = self.events()
        self.world.deliver(*reversed(told))
        for minutes in (2, 31, 61):
            self.world.work()
            self.world.wait(minutes)
        self.world.deliver(*(event_id for event_id in self.events() if event_id not in told))
        self.world.work()
        self.promises_hold()

    def compare_with_flexprice(self) -> None:
        paid = self.completed()
        payments = {payment.id: payment.payment_status for payment in self.world.payments()}
        granted = {order.plan_id for order in self.orders if order.state == State.FULFILLED}
        for order in self.orders:
            assert order.state in self.right_ends(order, paid.get(order.ref), payments, granted), (
                f"{order.state}: {paid.get(order.ref)}, {payments.get(order.payment_id)}, {order.review_note}"
            )

    def right_ends(
        self, order: Any, charged: Decimal | None, payments: dict[str, str], granted: set[str]
    ) -> set[State]:
        if order.ref in self.decided:
            return {State.FULFILLED, State.REFUNDED, State.PAID_TWICE}
        if charged is not None and charged != order.amount:
            return {State.HELD}
        if charged is not None:
            return {State.FULFILLED} | ({State.PAID_TWICE} if order.plan_id in granted else set())
        if payments.get(order.payment_id) == "REFUNDED":
            return {State.PAID_LATE}
        return {State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED, State.MISMATCHED}

    def stay_at_rest(self) -> None:
        self.ends.update(order.state for order in self.orders)
        once = [(order.ref, order.state) for order in self.world.orders()]
        self.world.deliver(*self.world.events("checkout.session."))
        self.world.work()
        self.world.reconcile()
        assert [(order.ref, order.state) for order in self.world.orders()] == once

    # -- how it is known

    def events(self) -> list[str]:
        """Ids of all events on which the shop acts; it ignores the others."""
        return self.world.events("checkout.session.", "subscription.", "refund.")

    def see(self, page: Any, ref: str = "") -> None:
        """Note where a page offers to pay."""
        assert page.status_code in (200, 303, 503), page.status
        links = {page.location} if "/pay/" in (page.location or "") else self.world.links_on(page.text)
        for link in links:
            owners = [order.ref for order in self.world.orders() if order.payment_url == link]
            assert len(owners) == 1
            assert ref in ("", *owners)
            self.offered.setdefault(owners[0], set()).add(link)

    def completed(self) -> dict[str, Decimal]:
        """What Flexprice completed, by the order's reference, and what it charged."""
        charged = {invoice.id: invoice.subtotal for invoice in self.world.invoices()}
        done = [session for session in self.world.sessions() if session.checkout_status == "completed"]
        keys = [session.idempotency_key for session in done]
        assert len(keys) == len(set(keys)), "one order was paid for with two sessions"
        return {session.idempotency_key or "": charged[session.invoice_id or ""] for session in done}


def one_of(things: list[Any], which: int) -> Any:
    return things[which % len(things)] if things else None


def play(
    world: ShopAndSandbox, examples: int, steps: int, *, fixed: bool = False, beginnings: Any = BEGINNINGS
) -> None:
    """This number from each beginning. A failing run prints its steps, and the blob that plays it again."""
    Sales.world = world
    Sales.ends.clear()
    Sales.sold_after.clear()
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=fixed,
        print_blob=True,
        database=None,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=list(HealthCheck),
    )
    for beginning in beginnings:
        Sales.beginning = beginning
        run_state_machine_as_test(Sales, settings=how)


@pytest.fixture
def world(app: Flask, sandbox_in: NewDatabase, tmp_path: Any) -> Iterator[ShopAndSandbox]:
    made = ShopAndSandbox(app, sandbox_in(tmp_path))
    yield made
    made.close()


def test_sales_in_any_order_end_in_the_truth(world: ShopAndSandbox) -> None:
    """A fixed sample, near the rare places."""
    play(world, examples=2, steps=6, fixed=True, beginnings=list(BEGINNINGS)[-2:])


@pytest.mark.thorough
def test_more_sales_reach_every_end(world: ShopAndSandbox) -> None:
    play(world, examples=8, steps=8)
    assert {State.PAID_TWICE, State.HELD, State.PAID_LATE, State.EXPIRED, State.FULFILLED} <= set(Sales.ends)
    assert {State.EXPIRED, State.CANCELLED, State.ABANDONED} <= Sales.sold_after


@pytest.mark.soak
def test_thousands_of_sales_end_in_the_truth(world: ShopAndSandbox) -> None:
    play(world, examples=200, steps=30)
    print(f"\n{sum(Sales.ends.values())} orders ended: {dict(Sales.ends)}")


@pytest.mark.thorough
def test_reconcile_makes_up_for_lost_webhooks(world: ShopAndSandbox) -> None:
    """Late webhooks then find nothing to do."""
    many = 12
    for number in range(many):
        assert world.buy(world.sign_in(f"user{number}")).status_code == 303
    for number, session in enumerate(world.sessions()):
        if number % 4:  # three in four are paid; of the rest the merchant cancels one in two
            world.on_payment_page(session, "pay")
        elif number % 8:
            world.on_payment_page(session, "cancel")
    before = {order.ref: order.state for order in world.orders()}
    previewed = Counter(after for _, _, after, _ in world.reconcile(dry_run=True))
    assert {order.ref: order.state for order in world.orders()} == before
    assert previewed == {"paid": 9, "failed": 1, "awaiting_payment": 2}

    results = world.reconcile()
    assert len(results) == many
    assert Counter(order.state for order in world.orders()) == {
        State.FULFILLED: 9, State.FAILED: 1, State.AWAITING_PAYMENT: 2
    }  # fmt: skip
    assert len(world.accesses()) == len(world.welcome_emails()) == 9

    once = [(order.ref, order.state, order.fulfilled_at) for order in world.orders()]
    world.deliver(*world.events("checkout.session."))
    world.work()
    assert [(order.ref, order.state, order.fulfilled_at) for order in world.orders()] == once
    assert len(world.accesses()) == len(world.welcome_emails()) == 9
