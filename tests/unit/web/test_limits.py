"""How often the pages of the checkout and of accounts may be requested, and what is said beyond that."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from storefront.emails.models import Email
from storefront.models import Order, User
from storefront.web import limits
from tests.shop_fixtures import Browser

ASHA = {"name": "Asha Rao", "email": "asha@example.com", "password": "correct horse battery"}
GUESS = "a guess, a guess"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The shop with its limits on; everywhere else in the tests they are off."""
    return make_app(RATE_LIMITS="memory:")


def is_refused(response: Any, at_most_s: int = 15 * 60) -> bool:
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= at_most_s
    assert "Too many requests" in response.text
    assert "This request did not charge you." in response.text
    return True


def test_guessing_at_one_account_ends_after_ten(browser: Browser, add_user: Callable[..., int]) -> None:
    add_user()
    for _ in range(10):
        assert browser.sign_in(password=GUESS).status_code == 422
    assert is_refused(browser.sign_in(password=GUESS))
    assert is_refused(browser.sign_in()), "the right password must not tell that it is right"


def test_spelling_of_an_address_gives_no_more_guesses(browser: Browser, add_user: Callable[..., int]) -> None:
    add_user()
    spellings = ["Asha@Example.com", " asha@example.com ", "ASHA@EXAMPLE.COM", "asha@EXAMPLE.com"]
    for number in range(10):
        browser.sign_in(spellings[number % len(spellings)], GUESS)
    assert is_refused(browser.sign_in("aSha@example.com", GUESS))


def test_another_account_from_the_same_network_can_sign_in(
    browser: Browser, open_browser: Callable[[], Browser], add_user: Callable[..., int]
) -> None:
    add_user()
    add_user("ben@example.com")
    for _ in range(11):
        browser.sign_in(password=GUESS)
    assert open_browser().sign_in("ben@example.com").status_code == 303


def test_successful_sign_ins_do_not_count(browser: Browser, add_user: Callable[..., int]) -> None:
    add_user()
    assert {browser.sign_in().status_code for _ in range(15)} == {303}


@pytest.mark.thorough
def test_one_network_guesses_at_sixty_accounts(browser: Browser) -> None:
    for number in range(60):
        assert browser.sign_in(f"a{number}@example.com", GUESS).status_code == 422
    assert is_refused(browser.sign_in("one.more@example.com", GUESS), 3600)


def from_address(browser: Browser, address: str, path: str, **fields: str) -> Any:
    headers = {"Sec-Fetch-Site": "same-origin"}
    browser.get("/sign-in")
    return browser.raw_post(path, fields, headers=headers, environ_overrides={"REMOTE_ADDR": address})


@pytest.mark.thorough
def test_many_networks_guess_fifty_times_at_one_account(
    browser: Browser, add_user: Callable[..., int]
) -> None:
    add_user()
    wrong = {"email": "asha@example.com", "password": GUESS}
    for number in range(50):
        assert from_address(browser, f"198.51.100.{number}", "/sign-in", **wrong).status_code == 422
    assert is_refused(from_address(browser, "198.51.100.99", "/sign-in", **wrong), 3600)


def test_network_of_ipv6_counts_as_one_and_ipv4_does_not(browser: Browser) -> None:
    path, typed = "/reset-password/x", {"password": GUESS}
    statuses = [from_address(browser, f"2001:db8::{n}", path, **typed).status_code for n in range(1, 22)]
    assert statuses == [404] * 20 + [429]
    assert from_address(browser, "2001:db8:0:1::1", path, **typed).status_code == 404
    for number in range(24):  # as a server that listens on [::] sees IPv4
        assert from_address(browser, f"::ffff:192.0.2.{number}", path, **typed).status_code == 404


def test_only_completed_sign_ups_count(browser: Browser, flexprice: Any, rows: Callable[..., Any]) -> None:
    flexprice.answer("POST", "/customers", flexprice.customer(), 201)
    for _ in range(25):
        assert browser.post("/sign-up", **(ASHA | {"password": "short"})).status_code == 422
    for number in range(20):
        assert browser.post("/sign-up", **(ASHA | {"email": f"a{number}@example.com"})).status_code == 303
    assert is_refused(browser.post("/sign-up", **ASHA), 3600)
    assert len(rows(User)) == 20


