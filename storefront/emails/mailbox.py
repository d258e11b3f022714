"""MAIL_URL=sandbox: puts each email into the sandbox's mailbox, /_sandbox/mail, where a tester reads it."""

from email.message import EmailMessage

from storefront.emails.smtp import TIMEOUT_S
from storefront.http import request

PATH = "/_sandbox/mail"


def address(flexprice_api_url: str) -> str:
    """Where the mailbox of the sandbox behind this API address is."""
    return flexprice_api_url.rstrip("/").removesuffix("/v1") + PATH


def put(message: EmailMessage, url: str) -> None:
    """Post the whole message, as it would be sent.

    :raises OSError: the sandbox could not be reached or did not take it.
    """
    headers, limits = {"Content-Type": "message/rfc822"}, (TIMEOUT_S, TIMEOUT_S)
    # Streamed: the body of the answer is not read, so that none can keep the worker waiting.
    with request(
        "POST", url, data=message.as_bytes(), headers=headers, timeout=limits, stream=True
    ) as response:
        response.raise_for_status()
