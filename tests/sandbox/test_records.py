"""/v1/subscriptions, invoices, payments and refunds: what a sale leaves behind."""

from typing import Any

import pytest


def test_a_set_up_fee_is_not_on_the_first_invoice(api: Any) -> None:
    api.customer()
    session = api.session("studio")

    invoice = api.get(f"/v1/invoices/{session['checkout_invoice_id']}").json()

    assert invoice["total"] == "2499"
    assert (invoice["invoice_status"], invoice["billing_reason"]) == ("DRAFT", "SUBSCRIPTION_CYCLE")
    assert [line["display_name"] for line in invoice["line_items"]] == ["Studio monthly"]


def test_subscriptions_are_searched_active_unless_asked(api: Any) -> None:
    api.customer()
    session = api.session(params={"metadata": {"order_ref": "r1"}})
    search = {"external_customer_id": "user-42"}

    assert api.post("/v1/subscriptions/search", search).json()["items"] == []
    (draft,) = api.post("/v1/subscriptions/search", search | {"subscription_status": ["draft"]}).json()[
        "items"
    ]
    assert (draft["metadata"], draft["customer"]) == ({"order_ref": "r1"}, None)
    assert "line_items" not in draft

    api.pay(session)
    (active,) = api.post("/v1/subscriptions/search", search).json()["items"]
    whole = api.get(f"/v1/subscriptions/{active['id']}").json()
    assert (whole["plan"]["name"], whole["customer"]["external_id"]) == ("Starter", "user-42")
    assert api.post("/v1/subscriptions/search", {"external_customer_id": "x"}).status_code == 404
    assert api.get("/v1/subscriptions/subs_1").json()["message"] == "Subscription not found"


def test_invoices_and_payments_are_read_after_the_sale(api: Any) -> None:
    api.customer()
    session = api.session()
    api.pay(session)

    found = api.post("/v1/invoices/search", {"external_customer_id": "user-42"}).json()
    payment = api.get(f"/v1/payments/{session['checkout_payment_id']}").json()

    assert found["pagination"]["offset"] == 0
    assert (found["items"][0]["payment_status"], found["items"][0]["amount_remaining"]) == ("SUCCEEDED", "0")
    assert found["items"][0]["invoice_number"].startswith("INV-")
    assert (payment["payment_status"], len(payment["attempts"])) == ("SUCCEEDED", 1)
    assert api.get("/v1/invoices/inv_1").json()["message"] == "invoice inv_1 not found"
    assert api.get("/v1/payments/pay_1").json()["details"] == {"payment_id": "pay_1"}


def test_a_subscription_has_its_plan_its_customer_and_its_lines(api: Any) -> None:
    api.customer()
    session = api.session("studio", params={"lookup_key": "mine", "metadata": {"order_ref": "r1"}})
    whole = api.get(f"/v1/subscriptions/{api.bill(session)['subscription_id']}").json()

    assert (whole["lookup_key"], whole["metadata"]) == ("mine", {"order_ref": "r1"})
    assert [line["price"]["amount"] for line in whole["line_items"]] == ["2499", "5000"]
    assert (whole["plan"]["name"], whole["customer"]["external_id"]) == ("Studio", "user-42")
    assert {price["amount"] for price in whole["plan"]["prices"]} == {"2499", "5000", "49", "99"}
    assert whole["cancel_at"] is whole["trial_end"] is None
    assert (whole["subscription_status"], whole["version"]) == ("draft", 1)


def test_advance_and_arrear_fees_are_on_the_first_invoice_and_usage_costs_nothing_yet(api: Any) -> None:
    fee = {"currency": "inr", "billing_period": "MONTHLY"}
    prices = [
        fee | {"amount": "100", "lookup_key": "a"},
        fee | {"amount": "20.5", "lookup_key": "b", "invoice_cadence": "ARREAR"},
        fee | {"amount": "3", "lookup_key": "c", "min_quantity": "4"},
        fee | {"amount": "9", "lookup_key": "d", "type": "USAGE"},
        fee | {"amount": "999", "lookup_key": "e", "billing_period": "ONETIME"},
        fee | {"amount": "777", "lookup_key": "f", "billing_period": "ANNUAL"},
        fee | {"amount": "5", "lookup_key": "g", "end_date": "2026-01-01T00:00:00Z"},
    ]
    api.stock("mixed", prices=prices)
    api.customer()

    invoice = api.bill(api.session("mixed"))

    assert (invoice["subtotal"], invoice["total"], invoice["amount_due"]) == ("132.5", "132.5", "132.5")
    assert [(line["amount"], line["quantity"]) for line in invoice["line_items"]] == [
        ("100", "1"),
        ("20.5", "1"),
        ("12", "4"),
        ("0", "0"),
    ]


def test_an_advance_line_is_about_the_period_after(api: Any) -> None:
    """Show the invoice's period, not the line's."""
    api.customer()

    invoice = api.bill(api.session())

    assert invoice["line_items"][0]["period_start"] == invoice["period_end"]


def test_a_subscription_that_ends_with_its_first_period_owes_no_advance(api: Any) -> None:
    fee = {"currency": "inr", "billing_period": "MONTHLY"}
    prices = [fee | {"amount": "100"}, fee | {"amount": "7", "lookup_key": "b", "invoice_cadence": "ARREAR"}]
    api.stock("short", prices=prices)
    api.customer()
    first_period = {"start_date": "2027-01-01T00:00:00Z", "end_date": "2027-02-01T00:00:00Z"}

    refused = api.post("/v1/checkout/sessions", api.asked(params=first_period))
    short = api.bill(api.session("short", params=first_period))
    longer = api.bill(api.session("short", params=first_period | {"end_date": "2027-02-02T00:00:00Z"}))

    assert (refused.status_code, refused.json()["message"]) == (400, "An unexpected error occurred")
    assert (short["total"], longer["total"]) == ("7", "107")


