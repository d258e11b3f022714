"""POST /subscriptions: free, priced, with a trial, with coupons, paid first."""

from typing import Any

import pytest

from .second_month import Shopper, money

CHECKOUT = {"payment_provider": "razorpay", "success_url": "https://shop.test/ok", "idempotency_key": "s:1"}


@pytest.fixture
def shopper(api: Any) -> Shopper:
    shopper = Shopper(api)
    shopper.told()
    return shopper


def coupon(shopper: Shopper, code: str, **fields: Any) -> None:
    body = {"name": code, "coupon_code": code, "type": "percentage", "cadence": "once"} | fields
    assert shopper.post("/coupons", body).status_code == 201


def test_free_is_active_without_an_invoice(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan(amount="0"))

    assert (made["subscription_status"], "latest_invoice" in made) == ("active", False)
    assert shopper.told() == ["subscription.created"]


def test_free_with_a_checkout_has_no_session(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan(amount="0"), checkout=CHECKOUT)

    assert (made["subscription_status"], "checkout_session" in made) == ("active", False)
    assert shopper.told() == ["subscription.draft.created", "subscription.activated"]


def test_priced_is_active_at_once_and_unpaid(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan())

    invoice = made["latest_invoice"]
    assert (made["subscription_status"], invoice["billing_reason"]) == ("active", "SUBSCRIPTION_CREATE")
    assert money([invoice]) == [("FINALIZED", "PENDING", "300")]
    assert shopper.told() == ["invoice.update", "invoice.update.finalized", "subscription.created"]


@pytest.mark.thorough
def test_incomplete_until_its_first_invoice_is_paid(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan(), payment_behavior="default_incomplete")
    assert made["subscription_status"] == "incomplete"
    shopper.advance("40d")
    assert len(shopper.invoices(made)) == 1
    shopper.told()

    shopper.pay(shopper.invoices(made)[0])

    assert shopper.subscription(made)["subscription_status"] == "active"
    assert shopper.told()[-3:] == ["payment.updated", "subscription.activated", "invoice.update.payment"]


@pytest.mark.thorough
def test_paid_first_by_a_session_of_its_own(shopper: Shopper) -> None:
    plan = shopper.plan()
    made = shopper.subscribe(plan, checkout=CHECKOUT, metadata={"order": "1"})
    assert (made["subscription_status"], made["latest_invoice"]["invoice_status"]) == ("draft", "DRAFT")
    repeated = shopper.try_to_subscribe(plan, checkout=CHECKOUT)

    shopper.api.control("provider", action="pay", link=made["checkout_session"]["payment_action"]["url"])

    assert shopper.subscription(made)["subscription_status"] == "active"
    assert repeated.status_code == 409


def test_a_session_that_razorpay_refuses_leaves_a_failed_one(shopper: Shopper) -> None:
    plan = shopper.plan()
    shopper.api.control("provider", action="fail", step="link", times=1)

    refused = shopper.try_to_subscribe(plan, checkout=CHECKOUT)

    assert refused.json()["message"] == "Unable to create payment link in Razorpay"
    assert shopper.told()[-1] == "checkout.session.failed"
    assert shopper.try_to_subscribe(plan, checkout=CHECKOUT).status_code == 201


