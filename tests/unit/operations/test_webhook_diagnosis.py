"""Why a webhook is rejected: six broken setups, six causes, and no secret in any message."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from storefront.flexprice import REASONS, InvalidSignature, WebhookVerifier
from storefront.operations.webhook_diagnosis import (
    CAUSES,
    ENCODINGS,
    MAX_BODY_BYTES,
    PLAIN,
    WHITESPACE_EDITS,
    diagnose,
    original_bodies,
)

SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
OTHER = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="
SENT_AT = datetime(2026, 9, 1, 10, tzinfo=UTC)
EVENT = {"event_type": "checkout.session.completed", "checkout_session": {"id": "cs_1", "name": "Ünal <a&b>"}}
BODY = json.dumps(EVENT, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def headers(body=BODY, secret=SECRET):
    return {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(SENT_AT.timestamp())),
        "svix-signature": Webhook(secret).sign("msg_1", SENT_AT, body.decode()),
    }


def finding(sent, body=BODY, late=timedelta(), **known):
    verifier = WebhookVerifier([SECRET])
    with pytest.raises(InvalidSignature) as rejection:
        verifier.verify(body, sent, SENT_AT + late)
    return diagnose(verifier, body, sent, rejection.value, **known)


def without(name):
    return {other: value for other, value in headers().items() if other != name}


RECENTLY = {"last_verified_at": SENT_AT - timedelta(minutes=3)}
SETUPS = {
    "missing_header": lambda: finding(without("svix-signature")),
    "malformed_header": lambda: finding(headers() | {"svix-signature": "v1,cut"}),
    "clock": lambda: finding(headers(), late=timedelta(seconds=412)),
    "reencoded": lambda: finding(headers(), json.dumps(EVENT, indent=2).encode()),
    "altered": lambda: finding(headers(), BODY.replace(b"cs_1", b"cs_2"), **RECENTLY),
    "other_secret": lambda: finding(headers(secret=OTHER)),
}


@pytest.mark.parametrize("cause", SETUPS)
def test_each_broken_setup_has_its_cause(cause):
    assert SETUPS[cause]().cause == cause


@pytest.mark.parametrize("cause", SETUPS)
def test_no_message_repeats_a_secret(cause):
    message = SETUPS[cause]().message
    signature = headers()["svix-signature"]
    private = [SECRET, OTHER, SECRET.removeprefix("whsec_"), signature, signature[3:], BODY.decode(), "cs_1"]
    assert not any(text[:12] in message for text in private if len(text) > 4)
    assert "cs_1" not in message


def test_every_rejection_has_a_cause():
    assert set(PLAIN) | {"no_match"} == set(REASONS)
    assert {cause for cause, _ in PLAIN.values()} | set(SETUPS) <= set(CAUSES)


@pytest.mark.parametrize(
    ("late", "seconds"), [(timedelta(seconds=412), "412 s old"), (timedelta(seconds=-3600), "3600 s ahead")]
)
def test_a_wrong_clock_is_given_in_seconds(late, seconds):
    assert seconds in finding(headers(), late=late).message


@pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
def test_the_missing_header_is_named(name):
    assert f"Missing: {name}." in finding(without(name)).message


def test_unsigned_requests_lack_all_headers():
    assert "svix-id, svix-timestamp, svix-signature" in finding({}).message


def test_the_unbranded_missing_header_is_named():
    sent = {f"webhook-{part}": headers()[f"svix-{part}"] for part in ("id", "timestamp")}
    assert "Missing: webhook-signature." in finding(sent).message


@pytest.mark.parametrize(
    ("name", "value"), [("svix-id", "a.b"), ("svix-timestamp", "now"), ("svix-signature", "v1,cut")]
)
def test_the_malformed_header_is_named(name, value):
    assert f"{name.partition('-')[2]}." in finding(headers() | {name: value}).message


REENCODED = {
    "Python's spaces": json.dumps(EVENT).encode(),
    "spaces, sorted": json.dumps(EVENT, sort_keys=True).encode(),
    "another order": json.dumps(dict(reversed(EVENT.items())), separators=(",", ":")).encode(),
    "a line break at the end": BODY + b"\n",
    "white space around": b"  " + BODY + b"\r\n ",
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "characters as escapes": json.dumps(EVENT, sort_keys=True, separators=(",", ":")).encode(),
}


@pytest.mark.parametrize("body", REENCODED.values(), ids=REENCODED.keys())
def test_a_reencoded_body_is_recognised(body):
    assert finding(headers(), body).cause == "reencoded"


@pytest.mark.parametrize("form", ENCODINGS)
def test_every_original_encoding_is_recognised(form):
    first = ENCODINGS[form](EVENT).encode()
    reencoded = json.dumps(EVENT, indent=7).encode()
    assert finding(headers(first), reencoded).cause == "reencoded"


@pytest.mark.parametrize("edit", WHITESPACE_EDITS)
def test_every_white_space_edit_is_undone(edit):
    assert edit in [form for form, _ in original_bodies(b"not json")]


def test_a_late_reencoded_body_is_recognised():
    assert finding(headers(), json.dumps(EVENT).encode(), late=timedelta(days=3)).cause == "reencoded"


def test_one_failure_among_verified_webhooks_was_altered():
    assert finding(headers(secret=OTHER), **RECENTLY).cause == "altered"


def test_a_cut_body_was_altered():
    assert finding(headers(), BODY[:-9]).cause == "altered"


def test_a_very_large_body_is_not_reencoded():
    body = json.dumps(EVENT | {"x": "y" * MAX_BODY_BYTES}).encode()
    assert finding(headers(), body).cause == "other_secret"


@given(body=st.binary(max_size=200))
def test_any_body_has_a_cause(body):
    try:
        body.decode()
    except UnicodeDecodeError:
        return
    assert finding(headers(), body if body != BODY else b"").cause in CAUSES


@pytest.mark.parametrize("body", [b"[" * 60_000, b'"\\ud800"', b"1" * 5000, b'{"a":NaN}', b""])
def test_strange_json_has_a_cause(body):
    assert finding(headers(), body).cause in CAUSES
