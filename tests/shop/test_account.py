"""Signing up, in and out, a new password, and what may be asked for by whom."""

import re
from datetime import timedelta

import pytest

from storefront import shoppers
from storefront.database import writing
from storefront.extensions import db
from storefront.models import Access, Letter, Shopper

WHO = {"name": "Asha Rao", "email": "Asha@Example.com", "password": "correct horse battery"}
CUSTOMER = {"id": "cust_01", "external_id": "x"}


def test_signing_up_makes_a_shopper_and_a_customer(browser, vendor, rows):
    vendor.answers("POST", "/customers", CUSTOMER, 201)
    answer = browser.post("/sign-up", **WHO)
    assert (answer.status_code, answer.location) == (303, "/")
    (shopper,) = rows(Shopper)
    assert (shopper.email, shopper.name, shopper.flexprice_id) == ("asha@example.com", "Asha Rao", "cust_01")
    assert WHO["password"] not in shopper.password_hash
    assert vendor.sent()["external_id"] == shopper.external_id
    assert len(shopper.external_id) == 32
    assert "asha@example.com" in browser.get("/account").text


def test_flexprice_being_down_keeps_nobody_from_signing_up(browser, vendor, rows):
    vendor.answers("POST", "/customers", {"error": "down"}, 503)
    assert browser.post("/sign-up", **WHO).status_code == 303
    assert rows(Shopper)[0].flexprice_id is None
    assert browser.get("/account").status_code == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"email": "not an address"},
        {"email": ""},
        {"email": f"{'a' * 300}@example.com"},
        {"password": "short"},
        {"password": "x" * 201},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 201},
    ],
)
def test_a_form_with_mistakes_comes_back(browser, vendor, rows, changed):
    answer = browser.post("/sign-up", **(WHO | changed))
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert rows(Shopper) == []


def test_a_password_is_never_written_back_into_the_page(browser, vendor):
    assert WHO["password"] not in browser.post("/sign-up", **(WHO | {"email": "x"})).text


def test_an_address_signs_up_once_however_it_is_written(browser, enrol, vendor, rows):
    enrol("asha@example.com")
    answer = browser.post("/sign-up", **WHO)
    assert answer.status_code == 422
    assert "This address has an account already." in answer.text
    assert len(rows(Shopper)) == 1


def test_signing_in_and_out(browser, enrol):
    enrol()
    assert browser.get("/account").status_code == 302
    assert browser.sign_in("ASHA@example.com").location == "/"
    assert browser.get("/account").status_code == 200
    assert browser.post("/sign-out").location == "/"
    assert browser.get("/account").status_code == 302


@pytest.mark.parametrize(
    ("email", "password"),
    [("asha@example.com", "wrong horse battery"), ("nobody@example.com", "correct horse battery")],
)
def test_a_wrong_address_and_a_wrong_password_are_answered_alike(browser, enrol, email, password):
    enrol()
    answer = browser.sign_in(email, password)
    assert answer.status_code == 422
    assert "Address and password do not match." in answer.text
    assert browser.get("/account").status_code == 302


def test_nothing_from_before_the_sign_in_goes_on(browser, enrol):
    enrol()
    before = browser.client.get_cookie("storefront", "127.0.0.1")
    browser.token()
    with browser.client.session_transaction(base_url="http://127.0.0.1:8000") as session:
        session["planted"] = "by somebody else"
    browser.sign_in()
    with browser.client.session_transaction(base_url="http://127.0.0.1:8000") as session:
        assert "planted" not in session
    assert before is None


# -- form tokens ------------------------------------------------------------------------------------


def post_doors(app):
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in rule.methods]
    return sorted(re.sub(r"<[^>]+>", "x", rule.rule) for rule in rules)


def test_every_form_needs_its_token_and_the_webhook_does_not(app, asha, tell):
    doors = post_doors(app)
    assert "/checkout" in doors
    assert "/orders/x/cancel" in doors
    doors.remove("/webhooks/flexprice")
    assert {door: asha.raw_post(door).status_code for door in doors} == dict.fromkeys(doors, 400)
    forged = {"csrf_token": "forged"}
    assert {door: asha.raw_post(door, forged).status_code for door in doors} == dict.fromkeys(doors, 400)
    assert tell(b"{}", {}).status_code == 401


def test_the_token_of_another_browser_does_not_fit(open_browser, enrol):
    enrol()
    token = open_browser().token()
    mine = open_browser()
    mine.token()
    answer = mine.raw_post("/sign-out", {"csrf_token": token})
    assert answer.status_code == 400


def test_a_visit_signs_nobody_out(asha):
    assert asha.get("/sign-out").status_code == 405
    assert asha.get("/account").status_code == 200


