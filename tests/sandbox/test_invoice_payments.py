"""Invoices that are paid by a link: how often, how much, when, and what is left of it."""

from typing import Any

import pytest

from .second_month import Shopper


@pytest.fixture
def shopper(api: Any) -> Shopper:
    return Shopper(api)


@pytest.fixture
def invoice(shopper: Shopper) -> Any:
    return shopper.invoices(shopper.subscribe(shopper.plan()))[0]


def test_a_link_is_made_and_paid(shopper: Shopper, invoice: Any) -> None:
    shopper.told()
    payment = shopper.link(invoice, metadata={"success_url": "https://shop.test/bill"})

    shopper.at_razorpay("pay", payment)

    assert (payment["payment_status"], payment["gateway_tracking_id"][:6]) == ("PENDING", "plink_")
    paid = shopper.invoice(invoice["id"])
    assert (paid["payment_status"], paid["amount_paid"], paid["updated_by"]) == ("SUCCEEDED", "300", "")
    assert "attempts" not in shopper.get(f"/payments/{payment['id']}")
    created = ["payment.created", "payment.pending", "customer.updated", "payment.pending"]
    assert shopper.told() == [*created, "payment.updated", "invoice.update.payment"]


def test_the_same_request_is_answered_with_the_old_payment(shopper: Shopper, invoice: Any) -> None:
    first = shopper.link(invoice)

    assert shopper.link(invoice, amount="300.00", currency="INR", metadata={"a": "b"})["id"] == first["id"]
    assert shopper.link(invoice, idempotency_key="own:1")["id"] != first["id"]
    assert shopper.link(invoice, amount="100")["id"] != first["id"]


def test_the_page_takes_the_money_and_brings_the_shopper_back(shopper: Shopper, invoice: Any) -> None:
    payment = shopper.link(invoice, metadata={"success_url": "https://shop.test/bill?n=1"})
    page = {"payment_action": {"url": payment["payment_url"]}}
    declined = shopper.api.page(page, "pay", method="failure@razorpay")

    back = shopper.api.page(page, "pay", method="success@razorpay")

    assert "shop.test" not in declined.headers.get("Location", "")
    assert back.headers["Location"].startswith("https://shop.test/bill?n=1&razorpay_payment_id=")
    assert shopper.invoice(invoice["id"])["payment_status"] == "SUCCEEDED"


def test_a_part_payment_closes_the_invoice(shopper: Shopper, invoice: Any) -> None:
    paid = shopper.pay(invoice, amount="200")

    assert (paid["payment_status"], paid["amount_remaining"]) == ("SUCCEEDED", "100")
    assert shopper.try_to_pay(paid).json()["message"] == "Cannot create payment for an already paid invoice"


def test_two_paid_links_overpay_and_one_paid_twice_does_not(shopper: Shopper, invoice: Any) -> None:
    links = [shopper.link(invoice, idempotency_key=f"own:{number}") for number in range(2)]
    shopper.at_razorpay("pay", links[0])
    shopper.at_razorpay("pay", links[0])
    assert shopper.invoice(invoice["id"])["payment_status"] == "SUCCEEDED"

    shopper.at_razorpay("pay", links[1])

    paid = shopper.invoice(invoice["id"])
    assert (paid["payment_status"], paid["amount_paid"], paid["overpaid_amount"]) == (
        "OVERPAID",
        "600",
        "300",
    )
    refused = shopper.try_to_pay(invoice, idempotency_key="own:3").json()
    assert refused["message"].startswith("Payment amount cannot be greater")
    assert shopper.get(f"/payments/{refused['details']['payment_id']}")["payment_status"] == "INITIATED"


def test_a_decline_is_an_attempt_and_the_link_can_still_be_paid(shopper: Shopper, invoice: Any) -> None:
    payment = shopper.link(invoice)
    shopper.told()
    shopper.at_razorpay("decline", payment)

    declined = shopper.get(f"/payments/{payment['id']}")
    assert (declined["payment_status"], len(declined["attempts"])) == ("PENDING", 1)
    assert shopper.told() == []

    shopper.at_razorpay("pay", payment)
    assert shopper.invoice(invoice["id"])["payment_status"] == "SUCCEEDED"
    shopper.at_razorpay("decline", payment)
    assert len(shopper.get(f"/payments/{payment['id']}")["attempts"]) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("action", ["expire_link", "cancel_link"])
