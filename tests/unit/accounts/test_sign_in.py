"""Signing in and out: what a session is worth, and where a sign-in leads."""

import html
import re

import pytest

from storefront.accounts import service
from storefront.extensions import db
from storefront.models import User
from tests.samples import customer, plan, price
from tests.shop_fixtures import HOME

ASHA = {"name": "Asha Rao", "email": "asha@example.com", "password": "correct horse battery"}


def cookie_of(browser):
    return browser.client.get_cookie("storefront", "127.0.0.1").value


@pytest.fixture
def with_cookie(open_browser):
    def open_with(value):
        browser = open_browser()
        browser.client.set_cookie("storefront", value, domain="127.0.0.1")
        return browser

    return open_with


def test_a_user_signs_in_and_out(browser, add_user):
    add_user()
    assert browser.get("/account").status_code == 302
    assert browser.sign_in("ASHA@example.com").location == "/"
    assert browser.get("/account").status_code == 200
    assert browser.post("/sign-out").location == "/"
    assert browser.get("/account").status_code == 302


@pytest.mark.parametrize(
    ("email", "password"),
    [("asha@example.com", "wrong horse battery"), ("nobody@example.com", "correct horse battery")],
)
def test_wrong_address_and_wrong_password_look_alike(browser, add_user, email, password):
    add_user()
    answer = browser.sign_in(email, password)
    assert answer.status_code == 422
    assert "Incorrect email or password." in answer.text
    assert browser.get("/account").status_code == 302


def test_an_unknown_address_costs_as_much_work(browser, add_user, monkeypatch):
    checked = []

    def check(stored, typed):
        checked.append(stored.partition("$")[0])
        return False

    add_user()
    monkeypatch.setattr(service, "check_password_hash", check)
    browser.sign_in("asha@example.com")
    browser.sign_in("nobody@example.com")
    assert len(checked) == 2
    assert checked[0] == checked[1]


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_blocked_cookies_are_named(browser, add_user, path):
    """Kind: a form without its session."""
    add_user()
    answer = browser.raw_post(path, ASHA, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 422
    assert "Your browser blocks cookies." in answer.text


@pytest.mark.parametrize("path", ["/sign-in", "/forgot-password", "/checkout"])
def test_blocked_cookies_are_named_to_older_browsers(browser, path):
    """They do not say where a form comes from. Kind: a form without its session."""
    answer = browser.raw_post(path)
    assert answer.status_code == 400
    assert "Your browser did not send our cookie." in answer.text


# -- sessions ---------------------------------------------------------------------------------------


def test_nothing_from_before_the_sign_in_survives(browser, add_user):
    add_user()
    browser.get("/sign-in")
    with browser.client.session_transaction(base_url=HOME) as session:
        session["planted"] = "by somebody else"
        old_token = session["csrf_token"]
    browser.sign_in()
    with browser.client.session_transaction(base_url=HOME) as session:
        assert "planted" not in session
        assert session.get("csrf_token") != old_token


def test_a_cookie_from_before_the_sign_in_is_worthless(browser, with_cookie, add_user):
    add_user()
    browser.get("/sign-in")
    planted = cookie_of(browser)
    browser.sign_in()
    assert cookie_of(browser) != planted
    assert with_cookie(planted).get("/account").status_code == 302


def test_a_copied_cookie_ends_with_the_sign_out(asha, with_cookie):
    copied = cookie_of(asha)
    assert with_cookie(copied).get("/account").status_code == 200
    asha.post("/sign-out")
    assert with_cookie(copied).get("/account").status_code == 302
    assert "You&#39;ve been signed out on all devices." in asha.get("/sign-in").text


@pytest.mark.parametrize(
    "forged", ["", "x", "eyJfdXNlcl9pZCI6IjEifQ", "eyJfdXNlcl9pZCI6IjEifQ.aaaaaa.bbbb", "é"]
)
def test_a_forged_cookie_is_worthless(with_cookie, add_user, forged):
    add_user()
    assert with_cookie(forged).get("/account").status_code == 302


def test_a_get_signs_nobody_out(asha):
    assert asha.get("/sign-out").status_code == 405
    assert asha.get("/account").status_code == 200


# -- forms of other sites, and of other tabs ----------------------------------------------------------


def test_a_form_of_another_site_is_refused(asha):
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
        assert asha.raw_post("/sign-out", headers=headers).status_code == 400
        assert asha.raw_post("/sign-out", {"csrf_token": "forged"}, headers=headers).status_code == 400
    assert asha.get("/account").status_code == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": HOME}])
def test_a_form_that_the_browser_vouches_for_needs_no_token(asha, headers):
    """Kind: what proves where a form comes from."""
    assert asha.raw_post("/sign-out", headers=headers).status_code == 303


def test_a_token_is_enough_where_no_header_tells(asha):
    token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', asha.get("/sign-in").text)[1]
    assert asha.raw_post("/sign-out", {"csrf_token": token}).status_code == 303


def test_the_token_of_another_browser_does_not_fit(open_browser, add_user):
    add_user()
    other, mine = open_browser(), open_browser()
    token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', other.get("/sign-in").text)[1]
    mine.get("/sign-in")
    assert mine.raw_post("/sign-out", {"csrf_token": token}).status_code == 400


def test_every_form_but_the_webhook_is_protected(app, operator, send_webhook):
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())]
    values = [{name: "invoice" if name == "kind" else "1" for name in rule.arguments} for rule in rules]
    paths = sorted(rule.build(named)[1] for rule, named in zip(rules, values, strict=True))
    paths = [path for path in paths if not path.startswith("/webhooks/")]
    assert "/checkout" in paths
    assert {path: operator.raw_post(path).status_code for path in paths} == dict.fromkeys(paths, 400)
    assert send_webhook(b"{}", {}).status_code == 401


