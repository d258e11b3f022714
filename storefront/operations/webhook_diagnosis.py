"""Why was a webhook rejected? For the log and the operator; the sender is told nothing.

A signature that does not match says nothing by itself. The cause is found by undoing what is known to happen
to a body on its way, and from which webhooks were accepted before. No text here repeats a part of a secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storefront.flexprice import InvalidSignature, WebhookVerifier
from storefront.flexprice.webhooks import TOLERANCE

CAUSES = {
    "missing_header": "Signature header missing",
    "malformed_header": "Malformed header",
    "malformed_body": "Malformed body",
    "clock": "Clock skew, or a replay",
    "reencoded": "Body re-encoded on its way",
    "altered": "Body altered, or forged",
    "other_secret": "Another secret",
    "shared_header": "Shared header missing or wrong",
    "not_an_event": "Signed, but not an event",
}
"""The causes and their titles."""

MAX_BODY_BYTES = 64 * 1024
"""Larger bodies are not re-encoded; a session's event has about one thousand bytes."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a webhook was rejected: `cause` is a key of `CAUSES`, `message` what was seen and what to do."""

    cause: str
    message: str


def diagnose(
    verifier: WebhookVerifier | None,
    body: bytes,
    headers: Mapping[str, str],
    rejection: InvalidSignature,
    last_verified_at: datetime | None = None,
) -> Diagnosis:
    """Find the most likely cause of a rejection.

    :param verifier: None when no secret is configured.
    :param body: the raw bytes as received.
    :param last_verified_at: when a webhook was last verified with the same secrets. Give it only if that was
        recent and none failed since.
    """
    if rejection.reason == "no_match" and verifier:
        return _diagnose_mismatch(verifier, body, headers, last_verified_at)
    cause, message = PLAIN[rejection.reason]
    allowed = f"{TOLERANCE.total_seconds():.0f} s are allowed"
    return Diagnosis(cause, message.format(rejection.detail, allowed=allowed))


PLAIN = {
    "missing_header": (
        "missing_header",
        "Missing: {}. Is it really Flexprice that calls, and does every proxy pass these headers on?",
    ),
    "malformed_header": (
        "malformed_header",
        "Not in the form Svix sends: {}. A proxy may have folded or cut the header.",
    ),
    "malformed_body": (
        "malformed_body",
        "The body is not UTF-8 text: compressed or converted on its way, or not from Flexprice.",
    ),
    "stale": (
        "clock",
        "The signature is right, but {} ({allowed}): this machine's clock is ahead, the webhook waited on "
        "its way, or somebody replays it.",
    ),
    "future": (
        "clock",
        "The signature is right, but {} of this machine's clock ({allowed}), which must be behind.",
    ),
    "shared_header": (
        "shared_header",
        "Not signed, and the header of FLEXPRICE_WEBHOOK_HEADER is missing or has another value.",
    ),
}


def _diagnose_mismatch(
    verifier: WebhookVerifier, body: bytes, headers: Mapping[str, str], last_verified_at: datetime | None
) -> Diagnosis:
    form = _original_form(verifier, body, headers)
    if form:
        return Diagnosis(
            "reencoded",
            f"The signature fits the same body {form}: something on the way parses the body and writes it "
            "again. The raw bytes must reach the shop.",
        )
    if last_verified_at:
        return Diagnosis(
            "altered",
            f"A webhook was verified at {last_verified_at:%H:%M:%S} UTC, so the secret is right: this body "
            "was altered on its way, or the webhook is forged. If all fail from now on, the secret was "
            "renewed.",
        )
    if not _is_object(body):
        return Diagnosis(
            "altered",
            "The body is not the JSON that Flexprice sends: altered or cut on its way, or forged.",
        )
    return Diagnosis(
        "other_secret",
        "Signed with another secret: that of another endpoint, an old one, or a forger's. Compare the "
        "endpoint's signing secret at Flexprice with FLEXPRICE_WEBHOOK_SECRET.",
    )


def _original_form(verifier: WebhookVerifier, body: bytes, headers: Mapping[str, str]) -> str:
    """Return in which form the signature fits the body, or an empty text."""
    if len(body) > MAX_BODY_BYTES:
        return ""
    forms = (form for form, original in original_bodies(body) if has_signature(verifier, original, headers))
    return next(forms, "")


def has_signature(verifier: WebhookVerifier, body: bytes, headers: Mapping[str, str]) -> bool:
    """Return whether one of the secrets signed this body, however long ago."""
    try:
        verifier.verify(body, headers)
    except InvalidSignature as rejection:
        return rejection.reason in ("stale", "future")
    return True


def _compact(value: Any, **options: Any) -> str:
    return json.dumps(value, separators=(",", ":"), **options)


def _as_go(value: Any) -> str:
    """Write JSON as Go does: the keys of a map sorted, and characters escaped that HTML would interpret."""
    text = _compact(value, sort_keys=True, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


ENCODINGS: dict[str, Callable[[Any], str]] = {
    "compact, with its keys sorted": lambda value: _compact(value, sort_keys=True, ensure_ascii=False),
    "compact, as Go writes it": _as_go,
    "compact, in its own order": lambda value: _compact(value, ensure_ascii=False),
    "compact and in ASCII, with its keys sorted": lambda value: _compact(value, sort_keys=True),
    "compact and in ASCII": _compact,
    "with spaces": lambda value: json.dumps(value, ensure_ascii=False),
    "with spaces and in ASCII": json.dumps,
    "with spaces, with its keys sorted": lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
    "indented": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}

WHITESPACE_EDITS: dict[str, Callable[[bytes], bytes]] = {
    "without the white space around it": bytes.strip,
    "without the byte order mark": lambda body: body.removeprefix(b"\xef\xbb\xbf"),
    "with a line break at the end": lambda body: body.rstrip() + b"\n",
    "with plain line breaks": lambda body: body.replace(b"\r\n", b"\n"),
    "with Windows line breaks": lambda body: body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
}


def original_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what the body may have been before something on its way re-encoded it, each with its form."""
    for form, undo in WHITESPACE_EDITS.items():
        yield form, undo(body)
    try:
        value = json.loads(body)
        for form, write in ENCODINGS.items():
            text = write(value).encode()
            yield form, text
            yield f"{form} and a line break at the end", text + b"\n"
    except (ValueError, RecursionError):  # it is not JSON, or JSON that cannot be written
        return


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False
