"""The emails' own loop: sent once, tried again with growing gaps, given up in the end."""

import smtplib
import threading
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from storefront.checkout import State
from storefront.checkout.context import db_now
from storefront.emails import outbox, smtp, worker
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import Order, PasswordReset, User
from tests.unit.emails.smtp_server import MailServer


@pytest.fixture
def mail_server():
    server = MailServer()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def app(make_app, mail_server):
    """A shop with a mail server."""
    return make_app(MAIL_URL=f"smtp://127.0.0.1:{mail_server.port}")


@pytest.fixture
def owe(context, add_user, add_order):
    """Owes an email about a fulfilled order."""
    add_user()

    def add(kind="welcome", **columns):
        add_order(state=State.FULFILLED, plan_id=f"plan_{db.session.query(Email).count()}", **columns)
        order = db.session.query(Order).order_by(Order.id.desc()).first()
        outbox.add(Email(kind=kind, user_id=1, order_id=order.id), outbox.LIFETIME)
        db.session.commit()

    return add


@pytest.fixture
def due():
    """Makes the only email due again, as if its time had come."""

    def again():
        db.session.query(Email).one().next_attempt_at = db_now() - timedelta(seconds=1)
        db.session.commit()

    return again


def test_an_email_is_sent_once(owe, mail_server, rows):
    owe()
    assert worker.run_once() == 1
    assert worker.run_once() == 0
    [email] = rows(Email)
    assert (email.state, email.attempts, email.next_attempt_at, email.error) == ("sent", 1, None, None)
    assert len(mail_server.messages) == 1
    assert f"<{email.message_key}@shop.example>".encode() in mail_server.messages[0]


def test_kept_emails_go_nowhere_and_count_as_sent(make_app, owe, mail_server, rows):
    owe()
    with make_app(MAIL_URL="keep:").app_context():
        assert worker.run_once() == 1
        db.session.remove()
    assert rows(Email)[0].state == "sent"
    assert mail_server.commands == []


@pytest.mark.thorough
@pytest.mark.parametrize("answer", ["450 mailbox busy", "421 closing"])
def test_gaps_grow_up_to_an_hour(owe, mail_server, due, rows, answer):
    mail_server.answers["RCPT"] = answer
    owe()
    gaps = []
    for _ in range(12):
        assert worker.run_once() == 1
        [email] = rows(Email)
        assert email.state == "queued"
        gaps.append(round((email.next_attempt_at - db_now()).total_seconds(), -1))
        due()
    assert gaps == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    mail_server.answers.clear()
    assert worker.run_once() == 1
    assert rows(Email)[0].state == "sent"


def test_the_ten_thousandth_attempt_does_not_overflow(owe, mail_server, rows):
    mail_server.answers["RCPT"] = "450 mailbox busy"
    owe()
    db.session.query(Email).one().attempts = 10_000
    db.session.commit()
    worker.run_once()
    assert rows(Email)[0].state == "queued"


def test_a_refusal_for_good_is_final_and_shown(owe, mail_server, rows):
    mail_server.answers["RCPT"] = "550 no such user"
    owe()
    assert worker.run_once() == 1
    assert worker.run_once() == 0
    [email] = rows(Email)
    assert (email.state, email.error, email.next_attempt_at) == ("failed", "recipient refused (550)", None)


def test_an_expired_link_is_not_sent(context, add_user, mail_server, rows):
    from storefront.accounts import service

    add_user()
    service.request_reset("asha@example.com")
    db.session.query(Email).one().expires_at = db_now() - timedelta(seconds=1)
    db.session.commit()
    assert worker.run_once() == 1
    [email] = rows(Email)
    assert (email.state, email.error) == ("failed", "expired before it could be sent")
    assert mail_server.commands == []
    assert len(rows(PasswordReset)) == 1


def test_an_email_of_a_link_expires_with_it(context, add_user, rows):
    from storefront.accounts import service

    add_user()
    service.request_reset("asha@example.com")
    assert rows(Email)[0].expires_at - rows(Email)[0].created_at == service.RESET_LIFETIME


@pytest.mark.parametrize(
    ("kind", "columns", "error"),
    [
        ("no_such_kind", {}, "TemplateNotFound"),
        ("welcome", {"amount_text": "a word"}, "InvalidOperation"),
        ("welcome", {"invoice_total_text": "?"}, "InvalidOperation"),
    ],
)
def test_an_email_that_cannot_be_rendered_waits_alone(owe, mail_server, rows, kind, columns, error):
    """Kind: rendering belongs to sending."""
    owe(kind, **columns)
    owe("welcome")
    assert worker.run_once() == 2
    broken, other = rows(Email)
    assert (broken.state, broken.error) == ("queued", error)
    assert other.state == "sent"
    assert {order.state for order in rows(Order)} == {State.FULFILLED}


def test_an_email_in_progress_is_left_to_its_worker(owe, mail_server, rows):
    owe()
    from storefront.checkout.worker import LEASE, claim_due

    assert claim_due(Email)
    assert worker.run_once() == 0
    email = db.session.query(Email).one()
    assert timedelta(0) < email.next_attempt_at - db_now() <= LEASE
    email.next_attempt_at = db_now() - timedelta(seconds=1)  # that worker died
    db.session.commit()
    assert worker.run_once() == 1
    assert len(mail_server.messages) == 1


@pytest.mark.parametrize(
    "failure",
    [
        OSError("secret"),
        smtplib.SMTPDataError(450, b"secret"),
        TimeoutError(),
        RuntimeError("secret"),
        MemoryError(),
    ],
)
def test_any_failure_is_written_down_by_its_name(owe, rows, monkeypatch, failure):
    def fail(*_args):
        raise failure

    monkeypatch.setattr(smtp, "send", fail)
    owe()
    assert worker.run_once() == 1
    assert (rows(Email)[0].state, rows(Email)[0].error) == ("queued", type(failure).__name__)


@pytest.mark.parametrize(
    "failure", [OperationalError("SELECT 1", {}, Exception("away")), RuntimeError("odd")]
)
def test_no_failure_ends_the_loop(context, monkeypatch, caplog, failure):
    turns, stop = [], threading.Event()

    def run_once():
        turns.append(None)
        if len(turns) == 3:
            stop.set()
        raise failure

    monkeypatch.setattr(worker, "run_once", run_once)
    monkeypatch.setattr("storefront.checkout.worker.ERROR_INTERVAL_S", 0.01)
    worker.run_forever(stop)
    assert len(turns) == 3
    assert "The worker's turn failed" in caplog.text


def test_no_transaction_is_open_while_the_mail_server_is_asked(owe, monkeypatch):
    def send(*_args):
        assert not db.session().in_transaction()

    monkeypatch.setattr(smtp, "send", send)
    owe()
    worker.run_once()
    assert db.session.query(Email).one().state == "sent"


def test_the_command_sends_what_is_due_and_ends(app, owe, mail_server):
    owe()
    result = app.test_cli_runner().invoke(args=["emails", "worker", "--once"])
    assert result.output == "1 emails processed.\n"
    assert len(mail_server.messages) == 1


def test_a_test_email_is_sent_at_once(context, mail_server):
    worker.send_test_email("asha@example.com")
    assert b"Subject: Test email from Kestrel" in mail_server.messages[0]


def test_no_address_or_text_is_logged(owe, mail_server, caplog):
    mail_server.answers["RCPT"] = "450 asha@example.com is busy"
    owe()
    worker.run_once()
    assert "Email 1" in caplog.text
    assert "asha" not in caplog.text
    assert db.session.query(User).one().email == "asha@example.com"
