"""/v1/checkout/sessions: from the request to its end, each refusal word for word."""

from datetime import datetime
from typing import Any

import pytest

URL = "/v1/checkout/sessions"


def test_a_session_is_pending_and_says_where_to_pay(api: Any) -> None:
    customer = api.customer()
    session = api.session(idempotency_key="k1", metadata={"order": "1"})

    assert session["checkout_status"] == "pending"
    assert session["customer_id"] == customer["id"]
    assert session["metadata"] == {"order": "1"}
    assert session["payment_action"]["type"] == "payment_link"
    assert session["payment"]["status"] == "PENDING"
    assert (session["terminal"], session["stale"], session["next_poll_after_ms"]) == (False, False, 2000)
    times = [datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at")]
    assert (times[1] - times[0]).total_seconds() == 1500
    assert api.get("/v1/customers/external/user-42").json()["metadata"]["razorpay_customer_id"]


def test_a_read_within_two_seconds_of_another_is_stale(api: Any) -> None:
    api.customer()
    session = api.session()

    first, *others = [api.read(session) for _ in range(10)]  # a busy machine may be slower than that

    assert (first["stale"], first["next_poll_after_ms"]) == (False, 2000)
    assert any(read["stale"] for read in others)


FORMAT = "Invalid request format"
ACTIONS = ["create_subscription", "modify_subscription", "wallet_topup", "add_addon"]
METHODS = ["CARD", "ACH", "OFFLINE", "CREDITS", "PAYMENT_LINK", "UPI"]
UNSAID = "An unexpected error occurred"
LATER = {"start_date": "2027-02-01T00:00:00Z", "end_date": "2027-01-01T00:00:00Z"}


def provider(**config: Any) -> dict[str, Any]:
    return {"payment_provider_config": config}


def params(**changes: Any) -> dict[str, Any]:
    return {"params": changes}


REFUSED: list[tuple[dict[str, Any], str, Any]] = [
    ({"action": None}, FORMAT, None),
    ({"action": 7}, FORMAT, None),
    ({"customer_external_id": ""}, FORMAT, None),
    ({"payment_provider": ""}, FORMAT, None),
    ({"metadata": {"n": 1}}, FORMAT, None),
    ({"configuration": []}, FORMAT, None),
    ({"success_url": 1}, FORMAT, None),
    (params(metadata={"n": 1}), FORMAT, None),
    (params(start_date="tomorrow"), FORMAT, None),
    (params(start_date="2027-01-01"), FORMAT, None),
    (params(start_date="9999-12-31T00:00:00Z"), FORMAT, None),
    (params(start_date="0001-01-01T00:00:00+23:59"), FORMAT, None),
    (provider(max_mandate_limit="much"), FORMAT, None),
    (provider(max_mandate_limit=True), FORMAT, None),
    ({"action": "sell"}, f"Allowed values: {', '.join(ACTIONS)}", {"allowed_values": ACTIONS}),
    (
        {"action": "modify_subscription"},
        "Use POST /subscriptions/{id}/modify/execute with a checkout object instead",
        None,
    ),
    ({"action": "wallet_topup"}, "Use POST /wallets/{id}/top-up with a checkout object instead", None),
    ({"action": "add_addon"}, "Use POST /subscriptions/addon with a checkout object instead", None),
    (
        params(subscription_id="subs_1"),
        "Use POST /subscriptions with a checkout object to gate an existing draft subscription",
        None,
    ),
    ({"payment_provider": "stripe"}, "Allowed values: razorpay", {"allowed_values": ["razorpay"]}),
    ({"configuration": {}}, "Provide create_subscription_params in configuration", None),
    (
        {"configuration": {"create_subscription_params": {}}},
        "Provide a valid plan_id in create_subscription_params",
        None,
    ),
    (params(plan_id=""), "Provide a valid plan_id in create_subscription_params", None),
    (params(currency="RUPEE"), "Currency code must be 3 characters long", None),
    (params(currency=""), "Currency code must be 3 characters long", None),
    (
        params(billing_period=""),
        "Provide a valid billing_period in create_subscription_params (e.g. MONTHLY, ANNUAL)",
        None,
    ),
    (params(billing_period="monthly"), "Invalid billing period", {"billing_period": "monthly"}),
    (params(**LATER), "Ensure the subscription end date is on or after the start date", LATER),
    (
        provider(collection_method="x"),
        "Invalid collection method",
        {"collection_method": "x", "allowed_values": ["charge_automatically", "send_invoice"]},
    ),
    (provider(payment_method="upi"), "Please provide a valid payment method type", {"allowed": METHODS}),
    (provider(max_mandate_limit=0), UNSAID, None),
    (provider(max_mandate_limit="-1.5"), UNSAID, None),
]


@pytest.mark.parametrize(("change", "message", "details"), REFUSED)
def test_a_wrong_request_is_refused_before_the_customer_is_looked_up(
    api: Any, change: Any, message: str, details: Any
) -> None:
    answer = api.post(URL, api.asked(**change))

    envelope = {"code": "validation_error", "message": message, "http_status_code": 400}
    assert answer.status_code == 400
    assert answer.json() == envelope | ({"details": details} if details else {})
    assert api.told() == []


def test_a_missing_customer_is_404(api: Any) -> None:
    answer = api.post(URL, api.asked())

    assert answer.status_code == 404
    assert answer.json()["details"] == {"lookup_key": "user-42"}
    assert api.get("/_sandbox/sessions").json() == {"items": []}


@pytest.mark.parametrize(
    ("plan", "params", "status", "message"),
    [
        ("free", {}, 400, "An unexpected error occurred"),
        ("scale", {}, 400, "An unexpected error occurred"),
        ("starter", {"plan_id": "plan_1"}, 404, "Plan with ID plan_1 was not found"),
        (
            "starter",
            {"billing_period": "WEEKLY"},
            400,
            "The entity must have at least one price to create a subscription",
        ),
        ("starter", {"end_date": "2020-01-01T00:00:00Z"}, 400, "End date must be after start date"),
        ("starter", {"currency": "EUR"}, 400, "No prices match the subscription criteria"),
        ("starter", {"billing_period": "ONETIME"}, 400, "Invalid billing period type"),
    ],
)
def test_a_failed_create_leaves_a_failed_session_and_frees_the_key(
    api: Any, plan: str, params: Any, status: int, message: str
) -> None:
    api.customer()

    answer = api.post(URL, api.asked(plan, params=params, idempotency_key="k"))

    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert api.told()[-1] == "checkout.session.failed"
    assert api.session(idempotency_key="k")["checkout_status"] == "pending"


def test_a_zero_invoice_says_nothing_useful(api: Any) -> None:
    api.customer()

    answer = api.post(URL, api.asked("free")).json()

    assert answer == {
        "code": "validation_error",
        "message": "An unexpected error occurred",
        "http_status_code": 400,
    }
    (session,) = api.get("/_sandbox/sessions").json()["items"]
    assert session["failure_reason"] == "checkout requires a non-zero invoice; plan produced no charges"


def test_an_open_key_is_taken_for_everybody_until_the_session_ends(api: Any) -> None:
    api.customer()
    api.customer("user-43")
    session = api.session(idempotency_key="k")

    for customer in ("user-42", "user-43"):
        answer = api.post(URL, api.asked(customer_external_id=customer, idempotency_key="k"))
        assert answer.status_code == 409
        assert answer.json()["details"] == {"idempotency_key": "k"}

    api.post(f"{URL}/{session['id']}/cancel")
    assert api.session(idempotency_key="k")["id"] != session["id"]


def test_cancel_ends_an_open_session_and_only_that(api: Any) -> None:
    api.customer()
    session = api.session()

    cancelled = api.post(f"{URL}/{session['id']}/cancel")
    again = api.post(f"{URL}/{session['id']}/cancel")

    assert cancelled.status_code == 200
    assert (cancelled.json()["checkout_status"], cancelled.json()["terminal"]) == ("expired", True)
    assert not {"cancelled_at", "failure_reason"} & set(cancelled.json())
    assert (again.status_code, again.json()["checkout_status"]) == (200, "expired")
    assert api.told()[-1] == "checkout.session.expired"
    assert api.post(f"{URL}/cs_1/cancel").status_code == 404
    assert (
        api.get(f"/v1/invoices/{session['checkout_invoice_id']}").json()["message"]
        == "Subscription not found"
    )
    assert "cancelled" in api.page(session).text


def test_cancel_may_send_a_second_event(api: Any) -> None:
    api.switch(cancelled_event="on")
    api.customer()
    session = api.session()

    api.post(f"{URL}/{session['id']}/cancel")

    assert api.told()[-2:] == ["checkout.session.expired", "checkout.session.cancelled"]
    body = api.get("/_sandbox/messages").json()[-1]["body"]["checkout_session"]
    assert (body["checkout_status"], "cancelled_at" in body) == ("expired", True)


def test_a_completed_session_cannot_be_cancelled(api: Any) -> None:
    api.customer()
    session = api.session()
    api.pay(session)

    answer = api.post(f"{URL}/{session['id']}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    assert answer.json()["message"] == "A completed session cannot be cancelled"


def test_delete_expires_an_open_session_first(api: Any) -> None:
    api.customer()
    session = api.session(idempotency_key="k")

    assert api.call("DELETE", f"{URL}/{session['id']}").status_code == 204

    assert api.read(session)["checkout_status"] == "expired"
    assert api.told()[-1] == "checkout.session.expired"
    assert api.post(URL, api.asked(idempotency_key="k")).status_code == 201


def test_legacy_delete_hides_the_row_and_nothing_else(api: Any) -> None:
    api.switch(generation="legacy")
    api.customer()
    session = api.session(idempotency_key="k")

    for _ in range(2):
        assert api.call("DELETE", f"{URL}/{session['id']}").status_code == 204

    assert api.read(session)["checkout_status"] == "pending"
    assert api.post(URL, api.asked(idempotency_key="k")).status_code == 409
    assert api.pay(session).status_code == 303
    assert api.read(session)["checkout_status"] == "pending"
    assert api.call("DELETE", f"{URL}/cs_1").json()["message"] == (
        "checkout session cs_1 not found or already archived"
    )
    assert api.get(f"{URL}/cs_1").json()["message"] == "checkout session cs_1 not found"


def test_a_mandate_needs_a_telephone_number_and_upi_or_card(api: Any) -> None:
    api.customer()
    api.customer("user-43", contact="+919000000001")
    mandate = {"collection_method": "charge_automatically"}

    without = api.post(URL, api.asked(payment_provider_config=mandate))
    by_bank = api.asked(payment_provider_config=mandate | {"payment_method": "ACH"})
    session = api.session(customer_external_id="user-43", payment_provider_config=mandate)

    assert without.status_code == 500
    assert without.json()["details"] == {"error": "The contact field is required"}
    assert api.post(URL, by_bank).status_code == 501
    assert "close this page" in api.pay(session).text  # nobody sends the shopper back


MANDATE = {"collection_method": "charge_automatically"}


def test_a_session_is_told_in_order(api: Any) -> None:
    api.customer()
    session = api.session()
    first = api.told()
    api.pay(session)
    api.session()

    made = ["subscription.draft.created", "invoice.update", "checkout.session.initiated"]
    paid = ["invoice.update.finalized", "payment.updated", "invoice.update.payment", "subscription.activated"]
    assert first == ["customer.created", *made[:2], "customer.updated", "payment.updated", made[2]]
    later = [*made[:2], "payment.updated", made[2]]
    assert api.told()[6:] == [*paid, "checkout.session.completed", *later]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (params(plan_id="plan_1"), []),
        (params(currency="EUR"), []),
        (params(plan_id="free"), ["subscription.draft.created"]),
        (params(plan_id="tiny"), ["subscription.draft.created", "invoice.update", "customer.updated"]),
        (provider(**MANDATE, payment_method="ACH"), ["subscription.draft.created", "invoice.update"]),
    ],
)
def test_a_failed_create_tells_of_what_it_had_begun(api: Any, change: Any, told: list[str]) -> None:
    api.stock("tiny", prices=[{"currency": "inr", "amount": "0.99"}])
    api.customer(contact="+919000000001")
    named = change.get("params", {}).get("plan_id")
    if named in ("free", "tiny"):
        change = params(plan_id=api.plan(named)["id"])

    answer = api.post(URL, api.asked(**change))

    assert answer.status_code >= 400
    assert "cs_" not in answer.text
    assert api.told() == ["customer.created", *told, "checkout.session.failed"]


