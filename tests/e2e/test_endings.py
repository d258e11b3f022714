"""The ways a sale can end besides well, as the shopper sees them."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


def money(asha: Any) -> Any:
    return asha.page.locator(".money")


def test_an_order_that_was_not_paid_in_time_can_be_started_over(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.makes_happen("not_paid_in_time")
    asha.opens_order_of("Expired")
    asha.sees_phase("expired")
    expect(money(asha)).to_contain_text("If you were charged, it will be refunded")
    asha.press("Try again")
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready")
    asha.sees_orders("Completed", "Expired")


def test_money_that_came_too_late_goes_back_and_the_plan_can_be_bought_again(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.makes_happen("paid_too_late")
    asha.sees_money_go_back()
    expect(money(asha)).to_contain_text("on its way back to you")
    asha.press("Try again")
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready")
    asha.sees_orders("Completed", "Paid too late")


def test_a_cancelled_payment_says_so_without_blame(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.opens_order()
    expect(asha.page.locator("#order-status")).to_contain_text("Please pay by")
    asha.press("Cancel order")
    asha.sees_phase("cancelled")
    expect(asha.page.locator("#order-status")).to_contain_text("you can start again at any time")
    asha.see("/account")
    expect(asha.page.get_by_role("link", name="Continue payment")).to_have_count(0)


def test_an_open_order_is_continued_or_cancelled_from_the_account(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    link = asha.page.url
    asha.see("/account")
    panel = asha.page.locator(".panel--open")
    expect(panel).to_contain_text("Starter is waiting for your payment")
    expect(panel).to_contain_text("Please pay by")
    panel.get_by_role("link", name="Continue payment").click()
    asha.is_at_payment()
    assert asha.page.url == link
    asha.see("/account")
    panel.get_by_role("button", name="Cancel order").click()
    asha.sees_phase("cancelled")


def test_reconciling_finds_what_a_lost_message_told(shopper: Open, demo: Any) -> None:
    """No message comes, and nobody has the page open: the command asks."""
    asha = shopper()
    asha.order()
    asha.makes_happen("paid", "drop")
    asha.page.wait_for_url(f"{demo.shop}/orders/**", wait_until="commit")
    asha.see("/")  # away from the order's page, which would ask by itself
    assert "waiting" in demo.command("reconcile")
    asha.waits_elsewhere("Completed")  # the worker delivers what the command found
    asha.sees_orders("Completed")