def test_dates_are_taken_as_they_are_asked_for(api: Any) -> None:
    api.customer()
    dates = {"start_date": "2027-01-31T10:00:00+05:30", "end_date": "2028-01-31T00:00:00Z"}

    subscription = api.bill(api.session(params=dates))["subscription"]

    assert subscription["start_date"] == "2027-01-31T04:30:00Z"
    assert subscription["current_period_end"] == "2027-02-28T04:30:00Z"
    assert subscription["end_date"] == "2028-01-31T00:00:00Z"


def test_a_trial_is_written_down_and_charged_all_the_same(api: Any) -> None:
    api.stock("tried", prices=[{"currency": "inr", "amount": "100", "trial_period_days": 14}])
    api.customer()

    session = api.session("tried", params={"start_date": "2027-01-01T00:00:00Z"})
    assert api.bill(session)["total"] == "100"
    api.pay(session)

    subscription = api.bill(session)["subscription"]
    assert subscription["subscription_status"] == "active"
    assert (subscription["trial_start"], subscription["trial_end"]) == (
        "2027-01-01T00:00:00Z",
        "2027-01-15T00:00:00Z",
    )


def test_trials_of_two_lengths_cannot_be_sold(api: Any) -> None:
    fee = {"currency": "inr", "billing_period": "MONTHLY", "amount": "100"}
    api.stock("tried", prices=[fee, fee | {"lookup_key": "b", "trial_period_days": 7}])
    api.customer()

    refused = api.post("/v1/checkout/sessions", api.asked("tried"))

    assert refused.status_code == 400
    assert refused.json()["message"] == (
        "Align trial_period_days on plan prices or override with subscription trial_period_days"
    )


def test_a_finalised_invoice_has_a_number_and_its_times(api: Any) -> None:
    api.customer()
    session = api.session()
    draft = api.bill(session)
    api.pay(session)
    paid = api.bill(session)

    assert (draft["invoice_number"], draft["invoice_status"], draft["payment_status"]) == (
        "",
        "DRAFT",
        "PENDING",
    )
    assert (paid["invoice_status"], paid["payment_status"]) == ("FINALIZED", "SUCCEEDED")
    assert paid["invoice_number"].endswith("-00001")
    assert (paid["amount_paid"], paid["amount_remaining"]) == ("499", "0")
    assert {"paid_at", "finalized_at", "customer", "subscription"} <= set(paid)


def test_a_payment_waits_until_it_succeeds_and_remembers_each_attempt(api: Any) -> None:
    api.customer()
    session = api.session()

    def payment() -> Any:
        return api.get(f"/v1/payments/{session['checkout_payment_id']}").json()

    assert (payment()["payment_status"], payment()["amount"]) == ("PENDING", "499")
    assert "attempts" not in payment()
    api.page(session, "decline")
    assert payment()["payment_status"] == "PENDING"
    api.pay(session)

    assert (payment()["payment_status"], payment()["payment_method_type"]) == ("SUCCEEDED", "PAYMENT_LINK")
    assert [attempt.get("error_message") for attempt in payment()["attempts"]] == [
        "Your payment was declined by the bank",
        None,
    ]
    assert payment()["gateway_payment_id"].startswith("pay_")


def late(api: Any, name: str) -> Any:
    api.customer(name)
    session = api.session(customer_external_id=name)
    api.advance("46m")
    assert api.post("/_sandbox/sweep").json()["expired"] == 1
    api.control("provider", action="pay", link=session["payment_action"]["url"])
    return session


@pytest.mark.thorough
def test_refunds_are_filtered_by_everything_the_sdk_can_ask_for(api: Any) -> None:
    one, two = late(api, "user-1"), late(api, "user-2")

    def ids(query: str) -> list[str]:
        return [refund["payment_id"] for refund in api.get(f"/v1/refunds?{query}").json()["items"]]

    first, second = one["checkout_payment_id"], two["checkout_payment_id"]
    assert ids("") == [second, first]
    assert ids(f"payment_ids={first}") == ids(f"invoice_ids={one['checkout_invoice_id']}") == [first]
    assert (
        ids(f"payment_ids={first},{second}")
        == ids(f"payment_ids={first}&payment_ids={second}")
        == [second, first]
    )
    assert ids("refund_statuses=FAILED") == ids("gateway=stripe") == []
    assert ids("refund_statuses=SUCCEEDED&refund_destinations=GATEWAY&only_settled=true&limit=1") == [second]
    assert api.get("/v1/refunds?limit=1&offset=1").json()["pagination"] == {
        "total": 2,
        "limit": 1,
        "offset": 2,
    }


@pytest.mark.parametrize(
    "query", ["limit=1001", "limit=-1", "limit=x", "offset=-1", "offset=99999999999999999999"]
)
def test_a_wrong_page_of_refunds_is_refused(api: Any, query: str) -> None:
    answer = api.get(f"/v1/refunds?{query}")

    assert (answer.status_code, answer.json()["message"]) == (400, "Invalid filter parameters")
