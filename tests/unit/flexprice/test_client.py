"""Each method of the client: what it sends, what it returns, how long it waits."""

from __future__ import annotations

import inspect
import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from responses import matchers

from storefront import flexprice
from storefront.flexprice import CheckoutSessionRequest, Client, CustomerNotFound, ObjectList
from storefront.flexprice._transport import VERSION
from tests.unit.flexprice.samples import (
    CUSTOMER,
    INVOICE,
    KEY,
    PAYMENT,
    PLAN,
    REFUND,
    SESSION,
    SUBSCRIPTION,
    URL,
    page,
)

ROOT = Path(__file__).parents[3]
REQUEST = CheckoutSessionRequest(
    "user-42", "plan_01", "inr", "MONTHLY", "ord_1001", "https://s", "https://f", "https://c"
)
HEADERS = matchers.header_matcher({"x-api-key": KEY, "Accept": "application/json"})
METHODS = [
    (name, method)
    for name, method in inspect.getmembers(Client, inspect.isfunction)
    if name.startswith(("list_", "get_", "create_", "update_", "cancel_"))
]


def test_create_sends_the_request_and_waits_long(server, client):
    match = [HEADERS, matchers.json_params_matcher(REQUEST.to_json())]
    server.post(f"{URL}/checkout/sessions", json=SESSION, status=201, match=match)
    assert client.create_checkout_session(REQUEST).payment_url == "https://rzp.io/rzp/AbC123"
    assert server.calls[0].request.req_kwargs["timeout"] == (2.0, 25.0)


@pytest.mark.parametrize(
    ("given", "used"), [(None, (2.0, 4.0)), (1.5, (2.0, 1.5)), ((0.5, 1), (0.5, 1)), (30, (2.0, 30))]
)
def test_a_call_waits_as_long_as_asked(server, client, given, used):
    server.get(f"{URL}/checkout/sessions/cs_01", json=SESSION, match=[HEADERS])
    assert client.get_checkout_session("cs_01", timeout=given).id == "cs_01"
    assert server.calls[0].request.req_kwargs["timeout"] == used


@pytest.mark.parametrize(("given", "used"), [(9, (2.0, 9)), ((0.5, 1), (0.5, 1))])
def test_the_default_timeout_can_be_set(server, given, used):
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    server.post(f"{URL}/checkout/sessions", json=SESSION, status=201)
    client = Client(URL, KEY, timeout=given)
    client.get_payment("pay_01")
    client.create_checkout_session(REQUEST)
    assert [call.request.req_kwargs["timeout"] for call in server.calls] == [used, (used[0], 25.0)]


def test_cancel_waits_ten_seconds(server, client):
    server.post(f"{URL}/checkout/sessions/cs_01/cancel", json=SESSION | {"terminal": True})
    assert client.cancel_checkout_session("cs_01").terminal
    assert server.calls[0].request.req_kwargs["timeout"] == (2.0, 10.0)


def test_the_environment_is_sent_and_never_bearer(server):
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    Client(URL, KEY, environment_id="env_01").get_payment("pay_01")
    sent = server.calls[0].request.headers
    assert sent["X-Environment-ID"] == "env_01"
    assert "Authorization" not in sent


def test_no_environment_is_sent_by_default(server, client):
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    client.get_payment("pay_01")
    assert "X-Environment-ID" not in server.calls[0].request.headers


def test_the_user_agent_names_package_and_version(server, client):
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    client.get_payment("pay_01")
    assert server.calls[0].request.headers["User-Agent"].startswith(f"flexprice-storefront/{VERSION} ")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


@pytest.mark.parametrize("key", ["", "two words", "line\n", "clé"])
def test_an_impossible_key_is_refused_at_once(key):
    with pytest.raises(ValueError, match="API key"):
        Client(URL, key)


@pytest.mark.parametrize("number", [0, -1])
def test_a_client_needs_room_for_a_call(number):
    with pytest.raises(ValueError, match="max_concurrent"):
        Client(URL, KEY, max_concurrent=number)


def test_an_unknown_hook_is_refused():
    with pytest.raises(ValueError, match="event_hooks"):
        Client(URL, KEY, event_hooks={"responses": []})


def test_objects_are_read_by_id(server, client):
    server.get(f"{URL}/customers/external/user-42", json=CUSTOMER, match=[HEADERS])
    server.get(f"{URL}/customers/cust_01", json=CUSTOMER)
    server.get(f"{URL}/plans/plan_01", json=PLAN)
    server.get(f"{URL}/subscriptions/subs_01", json=SUBSCRIPTION)
    server.get(f"{URL}/invoices/inv_01", json=INVOICE)
    server.get(f"{URL}/payments/pay_01", json=PAYMENT)
    server.get(f"{URL}/environments/env_01", json={"id": "env_01", "type": "Production"})
    assert client.get_customer_by_external_id("user-42") == client.get_customer("cust_01")
    assert client.get_plan("plan_01").prices[0].amount == Decimal(499)
    assert client.get_subscription("subs_01").status == "active"
    assert client.get_invoice("inv_01").paid
    assert client.get_payment("pay_01").amount == Decimal(499)
    assert client.get_environment("env_01").type == "production"


