"""Webhook events that cannot be used now: tried again, set aside, reported."""

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import pytest

from storefront.checkout import State, webhooks
from storefront.checkout.signals import order_needs_attention
from storefront.models import Order, PlanAccess

SESSION = "/checkout/sessions/cs_01"
API = "http://127.0.0.1:8001/v1"
NOT_FOUND = {"code": "not_found", "message": "checkout session not found"}
MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


# -- events that cannot be used now ------------------------------------------------------------------


def test_unknown_session_is_set_aside_after_an_hour(
    flexprice: Any, deliver: Any, work: Any, the_event: Any, pass_time: Any, sent: Any
) -> None:
    deliver()
    flexprice.answer("GET", SESSION, NOT_FOUND, 404)
    waited = timedelta()
    with sent(order_needs_attention) as notes:
        while (gap := due_in(the_event)) is not None:
            pass_time(gap)
            waited += gap
            work()
    assert timedelta(minutes=60) < waited < timedelta(minutes=80)
    assert the_event().outcome == "Flexprice does not know the session (yet)"
    assert (the_event().processed_at, the_event().next_attempt_at) == (None, None)
    assert the_event().body is not None  # it can be processed again
    assert [note["order"] for note in notes] == [None]
    pass_time(timedelta(days=1))
    assert work() == 0


def due_in(the_event: Any) -> timedelta | None:
    due = the_event().next_attempt_at
    return max(due - now(), timedelta()) + timedelta(milliseconds=1) if due else None


def test_retries_wait_longer_each_time(
    flexprice: Any, deliver: Any, work: Any, the_event: Any, pass_time: Any
) -> None:
    deliver()
    flexprice.answer("GET", SESSION, {"error": "down"}, 503)
    gaps = []
    for _ in range(14):
        work()
        gap = due_in(the_event)
        assert gap
        gaps.append(round(gap.total_seconds()))
        pass_time(gap)
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]
    assert the_event().processed_at is None


PAID = {"checkout_status": "completed", "terminal": True}
OVERWRITTEN = {"checkout_status": "expired", "terminal": True, "completed_at": "2026-09-01T10:01:00Z"}


@pytest.mark.parametrize(
    ("event", "session"),
    [("completed", PAID), ("expired", OVERWRITTEN), ("initiated", PAID)],
    ids=["completed", "overwritten since", "told by an earlier event"],
)
def test_money_that_matches_nothing_is_reported(
    flexprice: Any, deliver: Any, work: Any, pass_time: Any, the_event: Any, sent: Any, event: str,
    session: dict[str, Any],
) -> None:  # fmt: skip
    """As after a restored backup: a payment with a key of ours, and no such order.

    Kind: money that matches nothing is never silent.
    """
    deliver(event)
    flexprice.answer("GET", SESSION, flexprice.session(**session, idempotency_key="0" * 32))
    pass_time(timedelta(minutes=61))
    with sent(order_needs_attention) as notes:
        work()
    assert the_event().outcome == "a payment for an order that does not exist here"
    assert (the_event().processed_at, the_event().next_attempt_at) == (None, None)  # on the operator's list
    assert [note["order"] for note in notes] == [None]
    assert "is set aside" in notes[0]["note"]


@pytest.mark.parametrize("session", [PAID, OVERWRITTEN], ids=["completed", "overwritten since"])
def test_payment_of_another_customer_is_reported(
    flexprice: Any, add_user: Any, add_order: Any, deliver: Any, work: Any, pass_time: Any, the_event: Any,
    the_order: Any, sent: Any, session: dict[str, Any],
) -> None:  # fmt: skip
    """As after a restored backup, or beside another shop: a key of ours, and its customer is not ours.

    Kind: money that matches nothing is never silent.
    """
    add_user()
    ref = add_order(session_requested_at=now())
    deliver()
    flexprice.answer("GET", SESSION, flexprice.session(**session, idempotency_key=ref))
    other = flexprice.customer(id="cust_99")
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, other)
    pass_time(timedelta(minutes=61))
    with sent(order_needs_attention) as notes:
        work()
    assert the_event().outcome == "a payment of another customer"
    assert (the_event().processed_at, the_event().next_attempt_at) == (None, None)
    assert [note["order"] for note in notes] == [None]
    assert the_order().state == State.PLACED


def test_event_that_fails_ten_times_is_reported(
    deliver: Any, work: Any, the_event: Any, pass_time: Any, sent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_event: Any) -> str:
        raise RuntimeError("a bug of ours")

    monkeypatch.setitem(webhooks.HANDLERS, "checkout.session.completed", fail)
    deliver()
    gaps = []
    with sent(order_needs_attention) as notes:
        for _ in range(12):
            work()
            gaps.append(ceil((the_event().next_attempt_at - now()).total_seconds()))  # less a moment
            pass_time(timedelta(days=1))
    assert notes == [{"order": None, "note": "Webhook event msg_1 failed 10 times: RuntimeError"}]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 86400, 86400, 86400]
    event = the_event()
    assert (event.attempts, event.outcome) == (12, "failed: RuntimeError")
    assert event.error.startswith("Traceback (most recent call last):\n  File ")
    assert event.error.endswith("RuntimeError: a bug of ours\n")


def test_broken_event_delays_no_other(
    add_user: Any, add_opened: Any, add_order: Any, deliver: Any, work: Any, rows: Any, webhook: Any,
    fail_to_fulfill: Any,
) -> None:  # fmt: skip
    add_opened()
    for number in (2, 3):
        user = add_user(f"user{number}@example.com")
        opened = {"session_id": f"cs_{number}", "flexprice_customer_id": "cust_01", "payment_url": None}
        add_order(user, state=State.AWAITING_PAYMENT, invoice_verified_at=now(), **opened)
    for name in ("01", "2", "3"):
        session = webhook("completed")["checkout_session"] | {"id": f"cs_{name}", "terminal": True}
        deliver("completed", f"msg_{name}", checkout_session=session)
    fail_to_fulfill(only=lambda order: order.session_id == "cs_2")
    work()
    assert [order.state for order in rows(Order)] == ["fulfilled", "paid", "fulfilled"]
    assert [access.order_id for access in rows(PlanAccess)] == [1, 3]


def test_event_that_is_retried_by_hand_is_due(context: Any, deliver: Any, work: Any, the_event: Any) -> None:
    deliver("brand_new")
    work()
    assert the_event().outcome == "ignored"
    assert webhooks.retry("msg_1")
    assert not webhooks.retry("msg_unknown")
    assert (the_event().processed_at, the_event().attempts) == (None, 0)
    assert work() == 1


@pytest.mark.parametrize("kind", ["customer.created", "invoice.update.finalized", "brand.new"])
def test_other_events_are_ignored(send_webhook: Any, work: Any, the_event: Any, kind: str) -> None:
    send_webhook({"event_type": kind, kind.partition(".")[0]: {"id": "obj_1"}})
    work()
    assert the_event().outcome == "ignored"
