"""What an operator does: each action happens once, writes an audit note, and fits the order's state."""

import re
from datetime import timedelta

import pytest

from storefront.checkout import State
from storefront.checkout.states import OPEN, TRANSITIONS, Trigger
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import Order, OrderTransition, PlanAccess, WebhookEvent
from storefront.operations.models import AuditNote
from tests.samples import session
from tests.unit.operations.conftest import OPENED, now

SESSION = "/checkout/sessions/cs_01"
COMPLETED = {"checkout_status": "completed", "completed_at": "2026-09-01T10:03:20Z", "payment_action": None}
NOT_FOUND = {"code": "not_found", "message": "checkout session not found", "http_status_code": 404}
TRIGGERS = {"fulfill": Trigger.RELEASED, "refunded": Trigger.REFUND_CONFIRMED, "close": Trigger.CLOSED}


def test_audit_notes_cannot_be_changed_or_deleted(context, add_rows):
    add_rows(AuditNote(at=now(), who="x", action="note", subject="order", subject_id="x", text="x"))
    note = db.session.get_one(AuditNote, 1)
    note.text = "y"
    with pytest.raises(RuntimeError, match="append-only"):
        db.session.commit()
    db.session.rollback()
    db.session.delete(db.session.get_one(AuditNote, 1))
    with pytest.raises(RuntimeError, match="append-only"):
        db.session.commit()
    db.session.rollback()


# -- check now --------------------------------------------------------------------------------------


def test_check_now_makes_the_worker_ask(
    press, page_of, flashed, add_order, flexprice, the_order, rows, work, caplog
):
    caplog.set_level("INFO")
    ref = add_order(**OPENED, invoice_verified_at=now(), next_attempt_at=now() + timedelta(days=900))
    assert flashed(press(page_of(ref), "/check")).startswith("The worker checks this order")
    flexprice.answer("GET", SESSION, session(**COMPLETED))
    flexprice.answer("GET", "/invoices/inv_01", NOT_FOUND, 404)
    work()
    assert the_order().state == "fulfilled"
    (note,) = rows(AuditNote)
    assert (note.who, note.subject, note.subject_id) == ("olga@example.com", "order", ref)
    assert any(line.startswith("operator olga@example.com: /operator/orders/") for line in caplog.messages)


@pytest.mark.parametrize(("status", "state"), [("REFUNDED", "paid_late"), ("SUCCEEDED", "stuck")])
def test_money_of_a_long_ended_order_is_found(
    press, page_of, add_order, flexprice, the_order, work, status, state
):
    """After three days the worker no longer asks by itself."""
    ref = add_order(**OPENED | {"state": State.EXPIRED}, next_attempt_at=None)
    press(page_of(ref), "/check")
    flexprice.answer("GET", SESSION, session(checkout_status="expired", terminal=True))
    payment = {"id": "pay_01", "amount": "499", "currency": "inr", "payment_status": status}
    flexprice.answer("GET", "/payments/pay_01", payment)
    if status == "SUCCEEDED":
        flexprice.mock.add("GET", "http://127.0.0.1:8001/v1/refunds", body="404 page not found", status=404)
    work()
    assert the_order().state == state


def test_a_second_press_of_check_is_one_note(press, page_of, flashed, add_order, rows):
    page = page_of(add_order(**OPENED))
    press(page, "/check")
    assert flashed(press(page, "/check")) == "This was done already."
    assert len(rows(AuditNote)) == 1


# -- decisions --------------------------------------------------------------------------------------


def test_a_held_order_is_fulfilled_once(press, page_of, flashed, add_order, the_order, rows, work):
    ref = add_order(**OPENED | {"state": State.HELD, "invoice_id": None, "session_id": None})
    page = page_of(ref)
    asked = press(page, "/decide", note="agreed with her by phone", decision="fulfill")
    assert flashed(asked) == "Released for fulfillment."
    assert the_order().state == "paid"
    work()
    assert the_order().state == "fulfilled"

    again = press(page, "/decide", note="agreed with her by phone", decision="fulfill")
    assert flashed(again) == "The order is fulfilled now. Nothing was done."
    assert len(rows(PlanAccess)) == 1
    (note,) = rows(AuditNote)
    assert (note.who, note.action) == ("olga@example.com", "fulfill")
    assert note.text == "Released for fulfillment: agreed with her by phone"
    assert rows(OrderTransition)[0].by == "operator:olga@example.com"


