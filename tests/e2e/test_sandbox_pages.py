"""The sandbox's own pages in a real browser: live with htmx, live without it, useful without any script."""

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import cdn_answers
from tests.e2e.test_pages import BEST_PRACTICE, STANDARD, apply_look, found, looks, too_wide

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
CDN_GONE = r"net::ERR_FAILED.*cdn\.jsdelivr\.net"


def scenarios(someone: Any) -> Page:
    page: Page = someone.page
    page.goto(f"{someone.demo.sandbox}/_sandbox/scenarios")
    return page


@pytest.fixture
def started_over(demo: Any) -> None:
    requests.post(f"{demo.sandbox}/_sandbox/scenarios/restart", json={}, timeout=10).raise_for_status()


@pytest.mark.thorough
@pytest.mark.usefixtures("started_over")
@pytest.mark.parametrize("cdn", ["with htmx", "without the CDN"])
def test_a_verdict_appears_by_itself(shopper: Open, demo: Any, cdn: str) -> None:
    there = cdn == "with htmx"
    tester = shopper() if there else shopper(script=None)
    tester.expected = [] if there else [CDN_GONE]
    page = scenarios(tester)
    line = page.locator("#merchant-cancels")
    with page.expect_popup() as shop:
        line.get_by_role("button", name="Set up and open shop").click()
    expect(shop.value).to_have_url(f"{demo.shop}/qa/customer")
    page.bring_to_front()
    expect(line).to_contain_text("Under test")
    assert page.evaluate("Boolean(window.htmx)") is there

    asha = shopper()
    asha.order()
    asha.page.get_by_role("button", name=re.compile("^Pay ")).click()
    expect(asha.page.get_by_role("heading", name="This payment link was cancelled")).to_be_visible()

    expect(line).to_contain_text("Passed", timeout=20_000)


@pytest.mark.thorough
@pytest.mark.usefixtures("started_over")
def test_without_script_everything_is_a_link_or_a_form(shopper: Open, demo: Any) -> None:
    tester = shopper(java_script_enabled=False)
    page = scenarios(tester)

    page.locator("#zero-amount").get_by_role("button", name="Send request").click()
    expect(page.locator("main")).to_contain_text("POST /v1/checkout/sessions → 400")
    page.get_by_role("link", name="Back to the scenario", exact=True).click()
    expect(page.locator("h1")).to_contain_text("Passed")

    page.get_by_role("link", name="Deliveries", exact=True).click()
    page.locator("td a").first.click()
    expect(page.locator("main")).to_contain_text("svix-signature")


@pytest.mark.thorough
def test_a_tester_picks_outcome_and_delivery_on_the_payment_page(shopper: Open, demo: Any) -> None:
    asha = shopper()
    asha.order()
    page = asha.page
    expect(page.get_by_label("Outcome")).not_to_be_visible()  # out of the way of who just pays

    page.get_by_text("Test controls").click()
    page.get_by_label("Outcome").select_option("paid_too_late")
    page.get_by_label("Webhook delivery").select_option("ten_at_once")
    page.get_by_role("button", name="Apply").click()

    page.wait_for_url(f"{demo.shop}/orders/*/success?*", wait_until="commit")
    asha.sees_money_go_back()


@pytest.fixture
def places(demo: Any) -> Iterator[dict[str, str]]:
    """Every page of the sandbox, with a sale, a link to pay, a refused message and long words everywhere."""
    http, key = requests.Session(), {"x-api-key": demo.environ["FLEXPRICE_API_KEY"]}

    def post(where: str, **body: Any) -> Any:
        answer = http.post(demo.sandbox + where, json=body, headers=key, timeout=20)
        answer.raise_for_status()
        return answer.json()

    name = secrets.token_hex(8)
    post("/v1/customers", external_id=name, name=f"{'Averylongname' * 8} <b>&amp;")
    plan = post("/v1/plans/search", lookup_key="starter")["items"][0]["id"]

    def session() -> Any:
        params = {"plan_id": plan, "currency": "INR", "billing_period": "MONTHLY"}
        return post(
            "/v1/checkout/sessions",
            customer_external_id=name,
            action="create_subscription",
            payment_provider="razorpay",
            configuration={"create_subscription_params": params},
            idempotency_key=secrets.token_hex(60),
        )

    sold, ours = session(), session()
    post(f"/_sandbox/sessions/{sold['id']}/outcome", outcome="paid", delivery="bad_signature")
    post("/_sandbox/deliver")
    post("/_sandbox/faults", fault="slow", customer=name, path="/v1/" + "long" * 30)
    bill = http.get(
        f"{demo.sandbox}/v1/invoices/{sold['checkout_invoice_id']}", headers=key, timeout=20
    ).json()
    refused = http.get(f"{demo.sandbox}/_sandbox/deliveries", timeout=20).json()["items"][0]["id"]
    mail = {"from": "shop@shop.example", "to": f"{name}@example.com", "subject": "W" * 80, "html": "<p>Hello"}
    received = post("/_sandbox/mail", **mail)["id"]
    lists = ("", "scenarios", "scenarios/renewal-paid", "sessions", "deliveries", "customers", "log", "mail")
    pages = {path or "console": f"/_sandbox/{path}" for path in lists}
    pages |= {path: f"/_sandbox/{path}" for path in ("subscriptions", "invoices", "payments", "reference")}
    pages |= {f"{path}, none": f"/_sandbox/{path}?q=nowhere" for path in ("sessions", "deliveries", "mail")}
    pages |= {
        "a session that was sold": f"/_sandbox/sessions/{sold['id']}",
        "a session": f"/_sandbox/sessions/{ours['id']}",
        "its timeline": f"/_sandbox/sessions/{ours['id']}/timeline",
        "an email": f"/_sandbox/mail/{received}",
        "a subscription": f"/_sandbox/subscriptions/{bill['subscription_id']}",
        "an invoice": f"/_sandbox/invoices/{sold['checkout_invoice_id']}",
        "a delivery": f"/_sandbox/deliveries/{refused}",
        "a scenario that was not run": "/_sandbox/scenarios/upi-pending",
        "the payment page": ours["payment_action"]["url"].removeprefix(demo.sandbox),
        "UPI": ours["payment_action"]["url"].removeprefix(demo.sandbox) + "?tab=upi",
        "netbanking": ours["payment_action"]["url"].removeprefix(demo.sandbox) + "?tab=netbanking",
        "a link that was paid": sold["payment_action"]["url"].removeprefix(demo.sandbox),
    }
    yield pages
    post("/_sandbox/overrides/clear")
    http.close()


@pytest.mark.thorough
def test_every_page_is_for_everybody(chromium: Browser, demo: Any, places: dict[str, str], axe: str) -> None:
    page = chromium.new_page()
    cdn_answers(page, None)
    for number, (name, path) in enumerate(places.items()):
        page.goto(demo.sandbox + path)
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
        for look_name in looks(number):
            apply_look(page, look_name)
            assert found(page, axe, STANDARD + BEST_PRACTICE) == [], f"{name}, {look_name}"
        page.set_viewport_size({"width": 320, "height": 640})
        assert too_wide(page) == 0, f"{name}, on the smallest phone"
    page.close()


@pytest.mark.thorough
def test_a_list_is_live_too(shopper: Open, demo: Any) -> None:
    tester, asha = shopper(), shopper()
    tester.page.goto(f"{demo.sandbox}/_sandbox/sessions")

    asha.order()

    link = asha.page.url.removeprefix(demo.sandbox)
    expect(tester.page.locator(f"a[href='{link}']")).to_be_visible()
