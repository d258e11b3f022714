"""Verify that a webhook comes from Flexprice, and read its event.

Signatures are made by Svix (Standard Webhooks, scheme v1).

The package `standardwebhooks` computes the signature. What it would trip over on malformed input (it lets
ValueError, binascii.Error and UnicodeDecodeError escape) is checked here first, and so is the time window,
because it can only look at the wall clock.

Sources: docs/flexprice-contract.md#e4 and #e2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook

from ._json import Fields, identifier, identifier_or_empty, parse_json
from .exceptions import InvalidSecret, InvalidSignature
from .models import CheckoutSession

TOLERANCE = timedelta(minutes=5)  # both ways, as Svix and Standard Webhooks have it
MIN_SECRET_BYTES = 24  # Standard Webhooks asks for 24 to 64 random bytes
MAX_SIGNATURE_HEADER_CHARS = 4096

_PREFIX = "whsec_"
_FAMILIES = ("svix", "webhook")  # Svix sends svix-*; webhook-* is the unbranded form of Standard Webhooks
_PARTS = ("id", "timestamp", "signature")
_NAMES = frozenset(f"{family}-{part}" for family in _FAMILIES for part in _PARTS)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
# A dot would make "{id}.{timestamp}.{body}" ambiguous, which is why Standard Webhooks bans it from ids.
_ID = re.compile(r"[!-\-/-~]{1,255}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}")
_TOKEN = re.compile(r"(v[0-9]{1,2}[a-z]?),([A-Za-z0-9+/=_-]{1,512})")


def check_secret(secret: str) -> None:
    """Check a signing secret of the form `whsec_…`; the prefix may be missing.

    :raises InvalidSecret: no webhook could ever be verified with it, or it is short enough to be guessed.
    """
    if not isinstance(secret, str) or not secret:
        raise InvalidSecret("the webhook secret is empty or not text")
    encoded = secret.removeprefix(_PREFIX)
    if encoded.lower().startswith(_PREFIX.rstrip("_")):
        raise InvalidSecret(f"the webhook secret's prefix is not exactly {_PREFIX!r}")
    key = _strict_base64(encoded)
    if key is None:
        raise InvalidSecret("the webhook secret is not base64: a character is missing, added or foreign")
    if len(key) < MIN_SECRET_BYTES:
        raise InvalidSecret(f"the webhook secret has fewer than {MIN_SECRET_BYTES} bytes")


class WebhookVerifier:
    """Checks webhooks against every configured secret; during a rotation there are two."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Make a verifier.

        :param secrets: the endpoint's signing secrets, `whsec_…`; one is enough.
        :raises InvalidSecret: there is none, or one cannot be right.
        """
        if isinstance(secrets, str) or not secrets:
            raise InvalidSecret("at least one webhook secret is needed, as a list")
        for secret in secrets:
            check_secret(secret)
        self._webhooks = tuple(Webhook(secret) for secret in secrets)

    def verify(self, body: bytes, headers: Mapping[str, str], now: datetime | None = None) -> str:
        """Return the message id of a webhook that was signed with a configured secret within five minutes.

        :param body: the raw bytes. A body that was parsed and written again does not verify.
        :param headers: in any case; `svix-*` or `webhook-*`.
        :param now: for tests; UTC if it has no zone.
        :raises InvalidSignature: in every other case, whatever the input.
        """
        message_id, sent_at, signatures = _read_headers(headers)
        try:
            text = body.decode("utf-8")
        except (UnicodeDecodeError, AttributeError):
            raise InvalidSignature("malformed_body") from None
        signed = [webhook.sign(message_id, sent_at, text).removeprefix("v1,") for webhook in self._webhooks]
        expected = [base64.b64decode(one) for one in signed]
        if not any(hmac.compare_digest(one, given) for one in expected for given in signatures):
            raise InvalidSignature("no_match")
        now = now or datetime.now(UTC)
        age = (now if now.tzinfo else now.replace(tzinfo=UTC)) - sent_at
        if age > TOLERANCE:
            raise InvalidSignature("stale", f"{age.total_seconds():.0f} s old")
        if -age > TOLERANCE:
            raise InvalidSignature("future", f"{-age.total_seconds():.0f} s ahead")
        return message_id


class SharedHeader:
    """The header that a self-hosted Flexprice sends with its unsigned webhooks.

    It proves no more than that the sender knows the value: such a webhook is a hint, never the truth.
    Source: docs/flexprice-contract.md#e5.
    """

    def __init__(self, name: str, value: str) -> None:
        """Make a shared header from what Flexprice's configuration has as name and value."""
        self.name = name
        self._digest = _digest(value)

    def matches(self, headers: Mapping[str, str]) -> bool:
        """Return whether the header is there exactly once with this value, compared in constant time."""
        given = [value for name, value in headers.items() if name.lower() == self.name.lower()]
        return len(given) == 1 and hmac.compare_digest(_digest(given[0]), self._digest)


