"""Reading Flexprice's objects: samples, the gaps in them, and junk."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storefront.flexprice import (
    CheckoutSession,
    CheckoutSessionRequest,
    Customer,
    Entitlement,
    Environment,
    Event,
    Invoice,
    Payment,
    Plan,
    Price,
    Refund,
    Subscription,
    UnreadableResponse,
)
from tests.unit.flexprice.samples import (
    CUSTOMER,
    ENTITLEMENT,
    INVOICE,
    PAYMENT,
    PLAN,
    PRICE,
    REFUND,
    SESSION,
    SUBSCRIPTION,
)


def test_a_session_is_read():
    session = CheckoutSession.from_json(SESSION)
    assert (session.status, session.terminal) == ("pending", False)
    assert session.payment_url == "https://rzp.io/rzp/AbC123"
    assert session.expires_at == datetime(2026, 9, 1, 10, 15, 1, 500_000, tzinfo=UTC)
    assert (session.invoice_id, session.payment_id) == ("inv_01", "pay_01")


@pytest.mark.parametrize("action", [None, {}, {"type": "", "url": ""}, {"url": None}])
def test_an_empty_payment_action_is_no_url(action):
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
def test_a_session_is_terminal_by_field_or_status(status, field, terminal):
    session = CheckoutSession.from_json(SESSION | {"checkout_status": status, "terminal": field})
    assert session.terminal is terminal


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
def test_a_field_in_another_form_is_unreadable(kind, good, name, value):
    kind.from_json(good)
    with pytest.raises(UnreadableResponse, match=name):
        kind.from_json(good | {name: value})


@pytest.mark.parametrize(
    "kind", [CheckoutSession, Customer, Plan, Price, Subscription, Invoice, Payment, Refund]
)
@pytest.mark.parametrize("data", [None, [], "x", 7, {}])
def test_anything_but_an_object_is_unreadable(kind, data):
    with pytest.raises(UnreadableResponse):
        kind.from_json(data)


def test_a_plan_is_read_with_its_parts():
    plan = Plan.from_json(PLAN)
    assert (plan.name, plan.display_order, plan.metadata) == ("Pro", 2, {"highlight": "true"})
    assert plan.prices[0].amount == Decimal(499)
    assert plan.prices[0].currency == "inr"
    assert (plan.entitlements[0].feature_name, plan.entitlements[0].usage_limit) == ("API calls", 10000)


def test_one_odd_price_makes_a_plan_unreadable():
    with pytest.raises(UnreadableResponse, match="price"):
        Plan.from_json(PLAN | {"prices": [PRICE, 7]})


def test_archived_prices_are_left_out_of_a_plan():
    assert Plan.from_json(PLAN | {"prices": [PRICE | {"status": "archived"}]}).prices == ()


def test_a_usage_price_needs_no_amount():
    assert Price.from_json(PRICE | {"type": "USAGE", "amount": None}).amount == 0


def test_a_subscription_is_read_with_its_reference():
    subscription = Subscription.from_json(SUBSCRIPTION)
    assert (subscription.status, subscription.currency) == ("active", "inr")
    assert subscription.metadata == {"order_ref": "ord_1001"}
    assert subscription.latest_invoice_id == "inv_01"


def test_go_zero_time_is_no_end():
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
def test_an_invoice_is_paid_when_final_and_settled(status, payment_status, paid):
    invoice = Invoice.from_json(INVOICE | {"invoice_status": status, "payment_status": payment_status})
    assert invoice.paid is paid


def test_payments_and_refunds_are_read():
    assert Payment.from_json(PAYMENT) == Payment(
        "pay_01", "INITIATED", Decimal(499), "inr", invoice_id="inv_01"
    )
    assert Refund.from_json(REFUND) == Refund("ref_01", "pay_01", "SUCCEEDED", Decimal(499), "inr")


def test_a_request_carries_the_reference_three_times():
    request = CheckoutSessionRequest(
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


def test_a_session_event_needs_id_and_status():
    found = event("checkout.session.expired", checkout_session={"id": "cs_1", "checkout_status": "expired"})
    assert found.session is not None
    assert found.session.terminal
    assert (found.object_id, found.customer_id, found.order_ref) == ("cs_1", "", None)


@pytest.mark.parametrize("parts", [{}, {"checkout_session": 7}, {"checkout_session": {"id": "cs_1"}}])
def test_a_session_event_without_a_session_is_unreadable(parts):
    with pytest.raises(UnreadableResponse):
        event("checkout.session.completed", **parts)


def test_a_subscription_event_carries_our_reference():
    found = event("subscription.cancelled", subscription=SUBSCRIPTION)
    assert (found.object_id, found.order_ref) == ("subs_01", "ord_1001")


def test_a_refund_event_may_lack_most():
    found = event("refund.succeeded", refund={"id": "ref_01", "payment_id": "pay_01"})
    assert (found.object_id, found.payment_id) == ("ref_01", "pay_01")


def test_other_events_keep_ids_only():
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
def test_a_body_that_is_no_event_is_unreadable(body):
    with pytest.raises(UnreadableResponse):
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
def test_any_event_is_read_or_unreadable(kind, name, entity, keep):
    if keep and isinstance(entity, dict):
        entity = SESSION | SUBSCRIPTION | REFUND | entity
    try:
        assert event(kind, **{name: entity}).type == kind
    except UnreadableResponse:
        return


@given(body=st.binary(max_size=200))
def test_any_bytes_are_unreadable(body):
    with pytest.raises(UnreadableResponse):
        Event.from_body(body)


@pytest.mark.parametrize(
    ("status", "payment_status", "remaining", "is_open"),
    [
        ("FINALIZED", "PENDING", "499.5", True),
        ("FINALIZED", "FAILED", "0.01", True),
        ("FINALIZED", "PENDING", "0", False),
        ("DRAFT", "PENDING", "499.5", False),
        ("VOIDED", "PENDING", "499.5", False),
        ("FINALIZED", "SUCCEEDED", "0", False),
    ],
)
def test_an_invoice_is_open_while_money_is_due(status, payment_status, remaining, is_open):
    parts = {"invoice_status": status, "payment_status": payment_status, "amount_remaining": remaining}
    invoice = Invoice.from_json(INVOICE | parts)
    assert invoice.open is is_open
    assert invoice.voided is (status == "VOIDED")


def test_amounts_left_out_follow_from_the_total():
    invoice = Invoice.from_json({key: value for key, value in INVOICE.items() if key != "amount_paid"})
    assert (invoice.amount_due, invoice.amount_paid, invoice.amount_remaining) == (
        Decimal("499.5"),
        Decimal(0),
        Decimal("499.5"),
    )


def test_an_empty_invoice_number_is_none():
    assert Invoice.from_json(INVOICE | {"invoice_number": ""}).number is None


def test_a_subscription_knows_its_trial_and_period():
    times = dict.fromkeys(("current_period_start", "trial_start", "trial_end"), "2026-09-01T10:00:00Z")
    subscription = Subscription.from_json(SUBSCRIPTION | times | {"cancel_at_period_end": True})
    start = datetime(2026, 9, 1, 10, tzinfo=UTC)
    assert subscription.current_period_start == subscription.trial_start == subscription.trial_end == start
    assert subscription.cancel_at_period_end is True


def test_a_price_keeps_its_dates():
    dates = {"start_date": "2026-12-01T00:00:00Z", "end_date": "0001-01-01T00:00:00Z"}
    price = Price.from_json(PRICE | dates)
    assert (price.start_date, price.end_date) == (datetime(2026, 12, 1, tzinfo=UTC), None)


@pytest.mark.parametrize(
    ("model", "sample", "name", "attribute"),
    [
        (Plan, PLAN, "name", "name"),
        (Price, PRICE, "display_name", "display_name"),
        (Customer, CUSTOMER, "name", "name"),
    ],
)
@pytest.mark.parametrize("length", [255, 256, 5000])
def test_long_names_are_cut(model, sample, name, attribute, length):
    found = model.from_json(sample | {name: "\U0001f600\x00" * length})
    assert getattr(found, attribute) == "\U0001f600" * 255


def request(**parts):
    return CheckoutSessionRequest(
        "user-42",
        "plan_01",
        "inr",
        "MONTHLY",
        **{"idempotency_key": "ref1"} | parts,
        success_url="https://s",
        failure_url="https://f",
        cancel_url="https://c",
    )


def test_a_request_adds_metadata_to_the_session_only():
    body = request(metadata={"channel": "web", "order_ref": "other"}).to_json()
    assert body["metadata"] == {"channel": "web", "order_ref": "ref1"}
    assert body["configuration"]["create_subscription_params"]["metadata"] == {"order_ref": "ref1"}


@pytest.mark.parametrize("key", ["flexprice_payment_id", "payment_source"])
def test_a_request_never_overwrites_notes_of_flexprice(key):
    with pytest.raises(ValueError, match=key):
        request(metadata={key: "x"})


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_request_needs_a_storable_key(key):
    with pytest.raises(ValueError, match="idempotency key"):
        request(idempotency_key=key)


def test_models_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Plan.from_json(PLAN).name = "Free"


@pytest.mark.parametrize("kind", ["payment.updated", "payment.success"])
def test_a_payment_event_names_its_payment(kind):
    assert event(kind, payment={"id": "pay_01"}).payment_id == "pay_01"


def test_session_and_refund_events_name_their_payment():
    assert event("checkout.session.completed", checkout_session=SESSION).payment_id == "pay_01"
    assert event("refund.created", refund=REFUND).payment_id == "pay_01"


SAMPLES = [
    (CheckoutSession, SESSION | {"failure_reason": "x", "payment": {"status": "x"}}),
    (Customer, CUSTOMER),
    (Plan, PLAN | {"description": "x", "environment_id": "env_01"}),
    (Price, PRICE | {"min_quantity": "1"}),
    (Entitlement, ENTITLEMENT | {"static_value": "x"}),
    (Subscription, SUBSCRIPTION),
    (Invoice, INVOICE | {"invoice_number": "INV-1", "invoice_type": "x", "billing_reason": "x"}),
    (Payment, PAYMENT),
    (Refund, REFUND),
    (Environment, {"id": "env_01", "name": "Main", "type": "production"}),
]
UNBOUNDED = {"description", "failure_reason", "payment_url", "email"}  # kept in columns without a length
TEXTS = [
    (model, sample, name)
    for model, sample in SAMPLES
    for name, value in sample.items()
    if isinstance(value, str)
]


@pytest.mark.parametrize(("model", "sample", "name"), TEXTS)
def test_every_text_fits_its_column(model, sample, name):
    for char, length in product(["x", "\U0001f600", "x\x00", "x\ud800", "ß", "İ"], [255, 256, 5000]):
        with suppress(UnreadableResponse):
            found = model.from_json(sample | {name: char * length})
            texts = {one.name: getattr(found, one.name) for one in fields(found)}
            for field, value in texts.items():
                assert not isinstance(value, str) or fits(value, field)


def fits(value, field):
    value.encode()  # raises on a lone surrogate
    return "\x00" not in value and (len(value) <= 255 or field in UNBOUNDED)


@given(
    sample=st.sampled_from(SAMPLES),
    junk=st.dictionaries(st.text(max_size=10), json_values, max_size=4),
    data=st.data(),
)
def test_any_object_is_read_or_unreadable(sample, junk, data):
    model, good = sample
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(good)), json_values, max_size=4))
    with suppress(UnreadableResponse):
        model.from_json(good | junk | changed)
