"""Signing up, in and out, a new password, and what may be asked for by whom."""

import html
import re
from datetime import timedelta

import pytest
from werkzeug.security import check_password_hash, generate_password_hash

from storefront import outbox, shoppers
from storefront.database import writing
from storefront.extensions import db
from storefront.lifecycle import State
from storefront.models import Access, Letter, Order, Shopper
from storefront.shoppers import _NOBODY as NOBODY

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


HOST = "http://127.0.0.1:8000"


def test_nothing_from_before_the_sign_in_goes_on(browser, enrol):
    enrol()
    browser.token()
    with browser.client.session_transaction(base_url=HOST) as session:
        session["planted"] = "by somebody else"
        old_token = session["csrf_token"]
    browser.sign_in()
    with browser.client.session_transaction(base_url=HOST) as session:
        assert "planted" not in session
        assert session.get("csrf_token") != old_token


def kept_cookie(browser):
    return browser.client.get_cookie("storefront", "127.0.0.1").value


def with_cookie(open_browser, value):
    other = open_browser()
    other.client.set_cookie("storefront", value, domain="127.0.0.1")
    return other


def test_a_cookie_from_before_the_sign_in_opens_nothing_afterwards(browser, open_browser, enrol):
    enrol()
    browser.token()
    planted = kept_cookie(browser)
    browser.sign_in()
    assert kept_cookie(browser) != planted
    assert with_cookie(open_browser, planted).get("/account").status_code == 302


def test_a_cookie_that_was_copied_ends_with_the_sign_out(asha, open_browser):
    copied = kept_cookie(asha)
    assert with_cookie(open_browser, copied).get("/account").status_code == 200
    asha.post("/sign-out")
    assert with_cookie(open_browser, copied).get("/account").status_code == 302
    assert "You are signed out, here and in every other browser." in asha.get("/").text


@pytest.mark.parametrize(
    "forged", ["", "x", "eyJfdXNlcl9pZCI6IjEifQ", "eyJfdXNlcl9pZCI6IjEifQ.aaaaaa.bbbb", "é"]
)
def test_a_cookie_that_was_made_up_opens_nothing(open_browser, enrol, forged):
    enrol()
    assert with_cookie(open_browser, forged).get("/account").status_code == 302


# -- passwords ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "easy",
    ["password123", "PASSWORD123", "1234567890", "qwertyuiop", "aaaaaaaaaaaa", "1212121212", WHO["email"]],
)
def test_what_everybody_guesses_first_is_no_password(browser, vendor, rows, easy):
    answer = browser.post("/sign-up", **(WHO | {"password": easy}))
    assert answer.status_code == 422
    assert "This one is guessed first. Please choose another." in answer.text
    assert rows(Shopper) == []


def test_a_long_password_in_any_script_is_taken(browser, vendor, rows):
    vendor.answers("POST", "/customers", CUSTOMER, 201)
    typed = "चार घोड़े और एक बैटरी 🐎" + "x" * 150
    assert browser.post("/sign-up", **(WHO | {"password": typed})).status_code == 303
    browser.post("/sign-out")
    assert browser.sign_in(password=typed[:-1]).status_code == 422
    assert browser.sign_in(password=typed).status_code == 303


def test_the_shops_own_hash_is_salted_and_slow(monkeypatch):
    monkeypatch.undo()
    one, other = (shoppers.hash_password("correct horse battery") for _ in range(2))
    assert one != other
    assert re.match(r"scrypt:32768:8:1\$", one)


def test_a_wrong_address_is_as_much_work_as_a_wrong_password(browser, enrol, monkeypatch):
    checked = []

    def check(kept, typed):
        checked.append(kept.partition("$")[0])
        return False

    enrol()
    monkeypatch.setattr(shoppers, "check_password_hash", check)
    browser.sign_in("asha@example.com")
    browser.sign_in("nobody@example.com")
    assert len(checked) == 2
    assert checked[0] == checked[1]


