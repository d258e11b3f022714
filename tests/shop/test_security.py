"""What a browser may load, where it may be sent, and whom a page belongs to."""

import logging

import pytest
from sqlalchemy import select

from storefront import outbox
from storefront.database import writing
from storefront.extensions import db
from storefront.models import Letter, Shopper
from storefront.web import headers

HTTPS = {"STOREFRONT_URL": "https://shop.example", "PAYMENT_HOSTS": ""}


def policy(answer):
    directives = answer.headers["Content-Security-Policy"].split("; ")
    return {name: set(values) for name, *values in (directive.split() for directive in directives)}


def test_the_policy_names_all_that_may_be_loaded(browser):
    assert policy(browser.get("/sign-in")) == {
        "default-src": {"'none'"},
        "script-src": {"'self'", headers.HTMX},
        "style-src": {"'self'"},
        "img-src": {"'self'", "data:"},
        "connect-src": {"'self'"},
        "form-action": {
            "'self'",
            "https://razorpay.com",
            "https://*.razorpay.com",
            "https://rzp.io",
            "https://*.rzp.io",
            "http://127.0.0.1:8001",
        },
        "base-uri": {"'none'"},
        "frame-ancestors": {"'none'"},
    }


@pytest.mark.parametrize("path", ["/sign-in", "/nowhere", "/account", "/healthz", "/webhooks/flexprice"])
def test_every_answer_carries_the_headers(browser, path):
    headers = browser.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "private, no-cache"
    assert "Strict-Transport-Security" not in headers


def test_pages_need_no_inline_script_or_style(browser):
    page = browser.get("/sign-up").text
    assert " style=" not in page
    assert " onclick=" not in page
    assert "<style" not in page


def cookie(answer):
    (found,) = answer.headers.getlist("Set-Cookie")
    name, *flags = found.split("; ")
    return name.partition("=")[0], set(flags)


def test_the_cookie_has_its_own_name_and_is_kept_from_scripts(browser):
    assert cookie(browser.get("/sign-in")) == ("storefront", {"HttpOnly", "Path=/", "SameSite=Lax"})


def test_in_production_the_cookie_and_the_browser_stay_on_https(build):
    answer = build(**HTTPS).test_client().get("/sign-in", base_url="https://shop.example")
    assert cookie(answer) == ("__Host-storefront", {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"})
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "http://" not in answer.headers["Content-Security-Policy"]


def test_a_demo_on_another_loopback_name_moves_to_its_own(app):
    client = app.test_client()
    answer = client.get("/plans/x?currency=inr", base_url="http://localhost:8000")
    assert (answer.status_code, answer.location) == (302, "http://127.0.0.1:8000/plans/x?currency=inr")
    assert client.get("/healthz", base_url="http://localhost:8000").status_code == 200


def test_a_path_that_looks_like_a_host_stays_on_ours(app):
    answer = app.test_client().get("//evil.example", base_url="http://localhost:8000")
    assert answer.location.startswith("http://127.0.0.1:8000/")


# -- whom a page belongs to -------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["success", "failure", "status"])
def test_a_strangers_order_is_not_there(asha, enrol, order_of, vendor, door):
    theirs = order_of(enrol("ben@example.com", "cust_02"))
    stranger, unknown = asha.get(f"/orders/{theirs}/{door}"), asha.get(f"/orders/{'0' * 32}/{door}")
    assert (stranger.status_code, unknown.status_code) == (404, 404)
    assert stranger.data == unknown.data


@pytest.mark.parametrize("door", ["cancel", "start-again"])
def test_a_strangers_order_is_not_touched(asha, enrol, order_of, vendor, the_order, door):
    theirs = order_of(enrol("ben@example.com", "cust_02"))
    assert asha.post(f"/orders/{theirs}/{door}").status_code == 404
    assert the_order().state == "placed"


def test_not_even_an_operator_opens_anothers_order(browser, enrol, order_of):
    theirs = order_of(enrol("ben@example.com", "cust_02"))
    enrol(operator=True)
    browser.sign_in()
    assert browser.get(f"/orders/{theirs}/success").status_code == 404


@pytest.fixture
def letters(app, enrol):
    """Ben has a letter."""

    def write(kind="password_reset"):
        ben = enrol("ben@example.com", "cust_02")
        with app.app_context(), writing():
            shopper = db.session.get_one(Shopper, ben)
            outbox.write("password_reset", shopper, shopper.created_at, reset_url="https://secret.example/x")
            db.session.scalars(select(Letter)).one().kind = kind
        with app.app_context():
            return db.session.scalar(select(Letter.id))

    return write


def test_the_letters_of_another_are_not_there(asha, letters):
    number = letters()
    assert asha.get(f"/letters/{number}").status_code == 404
    assert asha.get("/letters/999").status_code == 404
    assert "ben@example.com" not in asha.get("/letters").text


def test_ones_own_letters_can_be_read_again(browser, letters):
    number = letters()
    browser.sign_in("ben@example.com")
    assert "ben@example.com" in browser.get("/letters").text
    assert "https://secret.example/x" in browser.get(f"/letters/{number}").text


def test_an_operator_sees_the_letters_of_all(browser, enrol, letters):
    number = letters(kind="welcome")
    enrol(operator=True)
    browser.sign_in()
    assert "ben@example.com" in browser.get("/letters").text
    assert browser.get(f"/letters/{number}").status_code == 200


# -- error pages ------------------------------------------------------------------------------------


def test_a_page_that_is_not_there_says_nothing_of_the_inside(browser):
    answer = browser.get("/nowhere")
    assert answer.status_code == 404
    assert "Nothing here" in answer.text


def test_an_error_of_ours_shows_a_reference_and_not_its_text(app, browser, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(app.extensions["catalog"], "shelf", broken)
    answer = browser.get("/")
    assert answer.status_code == 500
    assert "a secret of the inside" not in answer.text
    reference = caplog.records[-1].getMessage().split()[1]
    assert reference in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_a_form_that_is_too_large_is_refused(browser):
    assert browser.raw_post("/sign-in", {"email": "x" * 300_000}).status_code == 413


# -- secrets ----------------------------------------------------------------------------------------


def test_the_suite_notices_a_secret_in_a_page_an_error_or_a_log(app, env, browser, monkeypatch, leaks):
    def broken(*_):
        raise RuntimeError(env["FLEXPRICE_API_KEY"])

    app.add_url_rule("/told", view_func=lambda: env["SECRET_KEY"])
    assert browser.get("/told").status_code == 200
    monkeypatch.setattr(app.extensions["catalog"], "shelf", broken)
    assert browser.get("/").status_code == 500
    logging.getLogger("storefront").warning("the secret is %s", env["FLEXPRICE_WEBHOOK_SECRET"])
    heard, leaks.heard = leaks.heard, []
    assert [line.partition(" tells")[0] for line in heard] == [
        "the answer to GET /told",
        "the log",
        "the log",
    ]


def test_the_settings_keep_their_secrets_to_themselves(app, env):
    shown = repr(app.config["SETTINGS"])
    for name in ("FLEXPRICE_API_KEY", "FLEXPRICE_WEBHOOK_SECRET", "SECRET_KEY", "DATABASE_URL"):
        assert env[name] not in shown