def test_a_refund_is_confirmed_and_emailed_once(press, page_of, add_order, the_order, rows):
    page = page_of(add_order(state=State.PAID_TWICE))
    for _ in range(2):
        press(page, "/decide", note="refunded at Razorpay, rfnd_1", decision="refunded")
    assert the_order().state == "refunded"
    assert [email.kind for email in rows(Email)] == ["refunded"]
    assert len(rows(AuditNote)) == 1


@pytest.mark.parametrize("state", sorted(OPEN))
def test_every_open_order_can_be_closed_without_email(press, page_of, add_order, the_order, rows, state):
    """Kind: every open state has a way out."""
    press(page_of(add_order(state=state)), "/decide", note="another environment", decision="close")
    assert the_order().state == "abandoned"
    assert the_order().slot is None
    assert rows(Email) == []


def test_every_state_that_waits_has_a_way_out(page_of, add_order):
    """Every state but those in which nothing is owed to anybody."""
    for state in State:
        offered = set(
            re.findall(r'name="decision" value="(\w+)"', page_of(add_order(plan_id=state, state=state)).text)
        )
        waits = state in (*OPEN, State.PAID, State.HELD, State.STUCK, State.PAID_TWICE, State.PAID_LATE)
        assert bool(offered - {"revoke"}) is waits, state


def test_operators_end_access(press, page_of, flashed, add_order, add_rows, the_order, rows):
    ref = add_order(state=State.FULFILLED)
    add_rows(PlanAccess(user_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=now()))
    page = page_of(ref)
    assert flashed(press(page, "/decide", note="refunded", decision="revoke")) == "Access ended."
    assert the_order().revoked_at is not None
    assert rows(PlanAccess)[0].revoked_at is not None
    assert 'value="revoke"' not in page_of(ref).text


def test_a_decision_needs_a_reason(press, page_of, flashed, add_order, the_order, rows):
    page = press(page_of(add_order(state=State.STUCK)), "/decide", note=" ", decision="refunded")
    assert flashed(page).startswith("Add a note")
    assert the_order().state == "stuck"
    assert rows(AuditNote) == []


def test_decisions_follow_the_state_table(desk, page_of, add_order, rows):
    for state in State:
        ref = add_order(plan_id=state, state=state)
        offered = set(re.findall(r'name="decision" value="(\w+)"', page_of(ref).text))
        for name, trigger in TRIGGERS.items():
            assert (name in offered) is ((state, trigger) in TRANSITIONS)
            if name not in offered:
                form = {"decision": name, "note": "x", "state": str(state)}
                assert desk.post(f"/operator/orders/{ref}/decide", **form).status_code == 303
    assert {order.plan_id: order.state for order in rows(Order)} == {str(state): state for state in State}
    assert rows(AuditNote) == []


def test_an_unknown_decision_is_400(desk, add_order):
    assert desk.post(f"/operator/orders/{add_order()}/decide", decision="grant", note="x").status_code == 400


# -- notes ------------------------------------------------------------------------------------------


def test_a_review_note_is_cleared_with_a_reason(press, page_of, flashed, add_order, the_order, rows):
    page = page_of(add_order(state=State.FAILED, review_note="look at this"))
    clear = re.search(r'name="clear" value="(\w+)"', page.text)[1]
    shown = press(page, "/note", note=" looked at it ", clear=clear)
    assert flashed(shown) == "Review note cleared."
    assert the_order().review_note is None
    (note,) = rows(AuditNote)
    assert (note.who, note.text) == ("olga@example.com", "Review note cleared (look at this): looked at it")
    assert "looked at it" in shown.text


def test_a_review_note_that_changed_is_not_cleared_unread(
    press, page_of, flashed, add_order, the_order, rows
):
    page = page_of(add_order(state=State.FAILED, review_note="something worse"))
    shown = press(page, "/note", note="looked at it", clear="0" * 16)
    assert flashed(shown).startswith("The review note has changed")
    assert the_order().review_note == "something worse"
    assert rows(AuditNote) == []


def test_clearing_needs_a_reason(press, page_of, flashed, add_order, the_order):
    page = page_of(add_order(state=State.FAILED, review_note="look at this"))
    clear = re.search(r'name="clear" value="(\w+)"', page.text)[1]
    assert flashed(press(page, "/note", note="  ", clear=clear)).startswith("Add a note")
    assert the_order().review_note == "look at this"


