"""Reading Flexprice's objects: the contract's samples, the gaps in them, and junk."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from flexprice_samples import INVOICE, PAYMENT, PLAN, PRICE, REFUND, SESSION, SUBSCRIPTION
from hypothesis import given
from hypothesis import strategies as st

from storefront.flexprice import (
    CheckoutSession,
    Customer,
    Event,
    Invoice,
    Payment,
    Plan,
    Price,
    Refund,
    SessionRequest,
    Subscription,
    UnreadableObject,
)
from storefront.flexprice.objects import parse_json, parse_money, parse_time


def repr_short(value):
    """A name for any value; the text of a huge whole number cannot be made."""
    return f"{type(value).__name__} {value!r:.20}" if not isinstance(value, int) else "whole number"


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-09-01T10:15:01Z", 0),
        ("2026-09-01T10:15:01.5Z", 500_000),
        ("2026-09-01T10:15:01.123456Z", 123_456),
        ("2026-09-01T10:15:01.123456789Z", 123_456),
        ("2026-09-01T15:45:01.1+05:30", 100_000),
    ],
)
def test_a_time_with_nought_to_nine_fraction_digits_is_read_as_utc(text, microsecond):
    assert parse_time(text) == datetime(2026, 9, 1, 10, 15, 1, microsecond, tzinfo=UTC)
    assert parse_time(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-09-01",
        "2026-09-01T10:15:01",
        "2026-13-01T10:15:01Z",
        "2026-09-01T10:15:01.1234567890Z",
        "2026-09-01T10:15:01Z\n",
        "0001-01-01T00:00:00+05:00",
        "1788256800",
        "2026-09-01T10:15:01+99:00",
    ],
)
def test_a_time_in_another_form_is_unreadable(text):
    with pytest.raises(UnreadableObject):
        parse_time(text)


@pytest.mark.parametrize(
    ("value", "amount"),
    [("499", "499"), ("499.5", "499.5"), (499, "499"), (Decimal("0.1"), "0.1"), ("-1", "-1")],
)
def test_money_is_read_exactly_from_text_and_numbers(value, amount):
    assert parse_money(value) == Decimal(amount)


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-inf",
        "",
        " 1",
        "1_0",
        "1,5",
        "٤",
        "1e999",
        10**5000,
        True,
        None,
        0.1,
        [],
        "9" * 50,
    ],
    ids=repr_short,
)
def test_what_is_not_an_amount_is_unreadable(value):
    with pytest.raises(UnreadableObject):
        parse_money(value)


def test_numbers_in_json_never_pass_through_floats():
    assert parse_json(b'{"amount": 0.1}') == {"amount": Decimal("0.1")}


def test_a_session_is_read_with_all_the_shop_needs():
    session = CheckoutSession.from_json(SESSION)
    assert (session.status, session.terminal, session.stale) == ("pending", False, False)
    assert session.payment_url == "https://rzp.io/rzp/AbC123"
    assert session.expires_at == datetime(2026, 9, 1, 10, 15, 1, 500_000, tzinfo=UTC)
    assert (session.invoice_id, session.payment_id) == ("inv_01", "pay_01")
    assert session.next_poll_after == timedelta(seconds=2)


@pytest.mark.parametrize("action", [None, {}, {"type": "", "url": ""}, {"url": None}])
def test_a_missing_or_empty_payment_action_is_no_url(action):
    assert CheckoutSession.from_json(SESSION | {"payment_action": action}).payment_url is None


@pytest.mark.parametrize(
    ("status", "field", "terminal"),
    [
        ("initiated", None, False),
        ("pending", None, False),
        ("completed", None, True),
        ("failed", None, True),
        ("expired", None, True),
        ("paused", None, False),
        ("paused", True, True),
        ("pending", True, True),
    ],
)
def test_a_session_is_terminal_by_its_field_or_else_by_its_status(status, field, terminal):
    session = CheckoutSession.from_json(SESSION | {"checkout_status": status, "terminal": field})
    assert session.terminal is terminal


@pytest.mark.parametrize(
    ("sent", "pause"), [(0, None), (-5, None), (10**15, timedelta(hours=1)), (None, None)]
)
def test_advice_to_stop_or_to_wait_for_ages_is_bounded(sent, pause):
    assert CheckoutSession.from_json(SESSION | {"next_poll_after_ms": sent}).next_poll_after == pause


BROKEN = [
    (CheckoutSession, SESSION, "id", None),
    (CheckoutSession, SESSION, "id", ""),
    (CheckoutSession, SESSION, "id", 7),
    (CheckoutSession, SESSION, "id", "cs_\ud800"),
    (CheckoutSession, SESSION, "id", "cs_\x00"),
    (CheckoutSession, SESSION, "id", "c" * 256),
    (CheckoutSession, SESSION, "customer_id", None),
    (CheckoutSession, SESSION, "checkout_status", None),
    (CheckoutSession, SESSION, "expires_at", "soon"),
    (CheckoutSession, SESSION, "terminal", "yes"),
    (CheckoutSession, SESSION, "payment_action", "https://rzp.io"),
    (CheckoutSession, SESSION, "metadata", []),
    (CheckoutSession, SESSION, "next_poll_after_ms", "2000"),
    (Customer, {"id": "cust_01", "external_id": "user-42"}, "external_id", None),
    (Plan, PLAN, "prices", {}),
    (Plan, PLAN, "prices", "none"),
    (Price, PRICE, "amount", None),
    (Price, PRICE, "amount", "NaN"),
    (Price, PRICE, "currency", None),
    (Price, PRICE, "trial_period_days", True),
    (Subscription, SUBSCRIPTION, "subscription_status", None),
    (Invoice, INVOICE, "total", None),
    (Invoice, INVOICE, "payment_status", None),
    (Payment, PAYMENT, "amount", None),
    (Refund, REFUND, "payment_id", None),
]


@pytest.mark.parametrize(("kind", "good", "name", "value"), BROKEN)
def test_an_object_with_a_missing_or_ill_typed_field_is_unreadable(kind, good, name, value):
    kind.from_json(good)
    with pytest.raises(UnreadableObject, match=name):
        kind.from_json(good | {name: value})


@pytest.mark.parametrize(
    "kind", [CheckoutSession, Customer, Plan, Price, Subscription, Invoice, Payment, Refund]
)
@pytest.mark.parametrize("data", [None, [], "x", 7, {}])
def test_what_is_not_an_object_is_unreadable(kind, data):
    with pytest.raises(UnreadableObject):
        kind.from_json(data)


def test_a_plan_is_read_with_its_prices_and_entitlements():
    plan = Plan.from_json(PLAN)
    assert (plan.name, plan.display_order, plan.metadata) == ("Pro", 2, {"highlight": "true"})
    assert plan.prices[0].amount == Decimal(499)
    assert plan.prices[0].currency == "inr"
    assert (plan.entitlements[0].feature_name, plan.entitlements[0].usage_limit) == ("API calls", 10000)


def test_a_plan_with_something_else_among_its_prices_is_unreadable():
    with pytest.raises(UnreadableObject, match="price"):
        Plan.from_json(PLAN | {"prices": [PRICE, 7]})


def test_archived_prices_are_left_out_of_a_plan():
    assert Plan.from_json(PLAN | {"prices": [PRICE | {"status": "archived"}]}).prices == ()


def test_a_usage_price_needs_no_amount():
    assert Price.from_json(PRICE | {"type": "USAGE", "amount": None}).amount == 0


def test_a_subscription_is_read_with_its_order_reference():
    subscription = Subscription.from_json(SUBSCRIPTION)
    assert (subscription.status, subscription.currency) == ("active", "inr")
    assert subscription.metadata == {"order_ref": "ord_1001"}
    assert subscription.latest_invoice_id == "inv_01"


def test_the_zero_time_of_go_is_no_time():
    assert Subscription.from_json(SUBSCRIPTION | {"cancel_at": "0001-01-01T00:00:00Z"}).cancel_at is None


@pytest.mark.parametrize(
    ("status", "payment_status", "paid"),
    [
        ("finalized", "succeeded", True),
        ("FINALIZED", "OVERPAID", True),
        ("DRAFT", "SUCCEEDED", False),
        ("FINALIZED", "PENDING", False),
        ("VOIDED", "SUCCEEDED", False),
    ],
)
def test_an_invoice_is_paid_only_when_finalized_and_settled(status, payment_status, paid):
    invoice = Invoice.from_json(INVOICE | {"invoice_status": status, "payment_status": payment_status})
    assert invoice.paid is paid


def test_payments_and_refunds_are_read():
    assert Payment.from_json(PAYMENT) == Payment(
        "pay_01", "INITIATED", Decimal(499), "inr", invoice_id="inv_01"
    )
    assert Refund.from_json(REFUND) == Refund("ref_01", "pay_01", "SUCCEEDED", Decimal(499), "inr")


def test_a_session_request_carries_the_reference_in_all_three_places():
    request = SessionRequest(
        "user-42", "plan_01", "inr", "monthly", "ref1", "https://s", "https://f", "https://c"
    )
    body = request.to_json()
    params = body["configuration"]["create_subscription_params"]
    assert (
        body["idempotency_key"] == body["metadata"]["order_ref"] == params["metadata"]["order_ref"] == "ref1"
    )
    assert params["billing_period"] == "MONTHLY"
    assert (body["action"], body["payment_provider"]) == ("create_subscription", "razorpay")


def event(kind, **parts):
    return Event.from_body(json.dumps({"event_type": kind} | parts).encode())


@pytest.mark.parametrize("key", ["checkout_session", "data"])
def test_a_session_event_is_read_from_either_key(key):
    found = event("checkout.session.completed", **{key: SESSION})
    assert found.session is not None
    assert (found.object_id, found.customer_id, found.order_ref) == ("cs_01", "cust_01", "ord_1001")


def test_a_session_event_may_lack_all_but_id_and_status():
    found = event("checkout.session.expired", checkout_session={"id": "cs_1", "checkout_status": "expired"})
    assert found.session is not None
    assert found.session.terminal
    assert (found.object_id, found.customer_id, found.order_ref) == ("cs_1", "", None)


@pytest.mark.parametrize("parts", [{}, {"checkout_session": 7}, {"checkout_session": {"id": "cs_1"}}])
def test_a_session_event_without_a_session_is_unreadable(parts):
    with pytest.raises(UnreadableObject):
        event("checkout.session.completed", **parts)


def test_a_subscription_event_carries_our_reference():
    found = event("subscription.cancelled", subscription=SUBSCRIPTION)
    assert found.subscription is not None
    assert (found.object_id, found.order_ref) == ("subs_01", "ord_1001")


def test_a_refund_event_is_read_with_what_it_has():
    found = event("refund.succeeded", refund={"id": "ref_01", "payment_id": "pay_01"})
    assert found.refund is not None
    assert (found.object_id, found.refund.payment_id) == ("ref_01", "pay_01")


def test_of_other_events_only_the_ids_are_kept():
    found = event("invoice.update.finalized", invoice={"id": "inv_01", "customer_id": "cust_01", "total": []})
    assert found == Event("invoice.update.finalized", object_id="inv_01", customer_id="cust_01")
    assert event("customer.created", customer={"id": "cust_01"}).customer_id == "cust_01"
    assert event("wallet.created") == Event("wallet.created")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"not json",
        b"{}",
        b"[]",
        b"null",
        b'"text"',
        b'{"event_type": 7}',
        b'{"event_type": ""}',
        b'{"event_type": "\\ud800"}',
        b'{"event_type": "a\\u0000"}',
        b'{"event_type": "x", "n": NaN}',
        b'{"event_type": "x", "n": -Infinity}',
        b'{"event_type": "x", "n": 1e999999999999999999999}',
        b'{"event_type": "x", "n": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b'{"event_type": "x", "n": ' + b"[" * 100_000,
        b'{"event_type": "x", "event_type": null}',
        b'{"event_type": "x"} trailing',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_event_is_unreadable_and_nothing_else(body):
    with pytest.raises(UnreadableObject):
        Event.from_body(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(["checkout.session.completed", "subscription.updated", "refund.created", "invoice.x"])
field_names = st.sampled_from(sorted({*SESSION, *SUBSCRIPTION, *REFUND}))


@given(
    kind=kinds,
    name=st.sampled_from(["checkout_session", "subscription", "refund", "invoice", "data"]),
    entity=st.dictionaries(field_names, json_values, max_size=8) | json_values,
    keep=st.booleans(),
)
def test_whatever_an_event_holds_it_is_read_or_unreadable(kind, name, entity, keep):
    if keep and isinstance(entity, dict):
        entity = SESSION | SUBSCRIPTION | REFUND | entity
    try:
        assert event(kind, **{name: entity}).type == kind
    except UnreadableObject:
        return


@given(body=st.binary(max_size=200))
def test_whatever_bytes_come_they_are_unreadable(body):
    with pytest.raises(UnreadableObject):
        Event.from_body(body)