@pytest.mark.thorough
@pytest.mark.parametrize("collection", ["send_invoice", "charge_automatically"])
def test_a_trial_has_an_invoice_of_nothing(shopper: Shopper, collection: str) -> None:
    made = shopper.subscribe(shopper.plan(trial_period_days=14), collection_method=collection)

    paid = collection == "charge_automatically"
    assert (made["subscription_status"], made["trial_end"][:10]) == ("trialing", "2026-09-15")
    assert money(shopper.invoices(made)) == [("FINALIZED", "SUCCEEDED" if paid else "PENDING", "0")]
    told = ["invoice.update", "invoice.update.finalized"] + ["invoice.update.payment"] * paid
    assert shopper.told() == [*told, "subscription.created"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("behavior", "status"), [("default_active", "active"), ("default_incomplete", "incomplete")]
)
def test_a_trial_ends_unpaid(shopper: Shopper, behavior: str, status: str) -> None:
    made = shopper.subscribe(shopper.plan(trial_period_days=14), payment_behavior=behavior)
    shopper.told()

    shopper.until("trial_end", made)

    ended = shopper.subscription(made)
    assert (ended["subscription_status"], ended["billing_anchor"][:10]) == (status, "2026-09-15")
    invoice = shopper.invoices(made)[1]
    assert (invoice["billing_reason"], invoice["due_date"][:10]) == ("SUBSCRIPTION_TRIAL_END", "2026-10-16")
    assert shopper.told() == ["invoice.update", "invoice.update.finalized"]
    shopper.pay(invoice)
    assert shopper.subscription(made)["subscription_status"] == "active"


@pytest.mark.thorough
def test_a_trial_without_a_fee_becomes_active(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan(amount="0"), trial_period_days=3)
    shopper.told()

    shopper.until("trial_end", made)

    assert shopper.subscription(made)["subscription_status"] == "active"
    assert shopper.told() == ["subscription.activated"]


def test_the_request_may_leave_the_trial_out(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan(trial_period_days=14), trial_period_days=0)

    assert made["subscription_status"] == "active"


def test_a_coupon_is_taken_off_once(shopper: Shopper) -> None:
    coupon(shopper, "HALF", percentage_off="50")
    made = shopper.subscribe(shopper.plan(), subscription_coupons=[{"coupon_code": "half"}])
    assert (made["latest_invoice"]["total_discount"], made["latest_invoice"]["total"]) == ("150", "150")
    preview = shopper.post("/invoices/preview", {"subscription_id": made["id"]}).json()
    assert preview["total"] == "150"

    shopper.until("invoice_finalized", made)

    assert shopper.invoices(made)[1]["total"] == "300"
    assert shopper.get("/coupons/code/Half")["total_redemptions"] == 1


def test_a_coupon_for_everything_needs_no_session(shopper: Shopper) -> None:
    coupon(shopper, "GIFT", percentage_off="100", cadence="forever")

    made = shopper.subscribe(
        shopper.plan(), subscription_coupons=[{"coupon_code": "GIFT"}], checkout=CHECKOUT
    )

    assert (made["subscription_status"], "checkout_session" in made) == ("active", False)
    assert money([made["latest_invoice"]]) == [("FINALIZED", "SUCCEEDED", "0")]


@pytest.mark.thorough
def test_a_coupon_lowers_what_a_session_asks_for(shopper: Shopper) -> None:
    coupon(shopper, "FIFTY", type="fixed", amount_off="50", currency="inr")

    made = shopper.subscribe(
        shopper.plan(), subscription_coupons=[{"coupon_code": "FIFTY"}], checkout=CHECKOUT
    )

    payment = shopper.get(f"/payments/{made['checkout_session']['checkout_payment_id']}")
    assert (made["latest_invoice"]["amount_due"], payment["amount"]) == ("250", "250")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("NONE", 404, "Coupon with code 'NONE' was not found"),
        ("DOLLARS", 400, "Coupon validation failed"),
        ("USED", 400, "Coupon validation failed"),
    ],
)
def test_coupons_that_cannot_be_used(shopper: Shopper, code: str, status: int, message: str) -> None:
    plan = shopper.plan()
    coupon(shopper, "DOLLARS", type="fixed", amount_off="5", currency="usd")
    coupon(shopper, "USED", percentage_off="10", max_redemptions=1)
    shopper.subscribe(plan, subscription_coupons=[{"coupon_code": "USED"}])

    answer = shopper.try_to_subscribe(plan, subscription_coupons=[{"coupon_code": code}])

    assert (answer.status_code, answer.json()["message"]) == (status, message)


