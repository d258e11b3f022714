"""Why was a webhook refused? For the shop's log and its operator; the sender is told nothing.

A signature that does not match says nothing by itself. What can be said comes from undoing what is known to
happen to a body on its way, and from what came before. No sentence here repeats a secret or a part of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .signature import TOLERANCE, BadSignature, Verifier

CAUSES = {
    "missing_header": "Signature header missing",
    "malformed_header": "Malformed header",
    "malformed_body": "Malformed body",
    "clock": "Clock skew, or a replay",
    "reencoded": "Body written anew on its way",
    "altered": "Body altered, or forged",
    "other_secret": "Another secret",
    "shared_header": "Shared header missing or wrong",
    "not_an_event": "Signed, but not an event",
}

LARGEST = 64 * 1024  # bytes of a body that is worth the trying; a session's news has about one thousand


@dataclass(frozen=True)
class Finding:
    """`cause` is a key of CAUSES; `says` tells a person what was seen and what to do."""

    cause: str
    says: str


def diagnose(
    verifier: Verifier | None,
    body: bytes,
    headers: Mapping[str, str],
    refusal: BadSignature,
    opened_at: datetime | None = None,
) -> Finding:
    """`opened_at`: when our secrets last opened a message; only if that was lately and none failed since."""
    if refusal.reason == "no_match" and verifier:
        return _mismatch(verifier, body, headers, opened_at)
    cause, says = PLAIN[refusal.reason]
    return Finding(cause, says.format(refusal.detail, allowed=f"{TOLERANCE} s are allowed"))


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
        "The body is not UTF-8 text: compressed or converted on its way, or not Flexprice's.",
    ),
    "stale": (
        "clock",
        "The signature is right, but {} ({allowed}): this machine's clock is ahead, the message waited on "
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


def _mismatch(
    verifier: Verifier, body: bytes, headers: Mapping[str, str], opened_at: datetime | None
) -> Finding:
    if len(body) <= LARGEST:
        for form, original in originals(body):
            if opens(verifier, original, headers):
                return Finding(
                    "reencoded",
                    f"The signature fits the same body {form}: something on the way reads the body and "
                    "writes it anew. The raw bytes must reach the shop.",
                )
    if opened_at:
        return Finding(
            "altered",
            f"Our secret opened a message at {opened_at:%H:%M:%S} UTC, so the secret is right: this body was "
            "altered on its way, or the message is forged. If all fail from now on, the secret was renewed.",
        )
    if not _is_object(body):
        return Finding(
            "altered",
            "The body is not the JSON that Flexprice sends: altered or cut on its way, or forged.",
        )
    return Finding(
        "other_secret",
        "Signed with another secret: that of another endpoint, an old one, or one of somebody's own. Compare "
        "the endpoint's signing secret at Flexprice with FLEXPRICE_WEBHOOK_SECRET.",
    )


def opens(verifier: Verifier, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether one of the secrets signed this, however long ago."""
    try:
        verifier.verify(body, headers)
    except BadSignature as refusal:
        return refusal.reason in ("stale", "future")
    return True


def _compact(value: Any, **how: Any) -> str:
    return json.dumps(value, separators=(",", ":"), **how)


def _as_go(value: Any) -> str:
    """Go's encoder sorts the keys of a map and hides what HTML would trip over."""
    text = _compact(value, sort_keys=True, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


WRITTEN: dict[str, Callable[[Any], str]] = {
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

TRIMMED: dict[str, Callable[[bytes], bytes]] = {
    "without the white space around it": bytes.strip,
    "without the byte order mark": lambda body: body.removeprefix(b"\xef\xbb\xbf"),
    "with a line break at the end": lambda body: body.rstrip() + b"\n",
    "with plain line breaks": lambda body: body.replace(b"\r\n", b"\n"),
    "with Windows line breaks": lambda body: body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
}


def originals(body: bytes) -> Iterator[tuple[str, bytes]]:
    """What the body may have been before something on its way wrote it anew."""
    for form, undo in TRIMMED.items():
        yield form, undo(body)
    try:
        value = json.loads(body)
        for form, write in WRITTEN.items():
            text = write(value).encode()
            yield form, text
            yield f"{form} and a line break at the end", text + b"\n"
    except (ValueError, RecursionError):  # not JSON, or nothing that JSON could have been
        return


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False
