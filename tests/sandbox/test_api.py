"""Each endpoint and each refusal, over HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

URL = "/v1/checkout/sessions"


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "Unauthorized"),
        ({"x-api-key": "wrong"}, "Unauthorized"),
        ({"Authorization": "sk_sandbox_tests"}, "Invalid authorization header format"),
        ({"Authorization": "Bearer sk_sandbox_tests"}, "Invalid token"),
    ],
)
def test_only_the_api_key_header_opens_the_door(sandbox: Any, headers: dict[str, str], error: str) -> None:
    response = sandbox.get("/v1/plans/x", headers=headers)

    assert (response.status_code, response.json()) == (401, {"error": error})


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/nowhere"), ("PUT", "/v1/customers"), ("GET", "/v1/plans")]
)
def test_an_unknown_route_is_plain_text_before_any_key(sandbox: Any, method: str, path: str) -> None:
    response = sandbox.call(method, path, headers={})

    assert (response.status_code, response.text) == (404, "404 page not found")
    assert response.headers["Content-Type"].startswith("text/plain")


def test_every_answer_carries_a_request_id(sandbox: Any) -> None:
    assert sandbox.get("/v1/plans/x", headers={"X-Request-ID": "mine"}).headers["X-Request-ID"] == "mine"
    assert len(sandbox.get("/nowhere").headers["X-Request-ID"]) == 26


def test_a_customer_is_made_once_and_found_twice(sandbox: Any) -> None:
    made = sandbox.post("/v1/customers", {"external_id": "user-42", "name": "Asha", "currency": "INR"})
    again = sandbox.post("/v1/customers", {"external_id": "user-42", "name": "Asha"})

    assert made.status_code == 201
    assert again.status_code == 409
    assert again.json() == {
        "code": "already_exists",
        "message": "A customer with this identifier already exists",
        "http_status_code": 409,
        "details": {"external_id": "user-42"},
    }
    assert sandbox.get("/v1/customers/external/user-42").json() == made.json()
    assert sandbox.get(f"/v1/customers/{made.json()['id']}").json() == made.json()


def test_an_unknown_customer_is_named_in_the_refusal(sandbox: Any) -> None:
    by_key = sandbox.get("/v1/customers/external/user-1")

    assert by_key.status_code == 404
    assert by_key.json()["message"] == "Customer with lookup key user-1 was not found"
    assert by_key.json()["details"] == {"lookup_key": "user-1"}
    assert sandbox.get("/v1/customers/cust_1").json()["details"] == {"customer_id": "cust_1"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"external_id": "u"}, "Name"),
        ({"name": "A"}, "ExternalID"),
        ({"external_id": "u", "name": "A", "email": "nobody"}, "Email"),
        ({"external_id": "u", "name": "A", "address_country": "in"}, "AddressCountry"),
        ({"external_id": "u", "name": "A", "contact": "1" * 21}, "Contact"),
    ],
)
def test_a_broken_customer_rule_is_told_in_go_names(sandbox: Any, body: Any, field: str) -> None:
    answer = sandbox.post("/v1/customers", body)

    assert answer.status_code == 400
    assert answer.json()["message"] == "Request validation failed"
    assert list(answer.json()["details"]) == [field]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/customers",
        "/v1/plans/search",
        "/v1/prices/search",
        URL,
        "/v1/subscriptions/search",
        "/v1/invoices/search",
    ],
)
@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b"null", b"[" * 5000, b'{"name":"\\ud800"}']
)
def test_garbage_is_refused_with_an_envelope(sandbox: Any, path: str, garbage: bytes) -> None:
    answer = sandbox.post(path, data=garbage)

    assert answer.status_code == 400
    assert answer.json()["code"] == "validation_error"


def test_plans_come_bare_unless_expanded(sandbox: Any) -> None:
    bare = sandbox.post("/v1/plans/search", {}).json()

    assert "prices" not in bare["items"][0]
    assert bare["pagination"] == {"total": 7, "limit": 50, "offset": 50}
    team = sandbox.plan("team")
    assert {price["currency"] for price in team["prices"]} == {"inr", "usd"}
    assert team["entitlements"][0]["feature"]["name"] == "E-mails"
    assert sandbox.get(f"/v1/plans/{team['id']}").json()["prices"] == team["prices"]
    assert sandbox.get("/v1/plans/plan_1").json()["details"] == {"plan_id": "plan_1"}


def test_a_year_is_cheaper_than_twelve_months(sandbox: Any) -> None:
    for name in ("starter", "team", "business"):
        amounts = {p["billing_period"]: Decimal(p["amount"]) for p in sandbox.plan(name)["prices"]}
        assert amounts["ANNUAL"] < 12 * amounts["MONTHLY"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/plans/search", "Invalid filter parameters"),
        ("/v1/subscriptions/search", "Please provide valid filter parameters"),
        ("/v1/invoices/search", "invalid query filter"),
    ],
)
def test_a_page_is_at_most_a_thousand(sandbox: Any, path: str, message: str) -> None:
    answer = sandbox.post(path, {"limit": 1001}).json()

    assert (answer["message"], answer["details"]) == (message, {"limit": "must be between 1 and 1000"})


def test_prices_are_found_by_entity_and_not_by_plan(sandbox: Any) -> None:
    plan = sandbox.plan("studio")

    found = sandbox.post("/v1/prices/search", {"entity_type": "PLAN", "entity_ids": [plan["id"]]}).json()
    ignored = sandbox.post("/v1/prices/search", {"plan_ids": [plan["id"]]}).json()

    assert found["items"] == plan["prices"]
    assert ignored["pagination"]["total"] > found["pagination"]["total"]
    assert sandbox.post("/v1/prices/search", {"expand": "x"}).json()["details"] == {"field": "x"}


def test_a_session_is_pending_and_says_where_to_pay(sandbox: Any) -> None:
    customer = sandbox.customer()
    session = sandbox.session(idempotency_key="k1", metadata={"order": "1"})

    assert session["checkout_status"] == "pending"
    assert session["customer_id"] == customer["id"]
    assert session["metadata"] == {"order": "1"}
    assert session["payment_action"]["type"] == "payment_link"
    assert session["payment"]["status"] == "INITIATED"
    assert (session["terminal"], session["stale"], session["next_poll_after_ms"]) == (False, False, 0)
    times = [datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at")]
    assert (times[1] - times[0]).total_seconds() == 900
    assert sandbox.get("/v1/customers/external/user-42").json()["metadata"]["razorpay_customer_id"]


def test_a_second_read_within_a_second_is_stale(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()

    first, second = sandbox.read(session), sandbox.read(session)

    assert (first["stale"], first["next_poll_after_ms"]) == (False, 2000)
    assert second["stale"] is True


REFUSED = [
    ({"action": None}, "Invalid request format"),
    ({"action": 7}, "Invalid request format"),
    ({"metadata": {"n": 1}}, "Invalid request format"),
    ({"configuration": []}, "Invalid request format"),
    (
        {"action": "sell"},
        "Allowed values: create_subscription, modify_subscription, wallet_topup, add_addon",
    ),
    ({"payment_provider": "stripe"}, "Allowed values: razorpay"),
    ({"configuration": {}}, "Provide create_subscription_params in configuration"),
    ({"params": {"plan_id": ""}}, "Provide a valid plan_id in create_subscription_params"),
    ({"params": {"currency": "RUPEE"}}, "Currency code must be 3 characters long"),
    (
        {"params": {"billing_period": ""}},
        "Provide a valid billing_period in create_subscription_params (e.g. MONTHLY, ANNUAL)",
    ),
    ({"params": {"billing_period": "monthly"}}, "Invalid billing period"),
    ({"payment_provider_config": {"collection_method": "x"}}, "Invalid collection method"),
    ({"payment_provider_config": {"payment_method": "upi"}}, "Please provide a valid payment method type"),
    ({"payment_provider_config": {"max_mandate_limit": 0}}, "An unexpected error occurred"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_a_wrong_request_is_refused_before_the_customer_is_looked_up(
    sandbox: Any, change: Any, message: str
) -> None:
    answer = sandbox.post(URL, sandbox.asked(**change))

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    assert answer.json()["message"] == message


def test_a_missing_customer_is_404(sandbox: Any) -> None:
    answer = sandbox.post(URL, sandbox.asked())

    assert answer.status_code == 404
    assert answer.json()["details"] == {"lookup_key": "user-42"}
    assert sandbox.get("/_sandbox/sessions").json() == {"items": []}


@pytest.mark.parametrize(
    ("plan", "params", "status", "message"),
    [
        ("free", {}, 400, "An unexpected error occurred"),
        ("pay_as_you_go", {}, 400, "An unexpected error occurred"),
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
    sandbox: Any, receiver: Any, plan: str, params: Any, status: int, message: str
) -> None:
    sandbox.customer()

    answer = sandbox.post(URL, sandbox.asked(plan, params=params, idempotency_key="k"))
    sandbox.deliver()

    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert receiver.types[-1] == "checkout.session.failed"
    assert sandbox.session(idempotency_key="k")["checkout_status"] == "pending"


def test_a_zero_invoice_says_nothing_useful(sandbox: Any) -> None:
    sandbox.customer()

    answer = sandbox.post(URL, sandbox.asked("free")).json()

    assert answer == {
        "code": "validation_error",
        "message": "An unexpected error occurred",
        "http_status_code": 400,
    }
    (session,) = sandbox.get("/_sandbox/sessions").json()["items"]
    assert session["failure_reason"] == "checkout requires a non-zero invoice; plan produced no charges"


def test_an_open_key_is_taken_for_everybody_until_the_session_ends(sandbox: Any) -> None:
    sandbox.customer()
    sandbox.customer("user-43")
    session = sandbox.session(idempotency_key="k")

    for customer in ("user-42", "user-43"):
        answer = sandbox.post(URL, sandbox.asked(customer_external_id=customer, idempotency_key="k"))
        assert answer.status_code == 409
        assert answer.json()["details"] == {"idempotency_key": "k"}

    sandbox.post(f"{URL}/{session['id']}/cancel")
    assert sandbox.session(idempotency_key="k")["id"] != session["id"]


def test_cancel_ends_an_open_session_and_only_that(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()

    cancelled = sandbox.post(f"{URL}/{session['id']}/cancel")
    again = sandbox.post(f"{URL}/{session['id']}/cancel")

    assert cancelled.status_code == 200
    assert (cancelled.json()["checkout_status"], cancelled.json()["terminal"]) == ("failed", True)
    assert cancelled.json()["cancelled_at"]
    assert (again.status_code, again.json()["code"]) == (400, "invalid_operation")
    assert sandbox.post(f"{URL}/cs_1/cancel").status_code == 404
    assert (
        sandbox.get(f"/v1/invoices/{session['checkout_invoice_id']}").json()["message"]
        == "Subscription not found"
    )
    assert "cancelled" in sandbox.page(session).text


def test_delete_hides_the_row_and_nothing_else(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session(idempotency_key="k")

    for _ in range(2):
        assert sandbox.call("DELETE", f"{URL}/{session['id']}").status_code == 204

    assert sandbox.read(session)["checkout_status"] == "pending"
    assert sandbox.post(URL, sandbox.asked(idempotency_key="k")).status_code == 409
    assert sandbox.pay(session).status_code == 303
    assert sandbox.read(session)["checkout_status"] == "pending"
    assert sandbox.call("DELETE", f"{URL}/cs_1").json()["message"] == (
        "checkout session cs_1 not found or already archived"
    )
    assert sandbox.get(f"{URL}/cs_1").json()["message"] == "checkout session cs_1 not found"


def test_a_set_up_fee_is_not_on_the_first_invoice(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session("studio")

    invoice = sandbox.get(f"/v1/invoices/{session['checkout_invoice_id']}").json()

    assert invoice["total"] == "2499"
    assert (invoice["invoice_status"], invoice["billing_reason"]) == ("DRAFT", "SUBSCRIPTION_CYCLE")
    assert [line["display_name"] for line in invoice["line_items"]] == ["Studio monthly"]


def test_subscriptions_are_searched_active_unless_asked(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session(params={"metadata": {"order_ref": "r1"}})
    search = {"external_customer_id": "user-42"}

    assert sandbox.post("/v1/subscriptions/search", search).json()["items"] == []
    (draft,) = sandbox.post("/v1/subscriptions/search", search | {"subscription_status": ["draft"]}).json()[
        "items"
    ]
    assert (draft["metadata"], draft["customer"]) == ({"order_ref": "r1"}, None)
    assert "line_items" not in draft

    sandbox.pay(session)
    (active,) = sandbox.post("/v1/subscriptions/search", search).json()["items"]
    whole = sandbox.get(f"/v1/subscriptions/{active['id']}").json()
    assert (whole["plan"]["name"], whole["customer"]["external_id"]) == ("Starter", "user-42")
    assert sandbox.post("/v1/subscriptions/search", {"external_customer_id": "x"}).status_code == 404
    assert sandbox.get("/v1/subscriptions/subs_1").json()["message"] == "Subscription not found"


def test_invoices_and_payments_are_read_after_the_sale(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.pay(session)

    found = sandbox.post("/v1/invoices/search", {"external_customer_id": "user-42"}).json()
    payment = sandbox.get(f"/v1/payments/{session['checkout_payment_id']}").json()

    assert found["pagination"]["offset"] == 0
    assert (found["items"][0]["payment_status"], found["items"][0]["amount_remaining"]) == ("SUCCEEDED", "0")
    assert found["items"][0]["invoice_number"].startswith("INV-")
    assert (payment["payment_status"], len(payment["attempts"])) == ("SUCCEEDED", 1)
    assert sandbox.get("/v1/invoices/inv_1").json()["message"] == "invoice inv_1 not found"
    assert sandbox.get("/v1/payments/pay_1").json()["details"] == {"payment_id": "pay_1"}


def test_a_mandate_needs_a_telephone_number_and_upi_or_card(sandbox: Any) -> None:
    sandbox.customer()
    sandbox.customer("user-43", contact="+919000000001")
    mandate = {"collection_method": "charge_automatically"}

    without = sandbox.post(URL, sandbox.asked(payment_provider_config=mandate))
    by_bank = sandbox.asked(payment_provider_config=mandate | {"payment_method": "ACH"})
    session = sandbox.session(customer_external_id="user-43", payment_provider_config=mandate)

    assert without.status_code == 500
    assert without.json()["details"] == {"error": "The contact field is required"}
    assert sandbox.post(URL, by_bank).status_code == 501
    assert "close this page" in sandbox.pay(session).text  # nobody sends the shopper back
