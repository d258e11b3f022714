"""The QA page: who sees it, what it asks Flexprice, its exports, and the troubleshooting tables."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from storefront.checkout import State
from storefront.emails.models import Email
from storefront.flexprice import (
    AuthenticationError,
    CheckoutSession,
    Invoice,
    NotFound,
    NotSent,
    Subscription,
)
from storefront.models import Order, PlanAccess, WebhookEvent
from storefront.operations import heartbeat
from storefront.operations.qa import answers as asking
from storefront.operations.qa import pages
from storefront.operations.qa.answers import Answers
from storefront.operations.qa.checks import (
    ATTENTION,
    CHECKS,
    NOT_APPLICABLE,
    NOT_ASKED,
    PENDING,
    is_final,
    run_checks,
    without_answers,
)
from storefront.operations.qa.evidence import Answer, Case
from storefront.operations.qa.hints import HINTS
from storefront.operations.qa.pages import md
from tests.samples import invoice as invoice_body
from tests.samples import session as session_body
from tests.samples import subscription as subscription_body
from tests.shop_fixtures import HOME

NOW = datetime(2026, 9, 1, 10, 5)  # noqa: DTZ001 - naive UTC, as in the tables
OPENED = {
    "state": "awaiting_payment",
    "session_id": "cs_01",
    "flexprice_customer_id": "cust_01",
    "invoice_id": "inv_01",
}
TOKEN = "the token of the sandbox, 32 characters".replace(" ", "-")


# -- who sees it ------------------------------------------------------------------------------------


def test_in_production_there_is_no_such_page(make_app):
    shop = make_app(STOREFRONT_URL="https://shop.example")
    for path in ("/qa", "/qa/orders", "/qa/result.md", "/qa/anything"):
        assert shop.test_client().get(path, base_url="https://shop.example").status_code == 404


def test_a_setting_switches_it_on_in_production(make_app):
    shop = make_app(STOREFRONT_URL="https://shop.example", QA_PAGE="on")
    answer = shop.test_client().get("/qa", base_url="https://shop.example")
    assert (answer.status_code, answer.location) == (302, "/sign-in?next=/qa")


def test_the_link_is_shown_only_where_it_is_on(make_app, asha):
    assert 'href="/qa"' in asha.get("/account").text
    off = make_app(QA_PAGE="off")
    assert 'href="/qa"' not in off.test_client().get("/", base_url=HOME).text


def test_signed_out_users_sign_in_first(browser, add_user, add_order):
    add_user()
    ref = add_order()
    assert browser.get(f"/qa/{ref}").location == f"/sign-in?next=/qa/{ref}"
    fragment = browser.get(f"/qa/{ref}/checks", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (401, "/sign-in?next=/qa")


def test_a_stranger_finds_nothing_and_an_operator_everything(
    asha, operator, open_browser, add_user, add_order
):
    ref = add_order()
    add_user("chetan@example.com", "Chetan")
    chetan = open_browser()
    chetan.sign_in("chetan@example.com")
    paths = [f"/qa/{ref}", f"/qa/{ref}/checks", f"/qa/{ref}/result.md", f"/qa/{ref}/result.json"]
    assert [chetan.get(path).status_code for path in paths] == [404] * 4
    assert ref not in chetan.get("/qa").text
    assert ref not in chetan.get("/qa/result.json").text
    assert ref not in chetan.get("/qa/result.json?session=cs_01").text
    assert [operator.get(path).status_code for path in paths] == [200] * 4
    assert ref in operator.get("/qa").text
    assert ref in asha.get("/qa").text


@pytest.mark.parametrize("query", ["since=2147483648", "since=x", "before=9999999999", "before="])
def test_a_number_that_no_column_holds_is_400(asha, add_order, query):
    assert asha.get(f"/qa?{query}").status_code == 400


@pytest.fixture
def with_token(make_app, app):
    """The shop of this test, which knows the sandbox's token."""
    shop = make_app(QA_TOKEN=TOKEN)

    def get(path, token=TOKEN):
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return shop.test_client().get(path, base_url=HOME, headers=headers)

    return get


