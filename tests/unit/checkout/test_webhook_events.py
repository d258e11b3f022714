"""Processing webhook events: what each one does to its order, and what happens to one that cannot be used."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
import responses
from sqlalchemy import event as sqlalchemy_event

from storefront.checkout import State, orders, webhooks
from storefront.checkout.context import commit
from storefront.checkout.signals import order_needs_attention
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.flexprice import CheckoutSession
from storefront.models import Order, PlanAccess, WebhookEvent

SESSION = "/checkout/sessions/cs_01"
API = "http://127.0.0.1:8001/v1"
NOT_FOUND = {"code": "not_found", "message": "checkout session not found"}
MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def deliver(send_webhook: Any, webhook: Any) -> Any:
    """Delivers a signed webhook about the session."""

    def send(status: str = "completed", message_id: str = "msg_1", **changes: Any) -> None:
        assert send_webhook(webhook(status, **changes), message_id=message_id).status_code == 204

    return send


# -- checkout.session.* -----------------------------------------------------------------------------


def test_completed_fulfills_without_a_call(
    flexprice: Any, add_opened: Any, deliver: Any, work: Any, the_order: Any, the_event: Any, rows: Any
) -> None:
    """The invoice was verified while the customer paid."""
    add_opened()
    deliver()
    work()
    order = the_order()
    assert (order.state, order.review_note) == (State.FULFILLED, None)
    assert (order.paid_at, order.fulfilled_at) != (None, None)
    assert (the_event().outcome, the_event().next_attempt_at) == ("applied", None)
    assert [access.plan_id for access in rows(PlanAccess)] == ["plan_01"]
    assert [email.kind for email in rows(Email)] == ["welcome"]


def test_completed_needs_one_transaction(context: Any, add_opened: Any, deliver: Any, rows: Any) -> None:
    """Event processed, order paid and fulfilled, access granted, email owed: together or not at all."""
    add_opened()
    deliver()
    commits: list[int] = []

    def count(_connection: Any) -> None:
        commits.append(len(rows(PlanAccess)))

    sqlalchemy_event.listen(db.engine, "commit", count)
    assert webhooks.process_event("msg_1")
    sqlalchemy_event.remove(db.engine, "commit", count)
    assert len(commits) == 1
    assert len(rows(PlanAccess)) == len(rows(Email)) == 1


def test_completed_without_a_verified_invoice_is_paid_first(
    flexprice: Any, add_opened: Any, deliver: Any, work: Any, the_order: Any, rows: Any
) -> None:
    add_opened(invoice_verified_at=None)
    deliver()
    flexprice.answer("GET", "/invoices/inv_01", {"error": "down"}, 503)
    work()
    assert the_order().state == State.PAID
    assert rows(PlanAccess) == []


@pytest.mark.parametrize(
    ("status", "state"),
    [("failed", State.FAILED), ("expired", State.EXPIRED), ("cancelled", State.EXPIRED)],
)
def test_end_of_the_session_ends_the_order(
    context: Any, add_opened: Any, deliver: Any, webhook: Any, the_order: Any, status: str, state: State
) -> None:
    add_opened()
    session = webhook("failed" if status == "failed" else "expired")["checkout_session"]
    deliver(status, checkout_session=session | {"terminal": True})
    assert webhooks.process_event("msg_1")
    assert (the_order().state, the_order().slot) == (state, None)


def test_cancelled_event_of_a_cancelled_order(
    context: Any, add_opened: Any, deliver: Any, webhook: Any, the_order: Any
) -> None:
    add_opened(cancel_requested_at=now())
    session = webhook("expired")["checkout_session"] | {"terminal": True}
    deliver("cancelled", checkout_session=session)
    webhooks.process_event("msg_1")
    assert the_order().state == State.CANCELLED


def test_failed_payment_writes_one_email(
    context: Any, add_opened: Any, deliver: Any, webhook: Any, rows: Any
) -> None:
    add_opened()
    session = webhook("failed")["checkout_session"] | {"terminal": True}
    for number in range(3):
        deliver("failed", f"msg_{number}", checkout_session=session)
        webhooks.process_event(f"msg_{number}")
    assert [email.kind for email in rows(Email)] == ["payment_failed"]


def test_initiated_of_a_known_session_is_no_news(
    context: Any, add_opened: Any, deliver: Any, the_event: Any, the_order: Any
) -> None:
    add_opened()
    deliver("initiated", checkout_session={"id": "cs_01", "checkout_status": "pending"})
    webhooks.process_event("msg_1")
    assert the_event().outcome == "we created it"
    assert the_order().state == State.AWAITING_PAYMENT


def test_status_that_contradicts_the_type_is_asked_about(
    context: Any, flexprice: Any, add_opened: Any, deliver: Any, webhook: Any, the_order: Any
) -> None:
    """The body is built at delivery: `initiated` may say `completed`."""
    add_opened()
    deliver("initiated", checkout_session=webhook("completed")["checkout_session"] | {"terminal": True})
    webhooks.process_event("msg_1")
    assert the_order().state == State.AWAITING_PAYMENT  # what it says is told by its own event

    flexprice.answer("GET", SESSION, flexprice.session(checkout_status="completed", terminal=True))
    failed = webhook("completed")["checkout_session"] | {"terminal": True}
    deliver("failed", "msg_2", checkout_session=failed)
    webhooks.process_event("msg_2")
    assert the_order().state == State.FULFILLED


def test_replica_that_lags_is_asked_again(
    flexprice: Any, add_opened: Any, deliver: Any, work: Any, the_order: Any, the_event: Any, pass_time: Any
) -> None:
    add_opened()
    deliver("completed", checkout_session={"id": "cs_01", "checkout_status": "pending"})
    flexprice.answer("GET", SESSION, flexprice.session())
    work()
    assert (the_event().processed_at, the_event().outcome) == (None, "Flexprice does not say so yet")
    flexprice.mock.reset()
    flexprice.answer("GET", SESSION, flexprice.session(checkout_status="completed", terminal=True))
    pass_time(timedelta(seconds=1))
    work()
    assert the_order().state == State.FULFILLED


def test_news_of_another_customer_is_not_believed(
    context: Any, add_opened: Any, deliver: Any, the_order: Any, sent: Any
) -> None:
    add_opened(flexprice_customer_id="cust_99")
    deliver()
    with sent(order_needs_attention) as notes:
        webhooks.process_event("msg_1")
    assert the_order().state == State.AWAITING_PAYMENT
    assert "not believed" in the_order().review_note
    assert len(notes) == 1


ORDERS = list(permutations(("initiated", "completed", "failed", "expired")))
REST = [pytest.param(order, marks=pytest.mark.thorough) for order in ORDERS if ORDERS.index(order) % 4]


@pytest.mark.parametrize("statuses", [*ORDERS[::4], *REST])
def test_any_order_of_events_is_the_same_sale(
    add_opened: Any, deliver: Any, webhook: Any, work: Any, the_order: Any, rows: Any, statuses: Any
) -> None:
    """`failed` and `expired` are told while Flexprice, when asked, says completed."""
    add_opened()
    completed = webhook("completed")["checkout_session"] | {"terminal": True}
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add("GET", API + SESSION, json=completed)
        for number, status in enumerate(statuses * 2):
            deliver(status, f"msg_{number}", checkout_session=completed)
            work()
    assert the_order().state == State.FULFILLED
    assert [email.kind for email in rows(Email)] == ["welcome"]
    assert len(rows(PlanAccess)) == 1


# -- sessions that no order has yet -----------------------------------------------------------------


def test_session_of_a_lost_answer_is_adopted(
    flexprice: Any, add_user: Any, add_order: Any, deliver: Any, work: Any, the_order: Any, the_event: Any
) -> None:
    add_user()
    ref = add_order(session_requested_at=now())
    deliver("initiated")
    flexprice.answer("GET", SESSION, flexprice.session(idempotency_key=ref))
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, flexprice.customer())
    flexprice.answer("GET", "/invoices/inv_01", {"error": "down"}, 503)
    work()
    assert the_event().outcome == "session adopted"
    assert (the_order().state, the_order().session_id) == (State.AWAITING_PAYMENT, "cs_01")


def test_paid_session_of_a_lost_answer_is_adopted(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, deliver: Any, the_order: Any
) -> None:
    add_user()
    ref = add_order(session_requested_at=now())
    deliver()
    paid = flexprice.session(idempotency_key=ref, checkout_status="completed", terminal=True)
    flexprice.answer("GET", SESSION, paid)
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, flexprice.customer())
    webhooks.process_event("msg_1")
    assert (the_order().state, the_order().session_id) == (State.PAID, "cs_01")


@pytest.mark.parametrize(
    ("session", "customer", "outcome"),
    [
        ({"idempotency_key": "of another shop"}, None, "not one of our sessions"),
        ({}, {"id": "cust_99"}, "the session of another customer"),
        (
            {"checkout_status": "failed", "terminal": True},
            {},
            "an attempt that was never shown moves nothing",
        ),
    ],
)
def test_session_that_is_not_ours_is_not_adopted(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, deliver: Any, the_order: Any,
    the_event: Any, session: dict[str, Any], customer: dict[str, Any] | None, outcome: str,
) -> None:  # fmt: skip
    add_user()
    ref = add_order(session_requested_at=now() - 5 * MINUTE)
    told = flexprice.session(checkout_status="completed", terminal=True, idempotency_key=ref) | session
    flexprice.answer("GET", SESSION, told)
    if customer is not None:
        path = "/customers/external/" + the_order().customer_key
        flexprice.answer("GET", path, flexprice.customer(**customer))
    deliver(told["checkout_status"])
    webhooks.process_event("msg_1")
    assert the_event().outcome == outcome
    assert (the_order().state, the_order().session_id) == (State.PLACED, None)


def test_end_of_a_session_being_opened_waits(
    flexprice: Any, add_user: Any, add_order: Any, deliver: Any, work: Any, the_order: Any, the_event: Any
) -> None:
    """The event may have overtaken the answer to our own request."""
    add_user()
    ref = add_order(session_requested_at=now())
    ended = flexprice.session(idempotency_key=ref, checkout_status="failed", terminal=True)
    flexprice.answer("GET", SESSION, ended)
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, flexprice.customer())
    deliver("failed")
    work()
    assert (the_event().processed_at, the_order().state) == (None, State.PLACED)


def test_session_recorded_during_the_question_is_ours(
    context: Any, flexprice: Any, add_user: Any, add_order: Any, deliver: Any, work: Any, the_order: Any,
    pass_time: Any,
) -> None:  # fmt: skip
    """One worker asks whose session it is; the create call is answered at that moment."""
    add_user()
    ref = add_order(session_requested_at=now())
    failed = flexprice.session(checkout_status="failed", terminal=True, idempotency_key=ref)

    def answer(_request: Any) -> tuple[int, dict[str, str], str]:
        order = orders.find_by_ref(ref)
        assert order
        orders.record_session(order, CheckoutSession("cs_01", "cust_01", "pending"), by="customer")
        commit()
        return 200, {}, json.dumps(failed)

    flexprice.mock.add_callback("GET", API + SESSION, answer)
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, flexprice.customer())
    deliver("failed")
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:  # the order itself is not due
            patch.setattr("storefront.checkout.worker.check_order", lambda _: True)
            work()
        pass_time(timedelta(seconds=2))
    assert the_order().state == State.FAILED


def test_second_session_that_was_paid_is_noted(
    context: Any, flexprice: Any, add_opened: Any, deliver: Any, webhook: Any, the_order: Any
) -> None:
    ref = add_opened()
    second = flexprice.session(id="cs_02", idempotency_key=ref, checkout_status="completed", terminal=True)
    flexprice.answer("GET", "/checkout/sessions/cs_02", second)
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, flexprice.customer())
    deliver(checkout_session=second)
    webhooks.process_event("msg_1")
    assert the_order().review_note == "Session cs_02 of this order was paid as well: refund it"
    assert (the_order().state, the_order().session_id) == (State.AWAITING_PAYMENT, "cs_01")


# -- events that cannot be used now -----------------------------------------------------------------


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


def test_money_that_matches_nothing_is_reported(
    flexprice: Any, deliver: Any, work: Any, pass_time: Any, the_event: Any, sent: Any
) -> None:
    """As after a restored backup: a payment with a key of ours, and no such order."""
    deliver()
    paid = flexprice.session(checkout_status="completed", terminal=True, idempotency_key="0" * 32)
    flexprice.answer("GET", SESSION, paid)
    pass_time(timedelta(minutes=61))
    with sent(order_needs_attention) as notes:
        work()
    assert the_event().outcome == "a payment for an order that does not exist here"
    assert "is set aside" in notes[0]["note"]


def test_event_that_fails_ten_times_is_reported(
    deliver: Any, work: Any, the_event: Any, pass_time: Any, sent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_event: Any) -> str:
        raise RuntimeError("a bug of ours")

    monkeypatch.setitem(webhooks.HANDLERS, "checkout.session.completed", fail)
    deliver()
    with sent(order_needs_attention) as notes:
        for _ in range(12):
            work()
            pass_time(timedelta(days=1))
    assert [note["note"] for note in notes] == ["Webhook event msg_1 failed 10 times: RuntimeError"]
    event = the_event()
    assert (event.attempts, event.outcome) == (12, "failed: RuntimeError")
    assert "a bug of ours" in event.error
    assert event.next_attempt_at is not None


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


# -- subscription.* ---------------------------------------------------------------------------------


@pytest.fixture
def ended(flexprice: Any, send_webhook: Any) -> Any:
    """Delivers `subscription.<how>`, and lets Flexprice say the same when asked."""

    def send(ref: str, how: str = "cancelled", asked: bool = True, **changes: Any) -> None:
        status = {"subscription_status": "cancelled" if how == "cancelled" else "active"}
        told = flexprice.subscription(metadata={"order_ref": ref}, **status | changes)
        if asked:
            flexprice.answer("GET", "/subscriptions/subs_01", told)
        body = {"event_type": f"subscription.{how}", "subscription": told}
        assert send_webhook(body, message_id="msg_end").status_code == 204

    return send


@pytest.mark.parametrize("known", [None, "subs_01"])
def test_cancelled_subscription_ends_access(
    context: Any, add_opened: Any, ended: Any, work: Any, the_order: Any, rows: Any, deliver: Any,
    known: str | None,
) -> None:  # fmt: skip
    ref = add_opened(subscription_id=known)
    deliver()
    webhooks.process_event("msg_1")
    ended(ref)
    webhooks.process_event("msg_end")
    order = the_order()
    assert (order.state, order.slot, order.subscription_id) == (State.FULFILLED, None, "subs_01")
    assert order.revoked_at is not None
    assert rows(PlanAccess)[0].revoked_at is not None


def test_scheduled_end_keeps_access_until_then(
    context: Any, add_opened: Any, ended: Any, the_order: Any
) -> None:
    ref = add_opened(state=State.FULFILLED)
    ended(ref, "updated", cancel_at="2027-01-31T18:30:00Z")
    webhooks.process_event("msg_end")
    order = the_order()
    assert order.access_ends_at == datetime(2027, 1, 31, 18, 30)  # noqa: DTZ001
    assert order.revoked_at is None


def test_end_of_an_unfulfilled_order_waits(
    context: Any, add_opened: Any, ended: Any, rows: Any, the_order: Any, act: Any
) -> None:
    """Otherwise there would be no access to end, and then one that never ends."""
    ref = add_opened(state=State.PAID)
    ended(ref, asked=False)
    assert not webhooks.process_event("msg_end")
    act(ref, orders.fulfill, by="worker")
    ended(ref)
    webhooks.process_event("msg_end")
    assert the_order().revoked_at is not None


def test_subscription_of_an_open_order_is_a_trace(
    context: Any, add_user: Any, add_order: Any, ended: Any, the_order: Any
) -> None:
    add_user()
    ref = add_order(session_requested_at=now(), next_attempt_at=now() + timedelta(hours=1))
    ended(ref, "created", asked=False)
    webhooks.process_event("msg_end")
    assert the_order().state == State.PLACED
    assert the_order().next_attempt_at <= now()  # the worker looks for the lost session at once


def test_subscription_bought_before_ends_nothing_new(
    context: Any, add_opened: Any, ended: Any, the_order: Any
) -> None:
    ref = add_opened(state=State.FULFILLED, subscription_id="subs_of_another_sale")
    ended(ref, asked=False)
    webhooks.process_event("msg_end")
    assert the_order().revoked_at is None


def test_deleted_subscription_ends_access(
    context: Any, flexprice: Any, add_opened: Any, ended: Any, the_order: Any
) -> None:
    ref = add_opened(state=State.FULFILLED, subscription_id="subs_01")
    ended(ref, asked=False)
    flexprice.answer("GET", "/subscriptions/subs_01", NOT_FOUND, 404)
    webhooks.process_event("msg_end")
    assert the_order().revoked_at is not None


# -- refund.* ---------------------------------------------------------------------------------------


@pytest.fixture
def refund(send_webhook: Any) -> Any:
    def send(how: str = "succeeded") -> None:
        body = {"id": "re_1", "payment_id": "pay_01", "refund_status": how, "currency": "inr"}
        assert send_webhook({"event_type": f"refund.{how}", "refund": body}, message_id="msg_refund")
        webhooks.process_event("msg_refund")

    return send


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (State.EXPIRED, State.PAID_LATE),
        (State.CANCELLED, State.PAID_LATE),
        (State.HELD, State.REFUNDED),
        (State.STUCK, State.REFUNDED),
        (State.PAID_TWICE, State.REFUNDED),
    ],
)
def test_refund_closes_what_waits(
    context: Any, add_opened: Any, refund: Any, the_order: Any, state: State, after: State
) -> None:
    add_opened(state=state)
    refund()
    assert the_order().state == after
    assert the_order().refunded_at is not None


@pytest.mark.parametrize("state", [State.PAID, State.FULFILLED])
def test_refund_of_a_sale_is_noted(
    context: Any, add_opened: Any, refund: Any, the_order: Any, state: State
) -> None:
    add_opened(state=state)
    refund()
    assert (the_order().state, the_order().revoked_at) == (state, None)
    assert the_order().review_note == "Flexprice reports a refund for this order"


def test_refund_of_an_open_order_asks_the_session_first(
    context: Any, flexprice: Any, add_opened: Any, refund: Any, the_order: Any
) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session(checkout_status="completed", terminal=True))
    refund()
    assert the_order().state == State.FULFILLED
    assert the_order().refunded_at is not None


def test_refund_that_failed_is_noted(context: Any, add_opened: Any, refund: Any, the_order: Any) -> None:
    add_opened(state=State.PAID_TWICE)
    refund("failed")
    assert the_order().state == State.PAID_TWICE
    assert "could not send the money back" in the_order().review_note


def test_refund_of_another_payment_is_ignored(context: Any, refund: Any, the_event: Any) -> None:
    refund()
    assert the_event().outcome == "not one of our payments"


def test_events_hold_no_text_that_a_log_repeats(rows: Any, deliver: Any, work: Any, caplog: Any) -> None:
    deliver("brand_new", note="private@example.com")
    work()
    assert "private@example.com" not in caplog.text
    assert len(rows(WebhookEvent)) == 1
