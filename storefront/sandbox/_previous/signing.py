"""What goes out with a message: its signatures and headers, and what somebody on the way may do to it."""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence

from storefront.sandbox._previous.settings import SandboxSettings

STALE = 600  # seconds: twice what a receiver may accept
NOBODYS_SECRET = "whsec_" + base64.b64encode(b"a secret that nobody was told of").decode()


def sign(secret: str, event_id: str, timestamp: int, body: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signatures(secrets: Sequence[str], event_id: str, timestamp: int, body: str) -> str:
    """One for each: while a secret is being rotated the receiver may know either."""
    return " ".join(sign(secret, event_id, timestamp, body) for secret in secrets)


def headers(settings: SandboxSettings, event_id: str, body: str, twist: str | None = None) -> dict[str, str]:
    timestamp = int(time.time())  # wall time, whatever the sandbox's clock says
    if twist == "stale":
        timestamp -= STALE
    secrets = {"bad_signature": (NOBODYS_SECRET,), "old_secret": (settings.old_webhook_secret,)}
    signing = secrets.get(twist or "", settings.webhook_secrets)
    return {
        "Content-Type": "application/json",
        "svix-id": event_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": signatures(signing, event_id, timestamp, body),
    }


def native_headers(settings: SandboxSettings) -> dict[str, str]:
    """Unsigned, no id, no time: a header the operator configured, and that is all (contract E.5)."""
    name, _, value = settings.native_header.partition(":")
    return {"Content-Type": "application/json", name.strip(): value.strip()}


def altered(body: str) -> str:
    """What somebody on the way would love to write: unpaid becomes paid, and paid becomes failed."""
    for status in ("pending", "failed", "expired"):
        body = body.replace(f'"checkout_status":"{status}"', '"checkout_status":"COMPLETED"')
        body = body.replace(
            f'"event_type":"checkout.session.{status}"', '"event_type":"checkout.session.COMPLETED"'
        )
    return body.replace("completed", "failed").replace("COMPLETED", "completed") + " "
