"""The operator desk: what needs a person, lists, search, all about an order, and no page for others."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from storefront.billing import Invoice, Subscription
from storefront.checkout import State
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import OrderTransition, PlanAccess, User
from storefront.operations import heartbeat
from storefront.operations.models import AuditNote
from storefront.operations.operator import attention
from tests.shop_fixtures import HOME, NOW
from tests.unit.operations.conftest import OPENED, now

REF = re.compile(r'href="/operator/orders/(\w{32})"')


def refs_in(page):
    return REF.findall(page.text)


# -- who may see it ---------------------------------------------------------------------------------


def addresses(app):
    """Every address and method, and some that a stranger might try."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/operator"):
            path = rule.rule.replace("<ref>", "0" * 32)
            path = re.sub(r"<int.*?>", "1", path)
            yield from ((method, path) for method in ("GET", "POST", "OPTIONS", "PUT"))
    yield from (("GET", "/operator"), ("GET", "/operator/x"), ("POST", "/operator/"))


@pytest.mark.parametrize("who", ["visitor", "customer"])
def test_the_desk_does_not_exist_for_others(app, browser, add_user, add_order, who):
    add_user()
    add_order()
    if who == "customer":
        browser.sign_in()

    def answer(method, path):
        got = browser.client.open(path, base_url=HOME, method=method)
        got.headers.remove("X-Request-ID")  # each request has its own
        return got.status_code, got.data, sorted(got.headers.items())

    for method, path in addresses(app):
        assert answer(method, path) == answer(method, "/no/such/page"), (method, path)
        assert answer(method, path)[0] == 404


def test_a_customer_does_not_see_their_own_order_there(asha, add_order):
    assert asha.get(f"/operator/orders/{add_order()}").status_code == 404


def test_a_former_operator_is_locked_out_at_once(app, desk):
    assert desk.get("/operator/").status_code == 200
    with app.app_context():
        db.session.get_one(User, 2).is_operator = False
        db.session.commit()
    assert desk.get("/operator/").status_code == 404


def test_only_operators_see_the_link(desk, open_browser):
    customer = open_browser()
    customer.sign_in()
    assert 'href="/operator/"' in desk.get("/account").text
    assert "/operator" not in customer.get("/account").text


def test_a_form_from_another_site_is_refused(desk, add_order):
    path = f"/operator/orders/{add_order(**OPENED)}/check"
    assert desk.raw_post(path).status_code == 400
    assert desk.raw_post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/operator/orders/nobody", "/operator/event?id=nobody", "/operator/event", "/operator/emails/x"]
)
def test_unknown_things_are_404(desk, path):
    assert desk.get(path).status_code == 404


@pytest.mark.parametrize("page", ["2147483648", "-99999999999", "x", "", "1e3", "１"])
def test_a_page_number_that_no_column_holds_is_400(desk, page):
    assert desk.get("/operator/orders", query_string={"page": page}).status_code == 400


# -- search -----------------------------------------------------------------------------------------


def test_an_order_is_found_by_every_name_it_has(app, desk, add_order):
    ref = add_order(
        **OPENED, invoice_number="INV-7", subscription_id="subs_01", unverified_payment_id="pay_Rzp1"
    )
    with app.app_context():
        key = db.session.get_one(User, 1).key
    known = ["asha@example.com", "ASHA@", "asha", "Asha Rao", "rao", "cs_01", "pay_01", "pay_Rzp1", "inv_01"]
    known += ["INV-7", "subs_01", "cust_01", "  cs_01 ", key]
    known += [ref, ref[-8:], f"#{ref[-8:].upper()}", f"…{ref[-12:]}"]
    for words in known:
        answer = desk.get("/operator/search", query_string={"q": words})
        assert answer.location == f"/operator/orders/{ref}", words


def test_foreign_words_find_nothing(desk, add_order):
    add_order()
    for words in ("", " ", "%", "@", "a", "nobody@example.com", "_" * 32, "x" * 300):
        answer = desk.get("/operator/search", query_string={"q": words})
        assert answer.status_code == 200
        assert "/operator/orders/" not in answer.text


def test_an_event_of_an_unknown_session_is_found_by_it(desk, add_rows, make_event):
    add_rows(
        make_event(object_id="cs_99", next_attempt_at=None, outcome="Flexprice does not know the session")
    )
    assert "Flexprice does not know the session" in desk.get("/operator/search?q=cs_99").text


def test_a_customer_without_an_order_is_found(desk):
    page = desk.get("/operator/search?q=asha@example.com").text
    assert "signed up" in page
    assert "No orders found." in page