def test_a_note_clears_nothing_and_is_written_once(press, page_of, add_order, the_order, rows):
    page = page_of(add_order(state=State.FAILED, review_note="look at this"))
    for _ in range(3):
        press(page, "/note", note="wrote to her")
    assert the_order().review_note == "look at this"
    assert [note.text for note in rows(AuditNote)] == ["wrote to her"]


def test_the_same_words_can_be_written_twice(press, page_of, add_order, rows):
    ref = add_order()
    for _ in range(2):
        press(page_of(ref), "/note", note="called her")
    assert len(rows(AuditNote)) == 2


# -- events -----------------------------------------------------------------------------------------


@pytest.fixture
def broken_hook(app):
    """Processing an event fails until this is called."""
    from storefront.checkout import webhooks

    handlers = webhooks.HANDLERS
    real = handlers["checkout.session.completed"]

    def broken(_event):
        raise KeyError("a bug of ours")

    handlers["checkout.session.completed"] = broken
    yield lambda: handlers.update({"checkout.session.completed": real})
    handlers["checkout.session.completed"] = real


def test_a_failed_event_shows_its_traceback_and_is_retried(
    desk, press, flashed, send_webhook, webhook, add_order, broken_hook, work, rows, the_order
):
    add_order(**OPENED, invoice_verified_at=now(), subscription_id="subs_01", invoice_number="INV-7")
    send_webhook(webhook("completed", checkout_session=session(**COMPLETED, terminal=True)))
    work()
    page = desk.get("/operator/event?id=msg_1")
    assert "KeyError: &#39;a bug of ours&#39;" in page.text
    assert "in process_event" in page.text

    broken_hook()
    assert flashed(press(page, "/event/retry")).startswith("The worker processes the event now")
    work()
    assert the_order().state == "fulfilled"
    assert rows(WebhookEvent)[0].outcome == "applied"


def test_an_event_set_aside_is_retried(
    desk, press, add_rows, make_event, flexprice, add_order, work, the_order
):
    """For an hour Flexprice did not know its session; now it does."""
    long_ago = now() - timedelta(hours=3)
    ref = add_order(next_attempt_at=None)
    add_rows(make_event(received_at=long_ago, next_attempt_at=None, outcome="unknown", attempts=9))
    found = session(**COMPLETED, idempotency_key=ref, terminal=True)
    flexprice.answer("GET", SESSION, found)
    flexprice.answer("GET", "/customers/external/" + the_order().customer_key, flexprice.customer())
    flexprice.answer("GET", "/invoices/inv_01", NOT_FOUND, 404)
    press(desk.get("/operator/event?id=msg_1"), "/event/retry")
    work()
    assert the_order().state == "paid"


def test_processing_every_event_again_changes_nothing(
    desk, press, send_webhook, webhook, add_order, work, rows, flexprice
):
    add_order(**OPENED, invoice_verified_at=now(), invoice_number="INV-7")
    flexprice.answer("GET", SESSION, session(**COMPLETED, terminal=True))
    flexprice.mock.assert_all_requests_are_fired = False
    for number, status in enumerate(("initiated", "completed", "failed", "expired")):
        told = (
            {"checkout_status": "pending"}
            if status == "initiated"
            else {"checkout_status": status, "terminal": True}
        )
        send_webhook(webhook(status, checkout_session=session(**told)), message_id=f"msg_{number}")

    def everything():
        work()
        return (
            [(order.state, order.paid_at, order.fulfilled_at) for order in rows(Order)],
            [(access.id, access.granted_at) for access in rows(PlanAccess)],
            [email.id for email in rows(Email)],
        )

    before = everything()
    for number in range(4):
        press(desk.get(f"/operator/event?id=msg_{number}"), "/event/retry")
    assert everything() == before
    assert all(event.processed_at for event in rows(WebhookEvent))


def test_a_second_press_of_retry_is_no_third_attempt(desk, press, flashed, send_webhook, work, rows):
    send_webhook({"event_type": "customer.created", "customer": {"id": "cust_9"}})
    work()
    page = desk.get("/operator/event?id=msg_1")
    press(page, "/event/retry")
    work()
    assert flashed(press(page, "/event/retry")) == "This was done already."
    assert rows(WebhookEvent)[0].processed_at is not None
    assert [(n.who, n.subject_id, n.text) for n in rows(AuditNote)] == [
        ("olga@example.com", "msg_1", "Retry requested")
    ]
    assert "olga@example.com" in desk.get("/operator/event?id=msg_1").text


