"""What Flexprice is asked about orders that are fulfilled, ended or for a person; and about all at once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storefront.checkout import State, commands, orders, reconciliation
from storefront.checkout.signals import order_needs_attention
from storefront.flexprice import CheckoutSession, NotFound, RouteNotFound
from storefront.models import Order

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
SESSION, INVOICE, PAYMENT = "/checkout/sessions/cs_01", "/invoices/inv_01", "/payments/pay_01"
DOWN = {"error": "down"}
UNKNOWN = {"code": "not_found", "message": "invoice inv_01 not found"}


def listed(*items: Any) -> dict[str, Any]:
    return {"items": list(items), "pagination": {"total": len(items)}}


NOTHING = listed()


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def payment(status: str) -> dict[str, str]:
    return {"id": "pay_01", "payment_status": status, "amount": "499", "currency": "inr"}


def ended(flexprice: Any, status: str = "expired", **more: Any) -> Any:
    return flexprice.session(checkout_status=status, terminal=True, **more)


# -- fulfilled orders --------------------------------------------------------------------------------


def test_active_order_is_followed_daily(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any, rows: Any
) -> None:
    add_due(State.FULFILLED, subscription_id="subs_01", invoice_number="INV-1")
    flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription())
    assert check_for(4 * DAY - HOUR) == pytest.approx([0, 86400, 2 * 86400, 3 * 86400], rel=0.01)
    flexprice.mock.reset()
    flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription(subscription_status="cancelled"))
    check_for(2 * DAY)
    assert the_order().revoked_at is not None
    assert the_order().next_attempt_at is None


def test_scheduled_end_is_asked_about_in_time(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any
) -> None:
    add_due(State.FULFILLED, subscription_id="subs_01", invoice_number="INV-1")
    ends_at = (datetime.now(UTC) + 3 * HOUR).isoformat()
    flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription(cancel_at=ends_at))
    check_for(SECOND)
    assert the_order().next_attempt_at - now() == pytest.approx(3 * HOUR + MINUTE, abs=MINUTE)


def test_receipt_is_read_until_it_has_a_number(
    flexprice: Any, add_due: Any, invoice_of_order: Any, check_for: Any, the_order: Any
) -> None:
    add_due(State.FULFILLED)
    flexprice.answer("GET", INVOICE, invoice_of_order())
    flexprice.answer("GET", INVOICE, invoice_of_order(invoice_number="INV-1", total="588.82"))
    flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription())
    assert check_for(MINUTE) == pytest.approx([0, 5], abs=10)
    assert (the_order().invoice_number, str(the_order().invoice_total)) == ("INV-1", "588.82")


@pytest.mark.parametrize(
    ("order", "paths"),
    [
        ({"invoice_number": "INV-1"}, []),
        ({"amount_text": "0"}, []),
        ({"invoice_id": None, "session_id": None}, []),  # nothing to find it by
        ({"session_id": None}, [INVOICE]),
        ({"invoice_id": None}, [SESSION, INVOICE]),
    ],
)
def test_receipt_is_read_where_there_is_one(
    context: Any, flexprice: Any, add_due: Any, invoice_of_order: Any, order: dict[str, Any], paths: list[str]
) -> None:
    add_due(State.FULFILLED, **order)
    known = {SESSION: ended(flexprice, "completed"), INVOICE: invoice_of_order()}
    for path in paths:
        flexprice.answer("GET", path, known[path])
    reconciliation.check_order(1)
    assert flexprice.calls == [("GET", path) for path in paths]


# -- ended orders ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [("REFUNDED", State.PAID_LATE), ("SUCCEEDED", State.STUCK), ("FAILED", State.EXPIRED)],
)
def test_money_after_the_end_is_noticed(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any, status: str, state: State
) -> None:
    add_due(State.EXPIRED)
    flexprice.answer("GET", SESSION, ended(flexprice))
    flexprice.answer("GET", PAYMENT, payment(status))
    if status == "SUCCEEDED":
        flexprice.answer("GET", "/refunds", NOTHING)
    check_for(SECOND)
    assert the_order().state == state


def test_session_completed_after_the_end_is_found_at_once(
    context: Any, flexprice: Any, add_due: Any, the_order: Any, sent: Any
) -> None:
    add_due(State.EXPIRED)
    flexprice.answer("GET", SESSION, ended(flexprice, "completed"))
    flexprice.answer("GET", PAYMENT, payment("SUCCEEDED"))
    flexprice.answer("GET", "/refunds", NOTHING)
    with sent(order_needs_attention) as notes:
        reconciliation.check_order(1)
    assert (the_order().state, notes) == (State.PAID, [])


def test_order_that_was_never_opened_has_nothing_to_ask(
    context: Any, flexprice: Any, add_due: Any, the_order: Any
) -> None:
    add_due(State.CANCELLED, session_id=None, session_requested_at=None, payment_id=None)
    reconciliation.check_order(1)
    assert (the_order().state, flexprice.calls) == (State.CANCELLED, [])


def test_ended_order_is_watched_for_three_days(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any
) -> None:
    add_due(State.EXPIRED)
    flexprice.answer("GET", SESSION, ended(flexprice))
    flexprice.answer("GET", PAYMENT, payment("INITIATED"))
    found = check_for(30 * DAY)
    assert 15 < len(found) < 40
    assert 3 * 86400 - 60 <= found[-1] <= 3.5 * 86400
    assert the_order().next_attempt_at is None


@pytest.mark.parametrize("answer", ["cancelled", "refused", "no such route"])
def test_link_of_an_ended_order_is_withdrawn(
    context: Any, flexprice: Any, add_due: Any, the_order: Any, answer: str
) -> None:
    add_due(State.CANCELLED)
    flexprice.answer("GET", SESSION, flexprice.session())
    flexprice.answer("GET", PAYMENT, payment("INITIATED"))
    if answer == "cancelled":
        flexprice.answer("POST", SESSION + "/cancel", ended(flexprice))
    elif answer == "refused":
        flexprice.answer("POST", SESSION + "/cancel", {"code": "validation_error", "message": "ended"}, 400)
    else:
        url = f"http://127.0.0.1:8001/v1{SESSION}/cancel"
        flexprice.mock.add("POST", url, body="404 page not found", status=404)
    reconciliation.check_order(1)
    assert the_order().state == State.CANCELLED


def test_session_recorded_after_the_end_is_withdrawn(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, act: Any, work: Any, the_order: Any
) -> None:
    add_user()
    ref = add_order(state=State.CANCELLED, next_attempt_at=now() + HOUR)
    act(ref, orders.record_session, CheckoutSession("cs_01", "cust_01", "pending"), by="customer")
    flexprice.answer("GET", SESSION, flexprice.session())
    flexprice.answer("POST", SESSION + "/cancel", ended(flexprice))
    work()
    assert (the_order().state, the_order().session_id) == (State.CANCELLED, "cs_01")


# -- orders for a person -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.HELD, State.STUCK, State.PAID_TWICE])
def test_refund_closes_what_waits_for_a_person(
    context: Any, flexprice: Any, add_due: Any, the_order: Any, state: State
) -> None:
    add_due(state)
    status = "expired" if state is State.STUCK else "completed"
    flexprice.answer("GET", SESSION, ended(flexprice, status))
    flexprice.answer("GET", PAYMENT, payment("SUCCEEDED"))
    refund = {"id": "re_1", "payment_id": "pay_01", "refund_status": "SUCCEEDED"}
    refund |= {"amount": "499", "currency": "inr"}
    flexprice.answer("GET", "/refunds", listed(refund))
    reconciliation.check_order(1)
    assert (the_order().state, the_order().refunded_at is None) == (State.REFUNDED, False)


def test_refund_of_an_order_without_a_session_closes_it(
    context: Any, flexprice: Any, add_due: Any, the_order: Any
) -> None:
    add_due(State.PAID_TWICE, session_id=None)
    flexprice.answer("GET", PAYMENT, payment("SUCCEEDED"))
    refund = {"id": "re_1", "payment_id": "pay_01", "refund_status": "SUCCEEDED"}
    flexprice.answer("GET", "/refunds", listed(refund | {"amount": "499", "currency": "inr"}))
    reconciliation.check_order(1)
    assert the_order().state == State.REFUNDED


def test_server_without_refunds_is_fine(context: Any, flexprice: Any, add_due: Any, the_order: Any) -> None:
    add_due(State.HELD)
    flexprice.answer("GET", SESSION, ended(flexprice, "completed"))
    flexprice.answer("GET", PAYMENT, payment("SUCCEEDED"))
    flexprice.mock.add("GET", "http://127.0.0.1:8001/v1/refunds", body="404 page not found", status=404)
    reconciliation.check_order(1)
    assert the_order().state == State.HELD


@pytest.mark.parametrize("state", [State.PAID_LATE, State.REFUNDED])
def test_settled_order_is_asked_about_no_more(
    add_due: Any, check_for: Any, the_order: Any, state: State
) -> None:
    add_due(state)
    assert check_for(30 * DAY) == [0]
    assert the_order().next_attempt_at is None


# -- all at once -------------------------------------------------------------------------------------


def test_reconcile_goes_on_until_fulfilled(
    context: Any, flexprice: Any, add_due: Any, the_order: Any
) -> None:
    ref = add_due()
    flexprice.answer("GET", SESSION, ended(flexprice, "completed"))
    flexprice.answer("GET", INVOICE, DOWN, 503)
    ((found, before, after, problem),) = commands.reconcile_orders([1])
    assert (found, before, after) == (ref, "awaiting_payment", "fulfilled")
    assert "503" in problem  # of the receipt


def test_reconcile_reports_what_cannot_be_asked(
    context: Any, flexprice: Any, add_due: Any, rows: Any
) -> None:
    add_due()
    flexprice.answer("GET", SESSION, DOWN, 503)
    ((_, before, after, problem),) = commands.reconcile_orders([1])
    assert (before, after) == ("awaiting_payment", "awaiting_payment")
    assert "503" in problem
    assert len(rows(Order)) == 1


@pytest.mark.parametrize(("status", "reported"), [("pending", True), ("failed", False)])
def test_reconcile_reports_an_invoice_of_an_open_order(
    context: Any, flexprice: Any, add_due: Any, status: str, reported: bool
) -> None:
    """Its terms could not be compared; once the order has ended that does not matter any more."""
    add_due(invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, DOWN, 503)
    flexprice.answer("GET", SESSION, flexprice.session(checkout_status=status, terminal=status != "pending"))
    ((*_, problem),) = commands.reconcile_orders([1])
    assert ("503" in problem) is reported


@pytest.mark.parametrize(
    ("state", "status", "after"),
    [
        (State.AWAITING_PAYMENT, "completed", State.PAID),
        (State.AWAITING_PAYMENT, "failed", State.FAILED),
        (State.AWAITING_PAYMENT, "pending", State.AWAITING_PAYMENT),
        (State.PAID, None, State.FULFILLED),
    ],
)
def test_preview_says_the_same_and_writes_nothing(
    context: Any, flexprice: Any, add_due: Any, the_order: Any, state: State, status: str | None, after: State
) -> None:
    ref = add_due(state)
    if status:
        told = flexprice.session(checkout_status=status, terminal=status != "pending")
        flexprice.answer("GET", SESSION, told)
    assert commands.preview_orders([1]) == [(ref, state, after, "")]
    assert the_order().state == state


def test_gaps_never_overflow(context: Any, add_due: Any) -> None:
    order = orders.find(ref=add_due(status_changed_at=datetime(1970, 1, 1), attempts=2_000_000))  # noqa: DTZ001
    assert order
    assert reconciliation.next_gap(order) == HOUR


def test_payment_archived_with_its_session_is_none(context: Any, flexprice: Any, add_due: Any) -> None:
    order = orders.find(ref=add_due(State.EXPIRED))
    assert order
    flexprice.answer("GET", PAYMENT, UNKNOWN, 404)
    assert reconciliation.money_of(order) == ""
    assert issubclass(RouteNotFound, NotFound)