def test_asking_for_a_new_password_is_as_much_work_for_an_unknown_address(browser, enrol, monkeypatch):
    written = []
    compose = outbox.compose
    monkeypatch.setattr(outbox, "compose", lambda *a, **k: written.append(a[0]) or compose(*a, **k))
    enrol()
    browser.post("/forgot-password", email="asha@example.com")
    browser.post("/forgot-password", email="nobody@example.com")
    assert written == ["password_reset"] * 2


# -- one letter box, one account ------------------------------------------------------------------------

SPELLINGS = [
    ("asha@example.com", "ASHA@EXAMPLE.COM"),
    ("asha@example.com", " asha@example.com "),
    ("asha@example.com", "asha@ｅxample.com"),  # full width
    ("asha@example.com", "asha@example。com"),  # the ideographic full stop
    ("kim@example.com", "\u212aim@example.com"),  # the Kelvin sign is a k in lower case
    ("asha@bücher.example.com", "asha@xn--bcher-kva.example.com"),
    ("josé@example.com", "jose\u0301@example.com"),  # composed and not
]
OTHERS = [
    ("asha@example.com", "asha+operator@example.com"),
    ("asha@example.com", "ａsha@example.com"),
    ("asha@example.com", "\u0430sha@example.com"),  # Cyrillic
    ("ilya@example.com", "\u0131lya@example.com"),  # without a dot
    ("ilya@example.com", "\u0130lya@example.com"),  # with one, in capitals
    ("sam@example.com", "\u017fam@example.com"),  # the long s
]
NO_ADDRESS = [
    "asha@example.com.",
    ".asha@example.com",
    "asha.@example.com",
    '"asha"@example.com',
    "asha\u200b@example.com",
]


@pytest.mark.parametrize(("kept", "typed"), SPELLINGS)
def test_another_spelling_of_an_operators_address_is_the_same_account(
    browser, enrol, vendor, rows, kept, typed
):
    enrol(kept, operator=True)
    answer = browser.post("/sign-up", **(WHO | {"email": typed}))
    assert answer.status_code == 422
    assert "This address has an account already." in answer.text
    assert len(rows(Shopper)) == 1
    assert browser.sign_in(typed).status_code == 303


@pytest.mark.parametrize(("kept", "typed"), OTHERS)
def test_an_address_that_only_looks_like_an_operators_gets_nothing_of_theirs(
    browser, enrol, vendor, rows, kept, typed
):
    enrol(kept, operator=True)
    vendor.answers("POST", "/customers", CUSTOMER | {"id": "cust_02"}, 201)
    assert browser.post("/sign-up", **(WHO | {"email": typed})).status_code == 303
    operator, other = sorted(rows(Shopper), key=lambda shopper: not shopper.is_operator)
    assert (operator.email, other.is_operator) == (kept, False)
    browser.post("/forgot-password", email=typed)
    assert [letter.to for letter in rows(Letter)] == [other.email]


@pytest.mark.parametrize("typed", NO_ADDRESS)
def test_what_is_no_address_signs_nobody_up(browser, vendor, rows, typed):
    assert browser.post("/sign-up", **(WHO | {"email": typed})).status_code == 422
    assert rows(Shopper) == []


@pytest.mark.parametrize(
    "field", ["is_operator", "session_key", "external_id", "flexprice_id", "id", "password_hash"]
)
def test_no_field_of_the_form_makes_an_operator_or_anybody_else(browser, vendor, rows, field):
    vendor.answers("POST", "/customers", CUSTOMER, 201)
    browser.post("/sign-up", **WHO, **{field: "1"})
    (shopper,) = rows(Shopper)
    assert (shopper.id, shopper.is_operator, shopper.flexprice_id) == (1, False, "cust_01")
    assert "1" not in (shopper.session_key, shopper.external_id, shopper.password_hash)


