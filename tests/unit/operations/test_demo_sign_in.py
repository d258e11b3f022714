"""The address in the demo's banner signs its operator in, and exists only there."""

import pytest

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def env(env):
    return env | {"DEMO_OPERATOR_TOKEN": TOKEN}


def test_the_address_signs_the_operator_in(add_user, browser):
    add_user()
    add_user("olga@example.com", "Olga", operator=True)
    assert browser.get("/operator/").status_code == 404
    answer = browser.get(f"/demo/operator/{TOKEN}")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/operator/")
    assert browser.get("/operator/").status_code == 200


@pytest.mark.parametrize("token", ["x", TOKEN[:-1] + "S", "é", "%00"])
def test_another_token_is_no_page(add_user, browser, token):
    add_user("olga@example.com", "Olga", operator=True)
    assert browser.get(f"/demo/operator/{token}").status_code == 404
    assert browser.get("/operator/").status_code == 404


def test_without_a_token_there_is_no_such_address(make_app):
    app = make_app(DEMO_OPERATOR_TOKEN="")
    assert not [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/demo/")]
