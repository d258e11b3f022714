"""Each recording of a real Flexprice's second month, told again by a shopper of the shop on a legacy store.

The shop ends in the same subscription and invoice as the recording, at Flexprice and in its own rows.
What a shopper of this shop never does is named with the reason. One world and one clock serve all stories:
each has a shopper of its own, whose plan is ended afterwards.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

RECORDINGS = Path(__file__).parents[1] / "sandbox" / "recordings"
LATER_CALL = re.compile(r"/payments|/subscriptions$|/subscriptions/<subs_\d>/(cancel|change|modify)")
SMALL, TRIAL = "Small", "Trial"  # plans that only these stories need
SUBSCRIPTION_FIELDS = (
    "subscription_status",
    "cancel_at_period_end",
    "cancel_at",
    "cancelled_at",
    "trial_end",
)
INVOICE_FIELDS = (
    "invoice_status", "payment_status", "invoice_type", "billing_reason", "currency", "total", "amount_due",
    "amount_paid", "amount_remaining", "overpaid_amount",
)  # fmt: skip
DATES = ("cancel_at", "cancelled_at", "trial_end")  # set or not: a recording's are relative

# recording: what the shopper does, then which invoice of the recording is compared ("all": all of them)
RENEWALS = {
    "renewal-paid": ("buys, two_periods_end, invoice_is_final, presses_pay, pays", "<inv_2>"),
    "renewal-declined-then-paid": (
        "buys, two_periods_end, invoice_is_final, presses_pay, is_declined, presses_pay, pays",
        "<inv_2>",
    ),
    "renewal-link-twice": (
        "buys, two_periods_end, invoice_is_final, presses_pay, presses_pay, pays, pays_again, cannot_pay",
        "<inv_2>",
    ),
    "checkout-first-renewals": ("buys, two_periods_end", "all"),
}
ENDS = {
    "cancel-comes-true": ("buys, cancels, period_ends", "all"),
    "cancel-and-undo": ("buys, cancels, cancels, undoes, undoes", ""),
    "cancel-now": ("buys, cancels_now, cancels_now", ""),
}
OTHER_PLANS = {
    "subscribe-free": ("starts_free", "all"),
    "subscribe-trial": ("starts_trial", "all"),
    "change-down-at-period-end": ("buys, plans_change, plans_change", "all"),
    "subscribe-priced-with-checkout": ("price_is_raised, starts_free, is_refused, buys_free_plan", ""),
}
NEVER = {
    "change-up-now": "v2 `immediate`: its invoice has a credit line, and no link settles it; sold pay-first",
    "change-refusals": "v2 `immediate`, and changes that the shop refuses before it asks",
    "renewal-refusals": "part amounts, other currencies, voided invoices: the shop never asks for such links",
    "seats-and-previews": "no seats are sold, and nothing is promised from a preview",
    "subscribe-priced-without-checkout": "active and unpaid: a plan with a price is sold by a checkout",
}
# A trial's zero invoice: recorded with `charge_automatically`, which pays it; the shop sends invoices.
SENT_INVOICES = {"subscribe-trial": {"payment_status": "PENDING"}}


def recording(name: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads((RECORDINGS / f"{name}.json").read_text())["steps"]
    return steps


def is_of_the_second_month(name: str) -> bool:
    steps = recording(name)
    calls = [step["call"]["method"] + step["call"]["path"] for step in steps if "call" in step]
    later = any(step.get("until") == "period_end" for step in steps)
    return later or any(call.startswith("POST") and LATER_CALL.search(call) for call in calls)


def test_every_recording_of_the_second_month_is_told() -> None:
    found = {file.stem for file in RECORDINGS.glob("*.json") if is_of_the_second_month(file.stem)}
    assert found == {*RENEWALS, *ENDS, *OTHER_PLANS, *NEVER}


# -- what the recording ends with ---------------------------------------------------------------------


def answers(name: str) -> Iterator[dict[str, Any]]:
    """Whole objects of its answers, lists taken apart; the last ones first."""
    for step in reversed(recording(name)):
        body = step.get("answer", {}).get("body") or {}
        yield from body.get("items", [body]) if isinstance(body, dict) else []


def recorded_subscription(name: str) -> dict[str, Any]:
    wanted = (a for a in answers(name) if a.get("id") == "<subs_1>" and "subscription_status" in a)
    return facts(next(wanted), SUBSCRIPTION_FIELDS)


def recorded_invoices(name: str, which: str) -> list[dict[str, Any]]:
    if which != "all":
        return [facts(next(a for a in answers(name) if a.get("id") == which), INVOICE_FIELDS)]
    lists = [
        s["answer"]["body"]["items"]
        for s in recording(name)
        if s.get("call", {}).get("path") == "/invoices/search"
    ]
    return [facts(invoice, INVOICE_FIELDS) for invoice in lists[-1]]


def facts(told: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    known = {field: told.get(field) for field in fields}
    return {field: bool(value) if field in DATES else value for field, value in known.items()}


# -- who tells it -------------------------------------------------------------------------------------


class Story:
    """A shopper of a shop whose Flexprice is of the recorded generation, and what they do, step by step."""

    def __init__(self, world: Any, name: str, forms: Any) -> None:
        self.world, self.forms = world, forms
        self.shopper = world.shopper(f"{name} Rao")
        self.link = ""

    def tell(self, steps: str) -> None:
        for step in steps.split(", "):
            getattr(self, step)()

    def api(self, method: str, path: str, body: Any = None) -> Any:
        return ask(self.world, method, path, body)

    @property
    def row(self) -> Any:
        """The newest of the shop's rows: each story begins after the others."""
        return self.world.subscriptions()[-1]

    @property
    def own(self) -> str:
        return f"/billing/subscriptions/{self.row.subscription_id}"

    def buys(self, plan: str = "Starter") -> None:
        self.shopper.pay(self.shopper.buy(plan).headers["Location"])
        self.world.settle()
        assert self.row.access == "granted"

    # Time.

    def until(self, target: str) -> None:
        self.world.control("clock", until=target, id=self.row.subscription_id)
        self.world.settle()

    def period_ends(self) -> None:
        self.until("period_end")

    def two_periods_end(self) -> None:
        """After a purchase by checkout the first renewal makes no invoice."""
        self.until("period_end")
        self.until("period_end")

    def invoice_is_final(self) -> None:
        self.until("invoice_finalized")

    # Invoices.

    def presses_pay(self) -> None:
        """The same link, however often."""
        answer = self.shopper.send(self.shopper.see("/billing"), "/pay")
        assert answer.status_code == 303
        assert self.link in ("", answer.headers["Location"])
        self.link = answer.headers["Location"]

    def is_declined(self) -> None:
        self.shopper.pay(self.link, "failure@razorpay")
        self.world.settle()
        assert self.forms(self.shopper.see("/billing"), "/pay")

    def pays(self) -> None:
        """And comes back, and sees that it is paid."""
        back = self.shopper.pay(self.link).headers["Location"]
        assert self.shopper.see(back).url.endswith("/billing")
        self.world.settle()
        assert not self.forms(self.shopper.see("/billing"), "/pay")

    def pays_again(self) -> None:
        self.world.control("provider", action="pay", link=self.link)
        self.world.settle()

    def cannot_pay(self) -> None:
        paid = self.world.invoices()[-1].invoice_id
        answer = self.shopper.send_by_hand(f"/billing/invoices/{paid}/pay")
        assert answer.headers["Location"] == "/billing"

    # Ends.

    def cancels(self) -> None:
        assert "Nothing is refunded" in self.shopper.see(f"{self.own}/cancel").text or self.row.cancel_at
        assert self.shopper.send_by_hand(f"{self.own}/cancel", when="period_end").status_code == 303
        self.world.settle()
        assert self.row.cancel_at

    def cancels_now(self) -> None:
        """Where the shop allows it."""
        self.world.shop.config["CHECKOUT_CANCEL_IMMEDIATELY"] = True
        assert self.shopper.send_by_hand(f"{self.own}/cancel", when="now").status_code == 303
        self.world.shop.config["CHECKOUT_CANCEL_IMMEDIATELY"] = False
        self.world.settle()

    def undoes(self) -> None:
        assert self.shopper.send_by_hand(f"{self.own}/undo", what="cancel").status_code == 303
        self.world.settle()

    # Other plans.

    def plans_change(self) -> None:
        answer = self.shopper.send_by_hand(f"{self.own}/change", when="renewal", **self.offer(SMALL))
        assert answer.status_code == 303
        assert f"Then it changes to {SMALL}" in self.shopper.see("/billing").text
        assert self.row.planned_plan_id == self.offer(SMALL)["plan"]

    def offer(self, name: str) -> dict[str, str]:
        plans = {plan["name"]: plan["id"] for plan in self.api("POST", "/plans/search", {})["items"]}
        return {"plan": plans[name], "currency": "inr", "billing_period": "MONTHLY"}

    def starts_free(self) -> None:
        self.answer = self.shopper.send(self.shopper.plan_page("Free"), "/billing/start")
        self.world.settle()

    def starts_trial(self) -> None:
        assert self.shopper.send_by_hand("/billing/start", **self.offer(TRIAL)).status_code == 303
        self.world.settle()

    def price_is_raised(self) -> None:
        """Behind the shop's back: its page still says that there is nothing to pay."""
        self.page = self.shopper.plan_page("Free")
        self.world.set_prices(stable_plan("free"), "499")

    def is_refused(self) -> None:
        assert self.world.order().state == "mismatched"
        assert not self.world.accesses() or self.world.accesses()[-1].order_id != self.world.order().id
        self.world.forget_prices()

    def buys_free_plan(self) -> None:
        self.buys("Free")
        self.world.set_prices(stable_plan("free"), "0")
        self.world.forget_prices()

    # What it ends with.

    def their_subscription(self) -> dict[str, Any]:
        return facts(self.api("GET", f"/subscriptions/{self.row.subscription_id}"), SUBSCRIPTION_FIELDS)

    def their_invoices(self) -> list[dict[str, Any]]:
        asked = {"subscription_id": self.row.subscription_id}
        return [facts(one, INVOICE_FIELDS) for one in self.api("POST", "/invoices/search", asked)["items"]]

    def end(self) -> None:
        """The next story is not told with this one's renewals."""
        for row in self.world.subscriptions():
            if row.runs:
                self.api(
                    "POST", f"/subscriptions/{row.subscription_id}/cancel", {"cancellation_type": "immediate"}
                )
        self.world.settle()