def test_an_amount_and_a_quantity_of_ones_own(shopper: Shopper) -> None:
    plan = shopper.plan()
    price = shopper.get(f"/plans/{plan}")["prices"][0]["id"]
    override = {"price_id": price, "quantity": "3", "amount": "10"}

    made = shopper.subscribe(plan, override_line_items=[override])

    assert made["latest_invoice"]["total"] == "30"
    assert shopper.subscription(made)["line_items"][0]["price"]["parent_price_id"] == price


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"plan_id": ""}, "Request validation failed"),
        ({"currency": "rupee"}, "Request validation failed"),
        ({"external_customer_id": ""}, "Please provide either customer_id or external_customer_id"),
        ({"external_customer_id": "nobody"}, "Customer with lookup key nobody was not found"),
        ({"customer_id": "cust_none"}, "Customer with ID cust_none was not found"),
        ({"billing_period": "SOMETIMES"}, "Invalid billing period"),
        ({"billing_period": "ANNUAL"}, "The entity must have at least one price to create a subscription"),
        ({"currency": "usd"}, "No prices match the subscription criteria"),
        ({"collection_method": "by_hand"}, "Invalid collection method"),
        ({"payment_terms": "NET15"}, "Payment terms must be one of: 15 NET, 30 NET"),
        (
            {"payment_behavior": "allow_incomplete"},
            "Only default_active and default_incomplete are supported",
        ),
        (
            {"checkout": CHECKOUT, "subscription_status": "draft"},
            "Remove subscription_status; a checkout-gated",
        ),
        ({"trial_period_days": -1}, "Use 0 to disable trial or omit to inherit from plan prices"),
        ({"checkout": {"payment_provider": "stripe"}}, "Allowed values: razorpay"),
        ({"checkout": {}}, "Allowed values: razorpay"),
        ({"billing_cycle": "lunar"}, "Invalid billing cycle"),
        ({"proration_behavior": "some"}, "Proration behavior must be create_prorations or none"),
        ({"timezone": "Mars/Olympus"}, "Request validation failed"),
        ({"override_line_items": [{"price_id": "price_x"}]}, "All override price IDs must be valid prices"),
    ],
)
def test_what_is_refused(shopper: Shopper, fields: Any, message: str) -> None:
    answer = shopper.try_to_subscribe(shopper.plan(), **fields)

    assert answer.status_code in (400, 404)
    assert answer.json()["message"][: len(message)] == message
    assert shopper.told() == []


@pytest.mark.thorough
def test_any_number_of_subscriptions_to_one_plan_is_possible(shopper: Shopper) -> None:
    plan = shopper.plan()
    made = {shopper.subscribe(plan)["id"] for _ in range(3)}

    found = shopper.get("/customers/external/user-42/subscriptions")["items"]
    assert {one["id"] for one in found} == made


def test_a_draft_is_neither_billed_nor_begun(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan(), subscription_status="draft")

    assert (made["subscription_status"], shopper.invoices(made)) == ("draft", [])
    assert shopper.told() == ["subscription.draft.created"]


@pytest.mark.thorough
def test_status_and_end_are_written_as_they_are_sent(shopper: Shopper) -> None:
    made = shopper.subscribe(shopper.plan())
    path, at = f"/v1/subscriptions/{made['id']}", "2026-09-15T10:00:00Z"
    shopper.told()

    ends = shopper.api.call("PUT", path, {"cancel_at": at, "cancel_at_period_end": True}).json()
    left = shopper.api.call("PUT", path, {"status": "paused"}).json()

    assert (ends["cancel_at"], ends["end_date"], ends["cancel_at_period_end"]) == (at, at, True)
    assert (left["subscription_status"], left["cancel_at"], left["cancel_at_period_end"]) == (
        "paused",
        at,
        False,
    )
    assert shopper.told() == ["subscription.updated"] * 2
    assert shopper.api.call("PUT", "/v1/subscriptions/subs_1", {}).status_code == 404
