"""From the click to the payment page: one order, one session, one call."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import requests

from storefront.checkout.states import State
from storefront.models import Order

PAY = "http://127.0.0.1:8001/pay/abc"
API = "http://127.0.0.1:8001/v1"
SESSIONS = ("POST", "/checkout/sessions")
SUBSCRIPTIONS = ("POST", "/subscriptions/search")
NONE_FOUND = {"items": [], "pagination": {"total": 0}}
CUSTOMER_MISSING = {
    "code": "not_found",
    "message": "Customer with lookup key x was not found",
    "details": {"lookup_key": "x"},
}


def creates(shop: Any) -> list[int]:
    return [number for number, call in enumerate(shop.calls) if call == SESSIONS]


def order_page(order: Any) -> str:
    return f"/orders/{order.ref}/failure"


def no_answer(shop: Any, method: str, path: str, error: Exception) -> None:
    shop.mock.add(method, API + path, body=error)


def test_click_leads_to_the_payment_page(shop: Any, buy: Any, the_order: Any) -> None:
    shop.opens()
    answer = buy()
    assert (answer.status_code, answer.location) == (303, PAY)
    order = the_order()
    assert order.state == State.AWAITING_PAYMENT
    ids = (order.session_id, order.flexprice_customer_id, order.invoice_id, order.payment_id)
    assert ids == ("cs_01", "cust_01", "inv_01", "pay_01")


def test_known_customer_costs_one_call(shop: Any, buy: Any, the_order: Any) -> None:
    shop.opens()
    buy()
    order = the_order()
    assert shop.calls == [("POST", "/plans/search"), SESSIONS]
    assert shop.mock.calls[-1].request.headers["x-api-key"] == "sk_of_a_test"
    home = f"http://127.0.0.1:8000/orders/{order.ref}"
    assert shop.sent() == {
        "customer_external_id": order.customer_key,
        "action": "create_subscription",
        "payment_provider": "razorpay",
        "configuration": {
            "create_subscription_params": {
                "plan_id": "plan_01",
                "currency": "inr",
                "billing_period": "MONTHLY",
                "metadata": {"order_ref": order.ref},
            }
        },
        "success_url": f"{home}/success",
        "failure_url": f"{home}/failure",
        "cancel_url": f"{home}/failure",
        "idempotency_key": order.ref,
        "metadata": {"order_ref": order.ref},
    }
    assert len(order.ref) == 32


def test_amount_comes_from_the_catalog(shop: Any, buy: Any, the_order: Any) -> None:
    shop.opens()
    buy(amount="1", price="1")
    assert the_order().amount == 499


def test_second_click_continues_the_first_order(shop: Any, buy: Any, rows: Any) -> None:
    shop.opens()
    assert [buy().location for _ in range(3)] == [PAY] * 3
    assert len(rows(Order)) == len(creates(shop)) == 1


def test_signed_out_buyer_signs_in_with_the_choice_kept(browser: Any, rows: Any) -> None:
    answer = browser.post("/checkout", plan="plan_01", currency="inr", billing_period="MONTHLY")
    assert answer.status_code == 303
    assert answer.location.startswith("/sign-in?next=/plans/plan_01")
    assert "MONTHLY" in answer.location
    assert rows(Order) == []


@pytest.mark.parametrize(
    "tampered",
    [
        {"plan": "plan_99"},
        {"plan": "../x"},
        {"currency": "usd"},
        {"currency": ""},
        {"billing_period": "DAILY"},
    ],
)
def test_unknown_offer_is_not_found(shop: Any, buy: Any, rows: Any, tampered: dict[str, str]) -> None:
    assert buy(**tampered).status_code == 404
    assert rows(Order) == []


@pytest.mark.parametrize(
    "field", [{"plan": ""}, {"plan": "\x00"}, {"plan": "x" * 256}, {"plan": "a\nb"}, {"currency": "\x00"}]
)
def test_unusable_field_is_refused(buy: Any, rows: Any, field: dict[str, str]) -> None:
    assert buy(**field).status_code == 400
    assert rows(Order) == []


def test_shop_without_prices_sells_nothing(flexprice: Any, buy: Any, rows: Any) -> None:
    flexprice.answer("POST", "/plans/search", {"error": "down"}, 503)
    answer = buy()
    assert answer.status_code == 503
    assert "did not charge you" in answer.text
    assert rows(Order) == []


def test_refused_offer_is_not_sold(flexprice: Any, buy: Any, rows: Any) -> None:
    flexprice.sells(flexprice.plan(flexprice.price("0")))
    assert buy().status_code == 422
    assert rows(Order) == []


def test_other_period_waits_for_the_open_order(shop: Any, buy: Any, the_order: Any) -> None:
    shop.opens()
    buy()
    answer = buy(billing_period="ANNUAL")
    assert answer.location.startswith(order_page(the_order()))
    assert the_order().billing_period == "MONTHLY"


@pytest.mark.parametrize("state", [State.PAID, State.FULFILLED, State.HELD, State.STUCK])
def test_paid_plan_is_not_sold_again(shop: Any, buy: Any, add_order: Any, asha: Any, state: State) -> None:
    ref = add_order(state=state)
    assert buy().location == f"/orders/{ref}/success"


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED])
def test_trying_again_is_a_new_order(
    shop: Any, buy: Any, add_order: Any, rows: Any, asha: Any, state: State
) -> None:
    add_order(state=state)
    shop.opens()
    assert buy().location == PAY
    first, second = rows(Order)
    assert (first.state, second.state) == (state, State.AWAITING_PAYMENT)
    assert first.ref != second.ref


def test_reprices_an_order_without_a_session(shop: Any, buy: Any, add_order: Any, the_order: Any) -> None:
    add_order(amount_text="399")
    shop.opens()
    assert buy().location == PAY
    assert the_order().amount == 499


# -- when Flexprice says something else -------------------------------------------------------------


def test_conflict_waits_for_the_open_session(shop: Any, buy: Any, asha: Any, the_order: Any) -> None:
    shop.answer(*SESSIONS, {"code": "already_exists", "message": "already exists"}, 409)
    answer = buy()
    order = the_order()
    assert (answer.status_code, answer.location) == (303, order_page(order))
    assert (order.state, order.session_id) == (State.PLACED, None)
    assert 'data-phase="preparing"' in asha.get(answer.location).text
    buy()
    assert len(creates(shop)) == 1  # never a blind second one


@pytest.mark.parametrize("error", [requests.ReadTimeout(), requests.ConnectionError("hung up")])
def test_lost_answer_is_never_repeated_blindly(shop: Any, buy: Any, the_order: Any, error: Exception) -> None:
    no_answer(shop, *SESSIONS, error)
    assert buy().location == order_page(the_order())
    assert buy().location == order_page(the_order())
    assert len(creates(shop)) == 1
    assert the_order().state == State.PLACED


def test_unreadable_answer_is_a_lost_answer(shop: Any, buy: Any, the_order: Any) -> None:
    shop.answer(*SESSIONS, {"surprise": True}, 201)
    assert buy().location == order_page(the_order())
    assert (the_order().state, len(creates(shop))) == (State.PLACED, 1)
    assert the_order().session_requested_at is not None


def test_second_click_gets_the_page_at_once(shop: Any, buy: Any, the_order: Any) -> None:
    """While the first click waits for Flexprice's answer."""
    arrived, go_on = threading.Event(), threading.Event()

    def slowly(_request: Any) -> tuple[int, dict[str, str], str]:
        arrived.set()
        assert go_on.wait(30)
        return 503, {}, "{}"

    shop.mock.add_callback("POST", f"{API}/checkout/sessions", slowly)
    first = threading.Thread(target=buy)
    first.start()
    assert arrived.wait(30)
    assert buy().location == order_page(the_order())
    go_on.set()
    first.join(30)
    assert len(creates(shop)) == 1


