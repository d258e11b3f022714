"""Letters: owed with the sale, posted until the mail server takes them."""

import re
import smtplib
from datetime import timedelta

import pytest

from storefront import lifesigns, outbox, worker
from storefront.database import writing
from storefront.extensions import db
from storefront.models import Letter, Order, Shopper
from storefront.settings import Settings


class FakeServer:
    """Stands in for smtplib.SMTP: notes what is asked of it."""

    log = []
    failure = None

    def __init__(self, host, port, timeout):
        self.log.append((type(self).__name__, host, port, timeout))
        if self.failure:
            raise self.failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.log.append("closed")

    def starttls(self):
        self.log.append("starttls")

    def login(self, user, password):
        self.log.append(("login", user, password))

    def send_message(self, message):
        self.log.append(message)


class FakeSecureServer(FakeServer):
    pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(FakeServer, "log", [])
    monkeypatch.setattr(FakeServer, "failure", None)
    monkeypatch.setattr(smtplib, "SMTP", FakeServer)
    monkeypatch.setattr(smtplib, "SMTP_SSL", FakeSecureServer)
    return FakeServer


@pytest.fixture
def owe(context, enrol, order_of, samples):
    """Owe a letter of a kind; True when it is a new one."""
    enrol()
    order_of()

    def write(kind="welcome"):
        with writing():
            order = db.session.get_one(Order, 1)
            return outbox.write(kind, db.session.get_one(Shopper, 1), samples.NOW, order)

    return write


@pytest.fixture
def letter(owe):
    owe()
    return db.session.get_one(Letter, 1)


@pytest.mark.parametrize("kind", ["welcome", "payment_failed"])
def test_a_letter_is_written_once_for_an_order(owe, rows, kind):
    assert [owe(kind), owe(kind)] == [True, False]
    (letter,) = rows(Letter)
    assert (letter.kind, letter.to, letter.posted_at) == (kind, "asha@example.com", None)
    assert letter.subject.strip()
    assert "\n" not in letter.subject
    assert "Asha Rao" in letter.body_text
    assert "Asha Rao" in letter.body_html


def test_every_letter_about_an_order_is_practised_and_none_is_kept(context, rows):
    loaded = context.jinja_env.cache
    loaded.clear()
    outbox.practise()
    read = {name for _, name in loaded}
    written = {name for name in context.jinja_env.list_templates() if re.match("email/[^_]", name)}
    assert written - read == {name for name in written if name.startswith("email/password_reset/")}
    assert rows(Letter) == []


def test_a_name_is_text_in_the_letters_markup(context, enrol, samples):
    enrol()
    with writing():
        shopper = db.session.get_one(Shopper, 1)
        shopper.name = "<b>Asha</b>"
        outbox.write("password_reset", shopper, samples.NOW, reset_url="http://127.0.0.1:8000/x")
    letter = db.session.get_one(Letter, 1)
    assert "<b>Asha" not in letter.body_html
    assert "<b>Asha</b>" in letter.body_text


def test_a_sale_that_is_undone_owes_no_letter(context, enrol, samples, rows):
    enrol()

    def sell_and_fail():
        with writing():
            outbox.write("password_reset", db.session.get_one(Shopper, 1), samples.NOW, reset_url="x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        sell_and_fail()
    assert rows(Letter) == []


def settings(env, url):
    return Settings.from_env(env | {"MAIL_URL": url})


def test_kept_letters_go_nowhere_and_count_as_posted(letter, server, samples):
    assert worker.post_letters(samples.NOW) == 1
    assert (letter.posted_at, letter.state) == (samples.NOW, "posted")
    assert server.log == []


@pytest.mark.parametrize(
    ("url", "talk"),
    [
        ("smtp://mail.example", [("FakeServer", "mail.example", 587, 10)]),
        ("smtp://mail.example:25", [("FakeServer", "mail.example", 25, 10)]),
        (
            "smtp://us%40er:p%2Fw@mail.example",
            [("FakeServer", "mail.example", 587, 10), "starttls", ("login", "us@er", "p/w")],
        ),
        (
            "smtps://user:pw@mail.example",
            [("FakeSecureServer", "mail.example", 465, 10), ("login", "user", "pw")],
        ),
    ],
)
def test_a_letter_is_handed_to_the_mail_server(letter, server, env, url, talk):
    outbox.post(letter, settings(env, url))
    *said, message, last = server.log
    assert (said, last) == (talk, "closed")
    assert (message["From"], message["To"]) == ("shop@shop.example", "asha@example.com")
    assert message["Subject"] == letter.subject
    assert message["Message-ID"] == f"<{letter.message_id}@shop.example>"
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().strip() == letter.body_text.strip()


@pytest.fixture
def posting(build, server, letter):
    """A shop with a mail server."""
    app = build(MAIL_URL="smtp://mail.example")
    with app.app_context():
        yield worker.post_letters


@pytest.mark.parametrize(
    "failure", [OSError("secret"), smtplib.SMTPDataError(450, b"secret"), TimeoutError()]
)
def test_a_letter_that_could_not_be_posted_is_tried_again_later_and_later(posting, server, samples, failure):
    server.failure = failure
    letter, now, gaps = db.session.get_one(Letter, 1), samples.NOW, []
    for _ in range(12):
        assert posting(now) == 1
        assert (letter.posted_at, letter.claimed_at, letter.error) == (None, None, type(failure).__name__)
        assert posting(letter.next_try_at - timedelta(seconds=1)) == 0
        gaps.append((letter.next_try_at - now).total_seconds())
        now = letter.next_try_at
    assert gaps == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    server.failure = None
    assert posting(now) == 1
    assert (letter.posted_at, letter.error, letter.attempts) == (now, None, 13)
    assert posting(now + timedelta(days=1)) == 0


def test_a_letter_in_the_hands_of_another_worker_is_left_until_that_one_must_hang(posting, server, samples):
    letter = db.session.get_one(Letter, 1)
    with writing():
        assert outbox.claim(letter, samples.NOW)
        assert not outbox.claim(letter, samples.NOW)
    assert posting(samples.NOW + lifesigns.CLAIM_LASTS) == 0
    assert posting(samples.NOW + lifesigns.CLAIM_LASTS + timedelta(seconds=1)) == 1
