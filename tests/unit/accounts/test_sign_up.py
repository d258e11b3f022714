"""Signing up: one mailbox, one account; what a name, an address and a password may be."""

import re
from functools import partial

import pytest
from werkzeug.security import check_password_hash, generate_password_hash

from storefront.accounts import service
from storefront.accounts.forms import fold_spaces
from storefront.models import User
from tests.samples import customer

ASHA = {"name": "Asha Rao", "email": "Asha@Example.com", "password": "correct horse battery"}


@pytest.fixture
def sign_up(browser, flexprice):
    """Sends the form; Flexprice expects one customer."""

    def send(**changes):
        flexprice.answer("POST", "/customers", customer(), 201)
        return browser.post("/sign-up", **(ASHA | changes))

    return send


def test_a_sign_up_creates_a_user_and_a_customer(sign_up, browser, flexprice, rows):
    answer = sign_up()
    assert (answer.status_code, answer.location) == (303, "/")
    (user,) = rows(User)
    assert (user.email, user.name, user.is_operator) == ("asha@example.com", "Asha Rao", False)
    assert ASHA["password"] not in user.password_hash
    assert flexprice.sent()["external_id"] == user.key
    assert max(flexprice.timeouts_s) <= 4
    assert len(user.key) == 32
    assert browser.get("/account").status_code == 200


def test_a_sign_up_succeeds_while_flexprice_is_down(browser, flexprice, rows):
    flexprice.answer("POST", "/customers", {"error": "down"}, 503)
    assert browser.post("/sign-up", **ASHA).status_code == 303
    assert len(rows(User)) == 1
    assert browser.get("/account").status_code == 200


def test_a_customer_of_somebody_else_is_not_adopted(browser, flexprice, rows):
    """Whatever Flexprice has under that address: ours is found by a random key of ours only."""
    flexprice.answer("POST", "/customers", {"error": "exists"}, 409)
    assert browser.post("/sign-up", **ASHA).status_code == 303
    assert [flexprice.sent()["external_id"]] == [user.key for user in rows(User)]


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
        {"name": "x" * 81},
    ],
)
def test_a_form_with_mistakes_is_shown_again(browser, flexprice, rows, changed):
    answer = browser.post("/sign-up", **(ASHA | changed))
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert ASHA["password"] not in answer.text
    assert rows(User) == []


@pytest.mark.parametrize(
    "field", ["is_operator", "session_key", "key", "id", "password_hash", "email_confirmed_at"]
)
def test_a_field_that_is_not_in_the_form_sets_nothing(sign_up, rows, field):
    sign_up(**{field: "1"})
    (user,) = rows(User)
    assert (user.id, user.is_operator, user.email_confirmed_at) == (1, False, None)
    assert "1" not in (user.session_key, user.key, user.password_hash)


def test_blocked_cookies_are_named(browser, flexprice, rows):
    answer = browser.raw_post("/sign-up", ASHA, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 422
    assert "Your browser blocks cookies." in answer.text
    assert rows(User) == []


# -- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("山田\u3000太郎", "山田 太郎"),  # full-width space
        ("علی\u200cرضا", "علی\u200cرضا"),  # zero-width non-joiner
        ("ශ්\u200dරී", "ශ්\u200dරී"),  # zero-width joiner
        ("Asha\u00a0Rao", "Asha Rao"),
        ("Asha\u202fRao", "Asha Rao"),
        ("  Asha   Rao ", "Asha Rao"),
        ("O’Brien-Łukasz Jr.", "O’Brien-Łukasz Jr."),
        ("आशा", "आशा"),
        ("Asha 👩\u200d💻", "Asha 👩\u200d💻"),
        ("محمد\u200f علي", "محمد علي"),  # a direction mark that was copied along
        ("\u200eדוד כהן\u061c", "דוד כהן"),
        ("x" * 80, "x" * 80),
    ],
)
def test_names_of_every_script_are_accepted(sign_up, rows, typed, stored):
    """Kind: what a person may type."""
    assert sign_up(name=typed).status_code == 303
    assert rows(User)[0].name == stored


@pytest.mark.parametrize(
    "name",
    [
        "Asha\nRao",
        "Asha\rBcc: x@example.com",
        "Asha\tRao",
        "Asha\u2028Rao",
        "Asha\u2029Rao",
        "Asha\u202eRao",  # right-to-left override
        "Asha\u2066Rao",
        "Asha\ufeffRao",
        "\u200d",
        "Asha \u200cRao",
        "Asha\u200d",
        "Asha\x7f",
    ],
)
def test_control_characters_in_names_are_refused(browser, flexprice, rows, name):
    assert browser.post("/sign-up", **(ASHA | {"name": name})).status_code == 422
    assert rows(User) == []


