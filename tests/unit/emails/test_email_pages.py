"""/emails: one's own; an operator sees all but the links that open somebody's account."""

import pytest

from storefront.emails import outbox
from storefront.emails.models import Email
from storefront.extensions import db


@pytest.fixture
def email_to(app, add_order):
    """Owes a user a welcome email, and returns its id."""

    def add(user_id, plan_name="Pro"):
        ref = add_order(user_id, plan_name=plan_name)
        with app.app_context():
            from storefront.models import Order

            order = db.session.query(Order).filter_by(ref=ref).one()
            email = Email(kind="welcome", user_id=user_id, order_id=order.id)
            outbox.add(email, outbox.LIFETIME)
            db.session.commit()
            return email.id

    return add


def test_a_user_reads_their_own_emails_only(asha, add_user, email_to):
    ben = add_user("ben@example.com", "Ben")
    mine, theirs = email_to(1, "Pro"), email_to(ben, "Studio")
    page = asha.get("/emails").text
    assert "Your Pro plan is active" in page
    assert "Studio" not in page
    assert "Queued" in page
    assert "Thank you." in asha.get(f"/emails/{mine}").text
    assert asha.get(f"/emails/{theirs}").status_code == 404


def test_an_operator_reads_all_but_the_links(operator, open_browser, add_user, email_to, rows):
    ben = add_user("ben@example.com", "Ben")
    welcome = email_to(ben)
    open_browser().post("/forgot-password", email="ben@example.com")
    reset = rows(Email)[-1].id
    assert operator.get(f"/emails/{welcome}").status_code == 200
    assert operator.get(f"/emails/{reset}").status_code == 404
    assert "Choose a new password" not in operator.get("/emails").text
    owner = open_browser()
    owner.sign_in("ben@example.com")
    assert "/reset-password/" in owner.get(f"/emails/{reset}").text


def test_without_emails_the_page_says_so(asha):
    assert "No emails yet." in asha.get("/emails").text


def test_an_unknown_email_is_not_found(asha):
    for path in ("/emails/99", "/emails/0", "/emails/x"):
        assert asha.get(path).status_code == 404


def test_html_is_shown_in_a_frame_with_a_policy_of_its_own(asha, email_to):
    mine = email_to(1)
    assert f'src="/emails/{mine}/html"' in asha.get(f"/emails/{mine}").text
    frame = asha.get(f"/emails/{mine}/html")
    assert "<h1" in frame.text
    policy = frame.headers["Content-Security-Policy"]
    assert "style-src 'unsafe-inline'; frame-ancestors 'self'" in policy
    assert "script-src" not in policy
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'none'" in asha.get(f"/emails/{mine}").headers["Content-Security-Policy"]


def test_frame_of_another_user_is_not_found(asha, add_user, email_to):
    assert asha.get(f"/emails/{email_to(add_user('ben@example.com'))}/html").status_code == 404


def test_operator_sees_no_link_that_changes_an_account(operator, asha, rows):
    from tests.shop_fixtures import PASSWORD

    asha.post("/account/settings/email", email="new@example.com", current_password=PASSWORD)
    email = rows(Email)[-1]
    for path in (f"/emails/{email.id}", f"/emails/{email.id}/html"):
        assert asha.get(path).status_code == 200
        assert operator.get(path).status_code == 404