def test_who_signed_up_with_an_address_that_is_made_an_operator_later_is_out(app, asha, open_browser, rows):
    said = app.test_cli_runner().invoke(args=["operator", "asha@example.com"]).output
    assert asha.get("/account").status_code == 302, "they may not be who the operator is meant to be"
    assert asha.sign_in().status_code == 422
    link = re.search(r"http://127\.0\.0\.1:8000(/reset-password/\S+)", said)[1]
    owner = open_browser()
    owner.post(link, password="a third horse battery")
    assert owner.sign_in(password="a third horse battery").status_code == 303
    assert rows(Shopper)[0].is_operator


def test_taking_the_role_away_leaves_the_shopper(app, enrol, browser, rows):
    enrol(operator=True)
    said = app.test_cli_runner().invoke(args=["operator", "--revoke", "Asha@example.com"]).output
    assert "no longer an operator" in said
    assert "reset-password" not in said
    assert not rows(Shopper)[0].is_operator
    assert browser.sign_in().status_code == 303


def test_nobody_is_made_an_operator_who_has_not_signed_up(app, rows):
    result = app.test_cli_runner().invoke(args=["operator", "new@example.com"])
    assert result.exit_code != 0
    assert rows(Shopper) == []


def test_signing_up_adopts_no_customer_of_somebody_else(browser, vendor, rows):
    """Whatever Flexprice has under that address: ours is found by a random key of ours only."""
    vendor.answers("POST", "/customers", {"error": "exists"}, 409)
    vendor.mock.add("GET", re.compile(r".*/customers/external/[0-9a-f]{32}$"), json=CUSTOMER)
    browser.post("/sign-up", **WHO)
    asked = [path for method, path in vendor.calls if method == "GET"]
    assert asked == [f"/customers/external/{rows(Shopper)[0].external_id}"]


# -- form tokens ------------------------------------------------------------------------------------


def post_doors(app):
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in rule.methods]
    return sorted(rule.build(dict.fromkeys(rule.arguments, "1"))[1] for rule in rules)


def test_every_form_needs_its_token_and_the_webhook_does_not(app, browser, enrol, tell):
    enrol(operator=True)  # for anybody else the operator's doors are not there
    browser.sign_in()
    doors = post_doors(app)
    assert "/checkout" in doors
    assert "/orders/1/cancel" in doors
    doors.remove("/webhooks/flexprice")
    assert {door: browser.raw_post(door).status_code for door in doors} == dict.fromkeys(doors, 400)
    forged = {"csrf_token": "forged"}
    assert {door: browser.raw_post(door, forged).status_code for door in doors} == dict.fromkeys(doors, 400)
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
    "/\x00",
    "/%0d%0aX-Evil:%201",
    "/account\r\nX-Evil: 1",
    "/account\x7f",
    "/sign-out",  # takes a POST only: a sign-in would end on an error page
    "/orders/abc/cancel",
    "/nowhere",
    "/@evil.example",
    "/%5cevil.example",
    "/%2f/evil.example",
    "http:evil.example",
    "https:///evil.example",
    "//user:pass@evil.example",
    "/\u2028/evil.example",
    "https://evil.example/",
    "//evil.example/account",  # with a path that is one of ours
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example/account",  # a browser leaves the tab out
    "/\n/evil.example/account",
    "/acc\nount",
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


@pytest.mark.parametrize("action", ["cancel", "start-again"])
def test_a_sign_in_that_ran_out_on_a_form_leads_to_its_page(app, asha, order_of, rows, action):
    ref, token = order_of(), asha.token()
    with app.app_context(), writing():
        shoppers.sign_out(db.session.get_one(Shopper, 1))
    answer = asha.raw_post(f"/orders/{ref}/{action}", {"csrf_token": token})
    assert answer.location == f"/sign-in?next=/orders/{ref}/failure"
    landed = asha.sign_in(next=f"/orders/{ref}/failure")
    assert asha.get(landed.location).status_code == 200
    assert rows(Order)[0].state == "placed"