# -- what needs a person ----------------------------------------------------------------------------


@pytest.fixture
def one_for_each_reason(add_order):
    """An order for each reason, the most recent first, and two that need nobody."""
    at = now()
    minutes = iter(range(1, 100))

    def older(**values):
        return add_order(status_changed_at=at - timedelta(minutes=next(minutes)), **values)

    made = {
        "to-decide": older(plan_id="p4", state=State.STUCK, amount_text="100"),
        "not-fulfilled": older(plan_id="p2", state=State.PAID, paid_at=at - timedelta(minutes=2)),
        "claims-paid": older(
            plan_id="p9", state=State.EXPIRED, returned_paid_at=at, review_note="came back with paid"
        ),
        "flagged": older(plan_id="p3", state=State.FAILED, review_note="look at this"),
        "open-long": older(plan_id="p1", created_at=at - timedelta(hours=2)),
    }
    add_order(plan_id="p6", created_at=at)
    add_order(plan_id="p8", state=State.PAID_LATE, refunded_at=at)  # refunded: information
    add_order(plan_id="p7", state=State.FULFILLED)
    add_order(
        plan_id="p10", state=State.REFUNDED, review_note="Refund confirmed by operator:olga@example.com"
    )
    return made


def test_orders_are_listed_by_reason(desk, one_for_each_reason):
    assert set(one_for_each_reason) == set(attention.REASONS)
    also_flagged = [one_for_each_reason["flagged"], one_for_each_reason["claims-paid"]]
    for reason, ref in one_for_each_reason.items():
        expected = also_flagged if reason == "flagged" else [ref]
        assert refs_in(desk.get(f"/operator/orders?show={reason}")) == expected, reason


def test_the_overview_leads_with_money_then_age(desk, one_for_each_reason):
    page = desk.get("/operator/")
    names = ["claims-paid", "not-fulfilled", "to-decide", "open-long", "flagged"]
    assert refs_in(page) == [one_for_each_reason[name] for name in names]
    assert page.text.index("Needs attention") < page.text.index("Orders by state")
    assert "₹1,098.00" in page.text  # two of 499, one of 100


def test_the_overview_names_one_reason_for_each(desk, one_for_each_reason):
    rows = desk.get("/operator/").text.partition("<tbody")[2].partition("</tbody>")[0].split("</tr>")
    for name, ref in one_for_each_reason.items():
        (row,) = [row for row in rows if ref in row]
        assert f">{attention.REASONS[name].title}</td>" in row


def test_the_overview_counts_each_reason_and_state(desk, one_for_each_reason):
    page = desk.get("/operator/").text
    for reason in attention.REASONS:
        row = page.partition(f'href="/operator/orders?show={reason}"')[2].partition("</li>")[0]
        assert f'<span class="tag tag--warn">{2 if reason == "flagged" else 1}</span>' in row
    counted = dict(re.findall(r'show=(\w+)">[^<]*</a></dt><dd>(\d+)</dd>', page))
    assert {state: int(number) for state, number in counted.items()} == {
        "placed": 2, "paid": 1, "failed": 1, "expired": 1, "stuck": 1, "paid_late": 1, "fulfilled": 1,
        "refunded": 1,
    }  # fmt: skip


def test_the_overview_says_when_nothing_needs_attention(desk):
    page = desk.get("/operator/").text
    assert "No order needs attention." in page
    assert "By reason" not in page  # what applies to nothing is left out
    assert "Orders by state" not in page


def test_the_overview_says_when_the_worker_is_missing(app, desk):
    assert "Worker heartbeat missing" in desk.get("/operator/").text
    with app.app_context():
        heartbeat.write()
    assert "Worker heartbeat missing" not in desk.get("/operator/").text


# -- lists ------------------------------------------------------------------------------------------


def test_orders_are_listed_by_every_state(desk, add_order):
    """By the customer's name of the state, and by that of the code where it is another word."""
    refs = {state: add_order(plan_id=state, state=state) for state in State}
    for state, ref in refs.items():
        page = desk.get(f"/operator/orders?show={state}")
        assert refs_in(page) == [ref], state
        shown = re.findall(r'<span class="tag[^>]*>([^<]+)</span>(?: <code>(\w+)</code>)?', page.text)
        assert shown == [(name := shown[0][0], "" if name.lower() == state.replace("_", " ") else state)]