@pytest.mark.parametrize(("amount", "currency"), [("0.99", "inr"), ("0.5", "inr")])
def test_less_than_razorpay_takes_is_razorpays_refusal(api: Any, amount: str, currency: str) -> None:
    api.stock("tiny", prices=[{"currency": currency, "amount": amount}])
    api.customer()

    answer = api.post(URL, api.asked("tiny", params={"currency": currency}))

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["message"] == "Unable to create payment link in Razorpay"
    assert answer.json()["details"]["error"]
    (failed,) = api.get("/_sandbox/sessions").json()["items"]
    read = api.read(failed)
    assert (read["checkout_status"], read["terminal"]) == ("failed", True)
    assert {"checkout_invoice_id", "checkout_payment_id", "failure_reason"} <= set(read)
    assert "payment_action" not in read
    assert api.bill(read) == {
        "code": "not_found",
        "message": "Subscription not found",
        "http_status_code": 404,
    }


def test_the_smallest_amounts_are_taken(api: Any) -> None:
    api.stock("small", prices=[{"currency": "inr", "amount": "1"}, {"currency": "usd", "amount": "0.01"}])
    api.customer()

    for currency in ("inr", "USD"):
        assert api.session("small", params={"currency": currency})["checkout_status"] == "pending"


def test_a_long_key_is_the_databases_refusal_and_an_empty_one_is_a_key(api: Any) -> None:
    api.customer()

    refused = api.post(URL, api.asked(idempotency_key="k" * 256)).json()
    first = api.session(idempotency_key="")
    again = api.post(URL, api.asked(idempotency_key=""))

    assert (refused["code"], refused["message"]) == ("database_error", "checkout session creation failed")
    assert (first["idempotency_key"], again.status_code) == ("", 409)
    assert api.session()["checkout_status"] == api.session()["checkout_status"] == "pending"


