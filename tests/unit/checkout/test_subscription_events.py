"""What the events of subscriptions and refunds do to an order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from storefront.checkout import State, orders, webhooks
from storefront.extensions import db
from storefront.models import PlanAccess, WebhookEvent
from tests.shop_fixtures import NOW

SESSION = "/checkout/sessions/cs_01"
API = "http://127.0.0.1:8001/v1"
NOT_FOUND = {"code": "not_found", "message": "checkout session not found"}
MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


# -- subscription.* ----------------------------------------------------------------------------------


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
    said: Any, known: str | None,
) -> None:  # fmt: skip
    ref = add_opened(subscription_id=known)
    deliver()
    webhooks.process_event("msg_1")
    ended(ref)
    webhooks.process_event("msg_end")
    assert said() == "access ended"
    order = the_order()
    assert (order.state, order.slot, order.subscription_id) == (State.FULFILLED, None, "subs_01")
    assert order.revoked_at is not None
    assert rows(PlanAccess)[0].revoked_at is not None


def test_subscription_is_ours_by_its_id_alone(
    context: Any, add_opened: Any, ended: Any, the_order: Any, said: Any
) -> None:
    add_opened(state=State.FULFILLED, subscription_id="subs_01")
    ended("the reference was edited away")
    webhooks.process_event("msg_end")
    assert said() == "access ended"
    assert the_order().revoked_at is not None


def test_subscription_of_nobody_here_moves_nothing(
    context: Any, add_opened: Any, ended: Any, the_order: Any, said: Any
) -> None:
    add_opened(state=State.FULFILLED, subscription_id="subs_of_this_sale")
    ended("of another shop", asked=False)
    webhooks.process_event("msg_end")
    assert said() == "not one of our orders"
    assert the_order().revoked_at is None


@pytest.mark.parametrize("kind", ["updated", "cancelled"])
def test_news_after_the_end_attach_nothing(
    context: Any, add_opened: Any, ended: Any, the_order: Any, said: Any, kind: str
) -> None:
    ref = add_opened(state=State.FULFILLED, revoked_at=now(), slot=None)
    ended(ref, kind, asked=False)
    webhooks.process_event("msg_end")
    assert said() == "nothing to change"
    assert the_order().subscription_id is None


def test_scheduled_end_keeps_access_until_then(
    context: Any, add_opened: Any, ended: Any, the_order: Any, said: Any
) -> None:
    ref = add_opened(state=State.FULFILLED)
    ended(ref, "updated", cancel_at="2027-01-31T18:30:00Z")
    webhooks.process_event("msg_end")
    assert said() == "access follows the subscription"
    order = the_order()
    assert order.access_ends_at == datetime(2027, 1, 31, 18, 30)  # noqa: DTZ001
    assert order.revoked_at is None


def test_end_of_an_unfulfilled_order_waits(
    context: Any, add_opened: Any, ended: Any, said: Any, the_order: Any, act: Any
) -> None:
    """Otherwise there would be no access to end, and then one that never ends."""
    ref = add_opened(state=State.PAID)
    ended(ref, asked=False)
    assert not webhooks.process_event("msg_end")
    assert said() == "the order is to be fulfilled first"
    act(ref, orders.fulfill, by="worker")
    ended(ref)
    webhooks.process_event("msg_end")
    assert the_order().revoked_at is not None


def test_subscription_of_an_open_order_is_a_trace(
    context: Any, add_user: Any, add_order: Any, ended: Any, the_order: Any, said: Any
) -> None:
    add_user()
    ref = add_order(session_requested_at=now(), next_attempt_at=now() + timedelta(hours=1))
    ended(ref, "created", asked=False)
    webhooks.process_event("msg_end")
    assert said() == "the order is open"
    assert the_order().state == State.PLACED
    assert the_order().next_attempt_at <= now()  # the worker looks for the lost session at once


@pytest.mark.parametrize(
    "known", [{"session_id": "cs_01", "session_requested_at": NOW}, {"session_id": None}]
)
def test_subscription_of_an_order_that_lost_no_answer_is_no_trace(
    context: Any, add_opened: Any, ended: Any, the_order: Any, known: dict[str, Any]
) -> None:
    later = now() + timedelta(hours=1)
    ref = add_opened(**{"session_requested_at": None, "next_attempt_at": later} | known)
    ended(ref, "created", asked=False)
    webhooks.process_event("msg_end")
    assert the_order().next_attempt_at == later


def test_subscription_bought_before_ends_nothing_new(
    context: Any, add_opened: Any, ended: Any, the_order: Any, said: Any
) -> None:
    ref = add_opened(state=State.FULFILLED, subscription_id="subs_of_another_sale")
    ended(ref, asked=False)
    webhooks.process_event("msg_end")
    assert said() == "nothing to change"
    assert the_order().revoked_at is None


def test_deleted_subscription_ends_access(
    context: Any, flexprice: Any, add_opened: Any, ended: Any, the_order: Any
) -> None:
    ref = add_opened(state=State.FULFILLED, subscription_id="subs_01")
    ended(ref, asked=False)
    flexprice.answer("GET", "/subscriptions/subs_01", NOT_FOUND, 404)
    webhooks.process_event("msg_end")
    assert the_order().revoked_at is not None


@pytest.mark.parametrize(("kind", "signed"), [("updated", True), ("cancelled", False)])
def test_subscription_that_is_not_found_ends_no_access_by_that(
    context: Any, flexprice: Any, add_opened: Any, ended: Any, the_order: Any, kind: str, signed: bool
) -> None:
    """Only a signed `subscription.cancelled` and the 404 together say that it has ended."""
    ref = add_opened(state=State.FULFILLED, subscription_id="subs_01")
    ended(ref, kind, asked=False)
    db.session.execute(update(WebhookEvent).values(signed=signed))
    db.session.commit()
    flexprice.answer("GET", "/subscriptions/subs_01", NOT_FOUND, 404)
    webhooks.process_event("msg_end")
    assert the_order().revoked_at is None


# -- refund.* ----------------------------------------------------------------------------------------


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
    context: Any, add_opened: Any, refund: Any, the_order: Any, said: Any, state: State, after: State
) -> None:
    add_opened(state=state)
    refund()
    assert said() == "refund noted"
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


def test_refund_that_failed_is_noted(
    context: Any, add_opened: Any, refund: Any, the_order: Any, said: Any
) -> None:
    add_opened(state=State.PAID_TWICE)
    refund("failed")
    assert the_order().state == State.PAID_TWICE
    assert the_order().review_note == "Flexprice could not send the money back: refund it by hand"
    assert said() == "failed refund noted"


def test_refund_of_another_payment_is_ignored(context: Any, refund: Any, the_event: Any) -> None:
    refund()
    assert the_event().outcome == "not one of our payments"


def test_events_hold_no_text_that_a_log_repeats(rows: Any, deliver: Any, work: Any, caplog: Any) -> None:
    deliver("brand_new", note="private@example.com")
    work()
    assert "private@example.com" not in caplog.text
    assert len(rows(WebhookEvent)) == 1
