"""The operator's pages: all that is known about an order, a few buttons, and nothing for anybody else."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from storefront import fulfillment, inbox, lifesigns, outbox, support, worker
from storefront.database import writing
from storefront.extensions import db
from storefront.lifecycle import NEXT, Fact, State
from storefront.models import Access, InboxMessage, Letter, OperatorNote, Order, Shopper

SESSION = "/checkout/sessions/cs_01"
OPENED = {
    "state": State.AWAITING_PAYMENT,
    "session_id": "cs_01",
    "customer_id": "cust_01",
    "payment_id": "pay_01",
    "invoice_id": "inv_01",
}
COMPLETED = {"checkout_status": "completed", "completed_at": "2026-09-01T10:03:20Z", "payment_action": None}
PAYMENT = {"id": "pay_01", "amount": "499", "currency": "inr"}
NOT_FOUND = {"code": "not_found", "message": "checkout session not found", "http_status_code": 404}


@pytest.fixture
def desk(app, enrol, open_browser):
    """Olga's browser. Asha, who bought, is shopper 1."""
    enrol()
    enrol("olga@example.com", "cust_09", operator=True)
    browser = open_browser()
    assert browser.sign_in("olga@example.com").status_code == 303
    return browser


@pytest.fixture
def press(desk):
    """Press a button of a page: send its form as it stands there."""

    def send(page, action, **typed):
        forms = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]+)"[^>]*>(.*?)</form>', page.text, re.S)
        body = next(body for where, body in forms if where.endswith(action))
        where = next(where for where, _ in forms if where.endswith(action))
        fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', body))
        answer = desk.raw_post(where, fields | typed)
        assert answer.status_code == 303
        return desk.get(answer.location)

    return send


@pytest.fixture
def written(app):
    """Write rows, and go."""

    def add(*made):
        with app.app_context(), writing() as session:
            session.add_all(made)

    return add


@pytest.fixture
def work(app):
    def one_pass(after=timedelta(seconds=1)):
        with app.app_context():
            worker.read_inbox(datetime.now(UTC) + after)
            worker.post_letters(datetime.now(UTC) + after)
            db.session.remove()

    return one_pass


def message(now, **values):
    return InboxMessage(
        **{
            "id": "msg_1",
            "event_type": "checkout.session.completed",
            "object_id": "cs_01",
            "customer_id": "cust_01",
            "received_at": now,
            "next_try_at": now,
            "attempts": 0,
        }
        | values
    )


def flashed(page):
    return re.search(r'<p class="flash[^"]*" role="status">(.*?)</p>', page.text, re.S)[1]


# -- whose pages these are --------------------------------------------------------------------------