def test_a_used_key_is_refused_only_after_the_customer_was_found(api: Any) -> None:
    api.customer()
    api.session(idempotency_key="k")

    answer = api.post(URL, api.asked(idempotency_key="k", customer_external_id="nobody"))

    assert answer.status_code == 404


@pytest.mark.parametrize("ending", ["pay", "cancel", "expire"])
def test_a_key_is_free_again_when_its_session_has_ended(api: Any, ending: str) -> None:
    api.customer()
    session = api.session(idempotency_key="k")
    if ending == "expire":
        api.advance("26m")
        api.post("/_sandbox/sweep")
    elif ending == "pay":
        api.pay(session)
    else:
        api.page(session, "cancel")

    assert api.session(idempotency_key="k")["id"] != session["id"]


def test_a_terminal_session_keeps_its_payment_action(api: Any) -> None:
    api.customer()
    paid, failed = api.session(), api.session()

    api.pay(paid)
    api.page(failed, "cancel")

    assert api.read(paid)["payment_action"] == paid["payment_action"]  # legacy removes it
    assert api.read(paid)["completed_at"]
    assert api.read(failed)["payment_action"] == failed["payment_action"]
    assert api.read(failed)["failure_reason"] == "payment link payment_link.cancelled by provider"


def test_only_the_create_answer_says_what_was_created(api: Any) -> None:
    api.customer()
    session = api.session()

    assert session["entity_creation_result"] == {"entity_id": session["id"], "status": "created"}
    assert "entity_creation_result" not in api.read(session)


