"""The QA page's door, its questions, and the troubleshooting table."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from storefront import lifesigns
from storefront.checklist import CHECKS, LOOK, STOP, WAIT, Case, Said, checks
from storefront.flexprice import (
    CheckoutSession,
    Invoice,
    NeverSent,
    NotAllowed,
    NotFound,
    Subscription,
)
from storefront.models import Access, InboxMessage, Letter, Order
from storefront.troubleshooting import HINTS
from storefront.web.qa import Answers, md

NOW = datetime(2026, 9, 1, 10, 5, tzinfo=UTC)
OPENED = {
    "state": "awaiting_payment",
    "session_id": "cs_01",
    "customer_id": "cust_01",
    "invoice_id": "inv_01",
}
INVOICE = {
    "id": "inv_01",
    "subscription_id": "subs_01",
    "invoice_status": "DRAFT",
    "payment_status": "PENDING",
    "currency": "inr",
    "subtotal": "499",
    "total": "499",
}
SUBSCRIPTION = {
    "id": "subs_01",
    "customer_id": "cust_01",
    "plan_id": "plan_01",
    "subscription_status": "draft",
}


# -- the door ---------------------------------------------------------------------------------------


def test_in_production_there_is_no_such_page(build):
    shop = build(STOREFRONT_URL="https://shop.example")
    for path in ("/qa", "/qa/orders", "/qa/result.md", "/qa/anything"):
        assert shop.test_client().get(path, base_url="https://shop.example").status_code == 404


def test_a_setting_switches_it_on_in_production(build):
    shop = build(STOREFRONT_URL="https://shop.example", QA_PAGE="on")
    answer = shop.test_client().get("/qa", base_url="https://shop.example")
    assert (answer.status_code, answer.location) == (302, "/sign-in?next=/qa")


def test_the_way_there_is_shown_only_where_it_is_on(build, asha):
    assert 'href="/qa"' in asha.get("/account").text
    off = build(QA_PAGE="off")
    assert 'href="/qa"' not in off.test_client().get("/", base_url="http://127.0.0.1:8000").text


def test_signed_out_one_signs_in_first_and_comes_back(browser, enrol, order_of):
    enrol()
    ref = order_of()
    assert browser.get(f"/qa/{ref}").location == f"/sign-in?next=/qa/{ref}"
    fragment = browser.get(f"/qa/{ref}/checks", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (401, "/sign-in?next=/qa")


def test_an_order_without_a_session_is_not_asked_about(asha, order_of, vendor):
    ref = order_of()
    page = asha.get(f"/qa/{ref}")
    assert page.status_code == 200
    assert "No session was opened" in page.text
    assert vendor.calls == []


def test_session_invoice_and_subscription_are_asked_for(asha, order_of, vendor, samples):
    ref = order_of(**OPENED)
    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session())
    vendor.answers("GET", "/invoices/inv_01", INVOICE)
    vendor.answers("GET", "/subscriptions/subs_01", SUBSCRIPTION)

    page = asha.get(f"/qa/{ref}").text

    assert [path for _, path in vendor.calls] == [
        "/checkout/sessions/cs_01",
        "/invoices/inv_01",
        "/subscriptions/subs_01",
    ]
    assert "DRAFT, payment PENDING" in page
    assert "Nobody has paid yet" in page


def test_a_flexprice_that_does_not_answer_is_asked_one_thing_only(asha, order_of, monkeypatch, app):
    ref = order_of(**OPENED)
    client, asked = app.extensions["flexprice"], []

    def nobody(session_id, *, patience):
        asked.append(patience)
        raise NeverSent("no connection")

    monkeypatch.setattr(client, "get_session", nobody)
    page = asha.get(f"/qa/{ref}")
    assert page.status_code == 200
    assert "could not be asked just now" in page.text
    assert asked == [3.0]


def test_of_two_looks_in_the_same_moment_one_asks(asha, order_of, vendor, monkeypatch):
    ref = order_of(**OPENED)
    monkeypatch.setattr("storefront.orders.claim_asking", lambda order_id, now: False)  # the other was first
    assert asha.get(f"/qa/{ref}").status_code == 200
    assert vendor.calls == []


def test_a_refused_key_is_named_and_not_shown(asha, order_of, vendor):
    ref = order_of(**OPENED)
    for path in ("/checkout/sessions/cs_01", "/invoices/inv_01"):
        vendor.answers("GET", path, {"error": "Invalid token"}, 401)
    page = asha.get(f"/qa/{ref}").text
    assert "refuses the shop&#39;s API key" in page or "refuses the shop's API key" in page
    assert "sk_of_a_test" not in page


def test_flexprices_own_words_are_not_repeated(asha, order_of, vendor, samples):
    ref = order_of(**OPENED)
    failed = samples.session(checkout_status="failed", failure_reason="pq: internal text", terminal=True)
    vendor.answers("GET", "/checkout/sessions/cs_01", failed)
    vendor.answers("GET", "/invoices/inv_01", {"code": "not_found", "message": "inner <b>words</b>"}, 404)
    page = asha.get(f"/qa/{ref}").text
    assert "404 not_found" in page
    assert "internal text" not in page
    assert "inner" not in page


def test_an_unknown_form_of_result_is_not_found(asha, order_of):
    ref = order_of()
    assert asha.get(f"/qa/{ref}/result.pdf").status_code == 404
    assert asha.get("/qa/result.pdf").status_code == 404


def test_older_orders_are_a_page_away(asha, order_of, monkeypatch):
    monkeypatch.setattr("storefront.web.qa.SHOWN", 2)
    refs = [order_of(plan_id=f"plan_{number}") for number in range(3)]
    first = asha.get("/qa").text
    assert [ref in first for ref in refs] == [False, True, True]
    older = first.split('id="qa-older" href="')[1].split('"')[0]
    assert [ref in asha.get(older).text for ref in refs] == [True, False, False]


def test_only_the_latest_answers_are_kept():
    answers = Answers(most=2)
    for ref in "abca":
        answers.keep(ref, Said(NOW))
    assert [bool(answers.of(ref)) for ref in "abc"] == [True, False, True]


def test_what_goes_into_a_markdown_cell_stays_in_it():
    assert md("a | b\n<script>") == "a \\| b &lt;script>"


# -- the troubleshooting table ----------------------------------------------------------------------


def order(**values):
    defaults = {
        "id": 1,
        "ref": "a" * 32,
        "shopper_id": 1,
        "plan_id": "plan_01",
        "currency": "inr",
        "amount": Decimal(499),
        "state": "awaiting_payment",
        "session_id": "cs_01",
        "expires_at": NOW + timedelta(minutes=10),
    }
    return Order(**defaults | values)


def case(worker_alive=True, messages=(), access=None, letters=None, said=None, **values):
    found = [
        InboxMessage(id=f"msg_{number}", event_type=kind, object_id="x", received_at=NOW)
        for number, kind in enumerate(messages)
    ]
    return Case(order(**values), NOW, worker_alive, said, found, access, letters or {})


def session(status="pending", **more):
    return CheckoutSession("cs_01", "cust_01", status, **more)


def said(session_=None, invoice=None, subscription=None):
    return Said(NOW, session_, invoice, subscription)


def invoice(status="FINALIZED", payment="SUCCEEDED"):
    return Invoice("inv_01", status, payment, "inr")


def subscription(status):
    return Subscription("subs_01", "cust_01", "plan_01", status)


LONG_AGO = NOW - timedelta(hours=1)
COMPLETED = session("completed", completed_at=LONG_AGO)
PAID = {"state": "paid", "paid_at": LONG_AGO}
SOLD = {"state": "fulfilled", "paid_at": LONG_AGO, "fulfilled_at": LONG_AGO}
LETTER = {"welcome": Letter(id=7, kind="welcome", created_at=LONG_AGO)}
UNSENT = {"welcome": Letter(id=7, kind="welcome", created_at=LONG_AGO, attempts=3, error="SMTPException")}
GRANTED = Access(order_id=1, granted_at=LONG_AGO)
MISSING = NotFound("gone", status=404)


@pytest.mark.parametrize(
    ("key", "seen", "tone", "words"),
    [
        ("session", case(said=said(NotAllowed("no", status=401))), LOOK, "refuses the shop's API key"),
        ("session", case(said=said(MISSING)), LOOK, "does not know this session"),
        ("session", case(said=said(session("expired", completed_at=LONG_AGO))), LOOK, "overwritten"),
        ("session", case(state="stuck"), LOOK, "Money was taken"),
        ("session", case(state="paid", session_id=None, paid_at=NOW), STOP, "answer to the create call"),
        ("session", case(state="placed", session_id=None), LOOK, "No session was opened"),
        ("session", case(state="placed", session_id=None, opening_at=NOW), WAIT, "no answer has come"),
        ("session", case(state="abandoned", session_id=None), STOP, "started again"),
        ("session", case(state="failed", session_id=None), LOOK, "400: the plan charges nothing"),
        (
            "session",
            case(
                state="failed",
                said=said(session("failed", failure_reason="checkout requires a non-zero invoice")),
            ),
            LOOK,
            "zero invoice",
        ),
        (
            "session",
            case(said=said(session("failed", failure_reason="payment_link.expired by provider"))),
            STOP,
            "ran out at Razorpay",
        ),
        (
            "session",
            case(said=said(session("failed", failure_reason="payment_link.cancelled by provider"))),
            STOP,
            "cancelled",
        ),
        ("session", case(said=said(session("failed"))), LOOK, "payment provider refused"),
        ("session", case(state="paid_late"), STOP, "after the session had ended"),
        ("session", case(state="expired"), STOP, "not paid in time"),
        ("session", case(said=said(NeverSent("x"))), WAIT, "could not be asked"),
        ("session", case(said=said(session()), expires_at=LONG_AGO), WAIT, "half-hourly sweep"),
        ("session", case(said=said(session())), WAIT, "Nobody has paid yet"),
        ("session", case(), WAIT, "has not said yet"),
        (
            "subscription",
            case(said=said(COMPLETED, invoice(), subscription("draft"))),
            LOOK,
            "still a draft",
        ),
        ("subscription", case(said=said(COMPLETED, invoice(), MISSING)), LOOK, "archived although"),
        (
            "subscription",
            case(said=said(COMPLETED, invoice(), subscription("cancelled")), **SOLD),
            STOP,
            "ended since",
        ),
        ("subscription", case(said=said(COMPLETED, invoice(), subscription("paused"))), LOOK, "neither"),
        ("subscription", case(state="expired"), STOP, "archived with its checkout"),
        (
            "subscription",
            case(state="expired", said=said(session("expired"), None, subscription("draft"))),
            STOP,
            "nothing to activate",
        ),
        ("subscription", case(**SOLD), WAIT, "Not asked yet"),
        ("invoice", case(said=said(COMPLETED, invoice("DRAFT"))), LOOK, "not finalized although"),
        (
            "invoice",
            case(said=said(session("completed", completed_at=NOW), invoice("DRAFT"))),
            WAIT,
            "lags behind",
        ),
        ("invoice", case(said=said(COMPLETED, invoice(payment="PENDING"))), LOOK, "not marked as paid"),
        ("invoice", case(said=said(COMPLETED, MISSING)), LOOK, "deleted or archived"),
        ("invoice", case(state="failed"), STOP, "deleted with its checkout"),
        ("webhook", case(said=said(session("completed", completed_at=NOW))), WAIT, "a moment ago"),
        ("webhook", case(state="cancelled"), STOP, "no such message is due"),
        (
            "webhook",
            case(said=said(COMPLETED), messages=["checkout.session.initiated"]),
            LOOK,
            "this one is late or lost",
        ),
        (
            "webhook",
            case(said=said(COMPLETED), messages=["subscription.activated"]),
            LOOK,
            "not subscribed to checkout.session.*",
        ),
        ("webhook", case(said=said(COMPLETED)), LOOK, "No message about this order ever came"),
        ("fulfillment", case(state="expired", access=GRANTED), LOOK, "must never happen"),
        ("fulfillment", case(worker_alive=False, said=said(COMPLETED)), LOOK, "nobody reads them"),
        ("fulfillment", case(said=said(COMPLETED)), WAIT, "the worker acts on it"),
        ("fulfillment", case(state="expired"), STOP, "That is right"),
        ("fulfillment", case(state="paid_twice", paid_at=LONG_AGO), STOP, "second payment"),
        ("fulfillment", case(state="stuck"), LOOK, "did not complete"),
        ("fulfillment", case(worker_alive=False, **PAID), LOOK, "no sign of life"),
        ("fulfillment", case(**PAID), WAIT, "delivers in a moment"),
        ("fulfillment", case(access=GRANTED, letters=UNSENT, **SOLD), LOOK, "mail server"),
        ("fulfillment", case(**SOLD), LOOK, "removed by hand"),
        ("fulfillment", case(access=GRANTED, letters=LETTER, **SOLD), WAIT, "next pass"),
    ],
)
def test_what_is_missing_is_explained(key, seen, tone, words):
    check = next(check for check in checks(seen, HINTS) if check.key == key)
    assert (check.tone, words in check.cause) == (tone, True), check.cause
    assert check.fix


def test_every_check_has_an_explanation_for_everything():
    assert list(HINTS) == list(CHECKS)
    for hints in HINTS.values():
        assert hints[-1].applies(case())


def test_a_worker_that_is_alive_is_not_blamed(app, asha, order_of):
    with app.app_context():
        lifesigns.beat(datetime.now(UTC))
    ref = order_of(state="paid", paid_at=datetime.now(UTC))
    assert "delivers in a moment" in asha.get(f"/qa/{ref}").text