def doors(app):
    """Every address and method, and some that a stranger might try."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("operator."):
            path = rule.rule.replace("<ref>", "0" * 32).replace("<int:letter_id>", "1")
            yield from ((method, path) for method in ("GET", "POST", "OPTIONS", "PUT"))
    yield from (("GET", "/operator"), ("GET", "/operator/x"), ("POST", "/operator/"))


@pytest.mark.parametrize("who", ["visitor", "shopper"])
def test_to_everybody_else_the_pages_do_not_exist(app, browser, enrol, order_of, who):
    enrol()
    order_of()
    if who == "shopper":
        browser.sign_in()

    def answer(method, path):
        got = browser.client.open(path, base_url="http://127.0.0.1:8000", method=method)
        got.headers.remove("X-Request-Id")  # each request has its own
        return got.status_code, got.data, sorted(got.headers.items())

    for method, path in doors(app):
        assert answer(method, path) == answer(method, "/no/such/page"), (method, path)
        assert answer(method, path)[0] == 404


def test_not_even_the_shopper_sees_their_own_order_there(asha, order_of):
    assert asha.get(f"/operator/orders/{order_of()}").status_code == 404


def test_somebody_who_is_no_operator_any_more_is_out_at_once(app, desk):
    assert desk.get("/operator/").status_code == 200
    with app.app_context(), writing():
        db.session.get_one(Shopper, 2).is_operator = False
    assert desk.get("/operator/").status_code == 404


def test_only_an_operator_is_shown_the_way_there(desk, open_browser):
    shopper = open_browser()
    shopper.sign_in()
    assert 'href="/operator/"' in desk.get("/account").text
    assert "/operator" not in shopper.get("/account").text


def test_a_button_needs_its_form_token(desk, order_of, vendor):
    ref = order_of(**OPENED)
    assert desk.raw_post(f"/operator/orders/{ref}/ask").status_code == 400


@pytest.mark.parametrize(
    "path", ["/operator/orders/nobody", "/operator/message?id=nobody", "/operator/message"]
)
def test_what_is_not_there_is_404_for_the_operator_too(desk, path):
    assert desk.get(path).status_code == 404


# -- finding ----------------------------------------------------------------------------------------


def test_an_order_is_found_by_what_the_shopper_or_flexprice_calls_it(desk, order_of):
    ref = order_of(**OPENED, invoice_number="INV-7", subscription_id="subs_01")
    known = [
        "asha@example.com",
        "ASHA@",
        "cs_01",
        "pay_01",
        "inv_01",
        "INV-7",
        "subs_01",
        "cust_01",
        "  cs_01 ",
    ]
    known += [ref, ref[-8:], f"#{ref[-8:].upper()}", f"…{ref[-12:]}"]
    for words in known:
        answer = desk.get("/operator/search", query_string={"q": words})
        assert answer.location == f"/operator/orders/{ref}", words


def test_nothing_is_found_by_what_belongs_to_nobody(desk, order_of):
    order_of()
    for words in ("", " ", "%", "@", "nobody@example.com", "_" * 32, "x" * 300):
        answer = desk.get("/operator/search", query_string={"q": words})
        assert answer.status_code == 200
        assert "/operator/orders/" not in answer.text


def test_a_message_of_a_session_nobody_knows_is_found_by_the_session(desk, written):
    """ "I paid and got nothing", and the order is not ours: the message says so."""
    written(message(datetime.now(UTC), object_id="cs_99", outcome="set aside: Flexprice does not know it"))
    page = desk.get("/operator/search?q=cs_99").text
    assert "set aside: Flexprice does not know it" in page


def test_a_shopper_without_an_order_is_found_all_the_same(desk):
    page = desk.get("/operator/search?q=asha@example.com").text
    assert "signed up" in page
    assert "No order belongs to this." in page


# -- lists ------------------------------------------------------------------------------------------


@pytest.fixture
def one_for_each_reason(order_of, written):
    now = datetime.now(UTC)
    made = {
        "open-long": order_of(plan_id="p1", created_at=now - timedelta(hours=2)),
        "not-delivered": order_of(plan_id="p2", state=State.PAID, paid_at=now - timedelta(minutes=2)),
        "flagged": order_of(plan_id="p3", state=State.FAILED, flag="look at this"),
        "to-decide": order_of(plan_id="p4", state=State.STUCK),
        "not-renewed": order_of(plan_id="p5", state=State.FULFILLED),
        "paid-late": order_of(plan_id="p8", state=State.PAID_LATE),
    }
    order_of(plan_id="p6", created_at=now)
    order_of(plan_id="p7", state=State.FULFILLED)
    written(
        Access(shopper_id=1, plan_id="p5", plan_name="Pro", order_id=5, granted_at=now, overdue_since=now)
    )
    return made


def test_orders_are_listed_by_reason(desk, one_for_each_reason):
    assert set(one_for_each_reason) == set(support.REASONS)
    for reason, ref in one_for_each_reason.items():
        page = desk.get(f"/operator/orders?show={reason}").text
        assert re.findall(r'href="/operator/orders/(\w{32})"', page) == [ref], reason


def test_the_overview_counts_each_reason_and_state(desk, one_for_each_reason):
    page = desk.get("/operator/").text
    for reason in support.REASONS:
        row = page.partition(f'href="/operator/orders?show={reason}"')[2]
        assert '<span class="tag tag--warn">1</span>' in row.partition("</li>")[0]
    counted = dict(re.findall(r'show=(\w+)">[^<]*</a></dt><dd>(\d+)</dd>', page))
    assert {state: int(number) for state, number in counted.items() if number != "0"} == {
        "placed": 2,
        "paid": 1,
        "failed": 1,
        "stuck": 1,
        "paid_late": 1,
        "fulfilled": 2,
    }
    assert set(counted) == set(State)


def test_orders_are_listed_by_every_state_there_is(desk, order_of):
    refs = {state: order_of(plan_id=state, state=state) for state in State}
    for state, ref in refs.items():
        page = desk.get(f"/operator/orders?show={state}").text
        assert re.findall(r'href="/operator/orders/(\w{32})"', page) == [ref], state
        assert state.replace("_", " ").capitalize() in page


def test_long_lists_have_pages_and_begin_at_either_end(desk, order_of):
    refs = [order_of(plan_id=f"p{number}") for number in range(60)]

    def listed(query):
        return re.findall(r'href="/operator/orders/(\w{32})"', desk.get(f"/operator/orders?{query}").text)

    assert listed("") == refs[:-26:-1]
    assert listed("page=3") == refs[9::-1]
    assert listed("first=oldest&page=2") == refs[25:50]
    assert listed("page=4") == []
    assert listed("page=-1&show=nonsense") == refs[:-26:-1]
    assert (
        'href="/operator/orders?first=oldest&amp;page=3"'
        in desk.get("/operator/orders?first=oldest&page=2").text
    )


def test_messages_are_listed_by_what_became_of_them(desk, written):
    now = datetime.now(UTC)
    written(
        message(now, id="waits"),
        message(now, id="broke", traceback="Traceback: KeyError", attempts=3),
        message(now, id="aside", handled_at=now, outcome="set aside: nobody knows it"),
        message(now, id="done", handled_at=now, outcome="settled"),
    )

    def listed(show):
        return set(
            re.findall(r"/operator/message\?id=(\w+)", desk.get(f"/operator/messages?show={show}").text)
        )

    assert listed("") == {"waits", "broke", "aside", "done"}
    assert listed("waiting") == {"waits", "broke"}
    assert listed("broken") == {"broke"}
    assert listed("set-aside") == {"aside"}
    assert listed("handled") == {"aside", "done"}


def test_letters_are_listed_by_what_became_of_them(app, desk):
    now = datetime.now(UTC)
    with app.app_context(), writing():
        for name in ("waits", "fails", "went"):
            outbox.write("password_reset", db.session.get_one(Shopper, 1), now, reset_url=f"https://x/{name}")
        _, fails, went = db.session.scalars(db.select(Letter).order_by(Letter.id)).all()
        fails.error, went.posted_at = "SMTPServerDisconnected", now

    def listed(show):
        return set(re.findall(r'href="/letters/(\d+)"', desk.get(f"/operator/letters?show={show}").text))

    assert (listed("waiting"), listed("failing"), listed("posted")) == ({"1", "2"}, {"2"}, {"3"})


def test_the_overview_says_when_the_worker_is_missing(app, desk):
    assert "gives no sign of life" in desk.get("/operator/").text
    with app.app_context():
        lifesigns.beat(datetime.now(UTC))
    assert "gives no sign of life" not in desk.get("/operator/").text


def test_refused_webhooks_are_shown_with_their_cause(desk, tell, news):
    assert "No webhook has been refused." in desk.get("/operator/refused").text
    tell(news(), {}, at=None)
    tell(news(), at=datetime.now(UTC) - timedelta(hours=1))
    page = desk.get("/operator/refused").text
    assert "Signature header missing" in page
    assert re.search(r"36\d\d s old", page)


# -- one order --------------------------------------------------------------------------------------


def test_the_page_of_an_order_tells_its_whole_story_in_order(app, desk, order_of, written, samples):
    at = samples.NOW
    minute = timedelta(minutes=1)
    ref = order_of(
        **OPENED | {"state": State.FULFILLED},
        created_at=at,
        opening_at=at + minute,
        terms_checked_at=at + 2 * minute,
        paid_at=at + 3 * minute,
        fulfilled_at=at + 5 * minute,
        invoice_number="INV-7",
        flag="Charged 500, shown 499",
    )
    written(
        message(at + 4 * minute, outcome="settled", handled_at=at + 5 * minute),
        Access(shopper_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=at + 6 * minute),
        OperatorNote(at=at + 9 * minute, who="olga", subject="order", subject_id=ref, text="called her"),
    )
    with app.app_context(), writing():
        outbox.write("welcome", db.session.get_one(Shopper, 1), at + 7 * minute, db.session.get_one(Order, 1))
        db.session.scalars(db.select(Letter)).one().posted_at = at + 8 * minute

    page = desk.get(f"/operator/orders/{ref}").text
    story = re.findall(r"</time> ([^<]+?)\s*<", page)
    assert [line.partition(":")[0].strip() for line in story] == [
        "Order placed",
        "Flexprice asked for a session",
        "Charged for what was ordered",
        "Paid",
        "Received",
        "Goods delivered",
        "Access to Pro granted",
        "Letter written",
        "Letter posted",
        "called her",
    ]
    for fact in ("cs_01", "pay_01", "inv_01", "INV-7", ref, "asha@example.com", "Charged 500, shown 499"):
        assert fact in page
    assert "01 Sep 2026, 10:04:00 UTC" in page


def test_the_page_shows_what_else_the_shopper_bought(desk, order_of):
    other = order_of(plan_id="other")
    assert other in desk.get(f"/operator/orders/{order_of()}").text


def test_what_others_typed_is_shown_as_text_everywhere(app, desk, order_of, written, enrol):
    evil = "<script>alert(1)</script>"
    enrol("evil@example.com", "cust_05")
    with app.app_context(), writing():
        db.session.get_one(Shopper, 3).name = evil
    ref = order_of(3, flag=evil, plan_name=evil, session_id="cs_e", state=State.STUCK)
    now = datetime.now(UTC)
    written(message(now, id=f"/{evil}?&#", object_id="cs_e", outcome=evil, body=evil, traceback=evil))
    with app.app_context(), writing():
        outbox.write("welcome", db.session.get_one(Shopper, 3), now, db.session.get_one(Order, 1))
        db.session.scalars(db.select(Letter)).one().error = evil
    pages = [
        "/",
        "/orders",
        f"/orders/{ref}",
        "/messages",
        "/letters",
        "/search?q=evil@",
        f"/search?q={evil}",
    ]
    for path in pages:
        page = desk.get(f"/operator{path}").text
        assert evil not in page, path
    link = re.search(r'href="(/operator/message\?id=[^"]+)"', desk.get("/operator/messages").text)[1]
    page = desk.get(link.replace("&amp;", "&"))
    assert page.status_code == 200
    assert evil not in page.text


# -- ask Flexprice now ------------------------------------------------------------------------------


@pytest.fixture
def page_of(desk):
    return lambda ref: desk.get(f"/operator/orders/{ref}")


def test_asking_settles_the_order_as_every_answer_does(
    desk, press, page_of, order_of, vendor, samples, the_order, rows, caplog
):
    caplog.set_level("INFO")
    ref = order_of(**OPENED, next_look_at=samples.NOW + timedelta(days=900))
    vendor.answers("GET", SESSION, samples.session(**COMPLETED))
    page = press(page_of(ref), "/ask")
    assert flashed(page) == "Flexprice says: completed. The order is paid now, was awaiting_payment."
    assert the_order().state == "paid"
    assert the_order().next_look_at <= datetime.now(UTC)  # the worker delivers at once
    (note,) = rows(OperatorNote)
    assert (note.who, note.subject, note.subject_id) == ("olga@example.com", "order", ref)
    assert any(line.startswith("operator olga@example.com: /operator/orders/") for line in caplog.messages)


def test_after_asking_the_worker_looks_too_whatever_the_answer(
    press, page_of, order_of, vendor, samples, the_order
):
    """A receipt that is missing, or late money: what is owed to the order is seen to at once."""
    ref = order_of(**OPENED | {"state": State.EXPIRED}, next_look_at=None)
    vendor.answers("GET", SESSION, samples.session(checkout_status="expired"))
    vendor.answers("GET", "/payments/pay_01", PAYMENT | {"payment_status": "INITIATED"})
    said = flashed(press(page_of(ref), "/ask"))
    assert said == "Flexprice says: expired, payment INITIATED. The order stays expired."
    assert the_order().next_look_at <= datetime.now(UTC)


@pytest.mark.parametrize(("status", "state"), [("REFUNDED", "paid_late"), ("SUCCEEDED", "stuck")])
def test_money_of_an_order_that_ended_long_ago_is_found(
    press, page_of, order_of, vendor, samples, the_order, status, state
):
    """After three days the worker no longer asks; a person may."""
    ref = order_of(**OPENED | {"state": State.EXPIRED}, moved_at=samples.NOW)
    vendor.answers("GET", SESSION, samples.session(checkout_status="expired"))
    vendor.answers("GET", "/payments/pay_01", PAYMENT | {"payment_status": status})
    if status == "SUCCEEDED":
        vendor.answers("GET", "/refunds", body="404 page not found", status=404)
    assert f"payment {status}" in flashed(press(page_of(ref), "/ask"))
    assert the_order().state == state


def test_a_payment_that_flexprice_has_put_away_hides_nothing(
    press, page_of, order_of, vendor, samples, the_order
):
    ref = order_of(**OPENED | {"state": State.EXPIRED})
    vendor.answers("GET", SESSION, samples.session(**COMPLETED))
    vendor.answers("GET", "/payments/pay_01", NOT_FOUND, 404)
    said = flashed(press(page_of(ref), "/ask"))
    assert said == "Flexprice says: completed. The order is paid now, was expired."


# -- decisions --------------------------------------------------------------------------------------


def test_a_held_order_is_released_once_with_a_reason_and_a_name(
    app, press, page_of, order_of, the_order, rows
):
    ref = order_of(**OPENED | {"state": State.HELD}, flag="Not what was ordered: amount")
    page = page_of(ref)
    asked = press(page, "/decide", note="agreed with her by phone", decision="release")
    assert flashed(asked) == "Released, to be fulfilled as it is."
    assert the_order().state == "paid"
    with app.app_context():
        worker.look_after_orders(datetime.now(UTC))
        db.session.remove()
    assert the_order().state == "fulfilled"

    again = press(page, "/decide", note="agreed with her by phone", decision="release")
    assert flashed(again) == "The order is fulfilled by now. Nothing was done."
    assert len(rows(Access)) == 1
    (note,) = rows(OperatorNote)
    assert note.who == "olga@example.com"
    assert note.text == "Released, to be fulfilled as it is: agreed with her by phone"


def test_an_order_whose_money_went_back_is_closed_and_the_shopper_told_once(
    press, page_of, order_of, the_order, rows
):
    ref = order_of(state=State.PAID_TWICE)
    page = page_of(ref)
    for _ in range(2):
        press(page, "/decide", note="refunded at Razorpay, rfnd_1", decision="refunded")
    assert the_order().state == "refunded"
    assert [letter.kind for letter in rows(Letter)] == ["refunded"]
    assert len(rows(OperatorNote)) == 1


def test_a_decision_needs_a_reason(press, page_of, order_of, the_order, rows):
    ref = order_of(state=State.STUCK)
    page = press(page_of(ref), "/decide", note=" ", decision="refunded")
    assert flashed(page).startswith("Please write a note")
    assert the_order().state == "stuck"


def test_what_the_lifecycle_does_not_allow_is_neither_offered_nor_done(
    desk, page_of, order_of, the_order, rows
):
    for state in State:
        ref = order_of(plan_id=state, state=state)
        offered = set(re.findall(r'name="decision" value="(\w+)"', page_of(ref).text))
        for name, fact in (("release", Fact.RELEASED), ("refunded", Fact.REFUND_MADE)):
            assert (name in offered) is ((state, fact) in NEXT)
            if name not in offered:
                form = {"decision": name, "note": "x", "state": str(state)}
                assert desk.post(f"/operator/orders/{ref}/decide", **form).status_code == 303
    assert {order.plan_id: order.state for order in rows(Order)} == {str(state): state for state in State}
    assert rows(OperatorNote) == []


def test_a_decision_nobody_can_make_is_400(desk, order_of):
    assert desk.post(f"/operator/orders/{order_of()}/decide", decision="grant", note="x").status_code == 400


def test_asking_twice_changes_nothing_twice(app, press, page_of, order_of, vendor, samples, rows, work):
    ref = order_of(**OPENED)
    vendor.answers("GET", SESSION, samples.session(**COMPLETED))
    page = page_of(ref)
    for _ in range(3):
        press(page, "/ask")
        with app.app_context():
            order = fulfillment.orders.by_ref(ref)
            with writing():
                fulfillment.fulfill(order, samples.NOW)
    assert len(rows(Access)) == 1
    assert [letter.kind for letter in rows(Letter)] == ["welcome"]


def test_asking_about_an_order_whose_answer_was_lost_looks_for_its_trace(
    press, page_of, order_of, vendor, the_order, samples
):
    ref = order_of(opening_at=datetime.now(UTC))
    found = {
        "id": "subs_01",
        "subscription_status": "active",
        "customer_id": "cust_01",
        "plan_id": "plan_01",
        "metadata": {"order_ref": ref},
    }
    vendor.answers(
        "POST",
        "/subscriptions/search",
        {"items": [found], "pagination": {"total": 1, "limit": 100, "offset": 0}},
    )
    page = press(page_of(ref), "/ask")
    assert "The order is paid now" in flashed(page)
    assert the_order().subscription_id == "subs_01"


def test_an_order_that_never_reached_flexprice_is_not_asked_about(press, page_of, order_of, vendor):
    page = press(page_of(order_of()), "/ask")
    assert flashed(page) == "Flexprice has never been asked for a session. The order stays placed."


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, NOT_FOUND, "Flexprice does not know the session. The order stays awaiting_payment."),
        (503, {"code": "x", "message": "down"}, "Flexprice could not be asked: 503"),
    ],
)
def test_what_flexprice_cannot_say_is_told(press, page_of, order_of, vendor, the_order, status, body, said):
    vendor.answers("GET", SESSION, body, status)
    assert flashed(press(page_of(order_of(**OPENED)), "/ask")).startswith(said)
    assert the_order().state == "awaiting_payment"


# -- notes and flags --------------------------------------------------------------------------------


def test_a_flag_is_cleared_with_a_note_that_says_who_and_why(press, page_of, order_of, the_order, rows):
    ref = order_of(state=State.FAILED, flag="look at this")
    page = press(page_of(ref), "/note", note=" looked at it ", flag="look at this")
    assert flashed(page) == "The flag is cleared."
    assert the_order().flag is None
    (note,) = rows(OperatorNote)
    assert (note.who, note.text) == ("olga@example.com", "Flag cleared (look at this): looked at it")
    assert "looked at it" in page.text


def test_a_flag_that_changed_meanwhile_is_not_cleared_unread(press, page_of, order_of, the_order, rows):
    ref = order_of(state=State.FAILED, flag="something worse")
    page = press(page_of(ref), "/note", note="looked at it", flag="look at this")
    assert flashed(page).startswith("The flag has changed")
    assert the_order().flag == "something worse"
    assert rows(OperatorNote) == []


def test_a_flag_needs_a_reason_to_go(press, page_of, order_of, the_order):
    ref = order_of(state=State.FAILED, flag="look at this")
    assert flashed(press(page_of(ref), "/note", note="  ", flag="look at this")).startswith(
        "Please write a note"
    )
    assert the_order().flag == "look at this"


def test_a_note_alone_clears_nothing_and_the_same_press_again_writes_nothing(
    press, page_of, order_of, the_order, rows
):
    ref = order_of(state=State.FAILED, flag="look at this")
    page = page_of(ref)
    for _ in range(3):
        press(page, "/note", note="wrote to her")
    assert the_order().flag == "look at this"
    assert [note.text for note in rows(OperatorNote)] == ["wrote to her"]


# -- messages ---------------------------------------------------------------------------------------


@pytest.fixture
def breaking(monkeypatch):
    """Reading a message breaks, until it is mended."""

    def broken(*_):
        raise KeyError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(fulfillment, "understand", broken)
        yield patched.undo


def test_a_message_that_broke_shows_where_and_is_read_again_at_a_press(
    desk, press, tell, news, order_of, breaking, work, rows, the_order
):
    order_of(**OPENED)
    tell(news())
    work()
    page = desk.get("/operator/message?id=msg_1")
    assert "KeyError: &#39;a bug of ours&#39;" in page.text
    assert "in understood" in page.text

    breaking()
    page = press(page, "/again")
    assert flashed(page).startswith("Tried again now")
    work()
    assert the_order().state == "paid"
    (row,) = rows(InboxMessage)
    assert row.outcome == "settled"


def test_a_message_set_aside_is_replayed(
    desk, press, written, vendor, samples, order_of, work, rows, the_order
):
    """Nobody knew its session for an hour; now Flexprice does."""
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    ref = order_of()
    written(message(long_ago, handled_at=long_ago, outcome="set aside: unknown", attempts=9))
    vendor.answers("GET", SESSION, samples.session(**COMPLETED, idempotency_key=ref))
    press(desk.get("/operator/message?id=msg_1"), "/again")
    work()
    assert the_order().state == "paid"


def test_replaying_all_that_was_ever_received_changes_nothing(
    app, desk, press, tell, news, order_of, work, rows, vendor, samples
):
    order_of(**OPENED)
    for number, status in enumerate(("initiated", "completed", "failed", "expired")):
        session = samples.session(checkout_status="pending" if status == "initiated" else status)
        tell(news(status, checkout_session=session), message_id=f"msg_{number}")
    vendor.answers("GET", SESSION, samples.session(**COMPLETED))

    vendor.mock.assert_all_requests_are_fired = False

    def everything():
        with app.app_context():
            worker.one_pass(datetime.now(UTC) + timedelta(seconds=1))
            db.session.remove()
        return (
            [(order.state, order.paid_at, order.fulfilled_at, order.flag) for order in rows(Order)],
            [(access.id, access.granted_at) for access in rows(Access)],
            [letter.id for letter in rows(Letter)],
        )

    vendor.answers("GET", "/invoices/inv_01", NOT_FOUND, 404)
    before = everything()
    for number in range(4):
        press(desk.get(f"/operator/message?id=msg_{number}"), "/again")
    assert everything() == before
    assert all(row.attempts >= 2 and row.handled_at for row in rows(InboxMessage))


def test_a_second_press_of_replay_is_no_third_reading(desk, press, tell, work, rows):
    tell({"event_type": "customer.created", "customer": {"id": "cust_9"}})
    work()
    page = desk.get("/operator/message?id=msg_1")
    press(page, "/again")
    work()
    again = press(page, "/again")
    work()
    assert flashed(again).startswith("It has been read again already")
    assert [row.attempts for row in rows(InboxMessage)] == [2]


def test_a_message_that_is_being_read_is_left_alone(desk, press, written, rows):
    now = datetime.now(UTC)
    written(message(now, claimed_at=now, attempts=1))
    page = press(desk.get("/operator/message?id=msg_1"), "/again")
    assert flashed(page).startswith("It has been read again already, or is being read now")
    assert rows(InboxMessage)[0].claimed_at is not None


def test_who_replayed_what_is_kept(desk, press, tell, work, rows, caplog):
    caplog.set_level("INFO")
    tell({"event_type": "customer.created", "customer": {"id": "cust_9"}})
    work()
    page = press(desk.get("/operator/message?id=msg_1"), "/again")
    assert "olga@example.com" in page.text
    assert [(note.who, note.subject_id, note.text) for note in rows(OperatorNote)] == [
        ("olga@example.com", "msg_1", "Replayed")
    ]


# -- letters ----------------------------------------------------------------------------------------


@pytest.fixture
def letter(app, desk, order_of):
    """A welcome letter, to be posted."""
    ref = order_of(state=State.FULFILLED)
    with app.app_context(), writing():
        order = db.session.get_one(Order, 1)
        outbox.write("welcome", order.shopper, datetime.now(UTC), order)
    return ref


def test_a_letter_is_posted_once_more_and_its_first_time_is_kept(letter, desk, press, page_of, work, rows):
    work()
    first = rows(Letter)[0].posted_at
    page = page_of(letter)
    shown = press(page, "/letters/1/again")
    assert rows(Letter)[0].posted_at is None
    assert f"again, after {first:%Y-%m-%d %H:%M} UTC" in shown.text
    work()
    press(page, "/letters/1/again")  # the same button once more
    work()
    (row,) = rows(Letter)
    assert (row.attempts, row.posted_at is not None) == (2, True)
    assert len(rows(OperatorNote)) == 1


def test_a_letter_that_fails_is_tried_at_once(app, letter, desk, press, rows, work):
    with app.app_context(), writing():
        row = db.session.get_one(Letter, 1)
        row.error, row.attempts, row.next_try_at = "OSError", 7, datetime.now(UTC) + timedelta(hours=1)
    press(desk.get("/operator/letters?show=failing"), "/letters/1/again")
    work()
    assert rows(Letter)[0].posted_at is not None


def test_a_letter_that_is_not_there_is_404(desk):
    assert desk.post("/operator/letters/99/again").status_code == 404


def test_amounts_are_shown_with_their_currency(desk, order_of):
    ref = order_of(state=State.FULFILLED, invoice_total=Decimal("588.82"))
    assert "₹588.82" in desk.get(f"/operator/orders/{ref}").text


def test_an_hour_is_called_an_hour(desk, order_of):
    order_of(created_at=datetime.now(UTC) - timedelta(hours=3, minutes=5))
    assert ">3 h<" in desk.get("/operator/orders").text


def test_hints_have_a_page_too(app, desk):
    """Their ids are ours, with colons in them."""
    with app.app_context(), writing():
        inbox.note_answer("cs_01", "completed", datetime.now(UTC))
    assert "asked:cs_01:completed" in desk.get("/operator/message?id=asked:cs_01:completed").text
