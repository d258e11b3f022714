"""The operator desk in a test: Asha (user 1) buys, Olga (user 2) is the operator."""

import re
from datetime import UTC, datetime

import pytest

from storefront.checkout import State
from storefront.extensions import db
from storefront.models import WebhookEvent

OPENED = {
    "state": State.AWAITING_PAYMENT,
    "session_id": "cs_01",
    "flexprice_customer_id": "cust_01",
    "payment_id": "pay_01",
    "invoice_id": "inv_01",
}


def now():
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def desk(add_user, open_browser):
    """Olga's browser."""
    add_user()
    add_user("olga@example.com", "Olga", operator=True)
    browser = open_browser()
    assert browser.sign_in("olga@example.com").status_code == 303
    return browser


@pytest.fixture
def press(desk):
    """Press a button of a page: send its form as it is in the page."""

    def send(page, action, **typed):
        forms = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]+)"[^>]*>(.*?)</form>', page.text, re.S)
        where, body = next((where, body) for where, body in forms if where.endswith(action))
        fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', body))
        answer = desk.raw_post(where, fields | typed)
        assert answer.status_code == 303
        return desk.get(answer.location)

    return send


@pytest.fixture
def page_of(desk):
    return lambda ref: desk.get(f"/operator/orders/{ref}")


@pytest.fixture
def add_rows(app):
    def add(*made):
        with app.app_context():
            db.session.add_all(made)
            db.session.commit()

    return add


@pytest.fixture
def make_event():
    def event(**values):
        at = now()
        return WebhookEvent(
            **{
                "id": "msg_1",
                "event_type": "checkout.session.completed",
                "object_id": "cs_01",
                "customer_id": "cust_01",
                "signed": True,
                "received_at": at,
                "next_attempt_at": None if "processed_at" in values else at,
                "attempts": 0,
            }
            | values
        )

    return event


@pytest.fixture
def flashed():
    def message(page):
        return re.search(r'<p class="flash[^"]*" role="status">(.*?)</p>', page.text, re.S)[1]

    return message


@pytest.fixture
def send_emails(app):
    """One turn of the email worker."""
    from storefront.emails import worker

    def turn():
        with app.app_context():
            return worker.run_once()

    return turn