def test_the_wait_before_the_next_read_grows_and_ends(api: Any) -> None:
    api.customer()
    session = api.session()
    waits = [session["next_poll_after_ms"]]
    for step in ("31s", "90s"):
        api.advance(step)
        waits.append(api.read(session)["next_poll_after_ms"])
    cancelled = api.post(f"{URL}/{session['id']}/cancel").json()

    assert [*waits, cancelled["next_poll_after_ms"]] == [2000, 5000, 10000, 0]
    assert (api.read(session)["next_poll_after_ms"], api.read(session)["stale"]) == (0, False)


@pytest.mark.parametrize(
    ("policy", "result"), [("reject", "failed_already_exists"), ("supersede", "superseded")]
)
def test_a_key_in_use_may_be_handed_back_or_superseded(api: Any, policy: str, result: str) -> None:
    api.switch(open_key="hand_back")
    api.customer()
    first = api.session(idempotency_key="k")
    options = {"entity_creation_conflict_policies": {"on_existing_entity": policy}}

    second = api.post(URL, api.asked(idempotency_key="k", entity_creation_options=options)).json()

    assert second["entity_creation_result"]["status"] == result
    assert (second["id"] == first["id"]) == (policy == "reject")
    assert api.read(first)["checkout_status"] == ("pending" if policy == "reject" else "expired")