def is_signed(headers: Mapping[str, str]) -> bool:
    """Return whether the webhook claims to be signed: one header of either family is enough."""
    return any(name.lower() in _NAMES for name in headers)


def _digest(value: str) -> bytes:
    """Return a hash, whose length tells nothing about the value's."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def _read_headers(headers: Mapping[str, str]) -> tuple[str, datetime, tuple[bytes, ...]]:
    """Return id, time and signatures of one complete family; the two families are never mixed."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower() if isinstance(name, str) else ""
        if lower not in _NAMES:
            continue
        if not isinstance(value, str) or found.get(lower, value) != value:
            raise InvalidSignature("malformed_header", f"{lower}, twice")
        found[lower] = value
    for family in _FAMILIES:
        message_id, timestamp, signature = (found.get(f"{family}-{part}", "") for part in _PARTS)
        if message_id and timestamp and signature:
            break
    else:
        raise InvalidSignature("missing_header", ", ".join(_missing(found)))
    for name, value, form in (("id", message_id, _ID), ("timestamp", timestamp, _TIMESTAMP)):
        if not form.fullmatch(value):
            raise InvalidSignature("malformed_header", name)
    return message_id, datetime.fromtimestamp(int(timestamp), UTC), _read_signatures(signature)


def _missing(found: Mapping[str, str]) -> list[str]:
    """Return what is missing of the family that is there in part, else of the first one."""
    families = ([f"{family}-{part}" for part in _PARTS] for family in _FAMILIES)
    return min(([name for name in names if not found.get(name)] for names in families), key=len)


def _read_signatures(header: str) -> tuple[bytes, ...]:
    """Return the v1 signatures of a space-separated list; other versions (v1a is Ed25519) are ignored."""
    if len(header) > MAX_SIGNATURE_HEADER_CHARS:
        raise InvalidSignature("malformed_header", "signature")
    tokens = [_TOKEN.fullmatch(token) for token in header.split(" ")]
    versions = [token.groups() for token in tokens if token]
    if len(versions) != len(tokens):
        raise InvalidSignature("malformed_header", "signature")
    given = [_strict_base64(encoded) for version, encoded in versions if version == "v1"]
    signatures = tuple(one for one in given if one is not None and len(one) == 32)
    if len(signatures) != len(given):
        raise InvalidSignature("malformed_header", "signature")
    return signatures


def _strict_base64(encoded: str) -> bytes | None:
    """Decode only what encoding would have produced: no stray characters, padding right, no spare bits."""
    if not _BASE64.fullmatch(encoded):
        return None
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if base64.b64encode(decoded).decode("ascii") == encoded else None


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook's body (docs/flexprice-contract.md#e2).

    Flexprice builds the body when it delivers it, so `type` and the status inside can disagree
    (docs/flexprice-contract.md#e3). Of everything but sessions only the ids are kept. `order_ref` is the
    reference that you gave as idempotency key, where the body holds it: sessions in webhooks do not,
    subscriptions do.
    """

    type: str
    session: CheckoutSession | None = None
    payment_id: str = ""
    object_id: str = ""
    customer_id: str = ""
    order_ref: str | None = None

    @classmethod
    def from_body(cls, body: bytes) -> Event:
        """Read an event from the raw body of a webhook.

        :raises UnreadableResponse: it is not an event, or one of a session that cannot be read.
        """
        fields = Fields(parse_json(body), "event")
        kind = fields.required("event_type", identifier)
        group = "checkout_session" if kind.startswith("checkout.session.") else kind.partition(".")[0]
        # The object is under its own name, or under `data`, where Flexprice's guide has it.
        named = (fields.data.get(name) for name in (group, "data"))
        entity = next((value for value in named if isinstance(value, Mapping)), {})
        ids = {name: identifier_or_empty(entity.get(name)) for name in ("id", "customer_id", "payment_id")}
        ids |= {f"{group}_id": ids["id"]} if group in ("customer", "payment") else {}
        session, metadata = None, entity.get("metadata")
        if group == "checkout_session":
            session = CheckoutSession.from_json(entity, partial=True)
            ids["payment_id"] = session.payment_id or ""
        reference = metadata.get("order_ref") if isinstance(metadata, Mapping) else None
        reference = identifier_or_empty(reference) or (session and session.idempotency_key)
        return cls(kind, session, ids["payment_id"], ids["id"], ids["customer_id"], reference or None)