def test_a_closed_link_fails_when_it_is_read_and_money_after_that_is_lost(
    shopper: Shopper, invoice: Any, action: str
) -> None:
    payment = shopper.link(invoice)
    shopper.told()
    shopper.at_razorpay(action, payment)
    assert shopper.told() == []

    assert shopper.get(f"/payments/{payment['id']}")["payment_status"] == "FAILED"
    assert shopper.told() == ["payment.updated"]

    shopper.at_razorpay("pay", payment)
    failed = shopper.get(f"/payments/{payment['id']}")
    assert (failed["payment_status"], len(failed["attempts"])) == ("FAILED", 1)
    assert shopper.invoice(invoice["id"])["payment_status"] == "PENDING"
    assert shopper.link(invoice)["payment_status"] == "FAILED"
    assert shopper.pay(invoice, idempotency_key="own:2")["payment_status"] == "SUCCEEDED"


def test_a_closed_link_that_nobody_read_can_be_paid(shopper: Shopper, invoice: Any) -> None:
    payment = shopper.link(invoice)
    shopper.at_razorpay("expire_link", payment)

    shopper.at_razorpay("pay", payment)

    assert shopper.invoice(invoice["id"])["payment_status"] == "SUCCEEDED"


@pytest.mark.thorough
@pytest.mark.parametrize("events", [[], ["payment_link.paid"]])
def test_a_read_settles_what_no_event_told_of(shopper: Shopper, invoice: Any, events: list[str]) -> None:
    payment = shopper.link(invoice)
    shopper.at_razorpay("pay", payment, events=events)
    assert shopper.invoice(invoice["id"])["payment_status"] == "PENDING"

    assert shopper.get(f"/payments/{payment['id']}")["payment_status"] == "SUCCEEDED"
    assert shopper.invoice(invoice["id"])["payment_status"] == "SUCCEEDED"


def test_a_read_beside_the_event_may_book_twice(api: Any) -> None:
    shopper = Shopper(api, double_booking="on")
    invoice = shopper.invoices(shopper.subscribe(shopper.plan()))[0]
    payment = shopper.link(invoice)
    shopper.at_razorpay("pay", payment)

    shopper.get(f"/payments/{payment['id']}")

    paid = shopper.invoice(invoice["id"])
    assert (paid["payment_status"], paid["amount_paid"]) == ("OVERPAID", "600")