REFUSED_BY_PROVIDER = {
    "code": "validation_error",
    "message": "Unable to create customer in Razorpay",
    "http_status_code": 400,
    "details": {"customer_id": "cust_01", "error": "server error"},
}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, {"error": "later"}) for status in (429, 500, 502, 503, 401, 403)),
        (400, REFUSED_BY_PROVIDER),
        (500, REFUSED_BY_PROVIDER),
        (500, {"code": "internal_error", "message": "Unable to create payment link in Razorpay"}),
    ],
)
def test_refused_create_is_tried_again(
    shop: Any, buy: Any, asha: Any, the_order: Any, status: int, body: dict[str, Any]
) -> None:
    """It is no failed payment: nothing was tried, and the key may be used again.

    Kind: a refusal of create is no refusal of the payment.
    """
    shop.answer(*SESSIONS, body, status)
    answer = buy()
    order = the_order()
    assert answer.location == order_page(order)
    assert (order.state, order.session_requested_at) == (State.PLACED, None)
    assert order.next_attempt_at is not None
    page = asha.get(order_page(order)).text
    assert 'data-phase="unopened"' in page
    assert "Payment failed" not in page

    shop.answer(*SUBSCRIPTIONS, NONE_FOUND)  # it looks first: perhaps it was paid unnoticed
    shop.opens()
    assert buy().location == PAY
    assert [shop.sent(number)["idempotency_key"] for number in creates(shop)] == [order.ref] * 2


