"""A new password by email: a single-use link that expires, kept as a hash."""

import hashlib
import re
from datetime import timedelta

import pytest

from storefront.accounts import service
from storefront.emails.models import Email
from storefront.emails.rendering import render
from storefront.extensions import db
from storefront.models import PasswordReset, User

NEW = "another horse battery"


@pytest.fixture
def links(app):
    """The links in all emails so far, the oldest first."""

    def read():
        with app.app_context():
            emails = db.session.query(Email).filter_by(kind="password_reset").order_by(Email.id)
            return [re.search(r"(/reset-password/\S+)", render(email).text)[1] for email in emails]

    return read


@pytest.fixture
def link(browser, add_user, links):
    """The path in the email to somebody who forgot the password."""
    add_user()
    assert browser.post("/forgot-password", email="Asha@example.com").location == "/sign-in"
    (path,) = links()
    return path


def test_the_link_works_once(browser, link):
    assert browser.get(link).status_code == 200
    assert browser.post(link, password=NEW).location == "/sign-in"
    assert browser.get(link).status_code == 404
    assert browser.post(link, password="a third horse battery").status_code == 404
    assert browser.sign_in().status_code == 422
    assert browser.sign_in(password=NEW).status_code == 303


def test_a_new_password_signs_out_everywhere(open_browser, browser, link):
    other = open_browser()
    other.sign_in()
    assert other.get("/account").status_code == 200
    browser.post(link, password=NEW)
    assert other.get("/account").status_code == 302


def test_every_other_link_ends_with_the_first_used(browser, link, links):
    browser.post("/forgot-password", email="asha@example.com")
    second = links()[-1]
    assert second != link
    browser.post(link, password=NEW)
    assert browser.get(second).status_code == 404


def test_a_refused_password_keeps_the_link(browser, link):
    assert browser.post(link, password="short").status_code == 422
    assert browser.get(link).status_code == 200


def test_an_expired_link_is_refused(app, browser, link):
    with app.app_context():
        db.session.query(PasswordReset).one().expires_at -= service.RESET_LIFETIME
        db.session.commit()
    assert browser.get(link).status_code == 404
    assert browser.post(link, password=NEW).status_code == 404


def test_an_altered_link_is_refused(browser, link):
    assert browser.get(link[:-2]).status_code == 404
    assert browser.get("/reset-password/x").status_code == 404


def test_of_two_who_use_the_link_at_once_one_succeeds(app, link):
    token = link.rpartition("/")[2]
    with app.app_context():
        reset = service.find_reset(token)
        assert service.reset_password(token, "hash of one")
        db.session.expunge_all()
        service_found = service.find_reset
        try:
            service.find_reset = lambda _token: db.session.merge(reset)  # both had seen that it works
            assert not service.reset_password(token, "hash of the other")
        finally:
            service.find_reset = service_found
        assert db.session.get_one(User, 1).password_hash == "hash of one"


def test_the_database_holds_no_token(link, rows):
    """Kind: secrets at rest."""
    token = link.rpartition("/")[2]
    (reset,) = rows(PasswordReset)
    assert reset.token_hash == hashlib.sha256(token.encode()).hexdigest()
    stored = [
        str(getattr(row, column.name)) for row in (reset, *rows(Email)) for column in row.__table__.columns
    ]
    assert not any(token in value for value in stored)
    assert reset.expires_at - reset.created_at == timedelta(hours=1)


def test_the_link_confirms_the_address(browser, link, rows):
    assert rows(User)[0].email_confirmed_at is None
    browser.post(link, password=NEW)
    assert rows(User)[0].email_confirmed_at is not None


def test_known_and_unknown_addresses_look_alike(browser, add_user, rows):
    add_user()
    known = browser.post("/forgot-password", email="asha@example.com")
    page = browser.get("/sign-in").text
    unknown = browser.post("/forgot-password", email="nobody@example.com")
    assert (known.status_code, known.location) == (unknown.status_code, unknown.location)
    said = "If an account exists for that email, we&#39;ve sent a reset link."
    assert said in page
    assert said in browser.get("/sign-in").text
    assert [email.user_id for email in rows(Email)] == [1]
    assert len(rows(PasswordReset)) == 2, "an unknown address costs as much work"


def test_a_similar_address_gets_its_own_email_only(browser, add_user, rows):
    add_user("asha@example.com", operator=True)
    other = add_user("\u0430sha@example.com")  # Cyrillic
    browser.post("/forgot-password", email="\u0430sha@example.com")
    assert [email.user_id for email in rows(Email)] == [other]


def test_expired_rows_of_unknown_addresses_are_deleted(app, browser, rows):
    browser.post("/forgot-password", email="nobody@example.com")
    with app.app_context():
        db.session.query(PasswordReset).one().expires_at -= timedelta(hours=2)
        db.session.commit()
    browser.post("/forgot-password", email="nobody@example.com")
    assert len(rows(PasswordReset)) == 1


def test_a_reset_is_stored_where_no_emails_package_listens(app, browser, add_user, rows):
    from storefront.accounts.signals import password_reset_requested

    add_user()
    receivers = dict(password_reset_requested.receivers)
    password_reset_requested.receivers.clear()
    try:
        assert browser.post("/forgot-password", email="asha@example.com").status_code == 303
    finally:
        password_reset_requested.receivers.update(receivers)
    assert rows(Email) == []
    assert len(rows(PasswordReset)) == 1
