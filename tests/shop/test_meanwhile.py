"""What somebody else writes between two statements of one transaction, as PostgreSQL lets them."""

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update
from storefront.catalog import Offer
from storefront.lifecycle import Fact, State

from storefront import fulfillment, inbox, orders, shoppers, worker
from storefront.database import writing
from storefront.extensions import db
from storefront.flexprice import CheckoutSession, Subscription
from storefront.models import Access, InboxMessage, OperatorNote, Order, Shopper

pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
NOW = datetime(2026, 10, 1, 10, 0, tzinfo=UTC)
PRO = Offer("plan_01", "Pro", "inr", "MONTHLY", Decimal(499))


@pytest.fixture
def env(env):
    """Whoever waits for a row waits until they have it; who waits for each other is told so."""
    return env | {"DATABASE_URL": env["DATABASE_URL"] + "?options=-c%20lock_timeout%3D60s"}


# -- orders -----------------------------------------------------------------------------------------


def test_a_flag_that_was_set_meanwhile_stays_and_an_untrue_one_does_not(
    context, enrol, order_of, the_order, meanwhile
):
    enrol()
    ref = order_of(state=State.STUCK, flag=orders.FLAGS[Fact.PAYMENT_STRANDED])
    found = [Subscription("subs_1", "cust_01", "plan_01", "active", metadata={"order_ref": ref})]

    with meanwhile("UPDATE orders", lambda: flag("the money could not be sent back")), writing():
        assert fulfillment.find_payment(orders.by_ref(ref), found, NOW)
    assert the_order().flag == "the money could not be sent back"


def test_a_flag_that_became_untrue_before_it_was_read_goes(context, enrol, order_of, the_order, meanwhile):
    enrol()
    ref = order_of(opening_at=NOW)
    found = [Subscription("subs_1", "cust_01", "plan_01", "active", metadata={"order_ref": ref})]

    def give_up():
        fulfillment.recover(orders.by_ref(ref), [], NOW + timedelta(hours=1), timedelta(0))

    with meanwhile("UPDATE orders", give_up), writing():
        assert fulfillment.find_payment(orders.by_ref(ref), found, NOW)
    assert (the_order().state, the_order().flag) == (State.PAID, None)


def flag(words):
    db.session.execute(update(Order).values(flag=words))


def test_a_decision_does_not_replace_a_flag_of_the_same_moment(
    enrol, order_of, browser, the_order, meanwhile
):
    enrol(operator=True)
    ref = order_of(state=State.HELD, flag="Not what was ordered")
    browser.sign_in()

    with meanwhile("UPDATE orders", lambda: flag("Flexprice reports a refund for this order")):
        browser.post(f"/operator/orders/{ref}/decide", decision="release", state="held", note="They agreed.")
    assert (the_order().state, the_order().flag) == (State.PAID, "Flexprice reports a refund for this order")


def test_a_refund_does_not_replace_the_reason_for_which_an_order_is_held_in_the_same_moment(
    context, enrol, order_of, the_order, tell, meanwhile
):
    enrol()
    ref = order_of(state=State.PAID, payment_id="pay_01")
    refund = {"id": "re_1", "payment_id": "pay_01", "refund_status": "succeeded", "currency": "inr"}
    tell({"event_type": "refund.succeeded", "refund": refund})

    def hold_it():
        orders.advance(orders.by_ref(ref), Fact.TERMS_DIFFER, NOW, flag="Not what was ordered")

    with meanwhile("UPDATE orders SET refunded_at", hold_it):
        worker.read_inbox(datetime.now(UTC))
    assert (the_order().state, the_order().flag) == (State.HELD, "Not what was ordered")
    assert the_order().refunded_at


def test_a_receipt_does_not_replace_a_flag_of_the_same_moment(
    context, enrol, order_of, the_order, vendor, meanwhile
):
    enrol()
    order_of(state=State.FULFILLED, invoice_id="inv_01", next_look_at=NOW, moved_at=NOW)
    vendor.answers("GET", "/invoices/inv_01", invoice(subtotal="599"))

    with meanwhile("UPDATE orders SET subscription_id", lambda: flag("the money could not be sent back")):
        worker.look_after_orders(NOW)
    assert the_order().invoice_number == "INV-1"
    assert the_order().flag == "the money could not be sent back"