# -- where a sign-in leads ---------------------------------------------------------------------------

ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "javascript:alert(1)",
    "evil.example",
    "",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_sign_in_leads_nowhere_else(browser, enrol, target):
    enrol()
    assert browser.sign_in(next=target).location == "/"


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_sign_up_leads_nowhere_else(browser, vendor, target):
    vendor.answers("POST", "/customers", CUSTOMER, 201)
    assert browser.post("/sign-up", **WHO, next=target).location == "/"


def test_a_sign_in_leads_back_to_where_it_was_needed(browser, enrol):
    enrol()
    answer = browser.get("/orders/abc/success?since=5")
    assert answer.location == "/sign-in?next=/orders/abc/success?since%3D5"
    page = browser.get(answer.location).text
    target = re.search(r'name="next"[^>]* value="([^"]*)"', page)[1]
    assert browser.sign_in(next=target).location == "/orders/abc/success?since=5"


# -- a new password ---------------------------------------------------------------------------------


@pytest.fixture
def link(browser, enrol, rows):
    """The path in the letter to somebody who forgot the password."""
    enrol()
    assert browser.post("/forgot-password", email="asha@example.com").location == "/sign-in"
    (letter,) = rows(Letter)
    assert (letter.kind, letter.to) == ("password_reset", "asha@example.com")
    return re.search(r"http://127\.0\.0\.1:8000(/reset-password/\S+)", letter.body_text)[1]


def test_the_link_works_once(browser, link):
    assert browser.get(link).status_code == 200
    assert browser.post(link, password="another horse battery").location == "/sign-in"
    assert browser.get(link).status_code == 404
    assert browser.post(link, password="a third horse battery").status_code == 404
    assert browser.sign_in().status_code == 422
    assert browser.sign_in(password="another horse battery").status_code == 303


def test_a_new_password_signs_every_browser_out(open_browser, browser, link):
    other = open_browser()
    other.sign_in()
    assert other.get("/account").status_code == 200
    browser.post(link, password="another horse battery")
    assert other.get("/account").status_code == 302


def test_a_second_letters_link_ends_with_the_first(browser, link, rows):
    browser.post("/forgot-password", email="asha@example.com")
    second = re.search(r"(/reset-password/\S+)", rows(Letter)[-1].body_text)[1]
    browser.post(link, password="another horse battery")
    assert browser.get(second).status_code == 404


def test_a_short_password_keeps_the_link(browser, link):
    assert browser.post(link, password="short").status_code == 422
    assert browser.get(link).status_code == 200


def test_an_old_link_is_refused(browser, link, monkeypatch):
    monkeypatch.setattr(shoppers, "RESET_LASTS", -1)
    assert browser.get(link).status_code == 404
    assert browser.post(link, password="another horse battery").status_code == 404


def test_an_altered_link_is_refused(browser, link):
    assert browser.get(link[:-2]).status_code == 404
    assert browser.get("/reset-password/x").status_code == 404


def test_nobody_learns_which_addresses_have_accounts(browser, enrol, rows):
    enrol()
    known = browser.post("/forgot-password", email="asha@example.com")
    page = browser.get("/sign-in").text
    unknown = browser.post("/forgot-password", email="nobody@example.com")
    assert (known.status_code, known.location) == (unknown.status_code, unknown.location)
    said = "If that address has an account, a letter with a link is on its way."
    assert said in page
    assert said in browser.get("/sign-in").text
    assert len(rows(Letter)) == 1


# -- what a shopper has -----------------------------------------------------------------------------


def test_members_need_a_plan(asha, vendor, samples):
    vendor.sells(samples.plan(samples.price()))
    answer = asha.get("/members")
    assert answer.location == "/"
    assert "This page is for members." in asha.get("/").text


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ({}, 200),
        ({"ends_at": timedelta(days=36500)}, 200),
        ({"ends_at": timedelta(0)}, 303),
        ({"revoked_at": timedelta(0)}, 303),
    ],
)
def test_access_opens_the_members_pages_until_it_ends(app, asha, order_of, samples, ending, status):
    order_of(state="fulfilled")
    ends = {name: samples.NOW - timedelta(days=365) + gap for name, gap in ending.items()}
    with app.app_context(), writing():
        db.session.add(
            Access(
                shopper_id=1,
                plan_id="plan_01",
                plan_name="Pro",
                order_id=1,
                granted_at=samples.NOW - timedelta(days=400),
                **ends,
            )
        )
    assert asha.get("/members").status_code == status


def test_the_account_lists_ones_own_orders(asha, enrol, order_of):
    other = enrol("ben@example.com", "cust_02")
    mine, theirs = order_of(), order_of(other)
    page = asha.get("/account").text
    assert mine[-8:] in page
    assert theirs[-8:] not in page


@pytest.mark.parametrize("path", ["/account", "/members", "/letters", "/letters/1", "/orders/abc/success"])
def test_without_a_sign_in_there_is_nothing_to_see(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in?next=")
