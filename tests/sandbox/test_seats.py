"""Changes of quantity: at once, paid first, more and fewer."""

from typing import Any

import pytest

from .second_month import Shopper

CHECKOUT = {"payment_provider": "razorpay", "idempotency_key": "seats:1"}


@pytest.fixture
def shopper(api: Any) -> Shopper:
    return Shopper(api)


def modify(shopper: Shopper, subscription: Any, quantity: str, kind: str = "execute", **fields: Any) -> Any:
    lines = shopper.subscription(subscription)["line_items"]
    (line,) = [one for one in lines if one["end_date"].startswith("0001")]
    params = {"line_items": [{"id": line["id"], "quantity": quantity}]}
    body = {"type": "quantity_change", "quantity_change_params": params} | fields
    return shopper.post(f"/subscriptions/{subscription['id']}/modify/{kind}", body)


def quantity(shopper: Shopper, subscription: Any) -> str:
    lines = shopper.subscription(subscription)["line_items"]
    return str(next(one["quantity"] for one in lines if one["end_date"].startswith("0001")))


@pytest.mark.thorough
def test_more_seats_at_once_have_an_open_invoice_whose_link_works(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    shopper.advance("15d")
    shopper.told()

    (created,) = modify(shopper, subscription, "3").json()["changed_resources"]["invoices"]

    assert (created["invoice"]["total"], created["status"]) == ("300", "PENDING")
    assert quantity(shopper, subscription) == "3"
    assert shopper.told() == ["invoice.update", "invoice.update.finalized", "subscription.updated"]
    assert shopper.pay(created["invoice"])["payment_status"] == "SUCCEEDED"
    shopper.until("invoice_finalized", subscription)
    assert shopper.invoices(subscription)[-1]["total"] == "900"


@pytest.mark.thorough
def test_fewer_seats_are_credited_and_none_are_accepted(shopper: Shopper) -> None:
    plan = shopper.plan()
    price = shopper.get(f"/plans/{plan}")["prices"][0]["id"]
    subscription = shopper.subscribe(plan, override_line_items=[{"price_id": price, "quantity": "4"}])
    shopper.advance("15d")
    (quoted,) = modify(shopper, subscription, "2", "preview").json()["changed_resources"]["invoices"]

    (done,) = modify(shopper, subscription, "2", checkout=CHECKOUT).json()["changed_resources"]["invoices"]

    assert (quoted["id"], quoted["wallet_transaction"]["amount"]) == ("(preview-wallet-credit)", "300")
    assert (done["action"], done["wallet_transaction"]["amount"]) == ("wallet_credit", "300")
    assert modify(shopper, subscription, "0").status_code == 200
    assert quantity(shopper, subscription) == "0"


@pytest.mark.thorough
def test_paid_first_nothing_changes_until_then_or_ever(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    session = modify(shopper, subscription, "3", checkout=CHECKOUT).json()["checkout_session"]
    second = modify(shopper, subscription, "4", checkout=CHECKOUT | {"idempotency_key": "seats:2"})
    assert second.json()["details"]["checkout_session_id"] == session["id"]

    shopper.until("session_expiry", session)
    assert quantity(shopper, subscription) == "1"
    assert shopper.subscription(subscription)["subscription_status"] == "active"

    session = modify(shopper, subscription, "3", checkout=CHECKOUT).json()["checkout_session"]
    shopper.told()
    shopper.api.control("provider", action="pay", link=session["payment_action"]["url"])
    assert quantity(shopper, subscription) == "3"
    told = ["invoice.update.finalized", "payment.updated", "invoice.update.payment"]
    assert shopper.told() == [*told, "subscription.updated", "checkout.session.completed"]


def test_a_change_over_an_open_session_raises_its_draft_and_the_old_link_pays_it(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    session = modify(shopper, subscription, "3", checkout=CHECKOUT).json()["checkout_session"]
    before = shopper.invoice(session["checkout_invoice_id"])

    (raised,) = modify(shopper, subscription, "2").json()["changed_resources"]["invoices"]

    assert (raised["id"], raised["invoice"]["invoice_status"]) == (before["id"], "DRAFT")
    assert float(raised["invoice"]["total"]) > float(before["total"])
    shopper.api.control("provider", action="pay", link=session["payment_action"]["url"])
    paid = shopper.invoice(before["id"])
    assert (paid["payment_status"], paid["amount_remaining"]) == ("SUCCEEDED", "0")
    assert quantity(shopper, subscription) == "2"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "nothing"}, "Valid values: inheritance"),
        ({"type": "coupon", "checkout": CHECKOUT}, "checkout is only allowed for [quantity_change addon]"),
        ({"quantity_change_params": {}}, "Invalid request format"),
        ({"quantity_change_params": None}, "An unexpected error occurred"),
        ({"quantity_change_params": {"line_items": [{"quantity": "2"}]}}, "Each line_item entry must have"),
        ({"quantity_change_params": {"line_items": [{"id": "x", "quantity": "-1"}]}}, "Quantity cannot be"),
    ],
)
def test_what_is_refused(shopper: Shopper, fields: Any, message: str) -> None:
    answer = modify(shopper, shopper.subscribe(shopper.plan()), "2", **fields)

    assert (answer.status_code, answer.json()["message"][: len(message)]) == (400, message)


def test_only_active_subscriptions_have_their_seats_changed(shopper: Shopper) -> None:
    answer = modify(shopper, shopper.subscribe(shopper.plan(trial_period_days=7)), "2").json()

    assert answer["message"] == "Only active subscriptions can have quantity changes applied"