def test_the_sandbox_reads_results_by_token(with_token, add_user, add_order):
    add_user()
    ref = add_order(state="expired", session_id=None)
    assert with_token("/qa/result.json").json["orders"][0]["order"] == ref
    for wrong in (None, "", "x", TOKEN + "x", "ü"):
        assert with_token("/qa/result.json", wrong).status_code == 302
    assert with_token("/operator/").status_code == 404


def test_without_a_token_in_the_settings_none_fits(browser):
    for given in ("", "Bearer ", "Bearer None"):
        assert browser.get("/qa/result.json", headers={"Authorization": given}).status_code == 302


def test_the_result_of_one_session_asks_flexprice(with_token, add_user, add_order, flexprice):
    add_user()
    ref = add_order(**OPENED)
    add_order(plan_id="other")
    flexprice.answer("GET", "/checkout/sessions/cs_01", session_body())
    flexprice.answer("GET", "/invoices/inv_01", invoice_body())
    flexprice.answer("GET", "/subscriptions/subs_01", subscription_body(subscription_status="draft"))
    (order,) = with_token("/qa/result.json?session=cs_01").json["orders"]
    assert (order["order"], order["session"], order["final"]) == (ref, "cs_01", False)
    assert [check["key"] for check in order["checks"]] == list(CHECKS)
    assert with_token("/qa/result.json?session=cs_02").json["orders"] == []


# -- what it asks -----------------------------------------------------------------------------------


def test_an_order_without_a_session_is_not_asked_about(asha, add_order, flexprice):
    page = asha.get(f"/qa/{add_order()}")
    assert page.status_code == 200
    assert "No session was opened" in page.text
    assert flexprice.calls == []


def asked_of(flexprice, **changes):
    flexprice.answer("GET", "/checkout/sessions/cs_01", session_body(**changes))
    flexprice.answer("GET", "/invoices/inv_01", invoice_body())
    flexprice.answer("GET", "/subscriptions/subs_01", subscription_body(subscription_status="draft"))


def test_session_invoice_and_subscription_are_asked_for(asha, add_order, flexprice):
    ref = add_order(**OPENED)
    asked_of(flexprice)
    page = asha.get(f"/qa/{ref}").text
    assert [path for _, path in flexprice.calls] == [
        "/checkout/sessions/cs_01",
        "/invoices/inv_01",
        "/subscriptions/subs_01",
    ]
    assert "DRAFT, payment PENDING" in page
    assert "Not paid yet" in page


def test_many_pages_ask_once_in_three_seconds(asha, operator, add_order, flexprice):
    ref = add_order(**OPENED)
    asked_of(flexprice)
    for browser in (asha, asha, operator):
        assert "Flexprice was asked" in browser.get(f"/qa/{ref}/checks").text
    assert len(flexprice.calls) == 3


def test_a_final_answer_makes_the_worker_check(asha, add_order, flexprice, the_order):
    ref = add_order(**OPENED, next_attempt_at=NOW + timedelta(days=9000))
    asked_of(flexprice, checkout_status="completed", terminal=True)
    asha.get(f"/qa/{ref}")
    assert the_order().next_attempt_at < NOW + timedelta(days=9000)
    assert the_order().state == "awaiting_payment"


def test_reading_changes_no_order(asha, add_order, flexprice, the_order):
    ref = add_order(**OPENED)
    asked_of(flexprice)

    def columns():
        return {column.key: getattr(the_order(), column.key) for column in Order.__mapper__.column_attrs}

    before = columns()
    for path in ("", f"/{ref}", f"/{ref}/checks", "/orders", "/result.json", f"/{ref}/result.md"):
        assert asha.get(f"/qa{path}").status_code == 200
    assert columns() == before


def test_an_unreachable_flexprice_is_asked_one_thing(asha, add_order, flexprice):
    import requests

    ref = add_order(**OPENED)
    flexprice.mock.add(
        "GET", "http://127.0.0.1:8001/v1/checkout/sessions/cs_01", body=requests.ConnectionError()
    )
    page = asha.get(f"/qa/{ref}")
    assert page.status_code == 200
    assert "could not be asked just now" in page.text
    assert len(flexprice.calls) == 1


