"""The official SDK talks to the sandbox as it does to Flexprice."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flexprice import Flexprice
from flexprice.models import (
    CheckoutSessionResponse,
    WebhookDtoCheckoutSessionWebhookPayload,
    WebhookDtoCustomerWebhookPayload,
    WebhookDtoInvoiceWebhookPayload,
    WebhookDtoPaymentWebhookPayload,
    WebhookDtoRefundWebhookPayload,
    WebhookDtoSubscriptionWebhookPayload,
    WebhookDtoTransactionWebhookPayload,
    WebhookDtoWalletWebhookPayload,
)
from flexprice.models.errors import ErrorResponse, FlexpriceDefaultError

PAYLOADS = {
    "checkout": WebhookDtoCheckoutSessionWebhookPayload,
    "customer": WebhookDtoCustomerWebhookPayload,
    "subscription": WebhookDtoSubscriptionWebhookPayload,
    "invoice": WebhookDtoInvoiceWebhookPayload,
    "payment": WebhookDtoPaymentWebhookPayload,
    "refund": WebhookDtoRefundWebhookPayload,
    "wallet": WebhookDtoWalletWebhookPayload,
    "transaction": WebhookDtoTransactionWebhookPayload,
}


@pytest.fixture
def sdk(sandbox: Any) -> Iterator[Flexprice]:
    with Flexprice(server_url=f"{sandbox.base}/v1", api_key_auth="sk_sandbox_tests") as client:
        yield client


def asked(plan_id: str) -> dict[str, Any]:
    params = {"plan_id": plan_id, "currency": "INR", "billing_period": "ANNUAL"}
    return {
        "action": "create_subscription",
        "configuration": {"create_subscription_params": params},
        "customer_external_id": "user-42",
        "payment_provider": "razorpay",
        "success_url": "https://shop.test/return",
    }


def test_a_whole_sale_through_the_official_sdk(sandbox: Any, sdk: Flexprice, receiver: Any) -> None:
    customer = sdk.customers.create_customer(
        external_id="user-42", name="Asha Rao", email="asha@example.test"
    )
    plans = sdk.plans.query_plan(expand="prices,entitlements,features", lookup_key="team")
    session = sdk.checkout.create_checkout_session(**asked(plans.items[0].id))
    assert (session.customer_id, session.checkout_status) == (customer.id, "pending")

    sandbox.pay({"payment_action": {"url": session.payment_action.url}})
    read = sdk.checkout.get_checkout_session(id=session.id)
    invoice = sdk.invoices.get_invoice(id=session.checkout_invoice_id)
    subscription = sdk.subscriptions.get_subscription(id=invoice.subscription.id)

    assert (read.terminal, read.payment.status) == (True, "SUCCEEDED")
    assert (invoice.total, invoice.payment_status, invoice.invoice_status) == (
        "14990",
        "SUCCEEDED",
        "FINALIZED",
    )
    assert (subscription.subscription_status, subscription.plan.name) == ("active", "Team")


def test_a_session_is_cancelled_through_the_official_sdk(sandbox: Any, sdk: Flexprice) -> None:
    sandbox.customer()
    session = sdk.checkout.create_checkout_session(**asked(sandbox.plan("starter")["id"]))

    cancelled = sdk.checkout.cancel_checkout_session(id=session.id)

    assert (cancelled.checkout_status, cancelled.terminal) == ("expired", True)
    assert cancelled.cancelled_at is None


def sold(sandbox: Any, sdk: Flexprice) -> CheckoutSessionResponse:
    sandbox.customer()
    session = sdk.checkout.create_checkout_session(**asked(sandbox.plan("starter")["id"]))
    sandbox.pay({"payment_action": {"url": session.payment_action.url}})
    return session


def test_customers_through_the_official_sdk(sandbox: Any, sdk: Flexprice) -> None:
    made = sdk.customers.create_customer(
        external_id="user-42",
        name="Asha Rao",
        contact="+919000000001",
        address_country="IN",
        timezone="Asia/Kolkata",
        billing_currency="inr",
        metadata={"a": "b"},
    )

    assert (made.billing_currency, made.timezone, made.metadata) == ("inr", "Asia/Kolkata", {"a": "b"})
    assert sdk.customers.get_customer(id=made.id) == made
    assert sdk.customers.get_customer_by_external_id(external_id="user-42") == made


def test_every_plan_fits_the_official_sdk(sandbox: Any, sdk: Flexprice) -> None:
    plans = sdk.plans.query_plan(
        expand="prices,entitlements,features,credit_grant",
        sort=[{"field": "display_order", "direction": "desc"}],
        filters=[
            {"field": "name", "operator": "contains", "data_type": "string", "value": {"string": "a"}},
            {"field": "display_order", "operator": "lt", "data_type": "number", "value": {"number": 6}},
        ],
        limit=2,
    )
    assert [plan.name for plan in plans.items] == ["Scale", "Team"]
    assert (plans.pagination.total, plans.pagination.offset) == (3, 2)

    prices = sdk.prices.query_price(
        entity_type="PLAN", entity_ids=[plans.items[0].id], expand="plan", sort="created_at", order="asc"
    )
    tiered = next(price for price in prices.items if price.billing_model == "TIERED")
    assert [tier.up_to for tier in tiered.tiers] == [1000, None]
    assert tiered.plan.name == "Scale"
    for plan in sdk.plans.query_plan().items:
        assert sdk.plans.get_plan(id=plan.id).prices


def test_a_session_through_the_official_sdk_from_end_to_end(sandbox: Any, sdk: Flexprice) -> None:
    session = sold(sandbox, sdk)
    read = sdk.checkout.get_checkout_session(id=session.id)
    sdk.checkout.delete_checkout_session(id=session.id)

    assert (session.next_poll_after_ms, session.terminal, session.payment.status) == (2000, False, "PENDING")
    assert session.entity_creation_result.status == "created"
    assert (read.terminal, read.payment.status) == (True, "SUCCEEDED")
    assert read.payment_action == session.payment_action
    assert read.completed_at > read.created_at
    assert sdk.checkout.get_checkout_session(id=session.id).checkout_status == "completed"


def test_what_a_sale_left_behind_through_the_official_sdk(sandbox: Any, sdk: Flexprice) -> None:
    session = sold(sandbox, sdk)

    (subscription,) = sdk.subscriptions.query_subscription(
        external_customer_id="user-42",
        subscription_status=["active"],
        expand="customer",
        with_line_items=True,
    ).items
    (invoice,) = sdk.invoices.query_invoice(
        subscription_id=subscription.id, invoice_status=["FINALIZED"], amount_due_gt=1
    ).items
    payment = sdk.payments.get_payment(id=session.checkout_payment_id)

    assert (subscription.customer.external_id, subscription.plan.name) == ("user-42", "Starter")
    assert subscription.line_items[0].price is None  # only a read by id embeds it
    whole = sdk.subscriptions.get_subscription(id=subscription.id)
    assert whole.line_items[0].price.amount == "4990"
    assert (invoice.id, invoice.total) == (session.checkout_invoice_id, "4990")
    assert sdk.invoices.get_invoice(id=invoice.id).subscription.id == subscription.id
    assert (payment.payment_status, payment.destination_id) == ("SUCCEEDED", invoice.id)
    assert [attempt.attempt_number for attempt in payment.attempts] == [1]


def test_a_refund_through_the_official_sdk(sandbox: Any, sdk: Flexprice) -> None:
    sandbox.customer()
    session = sdk.checkout.create_checkout_session(**asked(sandbox.plan("starter")["id"]))
    sandbox.advance("46m")
    sandbox.post("/_sandbox/sweep")
    sandbox.control("provider", action="pay", link=session.payment_action.url)

    (refund,) = sdk.refunds.list_refunds(
        payment_ids=[session.checkout_payment_id, "pay_1"], refund_statuses=["SUCCEEDED"], only_settled=True
    ).items

    assert sdk.refunds.get_refund(id=refund.id) == refund
    assert (refund.amount, refund.refund_status) == ("4990", "SUCCEEDED")
    assert sdk.payments.get_payment(id=session.checkout_payment_id).payment_status == "REFUNDED"
    assert sdk.checkout.get_checkout_session(id=session.id).checkout_status == "expired"


SERVICES = (
    *("customers", "plans", "prices", "features", "entitlements", "checkout", "subscriptions", "invoices"),
    *("payments", "refunds", "coupons", "wallets"),
)


def operations() -> dict[tuple[str, str], str]:
    """What the SDK offers: the method and path of a call, and its name."""
    found = {}
    with Flexprice(server_url="http://sandbox.test/v1", api_key_auth="k") as client:
        for service in SERVICES:
            for name, function in inspect.getmembers(type(getattr(client, service)), inspect.isfunction):
                call = re.search(r'method="(\w+)",\s+path="([^"]+)"', inspect.getsource(function))
                if call and not name.startswith("_"):
                    found[call[1], re.sub(r"{[^}]*}", "…", call[2])] = f"sdk.{service}.{name}("
    return found


def test_what_the_sdk_offers_is_answered_or_listed_as_missing(api: Any) -> None:
    """docs/fidelity.md lists what is missing; on a difference, replace its list by the one printed here."""
    rules = [rule for rule in api.app.url_map.iter_rules() if rule.rule.startswith("/v1/")]
    answered = {
        (method, re.sub(r"<[^>]*>", "…", rule.rule.removeprefix("/v1")))
        for rule in rules
        for method in rule.methods
    }
    missing = sorted(
        f"- `{method} {path}`" for method, path in operations() if (method, path) not in answered
    )
    text = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()

    assert re.findall(r"^- `[A-Z]+ /.*`$", text.split("## Not answered")[1], re.M) == missing


REFUSALS = {
    "a second customer": (409, "already_exists"),
    "a customer without a name": (400, "validation_error"),
    "no such customer": (404, "not_found"),
    "no such plan": (404, "not_found"),
    "too long a list": (400, "validation_error"),
    "no such session": (404, "not_found"),
    "cancelled after the payment": (400, "validation_error"),
    "a used key": (409, "already_exists"),
    "nothing to pay": (400, "validation_error"),
    "no such subscription": (404, "not_found"),
    "no such invoice": (404, "not_found"),
    "no such payment": (404, "not_found"),
    "no such refund": (404, "not_found"),
}


def refused(sandbox: Any, sdk: Flexprice, what: str) -> None:
    plan = asked(sandbox.plan("starter")["id"])
    match what:
        case "a second customer":
            sdk.customers.create_customer(external_id="user-42", name="Asha")
        case "a customer without a name":
            sdk.customers.create_customer(external_id="user-1", name="")
        case "no such customer":
            sdk.customers.get_customer_by_external_id(external_id="nobody")
        case "no such plan":
            sdk.plans.get_plan(id="plan_1")
        case "too long a list":
            sdk.plans.query_plan(limit=1001)
        case "no such session":
            sdk.checkout.get_checkout_session(id="cs_1")
        case "cancelled after the payment":
            session = sdk.checkout.create_checkout_session(**plan)
            sandbox.pay({"payment_action": {"url": session.payment_action.url}})
            sdk.checkout.cancel_checkout_session(id=session.id)
        case "a used key":
            for _ in range(2):
                sdk.checkout.create_checkout_session(**plan, idempotency_key="k")
        case "nothing to pay":
            configuration = asked(sandbox.plan("free")["id"])["configuration"]
            configuration["create_subscription_params"]["billing_period"] = "MONTHLY"
            sdk.checkout.create_checkout_session(**plan | {"configuration": configuration})
        case "no such subscription":
            sdk.subscriptions.get_subscription(id="subs_1")
        case "no such invoice":
            sdk.invoices.get_invoice(id="inv_1")
        case "no such payment":
            sdk.payments.get_payment(id="pay_1")
        case "no such refund":
            sdk.refunds.get_refund(id="refund_1")


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_reaches_the_official_sdk_as_such(sandbox: Any, sdk: Flexprice, what: str) -> None:
    sandbox.customer()

    # A status that the SDK does not declare for an endpoint is its default error, with the same body.
    with pytest.raises((ErrorResponse, FlexpriceDefaultError)) as caught:
        refused(sandbox, sdk, what)

    status, code = REFUSALS[what]
    assert caught.value.status_code == status
    assert f'"code":"{code}"' in caught.value.body.replace(" ", "")
    if isinstance(caught.value, ErrorResponse):
        assert (caught.value.data.code, caught.value.data.http_status_code) == (code, status)
        assert caught.value.data.message


def test_a_wrong_key_reaches_the_official_sdk_as_such(sandbox: Any) -> None:
    with (
        Flexprice(server_url=f"{sandbox.base}/v1", api_key_auth="wrong") as stranger,
        pytest.raises(FlexpriceDefaultError) as caught,
    ):
        stranger.plans.query_plan()

    assert caught.value.status_code == 401


def test_the_older_generation_still_fits_the_official_sdk(sandbox: Any, sdk: Flexprice) -> None:
    sandbox.post("/_sandbox/switches", {"generation": "legacy"})
    session = sold(sandbox, sdk)

    read = sdk.checkout.get_checkout_session(id=session.id)

    assert (read.checkout_status, read.terminal, read.payment) == ("completed", None, None)
    with pytest.raises(FlexpriceDefaultError) as caught:
        sdk.checkout.cancel_checkout_session(id=session.id)
    assert (caught.value.status_code, caught.value.body) == (404, "404 page not found")


def test_every_webhook_fits_the_sdks_models_and_has_nothing_they_do_not_know(
    sandbox: Any, receiver: Any
) -> None:
    sandbox.customer(email="asha@example.test", address_country="IN")
    paid = sandbox.session("business", params={"metadata": {"order_ref": "r1"}})
    late = sandbox.session()
    sandbox.deliver()
    sandbox.pay(paid)
    sandbox.advance("1h")
    sandbox.deliver()
    sandbox.control("provider", action="pay", link=late["payment_action"]["url"])
    subscription = sandbox.get(f"/_sandbox/sessions/{paid['id']}").json()["subscription_id"]
    sandbox.post(f"/_sandbox/subscriptions/{subscription}/cancel", {})
    sandbox.deliver()

    assert len({json.loads(body)["event_type"] for _, body in receiver.got}) == 17
    for _, body in receiver.got:
        message = json.loads(body)
        name = message["event_type"].split(".")[0]
        if message["event_type"].startswith("wallet.transaction"):
            name = "transaction"
        payload = PAYLOADS[name].model_validate_json(body)
        key = "checkout_session" if name == "checkout" else name
        entity = getattr(payload, key)
        assert entity.id == message[key]["id"]
        if name != "invoice":  # whole, with fields that the SDK leaves out
            assert set(message[key]) - ADDRESS <= set(type(entity).model_fields)


# In the server's own list, and left out of the SDK's.
ADDRESS = {"address_line1", "address_line2"}