def test_a_sign_in_that_ran_out_on_a_fragment_leads_to_its_page(browser, order_of, enrol):
    enrol()
    ref = order_of()
    assert browser.get(f"/orders/{ref}/status").location == f"/sign-in?next=/orders/{ref}/failure"
    assert browser.get(f"/qa/{ref}/checks").location == f"/sign-in?next=/qa/{ref}"


def test_where_it_leads_survives_mistakes_and_the_way_over_to_the_other_form(browser, enrol, vendor):
    """From the sign-in to the sign-up and back, each with a mistake on the way."""
    enrol()
    target = "/orders/abc/success?since=5"

    def hidden(page):
        return html.unescape(re.search(r'name="next"[^>]* value="([^"]*)"', page)[1])

    def over(page, other):
        return html.unescape(re.search(rf'href="({other}\?next=[^"]*)"', page)[1])

    page = browser.get("/sign-in?next=/orders/abc/success?since%3D5").text
    assert hidden(page) == target
    page = browser.sign_in(password="not the password", next=hidden(page)).text
    page = browser.get(over(page, "/sign-up")).text
    assert hidden(page) == target
    page = browser.post("/sign-up", **(WHO | {"email": "no address", "next": hidden(page)})).text
    page = browser.get(over(page, "/sign-in")).text
    assert browser.sign_in(next=hidden(page)).location == target


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


def test_whoever_signs_up_on_the_way_to_a_plan_sees_its_name(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price()))
    browser.get("/")
    assert "You chose Pro." in browser.get("/sign-up?next=/plans/plan_01?period%3DMONTHLY").text
    assert "You chose Pro." in browser.get("/sign-in?next=/plans/plan_01").text
    assert "You chose Pro." in browser.post("/sign-up", next="/plans/plan_01").text  # with errors, too
    assert "You chose" not in browser.get("/sign-up?next=/plans/plan_02").text
    assert "You chose" not in browser.get("/sign-up?next=/orders/plan_01/success").text


@pytest.mark.parametrize("path", ["/account", "/members", "/letters", "/letters/1", "/orders/abc/success"])
def test_without_a_sign_in_there_is_nothing_to_see(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in?next=")


def test_a_link_to_a_new_password_is_not_even_an_operators_to_read(app, enrol, open_browser, rows):
    enrol("bela@example.com")
    enrol("asha@example.com", operator=True)
    open_browser().post("/forgot-password", email="bela@example.com")
    (letter,) = rows(Letter)
    operator, owner = open_browser(), open_browser()
    operator.sign_in("asha@example.com")
    owner.sign_in("bela@example.com")
    assert operator.get(f"/letters/{letter.id}").status_code == 404
    assert letter.subject not in operator.get("/letters").text
    assert owner.get(f"/letters/{letter.id}").status_code == 200


@pytest.mark.parametrize(
    ("dates", "says"),
    [
        ({}, "since 1 Sept 2026"),
        ({"paid_until": 31}, "since 1 Sept 2026, paid until 2 Oct 2026"),
        ({"paid_until": 31, "ends_at": 3650}, "since 1 Sept 2026, until 29 Aug 2036"),
        ({"paid_until": 31, "ends_at": 31}, "since 1 Sept 2026, ended 2 Oct 2026"),
        ({"paid_until": 31, "revoked_at": 1}, "since 1 Sept 2026, ended 2 Sept 2026"),
    ],
)
def test_the_account_says_until_when_a_plan_is_paid(asha, app, order_of, samples, dates, says):
    order_of(state=State.FULFILLED)
    with app.app_context(), writing():
        access = Access(shopper_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=samples.NOW)
        for name, days in dates.items():
            setattr(access, name, samples.NOW + timedelta(days=days))
        db.session.add(access)
    page = " ".join(asha.get("/account").text.split())
    assert f">{says}<" in page.replace("> ", ">").replace(" <", "<")


def test_an_unknown_address_is_as_much_work_as_a_known_one():
    how, _, _ = NOBODY.partition("$")
    assert generate_password_hash("x").startswith(f"{how}$")
    assert not check_password_hash(NOBODY, "")
