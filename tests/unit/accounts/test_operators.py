"""`flask operator`: the role goes to a person, not to a stranger who signed up with their address."""

import re

from storefront.models import User


def run(app, *arguments):
    return app.test_cli_runner().invoke(args=["operator", *arguments])


def test_a_new_operator_chooses_a_new_password(app, asha, open_browser, rows, leaks):
    said = run(app, "Asha@example.com").output
    assert asha.get("/account").status_code == 302, "they may not be who the operator is meant to be"
    assert asha.sign_in().status_code == 422
    link = re.search(r"http://127\.0\.0\.1:8000(/reset-password/\S+)", said)[1]
    owner = open_browser()
    owner.post(link, password="a third horse battery")
    assert owner.sign_in(password="a third horse battery").status_code == 303
    assert rows(User)[0].is_operator


def test_a_revoked_operator_stays_a_user(app, add_user, browser, rows):
    add_user(operator=True)
    said = run(app, "--revoke", "Asha@example.com").output
    assert "no longer an operator" in said
    assert "reset-password" not in said
    assert not rows(User)[0].is_operator
    assert browser.sign_in().status_code == 303


def test_an_unknown_address_makes_no_operator(app, rows):
    result = run(app, "new@example.com")
    assert result.exit_code != 0
    assert "Sign up with it first." in result.output
    assert rows(User) == []
