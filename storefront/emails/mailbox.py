"""MAIL_URL=sandbox: puts each email into the sandbox's mailbox, /_sandbox/mail, where a tester reads it."""

from email.message import EmailMessage

import requests

from storefront.emails.smtp import TIMEOUT_S

PATH = "/_sandbox/mail"


def address(flexprice_api_url: str) -> str:
    """Where the mailbox of the sandbox behind this API address is."""
    return flexprice_api_url.rstrip("/").removesuffix("/v1") + PATH


def put(message: EmailMessage, url: str) -> None:
    """Post the whole message, as it would be sent.

    :raises OSError: the sandbox could not be reached or did not take it.
    """
    headers = {"Content-Type": "message/rfc822"}
    response = requests.post(url, data=message.as_bytes(), headers=headers, timeout=TIMEOUT_S)
    response.raise_for_status()