def test_a_payment_that_matches_nothing_stays_until_reviewed(desk, press, flashed, add_rows, make_event):
    """For example after a backup was restored."""
    outcome = "a payment for an order that does not exist here"
    add_rows(make_event(outcome=outcome, next_attempt_at=None))
    shown = "/operator/events?show=unmatched"
    assert "msg_1" in desk.get(shown).text
    overview = desk.get("/operator/").text
    assert '"tag tag--warn">1<' in overview.partition("show=unmatched")[2].partition("</li>")[0]
    page = desk.get("/operator/event?id=msg_1")
    assert flashed(press(page, "/event/review", note=" ")).startswith("Add a note")
    press(page, "/event/review", note="refunded at Razorpay, pay_9")
    assert "msg_1" not in desk.get(shown).text
    assert "msg_1" not in desk.get("/operator/events?show=set-aside").text
    assert "Marked as reviewed: refunded at Razorpay, pay_9" in desk.get("/operator/event?id=msg_1").text


# -- emails -----------------------------------------------------------------------------------------


@pytest.fixture
def email(add_order, desk, add_rows):
    """A queued welcome email; gives the reference of its order."""
    ref = add_order(state=State.FULFILLED, paid_at=now())
    at = now()
    add_rows(
        Email(
            kind="welcome", user_id=1, order_id=1, created_at=at, next_attempt_at=at,
            expires_at=at + timedelta(days=1),
        )
    )  # fmt: skip
    return ref


def test_an_email_is_sent_again_once(email, press, page_of, send_emails, rows):
    send_emails()
    first = rows(Email)[0].sent_at
    page = page_of(email)
    shown = press(page, "/emails/1/retry")
    assert rows(Email)[0].sent_at is None
    assert f"sent before at {first:%Y-%m-%d %H:%M} UTC" in shown.text
    send_emails()
    press(page, "/emails/1/retry")  # the same button again
    send_emails()
    (row,) = rows(Email)
    assert (row.attempts, row.sent_at is not None) == (2, True)
    assert len(rows(AuditNote)) == 1


def test_a_failing_email_is_sent_at_once(app, email, desk, press, rows, send_emails):
    with app.app_context():
        row = db.session.get_one(Email, 1)
        row.error, row.attempts, row.next_attempt_at = "OSError", 7, now() + timedelta(hours=1)
        db.session.commit()
    press(desk.get("/operator/emails?show=failing"), "/emails/1/retry")
    send_emails()
    assert rows(Email)[0].sent_at is not None


@pytest.mark.parametrize("number", ["99", "2147483648", "9" * 30])
def test_an_unknown_email_is_404(desk, number):
    assert desk.post(f"/operator/emails/{number}/retry", attempts="0").status_code == 404


# -- what a form may contain ------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["note", "decision", "state", "form_key", "clear", "id", "attempts"])
@pytest.mark.parametrize("path", ["decide", "note", "check"])
def test_nul_in_an_order_form_is_400(desk, add_order, rows, field, path):
    ref = add_order(state=State.STUCK)
    form = {"decision": "refunded", "note": "x", "state": "stuck"} | {field: "a\0b"}
    assert desk.post(f"/operator/orders/{ref}/{path}", **form).status_code == 400
    assert rows(AuditNote) == []


@pytest.mark.parametrize("path", ["/operator/event/retry", "/operator/event/review"])
def test_nul_in_an_event_form_is_400(desk, path):
    assert desk.post(path, id="msg\0", note="x").status_code == 400
    assert desk.post(path, id="msg_9", note="x").status_code == 404


@pytest.mark.parametrize("attempts", ["2147483648", "x", "", "1" * 40])
def test_a_number_that_no_column_holds_is_400(email, desk, attempts):
    assert desk.post("/operator/emails/1/retry", attempts=attempts).status_code == 400


@pytest.mark.parametrize("key", ["x", "é" * 32, "0" * 33])
def test_a_malformed_form_key_is_400(desk, add_order, key):
    assert desk.post(f"/operator/orders/{add_order()}/check", form_key=key).status_code == 400


def test_a_long_note_is_cut(desk, add_order, rows):
    desk.post(f"/operator/orders/{add_order()}/note", note="𝒳" * 5000)
    assert rows(AuditNote)[0].text == "𝒳" * 1000
