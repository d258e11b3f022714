"""From the click to the payment page: one order, one session, one call."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import requests

from storefront import orders
from storefront.catalog import NOTHING_TO_CHARGE, WRONG_DECIMALS
from storefront.database import writing
from storefront.extensions import db
from storefront.lifecycle import Fact, State
from storefront.models import Access, Order, Shopper
from storefront.web import patience

API = "http://127.0.0.1:8001/v1"
PAY = "http://127.0.0.1:8001/pay/abc"
OFFER = {"plan": "plan_01", "currency": "inr", "billing_period": "MONTHLY"}
SESSIONS = ("POST", "/checkout/sessions")
MISSING = {
    "code": "not_found",
    "message": "Customer with lookup key x was not found",
    "details": {"lookup_key": "x"},
}


@pytest.fixture
def shop(vendor, samples):
    """A Flexprice that sells one plan."""
    vendor.sells(samples.plan(samples.price("499"), samples.price("4990", billing_period="ANNUAL")))
    return vendor


@pytest.fixture
def slowly(shop, monkeypatch):
    """Flexprice takes its time over an answer: until the end of the block."""
    monkeypatch.setattr(patience, "SECONDS", 0.2)

    @contextmanager
    def answering(path, body, status=200):
        enough, before = threading.Event(), set(threading.enumerate())

        def answer(_request):
            assert enough.wait(60)
            return status, {"Content-Type": "application/json"}, json.dumps(body)

        shop.mock.add_callback("POST", API + path, answer)
        yield
        enough.set()
        for work in set(threading.enumerate()) - before:
            work.join(60)

    return answering


@pytest.fixture
def buy(asha):
    return lambda **changes: asha.post("/checkout", **(OFFER | changes))


def creates(vendor):
    return [number for number, call in enumerate(vendor.calls) if call == SESSIONS]


def order_page(order):
    return f"/orders/{order.ref}/failure"


def test_a_click_leads_to_the_payment_page(shop, buy, the_order):
    shop.opens()
    answer = buy()
    assert (answer.status_code, answer.location) == (303, PAY)
    order = the_order()
    assert order.state == State.AWAITING_PAYMENT
    assert (order.session_id, order.customer_id, order.invoice_id, order.payment_id) == (
        "cs_01",
        "cust_01",
        "inv_01",
        "pay_01",
    )


def test_the_one_call_is_exactly_this(shop, buy, the_order, rows, samples):
    shop.opens()
    buy()
    order, (shopper,) = the_order(), rows(Shopper)
    assert shop.calls == [("POST", "/plans/search"), SESSIONS]
    assert shop.mock.calls[-1].request.headers["x-api-key"] == "sk_of_a_test"
    assert shop.sent() == {
        "customer_external_id": shopper.external_id,
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
        "success_url": f"{samples.HOME}/orders/{order.ref}/success",
        "failure_url": f"{samples.HOME}/orders/{order.ref}/failure",
        "cancel_url": f"{samples.HOME}/orders/{order.ref}/failure",
        "idempotency_key": order.ref,
        "metadata": {"order_ref": order.ref},
    }
    assert len(order.ref) == 32


def test_the_amount_comes_from_the_catalog(shop, buy, the_order):
    shop.opens()
    buy(amount="1", price="1")
    assert str(the_order().amount) == "499"


def test_a_second_click_continues_the_first_order(shop, buy, rows):
    shop.opens()
    assert [buy().location for _ in range(3)] == [PAY] * 3
    assert len(rows(Order)) == 1
    assert len(creates(shop)) == 1


def test_a_stranger_signs_up_first(browser, vendor, rows):
    answer = browser.post("/checkout", **OFFER)
    assert answer.status_code == 303
    assert answer.location == "/sign-up?next=/plans/plan_01?period%3DMONTHLY%26currency%3Dinr"
    assert rows(Order) == []


def test_without_a_form_token_nothing_happens(asha, vendor, rows):
    assert asha.raw_post("/checkout", OFFER).status_code == 400
    assert rows(Order) == []


@pytest.mark.parametrize(
    "tampered",
    [
        {"plan": "plan_99"},
        {"plan": "../x"},
        {"currency": "usd"},
        {"currency": ""},
        {"billing_period": "DAILY"},
        {"billing_period": "monthly"},
        {"billing_period": "\x00"},
    ],
)
def test_a_tampered_form_is_404(shop, buy, rows, tampered):
    assert buy(**tampered).status_code == 404
    assert rows(Order) == []


def test_a_shop_without_prices_sells_nothing(vendor, buy, rows):
    vendor.answers("POST", "/plans/search", {"error": "down"}, 503)
    answer = buy()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert rows(Order) == []


@pytest.mark.parametrize(
    ("amount", "currency", "sentence"),
    [("0", "INR", NOTHING_TO_CHARGE), ("5000", "JPY", WRONG_DECIMALS)],
)
def test_what_cannot_be_charged_is_not_sold(vendor, asha, samples, rows, amount, currency, sentence):
    vendor.sells(samples.plan(samples.price(amount, currency=currency)))
    answer = asha.post("/checkout", **(OFFER | {"currency": currency}))
    assert answer.location == f"/plans/plan_01?period=MONTHLY&currency={currency}"
    assert sentence in asha.get(answer.location).text
    assert rows(Order) == []


def test_another_period_is_told_of_the_open_payment(shop, buy, asha, the_order):
    shop.opens()
    buy()
    shop.answers("GET", "/checkout/sessions/cs_01", {"error": "down"}, 503)
    answer = buy(billing_period="ANNUAL")
    assert answer.location == order_page(the_order())
    assert (
        "You have an open payment for Pro: continue it or cancel it first." in asha.get(answer.location).text
    )
    assert the_order().billing_period == "MONTHLY"


def test_a_plan_already_owned_is_not_sold_again(app, shop, buy, asha, order_of, samples):
    from storefront.database import writing
    from storefront.extensions import db

    order_of(state=State.FULFILLED)
    with app.app_context(), writing():
        db.session.add(
            Access(shopper_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=samples.NOW)
        )
    answer = buy()
    assert answer.location == "/account"
    assert "You have Pro already." in asha.get("/account").text


def test_a_plan_just_paid_for_is_not_sold_again(shop, buy, order_of):
    order_of(state=State.PAID)
    assert buy().location == "/account"


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED])
def test_trying_again_is_a_new_order(shop, buy, order_of, rows, state):
    order_of(state=state)
    shop.opens()
    assert buy().location == PAY
    first, second = rows(Order)
    assert (first.state, second.state) == (state, State.AWAITING_PAYMENT)
    assert first.ref != second.ref


# -- when Flexprice says something else --------------------------------------------------------------


def test_409_waits_for_the_session_that_is_open(shop, buy, asha, the_order):
    shop.answers(*SESSIONS, {"message": "already exists"}, 409)
    answer = buy()
    order = the_order()
    assert (answer.status_code, answer.location) == (303, order_page(order))
    assert (order.state, order.session_id) == (State.PLACED, None)
    assert order.opening_at is not None
    assert 'data-phase="preparing"' in asha.get(answer.location).text
    buy()
    assert len(creates(shop)) == 1  # never a blind second one


def test_no_answer_waits_and_is_never_repeated_blindly(shop, buy, the_order):
    shop.answers(*SESSIONS, status=200)
    shop.mock.replace("POST", shop.mock.registered()[-1].url, body=requests.ReadTimeout())
    assert buy().location == order_page(the_order())
    assert buy().location == order_page(the_order())
    assert len(creates(shop)) == 1
    assert the_order().state == State.PLACED


def test_who_waits_for_long_has_a_page_and_is_taken_on_when_the_session_is_there(
    shop, buy, asha, the_order, slowly, samples
):
    """R14. The one call goes on behind the page (decision 6), and what it brings is kept."""
    with slowly("/checkout/sessions", samples.session(), 201):
        answer = buy()
        assert (answer.status_code, answer.location) == (303, f"/orders/{the_order().ref}/failure")
        assert 'data-phase="preparing"' in asha.get(answer.location).text
        assert buy().location == answer.location  # a second click waits for the same one
    assert (the_order().state, the_order().payment_url) == (State.AWAITING_PAYMENT, PAY)
    assert PAY in asha.get(answer.location).text
    assert shop.calls.count(("POST", "/checkout/sessions")) == 1


def test_what_goes_wrong_after_the_page_is_kept_too(shop, buy, the_order, slowly, caplog):
    with slowly("/checkout/sessions", {"code": "x", "message": "busy"}, 503):
        assert buy().status_code == 303
    assert (the_order().state, the_order().opening_at) == (
        State.PLACED,
        None,
    )  # the same key may be used again
    assert "after the shopper had their page" in caplog.text


def test_a_cancel_that_takes_long_is_waited_for_on_the_orders_page(
    shop, buy, asha, the_order, slowly, samples
):
    shop.opens()
    buy()
    ended = samples.session(checkout_status="failed", terminal=True, cancelled_at="2026-09-01T10:01:00Z")
    with slowly("/checkout/sessions/cs_01/cancel", ended):
        assert asha.post(f"/orders/{the_order().ref}/cancel").status_code == 303
        assert the_order().state == State.AWAITING_PAYMENT
    assert the_order().state == State.CANCELLED
    assert "We have asked for it to be cancelled" in asha.get(order_page(the_order())).text


def test_who_ends_an_order_is_remembered_though_another_tab_is_put_off(shop, buy, asha, the_order, samples):
    """The news of the end may come before the answer: then it must not be told as a failed payment."""
    shop.opens()
    buy()
    cancel = f"/orders/{the_order().ref}/cancel"
    ended = samples.session(checkout_status="failed", terminal=True, cancelled_at="2026-09-01T10:01:00Z")
    asked = []

    def answer(request):
        asked.append(the_order().cancel_asked_at)
        if len(asked) > 1:
            return 503, {}, "{}"
        assert asha.post(cancel).status_code == 503
        asked.append(the_order().cancel_asked_at)
        return 200, {}, json.dumps(ended)

    shop.mock.add_callback("POST", shop.mock.registered()[-1].url + "/cs_01/cancel", answer)
    assert asha.post(cancel).status_code == 303
    assert asked == [the_order().cancel_asked_at] * 3
    assert the_order().state == State.CANCELLED


@pytest.mark.parametrize("status", [429, 500, 502, 503, 401, 403])
def test_an_error_that_passes_can_be_retried_with_the_same_key(shop, buy, asha, the_order, status):
    shop.answers(*SESSIONS, {"error": "later"}, status)
    answer = buy()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    order = the_order()
    assert (order.state, order.opening_at) == (State.PLACED, None)
    page = asha.get(order_page(order)).text
    assert 'data-phase="unopened"' in page
    assert 'id="order-try-again"' in page
    nothing = {"items": [], "pagination": {"total": 0}}
    shop.answers("POST", "/subscriptions/search", nothing)  # it looks first: perhaps it was paid unnoticed
    shop.opens()
    assert buy().location == PAY
    keys = [shop.sent(number)["idempotency_key"] for number in creates(shop)]
    assert keys == [order.ref, order.ref]
    assert the_order().state == State.AWAITING_PAYMENT


@pytest.mark.parametrize(
    ("fact", "status", "state"),
    [(Fact.PAYMENT_COMPLETED, 502, State.PAID), (Fact.GIVEN_UP, 201, State.ABANDONED)],
    ids=["paid", "given up"],
)
def test_an_order_that_moves_while_its_session_is_asked_for_is_looked_after(
    app, shop, buy, the_order, samples, fact, status, state
):
    """The goods of a paid one are owed, and the link of one that was given up is to be withdrawn."""

    def answer(_request):
        with app.app_context():
            with writing():
                orders.advance(db.session.get_one(Order, 1), fact, samples.NOW)
            if fact is Fact.GIVEN_UP:
                with writing():
                    orders.rest(1, planned=samples.NOW)
        return status, {}, json.dumps(samples.session())

    shop.mock.add_callback("POST", API + "/checkout/sessions", answer)
    assert buy().location != PAY
    assert the_order().state == state
    assert the_order().next_look_at is not None


def test_no_second_session_is_asked_for_when_somebody_else_finds_the_payment_of_the_first(
    app, shop, buy, the_order
):
    """The shop looks before it uses a key again; while it looks, `reconcile` has looked."""
    shop.answers(*SESSIONS, {"error": "later"}, 502)
    buy()
    paid = {"id": "subs_1", "customer_id": "cust_01", "plan_id": "plan_01", "subscription_status": "active"}

    def find(_request):
        with app.app_context(), writing():
            orders.advance(db.session.get_one(Order, 1), Fact.PAYMENT_COMPLETED, datetime.now(UTC))
        found = [paid | {"metadata": {"order_ref": the_order().ref}}]
        return 200, {}, json.dumps({"items": found, "pagination": {"total": 1}})

    shop.mock.add_callback("POST", API + "/subscriptions/search", find)
    assert buy().location == order_page(the_order())
    assert len(creates(shop)) == 1
    assert the_order().state == State.PAID


def test_no_connection_can_be_retried_with_the_same_key(shop, buy, the_order):
    shop.answers(*SESSIONS)
    shop.mock.replace("POST", shop.mock.registered()[-1].url, body=requests.ConnectTimeout())
    assert buy().status_code == 503
    assert the_order().opening_at is None


def test_a_refusal_ends_the_order(shop, buy, asha, the_order):
    shop.answers(*SESSIONS, {"code": "validation_error", "message": "their own <words>"}, 400)
    answer = buy()
    order = the_order()
    assert (order.state, order.flag) == (State.FAILED, "Flexprice refused the session: validation_error")
    page = asha.get(answer.location).text
    assert 'data-phase="failed"' in page
    assert "their own" not in page


def test_a_customer_flexprice_lost_is_made_again_once(shop, buy, rows):
    shop.answers(*SESSIONS, MISSING, 404)
    shop.answers("POST", "/customers", {"id": "cust_02", "external_id": "x"}, 201)
    shop.opens(customer_id="cust_02")
    assert buy().location == PAY
    assert shop.calls[1:] == [SESSIONS, ("POST", "/customers"), SESSIONS]
    (shopper,) = rows(Shopper)
    assert shopper.flexprice_id == "cust_02"
    assert shop.sent(2) == {
        "external_id": shopper.external_id,
        "name": "Asha Rao",
        "email": "asha@example.com",
    }


def test_a_customer_that_stays_lost_ends_the_order(shop, buy, the_order):
    shop.answers(*SESSIONS, MISSING, 404)
    shop.answers("POST", "/customers", {"id": "cust_02", "external_id": "x"}, 201)
    shop.answers(*SESSIONS, MISSING, 404)
    assert buy().status_code == 303
    assert len(creates(shop)) == 2
    assert the_order().state == State.FAILED


def test_a_shopper_flexprice_does_not_know_yet_is_introduced_first(browser, enrol, shop, rows):
    enrol(flexprice_id=None)
    browser.sign_in()
    shop.answers("POST", "/customers", {"id": "cust_01", "external_id": "x"}, 201)
    shop.opens()
    assert browser.post("/checkout", **OFFER).location == PAY
    assert rows(Shopper)[0].flexprice_id == "cust_01"


def test_a_customer_that_exists_already_is_adopted(browser, enrol, shop, rows):
    enrol(flexprice_id=None)
    browser.sign_in()
    external = rows(Shopper)[0].external_id
    shop.answers("POST", "/customers", {"message": "already exists"}, 409)
    shop.answers("GET", f"/customers/external/{external}", {"id": "cust_07", "external_id": external})
    shop.opens(customer_id="cust_07")
    assert browser.post("/checkout", **OFFER).location == PAY
    assert rows(Shopper)[0].flexprice_id == "cust_07"


def test_a_lost_answer_about_the_customer_opens_nothing_and_can_be_retried(browser, enrol, shop, the_order):
    enrol(flexprice_id=None)
    browser.sign_in()
    shop.answers("POST", "/customers")
    shop.mock.replace("POST", shop.mock.registered()[-1].url, body=requests.ReadTimeout())
    assert browser.post("/checkout", **OFFER).status_code == 503
    assert the_order().opening_at is None


# -- where the shopper is sent -----------------------------------------------------------------------


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
def test_a_payment_address_on_a_foreign_host_is_never_followed(shop, buy, asha, the_order, url):
    shop.opens(payment_action={"type": "payment_link", "url": url})
    answer = buy()
    assert (answer.status_code, answer.location) == (303, order_page(the_order()))
    shop.answers("GET", "/checkout/sessions/cs_01", {"error": "down"}, 503)
    page = asha.get(answer.location).text
    assert 'id="order-pay"' not in page
    assert url not in page
    assert url not in asha.get("/account").text


@pytest.mark.parametrize("url", ["https://rzp.io/i/abc", "https://pay.razorpay.com/x", PAY])
def test_the_payment_hosts_are_followed(shop, buy, url):
    shop.opens(payment_action={"type": "payment_link", "url": url})
    assert buy().location == url


@pytest.mark.parametrize("action", [None, {}, {"type": "", "url": ""}])
def test_an_empty_payment_action_leads_to_the_orders_page(shop, buy, asha, the_order, action):
    shop.opens(payment_action=action)
    answer = buy()
    assert answer.location == order_page(the_order())
    shop.answers("GET", "/checkout/sessions/cs_01", {"error": "down"}, 503)
    assert 'data-phase="checking"' in asha.get(answer.location).text


def test_an_answer_that_names_no_session_is_a_lost_answer(shop, buy, the_order):
    shop.answers(*SESSIONS, {"surprise": True}, 201)
    assert buy().location == order_page(the_order())
    assert the_order().state == State.PLACED
    assert the_order().opening_at is not None
