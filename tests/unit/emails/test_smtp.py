"""Sending by SMTP, over real sockets: what is accepted, what is refused for good, how long it may take."""

import email
import smtplib
import ssl
import time
from email import policy
from email.utils import parsedate_to_datetime

import pytest

from storefront.emails import smtp
from tests.unit.emails.smtp_server import MailServer, make_certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder, name) for name in ("127.0.0.1", "other.example")}


@pytest.fixture
def serve():
    servers = []

    def start(**options):
        servers.append(MailServer(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def trusted(certificates, monkeypatch):
    """The system trusts the certificates of the tests; what is left to check is the name."""

    def trust(name):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates[name][0]))

    return trust


def message(**changes):
    values = {
        "sender": "shop@shop.example",
        "sender_name": "Kestrel",
        "recipient": "asha@example.com",
        "subject": "Your Pro plan is active",
        "text": "Hello,\n\nनमस्ते.\n",
        "html": "<p>Hello</p>",
        "message_key": "abc",
    }
    return smtp.compose(**(values | changes))


def received(server):
    [raw] = server.messages
    return email.message_from_bytes(raw, policy=policy.default)


# -- the message --------------------------------------------------------------------------------------


def test_the_message_arrives_as_composed(serve):
    """Kind: emails as RFC 5322 wants them."""
    server = serve()
    smtp.send(message(), f"smtp://127.0.0.1:{server.port}")
    found = received(server)
    assert (found["From"], found["To"]) == ("Kestrel <shop@shop.example>", "asha@example.com")
    assert found["Subject"] == "Your Pro plan is active"
    assert found["Message-ID"] == "<abc@shop.example>"
    assert abs(parsedate_to_datetime(found["Date"]).timestamp() - time.time()) < 60
    text, html = found.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert (text["Content-Transfer-Encoding"], html["Content-Transfer-Encoding"]) == ("quoted-printable",) * 2
    assert "नमस्ते." in text.get_content()
    assert server.messages[0].isascii()


@pytest.mark.parametrize(
    ("domain", "in_ascii"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("उदाहरण.example", "xn--p1b6ci4b4b3a.example"),
        ("post.bücher.example", "post.xn--bcher-kva.example"),
    ],
)
def test_an_internationalised_domain_is_sent_in_ascii(serve, domain, in_ascii):
    """Kind: emails as RFC 5322 wants them."""
    server = serve()
    smtp.send(message(recipient=f"asha@{domain}"), f"smtp://127.0.0.1:{server.port}")
    assert f"rcpt TO:<asha@{in_ascii}>" in server.commands
    assert received(server)["To"] == f"asha@{in_ascii}"


def test_a_subject_in_any_script_is_encoded(serve):
    server = serve()
    smtp.send(message(subject="आपका Pro 🐎 " + "ल" * 300), f"smtp://127.0.0.1:{server.port}")
    assert received(server)["Subject"] == "आपका Pro 🐎 " + "ल" * 300
    assert max(len(line) for line in server.messages[0].splitlines()) < 998


def test_a_line_break_in_a_header_is_refused():
    with pytest.raises(ValueError, match="linefeed"):
        message(subject="Hello\r\nBcc: victim@example.com")


def test_an_address_the_server_cannot_spell_is_given_up(serve):
    server = serve()  # without SMTPUTF8
    with pytest.raises(smtp.PermanentFailure, match="SMTPUTF8"):
        smtp.send(message(recipient="आशा@example.com"), f"smtp://127.0.0.1:{server.port}")


def test_an_address_in_any_script_reaches_a_server_that_can_spell_it(serve):
    server = serve()
    server.answers["EHLO"] = "250-mail.test\r\n250 SMTPUTF8"
    smtp.send(message(recipient="आशा@example.com"), f"smtp://127.0.0.1:{server.port}")
    assert "rcpt TO:<आशा@example.com>" in server.commands


