"""The sandbox's test scenarios, walked by a tester with two windows, and the QA page as evidence for each.

A few are walked every time. The rest takes minutes: `make soak` walks them all.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from storefront.sandbox.control.scenarios import SCENARIOS

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
ALWAYS = {"cancel", "webhook-lost", "forgery"}
WAYS_TO_PAY = [key for key in SCENARIOS if key.startswith("pay-")]


def press_pay(asha: Any) -> None:
    asha.page.get_by_role("button", name=re.compile(r"\bpay \S", re.I)).first.click()


def pay(asha: Any, line: str) -> None:
    asha.order()
    asha.page.get_by_label(SCENARIOS[line].title.partition(": ")[2]).check()
    press_pay(asha)
    asha.sees_phase("ready", 30)


def buy_and_pay(asha: Any, line: str) -> None:
    asha.order()
    asha.pay()
    asha.sees_phase("ready", 30)


def decline(asha: Any, line: str) -> None:
    asha.order()
    asha.page.get_by_label("failure@razorpay").check()
    press_pay(asha)
    expect(asha.page.get_by_role("alert")).to_contain_text("Not paid.")


def decline_then_pay(asha: Any, line: str) -> None:
    decline(asha, line)
    asha.page.get_by_label("success@razorpay").check()
    press_pay(asha)
    asha.sees_phase("ready", 30)


def cancel(asha: Any, line: str) -> None:
    asha.order()
    asha.opens_order()
    asha.press("Cancel order")
    asha.sees_phase("cancelled")


def too_slow_for_the_merchant(asha: Any, line: str) -> None:
    asha.order()
    press_pay(asha)
    expect(asha.page.get_by_role("heading", name=re.compile("^This payment link"))).to_be_visible()
    asha.opens_order_of("Failed")
    asha.sees_phase("failed")


def pay_too_late(asha: Any, line: str) -> None:
    asha.order()
    press_pay(asha)
    asha.sees_money_go_back()


def not_pay(asha: Any, line: str) -> None:
    asha.order()
    asha.passes_time(line)
    asha.opens_order_of("Expired")
    asha.sees_phase("expired")


def pay_without_anybody_hearing(asha: Any, line: str) -> None:
    asha.order()
    asha.pay()
    asha.sees_phase("checking")
    asha.passes_time(line)
    asha.sees_phase("expired", 30)
    expect(asha.page.locator(".money")).to_contain_text("If you were charged, it will be refunded")


def pay_and_hear_it_again(asha: Any, line: str) -> None:
    buy_and_pay(asha, line)
    asha.passes_time(line)


def try_again(asha: Any, line: str) -> None:
    asha.expected += ["503", "502"]
    asha.joins()
    asha.see("/plans")
    asha.reviews()
    asha.press("Continue to payment")
    expect(asha.page.locator("main")).to_contain_text(re.compile("could not reach|cannot reach"))
    asha.opens_order()
    asha.sees_phase("unopened")
    asha.press("Try again")
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready", 30)


def wait_for_the_link(asha: Any, line: str) -> None:
    asha.joins()
    asha.see("/plans")
    asha.reviews()
    asha.press("Continue to payment")
    asha.sees_phase("waiting", 60)
    asha.page.locator("#order-pay").click()
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready", 30)


def leave(asha: Any, line: str) -> None:
    asha.order()
    asha.page.get_by_role("link", name="Leave without paying").click()
    expect(asha.page.get_by_role("heading", name="You left without paying")).to_be_visible()


def let_it_be_sent(asha: Any, line: str) -> None:
    asha.scenarios.locator(f"#send-{line}").click()


# What the tester does in each scenario, and what the QA page then says of the fulfillment.
WALKS: dict[str, tuple[Callable[[Any, str], None], str | None]] = {
    **dict.fromkeys(WAYS_TO_PAY, (pay, "done")),
    "upi-declined": (decline, "wait"),
    "declined-then-paid": (decline_then_pay, "done"),
    "cancel": (cancel, "stop"),
    "merchant-cancels": (too_slow_for_the_merchant, "stop"),
    "link-expires": (too_slow_for_the_merchant, "stop"),
    "paid-too-late": (pay_too_late, "stop"),
    "customer-missing": (buy_and_pay, "done"),
    "zero-amount": (let_it_be_sent, None),
    "duplicate-key": (let_it_be_sent, None),
    "not-paid-in-time": (not_pay, "stop"),
    "link-paid-off": (pay_without_anybody_hearing, "stop"),
    "api-down": (try_again, "done"),
    "answer-lost": (wait_for_the_link, "done"),
    "webhook-lost": (buy_and_pay, "done"),
    "webhook-retried": (pay_and_hear_it_again, "done"),
    "forgery": (leave, "wait"),
}


def test_every_scenario_has_its_walk() -> None:
    assert set(WALKS) == set(SCENARIOS)


@pytest.mark.parametrize(
    "line",
    [line if line in ALWAYS else pytest.param(line, marks=pytest.mark.soak) for line in WALKS],
)
def test_a_scenario_is_walked_passed_and_proven(shopper: Open, demo: Any, line: str) -> None:
    walk, fulfillment = WALKS[line]
    asha = shopper()
    scenarios: Page = asha.new_tab()
    scenarios.goto(f"{demo.sandbox}/_sandbox/scenarios")
    if scenarios.locator(f"#start-{line}").count():
        with scenarios.expect_popup() as shop:
            scenarios.locator(f"#start-{line}").click()
        expect(shop.value).to_have_url(f"{demo.shop}/")
        scenarios.bring_to_front()
        expect(scenarios.locator(f"#{line}")).to_contain_text("(started)")
    asha.scenarios = scenarios
    asha.passes_time = lambda line: scenarios.locator(f"#press-{line}-1").click()

    walk(asha, line)

    scenarios.goto(f"{demo.sandbox}/_sandbox/scenarios")
    expect(scenarios.locator(f"#{line}")).to_contain_text(
        "(passed)", timeout=20_000
    )  # it keeps looking by itself
    if fulfillment:
        asha.see("/qa")
        asha.page.locator("#qa-orders li a").first.click()
        proof = asha.page.locator('[data-check="fulfillment"]')
        expect(proof).to_have_attribute("data-result", fulfillment, timeout=20_000)