def test_questions_are_bounded_in_time():
    assert sum(asking.TIMEOUT_S) <= 4


def test_a_refused_key_is_named_and_not_shown(asha, add_order, flexprice):
    ref = add_order(**OPENED)
    flexprice.answer("GET", "/checkout/sessions/cs_01", {"error": "Invalid token"}, 401)
    page = asha.get(f"/qa/{ref}").text
    assert "refuses the shop&#39;s API key" in page
    assert "sk_of_a_test" not in page


def test_flexprices_own_words_are_not_repeated(asha, add_order, flexprice):
    ref = add_order(**OPENED)
    failed = session_body(checkout_status="failed", failure_reason="pq: internal text", terminal=True)
    flexprice.answer("GET", "/checkout/sessions/cs_01", failed)
    flexprice.answer("GET", "/invoices/inv_01", {"code": "not_found", "message": "inner <b>words</b>"}, 404)
    page = asha.get(f"/qa/{ref}").text
    assert "404 not_found" in page
    assert "internal text" not in page
    assert "inner" not in page


def test_older_orders_are_a_page_away(asha, add_order, monkeypatch):
    monkeypatch.setattr(pages, "MAX_SHOWN", 2)
    refs = [add_order(plan_id=f"plan_{number}") for number in range(3)]
    first = asha.get("/qa").text
    assert [ref in first for ref in refs] == [False, True, True]
    older = first.split('id="qa-older" href="')[1].split('"')[0]
    assert [ref in asha.get(older).text for ref in refs] == [True, False, False]


def test_only_the_latest_answers_are_kept():
    answers = Answers(most=2)
    for ref in "abca":
        answers.keep(ref, Answer(NOW))
    assert [bool(answers.of(ref)) for ref in "abc"] == [True, False, True]


@pytest.fixture
def asks_once(app, monkeypatch):
    """Nothing was asked yet, and nothing is asked twice during the test."""
    monkeypatch.setitem(app.extensions, "qa_answers", Answers())
    monkeypatch.setattr(asking, "ASK_INTERVAL_S", 3600.0)


@pytest.mark.usefixtures("asks_once")
def test_a_list_asks_about_a_few_orders_and_says_so_of_the_rest(asha, add_order, flexprice, monkeypatch):
    monkeypatch.setattr(asking, "ASKED_AT_ONCE", 1)
    older, newer = add_order(**OPENED), add_order(**OPENED | {"plan_id": "other", "session_id": "cs_02"})
    for name in ("cs_01", "cs_02"):
        flexprice.answer("GET", f"/checkout/sessions/{name}", session_body(id=name))
    flexprice.answer("GET", "/invoices/inv_01", invoice_body())
    flexprice.answer("GET", "/subscriptions/subs_01", subscription_body(subscription_status="draft"))

    def results(path="/qa/result.json"):
        return {
            one["order"]: {check["result"] for check in one["checks"]}
            for one in asha.get(path).json["orders"]
        }

    assert results() == {newer: {"Pending"}, older: {"Not asked yet"}}
    assert "Not asked yet" in asha.get("/qa").text
    assert len(flexprice.calls) == 3
    assert results(f"/qa/{older}/result.json")[older] == {"Pending"}
    assert results() == {newer: {"Pending"}, older: {"Pending"}}
    assert len(flexprice.calls) == 6


@pytest.mark.usefixtures("asks_once")
def test_a_list_stops_asking_where_flexprice_is_not_reached(asha, add_order, flexprice):
    for number in (1, 2):
        add_order(**OPENED | {"plan_id": f"plan_{number}", "session_id": f"cs_0{number}"})
    assert asha.get("/qa").status_code == 200
    assert len(flexprice.calls) == 1


def test_what_was_not_asked_in_time_is_said():
    late = Answer(NOW, COMPLETED, invoice(), None, in_time=False)
    found = {check.key: check.tone for check in shown(case(said=late, **PAID))}
    assert (found["session"], found["invoice"], found["subscription"]) == ("done", "done", NOT_ASKED)


# -- exports ----------------------------------------------------------------------------------------


def test_an_unknown_format_is_404(asha, add_order):
    ref = add_order()
    assert asha.get(f"/qa/{ref}/result.pdf").status_code == 404
    assert asha.get("/qa/result.pdf").status_code == 404