def test_create_customer_sends_its_fields(server, client):
    body = {"external_id": "user-42", "name": "Asha Rao", "email": "asha@example.test"}
    server.post(f"{URL}/customers", json=CUSTOMER, status=201, match=[matchers.json_params_matcher(body)])
    assert client.create_customer("user-42", "Asha\x00 Rao", "asha@example.test").external_id == "user-42"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"metadata": {"gstin": "x"}}, {"metadata": {"gstin": "x"}}),
        ({"name": "Asha\x00 R.", "email": "a@example.test"}, {"name": "Asha R.", "email": "a@example.test"}),
    ],
)
def test_update_customer_sends_only_what_is_given(server, client, given, sent):
    match = [
        HEADERS,
        matchers.query_param_matcher({"external_customer_id": "user-42"}),
        matchers.json_params_matcher(sent),
    ]
    server.put(f"{URL}/customers", json=CUSTOMER | {"metadata": {"gstin": "x"}}, match=match)
    assert client.update_customer("user-42", **given).metadata == {"gstin": "x"}


def test_create_customer_sends_metadata_if_given(server, client):
    match = matchers.json_params_matcher({"metadata": {"gstin": "x"}}, strict_match=False)
    server.post(f"{URL}/customers", json=CUSTOMER, status=201, match=[match])
    client.create_customer("user-42", "Asha Rao", "asha@example.test", metadata={"gstin": "x"})


def test_ids_are_quoted_into_the_path(server, client):
    server.get(f"{URL}/customers/external/a%2Fb%3Fc%20%C3%A9", json=CUSTOMER)
    client.get_customer_by_external_id("a/b?c é")


@pytest.mark.parametrize("part", ["", ".", ".."])
def test_an_id_never_names_another_route(client, part):
    with pytest.raises(ValueError, match="path"):
        client.get_checkout_session(part)


def test_plans_come_in_display_order(server, client):
    body = {
        "status": "published",
        "expand": "prices,entitlements,features",
        "sort": [{"field": "display_order", "direction": "asc"}],
        "limit": 100,
        "offset": 0,
    }
    plans = [PLAN | {"id": f"plan_{n}", "display_order": 9 - n} for n in range(3)]
    match = [HEADERS, matchers.json_params_matcher(body)]
    server.post(f"{URL}/plans/search", json=page(plans), match=match)
    found = client.list_plans()
    assert [plan.id for plan in found] == ["plan_2", "plan_1", "plan_0"]
    assert isinstance(found, ObjectList)


def test_subscriptions_are_listed_by_status(server, client):
    body = {
        "external_customer_id": "user-42",
        "subscription_status": ["draft", "active"],
        "limit": 100,
        "offset": 0,
    }
    match = [matchers.json_params_matcher(body)]
    server.post(f"{URL}/subscriptions/search", json=page([SUBSCRIPTION]), match=match)
    found = client.list_subscriptions("user-42", ("draft", "active"))
    assert [subscription.metadata["order_ref"] for subscription in found] == ["ord_1001"]


def test_invoices_are_listed_by_subscription(server, client):
    body = {"subscription_id": "subs_01", "skip_line_items": True, "limit": 100, "offset": 0}
    body["invoice_status"] = ["DRAFT", "FINALIZED", "VOIDED", "SKIPPED"]
    match = [matchers.json_params_matcher(body)]
    server.post(f"{URL}/invoices/search", json=page([INVOICE]), match=match)
    assert [invoice.id for invoice in client.list_invoices("subs_01")] == ["inv_01"]


def test_refunds_are_listed_by_payment(server, client):
    match = [matchers.query_param_matcher({"payment_ids": "pay_01", "limit": 100, "offset": 0})]
    server.get(f"{URL}/refunds", json=page([REFUND]), match=match)
    assert [refund.status for refund in client.list_refunds("pay_01")] == ["SUCCEEDED"]


def test_an_unknown_customer_has_no_list(server, client):
    message = "Customer with lookup key user-42 was not found"
    server.post(f"{URL}/subscriptions/search", json={"message": message}, status=404)
    with pytest.raises(CustomerNotFound):
        client.list_subscriptions("user-42", ["active"])


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_every_method_takes_a_timeout(name, method):
    parameter = inspect.signature(method).parameters["timeout"]
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert parameter.default is None


def public_members():
    """Yield everything that is exported, with the public methods of classes."""
    for exported in flexprice.__all__:
        found = getattr(flexprice, exported)
        if inspect.isclass(found) or inspect.isfunction(found):
            yield exported, found
        if inspect.isclass(found):
            own = [(name, one) for name, one in vars(found).items() if not name.startswith("_")]
            yield from ((f"{exported}.{name}", getattr(found, name)) for name, one in own if callable(one))


@pytest.mark.parametrize(("name", "member"), list(public_members()))
def test_everything_public_is_documented(name, member):
    assert inspect.getdoc(member)


def test_every_source_is_an_anchor_of_the_contract():
    anchors = set(re.findall(r'<a id="([^"]+)"', (ROOT / "docs/flexprice-contract.md").read_text()))
    package = Path(flexprice.__file__).parent
    cited = [re.findall(r"flexprice-contract\.md#(\w+)", path.read_text()) for path in package.rglob("*.py")]
    assert {name for names in cited for name in names} <= anchors
