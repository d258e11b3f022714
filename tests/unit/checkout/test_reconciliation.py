"""What Flexprice is asked about open and paid orders, when, and what follows."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from storefront.checkout import State, orders, reconciliation
from storefront.checkout.signals import order_needs_attention
from storefront.flexprice import FlexpriceError, RouteNotFound, ServerError
from storefront.models import OrderTransition, PlanAccess

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


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_check(state: State) -> None:
    assert state in reconciliation.CHECKS


# -- open orders -------------------------------------------------------------------------------------


def test_open_order_is_checked_with_doubling_gaps(
    flexprice: Any, add_due: Any, invoice_of_order: Any, check_for: Any, the_order: Any
) -> None:
    add_due(invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, invoice_of_order())
    flexprice.answer("GET", SESSION, flexprice.session())
    expected = [0, 60, 120, 240, 480, 960, 1920, 3840, *range(7440, 5 * 3600, 3600)]
    assert check_for(5 * HOUR) == pytest.approx(expected, rel=0.2)
    assert the_order().state == State.AWAITING_PAYMENT
    assert flexprice.calls.count(("GET", INVOICE)) == 1


def test_outage_changes_no_gap(flexprice: Any, add_due: Any, check_for: Any, the_order: Any) -> None:
    add_due()
    flexprice.answer("GET", SESSION, DOWN, 503)
    assert check_for(2 * HOUR)[:8] == pytest.approx([0, 60, 120, 240, 480, 960, 1920, 3840], rel=0.2)
    assert (the_order().state, the_order().review_note) == (State.AWAITING_PAYMENT, None)


def test_check_without_anything_new_raises_nothing(
    context: Any, flexprice: Any, add_due: Any, the_order: Any
) -> None:
    add_due()
    flexprice.answer("GET", SESSION, flexprice.session())
    reconciliation.check_order(1)
    assert the_order().state == State.AWAITING_PAYMENT


def test_invoice_not_yet_readable_is_asked_soon(
    flexprice: Any, add_due: Any, invoice_of_order: Any, check_for: Any, the_order: Any
) -> None:
    add_due(invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, UNKNOWN, 404)
    flexprice.answer("GET", INVOICE, invoice_of_order())
    flexprice.answer("GET", SESSION, flexprice.session())
    assert check_for(30 * SECOND) == pytest.approx([0, 5], abs=10)
    assert the_order().invoice_verified_at is not None


def test_other_invoice_withdraws_the_link(
    flexprice: Any, add_due: Any, invoice_of_order: Any, check_for: Any, the_order: Any, sent: Any
) -> None:
    add_due(invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, invoice_of_order(subtotal="599"))
    flexprice.answer("GET", SESSION, flexprice.session())
    flexprice.answer("POST", SESSION + "/cancel", ended(flexprice))
    flexprice.answer("GET", PAYMENT, payment("INITIATED"))
    with sent(order_needs_attention) as notes:
        check_for(SECOND)
    assert the_order().state == State.MISMATCHED
    assert [note["note"] for note in notes] == ["Not what was ordered: amount: ordered 499, charged 599"]


def test_lost_webhook_is_found_by_asking(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any, rows: Any
) -> None:
    add_due()
    paid_at = "2026-09-01T10:01:00Z"
    flexprice.answer("GET", SESSION, ended(flexprice, "completed", completed_at=paid_at))
    flexprice.answer("GET", INVOICE, DOWN, 503)  # the receipt waits
    check_for(SECOND)
    assert the_order().state == State.FULFILLED
    assert abs(the_order().paid_at - datetime(2026, 9, 1, 10, 1)) < 2 * SECOND  # noqa: DTZ001
    assert len(rows(PlanAccess)) == 1


def test_invoice_deleted_with_its_session_ends_the_order(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any
) -> None:
    add_due(invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, UNKNOWN, 404)
    flexprice.answer("GET", SESSION, ended(flexprice))
    flexprice.answer("GET", PAYMENT, payment("INITIATED"))
    check_for(SECOND)
    assert the_order().state == State.EXPIRED


def test_stranded_payment_waits_for_a_person_and_heals(
    flexprice: Any, add_due: Any, invoice_of_order: Any, check_for: Any, the_order: Any
) -> None:
    """Flexprice failed while completing; a later event may complete the session."""
    add_due()
    paid = {"gateway": "razorpay", "id": "pay_01", "status": "SUCCEEDED"}
    flexprice.answer("GET", SESSION, flexprice.session(payment=paid))
    flexprice.answer("GET", PAYMENT, payment("SUCCEEDED"))
    flexprice.answer("GET", "/refunds", NOTHING)
    check_for(SECOND)
    assert the_order().state == State.STUCK
    assert "by hand" in the_order().review_note
    flexprice.mock.reset()
    flexprice.answer("GET", SESSION, ended(flexprice, "completed"))
    flexprice.answer("GET", PAYMENT, payment("SUCCEEDED"))
    flexprice.answer("GET", "/refunds", NOTHING)
    flexprice.answer("GET", INVOICE, invoice_of_order(invoice_number="INV-1"))
    check_for(10 * MINUTE)
    assert (the_order().state, the_order().review_note) == (State.FULFILLED, None)


@pytest.mark.parametrize(
    ("payable_for", "verified"),
    [(15 * MINUTE, True), (15 * MINUTE, False), (timedelta(), True)],
    ids=["while it is paid", "before its invoice was read", "without a time of its end"],
)
def test_unknown_session_is_given_up_in_time(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any, payable_for: timedelta, verified: bool
) -> None:
    """Of another environment, or deleted: well past `expires_at`, and several times.

    Kind: every open state has a way out.
    """
    expires_at = now() + payable_for if payable_for else None
    add_due(expires_at=expires_at, invoice_verified_at=now() if verified else None, created_at=now())
    if not verified:
        flexprice.answer("GET", INVOICE, UNKNOWN, 404)
    flexprice.answer("GET", SESSION, UNKNOWN, 404)
    flexprice.answer("GET", PAYMENT, UNKNOWN, 404)
    check_for(2 * HOUR + payable_for - MINUTE)
    assert the_order().state == State.AWAITING_PAYMENT
    check_for(2 * HOUR)
    assert (the_order().state, the_order().slot) == (State.ABANDONED, None)
    assert the_order().review_note == "Flexprice no longer knows its session"
    flexprice.mock.reset()
    flexprice.answer("GET", SESSION, ended(flexprice, "completed"))  # late money is still watched
    flexprice.answer("GET", PAYMENT, payment("SUCCEEDED"))
    flexprice.answer("GET", "/refunds", NOTHING)
    flexprice.answer("GET", INVOICE, DOWN, 503)
    check_for(6 * HOUR)
    assert the_order().state == (State.FULFILLED if verified else State.PAID)


@pytest.mark.parametrize("event", ["initiated", None])
def test_session_forgotten_while_it_was_opened_is_given_up(
    flexprice: Any, add_user: Any, add_order: Any, deliver: Any, check_for: Any, the_order: Any,
    event: str | None,
) -> None:  # fmt: skip
    """The answer to its create call was lost, and Flexprice knows neither session nor customer any more.

    Kind: every open state has a way out.
    """
    add_user()
    ref = add_order(session_requested_at=now(), status_changed_at=now(), next_attempt_at=now())
    if event:  # it named the session, and is set aside in the end
        deliver(event)
        flexprice.answer("GET", SESSION, UNKNOWN, 404)
    flexprice.answer("POST", "/subscriptions/search", UNKNOWN, 404)
    check_for(59 * MINUTE)
    assert the_order().state == State.PLACED
    check_for(2 * HOUR)
    assert (the_order().state, the_order().slot) == (State.ABANDONED, None)
    assert the_order().review_note == orders.LOST
    flexprice.mock.reset()
    paid = flexprice.subscription(metadata={"order_ref": ref}, latest_invoice={"id": "inv_01"})  # late money
    flexprice.answer("POST", "/subscriptions/search", listed(paid))
    flexprice.answer("GET", INVOICE, DOWN, 503)
    check_for(6 * HOUR)
    assert the_order().state == State.PAID


def test_unknown_session_is_asked_about_three_times(
    flexprice: Any, add_due: Any, work: Any, the_order: Any, pass_time: Any
) -> None:
    """One missing answer may be a replica that lags, however late it comes."""
    add_due(expires_at=now() - 3 * HOUR)
    flexprice.answer("GET", SESSION, UNKNOWN, 404)
    flexprice.answer("GET", PAYMENT, UNKNOWN, 404)
    states = []
    for _ in range(3):
        work()
        states.append(the_order().state)
        pass_time(12 * HOUR)
    assert states == [State.AWAITING_PAYMENT, State.AWAITING_PAYMENT, State.ABANDONED]


def test_missing_route_is_no_missing_session(
    context: Any, flexprice: Any, add_due: Any, the_order: Any
) -> None:
    add_due()
    flexprice.mock.add("GET", f"http://127.0.0.1:8001/v1{SESSION}", body="404 page not found", status=404)
    with pytest.raises(RouteNotFound):
        reconciliation.check_order(1)
    assert the_order().state == State.AWAITING_PAYMENT


# -- lost answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "found", "state"),
    [
        (1, "active", State.FULFILLED),
        (1, "trialing", State.FULFILLED),
        (1, "draft", State.PLACED),
        (59, None, State.PLACED),
        (59, "draft", State.PLACED),
        (61, None, State.ABANDONED),
        (61, "draft", State.ABANDONED),
    ],
)
def test_order_whose_answer_was_lost(
    flexprice: Any, add_user: Any, add_order: Any, invoice_of_order: Any, work: Any, the_order: Any,
    minutes: int, found: str | None, state: State,
) -> None:  # fmt: skip
    add_user()
    then = now() - minutes * MINUTE
    ref = add_order(session_requested_at=then, created_at=then, status_changed_at=then, next_attempt_at=then)
    trace = flexprice.subscription(
        subscription_status=found, metadata={"order_ref": ref}, latest_invoice={"id": "inv_01"}
    )
    flexprice.answer("POST", "/subscriptions/search", listed(trace) if found else NOTHING)
    if state is State.FULFILLED:
        flexprice.answer("GET", INVOICE, invoice_of_order(invoice_number="INV-1", payment_status="SUCCEEDED"))
        flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription())
    work()
    order = the_order()
    assert order.state == state
    assert flexprice.sent(0)["external_customer_id"] == order.customer_key
    if state is State.ABANDONED:
        left = "; a draft was left over: subs_01" if found else ""
        assert order.review_note == orders.LOST + left


def test_unreadable_subscription_excludes_no_payment(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, the_order: Any
) -> None:
    add_user()
    add_order(session_requested_at=now() - 2 * HOUR)
    flexprice.answer("POST", "/subscriptions/search", listed({"id": 7}, flexprice.subscription()))
    with pytest.raises(FlexpriceError):
        reconciliation.check_order(1)
    assert the_order().state == State.PLACED


def test_abandoned_order_that_was_paid_is_found(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, the_order: Any
) -> None:
    add_user()
    ref = add_order(state=State.ABANDONED, review_note=orders.LOST)
    trace = flexprice.subscription(metadata={"order_ref": ref})
    flexprice.answer("POST", "/subscriptions/search", listed(trace))
    reconciliation.check_order(1)
    assert (the_order().state, the_order().subscription_id) == (State.PAID, "subs_01")
    assert the_order().review_note is None


def test_oldest_payment_of_an_order_counts(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, the_order: Any
) -> None:
    add_user()
    ref = add_order(state=State.ABANDONED, review_note=orders.LOST)
    younger, older = (
        flexprice.subscription(id=id_, created_at=made, metadata={"order_ref": ref})
        for id_, made in (("subs_1", "2026-09-02T10:00:00Z"), ("subs_2", "2026-09-01T10:00:00Z"))
    )
    flexprice.answer("POST", "/subscriptions/search", listed(younger, older))
    reconciliation.check_order(1)
    assert the_order().subscription_id == "subs_2"


def test_drafts_that_are_left_over_are_named(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, the_order: Any
) -> None:
    add_user()
    ref = add_order(session_requested_at=now() - 61 * MINUTE)
    drafts = [
        flexprice.subscription(id=id_, subscription_status="draft", metadata={"order_ref": ref})
        for id_ in ("subs_1", "subs_2")
    ]
    flexprice.answer("POST", "/subscriptions/search", listed(*drafts))
    reconciliation.check_order(1)
    assert the_order().review_note == f"{orders.LOST}; a draft was left over: subs_1, subs_2"


@pytest.mark.parametrize(
    ("seconds", "found", "made_room", "state"),
    [
        (59, None, False, State.PLACED),
        (61, None, True, State.ABANDONED),
        (61, "draft", True, State.ABANDONED),
        (61, "active", False, State.PAID),
    ],
)
def test_customer_begins_again_after_a_minute(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, the_order: Any, seconds: int,
    found: str | None, made_room: bool, state: State,
) -> None:  # fmt: skip
    """Kind: every open state has a way out."""
    add_user()
    ref = add_order(session_requested_at=now() - seconds * SECOND)
    trace = flexprice.subscription(subscription_status=found, metadata={"order_ref": ref})
    flexprice.answer("POST", "/subscriptions/search", listed(trace) if found else NOTHING)
    order = orders.find(ref=ref)
    assert order
    assert reconciliation.restart(order) is made_room
    assert the_order().state == state
    if made_room:
        assert the_order().review_note == orders.LOST + ("; a draft was left over: subs_01" if found else "")


# -- paid orders -------------------------------------------------------------------------------------


def test_paid_order_without_an_invoice_is_asked_often(
    flexprice: Any, add_due: Any, invoice_of_order: Any, check_for: Any, the_order: Any
) -> None:
    add_due(State.PAID, invoice_verified_at=None)
    for _ in range(3):
        flexprice.answer("GET", INVOICE, DOWN, 503)
    flexprice.answer("GET", INVOICE, invoice_of_order(invoice_number="INV-1"))
    flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription())
    assert len(check_for(MINUTE)) == 4  # after about 0, 2, 4 and 8 seconds
    assert (the_order().state, the_order().invoice_number) == (State.FULFILLED, "INV-1")


def test_verified_paid_order_needs_no_call(add_due: Any, work: Any, the_order: Any, flexprice: Any) -> None:
    add_due(State.PAID)
    flexprice.answer("GET", INVOICE, DOWN, 503)  # only for the receipt, afterwards
    work()
    assert the_order().state == State.FULFILLED


def test_outage_delays_no_paid_order_for_a_day(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any, sent: Any
) -> None:
    add_due(State.PAID, invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, DOWN, 503)
    with sent(order_needs_attention) as notes:
        found = check_for(2 * HOUR)
    assert max(second - first for first, second in pairwise(found)) <= 300 + 60
    assert [note["note"] for note in notes] == ["Paid, and not fulfilled after many attempts: see the log"]


def test_failing_hook_is_tried_daily_and_flagged(
    add_due: Any, check_for: Any, the_order: Any, fail_to_fulfill: Any, sent: Any
) -> None:
    add_due(State.PAID)
    fail_to_fulfill()
    with sent(order_needs_attention) as notes:
        found = check_for(3 * DAY)
    assert len(notes) == 1
    assert the_order().state == State.PAID
    assert found[-1] - found[-2] == pytest.approx(86400, abs=60)


def test_overwritten_before_fulfillment_is_for_a_person(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any
) -> None:
    add_due(State.PAID, invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, UNKNOWN, 404)
    flexprice.answer("GET", SESSION, ended(flexprice, completed_at="2026-09-01T10:00:00Z"))
    flexprice.answer("GET", PAYMENT, payment("INITIATED"))
    check_for(SECOND)
    assert the_order().state == State.STUCK
    assert "overwritten" in the_order().review_note


@pytest.mark.parametrize(
    ("session", "state", "by"),
    [
        ({"checkout_status": "completed", "terminal": True}, State.PAID, None),  # a replica lags
        ({"checkout_status": "pending"}, State.PAID, None),
        ({"checkout_status": "expired", "terminal": True}, State.STUCK, "worker"),  # overwritten
        ({"checkout_status": "failed", "terminal": True, "completed_at": "2026-09-01T10:01:00Z"},
         State.STUCK, "worker"),
    ],
)  # fmt: skip
def test_paid_order_whose_invoice_is_gone_is_never_unpaid(
    flexprice: Any, add_due: Any, check_for: Any, the_order: Any, rows: Any, session: dict[str, Any],
    state: State, by: str | None,
) -> None:  # fmt: skip
    add_due(State.PAID, invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, UNKNOWN, 404)
    flexprice.answer("GET", SESSION, flexprice.session(**session))
    check_for(SECOND)
    assert the_order().state == state
    assert [moved.by for moved in rows(OrderTransition)] == ([by] if by else [])


def test_paid_order_with_another_invoice_is_held(
    context: Any, flexprice: Any, add_due: Any, invoice_of_order: Any, the_order: Any, rows: Any
) -> None:
    add_due(State.PAID, invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, invoice_of_order(subtotal="599"))
    reconciliation.check_order(1)
    assert [(moved.to_state, moved.by) for moved in rows(OrderTransition)] == [(State.HELD, "worker")]
    assert rows(PlanAccess) == []


@pytest.mark.parametrize(
    "order",
    [{}, {"session_id": None}, {"session_id": None, "invoice_id": None, "subscription_id": "subs_01"}],
)
def test_invoice_that_a_replica_lacks_is_read_later(
    context: Any, flexprice: Any, add_due: Any, the_order: Any, order: dict[str, Any]
) -> None:
    add_due(State.PAID, invoice_verified_at=None, **order)
    if "invoice_id" in order:
        flexprice.answer("POST", "/invoices/search", NOTHING)
    else:
        flexprice.answer("GET", INVOICE, UNKNOWN, 404)
    if "session_id" not in order:
        flexprice.answer("GET", SESSION, flexprice.session())
    with pytest.raises(ServerError):
        reconciliation.check_order(1)
    assert the_order().state == State.PAID


def test_paid_order_finds_its_invoice_by_the_session(
    context: Any, flexprice: Any, add_due: Any, invoice_of_order: Any, the_order: Any
) -> None:
    add_due(State.PAID, invoice_id=None, invoice_verified_at=None)
    flexprice.answer("GET", SESSION, ended(flexprice, "completed"))
    flexprice.answer("GET", INVOICE, invoice_of_order())
    reconciliation.check_order(1)
    assert the_order().state == State.FULFILLED


def test_paid_order_finds_its_invoice_by_the_subscription(
    context: Any, flexprice: Any, add_due: Any, invoice_of_order: Any, the_order: Any
) -> None:
    add_due(State.PAID, invoice_id=None, session_id=None, subscription_id="subs_01", invoice_verified_at=None)
    settled = invoice_of_order(invoice_status="FINALIZED", payment_status="SUCCEEDED")
    flexprice.answer("POST", "/invoices/search", listed(settled))
    flexprice.answer("GET", INVOICE, settled)
    reconciliation.check_order(1)
    assert the_order().state == State.FULFILLED
    assert flexprice.sent(0)["subscription_id"] == "subs_01"


def test_invoice_that_embeds_nothing_is_completed(
    context: Any, flexprice: Any, add_due: Any, invoice_of_order: Any, the_order: Any
) -> None:
    add_due(State.PAID, invoice_verified_at=None)
    flexprice.answer("GET", INVOICE, invoice_of_order(subscription=None, customer=None))
    flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription())
    reconciliation.check_order(1)
    assert the_order().state == State.FULFILLED
