"""How often the forms may be sent, counted by the spelling of an address under which its row is found."""

import pytest

from storefront.emails.models import Email
from storefront.models import User
from tests.samples import customer
from tests.shop_fixtures import HOME, Browser

ASHA = {"name": "Asha Rao", "email": "asha@example.com", "password": "correct horse battery"}
GUESS = "a guess, a guess"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Counters are elsewhere, so one kind of database is enough."""
    return sqlite_in(tmp_path)


@pytest.fixture
def app(make_app):
    return make_app(RATE_LIMITS="memory:")


def from_address(browser, address, path, **fields):
    browser.get("/sign-in")
    environ = {"REMOTE_ADDR": address}
    return browser.raw_post(path, fields, headers=SAME_ORIGIN, environ_overrides=environ)


def test_guessing_at_one_account_ends_after_ten_tries(browser, add_user):
    add_user()
    for _ in range(10):
        assert browser.sign_in(password=GUESS).status_code == 422
    assert browser.sign_in(password=GUESS).status_code == 429
    assert browser.sign_in().status_code == 429, "the right password must not show that it is right"


@pytest.mark.parametrize(
    "spelled", ["ASHA@EXAMPLE.COM", " asha@example.com ", "asha@ｅxample.com", "asha@example。com"]
)
def test_another_spelling_gives_no_more_guesses(browser, add_user, spelled):
    """Kind: a rate-limit key is the row's."""
    add_user()
    for number in range(10):
        browser.sign_in(spelled if number % 2 else "asha@example.com", GUESS)
    assert browser.sign_in(spelled, GUESS).status_code == 429


def test_another_user_of_the_network_can_still_sign_in(browser, open_browser, add_user):
    add_user()
    add_user("ben@example.com")
    for _ in range(11):
        browser.sign_in(password=GUESS)
    assert open_browser().sign_in("ben@example.com").status_code == 303


def test_a_correct_sign_in_does_not_count(browser, add_user):
    add_user()
    assert {browser.sign_in().status_code for _ in range(15)} == {303}


@pytest.mark.thorough
def test_one_machine_guesses_at_sixty_accounts(browser):
    for number in range(60):
        assert browser.sign_in(f"a{number}@example.com", GUESS).status_code == 422
    assert browser.sign_in("one.more@example.com", GUESS).status_code == 429


@pytest.mark.thorough
def test_many_machines_guess_fifty_times_at_one_account(browser, add_user):
    add_user()
    wrong = {"email": "asha@example.com", "password": GUESS}
    for number in range(50):
        assert from_address(browser, f"198.51.100.{number}", "/sign-in", **wrong).status_code == 422
    assert from_address(browser, "198.51.100.99", "/sign-in", **wrong).status_code == 429


def test_an_ipv6_network_counts_as_one_address(browser):
    path, typed = "/reset-password/x", {"password": GUESS}
    answers = [from_address(browser, f"2001:db8::{n}", path, **typed).status_code for n in range(1, 22)]
    assert answers == [404] * 20 + [429]
    assert from_address(browser, "2001:db8:0:1::1", path, **typed).status_code == 404


@pytest.mark.parametrize(
    ("addresses", "buckets"),
    [
        (("203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7:4711"), {"203.0.113.7"}),
        (("2001:db8::1", "[2001:db8::2]:443", "[2001:db8::3]"), {"2001:db8::/64"}),
        (("64:ff9b::203.0.113.7", "::ffff:203.0.113.7"), {"203.0.113.7"}),  # through NAT64
        (("64:ff9b::203.0.113.7", "64:ff9b::203.0.113.8"), {"203.0.113.7", "203.0.113.8"}),
        (("fe80::1%eth0", "[fe80::2%2]:443"), {"fe80::/64"}),
        (("203.0.113.7", "203.0.113.8"), {"203.0.113.7", "203.0.113.8"}),
        (("", "unix:", "not an address"), {"unknown"}),
    ],
)
def test_every_form_of_an_address_has_its_bucket(app, addresses, buckets):
    """Kind: one place that turns an address into a rate-limit key."""
    from storefront.extensions import client_network

    found = set()
    for address in addresses:
        with app.test_request_context(environ_overrides={"REMOTE_ADDR": address}):
            found.add(client_network())
    assert found == buckets


@pytest.mark.thorough
def test_twenty_sign_ups_an_hour_from_one_network(browser, flexprice, rows):
    flexprice.answer("POST", "/customers", customer(), 201)
    for number in range(20):
        assert browser.post("/sign-up", **(ASHA | {"email": f"a{number}@example.com"})).status_code == 303
    assert browser.post("/sign-up", **ASHA).status_code == 429
    assert len(rows(User)) == 20


@pytest.mark.parametrize(
    "mistake", [{"password": "short"}, {"email": "asha@"}, {"name": "https://evil.example"}]
)
def test_mistakes_do_not_use_up_the_sign_ups(browser, flexprice, mistake):
    """Kind: only what succeeded is counted."""
    flexprice.answer("POST", "/customers", customer(), 201)
    for _ in range(40):
        assert browser.post("/sign-up", **(ASHA | mistake)).status_code == 422
    assert browser.post("/sign-up", **ASHA).status_code == 303


@pytest.mark.parametrize("known", [True, False])
def test_three_reset_emails_an_hour_for_one_address(browser, add_user, rows, known):
    if known:
        add_user()
    spellings = ["asha@example.com", "ASHA@example.com", "asha@ｅxample.com"]
    for spelled in spellings:
        assert browser.post("/forgot-password", email=spelled).status_code == 303
    assert browser.post("/forgot-password", email="asha@example。com").status_code == 429
    assert len(rows(Email)) == (3 if known else 0)


def test_limits_can_be_switched_off(make_app):
    browser = Browser(make_app(RATE_LIMITS="off"))
    assert {browser.sign_in("x@example.com", GUESS).status_code for _ in range(12)} == {422}


def test_without_its_store_each_process_counts_alone(make_app):
    browser = Browser(make_app(RATE_LIMITS="redis://127.0.0.1:1/0"))
    answers = [browser.sign_in("x@example.com", GUESS).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_the_keys_hold_no_address(app):
    from storefront.accounts.limits import account

    with app.test_request_context(
        "/sign-in", method="POST", data={"email": "asha@example.com"}, base_url=HOME
    ):
        assert "asha" not in account()
        assert len(account()) == 16
