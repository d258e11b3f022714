"""The QA checks in a real browser: results appear by themselves, with their evidence."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


def open_checklist(asha: Any) -> None:
    asha.see("/account")
    asha.page.get_by_role("link", name="QA checklist").click()
    asha.page.locator("#qa-orders li a").first.click()
    expect(asha.page.get_by_role("heading", name=re.compile("of 5 done"))).to_be_visible()


def result(asha: Any, check: str) -> Any:
    return asha.page.locator(f'[data-check="{check}"]')


def pay_in_another_tab(asha: Any, link: str) -> None:
    tab = asha.new_tab()
    tab.goto(link)
    tab.get_by_role("button", name=re.compile(r"\bpay \S", re.I)).first.click()
    tab.wait_for_url(f"{asha.demo.shop}/orders/*/success?*", wait_until="commit")
    tab.close()


@pytest.mark.thorough
def test_results_appear_by_themselves(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    link = asha.page.url
    open_checklist(asha)
    expect(result(asha, "session")).to_have_attribute("data-result", "wait")

    pay_in_another_tab(asha, link)

    for check in ("session", "subscription", "invoice", "webhook", "fulfillment"):
        expect(result(asha, check)).to_have_attribute("data-result", "done", timeout=30_000)
    expect(asha.page.locator("#qa-checks")).not_to_have_attribute("hx-get", re.compile("."))
    asha.page.locator("a[id^=qa-email]").first.click()
    expect(asha.page.get_by_role("heading", level=1)).to_contain_text("Starter")


@pytest.mark.thorough
def test_results_appear_without_the_cdn(shopper: Open) -> None:
    asha = shopper(script=None)
    asha.expected.append("jsdelivr")
    asha.order()
    link = asha.page.url
    open_checklist(asha)

    pay_in_another_tab(asha, link)

    expect(result(asha, "fulfillment")).to_have_attribute("data-result", "done", timeout=30_000)


@pytest.mark.thorough
def test_without_script_the_page_is_refreshed_by_hand(shopper: Open) -> None:
    asha = shopper(java_script_enabled=False, viewport={"width": 390, "height": 844})
    asha.order()
    asha.pay()
    open_checklist(asha)
    asha.waits_elsewhere("Completed")
    for _ in range(100):  # the email may still be queued
        asha.page.get_by_role("link", name="Refresh").click()
        if result(asha, "fulfillment").get_attribute("data-result") == "done":
            break
    expect(result(asha, "fulfillment")).to_have_attribute("data-result", "done")
    asha.page.wait_for_load_state()  # with its style
    assert asha.page.locator("html").evaluate("html => html.scrollWidth") <= 390
