"""Changing name, email address and password, and deleting the account."""

import re

import pytest

from storefront.accounts import service
from storefront.checkout import State
from storefront.emails.models import Email
from storefront.emails.rendering import render
from storefront.extensions import db
from storefront.models import EmailChange, Order, PlanAccess, User
from tests.samples import customer
from tests.shop_fixtures import NOW, PASSWORD

NEW_PASSWORD = "a much better sentence"
NEW_EMAIL = "asha.rao@example.com"


@pytest.fixture
def link(app):
    """The path of the link in the latest email."""

    def latest():
        with app.app_context():
            email = db.session.query(Email).order_by(Email.id.desc()).first()
            return re.search(r"http://127.0.0.1:8000(/account/email/\S+)", render(email).text)[1]

    return latest


def test_every_form_is_on_one_page_with_ids_of_its_own(asha):
    page = asha.get("/account/settings").text
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<form") == 5  # with "Sign out" and the languages


# -- name ---------------------------------------------------------------------------------------------


def test_name_is_changed_here_and_at_flexprice(asha, rows, flexprice):
    flexprice.answer("PUT", "/customers", customer())
    assert asha.post("/account/settings/name", name=" Asha  R. ").location == "/account/settings"
    assert rows(User)[0].name == "Asha R."
    assert flexprice.sent() == {"name": "Asha R.", "email": "asha@example.com"}


def test_name_is_changed_while_flexprice_is_down(asha, rows, flexprice):
    flexprice.answer("PUT", "/customers", {"error": "down"}, 503)
    assert asha.post("/account/settings/name", name="Asha R.").status_code == 303
    assert rows(User)[0].name == "Asha R."


def test_impossible_name_is_refused(asha, rows):
    answer = asha.post("/account/settings/name", name="https://evil.example")
    assert answer.status_code == 422
    assert "A name cannot contain a link." in answer.text
    assert rows(User)[0].name == "Asha Rao"


# -- email --------------------------------------------------------------------------------------------


def ask_for(browser, email=NEW_EMAIL, password=PASSWORD):
    return browser.post("/account/settings/email", email=email, current_password=password)


def test_address_changes_when_the_link_is_used(asha, rows, flexprice, link):
    assert ask_for(asha).status_code == 303
    assert rows(User)[0].email == "asha@example.com"
    [email] = rows(Email)
    assert (email.kind, email.recipient) == ("confirm_email", NEW_EMAIL)

    flexprice.answer("PUT", "/customers", customer())
    assert NEW_EMAIL in asha.get(link()).text
    assert asha.post(link()).status_code == 303
    user = rows(User)[0]
    assert (user.email, user.email_confirmed_at is not None) == (NEW_EMAIL, True)
    assert flexprice.sent()["email"] == NEW_EMAIL


def test_old_address_is_told(asha, rows, flexprice, link):
    ask_for(asha)
    flexprice.answer("PUT", "/customers", customer())
    asha.post(link())
    assert [(email.kind, email.recipient) for email in rows(Email)][1:] == [
        ("email_changed", "asha@example.com")
    ]


def test_link_works_once(asha, flexprice, link):
    ask_for(asha)
    used = link()
    flexprice.answer("PUT", "/customers", customer())
    asha.post(used)
    assert asha.get(used).status_code == 404
    assert asha.post(used).status_code == 404


def test_second_request_ends_the_first_link(asha, link):
    ask_for(asha)
    first = link()
    ask_for(asha, "other@example.com")
    assert asha.get(first).status_code == 404
    assert asha.get(link()).status_code == 200


def test_link_is_not_the_page_of_any_token(asha):
    assert asha.get("/account/email/nonsense").status_code == 404


@pytest.mark.parametrize("email", ["ben@example.com", "BEN@example.com"])
def test_taken_address_is_refused(asha, add_user, rows, email):
    add_user("ben@example.com")
    answer = ask_for(asha, email)
    assert (answer.status_code, "exists already" in answer.text) == (422, True)
    assert rows(EmailChange) == []


