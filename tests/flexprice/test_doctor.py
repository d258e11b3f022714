"""Why a webhook is refused: six broken set-ups, six causes, and no secret in any sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from storefront.flexprice import CAUSES, BadSignature, Verifier, diagnose
from storefront.flexprice.doctor import LARGEST, PLAIN, TRIMMED, WRITTEN, originals
from storefront.flexprice.signature import REASONS

SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
OTHER = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="
SENT_AT = datetime(2026, 9, 1, 10, tzinfo=UTC)
NEWS = {"event_type": "checkout.session.completed", "checkout_session": {"id": "cs_1", "name": "Ünal <a&b>"}}
BODY = json.dumps(NEWS, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def headers(body=BODY, secret=SECRET):
    return {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(SENT_AT.timestamp())),
        "svix-signature": Webhook(secret).sign("msg_1", SENT_AT, body.decode()),
    }


def finding(sent, body=BODY, late=timedelta(), **known):
    verifier = Verifier([SECRET])
    with pytest.raises(BadSignature) as refusal:
        verifier.verify(body, sent, SENT_AT + late)
    return diagnose(verifier, body, sent, refusal.value, **known)


def without(name):
    return {other: value for other, value in headers().items() if other != name}


LATELY = {"opened_at": SENT_AT - timedelta(minutes=3)}
SET_UPS = {
    "missing_header": lambda: finding(without("svix-signature")),
    "malformed_header": lambda: finding(headers() | {"svix-signature": "v1,cut"}),
    "clock": lambda: finding(headers(), late=timedelta(seconds=412)),
    "reencoded": lambda: finding(headers(), json.dumps(NEWS, indent=2).encode()),
    "altered": lambda: finding(headers(), BODY.replace(b"cs_1", b"cs_2"), **LATELY),
    "other_secret": lambda: finding(headers(secret=OTHER)),
}


@pytest.mark.parametrize("cause", SET_UPS)
def test_each_broken_set_up_has_its_own_cause(cause):
    assert SET_UPS[cause]().cause == cause


@pytest.mark.parametrize("cause", SET_UPS)
def test_no_sentence_repeats_a_secret_a_signature_or_the_body(cause):
    says = SET_UPS[cause]().says
    signature = headers()["svix-signature"]
    private = [SECRET, OTHER, SECRET.removeprefix("whsec_"), signature, signature[3:], BODY.decode(), "cs_1"]
    assert not any(text[:12] in says for text in private if len(text) > 4)
    assert "cs_1" not in says


def test_every_refusal_has_a_cause():
    assert set(PLAIN) | {"no_match"} == set(REASONS)
    assert {cause for cause, _ in PLAIN.values()} | set(SET_UPS) <= set(CAUSES)


@pytest.mark.parametrize(
    ("late", "seconds"), [(timedelta(seconds=412), "412 s old"), (timedelta(seconds=-3600), "3600 s ahead")]
)
def test_a_wrong_clock_is_told_in_seconds(late, seconds):
    assert seconds in finding(headers(), late=late).says


@pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
def test_the_missing_header_is_named(name):
    assert f"Missing: {name}." in finding(without(name)).says


def test_of_an_unsigned_post_all_headers_are_missing():
    assert "svix-id, svix-timestamp, svix-signature" in finding({}).says


def test_the_missing_one_of_the_unbranded_family_is_named():
    sent = {f"webhook-{part}": headers()[f"svix-{part}"] for part in ("id", "timestamp")}
    assert "Missing: webhook-signature." in finding(sent).says


@pytest.mark.parametrize(
    ("name", "value"), [("svix-id", "a.b"), ("svix-timestamp", "now"), ("svix-signature", "v1,cut")]
)
def test_the_malformed_header_is_named(name, value):
    assert f"{name.partition('-')[2]}." in finding(headers() | {name: value}).says


ANEW = {
    "Python's spaces": json.dumps(NEWS).encode(),
    "spaces, sorted": json.dumps(NEWS, sort_keys=True).encode(),
    "another order": json.dumps(dict(reversed(NEWS.items())), separators=(",", ":")).encode(),
    "a line break at the end": BODY + b"\n",
    "white space around": b"  " + BODY + b"\r\n ",
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "letters as escapes": json.dumps(NEWS, sort_keys=True, separators=(",", ":")).encode(),
}


@pytest.mark.parametrize("body", ANEW.values(), ids=ANEW.keys())
def test_a_body_written_anew_is_recognised(body):
    assert finding(headers(), body).cause == "reencoded"


@pytest.mark.parametrize("form", WRITTEN)
def test_a_body_is_recognised_whichever_way_it_was_written_first(form):
    first = WRITTEN[form](NEWS).encode()
    anew = json.dumps(NEWS, indent=7).encode()
    assert finding(headers(first), anew).cause == "reencoded"


@pytest.mark.parametrize("edit", TRIMMED)
def test_a_body_is_recognised_whichever_way_it_was_trimmed(edit):
    assert edit in [form for form, _ in originals(b"not json")]


def test_a_message_late_and_written_anew_is_recognised_by_its_body():
    assert finding(headers(), json.dumps(NEWS).encode(), late=timedelta(days=3)).cause == "reencoded"


def test_among_messages_that_open_one_that_does_not_was_altered():
    assert finding(headers(secret=OTHER), **LATELY).cause == "altered"


def test_a_body_that_is_cut_was_altered_whatever_came_before():
    assert finding(headers(), BODY[:-9]).cause == "altered"


def test_a_very_large_body_is_not_worth_the_trying():
    body = json.dumps(NEWS | {"x": "y" * LARGEST}).encode()
    assert finding(headers(), body).cause == "other_secret"


@given(body=st.binary(max_size=200))
def test_no_body_upsets_the_doctor(body):
    try:
        body.decode()
    except UnicodeDecodeError:
        return
    assert finding(headers(), body if body != BODY else b"").cause in CAUSES


@pytest.mark.parametrize("body", [b"[" * 60_000, b'"\\ud800"', b"1" * 5000, b'{"a":NaN}', b""])
def test_no_strange_json_upsets_the_doctor(body):
    assert finding(headers(), body).cause in CAUSES
