"""What the events of a checkout session do to its order."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
import responses
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import update

from storefront.checkout import State, orders, webhooks
from storefront.checkout.context import commit
from storefront.checkout.signals import order_needs_attention
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.flexprice import CheckoutSession
from storefront.models import PlanAccess, WebhookEvent

SESSION = "/checkout/sessions/cs_01"
API = "http://127.0.0.1:8001/v1"
NOT_FOUND = {"code": "not_found", "message": "checkout session not found"}
MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


# -- checkout.session.* ------------------------------------------------------------------------------


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


def test_completed_event_of_an_overwritten_session_needs_a_person(
    context: Any, flexprice: Any, add_opened: Any, deliver: Any, the_order: Any
) -> None:
    """The event says paid, the session says expired, without the time of the payment."""
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session(checkout_status="expired", terminal=True))
    deliver("completed", checkout_session={"id": "cs_01", "checkout_status": "expired", "terminal": True})
    webhooks.process_event("msg_1")
    assert the_order().state == State.STUCK


def test_one_event_settles_no_other(
    context: Any, add_opened: Any, deliver: Any, webhook: Any, rows: Any
) -> None:
    add_opened()
    session = webhook("expired")["checkout_session"] | {"terminal": True}
    for number in (1, 2):
        deliver("expired", f"msg_{number}", checkout_session=session)
    db.session.execute(update(WebhookEvent).values(received_at=now()))
    commit()
    webhooks.process_event("msg_1")
    waiting = {event.id: event.processed_at is None for event in rows(WebhookEvent)}
    assert waiting == {"msg_1": False, "msg_2": True}


def test_failed_payment_writes_one_email(
    context: Any, add_opened: Any, deliver: Any, webhook: Any, rows: Any
) -> None:
    add_opened()
    session = webhook("failed")["checkout_session"] | {"terminal": True}
    for number in range(3):
        deliver("failed", f"msg_{number}", checkout_session=session)
        webhooks.process_event(f"msg_{number}")
    assert [email.kind for email in rows(Email)] == ["payment_failed"]


@pytest.mark.parametrize(
    "change", [{"checkout_status": "pending"}, {"customer_id": ""}, {"customer_id": None}]
)
def test_body_that_is_not_whole_is_asked_about(
    flexprice: Any, add_opened: Any, deliver: Any, webhook: Any, work: Any, the_order: Any,
    change: dict[str, Any],
) -> None:  # fmt: skip
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session())
    deliver(checkout_session=webhook("completed")["checkout_session"] | change)
    work()
    assert the_order().state == State.AWAITING_PAYMENT
    assert flexprice.calls == [("GET", SESSION)]


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
    """`failed` and `expired` are told while Flexprice, when asked, says completed.

    Kind: events in any order.
    """
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


# -- sessions that no order has yet ------------------------------------------------------------------


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
        ({}, {"id": "cust_99"}, "a payment of another customer"),
        (
            {"checkout_status": "expired", "terminal": True},
            {"id": "cust_99"},
            "the session of another customer",
        ),
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
        order = orders.find(ref=ref)
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
    context: Any, flexprice: Any, add_opened: Any, deliver: Any, webhook: Any, the_order: Any, said: Any
) -> None:
    ref = add_opened()
    second = flexprice.session(id="cs_02", idempotency_key=ref, checkout_status="completed", terminal=True)
    flexprice.answer("GET", "/checkout/sessions/cs_02", second)
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, flexprice.customer())
    deliver(checkout_session=second)
    webhooks.process_event("msg_1")
    assert the_order().review_note == "Session cs_02 of this order was paid as well: refund it"
    assert said() == "another session of an order that has its own"
    assert (the_order().state, the_order().session_id) == (State.AWAITING_PAYMENT, "cs_01")
