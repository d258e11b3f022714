"""What an order waits for: when Flexprice is asked again, and what an answer that does not fit comes to."""

from datetime import UTC, datetime, timedelta

import pytest
from storefront.lifecycle import State

from storefront import aftercare, orders, worker
from storefront.database import writing
from storefront.flexprice import CheckoutSession

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
START = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
OPENED = {
    "state": State.AWAITING_PAYMENT,
    "session_id": "cs_01",
    "customer_id": "cust_01",
    "invoice_id": "inv_01",
    "payment_id": "pay_01",
    "opening_at": START,
    "moved_at": START,
    "next_look_at": START,
    "terms_checked_at": None,
}
LAGS = {"code": "not_found", "message": "invoice inv_01 not found"}


@pytest.fixture
def invoice(the_order):
    def make(**changes):
        bought = {
            "id": "subs_1",
            "customer_id": "cust_01",
            "plan_id": "plan_01",
            "subscription_status": "draft",
            "billing_period": "MONTHLY",
        }
        return {
            "id": "inv_01",
            "customer_id": "cust_01",
            "customer": {"id": "cust_01", "external_id": the_order().shopper.external_id},
            "invoice_status": "DRAFT",
            "payment_status": "PENDING",
            "currency": "inr",
            "subtotal": "499",
            "total": "499",
            "subscription_id": "subs_1",
            "subscription": bought,
        } | changes

    return make


@pytest.fixture
def looks(context, the_order):
    """When the worker looks after the order, until `last`, in seconds after the start."""

    def watch(last):
        found, now = [], START
        while now <= START + last:
            if worker.look_after_orders(now):
                found.append(int((now - START).total_seconds()))
            now = the_order().next_look_at or START + 2 * last
        return found

    return watch


def test_an_open_order_is_asked_about_with_growing_gaps_and_never_given_up(
    enrol, order_of, invoice, vendor, samples, looks, the_order
):
    enrol()
    order_of(**OPENED)
    vendor.answers("GET", "/invoices/inv_01", invoice())
    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session())

    assert looks(8 * HOUR) == [0, 60, 120, 240, 480, 960, 1920, 3840, *range(7440, 8 * 3600, 3600)]
    assert the_order().state == State.AWAITING_PAYMENT
    assert vendor.calls.count(("GET", "/invoices/inv_01")) == 1


def test_an_operator_hears_of_an_order_that_is_open_for_an_hour(
    enrol, order_of, invoice, vendor, samples, looks, the_order
):
    enrol()
    order_of(**OPENED)
    vendor.answers("GET", "/invoices/inv_01", invoice())
    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session())

    looks(59 * MINUTE)
    assert the_order().flag is None
    looks(70 * MINUTE)
    assert the_order().flag == orders.OPEN_TOO_LONG


def test_the_alert_goes_with_its_reason(
    enrol, order_of, invoice, vendor, samples, context, the_order, tell, news
):
    enrol()
    order_of(**OPENED | {"flag": orders.OPEN_TOO_LONG, "terms_checked_at": START, "next_look_at": None})
    assert tell(news()).status_code == 204
    vendor.answers("GET", "/invoices/inv_01", invoice(invoice_number="INV-1"))
    worker.one_pass(datetime.now(UTC))
    assert (the_order().state, the_order().flag) == (State.FULFILLED, None)


def test_a_flexprice_that_is_down_changes_no_gap(enrol, order_of, vendor, looks, the_order):
    enrol()
    order_of(**OPENED | {"terms_checked_at": START})
    vendor.answers("GET", "/checkout/sessions/cs_01", {"error": "down"}, 503)
    assert looks(2 * HOUR)[:8] == [0, 60, 120, 240, 480, 960, 1920, 3840]
    assert the_order().flag == orders.OPEN_TOO_LONG


def test_an_invoice_that_a_replica_does_not_have_yet_is_asked_for_again_soon(
    enrol, order_of, invoice, vendor, looks, the_order
):
    enrol()
    order_of(**OPENED)
    vendor.answers("GET", "/invoices/inv_01", LAGS, 404)
    vendor.answers("GET", "/invoices/inv_01", invoice())

    assert looks(30 * SECOND) == [0, 5]
    assert the_order().terms_checked_at == START + 5 * SECOND