def test_a_session_ends_with_the_sweep_and_not_with_its_time(api: Any) -> None:
    api.customer()
    session = api.session()
    api.advance("29m")
    assert api.read(session)["checkout_status"] == "pending"

    assert api.post("/_sandbox/sweep").json() == {"expired": 1}

    assert api.read(session)["checkout_status"] == "expired"
    assert "failure_reason" not in api.read(session)
    assert api.told()[-1] == "checkout.session.expired"
    subscriptions = api.found("/v1/subscriptions/search", subscription_status=["draft"])
    assert subscriptions == []


def test_a_deleted_session_that_was_paid_sells_nothing_and_expires_with_its_money(api: Any) -> None:
    api.switch(generation="legacy")
    api.customer()
    session = api.session()
    api.call("DELETE", f"{URL}/{session['id']}")
    assert api.told()[-1] == "checkout.session.initiated"

    api.pay(session)
    invoice = api.bill(session)

    assert (invoice["payment_status"], invoice["invoice_status"]) == ("SUCCEEDED", "DRAFT")
    assert invoice["subscription"]["subscription_status"] == "draft"
    assert api.told()[-2:] == ["payment.updated", "invoice.update.payment"]
    api.advance("26m")
    api.post("/_sandbox/sweep")
    assert api.read(session)["checkout_status"] == "expired"
    assert api.told()[-1] == "checkout.session.expired"
    assert api.bill(session)["message"] == "Subscription not found"
    payment = api.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert payment["payment_status"] == "SUCCEEDED"


def test_a_terminal_session_can_be_deleted_too(api: Any) -> None:
    api.customer()
    session = api.session()
    api.pay(session)

    assert api.call("DELETE", f"{URL}/{session['id']}").status_code == 204
    assert api.read(session)["checkout_status"] == "completed"


