"""MAIL_URL=sandbox: puts emails into the sandbox's mailbox."""

from email import message_from_bytes

import pytest
import responses

from storefront.emails import mailbox, outbox, worker
from storefront.emails.models import Email
from storefront.extensions import db
from tests.samples import API

MAILBOX = API.removesuffix("/v1") + "/_sandbox/mail"


@pytest.fixture
def app(make_app):
    return make_app(MAIL_URL="sandbox:")


@pytest.fixture
def owed(context, add_user, add_order):
    """An email about a fulfilled order."""
    add_user()
    add_order(state="fulfilled")
    outbox.add(Email(kind="welcome", user_id=1, order_id=1), outbox.LIFETIME)
    db.session.commit()


@pytest.mark.usefixtures("owed")
def test_the_whole_message_is_posted(app):
    with responses.RequestsMock() as wire:
        wire.add("POST", MAILBOX, json={"id": 1}, status=201)
        assert worker.run_once() == 1
        (call,) = wire.calls
    message = message_from_bytes(call.request.body)
    assert (call.request.headers["Content-Type"], message["To"]) == ("message/rfc822", "asha@example.com")
    assert [part.get_content_type() for part in message.walk()][1:] == ["text/plain", "text/html"]
    assert db.session.query(Email).one().sent_at


@pytest.mark.usefixtures("owed")
def test_a_mailbox_that_is_away_is_tried_again(app):
    with responses.RequestsMock() as wire:
        wire.add("POST", MAILBOX, status=502)
        worker.run_once()
    email = db.session.query(Email).one()
    assert (email.state, email.error) == ("queued", "HTTPError")


def test_the_mailbox_is_beside_the_api():
    assert mailbox.address("http://127.0.0.1:8001/v1/") == "http://127.0.0.1:8001/_sandbox/mail"
