"""The official SDK talks to the sandbox as it does to Flexprice."""

from collections.abc import Iterator
from typing import Any

import pytest
from flexprice import Flexprice
from flexprice.models import (
    WebhookDtoCheckoutSessionWebhookPayload,
    WebhookDtoCustomerWebhookPayload,
    WebhookDtoInvoiceWebhookPayload,
    WebhookDtoPaymentWebhookPayload,
    WebhookDtoSubscriptionWebhookPayload,
)

PAYLOADS = {
    "checkout": WebhookDtoCheckoutSessionWebhookPayload,
    "customer": WebhookDtoCustomerWebhookPayload,
    "subscription": WebhookDtoSubscriptionWebhookPayload,
    "invoice": WebhookDtoInvoiceWebhookPayload,
    "payment": WebhookDtoPaymentWebhookPayload,
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
    subscription = sdk.subscriptions.get_subscription(id=read.entity_creation_result.entity_id)

    assert (read.terminal, read.payment.status) == (True, "SUCCEEDED")
    assert (invoice.total, invoice.payment_status, invoice.invoice_status) == (
        "14995",
        "SUCCEEDED",
        "FINALIZED",
    )
    assert (subscription.subscription_status, subscription.plan.name) == ("active", "Team")


def test_a_session_is_cancelled_through_the_official_sdk(sandbox: Any, sdk: Flexprice) -> None:
    sandbox.customer()
    session = sdk.checkout.create_checkout_session(**asked(sandbox.plan("starter")["id"]))

    cancelled = sdk.checkout.cancel_checkout_session(id=session.id)

    assert (cancelled.checkout_status, cancelled.terminal) == ("failed", True)
    assert cancelled.cancelled_at is not None


def test_every_webhook_of_a_sale_fits_the_sdks_models(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.deliver()
    sandbox.pay(session)
    sandbox.deliver()

    for _, body in receiver.got:
        name = body.split('"event_type":"')[1].split(".")[0]
        payload = PAYLOADS[name].model_validate_json(body)
        entity = getattr(payload, "checkout_session" if name == "checkout" else name)
        assert entity.id