def test_worker_opens_what_the_click_could_not(
    shop: Any, buy: Any, the_order: Any, work: Any, pass_time: Any
) -> None:
    shop.answer(*SESSIONS, {"error": "later"}, 503)
    buy()
    work()
    assert len(creates(shop)) == 1  # not yet due
    pass_time(timedelta(seconds=15))
    shop.answer(*SUBSCRIPTIONS, NONE_FOUND)
    shop.opens()
    shop.answer("GET", "/checkout/sessions/cs_01", shop.session())
    shop.answer("GET", "/invoices/inv_01", {"error": "down"}, 503)
    work()
    assert (the_order().state, the_order().payment_url) == (State.AWAITING_PAYMENT, PAY)


def test_create_is_given_up_after_ten_attempts(
    shop: Any, buy: Any, the_order: Any, work: Any, pass_time: Any
) -> None:
    shop.answer(*SESSIONS, {"error": "later"}, 503)
    shop.answer(*SUBSCRIPTIONS, NONE_FOUND)
    buy()
    for _ in range(12):
        pass_time(timedelta(hours=1))
        work()
    order = the_order()
    assert order.state == State.FAILED
    assert "did not open a session: 503" in order.review_note
    assert len(creates(shop)) == 10


def test_payment_of_an_earlier_request_is_found(shop: Any, buy: Any, the_order: Any) -> None:
    """Behind an answer such as 502 a session may have been made, and paid."""
    shop.answer(*SESSIONS, {"error": "bad gateway"}, 502)
    buy()
    paid = shop.subscription(metadata={"order_ref": the_order().ref})
    shop.answer(*SUBSCRIPTIONS, {"items": [paid], "pagination": {"total": 1}})
    assert buy().location == order_page(the_order())
    assert len(creates(shop)) == 1
    assert the_order().state == State.PAID


def test_unreadable_subscriptions_exclude_nothing(shop: Any, buy: Any, the_order: Any) -> None:
    shop.answer(*SESSIONS, {"error": "bad gateway"}, 502)
    buy()
    shop.answer(
        *SUBSCRIPTIONS, {"items": [{"id": "subs_odd"}, shop.subscription()], "pagination": {"total": 2}}
    )
    buy()
    assert len(creates(shop)) == 1
    assert the_order().state == State.PLACED


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"code": "validation_error", "message": "their own <words>"}),
        (
            404,
            {
                "code": "not_found",
                "message": "Plan with ID plan_01 was not found",
                "details": {"plan_id": "x"},
            },
        ),
    ],
)
def test_final_refusal_ends_the_order(
    shop: Any, buy: Any, asha: Any, the_order: Any, status: int, body: dict[str, Any]
) -> None:
    shop.answer(*SESSIONS, body, status)
    page = asha.get(buy().location).text
    assert the_order().state == State.FAILED
    assert 'data-phase="not_opened"' in page
    assert "their own" not in page
    assert "Payment failed" not in page


