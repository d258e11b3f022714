"""The shop's half of the test bench: QA JSON of a customer, the ribbon, a new customer in one click."""

from typing import Any

import pytest
import responses

from storefront.extensions import db
from storefront.models import User
from storefront.operations.qa.ribbon import Ribbon
from tests.shop_fixtures import HOME

TOKEN = "the-token-of-the-sandbox-4711"
SANDBOX = "http://127.0.0.1:8001"
CURRENT = f"{SANDBOX}/_sandbox/scenarios/current"
UNDER_TEST = {"title": "Renewal <paid>", "url": f"{SANDBOX}/_sandbox/scenarios/renewal-paid"}


@pytest.fixture
def bench(make_app: Any) -> Any:
    """A shop with a test bench beside it."""
    return make_app(QA_TOKEN=TOKEN, SANDBOX_URL=SANDBOX)


@pytest.fixture
def sandbox_says() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        yield lambda body, status=200: wire.add("GET", CURRENT, json=body, status=status)


def test_the_orders_of_a_customer_say_what_was_granted(make_app, add_user, add_order):
    user_id = add_user()
    ref = add_order(state="expired", session_id=None)
    shop = make_app(QA_TOKEN=TOKEN)
    browser = shop.test_client()
    with shop.app_context():
        key = db.session.get(User, user_id).key

    def asked(key, token=TOKEN):
        return browser.get(
            f"/qa/result.json?customer={key}",
            base_url=HOME,
            headers={"Authorization": f"Bearer {token}"},
        )

    told = asked(key).json
    (order,) = told["orders"]
    assert (order["order"], order["access"], order["needs_person"]) == (ref, "none", False)
    assert (order["emails"], order["invoices"], told["emails"]) == ({}, [], {})
    assert asked("somebody else").json["orders"] == []
    assert asked(key, "wrong").status_code == 302


def test_the_ribbon_names_the_scenario_under_test(bench, sandbox_says):
    sandbox_says(UNDER_TEST)
    page = bench.test_client().get("/sign-in", base_url=HOME)
    assert "Under test: <a" in page.text
    assert "Renewal &lt;paid&gt;" in page.text


@pytest.mark.parametrize(
    ("body", "status"), [(None, 200), ([], 200), ({"url": "javascript:x"}, 200), ({}, 500)]
)
def test_without_a_scenario_there_is_no_ribbon(bench, sandbox_says, body, status):
    sandbox_says(body, status)
    assert "ribbon" not in bench.test_client().get("/sign-in", base_url=HOME).text


def test_the_ribbon_is_not_for_production(make_app, sandbox_says):
    shop = make_app(SANDBOX_URL=SANDBOX, STOREFRONT_URL="https://shop.example.com")
    with shop.test_request_context():
        assert Ribbon().current() is None


def test_a_new_customer_in_one_click(bench, flexprice, make_app):
    flexprice.answer("POST", "/customers", {"id": "cust_02", "external_id": "x", "name": "x"})
    browser = bench.test_client()
    answer = browser.post("/qa/customer", base_url=HOME, headers={"Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.location) == (303, "/plans")
    shop = make_app(STOREFRONT_URL="https://shop.example.com")
    assert shop.test_client().get("/qa/customer", base_url="https://shop.example.com").status_code == 404