def test_an_invoice_that_went_with_its_checkout_ends_the_order_as_the_session_did(
    enrol, order_of, vendor, looks, the_order, samples
):
    enrol()
    order_of(**OPENED)
    ended = samples.session(checkout_status="expired", terminal=True)
    vendor.answers("GET", "/invoices/inv_01", {"code": "not_found", "message": "Subscription not found"}, 404)
    vendor.answers("GET", "/checkout/sessions/cs_01", ended)
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": "INITIATED", "amount": "499", "currency": "inr"},
    )

    looks(2 * MINUTE)
    assert the_order().state == State.EXPIRED


def paid(**changes):
    return OPENED | {"state": State.PAID, "paid_at": START} | changes


def test_a_paid_order_whose_terms_cannot_be_read_is_asked_about_every_few_seconds(
    enrol, order_of, invoice, vendor, samples, looks, the_order
):
    enrol()
    order_of(**paid())
    for _ in range(3):
        vendor.answers("GET", "/invoices/inv_01", {"error": "down"}, 503)
    vendor.answers("GET", "/invoices/inv_01", invoice(invoice_number="INV-1"))

    assert looks(MINUTE)[:4] == [0, 2, 4, 8]
    assert (the_order().state, the_order().fulfilled_at) == (State.FULFILLED, START + 8 * SECOND)
    assert the_order().invoice_number == "INV-1"


def test_a_completed_session_overwritten_before_the_goods_were_delivered_is_for_a_person(
    enrol, order_of, vendor, samples, looks, the_order
):
    enrol()
    order_of(**paid())
    overwritten = samples.session(
        checkout_status="expired", terminal=True, completed_at="2026-09-01T10:00:00Z"
    )
    vendor.answers("GET", "/invoices/inv_01", {"code": "not_found", "message": "Subscription not found"}, 404)
    vendor.answers("GET", "/checkout/sessions/cs_01", overwritten)
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": "INITIATED", "amount": "499", "currency": "inr"},
    )

    looks(MINUTE)
    assert the_order().state == State.STUCK
    assert "overwritten" in the_order().flag


def test_a_paid_order_without_an_invoice_id_asks_its_session_for_it(
    enrol, order_of, invoice, vendor, samples, looks, the_order
):
    enrol()
    order_of(**paid(invoice_id=None))
    vendor.answers(
        "GET", "/checkout/sessions/cs_01", samples.session(checkout_status="completed", terminal=True)
    )
    vendor.answers("GET", "/invoices/inv_01", invoice(invoice_number="INV-1"))
    looks(SECOND)
    assert the_order().state == State.FULFILLED


def test_a_sale_found_by_its_subscription_asks_for_the_invoice_of_that(
    enrol, order_of, invoice, vendor, looks, the_order
):
    enrol()
    order_of(**paid(invoice_id=None, session_id=None, subscription_id="subs_1"))
    settled = invoice(invoice_status="FINALIZED", payment_status="SUCCEEDED", invoice_number="INV-1")
    page = {"items": [settled], "pagination": {"total": 1}}
    vendor.answers("POST", "/invoices/search", page)
    vendor.answers("GET", "/invoices/inv_01", settled)
    looks(SECOND)
    assert the_order().state == State.FULFILLED
    assert vendor.sent(0)["subscription_id"] == "subs_1"


@pytest.mark.parametrize("without", ["subscription", "customer"])
def test_an_invoice_that_embeds_less_is_completed_by_another_call(
    enrol, order_of, invoice, vendor, looks, the_order, without
):
    enrol()
    order_of(**paid())
    whole = invoice(invoice_number="INV-1")
    vendor.answers("GET", "/invoices/inv_01", whole | {without: None})
    if without == "subscription":
        vendor.answers("GET", "/subscriptions/subs_1", whole["subscription"])
    looks(SECOND)
    assert the_order().state == State.FULFILLED


def test_an_invoice_of_no_subscription_is_not_what_was_ordered(
    enrol, order_of, invoice, vendor, samples, looks, the_order
):
    enrol()
    order_of(**paid())
    vendor.answers("GET", "/invoices/inv_01", invoice(subscription=None, subscription_id=None))
    vendor.answers(
        "GET", "/checkout/sessions/cs_01", samples.session(checkout_status="completed", terminal=True)
    )
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": "SUCCEEDED", "amount": "499", "currency": "inr"},
    )
    vendor.answers("GET", "/refunds", {"items": [], "pagination": {"total": 0}})
    looks(SECOND)
    assert the_order().state == State.HELD
    assert "plan: ordered plan_01, charged none" in the_order().flag