@pytest.mark.usefixtures("asks_once")
def test_both_formats_say_the_same_and_hold_no_secret(asha, add_order, webhook, send_webhook, flexprice):
    link = "http://127.0.0.1:8001/pay/the-secret-link"
    ref = add_order(**OPENED, payment_url=link)
    send_webhook(webhook("initiated"))
    asked_of(flexprice)
    of_one = json.loads(asha.get(f"/qa/{ref}/result.json").text)
    of_all = json.loads(asha.get("/qa/result.json").text)
    text = asha.get(f"/qa/{ref}/result.md").text
    assert of_one["orders"] == of_all["orders"]
    (sheet,) = of_one["orders"]
    assert (sheet["order"], sheet["state"]) == (ref, "awaiting_payment")
    for check in sheet["checks"]:
        assert f"| {check['check']} | {check['result']} |" in text
        for piece in check["evidence"]:
            assert f"{piece['label']}: {piece['value']}" in text
    for secret in ("sk_of_a_test", "whsec_", "asha@example.com", "Asha Rao", "the-secret-link"):
        assert secret not in text + json.dumps(of_all)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a | b\n<script>", "a \\| b &lt;script>"),
        ("![y](https://evil.example)", "!\\[y\\](https:\u200b//evil.example)"),
        ("see www.evil.example", "see www\u200b.evil.example"),
        ("&lt; `x` *y* \\", "&amp;lt; \\`x\\` \\*y\\* \\\\"),
    ],
)
def test_text_stays_in_its_markdown_cell(text, escaped):
    assert md(text) == escaped


@pytest.mark.parametrize(
    "name", ["![y](https://evil.example)", "[y](https://evil.example)", "<img src=https://evil.example>"]
)
def test_a_plan_name_is_no_markup_in_the_result(asha, add_order, name):
    """Kind: text from outside in an export."""
    add_order(plan_name=name)
    text = asha.get("/qa/result.md").text
    assert name not in text
    assert "https://evil" not in text


def test_a_running_worker_is_not_blamed(app, asha, add_order):
    with app.app_context():
        heartbeat.write()
    ref = add_order(state="paid", paid_at=datetime.now(UTC).replace(tzinfo=None))
    assert "fulfills it in a moment" in asha.get(f"/qa/{ref}").text


# -- the troubleshooting tables ---------------------------------------------------------------------


def order(**values):
    defaults = {
        "id": 1,
        "ref": "a" * 32,
        "user_id": 1,
        "plan_id": "plan_01",
        "currency": "inr",
        "amount_text": "499",
        "state": "awaiting_payment",
        "session_id": "cs_01",
        "expires_at": NOW + timedelta(minutes=10),
    }
    return Order(**defaults | values)


def case(worker_alive=True, events=(), access=None, emails=None, said=None, **values):
    found = [
        WebhookEvent(id=f"msg_{number}", event_type=kind, object_id="x", received_at=NOW)
        for number, kind in enumerate(events)
    ]
    return Case(order(**values), NOW, worker_alive, said, found, access, emails or {})


def session(status="pending", **more):
    return CheckoutSession("cs_01", "cust_01", status, **more)


def said(session_=None, invoice=None, subscription=None):
    return Answer(NOW, session_, invoice, subscription)


def invoice(status="FINALIZED", payment="SUCCEEDED"):
    return Invoice("inv_01", status, payment, "inr")


def subscription(status):
    return Subscription("subs_01", "cust_01", "plan_01", status)


def aware(when):
    return when.replace(tzinfo=UTC)


LONG_AGO = NOW - timedelta(hours=1)
COMPLETED = session("completed", completed_at=aware(LONG_AGO))
PAID = {"state": "paid", "paid_at": LONG_AGO}
SOLD = {"state": "fulfilled", "paid_at": LONG_AGO, "fulfilled_at": LONG_AGO}
EMAIL = {"welcome": Email(id=7, kind="welcome", created_at=LONG_AGO)}
UNSENT = {"welcome": Email(id=7, kind="welcome", created_at=LONG_AGO, attempts=3, error="SMTPException")}
GRANTED = PlanAccess(order_id=1, granted_at=LONG_AGO)
MISSING = NotFound("gone", status=404)