# -- what the server answers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer", "says"),
    [
        ("RCPT", "550 no such user", "recipient refused (550)"),
        ("RCPT", "554 blocked", "recipient refused (554)"),
        ("DATA", "554 looks like spam", "message refused (554)"),
    ],
)
def test_a_refusal_for_good_is_permanent(serve, command, answer, says):
    """Kind: permanent against temporary failures."""
    server = serve()
    server.answers[command] = answer
    with pytest.raises(smtp.PermanentFailure) as raised:
        smtp.send(message(), f"smtp://127.0.0.1:{server.port}")
    assert str(raised.value) == says


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("RCPT", "450 mailbox busy"),
        ("DATA", "451 try again"),
        ("MAIL", "550 sender refused"),  # our own settings, which can be corrected
        ("MAIL", "451 greylisted"),
        ("EHLO", "421 too busy"),
    ],
)
def test_any_other_refusal_may_pass(serve, command, answer):
    server = serve()
    server.answers[command] = answer
    if command == "EHLO":
        server.answers["HELO"] = answer
    with pytest.raises(smtplib.SMTPException):
        smtp.send(message(), f"smtp://127.0.0.1:{server.port}")


def test_a_refused_password_may_be_corrected(serve, certificates, trusted):
    trusted("127.0.0.1")
    server = serve(certificate=certificates["127.0.0.1"])
    server.answers["AUTH"] = "535 wrong"
    with pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.send(message(), f"smtp://user:pw@127.0.0.1:{server.port}")


def test_a_server_that_is_away_may_come_back():
    with pytest.raises(OSError, match="refused"):
        smtp.send(message(), "smtp://127.0.0.1:9")


def test_a_server_that_drips_is_given_up(serve, monkeypatch):
    """Kind: one deadline for whatever the worker waits for."""
    monkeypatch.setattr(smtp, "DEADLINE_S", 0.5)
    server = serve()
    server.drip = True
    started = time.monotonic()
    with pytest.raises((smtplib.SMTPException, OSError)):
        smtp.send(message(), f"smtp://127.0.0.1:{server.port}")
    assert time.monotonic() - started < 30  # it would drip for ever


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_handshake_that_drips_is_given_up(serve, certificates, monkeypatch, scheme):
    """Kind: one deadline for whatever the worker waits for, also between two reads of a TLS handshake."""
    monkeypatch.setattr(smtp, "DEADLINE_S", 0.5)
    server = serve(certificate=certificates["127.0.0.1"], implicit_tls=scheme == "smtps")
    server.drip_tls = True
    started = time.monotonic()
    with pytest.raises((smtplib.SMTPException, OSError)):
        smtp.send(message(), f"{scheme}://user:pw@127.0.0.1:{server.port}")
    assert time.monotonic() - started < 30


# -- TLS ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_password_is_sent_over_verified_tls(serve, certificates, trusted, scheme):
    trusted("127.0.0.1")
    server = serve(certificate=certificates["127.0.0.1"], implicit_tls=scheme == "smtps")
    smtp.send(message(), f"{scheme}://us%40er:p%2Fw@127.0.0.1:{server.port}")
    assert len(server.messages) == 1
    assert any(command.startswith("AUTH") for command in server.commands)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_an_untrusted_certificate_is_refused(serve, certificates, scheme):
    """Kind: TLS is verified before a password is sent."""
    server = serve(certificate=certificates["127.0.0.1"], implicit_tls=scheme == "smtps")
    with pytest.raises(ssl.SSLCertVerificationError):
        smtp.send(message(), f"{scheme}://user:secret-pw@127.0.0.1:{server.port}")
    assert not any(command.startswith("AUTH") for command in server.commands)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_the_certificate_of_another_name_is_refused(serve, certificates, trusted, scheme):
    trusted("other.example")
    server = serve(certificate=certificates["other.example"], implicit_tls=scheme == "smtps")
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        smtp.send(message(), f"{scheme}://user:secret-pw@127.0.0.1:{server.port}")
    assert not any(command.startswith("AUTH") for command in server.commands)


def test_a_password_is_never_sent_in_the_clear(serve):
    server = serve()  # offers no STARTTLS
    with pytest.raises(smtplib.SMTPNotSupportedError):
        smtp.send(message(), f"smtp://user:secret-pw@127.0.0.1:{server.port}")
    assert not any(command.startswith("AUTH") for command in server.commands)