def test_money_taken_for_a_session_that_stays_pending_is_for_a_person_and_heals(
    enrol, order_of, invoice, vendor, samples, looks, the_order
):
    """Contract C.7: an error while completing; a later event may complete it after all."""
    enrol()
    order_of(**OPENED | {"terms_checked_at": START})
    stranded = samples.session(payment={"gateway": "razorpay", "id": "pay_01", "status": "SUCCEEDED"})
    for _ in range(2):
        vendor.answers("GET", "/checkout/sessions/cs_01", stranded)
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": "SUCCEEDED", "amount": "499", "currency": "inr"},
    )
    vendor.answers("GET", "/refunds", {"items": [], "pagination": {"total": 0}})
    looks(MINUTE)
    assert the_order().state == State.STUCK
    assert "by hand" in the_order().flag

    vendor.answers(
        "GET", "/checkout/sessions/cs_01", samples.session(checkout_status="completed", terminal=True)
    )
    vendor.answers("GET", "/invoices/inv_01", invoice(invoice_number="INV-1"))
    looks(10 * MINUTE)
    assert (the_order().state, the_order().flag) == (State.FULFILLED, None)


def test_a_refund_the_api_tells_of_closes_what_waits_for_a_person(
    enrol, order_of, vendor, samples, looks, the_order, rows
):
    enrol()
    order_of(**OPENED | {"state": State.HELD})
    vendor.answers(
        "GET", "/checkout/sessions/cs_01", samples.session(checkout_status="completed", terminal=True)
    )
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": "SUCCEEDED", "amount": "499", "currency": "inr"},
    )
    refund = {
        "id": "refund_1",
        "payment_id": "pay_01",
        "refund_status": "SUCCEEDED",
        "amount": "499",
        "currency": "inr",
    }
    vendor.answers("GET", "/refunds", {"items": [refund], "pagination": {"total": 1}})
    looks(SECOND)
    assert the_order().state == State.REFUNDED


def test_a_server_that_knows_no_refunds_is_no_trouble(enrol, order_of, vendor, samples, looks, the_order):
    enrol()
    order_of(**OPENED | {"state": State.HELD})
    vendor.answers(
        "GET", "/checkout/sessions/cs_01", samples.session(checkout_status="completed", terminal=True)
    )
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": "SUCCEEDED", "amount": "499", "currency": "inr"},
    )
    vendor.mock.add("GET", "http://127.0.0.1:8001/v1/refunds", body="404 page not found", status=404)
    looks(SECOND)
    assert the_order().state == State.HELD


def test_an_ended_order_is_watched_for_three_days_and_then_left_alone(
    enrol, order_of, vendor, samples, looks, the_order
):
    enrol()
    order_of(**OPENED | {"state": State.EXPIRED})
    vendor.answers(
        "GET", "/checkout/sessions/cs_01", samples.session(checkout_status="expired", terminal=True)
    )
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": "INITIATED", "amount": "499", "currency": "inr"},
    )
    found = looks(timedelta(days=30))
    assert 15 < len(found) < 40
    assert 3 * 86400 <= found[-1] <= 3.5 * 86400
    assert the_order().next_look_at is None


def test_a_link_that_turns_up_while_its_order_is_laid_to_rest_is_withdrawn(
    context, enrol, order_of, the_order, vendor, samples
):
    enrol()
    ref = order_of(state=State.CANCELLED, moved_at=START, next_look_at=START + HOUR)
    laid_to_rest = aftercare.ask(orders.by_ref(ref), START)
    with writing():
        orders.session_opened(1, CheckoutSession("cs_01", "cust_01", "pending"), START)
    with writing():
        laid_to_rest(START)
    assert the_order().next_look_at == START

    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session())
    vendor.answers("POST", "/checkout/sessions/cs_01/cancel", samples.session(checkout_status="failed"))
    worker.look_after_orders(START)


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_aftercare(state):
    assert state in aftercare.LOOKS


@pytest.mark.parametrize(("mine", "opening_at"), [(True, None), (False, START)])
def test_today_s_price_counts_only_while_no_link_was_asked_for(
    context, enrol, order_of, the_order, mine, opening_at
):
    from dataclasses import replace
    from decimal import Decimal

    from storefront.catalog import Offer

    from storefront.extensions import db
    from storefront.models import Shopper

    enrol()
    order_of(opening_at=opening_at)
    offer = replace(Offer("plan_01", "Pro", "inr", "MONTHLY", Decimal(499)), amount=Decimal(599))
    shopper = db.session.get_one(Shopper, 1)
    if mine:
        with writing():
            orders.place(shopper.id, offer, START)
        assert the_order().amount == 599
    else:
        with pytest.raises(orders.AnotherOfferOpen), writing():
            orders.place(shopper.id, offer, START)
        assert the_order().amount == 499