def test_address_that_is_taken_later_stays_with_its_owner(asha, add_user, rows, link):
    ask_for(asha)
    add_user(NEW_EMAIL)
    assert asha.post(link()).status_code == 303
    assert [user.email for user in rows(User)] == ["asha@example.com", NEW_EMAIL]


@pytest.mark.parametrize("path", ["email", "password"])
def test_current_password_is_needed(asha, rows, path):
    typed = {"email": NEW_EMAIL, "password": NEW_PASSWORD, "current_password": "not mine at all"}
    answer = asha.post(f"/account/settings/{path}", **typed)
    assert (answer.status_code, "This is not your current password." in answer.text) == (422, True)
    assert rows(EmailChange) == []
    assert asha.sign_in().status_code == 303


# -- password -----------------------------------------------------------------------------------------


def test_new_password_signs_out_every_other_browser(asha, open_browser):
    other = open_browser()
    other.sign_in()
    typed = {"password": NEW_PASSWORD, "current_password": PASSWORD}
    assert asha.post("/account/settings/password", **typed).status_code == 303
    assert asha.get("/account").status_code == 200
    assert other.get("/account").status_code == 302
    assert open_browser().sign_in(password=NEW_PASSWORD).status_code == 303


def test_common_password_is_refused(asha):
    typed = {"password": "1234567890", "current_password": PASSWORD}
    assert "too common" in asha.post("/account/settings/password", **typed).text


# -- deleting -----------------------------------------------------------------------------------------


def test_account_is_deleted_and_orders_stay(asha, app, rows, add_order):
    add_order(state=State.EXPIRED, customer_name="Asha Rao", customer_email="asha@example.com")
    asha.post("/forgot-password", email="asha@example.com")
    assert asha.post("/account/delete", current_password=PASSWORD).location == "/"
    user, order = rows(User)[0], rows(Order)[0]
    assert (user.name, user.email) == ("Deleted account", f"deleted-{user.key}@deleted.invalid")
    assert (order.user_id, order.customer_name, order.customer_email) == (user.id, None, None)
    assert rows(Email) == []
    assert asha.get("/account").status_code == 302
    assert asha.sign_in().status_code == 422
    with app.app_context():
        assert service.authenticate(user.email, "") is None


def test_address_of_a_deleted_account_is_free_again(asha, flexprice):
    asha.post("/account/delete", current_password=PASSWORD)
    flexprice.answer("POST", "/customers", customer(), 201)
    new = {"name": "Asha", "email": "asha@example.com", "password": NEW_PASSWORD}
    assert asha.post("/sign-up", **new).status_code == 303


@pytest.mark.parametrize("state", [State.PLACED, State.AWAITING_PAYMENT, State.PAID, State.HELD])
def test_open_order_keeps_the_account(asha, rows, add_order, state):
    add_order(state=state)
    assert "An order is open" in asha.get("/account/delete").text
    answer = asha.post("/account/delete", current_password=PASSWORD)
    assert answer.status_code == 409
    assert rows(User)[0].deleted_at is None


def test_active_plan_keeps_the_account(asha, app, rows, add_order):
    add_order(state=State.FULFILLED, paid_at=NOW, fulfilled_at=NOW)
    with app.app_context():
        of = {"user_id": 1, "order_id": 1, "plan_id": "plan_01", "plan_name": "Pro"}
        db.session.add(PlanAccess(granted_at=NOW, **of))
        db.session.commit()
    assert "A plan is active." in asha.get("/account/delete").text
    assert asha.post("/account/delete", current_password=PASSWORD).status_code == 409
    assert rows(User)[0].deleted_at is None


def test_wrong_password_deletes_nothing(asha, rows):
    assert asha.post("/account/delete", current_password="not mine at all").status_code == 422
    assert rows(User)[0].deleted_at is None


def test_nothing_is_emailed_to_a_deleted_account(app, asha, rows, add_order):
    from storefront.checkout import orders
    from storefront.checkout.context import commit
    from storefront.checkout.states import Trigger

    add_order(state=State.EXPIRED)
    asha.post("/account/delete", current_password=PASSWORD)
    with app.app_context():
        assert orders.transition(db.session.get_one(Order, 1), Trigger.REFUND_SEEN, by="test")
        commit()
    assert rows(Email) == []