def ask(world: Any, method: str, path: str, body: Any = None) -> Any:
    """Flexprice's API, as another client of it."""
    key = {"x-api-key": "sk_sandbox_journeys"}
    answer = requests.request(method, f"{world.sandbox_url}/v1{path}", json=body, headers=key, timeout=20)
    assert answer.status_code < 300, answer.text
    return answer.json()


def add_plan(world: Any, name: str, amount: str, **more: Any) -> None:
    """Before the clock has moved: a price begins when it is made."""
    plan = ask(world, "POST", "/plans", {"name": name, "lookup_key": name.lower()})["id"]
    price = {
        "amount": amount, "currency": "inr", "billing_period": "MONTHLY", "billing_period_count": 1,
        "billing_cadence": "RECURRING", "billing_model": "FLAT_FEE", "type": "FIXED", "entity_id": plan,
        "entity_type": "PLAN", "invoice_cadence": "ADVANCE", "price_unit_type": "FIAT",
    }  # fmt: skip
    ask(world, "POST", "/prices", price | more)


def stable_plan(name: str) -> str:
    from storefront.sandbox.store.values import stable_id

    return stable_id("plan", name)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: Any, a_world: Callable[..., Any]
) -> Iterator[Any]:
    url = request.getfixturevalue("postgres").database() if request.param == "postgres" else ""
    world = a_world(tmp_path_factory.mktemp("months"), one_clock=True, database_url=url)
    world.control("switches", generation="legacy")
    add_plan(world, SMALL, "199")
    add_plan(world, TRIAL, "499", trial_period_days=14)
    yield world
    world.close()