def test_long_lists_have_pages_and_start_at_either_end(desk, add_order):
    refs = [add_order(plan_id=f"p{number}") for number in range(60)]

    def listed(query):
        return refs_in(desk.get(f"/operator/orders?{query}"))

    assert listed("") == refs[:-26:-1]
    assert listed("page=3") == refs[9::-1]
    assert listed("sort=oldest&page=2") == refs[25:50]
    assert listed("page=4") == []
    assert listed("page=-1&show=nonsense") == refs[:-26:-1]
    page = desk.get("/operator/orders?sort=oldest&page=2").text
    assert 'href="/operator/orders?sort=oldest&amp;page=3"' in page


def test_events_are_listed_by_what_became_of_them(desk, add_rows, make_event):
    at = now()
    unmatched = "a payment for an order that does not exist here"
    add_rows(
        make_event(id="waits"),
        make_event(id="failing", error="Traceback: KeyError", attempts=3),
        make_event(id="aside", next_attempt_at=None, outcome="Flexprice does not know the session (yet)"),
        make_event(id="money", outcome=unmatched),
        make_event(
            id="refund", event_type="refund.processed", processed_at=at, outcome="not one of our payments"
        ),
        make_event(id="done", processed_at=at, outcome="applied"),
    )

    def listed(show):
        page = desk.get(f"/operator/events?show={show}").text
        return set(re.findall(r"/operator/event\?id=(\w+)", page))

    assert listed("") == {"waits", "failing", "aside", "money", "refund", "done"}
    assert listed("waiting") == {"waits", "failing", "money"}
    assert listed("failing") == {"failing"}
    assert listed("set-aside") == {"aside"}
    assert listed("unmatched") == {"money", "refund"}
    assert listed("processed") == {"refund", "done"}


def test_emails_are_listed_by_what_became_of_them(desk, add_rows):
    at = now()
    known = {"kind": "welcome", "user_id": 1, "created_at": at, "expires_at": at + timedelta(days=1)}
    queued = known | {"next_attempt_at": at}
    add_rows(Email(**queued))
    add_rows(Email(**queued, error="SMTPServerDisconnected", attempts=1))
    add_rows(Email(**known, sent_at=at))
    add_rows(Email(**known, failed_at=at, error="recipient refused (550)"))

    def listed(show):
        return set(re.findall(r'href="/emails/(\d+)"', desk.get(f"/operator/emails?show={show}").text))

    assert [listed(show) for show in ("queued", "failing", "sent", "failed")] == [
        {"1", "2"},
        {"2"},
        {"3"},
        {"4"},
    ]


def test_rejected_webhooks_are_shown_with_their_cause(desk, send_webhook, webhook):
    assert "No webhooks have been rejected." in desk.get("/operator/rejected").text
    send_webhook(webhook(), {})
    send_webhook(webhook(), at=datetime.now(UTC) - timedelta(hours=1))
    page = desk.get("/operator/rejected").text
    assert "Signature header missing" in page
    assert re.search(r"36\d\d s old", page)


# -- one order --------------------------------------------------------------------------------------