def test_an_aborted_create_leaves_a_stuck_session_and_a_link_that_takes_money(api: Any) -> None:
    api.customer()
    api.post("/_sandbox/faults", {"fault": "aborted"})
    api.post(URL, api.asked(idempotency_key="k"))

    (stuck,) = api.get("/_sandbox/sessions").json()["items"]
    read = api.read(stuck)
    assert (read["checkout_status"], read["terminal"]) == ("initiated", False)
    assert "payment_action" not in read
    assert "checkout_invoice_id" not in read
    assert api.post(URL, api.asked(idempotency_key="k")).status_code == 409
    assert "checkout.session.initiated" not in api.told()

    api.pay({"payment_action": {"url": stuck["url"]}})
    api.advance("26m")
    api.post("/_sandbox/sweep")

    (draft,) = api.found("/v1/subscriptions/search", subscription_status=["draft"])
    (invoice,) = api.found("/v1/invoices/search", subscription_id=draft["id"])
    assert (invoice["payment_status"], invoice["invoice_status"]) == ("SUCCEEDED", "DRAFT")
    assert api.read(stuck)["checkout_status"] == "expired"
    assert api.get("/v1/refunds").json()["items"] == []
    assert api.session(idempotency_key="k")["checkout_status"] == "pending"


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_completed_session_can_be_written_over(api: Any, status: str) -> None:
    api.customer()
    session = api.session()
    api.pay(session)
    subscription = api.bill(session)["subscription_id"]

    api.post(f"/_sandbox/sessions/{session['id']}/overwrite", {"status": status})

    read = api.read(session)
    assert (read["checkout_status"], read["payment_action"]) == (status, session["payment_action"])
    assert read["completed_at"]
    assert api.told()[-2:] == ["checkout.session.completed", f"checkout.session.{status}"]
    assert api.get(f"/v1/subscriptions/{subscription}").status_code == 404
    assert api.bill(session)["message"] == "Subscription not found"
    assert "subscription.cancelled" not in api.told()


def test_only_a_completed_session_is_written_over(api: Any) -> None:
    api.customer()
    session = api.session()

    assert api.post(f"/_sandbox/sessions/{session['id']}/overwrite", {"status": "failed"}).status_code == 404
    assert api.post(f"/_sandbox/sessions/{session['id']}/overwrite", {"status": "paid"}).status_code == 400


@pytest.mark.parametrize("end", ["cancelled", "not_paid_in_time"])
def test_a_session_that_ended_can_be_made_to_count(api: Any, end: str) -> None:
    api.customer()
    session = api.session()
    api.page(session, "outcome", outcome=end, delivery="normal")

    api.control(f"sessions/{session['id']}/repair")

    bill = api.bill(session)
    assert api.read(session)["checkout_status"] == "completed"
    assert (bill["payment_status"], bill["subscription"]["subscription_status"]) == ("SUCCEEDED", "active")
    assert api.told()[-1] == "checkout.session.completed"


def test_only_what_ended_unpaid_and_was_not_refunded_is_made_to_count(api: Any) -> None:
    api.customer()
    for outcome in ("pending", "paid", "paid_too_late"):
        session = api.session()
        api.page(session, "outcome", outcome=outcome, delivery="normal")
        assert api.post(f"/_sandbox/sessions/{session['id']}/repair").status_code == 404


def test_a_mandates_link_knows_no_way_back(api: Any) -> None:
    api.customer(contact="+919000000001")
    session = api.session(payment_provider_config=MANDATE | {"payment_method": "CARD"})

    assert "close this page" in api.pay(session).text
    assert api.read(session)["checkout_status"] == "completed"
    invoice = api.bill(session)
    assert invoice["subscription"]["collection_method"] == "charge_automatically"


def test_a_saved_mandate_leaves_nothing_to_open(api: Any) -> None:
    api.switch(mandates="no_action")
    api.customer(contact="+919000000001")

    session = api.session(payment_provider_config=MANDATE)

    assert session["checkout_status"] == "pending"
    assert "payment_action" not in session
    assert api.read(session)["checkout_status"] == "completed"
    usual = api.session()
    assert usual["payment_action"]["url"]