@pytest.fixture
def story(world: Any, offers: Any, request: pytest.FixtureRequest) -> Iterator[Story]:
    told = Story(world, request.node.callspec.params["name"], offers)
    yield told
    told.end()


def ends_as_recorded(story: Story, name: str, steps: str, which: str) -> None:
    story.tell(steps)
    subscription, row = recorded_subscription(name), story.row
    assert story.their_subscription() == subscription
    assert row.status == subscription["subscription_status"]
    assert bool(row.cancel_at) == subscription["cancel_at"]
    if which:
        expected = [invoice | SENT_INVOICES.get(name, {}) for invoice in recorded_invoices(name, which)]
        invoices = story.their_invoices()
        assert (invoices if which == "all" else invoices[:1]) == expected
        final = {i["invoice_status"]: i for i in expected}.get("FINALIZED")
        if final:
            ours = next(i for i in story.world.invoices()[::-1] if i.status == "FINALIZED")
            said = (ours.payment_status, ours.total_text, ours.paid_text, ours.remaining_text)
            assert said == tuple(
                final[f] for f in ("payment_status", "total", "amount_paid", "amount_remaining")
            )


@pytest.mark.thorough
@pytest.mark.parametrize("name", RENEWALS)
def test_renewals(story: Story, name: str) -> None:
    ends_as_recorded(story, name, *RENEWALS[name])
    assert story.row.access == "granted"


@pytest.mark.thorough
@pytest.mark.parametrize("name", ENDS)
def test_ends(story: Story, name: str) -> None:
    ends_as_recorded(story, name, *ENDS[name])
    assert story.row.access == ("granted" if name == "cancel-and-undo" else "ended")


@pytest.mark.thorough
@pytest.mark.parametrize("name", OTHER_PLANS)
def test_other_plans(story: Story, name: str) -> None:
    ends_as_recorded(story, name, *OTHER_PLANS[name])
    assert story.row.access == "granted"
