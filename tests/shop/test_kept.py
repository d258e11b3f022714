"""A page that was kept is the page that would be written now, for the visitor it is sent to."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from storefront.database import writing
from storefront.extensions import db
from storefront.models import Order


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Once is enough: nothing here is about rows."""
    return sqlite_in(tmp_path)


@pytest.fixture
def waiting(order_of):
    """An open order, and the address that its page asks."""
    now = datetime.now(UTC)
    ref = order_of(
        state="awaiting_payment",
        session_id="cs_01",
        opening_at=now,
        moved_at=now,
        payment_url="http://127.0.0.1:8001/pay/abc",
        expires_at=now + timedelta(minutes=15),
        next_ask_at=now + timedelta(hours=1),
    )
    return f"/orders/{ref}/status?page=failure&since={int(time.time()) - 60}"


@pytest.fixture
def change(app):
    def set_fields(**values):
        with app.app_context(), writing():
            for name, value in values.items():
                setattr(db.session.get_one(Order, 1), name, value)

    return set_fields


def phase(answer):
    return re.search(r'data-phase="(\w+)"', answer.text)[1]


def token(answer):
    return re.search(r'name="csrf_token" value="([^"]+)"', answer.text)[1]


def test_who_asks_again_and_nothing_has_changed_is_told_just_that(asha, waiting, change):
    known = {"If-None-Match": asha.get(waiting).headers["ETag"]}
    again = asha.get(waiting, headers=known)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == "private, no-cache"
    change(state="paid", paid_at=datetime.now(UTC))
    assert phase(asha.get(waiting, headers=known)) == "paid"


def test_what_has_happened_since_the_last_look_is_seen_at_the_next(asha, waiting, change):
    assert [phase(asha.get(waiting)) for _ in range(2)] == ["waiting", "waiting"]
    change(state="paid", paid_at=datetime.now(UTC))
    assert phase(asha.get(waiting)) == "paid"


def test_every_word_of_the_order_is_as_its_row_is_now(asha, waiting, change):
    asha.get(waiting)
    change(invoice_number="INV-7", payment_url="http://127.0.0.1:8001/pay/another")
    shown = asha.get(waiting).text
    assert "INV-7" in shown
    assert "/pay/another" in shown


def test_the_time_that_is_left_runs_on(asha, waiting, change):
    assert "in 15 minutes" in asha.get(waiting).text
    change(expires_at=datetime.now(UTC) + timedelta(minutes=4))
    assert "in 4 minutes" in asha.get(waiting).text


def test_the_page_of_one_shopper_is_not_found_by_another(asha, waiting, enrol, open_browser):
    asha.get(waiting)
    enrol("bela@example.com", "cust_02")
    bela = open_browser()
    bela.sign_in("bela@example.com")
    assert bela.get(waiting).status_code == 404


def test_a_browser_that_was_signed_out_is_led_to_sign_in(asha, waiting):
    asha.get(waiting)
    asha.post("/sign-out")
    assert "/sign-in" in asha.get(waiting).headers["Location"]
    assert asha.get(waiting, headers={"HX-Request": "true"}).status_code == 401


def test_each_browser_of_a_shopper_can_send_the_form_it_was_given(asha, waiting, open_browser):
    asha.get(waiting)
    phone = open_browser()
    phone.sign_in()
    ref = waiting.split("/")[2]
    assert token(asha.get(waiting)) != token(phone.get(waiting))
    answer = phone.raw_post(f"/orders/{ref}/start-again", {"csrf_token": token(phone.get(waiting))})
    assert answer.status_code == 303


def test_every_visitor_can_send_the_forms_of_the_plans_page(open_browser, vendor, samples):
    vendor.sells(samples.plan(samples.price()))
    offer = {"plan": "plan_01", "currency": "inr", "billing_period": "MONTHLY"}
    tokens = set()
    for _ in range(3):
        visitor = open_browser()
        given = token(visitor.get("/"))
        tokens.add(given)
        assert visitor.raw_post("/checkout", offer | {"csrf_token": given}).status_code == 303
    assert len(tokens) == 3


def test_the_plans_page_speaks_to_each_visitor_in_their_way(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price("1499.5"), samples.price("9", currency="USD")))
    assert "1,499.50" in browser.get("/").text
    assert "1.499,50" in browser.get("/", headers={"Accept-Language": "de"}).text
    assert "$9.00" in browser.get("/?currency=usd").text
    assert "1,499.50" in browser.get("/").text


def test_a_message_on_the_plans_page_is_for_one_visitor_and_said_once(asha, browser, vendor, samples):
    vendor.sells(samples.plan(samples.price()))
    asha.get("/")
    with browser.client.session_transaction(base_url=samples.HOME) as session:
        session.clear()
        session["_flashes"] = [("info", "For you alone.")]
    assert ["For you alone." in browser.get("/").text for _ in range(2)] == [True, False]
