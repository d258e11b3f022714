"""The sandbox's own pages in a real browser: live with htmx, live without it, useful without any script."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
CDN_GONE = r"net::ERR_FAILED.*cdn\.jsdelivr\.net"


def guide(someone: Any) -> Page:
    page: Page = someone.page
    page.goto(f"{someone.demo.sandbox}/_sandbox/guide")
    return page


@pytest.fixture
def started_over(demo: Any) -> None:
    requests.post(f"{demo.sandbox}/_sandbox/guide/restart", json={}, timeout=10).raise_for_status()


@pytest.mark.usefixtures("started_over")
@pytest.mark.parametrize("cdn", ["with htmx", "without the CDN"])
def test_a_tick_appears_by_itself(shopper: Open, demo: Any, cdn: str) -> None:
    there = cdn == "with htmx"
    tester = shopper() if there else shopper(cdn=lambda route: route.abort())
    tester.expected = [] if there else [CDN_GONE]
    page = guide(tester)
    line = page.locator("#merchant-cancels")
    with page.expect_popup() as shop:
        line.get_by_role("button", name="Set the stage and go to the shop").click()
    expect(shop.value).to_have_url(f"{demo.shop}/")
    page.bring_to_front()
    expect(line).to_contain_text("on stage")
    assert page.evaluate("Boolean(window.htmx)") is there

    asha = shopper()
    asha.order()
    asha.page.get_by_role("button", name=re.compile("^Pay ")).click()
    expect(asha.page.get_by_role("heading", name="This payment link was cancelled")).to_be_visible()

    expect(line).to_contain_text("(seen)", timeout=20_000)
    expect(line).to_contain_text("answered: 204")


@pytest.mark.usefixtures("started_over")
def test_without_script_everything_is_a_link_or_a_form(shopper: Open, demo: Any) -> None:
    tester = shopper(java_script_enabled=False)
    page = guide(tester)

    page.locator("#zero-amount").get_by_role("button", name="Send it for me").click()
    expect(page.locator("main")).to_contain_text("POST /v1/checkout/sessions → 400")
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator("#zero-amount")).to_contain_text("(seen)")

    page.get_by_role("link", name="Deliveries", exact=True).click()
    page.locator("td a").first.click()
    expect(page.locator("main")).to_contain_text("svix-signature")


def test_a_tester_picks_outcome_and_delivery_on_the_payment_page(shopper: Open, demo: Any) -> None:
    asha = shopper()
    asha.order()
    page = asha.page
    expect(page.get_by_label("What happens")).not_to_be_visible()  # out of the way of who just pays

    page.get_by_text("For testers").click()
    page.get_by_label("What happens").select_option("paid_too_late")
    page.get_by_label("How the shop is told").select_option("ten_at_once")
    page.get_by_role("button", name="Make it happen").click()

    page.wait_for_url(f"{demo.shop}/orders/*/success?*", wait_until="commit")
    asha.sees_money_go_back()


@pytest.mark.parametrize("path", ["", "guide", "sessions", "deliveries", "customers", "journal"])
def test_no_page_is_wider_than_a_phone(shopper: Open, demo: Any, path: str) -> None:
    tester = shopper(viewport={"width": 390, "height": 844})
    tester.page.goto(f"{demo.sandbox}/_sandbox/{path}")

    assert tester.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_list_is_live_too(shopper: Open, demo: Any) -> None:
    tester, asha = shopper(), shopper()
    tester.page.goto(f"{demo.sandbox}/_sandbox/sessions")

    asha.order()

    link = asha.page.url.removeprefix(demo.sandbox)
    expect(tester.page.locator(f"a[href='{link}']")).to_be_visible()
