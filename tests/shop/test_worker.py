"""The worker: what is due is done once, what cannot be understood is tried again and then set aside."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from storefront.lifecycle import State

from storefront import fulfillment, inbox, lifesigns, worker
from storefront.database import writing
from storefront.extensions import db
from storefront.models import Access, InboxMessage, Letter, Order
from storefront.web import health

SECOND = timedelta(seconds=1)
NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
NOT_FOUND = {"code": "not_found", "message": "checkout session not found"}
OPENED = {
    "state": State.AWAITING_PAYMENT,
    "session_id": "cs_01",
    "customer_id": "cust_01",
    "payment_id": "pay_01",
    "terms_checked_at": datetime(2026, 9, 1, 10, 0, tzinfo=UTC),
}


@pytest.fixture
def message(context, rows):
    """The one message, as it is now."""

    def read():
        (found,) = rows(InboxMessage)
        return found

    return read


@pytest.fixture
def received(tell, news, message):
    """Deliver news, and tell when it came."""

    def deliver(*args, **changes):
        assert tell(news(*args, **changes)).status_code == 204
        return message().received_at

    return deliver


def test_a_shop_without_a_worker_says_so(browser, context):
    answer = browser.get("/healthz")
    assert (answer.status_code, answer.json["worker"]) == (200, "no sign of life: nothing is fulfilled")
    lifesigns.beat(datetime.now(UTC) - timedelta(seconds=31))
    assert browser.get("/healthz").json["worker"] != "ok"
    lifesigns.beat(datetime.now(UTC))
    assert browser.get("/healthz").json == {"process": "ok", "database": "ok", "worker": "ok"}


def test_a_sign_of_life_lasts_thirty_seconds(context, samples):
    assert not lifesigns.is_alive(samples.NOW)
    lifesigns.beat(samples.NOW)
    assert lifesigns.is_alive(samples.NOW + 29 * SECOND)
    assert not lifesigns.is_alive(samples.NOW + 30 * SECOND)


def test_the_loop_works_and_stops(context, received, message):
    received(event_type="brand.new")
    beats = iter([True, False])
    worker.run(beat=lambda: next(beats))
    assert message().outcome == "noted"


def test_told_to_stop_it_finishes_what_it_has_in_its_hands_and_takes_nothing_more(context, tell, rows):
    for number in range(worker.TOGETHER + 2):
        tell({"event_type": "brand.new", "brand": {"id": f"b_{number}"}}, message_id=f"msg_{number}")

    def none_is_read():
        return all(message.handled_at is None for message in rows(InboxMessage))

    worker.run(beat=none_is_read, going=none_is_read)

    kept = rows(InboxMessage)
    assert [message.handled_at is not None for message in kept].count(True) == worker.TOGETHER
    assert {message.claimed_at for message in kept} == {None}


def test_nothing_due_is_nothing_done(context, vendor, samples):
    assert worker.one_pass(samples.NOW) == 0


def test_a_paid_order_is_fulfilled_once(context, enrol, order_of, received, the_order, rows, vendor):
    enrol()
    order_of(**OPENED)
    now = received()
    assert worker.one_pass(now) >= 3  # the message, the order, the letter
    assert the_order().state == State.FULFILLED
    assert [access.plan_id for access in rows(Access)] == ["plan_01"]
    assert [letter.kind for letter in rows(Letter)] == ["welcome"]
    assert rows(Letter)[0].posted_at == now
    worker.one_pass(now + SECOND)
    assert len(rows(Access)) == len(rows(Letter)) == 1


def test_a_failed_payment_writes_one_letter(context, enrol, order_of, received, the_order, rows, vendor):
    enrol()
    order_of(**OPENED)
    now = received("failed")
    with writing():
        inbox.note_answer("cs_01", "failed", now)
    vendor.answers("GET", "/checkout/sessions/cs_01", failed())  # for the note, and once more after the end
    vendor.answers("GET", "/payments/pay_01", payment("FAILED"))
    worker.one_pass(now)
    assert the_order().state == State.FAILED
    assert [letter.kind for letter in rows(Letter)] == ["payment_failed"]
    assert rows(Access) == []


def failed():
    return {"id": "cs_01", "customer_id": "cust_01", "checkout_status": "failed", "terminal": True}


def payment(status):
    return {"id": "pay_01", "payment_status": status, "amount": "499", "currency": "inr"}


def test_news_of_another_customer_is_not_believed(
    context, enrol, order_of, received, the_order, vendor, rows
):
    enrol()
    order_of(**OPENED | {"customer_id": "cust_99"})
    worker.read_inbox(received())
    assert the_order().state == State.AWAITING_PAYMENT
    assert "not believed" in the_order().flag


def test_news_of_an_unknown_session_waits_and_is_set_aside_after_an_hour(context, received, message, vendor):
    start = received()
    vendor.answers("GET", "/checkout/sessions/cs_01", NOT_FOUND, 404)
    now, gaps = start, []
    while message().handled_at is None:
        assert worker.read_inbox(now) == 1
        assert worker.read_inbox(now) == 0
        gaps.append((message().next_try_at - now).total_seconds())
        now = message().next_try_at
    assert gaps[:8] == [1, 2, 5, 15, 60, 300, 600, 900]
    assert message().handled_at - start > timedelta(minutes=60)
    assert message().outcome == "set aside: Flexprice does not know the session (yet)"
    assert message().body is not None  # it can be replayed
    assert worker.read_inbox(now + timedelta(days=1)) == 0


def test_a_session_that_shows_up_late_is_adopted(
    context, enrol, order_of, samples, received, message, vendor, the_order
):
    enrol()
    ref = order_of(opening_at=samples.NOW)
    now = received("initiated", event_type="checkout.session.initiated")
    vendor.answers("GET", "/checkout/sessions/cs_01", NOT_FOUND, 404)
    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session(idempotency_key=ref))
    worker.read_inbox(now)
    assert message().handled_at is None
    worker.read_inbox(now + SECOND)
    assert message().outcome == "session adopted"
    assert (the_order().state, the_order().session_id) == (State.AWAITING_PAYMENT, "cs_01")


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_id": "cust_99"},
        {"idempotency_key": "0" * 32},
        {"checkout_status": "failed", "terminal": True},
    ],
)
def test_a_session_that_is_not_ours_is_not_adopted(
    context, enrol, order_of, samples, received, vendor, the_order, message, changes
):
    enrol()
    ref = order_of(opening_at=samples.NOW)
    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session(idempotency_key=ref) | changes)
    worker.read_inbox(received())
    assert message().handled_at is not None
    assert (the_order().state, the_order().session_id) == (State.PLACED, None)


def test_the_end_of_a_session_that_is_just_being_opened_waits_for_our_own_answer(
    context, enrol, order_of, samples, received, vendor, the_order, message
):
    """It may have overtaken that; were it put away now, the order would wait for its next look."""
    enrol()
    ref = order_of(opening_at=datetime.now(UTC))
    ended = samples.session(idempotency_key=ref, checkout_status="failed", terminal=True)
    vendor.answers("GET", "/checkout/sessions/cs_01", ended)
    now = received("failed")
    worker.read_inbox(now)
    assert (message().handled_at, the_order().state) == (None, State.PLACED)

    with writing():
        opened = {name: OPENED[name] for name in ("state", "session_id", "customer_id")}
        db.session.execute(update(Order).values(opened))
    worker.read_inbox(now + SECOND)
    assert the_order().state == State.FAILED


def test_flexprice_being_down_sets_nothing_aside_for_an_hour(context, received, message, vendor):
    now = received()
    vendor.answers("GET", "/checkout/sessions/cs_01", {"error": "down"}, 503)
    assert worker.read_inbox(now + timedelta(minutes=59)) == 1
    assert (message().handled_at, message().attempts, message().claimed_at) == (None, 1, None)


def test_a_message_that_breaks_us_is_kept(context, received, message, vendor, monkeypatch):
    def broken(*_):
        raise RuntimeError

    monkeypatch.setattr(worker.fulfillment, "understand", broken)
    worker.read_inbox(received())
    assert (message().handled_at, message().outcome) == (None, "RuntimeError")


def test_a_message_in_the_hands_of_another_worker_is_left_until_that_one_must_hang(
    context, received, message
):
    now = received(event_type="brand.new")
    with writing():
        assert inbox.claim(now, 1)
        assert not inbox.claim(now, 1)
    assert worker.read_inbox(now + lifesigns.CLAIM_LASTS) == 0
    assert worker.read_inbox(now + lifesigns.CLAIM_LASTS + SECOND) == 1
    assert message().outcome == "noted"


def test_what_is_wrong_with_one_message_holds_no_other_back(
    context, enrol, order_of, tell, news, samples, rows, monkeypatch
):
    """Read together, they are written in one transaction; the one that breaks it is left behind alone."""
    for number in range(3):
        whose = {"customer_id": f"cust_{number}"}
        order_of(enrol(f"shopper{number}@example.com"), **OPENED | {"session_id": f"cs_{number}"} | whose)
        session = samples.session(id=f"cs_{number}", checkout_status="completed", **whose)
        tell(news(checkout_session=session), message_id=f"msg_{number}")
    settle = fulfillment.settle

    def trips_over_the_second(order, *about):
        moved = settle(order, *about)
        if order.session_id == "cs_1":
            raise KeyError("a bug of ours")
        return moved

    monkeypatch.setattr(fulfillment, "settle", trips_over_the_second)
    worker.read_inbox(datetime.now(UTC))
    assert [order.state for order in rows(Order)] == ["paid", "awaiting_payment", "paid"]
    assert [message.outcome for message in rows(InboxMessage)] == ["settled", "KeyError", "settled"]
    monkeypatch.setattr(fulfillment, "settle", settle)
    worker.read_inbox(datetime.now(UTC) + 2 * SECOND)
    assert [order.state for order in rows(Order)] == ["paid"] * 3


def test_when_time_is_short_each_is_written_by_itself(context, tell, rows, monkeypatch):
    for number in range(3):
        tell({"event_type": "brand.new", "brand": {"id": f"b_{number}"}}, message_id=f"msg_{number}")
    monkeypatch.setattr(worker, "HELD", -1)
    transactions, writing = [], worker.writing
    monkeypatch.setattr(worker, "writing", lambda: transactions.append(1) or writing())
    worker.read_inbox(datetime.now(UTC))
    assert [message.outcome for message in rows(InboxMessage)] == ["noted"] * 3
    assert len(transactions) == 1 + 3  # to claim them, and for each


def test_what_is_wrong_with_one_paid_order_holds_no_other_back(context, enrol, order_of, rows, monkeypatch):
    for number in range(3):
        shopper = enrol(f"shopper{number}@example.com", f"cust_{number}")
        order_of(shopper, **OPENED | {"session_id": f"cs_{number}", "state": State.PAID, "next_look_at": NOW})
    grant = fulfillment.grant_access

    def trips_over_the_second(order, *about):
        grant(order, *about)
        if order.session_id == "cs_1":
            raise KeyError("a bug of ours")

    monkeypatch.setattr(fulfillment, "grant_access", trips_over_the_second)
    worker.look_after_orders(NOW, most=1)
    assert [order.state for order in rows(Order)] == ["fulfilled", "paid", "fulfilled"]
    assert [access.order_id for access in rows(Access)] == [1, 3]
    assert len(rows(Letter)) == 2


def test_a_plan_that_was_paid_for_twice_is_granted_once_and_holds_no_other_back(
    context, enrol, order_of, rows
):
    """All three are taken up together."""
    twice, once = enrol(), enrol("ben@example.com", "cust_02")
    for number, shopper in enumerate([twice, twice, once]):
        due = {"state": State.PAID, "next_look_at": NOW, "session_id": f"cs_{number}"}
        order_of(shopper, plan_id=f"plan_0{number + 2}", **OPENED | due)
    with writing():
        db.session.execute(update(Order).values(plan_id="plan_01"))
    worker.look_after_orders(NOW, most=1)
    assert [order.state for order in rows(Order)] == ["fulfilled", "paid_twice", "fulfilled"]
    assert [access.order_id for access in rows(Access)] == [1, 3]
    assert [letter.order_id for letter in rows(Letter)] == [1, 3]


def test_a_lost_webhook_is_made_up_for_by_asking(context, enrol, order_of, samples, vendor, the_order):
    enrol()
    order_of(**OPENED, next_look_at=samples.NOW)
    vendor.answers(
        "GET",
        "/checkout/sessions/cs_01",
        samples.session(checkout_status="completed", terminal=True, completed_at="2026-09-01T10:01:00Z"),
    )
    worker.look_after_orders(samples.NOW)
    assert the_order().state == State.AWAITING_PAYMENT  # the first look is the shopper's own
    worker.look_after_orders(samples.NOW + 60 * SECOND)
    assert the_order().state == State.FULFILLED
    assert the_order().paid_at == samples.NOW + 60 * SECOND


@pytest.mark.parametrize(("status", "state"), [("REFUNDED", State.PAID_LATE), ("SUCCEEDED", State.STUCK)])
def test_money_after_the_end_is_seen(context, enrol, order_of, samples, vendor, the_order, status, state):
    enrol()
    order_of(**OPENED | {"state": State.EXPIRED}, next_look_at=samples.NOW)
    vendor.answers("GET", "/checkout/sessions/cs_01", failed() | {"checkout_status": "expired"})
    vendor.answers("GET", "/payments/pay_01", payment(status))
    if status == "SUCCEEDED":
        vendor.answers("GET", "/refunds", NOTHING)
    worker.look_after_orders(samples.NOW)
    assert the_order().state == state


def subscription(ref, status="active", created="2026-09-01T10:00:00Z"):
    found = {
        "id": "subs_1",
        "customer_id": "cust_01",
        "plan_id": "plan_01",
        "subscription_status": status,
        "billing_period": "MONTHLY",
        "created_at": created,
        "metadata": {"order_ref": ref},
        "latest_invoice": {"id": "inv_01"},
    }
    return {"items": [found], "pagination": {"total": 1}}


NOTHING = {"items": [], "pagination": {"total": 0}}


@pytest.mark.parametrize(
    ("minutes", "status", "state"),
    [
        (1, "active", State.FULFILLED),
        (1, "draft", State.PLACED),
        (49, None, State.PLACED),
        (51, None, State.ABANDONED),
        (51, "draft", State.ABANDONED),
    ],
)
def test_an_order_whose_answer_was_lost(
    context, enrol, order_of, samples, vendor, the_order, minutes, status, state
):
    enrol()
    now = samples.NOW + timedelta(minutes=minutes)
    ref = order_of(opening_at=samples.NOW, next_look_at=now)
    vendor.answers("POST", "/subscriptions/search", subscription(ref, status) if status else NOTHING)
    if state is State.FULFILLED:
        vendor.answers(
            "GET",
            "/invoices/inv_01",
            {
                "id": "inv_01",
                "invoice_status": "FINALIZED",
                "payment_status": "SUCCEEDED",
                "currency": "inr",
                "subtotal": "499",
                "total": "499",
                "invoice_number": "INV-1",
                "subscription_id": "subs_1",
                "subscription": subscription(ref)["items"][0],
                "customer": {"id": "cust_01", "external_id": the_order().shopper.external_id},
            },
        )
    worker.look_after_orders(now)
    order = the_order()
    assert order.state == state
    assert order.invoice_number == ("INV-1" if state is State.FULFILLED else None)
    assert vendor.sent(0)["external_customer_id"] == order.shopper.external_id


def test_the_session_is_forgotten_after_each_pass(context, enrol):
    enrol()
    beats = iter([True, False])
    worker.run(beat=lambda: next(beats))
    assert not db.session.registry.has()


@pytest.mark.parametrize(("age", "words"), [(31, [health.NO_WORKER]), (1, [])])
def test_a_shop_that_starts_without_a_worker_shouts(app, context, caplog, age, words):
    lifesigns.beat(datetime.now(UTC) - age * SECOND)
    health.shout_without_worker(app, after=0).join()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == words