@pytest.mark.parametrize(
    ("key", "seen", "tone", "words"),
    [
        (
            "session",
            case(said=said(AuthenticationError("no", status=401))),
            ATTENTION,
            "refuses the shop's API key",
        ),
        ("session", case(said=said(MISSING)), ATTENTION, "does not know this session"),
        (
            "session",
            case(said=said(session("expired", completed_at=aware(LONG_AGO)))),
            ATTENTION,
            "overwritten",
        ),
        ("session", case(state="stuck"), ATTENTION, "Money was taken"),
        (
            "session",
            case(state="paid", session_id=None, paid_at=NOW),
            NOT_APPLICABLE,
            "answer to the create call",
        ),
        ("session", case(state="placed", session_id=None), ATTENTION, "No session was opened"),
        (
            "session",
            case(state="placed", session_id=None, session_requested_at=NOW),
            PENDING,
            "no answer has come",
        ),
        ("session", case(state="abandoned", session_id=None), NOT_APPLICABLE, "was given up"),
        ("session", case(state="failed", session_id=None), ATTENTION, "400: the plan charges nothing"),
        (
            "session",
            case(
                state="failed",
                said=said(session("failed", failure_reason="checkout requires a non-zero invoice")),
            ),
            ATTENTION,
            "zero invoice",
        ),
        (
            "session",
            case(said=said(session("failed", failure_reason="payment_link.expired by provider"))),
            NOT_APPLICABLE,
            "expired at Razorpay",
        ),
        (
            "session",
            case(said=said(session("failed", failure_reason="payment_link.cancelled by provider"))),
            NOT_APPLICABLE,
            "cancelled",
        ),
        ("session", case(said=said(session("failed"))), ATTENTION, "payment provider refused"),
        ("session", case(state="abandoned"), NOT_APPLICABLE, "no longer knows"),
        ("session", case(state="mismatched"), ATTENTION, "other than was ordered"),
        ("session", case(state="paid_late"), NOT_APPLICABLE, "after the session had ended"),
        ("fulfillment", case(state="paid_late"), NOT_APPLICABLE, "after the order had ended"),
        ("session", case(state="expired"), NOT_APPLICABLE, "not paid in time"),
        ("session", case(said=said(NotSent("x"))), PENDING, "could not be asked"),
        ("session", case(said=said(session()), expires_at=LONG_AGO), PENDING, "half-hourly sweep"),
        ("session", case(said=said(session())), PENDING, "Not paid yet"),
        ("session", case(), PENDING, "has not said yet"),
        (
            "subscription",
            case(said=said(COMPLETED, invoice(), subscription("draft"))),
            ATTENTION,
            "still a draft",
        ),
        ("subscription", case(said=said(COMPLETED, invoice(), MISSING)), ATTENTION, "archived although"),
        (
            "subscription",
            case(said=said(COMPLETED, invoice(), subscription("cancelled")), **SOLD),
            NOT_APPLICABLE,
            "ended since",
        ),
        ("subscription", case(said=said(COMPLETED, invoice(), subscription("paused"))), ATTENTION, "neither"),
        ("subscription", case(state="expired"), NOT_APPLICABLE, "archived with its checkout"),
        (
            "subscription",
            case(state="expired", said=said(session("expired"), None, subscription("draft"))),
            NOT_APPLICABLE,
            "nothing to activate",
        ),
        ("subscription", case(**SOLD), PENDING, "not asked yet"),
        ("invoice", case(said=said(COMPLETED, invoice("DRAFT"))), ATTENTION, "not finalized although"),
        (
            "invoice",
            case(said=said(session("completed", completed_at=aware(NOW)), invoice("DRAFT"))),
            PENDING,
            "lags behind",
        ),
        ("invoice", case(said=said(COMPLETED, invoice(payment="PENDING"))), ATTENTION, "not marked as paid"),
        ("invoice", case(said=said(COMPLETED, MISSING)), ATTENTION, "deleted or archived"),
        ("invoice", case(state="failed"), NOT_APPLICABLE, "deleted with its checkout"),
        ("webhook", case(said=said(session("completed", completed_at=aware(NOW)))), PENDING, "a moment ago"),
        ("webhook", case(state="cancelled"), NOT_APPLICABLE, "event is not due"),
        (
            "webhook",
            case(said=said(COMPLETED), events=["checkout.session.initiated"]),
            ATTENTION,
            "this one is late or lost",
        ),
        (
            "webhook",
            case(said=said(COMPLETED), events=["subscription.activated"]),
            ATTENTION,
            "not subscribed to checkout.session.*",
        ),
        ("webhook", case(said=said(COMPLETED)), ATTENTION, "No event about this order ever came"),
        ("fulfillment", case(state="expired", access=GRANTED), ATTENTION, "must never happen"),
        ("fulfillment", case(worker_alive=False, said=said(COMPLETED)), ATTENTION, "not processed"),
        ("fulfillment", case(said=said(COMPLETED)), PENDING, "the worker acts on it"),
        ("fulfillment", case(state="expired"), NOT_APPLICABLE, "as expected"),
        ("fulfillment", case(state="paid_twice", paid_at=LONG_AGO), ATTENTION, "second payment"),
        ("session", case(state="expired", returned_paid_at=LONG_AGO), ATTENTION, "money may have been taken"),
        ("fulfillment", case(state="expired", returned_paid_at=LONG_AGO), ATTENTION, "came back"),
        ("fulfillment", case(state="stuck"), ATTENTION, "did not complete"),
        ("fulfillment", case(worker_alive=False, **PAID), ATTENTION, "heartbeat missing"),
        ("fulfillment", case(**PAID), PENDING, "fulfills it in a moment"),
        ("fulfillment", case(access=GRANTED, emails=UNSENT, **SOLD), ATTENTION, "mail server"),
        ("fulfillment", case(**SOLD), ATTENTION, "removed by hand"),
        ("fulfillment", case(access=GRANTED, emails=EMAIL, **SOLD), PENDING, "queued and not sent"),
    ],
)
def test_what_is_missing_is_explained(key, seen, tone, words):
    check = next(check for check in run_checks(seen, HINTS) if check.key == key)
    assert (check.tone, words in check.cause) == (tone, True), check.cause
    assert check.action


