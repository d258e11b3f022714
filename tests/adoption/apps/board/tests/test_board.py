"""The board's own tests. They know nothing of payments."""

import pytest
from app import app


@pytest.fixture
def browser(tmp_path):
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=False, DATABASE=str(tmp_path / "board.db"))
    return app.test_client()


def register(browser, name="asha"):
    form = {"name": name, "email": f"{name}@example.com", "password": "a long password"}
    return browser.post("/register", data=form)


def test_who_registers_is_signed_in(browser):
    assert register(browser).headers["Location"] == "/"
    assert "asha" in browser.get("/").text


def test_a_name_is_given_once(browser):
    register(browser)
    assert "This name is taken." in register(browser).text


def test_log_in_and_out(browser):
    register(browser)
    browser.post("/logout")
    assert "asha" not in browser.get("/").text
    assert "Incorrect" in browser.post("/login", data={"name": "asha", "password": "x"}).text
    sent = browser.post("/login?next=/notices/1", data={"name": "asha", "password": "a long password"})
    assert sent.headers["Location"] == "/notices/1"


def test_notices_are_posted_by_users_only(browser):
    assert browser.post("/notices", data={"body": "x"}).headers["Location"] == "/login?next=/notices"
    register(browser)
    browser.post("/notices", data={"body": "Choir on Friday"})
    assert "Choir on Friday, asha" in browser.get("/").text
    assert browser.get("/notices/1").text == "Choir on Friday"


def test_error_pages_are_the_boards(browser):
    missing, broken = browser.get("/notices/7"), browser.get("/broken")
    assert (missing.status_code, "No such page on this board" in missing.text) == (404, True)
    assert (broken.status_code, broken.text) == (500, "The board fell off the wall.")
