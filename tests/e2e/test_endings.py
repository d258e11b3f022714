"""How a sale can end without a plan, as the shopper sees it."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


def money(asha: Any) -> Any:
    return asha.page.locator(".money")


@pytest.mark.thorough
def test_expired_order_can_be_tried_again(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.makes_happen("not_paid_in_time")
    asha.opens_order_of("Expired")
    asha.sees_phase("expired")
    expect(money(asha)).to_contain_text("We have no record of a charge.")
    asha.press("Try again")
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready")
    asha.sees_orders("Completed", "Expired")


@pytest.mark.thorough
def test_late_payment_is_refunded_and_the_plan_can_be_ordered(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.makes_happen("paid_too_late")
    asha.sees_money_go_back()
    expect(money(asha)).to_contain_text("A refund of it was reported")
    asha.press("Order again")
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready")
    asha.sees_orders("Completed", "Paid late")


@pytest.mark.thorough
def test_cancelled_order_says_so(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.opens_order()
    expect(asha.page.locator("#order-status")).to_contain_text("Pay by")
    asha.press("Cancel order")
    asha.sees_phase("cancelled")
    expect(asha.page.locator("#order-status")).to_contain_text("You can order again at any time.")
    asha.see("/account")
    expect(asha.page.get_by_role("link", name="Continue payment")).to_have_count(0)


@pytest.mark.thorough
def test_open_order_is_continued_or_cancelled_from_the_account(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    link = asha.page.url
    asha.see("/account")
    panel = asha.page.locator(".panel--open")
    expect(panel).to_contain_text("Starter is waiting for your payment")
    expect(panel).to_contain_text("Pay by")
    panel.get_by_role("link", name="Continue payment").click()
    asha.is_at_payment()
    assert asha.page.url == link
    asha.see("/account")
    panel.get_by_role("button", name="Cancel order").click()
    asha.sees_phase("cancelled")


@pytest.mark.thorough
def test_reconcile_finds_a_payment_without_webhook(shopper: Open, demo: Any) -> None:
    """No webhook comes and no page is open: the command asks Flexprice."""
    asha = shopper()
    asha.order()
    asha.makes_happen("paid", "drop")
    asha.page.wait_for_url(f"{demo.shop}/orders/**", wait_until="commit")
    asha.see("/")  # away from the order's page, which has the order checked
    demo.command("checkout", "reconcile")
    asha.waits_elsewhere("Completed")
    asha.sees_orders("Completed")
