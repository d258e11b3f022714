"""Signatures and headers of a message, and what may be done to it on its way."""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence

STALE_S = 600  # twice what a receiver may accept
UNKNOWN_SECRET = "whsec_" + base64.b64encode(b"a secret that no endpoint has set").decode()


def sign(secret: str, message_id: str, timestamp: int, body: str) -> str:
    """`v1,` and the base64 HMAC-SHA256 of `{id}.{timestamp}.{body}`.

    :param secret: `whsec_` and the base64 key.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def is_secret(text: str) -> bool:
    """Whether messages can be signed with it: `whsec_` and the base64 of at least one byte."""
    try:
        return text.startswith("whsec_") and bool(
            base64.b64decode(text.removeprefix("whsec_"), validate=True)
        )
    except ValueError:
        return False


def signatures(secrets: Sequence[str], message_id: str, timestamp: int, body: str) -> str:
    """One per secret, separated by spaces: during a rotation a receiver may know either."""
    return " ".join(sign(secret, message_id, timestamp, body) for secret in secrets)


def svix_headers(
    secrets: Sequence[str], message_id: str, body: str, *, fault: str | None = None, old_secret: str = ""
) -> dict[str, str]:
    """The headers of a signed message. The time is wall time, whatever the store's clock says.

    :param fault: `stale`, `bad_signature`, `old_secret` or `two_secrets`.
    """
    timestamp = int(time.time()) - (STALE_S if fault == "stale" else 0)
    of_fault: dict[str, Sequence[str]] = {
        "bad_signature": (UNKNOWN_SECRET,),
        "old_secret": (old_secret,),
        "two_secrets": (UNKNOWN_SECRET, *secrets),
    }
    signing = of_fault.get(fault or "", secrets)
    return {
        "Content-Type": "application/json",
        "svix-id": message_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": signatures(signing, message_id, timestamp, body),
    }


def native_headers(header: str) -> dict[str, str]:
    """Unsigned, no id, no time: only the header that an operator configured.

    :param header: `Name: value`.
    """
    name, _, value = header.partition(":")
    return {"Content-Type": "application/json", name.strip(): value.strip()}


def altered(body: str) -> str:
    """The body as an attacker would change it: unpaid becomes paid, paid becomes failed."""
    for status in ("pending", "failed", "expired"):
        body = body.replace(f'"checkout_status":"{status}"', '"checkout_status":"COMPLETED"')
        event = f'"event_type":"checkout.session.{status}"'
        body = body.replace(event, '"event_type":"checkout.session.COMPLETED"')
    return body.replace("completed", "failed").replace("COMPLETED", "completed") + " "