@pytest.mark.thorough
def test_an_invoice_is_paid_late_and_revives_nothing(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    shopper.until("invoice_finalized", subscription)
    shopper.post(f"/subscriptions/{subscription['id']}/cancel", {"cancellation_type": "immediate"})
    shopper.advance("90d")

    oldest, second = shopper.invoices(subscription)
    assert shopper.pay(second)["payment_status"] == "SUCCEEDED"
    assert shopper.invoice(oldest["id"])["payment_status"] == "PENDING"
    assert shopper.subscription(subscription)["subscription_status"] == "cancelled"


@pytest.mark.thorough
def test_voiding_a_paid_invoice_moves_the_money_to_a_wallet(shopper: Shopper, invoice: Any) -> None:
    shopper.pay(invoice)
    shopper.told()

    assert shopper.post(f"/invoices/{invoice['id']}/void", {}).status_code == 200

    voided = shopper.invoice(invoice["id"])
    assert (voided["invoice_status"], voided["payment_status"]) == ("VOIDED", "REFUNDED")
    (wallet,) = shopper.get(f"/customers/{shopper.id}/wallets")
    assert (wallet["balance"], wallet["name"]) == ("300", "Subscription Wallet")
    assert shopper.told() == ["wallet.created", "wallet.transaction.created", "invoice.update.voided"]


@pytest.mark.thorough
def test_money_for_a_voided_invoice_stays_with_the_payment(shopper: Shopper, invoice: Any) -> None:
    payment = shopper.link(invoice)
    shopper.post(f"/invoices/{invoice['id']}/void", {})

    shopper.at_razorpay("pay", payment)

    assert shopper.get(f"/payments/{payment['id']}")["payment_status"] == "SUCCEEDED"
    voided = shopper.invoice(invoice["id"])
    assert (voided["invoice_status"], voided["payment_status"]) == ("VOIDED", "PENDING")


def test_a_payment_without_a_link_is_processed_later(shopper: Shopper, invoice: Any) -> None:
    waiting = shopper.link(invoice, process_payment=False)
    assert (waiting["payment_status"], "payment_url" in waiting) == ("INITIATED", False)

    processed = shopper.post(f"/payments/{waiting['id']}/process").json()

    assert (processed["payment_status"], "payment_url" in processed) == ("PENDING", True)
    assert shopper.api.call("DELETE", f"/v1/payments/{waiting['id']}").status_code == 400


def test_a_failed_link_leaves_the_payment_to_be_processed_or_deleted(shopper: Shopper, invoice: Any) -> None:
    shopper.api.control("provider", action="fail", step="link", times=1)
    refused = shopper.try_to_pay(invoice)
    (row,) = shopper.get(f"/payments?destination_type=INVOICE&destination_id={invoice['id']}")["items"]

    assert (refused.status_code, row["payment_status"]) == (500, "INITIATED")
    assert shopper.link(invoice)["payment_status"] == "INITIATED"
    assert shopper.api.call("DELETE", f"/v1/payments/{row['id']}").status_code == 200
    assert shopper.api.get(f"/v1/payments/{row['id']}").status_code == 404


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"payment_gateway": ""}, "Payment gateway must be specified for payment link method type"),
        ({"amount": "0"}, "Amount must be greater than 0"),
        ({"amount": None}, "Amount must be greater than 0"),
        ({"destination_type": ""}, "Invalid request format"),
        ({"payment_method_type": "COINS"}, "Payment method ID is required for online payment methods"),
        ({"payment_gateway": "paypal"}, "Payment gateway not supported for payment links"),
        ({"currency": "usd"}, "Payment currency must match invoice currency"),
        ({"destination_id": "inv_none"}, "invoice inv_none not found"),
        ({"idempotency_key": "k" * 51}, "Failed to create payment"),
    ],
)
def test_what_is_refused(shopper: Shopper, invoice: Any, fields: Any, message: str) -> None:
    answer = shopper.try_to_pay(invoice, **fields)

    assert answer.json()["message"] == message
    assert answer.status_code == (500 if "idempotency_key" in fields else 400)


def test_addresses_beside_the_metadata_are_kept_and_not_used(shopper: Shopper, invoice: Any) -> None:
    urls = {"success_url": "https://shop.test/a", "cancel_url": "https://shop.test/b"}

    payment = shopper.link(invoice, **urls, save_card_and_make_default=True)

    assert payment["gateway_metadata"].items() > urls.items()
    assert payment["save_card_and_make_default"] is True
    assert "metadata" not in payment


@pytest.mark.thorough
def test_an_overdue_invoice_is_told_of_at_each_read_of_the_summary(shopper: Shopper, invoice: Any) -> None:
    shopper.advance("20d")
    assert (
        shopper.get(f"/customers/{shopper.id}/invoices/summary")["summaries"][0]["overdue_invoice_count"] == 0
    )
    shopper.advance("20d")
    shopper.told()

    summary = shopper.get(f"/customers/{shopper.id}/invoices/summary")["summaries"][0]

    assert (summary["overdue_invoice_count"], summary["total_overdue_amount"]) == (2, "600")
    assert shopper.told() == ["invoice.payment.overdue"] * 2


@pytest.mark.thorough
def test_a_synced_invoice_has_a_page_that_dies_with_the_due_date(api: Any) -> None:
    shopper = Shopper(api, invoice_sync="on")
    invoice = shopper.invoices(shopper.subscribe(shopper.plan()))[0]
    payment = shopper.link(invoice)

    shopper.advance("40d")

    assert shopper.get(f"/payments/{payment['id']}")["payment_status"] == "FAILED"
