"""Sends one email by SMTP, with a deadline, and tells failures that are final from those that pass."""

import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime
from urllib.parse import unquote, urlsplit

from email_validator import validate_email

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0  # for each answer of the server
DEADLINE_S = 60.0  # for the whole: a server that sends a byte now and then never times out


class PermanentFailure(Exception):
    """The server will not take this email, however often it is tried."""


def compose(
    *,
    sender: str,
    sender_name: str,
    recipient: str,
    subject: str,
    text: str,
    html: str | None,
    message_key: str,
) -> EmailMessage:
    """Build the message: RFC 5322 with a Date, the domains in ASCII, both bodies as quoted-printable.

    :param message_key: makes the Message-ID, which stays the same when the email is sent again.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = _address(sender, sender_name)
    message["To"] = _address(recipient)
    message["Subject"] = subject
    message["Date"] = localtime()
    message["Message-ID"] = f"<{message_key}@{ascii_domain(sender).rpartition('@')[2]}>"
    message.set_content(text, cte="quoted-printable")
    if html is not None:
        message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message


def _address(address: str, name: str = "") -> Address:
    local, _, domain = ascii_domain(address).rpartition("@")
    return Address(name, local, domain)


def ascii_domain(address: str) -> str:
    """The address with an internationalised domain in its ASCII form, as mail servers expect it."""
    found = validate_email(address, check_deliverability=False, test_environment=True)
    return f"{found.local_part}@{found.ascii_domain}"


def send(message: EmailMessage, mail_url: str) -> None:
    """Hand the message to the mail server.

    :param mail_url: smtp:// (STARTTLS before a password is sent) or smtps://.
    :raises PermanentFailure: the server refused the recipient or the message for good (a 5xx answer).
    :raises OSError: the server could not be reached, timed out or presented an invalid certificate.
    :raises smtplib.SMTPException: any other refusal: it may pass.
    """
    with mail_server(mail_url) as server:
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            (code, _), *_others = error.recipients.values()
            raise (PermanentFailure(f"recipient refused ({code})") if code >= 500 else error) from error
        except smtplib.SMTPDataError as error:
            final = error.smtp_code >= 500
            raise (PermanentFailure(f"message refused ({error.smtp_code})") if final else error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise PermanentFailure("the mail server cannot send to this address (no SMTPUTF8)") from error


class Connection(smtplib.SMTP):
    """Keeps a second handle of its socket, to hang up by: TLS takes the first one during its handshake."""

    handle: socket.socket | None = None

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        self.handle = plain.dup()
        return plain


class TlsConnection(smtplib.SMTP_SSL, Connection):
    """As `Connection`, with TLS from the first byte."""


@contextmanager
def mail_server(mail_url: str) -> Iterator[smtplib.SMTP]:
    """A connection to the mail server, signed in. Raises as `send` does."""
    parts, context = urlsplit(mail_url), ssl.create_default_context()
    secure = parts.scheme == "smtps"
    server = TlsConnection(timeout=TIMEOUT_S, context=context) if secure else Connection(timeout=TIMEOUT_S)
    server._host = parts.hostname or ""  # type: ignore[attr-defined]  # what the certificate must be for
    deadline = threading.Timer(DEADLINE_S, _hang_up, [server])
    deadline.daemon = True
    deadline.start()
    try:
        server.connect(parts.hostname or "", parts.port or (465 if secure else 587))
        if parts.username:
            if not secure:
                server.starttls(context=context)
            server.login(unquote(parts.username), unquote(parts.password or ""))
        yield server
    finally:
        deadline.cancel()
        _quit(server)


def _hang_up(server: Connection) -> None:
    """Ends whatever the connection waits for: the waiting thread sees a closed connection."""
    log.warning("The mail server was too slow: gave up after %g s", DEADLINE_S)
    if server.handle:
        with suppress(OSError):  # it has ended by itself
            server.handle.shutdown(socket.SHUT_RDWR)


def _quit(server: Connection) -> None:
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        server.close()
    finally:
        if server.handle:
            server.handle.close()
