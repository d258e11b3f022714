"""A test scenario with a browser: two windows, a new customer in one click, the ribbon, and the verdict.

What each scenario checks is walked over HTTP in tests/journeys/test_scenarios.py.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


@pytest.fixture
def tester(shopper: Open, demo: Any) -> Any:
    """Somebody with a new customer's window beside that of the scenarios."""
    requests.post(f"{demo.sandbox}/_sandbox/scenarios/restart", json={}, timeout=10).raise_for_status()
    asha = shopper()
    asha.expected = [r"net::ERR_\w+.*cdn\.jsdelivr\.net"]  # a window that the sandbox opens has no CDN
    scenarios: Page = asha.page
    scenarios.goto(f"{demo.sandbox}/_sandbox/scenarios")

    def start(key: str) -> Page:
        with scenarios.expect_popup() as shop:
            scenarios.locator(f"#start-{key}").click()
        expect(shop.value).to_have_url(f"{demo.shop}/qa/customer")
        asha.page = shop.value
        return asha.page

    asha.scenarios, asha.starts = scenarios, start
    return asha


@pytest.mark.thorough
def test_a_scenario_passes_by_itself(tester: Any, demo: Any) -> None:
    shop = tester.starts("webhook-lost")
    expect(shop.locator(".ribbon")).to_contain_text("Under test: The webhook is lost")
    shop.locator("#new-customer").click()
    tester.reviews()
    tester.press("Continue to payment")
    tester.is_at_payment()
    tester.pay()
    tester.sees_phase("ready", 30)

    page = tester.scenarios
    page.bring_to_front()
    expect(page.locator("#webhook-lost")).to_contain_text("Passed", timeout=20_000)
    page.locator("#open-webhook-lost").click()
    for part in ("Setup", "Steps", "Expected", "Actual"):
        expect(page.locator(".sheet")).to_contain_text(part)
    expect(page.locator(".check-line--good").first).to_be_visible()


@pytest.mark.thorough
def test_a_scenario_that_was_not_done_fails(tester: Any, demo: Any) -> None:
    tester.starts("cancel")
    page = tester.scenarios
    page.bring_to_front()
    page.goto(f"{demo.sandbox}/_sandbox/scenarios/cancel")
    page.get_by_label("Tester").fill("Olga")
    page.get_by_label("Comment").fill("The button is missing")
    page.locator("#record").click()

    expect(page.locator("h1")).to_contain_text("Failed")
    expect(page.locator(".check-line--bad").first).to_be_visible()
    expect(page.get_by_label("Tester")).to_have_value("Olga")
    page.goto(f"{demo.sandbox}/_sandbox/scenarios")
    expect(page.locator("#cancel")).to_contain_text(re.compile("Failed"))