def test_a_link_in_a_name_is_refused(browser, flexprice, rows):
    answer = browser.post("/sign-up", **(ASHA | {"name": "Pay at https://evil.example"}))
    assert answer.status_code == 422
    assert "A name cannot contain a link." in answer.text
    assert rows(User) == []


def test_an_empty_name_stays_empty():
    assert fold_spaces(None) == ""


# -- addresses --------------------------------------------------------------------------------------

SPELLINGS = [
    ("asha@example.com", "ASHA@EXAMPLE.COM"),
    ("asha@example.com", " asha@example.com "),
    ("asha@example.com", "asha@ｅxample.com"),  # full width
    ("asha@example.com", "asha@example。com"),  # the ideographic full stop
    ("kim@example.com", "\u212aim@example.com"),  # the Kelvin sign is a k in lower case
    ("asha@bücher.example.com", "asha@xn--bcher-kva.example.com"),
    ("josé@example.com", "jose\u0301@example.com"),  # composed and decomposed
]
OTHERS = [
    ("asha@example.com", "asha+operator@example.com"),
    ("asha@example.com", "ａsha@example.com"),
    ("asha@example.com", "\u0430sha@example.com"),  # Cyrillic
    ("ilya@example.com", "\u0131lya@example.com"),  # dotless
    ("ilya@example.com", "\u0130lya@example.com"),  # dotted capital
    ("sam@example.com", "\u017fam@example.com"),  # the long s
]


@pytest.mark.parametrize(("stored", "typed"), SPELLINGS)
def test_another_spelling_is_the_same_account(browser, add_user, flexprice, rows, stored, typed):
    add_user(stored, operator=True)
    answer = browser.post("/sign-up", **(ASHA | {"email": typed}))
    assert answer.status_code == 422
    assert "An account with this email address exists already." in answer.text
    assert len(rows(User)) == 1
    assert browser.sign_in(typed).status_code == 303


@pytest.mark.parametrize(("stored", "typed"), OTHERS)
def test_a_similar_address_is_another_account(sign_up, add_user, rows, stored, typed):
    add_user(stored, operator=True)
    assert sign_up(email=typed).status_code == 303
    operator, other = sorted(rows(User), key=lambda user: not user.is_operator)
    assert (operator.email, other.is_operator) == (stored, False)


@pytest.mark.parametrize(
    "typed",
    [
        "asha@example.com.",
        ".asha@example.com",
        "asha.@example.com",
        '"asha"@example.com',
        "asha\u200b@example.com",
    ],
)
def test_an_invalid_address_is_refused(browser, flexprice, rows, typed):
    assert browser.post("/sign-up", **(ASHA | {"email": typed})).status_code == 422
    assert rows(User) == []


@pytest.mark.parametrize("typed", ["me@kestrel.test", "me@shop.kestrel.test", "me+1@other.test"])
def test_the_demo_accepts_addresses_at_test(sign_up, rows, typed):
    """Kind: what a person may type."""
    assert sign_up(email=typed).status_code == 303
    assert rows(User)[0].email == typed


# -- passwords --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "common",
    ["password123", "PASSWORD123", "1234567890", "qwertyuiop", "aaaaaaaaaaaa", "1212121212", ASHA["email"]],
)
def test_a_common_password_is_refused(browser, flexprice, rows, common):
    answer = browser.post("/sign-up", **(ASHA | {"password": common}))
    assert answer.status_code == 422
    assert "That password is too common. Choose another." in answer.text
    assert rows(User) == []


def test_a_long_password_in_any_script_is_accepted(sign_up, browser):
    typed = "चार घोड़े और एक बैटरी 🐎" + "x" * 150
    assert sign_up(password=typed).status_code == 303
    browser.post("/sign-out")
    assert browser.sign_in(password=typed[:-1]).status_code == 422
    assert browser.sign_in(password=typed).status_code == 303


def test_a_password_is_the_same_composed_and_decomposed(sign_up, browser):
    """Keyboards of different systems send é as one character or as two."""
    sign_up(password="caf\u00e9 caf\u00e9 caf\u00e9")
    browser.post("/sign-out")
    assert browser.sign_in(password="cafe\u0301 cafe\u0301 cafe\u0301").status_code == 303


def test_hashes_are_salted_and_slow(monkeypatch):
    monkeypatch.undo()
    one, other = (service.hash_password("correct horse battery") for _ in range(2))
    assert one != other
    assert re.match(r"scrypt:32768:8:1\$", one)


def test_the_hash_of_unknown_users_costs_as_much(monkeypatch):
    monkeypatch.undo()
    method = service.UNKNOWN_USER_HASH.partition("$")[0]
    assert generate_password_hash("x").startswith(f"{method}$")
    assert not check_password_hash(service.UNKNOWN_USER_HASH, "")
    assert partial(check_password_hash, service.UNKNOWN_USER_HASH)("the password of no user") is False
