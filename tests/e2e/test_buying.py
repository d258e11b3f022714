"""A person buys a plan in a real browser, at the demo as people start it."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import VISIBLE

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
PENDING = re.compile("checking|confirming")  # the return URL says paid; nothing has confirmed it
CDN_GONE = r"net::ERR_FAILED.*cdn\.jsdelivr\.net"


@pytest.fixture
def held(shopper: Open) -> Iterator[list[Route]]:
    """Requests that get no answer while the test runs."""
    routes: list[Route] = []
    yield routes
    for route in routes:
        route.abort()


def has_htmx(page: Page) -> bool:
    return bool(page.evaluate("Boolean(window.htmx)"))


@pytest.mark.usefixtures("muted")
def test_page_becomes_ready_by_itself(shopper: Open, demo: Any, integrity: str) -> None:
    asha = shopper(fast_timers=False)
    asha.sign_up_for()
    asha.buy()
    asha.pay()
    asha.sees_phase(PENDING)
    script = asha.page.locator("script[src^='https://cdn.jsdelivr.net/']")
    expect(script).to_have_attribute("integrity", integrity)
    assert has_htmx(asha.page)
    stayed = asha.page.url
    demo.unmute()
    asha.sees_phase("ready")
    expect(asha.page.get_by_role("heading", name="You're all set")).to_be_visible()
    expect(asha.page.locator("#order-live")).to_contain_text("You're all set")
    assert asha.page.url == stayed
    asha.page.get_by_role("link", name="Members’ pages").click()
    expect(asha.page).to_have_url(re.compile("/members$"))
    expect(asha.page.locator("main")).to_contain_text("Starter")
    asha.sees_orders("Completed")


@pytest.mark.thorough
@pytest.mark.usefixtures("muted")
def test_sale_with_htmx_4(shopper: Open, demo: Any, newer_htmx: bytes) -> None:
    """With an error response, a dropped connection and a hidden tab."""
    asha = shopper(newer=newer_htmx)
    asha.expected += ["500", "net::ERR_CONNECTION_RESET", "Failed to fetch", "integrity"]
    failures = [
        lambda route: route.fulfill(status=500, body="<h1>broken</h1>", content_type="text/html"),
        lambda route: route.abort("connectionreset"),
    ]
    asha.page.route("**/status?*", lambda route: failures.pop(0)(route) if failures else route.fallback())
    asha.order()
    asha.pay()
    asha.page.goto(asha.page.url)  # a page that was redirected to cannot be unpinned
    asha.sees_phase(PENDING)
    assert asha.page.evaluate("htmx.version") == "4.0.1"
    while failures:
        with asha.page.expect_event("request", lambda request: "/status?" in request.url):
            pass
    asha.page.evaluate(VISIBLE, False)
    hidden: list[str] = []
    asha.page.on("request", lambda request: hidden.append(request.url))
    demo.unmute()
    asha.waits_elsewhere("Completed")
    assert len(hidden) <= 1  # one may have been under way
    asha.page.evaluate(VISIBLE, True)
    asha.sees_phase("ready")
    expect(asha.page.get_by_role("heading", name="broken")).to_have_count(0)
    expect(asha.page.locator("#order-status")).not_to_have_attribute("hx-get", re.compile("."))


@pytest.mark.usefixtures("muted")
def test_sale_without_script(shopper: Open, demo: Any) -> None:
    asha = shopper(java_script_enabled=False)
    asha.see("/plans")
    asha.page.get_by_role("link", name=re.compile("Yearly")).click()
    expect(asha.page.locator("[aria-current=true]").first).to_contain_text("Yearly")
    asha.sign_up_for(at=asha.page.url.removeprefix(demo.shop))
    asha.buy()
    asha.pay()
    asha.sees_phase(PENDING)
    expect(asha.page.get_by_text("updates automatically")).to_be_hidden()
    demo.unmute()
    ready, deadline = asha.page.locator("[data-phase=ready]"), time.monotonic() + 15
    while not ready.count():
        assert time.monotonic() < deadline, "the order did not become ready"
        asha.page.get_by_role("link", name="Check again").click()
        asha.page.wait_for_load_state()
    expect(asha.page.locator(".facts")).to_contain_text("Starter, 1 year")
    asha.sees_orders("Completed")


@pytest.mark.thorough
@pytest.mark.usefixtures("muted")
@pytest.mark.parametrize("hangs", [False, True], ids=["refused", "hanging"])
def test_page_becomes_ready_without_the_cdn(shopper: Open, demo: Any, held: list[Route], hangs: bool) -> None:
    asha = shopper(cdn=lambda route: held.append(route)) if hangs else shopper(script=None)
    asha.expected.append(CDN_GONE)
    asha.order()
    asha.pay()
    asha.sees_phase(PENDING)
    demo.unmute()
    asha.sees_phase("ready")
    expect(asha.page.locator("#order-live")).to_contain_text("You're all set")
    assert not has_htmx(asha.page)
    assert bool(held) == hangs


@pytest.mark.thorough
def test_declined_payment_can_be_tried_again(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.declines()
    asha.sees_orders("Open")
    asha.opens_order()
    asha.page.locator("#order-pay").click()
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready")
    asha.sees_orders("Completed")


@pytest.mark.thorough
def test_back_after_paying_makes_no_second_order(shopper: Open, demo: Any) -> None:
    asha = shopper()
    asha.sign_up_for()
    asha.buy()
    asha.pay()
    asha.sees_phase("ready")
    asha.page.go_back()
    expect(asha.page).to_have_url(re.compile(re.escape(demo.sandbox)))
    pay = asha.page.get_by_role("button", name=re.compile(r"^pay ", re.I))
    if pay.count():  # the page as it was kept in memory
        asha.expected.append("409")
        pay.click()
    expect(asha.page.get_by_role("heading", name="This payment link was already paid")).to_be_visible()
    while not asha.page.url.startswith(demo.shop):
        asha.page.go_back()
    expect(asha.page.get_by_role("heading", level=1, name=re.compile("Starter|Review"))).to_be_visible()
    again = asha.page.get_by_role("button", name="Continue to payment")
    if again.count():  # the page as it was kept in memory
        again.click()
        asha.sees_phase("ready")
    asha.sees_orders("Completed")


@pytest.mark.thorough
def test_back_before_paying_leads_to_the_same_order(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    first = asha.page.url
    asha.page.go_back()
    asha.buy()
    assert asha.page.url == first
    asha.sees_orders("Open")


@pytest.mark.thorough
def test_cancelled_order_can_be_ordered_again(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    first = asha.page.url
    asha.opens_order()
    asha.press("Cancel order")
    asha.sees_phase("cancelled")
    asha.page.goto(first)
    expect(asha.page.get_by_role("heading", name="This payment link was cancelled")).to_be_visible()
    asha.see("/account")
    asha.page.locator("tbody").get_by_role("link", name="Order again").click()
    asha.press("Order again")
    asha.is_at_payment()
    assert asha.page.url != first
    asha.pay()
    asha.sees_phase("ready")
    asha.sees_orders("Completed", "Cancelled")


@pytest.mark.thorough
def test_no_page_of_a_sale_is_wider_than_a_phone(shopper: Open) -> None:
    asha = shopper(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)

    def fits() -> None:
        asha.page.wait_for_load_state()  # with its style
        wide = asha.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide == [390, 390], f"{asha.page.url} is {wide[0]} wide in a window of {wide[1]}"

    asha.see("/plans")
    fits()
    asha.sign_up_for()
    fits()
    asha.buy()
    fits()
    asha.see("/account")
    fits()
    asha.opens_order()
    asha.sees_phase("waiting")
    fits()
    asha.page.locator("#order-pay").click()
    asha.is_at_payment()
    asha.pay()
    asha.sees_phase("ready")
    fits()
    asha.sees_orders("Completed")
    fits()
