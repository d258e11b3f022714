"""Cancelling: what Flexprice answers is what the order becomes."""

from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from storefront.checkout import State

API = "http://127.0.0.1:8001/v1"
SESSION = "/checkout/sessions/cs_01"
CANCEL = SESSION + "/cancel"
PAGES = ("success", "failure", "status")
PAID_CLAIM = (
    "razorpay_payment_id=pay_1&razorpay_payment_link_id=plink_1&razorpay_payment_link_reference_id="
    "&razorpay_payment_link_status=paid&razorpay_signature=forged"
)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def columns(order: Any, *but: str) -> dict[str, Any]:
    return {key: value for key, value in vars(order).items() if key[0] != "_" and key not in but}


# -- cancelling --------------------------------------------------------------------------------------


def test_cancel_ends_the_order_at_flexprice(flexprice: Any, asha: Any, opened: Any, the_order: Any) -> None:
    ref = opened()
    cancelled = flexprice.session(checkout_status="expired", terminal=True)
    flexprice.answer("POST", CANCEL, cancelled)
    answer = asha.post(f"/orders/{ref}/cancel")
    assert (answer.status_code, answer.location) == (303, f"/orders/{ref}/failure")
    assert (the_order().state, the_order().slot) == (State.CANCELLED, None)


def test_cancel_of_a_paid_session_is_a_sale(flexprice: Any, asha: Any, opened: Any, the_order: Any) -> None:
    ref = opened()
    flexprice.answer("POST", CANCEL, {"code": "validation_error", "message": "not pending"}, 400)
    flexprice.answer("GET", SESSION, flexprice.session(checkout_status="completed", terminal=True))
    assert asha.post(f"/orders/{ref}/cancel").status_code == 303
    assert the_order().state == State.PAID


@pytest.mark.parametrize("body", [{"code": "not_found", "message": "unknown session"}, None])
def test_cancel_without_the_route_says_so(
    flexprice: Any, asha: Any, opened: Any, the_order: Any, body: Any
) -> None:
    ref = opened()
    if body:
        flexprice.answer("POST", CANCEL, body, 404)
    else:
        flexprice.mock.add("POST", API + CANCEL, body="404 page not found", status=404)
    page = asha.post(f"/orders/{ref}/cancel")
    assert (page.status_code, "stays payable until it expires" in page.text) == (200, True)
    assert (the_order().state, the_order().cancel_requested_at) == (State.AWAITING_PAYMENT, None)


def test_cancel_without_an_answer_is_remembered(
    flexprice: Any, asha: Any, opened: Any, the_order: Any, work: Any
) -> None:
    ref = opened(invoice_verified_at=now())
    flexprice.mock.add("POST", API + CANCEL, body=requests.ReadTimeout())
    assert "waiting for the answer" in asha.post(f"/orders/{ref}/cancel").text
    assert the_order().cancel_requested_at is not None
    flexprice.answer("GET", SESSION, flexprice.session(checkout_status="expired", terminal=True))
    work()
    assert the_order().state == State.CANCELLED


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_refused_cancel_changes_nothing(
    flexprice: Any, asha: Any, opened: Any, the_order: Any, status: int
) -> None:
    ref = opened()
    flexprice.answer("POST", CANCEL, {"error": "no"}, status)
    assert asha.post(f"/orders/{ref}/cancel").status_code == 503
    assert (the_order().state, the_order().cancel_requested_at) == (State.AWAITING_PAYMENT, None)


def test_unopened_order_is_cancelled_without_flexprice(
    flexprice: Any, asha: Any, add_order: Any, the_order: Any
) -> None:
    ref = add_order(session_requested_at=None)
    assert asha.post(f"/orders/{ref}/cancel").status_code == 303
    assert (the_order().state, flexprice.calls) == (State.CANCELLED, [])


def test_order_being_opened_is_not_cancelled(
    flexprice: Any, asha: Any, add_order: Any, the_order: Any
) -> None:
    ref = add_order(session_requested_at=now())
    flexprice.answer("POST", "/subscriptions/search", {"items": [], "pagination": {"total": 0}})
    assert "still being prepared" in asha.post(f"/orders/{ref}/cancel").text
    assert the_order().state == State.PLACED


@pytest.mark.parametrize("has_session", [True, False])
def test_cancel_waits_four_seconds_for_an_answer(
    flexprice: Any, asha: Any, opened: Any, add_order: Any, has_session: bool
) -> None:
    if has_session:
        ref = opened()
        flexprice.answer("POST", CANCEL, {"code": "validation_error", "message": "not pending"}, 400)
        flexprice.answer("GET", SESSION, flexprice.session(checkout_status="completed", terminal=True))
    else:
        ref = add_order(session_requested_at=now())
        flexprice.answer("POST", "/subscriptions/search", {"items": [], "pagination": {"total": 0}})
    asha.post(f"/orders/{ref}/cancel")
    assert max(flexprice.timeouts_s) <= 4


@pytest.mark.parametrize("state", sorted(set(State) - {State.PLACED, State.AWAITING_PAYMENT}))
def test_settled_order_is_not_cancelled(asha: Any, opened: Any, the_order: Any, state: State) -> None:
    ref = opened(state=state)
    assert asha.post(f"/orders/{ref}/cancel").status_code == 303
    assert the_order().state == state


def test_stranger_cancels_nothing(asha: Any, add_user: Any, add_order: Any, the_order: Any) -> None:
    ref = add_order(add_user("ben@example.com"))
    assert asha.post(f"/orders/{ref}/cancel").status_code == 404
    assert the_order().state == State.PLACED


def test_error_page_says_only_what_it_did(flexprice: Any, asha: Any, opened: Any) -> None:
    """The order may be paid all the same."""
    ref = opened()
    flexprice.answer("POST", CANCEL, {"error": "down"}, 503)
    page = asha.post(f"/orders/{ref}/cancel").text
    assert "This request did not charge you" in page
    for claim in ("You have not been charged", "Nothing was charged", "No money"):
        assert claim not in page
