"""Other ways through the shop: a year in dollars, dark mode, the keyboard, double clicks, two tabs."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


@pytest.mark.thorough
def test_year_in_dollars_in_dark_mode(shopper: Open) -> None:
    asha = shopper(color_scheme="dark", locale="en-US")
    asha.see("/plans")
    asha.page.get_by_role("link", name=re.compile("Yearly")).click()
    asha.page.get_by_role("link", name="USD").click()
    team = asha.page.locator(".card", has=asha.page.get_by_role("heading", name="Team"))
    for said in ("$290 /year", "$24.17/month, billed yearly", "Save $58 (17%) a year"):
        expect(team).to_contain_text(said)
    expect(asha.page.locator("body")).to_have_css("color", "rgb(233, 239, 243)")

    asha.sign_up_for("Team", at=asha.page.url.removeprefix(asha.demo.shop))
    expect(asha.page.locator(".facts")).to_contain_text("Yearly")  # the choice outlives the sign-up
    expect(asha.page.locator(".facts")).to_contain_text("$290.00")
    asha.buy("Team")
    expect(asha.page.locator("h1")).to_contain_text("$")
    asha.pay()
    asha.sees_phase("ready")
    expect(asha.page.locator(".facts")).to_contain_text("Team, 1 year")
    asha.page.get_by_role("link", name="Receipt").click()
    expect(asha.page.get_by_role("heading", level=1, name="Receipt")).to_be_visible()
    expect(asha.page.locator(".receipt__lines")).to_contain_text("$290.00")


@pytest.mark.thorough
def test_keyboard_alone_buys(shopper: Open) -> None:
    asha = shopper()
    page, keys = asha.page, asha.page.keyboard
    asha.see("/plans")
    asha.tabs_to(page.get_by_role("link", name=re.compile("Yearly")))
    keys.press("Enter")
    expect(page).to_have_url(re.compile("billing_period=ANNUAL"))
    asha.tabs_to(page.get_by_role("link", name="Buy Starter"))
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Sign up")).to_be_visible()
    for field, typed in asha.details().items():
        asha.tabs_to(page.locator(f"input[name={field}]"))
        keys.type(typed)
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Review your order")).to_be_visible()
    asha.tabs_to(page.get_by_role("button", name="Continue to payment"))
    keys.press("Space")
    asha.is_at_payment()
    asha.tabs_to(page.get_by_role("button", name=re.compile(r"^pay \S", re.I)))
    keys.press("Enter")
    asha.sees_phase("ready")
    asha.tabs_to(page.get_by_role("link", name="Members’ pages"))
    keys.press("Enter")
    expect(page.locator("main")).to_contain_text("Starter")


@pytest.mark.thorough
def test_double_click_makes_one_order(shopper: Open) -> None:
    asha = shopper()
    asha.joins()
    asha.see("/plans")
    asha.reviews()
    asha.page.get_by_role("button", name="Continue to payment").dblclick()
    asha.page.wait_for_url(re.compile("/pay/|/orders/"))
    if "/orders/" in asha.page.url:  # the second click came while the first ran
        asha.page.get_by_role("link", name="Continue payment").click()
    asha.is_at_payment()
    asha.sees_orders("Open")


@pytest.mark.thorough
def test_two_tabs_share_one_order(shopper: Open, demo: Any) -> None:
    asha = shopper()
    asha.joins()
    asha.see("/plans")
    asha.reviews()
    first, second = asha.page, asha.new_tab()
    second.goto(first.url)
    asha.buy()
    link = first.url
    second.get_by_role("button", name="Continue to payment").click()
    second.wait_for_url(link)

    second.goto(f"{demo.shop}/account")
    second.locator("tbody").get_by_role("link", name="Continue or cancel").click()
    expect(second.locator("[data-phase=waiting]")).to_be_visible()
    asha.pay()
    asha.sees_phase("ready")
    expect(second.locator("[data-phase=ready]")).to_be_visible(timeout=20_000)  # by itself
    asha.sees_orders("Completed")


@pytest.mark.thorough
def test_sign_in_leads_back_to_the_order(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.see("/account")
    email = asha.page.locator("main .lead").inner_text().split()[-1]
    asha.opens_order()
    order = asha.page.url
    asha.press("Sign out")
    asha.page.goto(order)
    expect(asha.page.get_by_role("heading", level=1, name="Sign in")).to_be_visible()
    asha.page.locator("input[name=email]").fill(email)
    asha.page.locator("input[name=password]").fill("a sentence to remember")
    asha.page.locator("main").get_by_role("button", name="Sign in").click()
    asha.sees_phase("waiting")
    assert asha.page.url.split("?")[0] == order.split("?")[0]
    asha.page.locator("#order-pay").click()
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready")