def test_the_timeline_tells_everything_in_order(desk, add_order, add_rows, make_event):
    at = NOW
    minute, day = timedelta(minutes=1), timedelta(days=1)
    ref = add_order(
        **OPENED | {"state": State.FULFILLED},
        created_at=at,
        session_requested_at=at + minute,
        invoice_verified_at=at + 2 * minute,
        returned_paid_at=at + 3 * minute,
        fulfilled_at=at + 60 * day,  # the test clock was moved: a business date is no place in time
        unverified_payment_id="pay_Rzp1",
        invoice_number="INV-7",
        review_note="Charged 500, shown 499",
    )

    def moved(minutes, before, after, trigger):
        add_rows(
            OrderTransition(
                order_id=1,
                from_state=before,
                to_state=after,
                trigger=trigger,
                at=at + minutes * minute,
                by="webhook",
            )
        )

    moved(5, "awaiting_payment", "paid", "payment completed")
    moved(6, "paid", "fulfilled", "fulfilled")
    at_8, at_9, at_30 = (at + minutes * minute for minutes in (8, 9, 30))
    add_rows(
        make_event(received_at=at + 4 * minute, outcome="applied", processed_at=at + 5 * minute),
        Subscription(
            subscription_id="subs_01", order_ref=ref, customer_key="key", flexprice_customer_id="cust_01",
            plan_id="plan_01", plan_name="Pro", currency="inr", billing_period="MONTHLY",
        ),
        Invoice(
            invoice_id="inv_02", subscription_id="subs_01", customer_key="key", status="FINALIZED",
            payment_status="PENDING", currency="inr", total_text="499",
        ),
        PlanAccess(user_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=at + 60 * day),
        PlanAccess(user_id=1, plan_id="plan_02", plan_name="Max", order_id=1, granted_at=at + 90 * day),
        Email(kind="welcome", user_id=1, order_id=1, created_at=at_8, sent_at=at_9, expires_at=at_9),
        Email(kind="billing", user_id=1, about="invoice_ready inv_02", created_at=at_30, expires_at=at_30),
        Email(kind="billing", user_id=1, about="plan_changed subs_01 9", created_at=at_30, expires_at=at_30),
        Email(kind="billing", user_id=1, about="invoice_ready inv_99", created_at=at_30, expires_at=at_30),
        AuditNote(
            at=at + 10 * minute, who="olga@example.com", action="note", subject="order", subject_id=ref,
            text="called her",
        ),
    )  # fmt: skip

    page = desk.get(f"/operator/orders/{ref}").text
    assert [line.strip() for line in re.findall(r"</time> ([^<]+?)\s*<", page)] == [
        "Order placed",
        "Checkout session requested from Flexprice",
        "Invoice compared with the order",
        "Customer came back from Razorpay with the status “paid”: pay_Rzp1 (unverified)",
        "Webhook received: checkout.session.completed",
        "awaiting payment → paid: payment completed",
        "paid → fulfilled: fulfilled",
        "Access to Pro granted",
        "Email queued: welcome",
        "Email sent: welcome",
        "called her",
        "Email queued: invoice ready",
        "Email queued: plan changed",
    ]
    for fact in ("cs_01", "pay_01", "inv_01", "INV-7", ref, "asha@example.com", "Charged 500, shown 499"):
        assert fact in page
    assert "<code>pay_Rzp1</code> (unverified)" in page
    assert 'href="https://admin.flexprice.io"' in page
    assert 'href="https://dashboard.razorpay.com/app/payments/pay_Rzp1"' in page
    assert "01 Sep 2026, 10:04:00 UTC" in page


def test_other_orders_of_the_customer_are_shown(desk, add_order):
    other = add_order(plan_id="other")
    assert other in desk.get(f"/operator/orders/{add_order()}").text


def test_strangers_text_is_shown_as_text(app, desk, add_order, add_rows, add_user, make_event):
    evil = "<script>alert(1)</script>"
    add_user("evil@example.com", evil)
    ref = add_order(3, review_note=evil, plan_name=evil, session_id="cs_e", state=State.STUCK)
    add_rows(make_event(id=f"/{evil}?&#", object_id="cs_e", outcome=evil, body=evil, error=evil))
    at = now()
    add_rows(
        Email(
            kind="welcome",
            user_id=3,
            order_id=1,
            created_at=at,
            expires_at=at,
            next_attempt_at=at,
            error=evil,
        )
    )
    paths = ["/", "/orders", f"/orders/{ref}", "/events", "/emails", "/search?q=evil@", f"/search?q={evil}"]
    for path in paths:
        assert evil not in desk.get(f"/operator{path}").text, path
    link = re.search(r'href="(/operator/event\?id=[^"]+)"', desk.get("/operator/events").text)[1]
    page = desk.get(link.replace("&amp;", "&"))
    assert page.status_code == 200
    assert evil not in page.text


def test_amounts_are_shown_with_their_currency(desk, add_order):
    ref = add_order(state=State.FULFILLED, invoice_total_text=str(Decimal("588.82")))
    assert "₹588.82" in desk.get(f"/operator/orders/{ref}").text


def test_an_age_is_in_its_largest_unit(desk, add_order):
    add_order(created_at=now() - timedelta(hours=3, minutes=5))
    assert ">3 h<" in desk.get("/operator/orders").text


def test_hints_have_a_page(desk, add_rows, make_event):
    """Their ids have colons in them."""
    add_rows(make_event(id="hint:checkout:cs_01", signed=False))
    page = desk.get("/operator/event?id=hint:checkout:cs_01").text
    assert "hint:checkout:cs_01" in page
    assert "no: it only schedules a check" in page


def test_pages_say_that_the_test_clock_is_moved(desk, add_order, app, tmp_path):
    ref = add_order()
    pages = ("/operator/billing", f"/operator/orders/{ref}", f"/qa/{ref}", "/qa")
    assert not any("test clock" in desk.get(path).text for path in pages)
    app.config["CLOCK_FILE"] = tmp_path / "clock"
    (tmp_path / "clock").write_text("5184000")
    for path in pages:
        assert "The test clock is 60 days ahead." in desk.get(path).text, path
