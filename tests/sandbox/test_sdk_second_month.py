"""The official SDK reads what the sandbox answers about later months, in the newest generation."""

from typing import Any

import pytest
from flexprice import Flexprice

from .second_month import Shopper

KEY = "sk_sandbox_tests"


@pytest.fixture
def sdk(sandbox: Any) -> Any:
    with Flexprice(server_url=f"{sandbox.base}/v1", api_key_auth=KEY) as client:
        yield client


@pytest.mark.thorough
def test_the_second_month_through_the_official_sdk(sandbox: Any, sdk: Any) -> None:
    shopper = Shopper(sandbox)
    solo, team = shopper.plan(), shopper.plan("Team", "900")
    made = sdk.subscriptions.create_subscription(
        external_customer_id="user-42",
        plan_id=solo,
        currency="inr",
        billing_period="MONTHLY",
        collection_method="send_invoice",
    )
    assert made.latest_invoice.payment_status == "PENDING"

    payment = sdk.payments.create_payment(
        destination_type="INVOICE",
        destination_id=made.latest_invoice.id,
        payment_method_type="PAYMENT_LINK",
        payment_gateway="razorpay",
        amount="300",
        currency="inr",
        process_payment=True,
    )
    sandbox.control("provider", action="pay", link=payment.payment_url)
    assert sdk.payments.get_payment(id=payment.id).payment_status == "SUCCEEDED"
    assert sdk.invoices.get_invoice(id=made.latest_invoice.id).payment_status == "SUCCEEDED"
    assert sdk.payments.list_payments(destination_id=made.latest_invoice.id).pagination.total == 1

    change = {"id": made.id, "target_plan_id": team, "proration_behavior": "create_prorations"}
    assert sdk.subscriptions.preview_subscription_plan_change_v2(**change).change_type == "upgrade"
    assert sdk.subscriptions.execute_subscription_plan_change_v2(**change).to_plan.name == "Team"
    change["target_plan_id"] = solo
    assert sdk.subscriptions.execute_subscription_plan_change_v2(**change).change_type == "downgrade"
    (wallet,) = sdk.wallets.get_wallets_by_customer_id(id=shopper.id)
    assert sdk.wallets.get_wallet_transactions(id_path_parameter=wallet.id).items[0].amount == wallet.balance

    sdk.subscriptions.cancel_subscription(id=made.id, cancellation_type="end_of_period")
    (schedule,) = sdk.subscriptions.list_subscription_schedules(id=made.id).schedules
    assert sdk.subscriptions.get_subscription_schedule(schedule_id=schedule.id).status == "pending"
    assert sdk.subscriptions.get_subscription(id=made.id).cancel_at_period_end is True


def test_what_else_the_official_sdk_reads(sandbox: Any, sdk: Any) -> None:
    shopper = Shopper(sandbox)
    subscription = shopper.subscribe(shopper.plan())["id"]
    coupon = sdk.coupons.create_coupon(
        name="Half", type_="percentage", percentage_off="50", cadence="once", coupon_code="HALF"
    )

    assert sdk.coupons.get_coupon_by_code(code="half").id == coupon.id
    assert sdk.invoices.get_invoice_preview(subscription_id=subscription).total == "300"
    assert sdk.subscriptions.get_subscription_entitlements(id=subscription).features == []
    assert sdk.customers.get_customer_entitlements_by_external_id(external_id="user-42").features == []
    assert sdk.customers.get_customer_usage_summary(customer_lookup_key="user-42").features == []
    assert sdk.customers.create_customer_portal_session(external_id="user-42").token
    assert sdk.customers.get_subscriptions_for_customer(external_id="user-42").items[0].id == subscription
    assert sdk.invoices.get_customer_invoice_summary(id=shopper.id).customer_id == shopper.id
    assert sdk.subscriptions.get_subscription_usage(subscription_id=subscription).currency == "inr"
