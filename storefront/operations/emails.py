"""The shop's emails, where the optional package emails/ is installed; without it there are none."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flask import current_app

INSTALLED = find_spec("storefront.emails") is not None
Email: Any = import_module("storefront.emails.models").Email if INSTALLED else None


def in_use() -> bool:
    """Whether the current app sends emails."""
    return INSTALLED and "emails" in current_app.blueprints


def send_again(email_id: int, attempts: int) -> bool:
    """See `storefront.emails.outbox.send_again`. Commits."""
    return bool(import_module("storefront.emails.outbox").send_again(email_id, attempts))


def send_test_email(recipient: str) -> None:
    """See `storefront.emails.worker.send_test_email`."""
    import_module("storefront.emails.worker").send_test_email(recipient)


def mail_server(mail_url: str) -> Any:
    """See `storefront.emails.smtp.mail_server`."""
    return import_module("storefront.emails.smtp").mail_server(mail_url)


def permanent_failure() -> type[Exception]:
    """The exception of an email that the mail server will never take."""
    found: type[Exception] = import_module("storefront.emails.smtp").PermanentFailure
    return found