def shown(seen):
    return without_answers(seen, run_checks(seen, HINTS))


ANSWERS = [
    said(session_, invoice_, subscription_)
    for session_ in (
        session(),
        session("failed"),
        session("expired", completed_at=aware(LONG_AGO)),
        COMPLETED,
    )
    for invoice_ in (None, MISSING, invoice("DRAFT", "PENDING"), invoice())
    for subscription_ in (None, MISSING, subscription("draft"), subscription("active"))
] + [said(NotSent("x")), said(MISSING), said(AuthenticationError("no", status=401))]


def test_before_an_answer_nothing_is_said_that_it_changes():
    """A list and an export say the same as the order's page, or that Flexprice was not asked yet."""
    situations = (
        {},
        {"access": GRANTED},
        {"events": ["checkout.session.completed"]},
        {"worker_alive": False},
    )
    for state, more in itertools.product(State, situations):
        rows = more | {
            "state": state,
            "paid_at": LONG_AGO if state in ("paid", "fulfilled", "held") else None,
        }
        unasked = {check.key: check.tone for check in shown(case(**rows))}
        for answer in ANSWERS:
            asked = {check.key: check.tone for check in shown(case(said=answer, **rows))}
            unlike = {key for key, tone in unasked.items() if tone not in (NOT_ASKED, asked[key])}
            assert unlike == set(), (state, answer)


def test_money_taken_and_unknown_needs_attention_before_any_answer():
    for rows in ({"state": "expired", "returned_paid_at": LONG_AGO}, {"state": "stuck"}, {"state": "held"}):
        assert {check.key: check.tone for check in shown(case(**rows))}["fulfillment"] == ATTENTION
        assert not is_final(case(**rows), shown(case(**rows)))


def test_every_check_explains_everything():
    assert list(HINTS) == list(CHECKS)
    for hints in HINTS.values():
        assert hints[-1].applies(case())
