"""Go-live checks of the shop's own parts: database, worker, email."""

import smtplib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from storefront.checkout.context import commit, rollback, update_where
from storefront.extensions import MIGRATIONS, db, settings
from storefront.flexprice import is_loopback
from storefront.models import WebhookEvent
from storefront.operations import emails
from storefront.operations.models import WorkerHeartbeat
from storefront.operations.preflight.result import BY_HAND, FAILS, OK, WARNING, Context, Finding, Result

EVENT_IS_LATE = timedelta(minutes=5)
NAME = "preflight"


def database(context: Context) -> Iterable[Finding]:
    """It answers, is migrated and, on PostgreSQL, is in UTF-8."""
    from alembic.script import ScriptDirectory

    try:
        found = _revision()
        encoding = _encoding()
    except SQLAlchemyError as error:
        rollback()
        return [Finding(FAILS, f"It does not answer: {type(error).__name__}.", "Check DATABASE_URL.")]
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if found != newest:
        message = f"It is at {found or 'no version'}, the code at {newest}."
        return [Finding(FAILS, message, "flask --app wsgi db upgrade")]
    if encoding is None:
        message = f"SQLite, up to date ({found}). It serves the processes of one machine."
        return [Finding(WARNING, message, "For several machines use PostgreSQL; back the file up.")]
    if encoding.upper() not in ("UTF8", "UNICODE"):
        message = f"PostgreSQL in {encoding}: some names cannot be stored."
        return [Finding(FAILS, message, "Create a database with the encoding UTF8.")]
    return [Finding(OK, f"PostgreSQL in UTF-8, up to date ({found})")]


def _revision() -> str | None:
    from alembic.runtime.migration import MigrationContext

    found = MigrationContext.configure(db.session.connection()).get_current_revision()
    rollback()
    return found


def _encoding() -> str | None:
    if db.session.get_bind().dialect.name != "postgresql":
        return None
    return str(db.session.scalar(text("SHOW server_encoding")))


def writable(context: Context) -> Iterable[Finding]:
    """A row can be written."""
    try:
        if not update_where(WorkerHeartbeat, {"beat_at": context.now}, WorkerHeartbeat.name == NAME):
            db.session.add(WorkerHeartbeat(name=NAME, beat_at=context.now))
        commit()
    except SQLAlchemyError as error:
        rollback()
        message = f"A row could not be written: {type(error).__name__}."
        return [Finding(FAILS, message, "Check the rights of the database's user, the disk, and locks.")]
    return [Finding(OK, "a row was written")]


def worker(context: Context) -> Iterable[Finding]:
    """Its loop turns, and nothing waits for long."""
    if context.worker_alive:
        yield Finding(OK, "its loop turns")
    else:
        message = "Worker heartbeat missing: paid orders are not fulfilled."
        yield Finding(FAILS, message, "Start it beside the shop: flask --app wsgi checkout worker")
    late = WebhookEvent.received_at < context.now - EVENT_IS_LATE
    waiting = _count(WebhookEvent, WebhookEvent.processed_at.is_(None) & late)
    if waiting:
        message = f"{waiting} webhook events have waited for more than five minutes."
        yield Finding(WARNING, message, "See their outcome on the operator's page, and the worker's log.")
    if emails.in_use():
        failing = emails.Email.sent_at.is_(None) & emails.Email.error.is_not(None)
        if unsent := _count(emails.Email, failing):
            yield Finding(WARNING, f"{unsent} emails could not be sent so far.", "See the check of email.")


def _count(model: Any, condition: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(model).where(condition)) or 0


def email(context: Context) -> Iterable[Finding]:
    """The mail server accepts the shop's sign-in."""
    url = context.settings.mail_url
    if not emails.in_use():
        return [Finding(WARNING, "The shop sends no email: the package emails/ is not installed.")]
    if url in ("keep:", "sandbox:"):
        status = FAILS if context.settings.production else WARNING
        return [Finding(status, "Emails are stored and not sent.", "Set MAIL_URL to your mail server.")]
    try:
        with emails.mail_server(url) as server:
            code, _ = server.noop()
    except (OSError, smtplib.SMTPException) as error:
        message = f"The mail server refuses the shop: {type(error).__name__}."
        return [Finding(FAILS, message, "Check host, port, user, password and the certificate of MAIL_URL.")]
    if code != 250:
        return [Finding(FAILS, f"The mail server answers {code}.", "Ask its administrator.")]
    return _mail_server_findings(context)


def _mail_server_findings(context: Context) -> list[Finding]:
    url = context.settings.mail_url
    parts = urlsplit(url)
    how = "accepts the shop's sign-in" if parts.username else "answers, without a sign-in"
    found = [Finding(OK, f"the mail server {how}; emails come from {context.settings.mail_from}")]
    if parts.scheme == "smtp" and not parts.username and not is_loopback(url):
        message = f"Emails go to {parts.hostname} without TLS: anybody on the way can read them."
        found.append(Finding(WARNING, message, "Use smtps://, or a user name: STARTTLS is then required."))
    return found


def test_email(recipient: str) -> Result:
    """Send one. Only its reader sees whether it arrives, and not as spam."""
    title = "Test email"
    if not emails.in_use() or settings().mail_url in ("keep:", "sandbox:"):
        return Result(title, FAILS, "Emails are stored and not sent.", "Set MAIL_URL to your mail server.")
    try:
        emails.send_test_email(recipient)
    except (OSError, smtplib.SMTPException, emails.permanent_failure()) as error:
        message = f"The mail server does not accept an email to {recipient}: {type(error).__name__}."
        return Result(title, FAILS, message, "It may not allow this sender: check MAIL_FROM and MAIL_URL.")
    message = f"The mail server accepted an email to {recipient}."
    return Result(title, BY_HAND, message, "Check that it arrives.")