def test_a_sign_in_form_works_in_a_second_tab(browser, add_user):
    """The first sign-in replaced the session, and with it the token of the form in the other tab.

    Kind: a form opened before the session changed.
    """
    add_user()
    browser.get("/sign-in")
    assert browser.sign_in().status_code == 303
    assert browser.sign_in().status_code == 303


@pytest.mark.parametrize(("path", "status"), [("/sign-up", 422), ("/forgot-password", 303)])
def test_other_forms_work_in_a_second_tab(browser, add_user, path, status):
    """Kind: a form opened before the session changed."""
    add_user()
    browser.get(path)
    assert browser.sign_in().status_code == 303
    assert browser.post(path, **ASHA).status_code == status


# -- where a sign-in leads ----------------------------------------------------------------------------

ELSEWHERE = [
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
def test_a_sign_in_leads_nowhere_else(browser, add_user, target):
    add_user()
    assert browser.sign_in(next=target).location == "/"


@pytest.mark.parametrize("field", ["email", "password", "next", "no such field"])
def test_nul_in_a_field_is_refused(browser, add_user, field):
    add_user()
    assert browser.post("/sign-in", **(ASHA | {field: "a\x00b"})).status_code == 400


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_sign_up_leads_nowhere_else(browser, flexprice, target):
    flexprice.answer("POST", "/customers", customer(), 201)
    assert browser.post("/sign-up", **ASHA, next=target).location == "/"


def test_a_sign_in_leads_back_to_where_it_was_needed(browser, add_user):
    add_user()
    answer = browser.get("/emails?page=5")
    assert answer.location == "/sign-in?next=/emails?page%3D5"
    page = browser.get(answer.location).text
    target = re.search(r'name="next"[^>]* value="([^"]*)"', page)[1]
    assert browser.sign_in(next=target).location == "/emails?page=5"


@pytest.mark.parametrize("action", ["cancel", "success", "failure"])
def test_an_order_page_leads_back_after_the_sign_in(app, asha, add_order, rows, action):
    ref = add_order()
    with app.app_context():
        service.sign_out_everywhere(db.session.get_one(User, 1))
    path = f"/orders/{ref}/{action}"
    answer = asha.post(path) if action == "cancel" else asha.get(path)
    target = html.unescape(answer.location.partition("next=")[2])
    assert target in (f"/orders/{ref}/failure", f"/orders/{ref}/success")
    landed = asha.sign_in(next=target)
    assert landed.location == target


def test_a_fragment_leads_back_to_its_page(browser):
    answer = browser.get("/members", headers={"HX-Current-URL": f"{HOME}/emails?page=2"})
    assert answer.location == "/sign-in?next=/emails?page%3D2"


def test_the_target_survives_mistakes_and_the_other_form(browser, add_user, flexprice):
    add_user()
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
    page = browser.post("/sign-up", **(ASHA | {"email": "no address", "next": hidden(page)})).text
    page = browser.get(over(page, "/sign-in")).text
    assert browser.sign_in(next=hidden(page)).location == target


def test_the_forms_name_the_chosen_plan(browser, flexprice):
    flexprice.sells(plan(price()))
    assert "You chose Pro." in browser.get("/sign-up?next=/plans/plan_01?period%3DMONTHLY").text
    assert "You chose Pro." in browser.get("/sign-in?next=/plans/plan_01").text
    assert "You chose Pro." in browser.post("/sign-up", next="/plans/plan_01").text  # with mistakes, too
    assert "You chose" not in browser.get("/sign-up?next=/plans/plan_02").text
    assert "You chose" not in browser.get("/sign-up?next=/orders/plan_01/success").text


def test_the_forms_work_while_flexprice_is_down(browser, flexprice):
    flexprice.answer("POST", "/plans/search", {"error": "down"}, 503)
    assert browser.get("/sign-in?next=/plans/plan_01").status_code == 200


@pytest.mark.parametrize("path", ["/account", "/members", "/emails", "/emails/1", "/orders/abc/success"])
def test_signed_out_visitors_are_sent_to_sign_in(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in?next=")