def invoice(**changes):
    return {
        "id": "inv_01",
        "customer_id": "cust_01",
        "invoice_number": "INV-1",
        "invoice_status": "FINALIZED",
        "payment_status": "SUCCEEDED",
        "currency": "inr",
        "subtotal": "499",
        "total": "599",
        "subscription_id": "subs_1",
    } | changes


def test_an_order_keeps_the_session_whose_link_was_offered(
    context, enrol, order_of, the_order, rows, vendor, samples, tell, meanwhile
):
    """The answer to the first create was lost; the second one comes while the first is found to be paid."""
    enrol()
    ref = order_of(opening_at=NOW)
    first = samples.session(checkout_status="completed", idempotency_key=ref)
    second = CheckoutSession("cs_02", "cust_01", "pending", payment_url="http://127.0.0.1:8001/pay/second")
    for _ in range(2):
        vendor.answers("GET", "/checkout/sessions/cs_01", first)
    tell({"event_type": "checkout.session.completed", "checkout_session": samples.session()})
    now = datetime.now(UTC)

    with meanwhile("UPDATE orders", lambda: orders.session_opened(1, second, now)):
        worker.read_inbox(now)
    assert (the_order().session_id, the_order().payment_url) == ("cs_02", second.payment_url)
    assert the_order().state == State.AWAITING_PAYMENT

    worker.read_inbox(now + timedelta(minutes=1))
    assert [message.outcome for message in rows(InboxMessage)] == ["second payment flagged"]
    assert the_order().flag == "Session cs_01 of this order was paid as well: refund it"


@pytest.mark.parametrize("moment", ["INSERT INTO orders", "SELECT orders.state"])
@pytest.mark.parametrize(
    ("news", "placed"), [(Fact.PAYMENT_COMPLETED, None), (Fact.SESSION_EXPIRED, 2)], ids=["paid", "expired"]
)
def test_a_click_in_the_moment_the_open_order_ends(
    context, enrol, order_of, rows, meanwhile, moment, news, placed
):
    """A plan that has just been paid for is not sold again; a payment that has just expired is made anew."""
    enrol()
    order_of(state=State.AWAITING_PAYMENT)

    def hear():
        assert orders.advance(db.session.get_one(Order, 1), news, NOW)

    told = contextlib.nullcontext() if placed else pytest.raises(orders.AlreadyYours)
    with meanwhile(moment, hear), told, writing():
        order, new = orders.place(1, PRO, NOW)
        assert (order.state, new) == (State.PLACED, True)
    assert len(rows(Order)) == (placed or 1)


def test_an_order_for_which_a_session_is_asked_in_this_moment_is_not_cancelled(
    asha, order_of, the_order, meanwhile
):
    ref = order_of()
    with meanwhile("UPDATE orders", lambda: orders.claim_opening(1, NOW)):
        asha.post(f"/orders/{ref}/cancel")
    assert (the_order().state, the_order().opening_at) == (State.PLACED, NOW)
    assert "still being prepared" in asha.get(f"/orders/{ref}/failure").text


def test_a_click_in_the_moment_the_payment_fails_waits_for_nobody_who_waits_for_it(
    context, enrol, order_of, rows, meanwhile
):
    """The click holds the shopper and waits for the order, whose news writes a letter to the shopper."""
    enrol()
    ref = order_of(state=State.AWAITING_PAYMENT, session_id="cs_01", customer_id="cust_01")
    failed = CheckoutSession("cs_01", "cust_01", "failed", terminal=True)

    with meanwhile("INSERT INTO letters", lambda: orders.place(1, PRO, NOW)), writing():
        fulfillment.settle(orders.by_ref(ref), failed, NOW)
    assert [order.state for order in rows(Order)] == [State.FAILED, State.PLACED]


def test_two_workers_with_news_of_the_same_orders_do_not_wait_for_each_other(
    context, enrol, order_of, rows, tell, news, samples, meanwhile
):
    enrol()
    for number in (1, 2):
        order_of(
            plan_id=f"plan_{number}",
            state=State.AWAITING_PAYMENT,
            session_id=f"cs_{number}",
            customer_id="cust_01",
        )
    for name in ("1", "2", "2_again", "1_again"):
        session = samples.session(checkout_status="completed", id=f"cs_{name[0]}")
        assert tell(news(checkout_session=session), message_id=f"msg_{name}").status_code == 204
    now = datetime.now(UTC)

    def settle_two():
        with context.app_context(), writing():
            messages = inbox.claim(now, 2)
        return [
            worker.carried_out(message, fulfillment.understand(None, message), now) for message in messages
        ]

    with writing():
        mine = inbox.claim(now, 2)
    with writing():
        first, second = mine
        fulfillment.understand(None, first)(now)
        with meanwhile("SELECT orders", settle_two):
            fulfillment.understand(None, second)(now)
            db.session.commit()
    assert {order.state for order in rows(Order)} == {State.PAID}