def test_unknown_customer_is_created_once(shop: Any, buy: Any, the_order: Any) -> None:
    shop.answer(*SESSIONS, CUSTOMER_MISSING, 404)
    shop.answer("POST", "/customers", shop.customer(), 201)
    shop.opens()
    assert buy().location == PAY
    assert shop.calls[1:] == [SESSIONS, ("POST", "/customers"), SESSIONS]
    assert shop.sent(2) == {
        "external_id": the_order().customer_key,
        "name": "Asha Rao",
        "email": "asha@example.com",
    }


def test_customer_that_exists_already_is_fine(shop: Any, buy: Any) -> None:
    shop.answer(*SESSIONS, CUSTOMER_MISSING, 404)
    shop.answer("POST", "/customers", {"code": "already_exists", "message": "exists"}, 409)
    shop.opens()
    assert buy().location == PAY


def test_customer_that_stays_unknown_ends_the_order(shop: Any, buy: Any, the_order: Any) -> None:
    shop.answer(*SESSIONS, CUSTOMER_MISSING, 404)
    shop.answer("POST", "/customers", shop.customer(), 201)
    shop.answer(*SESSIONS, CUSTOMER_MISSING, 404)
    buy()
    assert len(creates(shop)) == 2
    assert the_order().state == State.FAILED


def test_lost_answer_about_the_customer_opens_nothing(shop: Any, buy: Any, the_order: Any) -> None:
    shop.answer(*SESSIONS, CUSTOMER_MISSING, 404)
    no_answer(shop, "POST", "/customers", requests.ReadTimeout())
    buy()
    assert len(creates(shop)) == 1
    assert the_order().session_requested_at is None


def test_order_names_the_customer_only_until_settled(shop: Any, buy: Any, the_order: Any, act: Any) -> None:
    from storefront.checkout import orders

    shop.opens()
    buy()
    assert the_order().customer_email == "asha@example.com"
    act(the_order().ref, orders.close, by="operator:olga@example.com")
    assert (the_order().customer_name, the_order().customer_email) == (None, None)


# -- where the buyer is sent ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/pay",
        "https://razorpay.com.evil.example/",
        "https://evilrazorpay.com/",
        "https://rzp.io@evil.example/",
        "http://rzp.io/i/abc",
        "https://rzp.io:8443/x",
        "//evil.example",
        "javascript:alert(1)",
        "https://evil.example\\@rzp.io/",
        "http://127.0.0.1:8002/pay",
        "http://localhost:8001/pay",
        "https://[",
    ],
)
def test_foreign_payment_url_is_never_followed(
    shop: Any, buy: Any, asha: Any, the_order: Any, url: str
) -> None:
    shop.opens(payment_action={"type": "payment_link", "url": url})
    answer = buy()
    assert (answer.status_code, answer.location) == (303, order_page(the_order()))
    assert url not in asha.get(answer.location).text
    assert url not in asha.get("/account").text


@pytest.mark.parametrize("url", ["https://rzp.io/i/abc", "https://pay.razorpay.com/x", PAY])
def test_payment_hosts_are_followed(shop: Any, buy: Any, url: str) -> None:
    shop.opens(payment_action={"type": "payment_link", "url": url})
    assert buy().location == url


@pytest.mark.parametrize("action", [None, {}, {"type": "", "url": ""}])
def test_session_without_a_link_leads_to_the_order(
    shop: Any, buy: Any, the_order: Any, action: dict[str, str] | None
) -> None:
    shop.opens(payment_action=action)
    assert buy().location == order_page(the_order())