@pytest.mark.parametrize("known", [True, False])
def test_three_reset_emails_an_hour_whether_the_account_exists(
    browser: Browser, add_user: Callable[..., int], rows: Callable[..., Any], known: bool
) -> None:
    if known:
        add_user()
    for spelling in ("asha@example.com", "ASHA@example.com", " asha@EXAMPLE.com"):
        assert browser.post("/forgot-password", email=spelling).status_code == 303
    assert is_refused(browser.post("/forgot-password", email="Asha@example.com"), 3600)
    assert len(rows(Email)) == (3 if known else 0)


def test_twenty_purchases_a_minute(asha: Browser, rows: Callable[..., Any], sell: Any) -> None:
    sell()
    form = {"plan": "nothing", "currency": "inr", "billing_period": "MONTHLY"}
    assert {asha.post("/checkout", **form).status_code for _ in range(20)} == {404}
    assert is_refused(asha.post("/checkout", **form), 60)
    assert rows(Order) == []


def test_six_tabs_that_poll_are_never_refused(asha: Browser, add_order: Callable[..., str]) -> None:
    ref = add_order()
    polls_in_the_first_minute = 9
    responses = [asha.get(f"/orders/{ref}/status") for _ in range(6 * polls_in_the_first_minute)]
    assert {response.status_code for response in responses} == {200}


@pytest.mark.thorough
def test_guessing_at_orders_ends_for_this_user_only(
    asha: Browser,
    add_user: Callable[..., int],
    open_browser: Callable[[], Browser],
    add_order: Callable[..., str],
) -> None:
    ref = add_order(add_user("ben@example.com"))
    for number in range(120):
        page = ("success", "failure", "status")[number % 3]
        assert asha.get(f"/orders/{number:032x}/{page}").status_code == 404
    refused = asha.get(f"/orders/{ref}/status", headers={"HX-Request": "true"})
    assert is_refused(refused, 60)
    assert 'id="order-status"' not in refused.text, "htmx keeps what is on the page"
    assert "HX-Redirect" not in refused.headers
    ben = open_browser()
    ben.sign_in("ben@example.com")
    assert ben.get(f"/orders/{ref}/status").status_code == 200


def test_a_database_that_is_away_is_not_taken_for_the_store(
    app: Flask, asha: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_key: str) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    app.login_manager.user_loader(fail)  # type: ignore[attr-defined]
    assert asha.get(f"/orders/{'0' * 32}/status").status_code == 503
    assert "Rate limit storage unreachable" not in caplog.text


@pytest.mark.thorough
def test_webhooks_are_never_refused(send_webhook: Callable[..., Any], webhook: Callable[..., Any]) -> None:
    for number in range(150):
        assert send_webhook(webhook("completed"), message_id=f"msg_{number}").status_code == 204
        assert send_webhook(b"{}", {}).status_code == 401


def test_every_form_that_pays_or_shows_an_order_is_limited(app: Flask) -> None:
    names = {rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint.startswith("checkout.")}
    assert names - set(limits.LIMITED) == {"checkout.plans", "checkout.plan", "checkout.webhook"}


def test_neither_address_nor_session_is_in_a_key_or_a_log(
    browser: Browser, add_user: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    add_user()
    for _ in range(11):
        browser.sign_in(password=GUESS)
    assert "exceeded" in caplog.text
    assert "asha" not in caplog.text.lower()


def test_limits_can_be_switched_off(make_app: Callable[..., Flask]) -> None:
    browser = Browser(make_app(RATE_LIMITS="off"))
    statuses = [browser.sign_in("x@example.com", GUESS).status_code for _ in range(12)]
    assert set(statuses) == {422}


@pytest.mark.thorough
def test_store_that_is_down_refuses_nobody(make_app: Callable[..., Flask]) -> None:
    """Each process counts for itself then."""
    browser = Browser(make_app(RATE_LIMITS="redis://127.0.0.1:1/0"))
    statuses = [browser.sign_in("x@example.com", GUESS).status_code for _ in range(11)]
    assert statuses == [422] * 10 + [429]
