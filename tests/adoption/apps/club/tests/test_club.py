"""The club's own tests. They know nothing of payments."""

import io
import re

import pytest
from club import create_app
from club.extensions import db


@pytest.fixture(params=["before", "after", "off"])
def app(request, tmp_path):
    app = create_app(
        {
            "TESTING": True,
            "PROPAGATE_EXCEPTIONS": False,
            "SQLALCHEMY_DATABASE_URI": "sqlite://",
            "UPLOADS": str(tmp_path / "uploads"),
            "CSRF": request.param,
        }
    )
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def browser(app):
    return app.test_client()


def token(browser, path):
    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(path).text)
    return found[1] if found else ""


def join(browser):
    form = {"name": "Asha Rao", "mail": "asha@example.com", "password": "a long password"}
    return browser.post("/join", data=form | {"csrf_token": token(browser, "/join")})


def test_members_join_and_are_greeted(browser):
    assert join(browser).headers["Location"] == "/"
    assert "Asha Rao" in browser.get("/").text


def test_wrong_password_is_refused(browser):
    form = {"mail": "asha@example.com", "password": "wrong", "csrf_token": token(browser, "/sign-in")}
    assert "Incorrect email or password" in browser.post("/sign-in", data=form).text


def test_documents_need_a_sign_in(browser):
    assert browser.get("/documents").headers["Location"].startswith("/sign-in?next=")


def test_five_megabytes_are_uploaded(browser):
    join(browser)
    file = (io.BytesIO(b"x" * 5 * 1024 * 1024), "minutes.pdf")
    sent = browser.post("/documents", data={"file": file, "csrf_token": token(browser, "/documents")})
    assert sent.status_code == 302
    assert "minutes.pdf, 5242880" in browser.get("/documents").text


def test_more_than_six_megabytes_are_refused(browser):
    join(browser)
    wanted = token(browser, "/documents")
    file = (io.BytesIO(b"x" * 7 * 1024 * 1024), "minutes.pdf")
    assert browser.post("/documents", data={"file": file, "csrf_token": wanted}).status_code in (400, 413)


def test_forms_need_their_token(app, browser):
    form = {"name": "Asha", "mail": "a@example.com", "password": "x"}
    assert browser.post("/join", data=form).status_code == (302 if app.config["CSRF"] == "off" else 400)


def test_api_answers_json_without_a_token(browser):
    join(browser)
    assert browser.get("/api/members/1").json == {"id": 1, "name": "Asha Rao", "plan": None, "documents": 0}
    assert browser.post("/api/echo", json={"a": 1}).json == {"a": 1}


def test_each_host_has_its_home(browser):
    assert "Welcome to the club" in browser.get("/", base_url="http://club.test").text
    assert "Documents of the club" in browser.get("/", base_url="http://docs.club.test").text


def test_error_pages_are_the_clubs(browser):
    missing, broken = browser.get("/nowhere"), browser.get("/broken")
    assert (missing.status_code, "does not exist" in missing.text) == (404, True)
    assert (broken.status_code, "broke at the club" in broken.text) == (500, True)


def test_every_page_has_the_clubs_policy(browser):
    for path in ("/", "/nowhere", "/api/members/1"):
        assert browser.get(path).headers["Content-Security-Policy"].startswith("default-src 'self'")
