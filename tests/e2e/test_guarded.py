"""What a real browser sends to others, keeps, and does with a refusal."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Request, Route, expect

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
PENDING = re.compile("checking|confirming")


@pytest.fixture
def asked_elsewhere() -> Callable[[Any], list[dict[str, str]]]:
    """The headers of every request to another site from here on."""

    def watch(someone: Any) -> list[dict[str, str]]:
        seen: list[dict[str, str]] = []

        def note(request: Request) -> None:
            if not request.url.startswith(someone.demo.shop):
                seen.append(request.all_headers() | {"to": request.url})

        someone.page.on("request", note)
        return seen

    return watch


@pytest.mark.thorough
@pytest.mark.usefixtures("muted")
def test_others_do_not_learn_an_orders_address(
    shopper: Open, asked_elsewhere: Callable[[Any], list[dict[str, str]]]
) -> None:
    told: list[dict[str, str]] = []

    def cdn(route: Route) -> None:
        told.append(route.request.all_headers())
        route.abort()

    asha = shopper(cdn=cdn)
    asha.expected.append("net::ERR_FAILED")
    seen = asked_elsewhere(asha)
    asha.order()
    asha.opens_order()
    order = asha.page.url
    asha.page.get_by_role("link", name="Continue payment").click()
    asha.is_at_payment()
    assert "/orders/" in order
    assert told, "htmx was not asked for"
    pages = [headers for headers in seen if "/pay/" in headers["to"]]
    assert len(pages) >= 2
    for headers in told + pages:
        assert "referer" not in headers, headers
        assert headers.get("origin", "null") in ("null", asha.demo.shop)


@pytest.mark.usefixtures("muted")
def test_htmx_runs_under_the_policy(shopper: Open, demo: Any) -> None:
    """What the policy forbids does not run: the fixture fails on any other error."""
    asha = shopper()
    asha.order()
    asha.pay()
    asha.sees_phase(PENDING)
    answer = asha.page.request.get(asha.page.url)
    policy = answer.headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    asha.expected.append("Content Security Policy")
    asha.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const button = document.createElement("button");
            button.setAttribute("onclick", "window.ran = true");
            document.body.append(button);
            button.click();
        }"""
    )
    assert asha.page.evaluate("window.ran") is None
    demo.unmute()
    asha.sees_phase("ready")


@pytest.mark.thorough
def test_back_button_shows_nothing_after_signing_out(shopper: Open) -> None:
    asha = shopper()
    asha.order()
    asha.see("/account")
    expect(asha.page.locator("main")).to_contain_text("@example.com")
    asha.page.get_by_role("button", name="Sign out").click()
    expect(asha.page.get_by_text("signed out on all devices")).to_be_visible()
    asha.page.go_back()
    expect(asha.page).to_have_url(re.compile("/sign-in"))
    expect(asha.page.locator("main")).not_to_contain_text("@example.com")


@pytest.mark.thorough
@pytest.mark.usefixtures("muted")
@pytest.mark.parametrize("with_htmx", [True, False], ids=["htmx", "without the CDN"])
def test_polling_continues_after_a_429(shopper: Open, demo: Any, with_htmx: bool) -> None:
    asha = shopper() if with_htmx else shopper(script=None)
    asha.expected += ["429", "net::ERR_FAILED"]
    refused: list[str] = []

    def refuse(route: Route) -> None:
        if len(refused) < 2:
            refused.append(route.request.url)
            route.fulfill(
                status=429, headers={"Retry-After": "1"}, content_type="text/html", body="<h1>Slower</h1>"
            )
        else:
            route.continue_()

    asha.order()
    asha.page.route("**/status?*", refuse)
    asha.pay()
    asha.sees_phase(PENDING)
    demo.unmute()
    expect(asha.page.locator("#order-status")).to_be_visible()
    asha.sees_phase("ready", seconds=75)
    assert len(refused) == 2
    expect(asha.page.get_by_role("heading", name="Slower")).to_have_count(0)


@pytest.mark.thorough
@pytest.mark.usefixtures("muted")
def test_expired_sign_in_leads_to_sign_in_and_back(shopper: Open, demo: Any) -> None:
    """With htmx and without it."""
    for asha in (shopper(), shopper(script=None)):
        asha.expected += ["401", "net::ERR_FAILED"]
        asha.order()
        asha.pay()
        asha.sees_phase(PENDING)
        order = re.search("/orders/[0-9a-f]+", asha.page.url)
        assert order is not None
        asha.page.context.clear_cookies()
        asha.page.wait_for_url(re.compile("/sign-in"), timeout=30_000)
        assert order[0] in asha.page.url.replace("%2F", "/")