# -- accesses ---------------------------------------------------------------------------------------


@pytest.fixture
def bought_again(context, enrol, order_of):
    """Asha's access has ended as it was to; she has paid for the plan again, and is owed it."""
    enrol()
    order_of(state=State.FULFILLED)
    with writing():
        ended = Access(shopper_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=NOW)
        ended.subscription_id = "subs_old"
        ended.ends_at = ended.paid_until = NOW - timedelta(days=60)
        db.session.add(ended)
    ref = order_of(state=State.PAID)
    return lambda: fulfillment.fulfill(orders.by_ref(ref), NOW)


ENDED = Subscription("subs_old", "cust_01", "plan_01", "cancelled")
TO_END = Subscription("subs_old", "cust_01", "plan_01", "active", cancel_at=NOW + timedelta(days=1))


@pytest.mark.parametrize("said", [ENDED, TO_END], ids=["ended", "to end"])
def test_what_is_bought_anew_is_not_ended_by_what_was_bought_before(bought_again, rows, meanwhile, said):
    with meanwhile("UPDATE accesses", bought_again), writing():
        fulfillment.follow_subscription(said, None, NOW)
    assert [(access.order_id, access.revoked_at, access.ends_at) for access in rows(Access)] == [
        (2, None, None)
    ]


@pytest.mark.parametrize("said", [ENDED, TO_END], ids=["ended", "to end"])
def test_what_is_delivered_is_open_though_the_end_of_what_was_before_is_heard_of(
    bought_again, rows, meanwhile, said
):
    with meanwhile("UPDATE accesses", lambda: fulfillment.follow_subscription(said, None, NOW)), writing():
        assert bought_again()
    assert [(access.order_id, access.revoked_at, access.ends_at) for access in rows(Access)] == [
        (2, None, None)
    ]


def test_a_renewal_that_was_not_paid_is_no_matter_of_what_is_bought_anew(
    bought_again, rows, vendor, meanwhile
):
    put_away = {"code": "not_found", "message": "subscription not found"}
    vendor.answers("GET", "/subscriptions/subs_old", put_away, 404)

    with meanwhile("UPDATE accesses SET overdue_since", bought_again):
        worker.ask_about_renewals(NOW)
    (access,) = rows(Access)
    assert (access.order_id, access.paid_until, access.overdue_since) == (2, None, None)


# -- people -----------------------------------------------------------------------------------------


def test_a_link_for_a_new_password_is_used_once(app, enrol, browser, rows, meanwhile):
    enrol()
    with app.app_context(), app.test_request_context():
        token = shoppers.reset_token(db.session.get_one(Shopper, 1))

    with meanwhile("UPDATE shoppers", lambda: shoppers.reset_password(token, "the first one's")):
        answer = browser.post(f"/reset-password/{token}", password="another horse battery")
    assert answer.status_code == 404
    assert rows(Shopper)[0].password_hash == "the first one's"


def test_of_two_who_sign_up_with_one_address_one_is_told_that_it_is_taken(browser, rows, meanwhile):
    def another():
        shoppers.sign_up("Asha Rao", "asha@example.com", "-", NOW)

    typed = {"name": "Asha", "email": "asha@example.com", "password": "another horse battery"}
    with meanwhile("INSERT INTO shoppers", another):
        answer = browser.post("/sign-up", **typed)
    assert answer.status_code == 422
    assert "has an account already" in answer.text
    assert [shopper.password_hash for shopper in rows(Shopper)] == ["-"]


def test_a_note_that_is_sent_twice_at_once_is_written_once(enrol, order_of, open_browser, rows, meanwhile):
    enrol(operator=True)
    ref = order_of()
    one, other = open_browser(), open_browser()
    for window in (one, other):
        window.sign_in()

    with meanwhile(
        "INSERT INTO operator_notes", lambda: other.post(f"/operator/orders/{ref}/note", note="Called.")
    ):
        one.post(f"/operator/orders/{ref}/note", note="Called.")
    assert [note.text for note in rows(OperatorNote)] == ["Called."]
