"""Walks over the payment page, and what the shop sees of each."""

import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from storefront.sandbox.control.pay import METHODS, REASONS, redirect_signature, return_url


def test_the_page_says_it_is_a_sandbox_and_needs_no_script(sandbox: Any) -> None:
    sandbox.customer()
    page = sandbox.page(sandbox.session("team", params={"currency": "USD"}))

    assert "no real money" in page.text
    assert "$29.00" in page.text
    assert "Kestrel &amp; Co" in page.text
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(REASONS)))
def test_a_test_card_pays_and_sends_the_shopper_back(sandbox: Any, method: str) -> None:
    sandbox.customer()
    session = sandbox.session()

    paid = sandbox.pay(session, method)

    assert paid.status_code == 303
    target = urlsplit(paid.headers["Location"])
    query = parse_qs(target.query, keep_blank_values=True)
    assert (target.netloc, query["order"]) == ("shop.test", ["1"])
    assert query["razorpay_payment_link_status"] == ["paid"]
    assert len(query) == 6
    after = sandbox.read(session)
    assert (after["checkout_status"], after["terminal"], after["next_poll_after_ms"]) == (
        "completed",
        True,
        0,
    )
    assert after["payment_action"] == session["payment_action"]
    assert "already paid" in sandbox.page(session).text
    assert sandbox.pay(session).status_code == 409


@pytest.mark.parametrize("form", [{"method": "failure@razorpay"}, {"other": "4111 1111 1111 1111"}, {}])
def test_a_decline_is_an_attempt_and_nothing_more(sandbox: Any, form: dict[str, str]) -> None:
    sandbox.customer()
    session = sandbox.session()

    declined = sandbox.page(session, "pay", **form)

    assert declined.status_code == 303
    page = sandbox.page(session)
    assert "Try again" in page.text
    assert sandbox.read(session)["checkout_status"] == "pending"
    payment = sandbox.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert (payment["payment_status"], len(payment["attempts"])) == ("PENDING", 1)
    assert payment["attempts"][0]["error_message"]
    assert sandbox.pay(session).status_code == 303
    assert sandbox.read(session)["checkout_status"] == "completed"


def test_leaving_tells_nobody(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.deliver()
    receiver.got.clear()

    assert "Nothing was charged" in sandbox.page(session, "leave").text

    assert sandbox.deliver() == 0
    assert sandbox.read(session)["checkout_status"] == "pending"


def test_the_decline_button_declines(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()

    sandbox.page(session, "decline")

    assert "declined by the bank" in sandbox.page(session).text


@pytest.mark.thorough
def test_a_cancelled_link_fails_the_session_and_takes_no_money(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()

    sandbox.page(session, "cancel")
    sandbox.deliver()

    assert "was cancelled" in sandbox.page(session).text
    assert sandbox.pay(session).status_code == 409
    failed = receiver.last("checkout.session.failed")["checkout_session"]
    assert failed["failure_reason"] == "payment link payment_link.cancelled by provider"
    assert failed["payment_action"] == session["payment_action"]


@pytest.mark.thorough
def test_money_that_comes_too_late_goes_back(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.advance("61m")
    sandbox.deliver()
    assert sandbox.read(session)["checkout_status"] == "expired"

    assert "has expired" in sandbox.page(session).text  # Razorpay closes it after 20 minutes
    sandbox.control("provider", action="pay", link=session["payment_action"]["url"])

    assert sandbox.read(session)["checkout_status"] == "expired"
    payment = sandbox.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert payment["payment_status"] == "REFUNDED"
    (refund,) = sandbox.get(f"/v1/refunds?payment_ids={payment['id']},pay_x").json()["items"]
    assert (refund["amount"], refund["refund_status"]) == ("499", "SUCCEEDED")
    assert sandbox.get(f"/v1/refunds/{refund['id']}").json() == refund
    assert sandbox.get("/v1/refunds/refund_1").status_code == 404
    assert receiver.types[-2:] == ["refund.created", "refund.succeeded"]


def test_paying_after_the_hour_but_before_the_sweep_still_completes(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.advance("20m")

    sandbox.pay(session)

    assert sandbox.read(session)["checkout_status"] == "completed"


def test_eight_tabs_pay_once(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    statuses: list[int] = []

    tabs = [
        threading.Thread(target=lambda: statuses.append(sandbox.pay(session).status_code)) for _ in range(8)
    ]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()

    assert sorted(statuses) == [303] + [409] * 7


def test_an_unknown_link_is_a_page_too(sandbox: Any) -> None:
    assert "No such payment link" in sandbox.get("/pay/nothing").text
    assert sandbox.post("/pay/nothing/pay").status_code == 404


def test_the_redirect_is_signed_as_razorpay_does() -> None:
    signature = redirect_signature("rzp_key_secret_test", "plink_TestLink000001", "pay_TestPay0000001")

    assert signature == "44138a856b5771c04c4038a9d46a3d05bcc2cf218226952fdc49353bba540b25"


def test_the_shops_own_query_survives() -> None:
    url = return_url("https://shop.test/r?id={CHECKOUT_SESSION_ID}&x=#top", "plink_1", "pay_1")

    assert url.startswith("https://shop.test/r?id={CHECKOUT_SESSION_ID}&x=&razorpay_payment_id=pay_1&")
    assert url.endswith("#top")
