"""Webhook signatures: what is accepted, and that everything else is refused in one way only."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from storefront.flexprice import BadSecret, BadSignature, Verifier, check_secret
from storefront.flexprice.signature import REASONS

# The test vector of contract E.4.
SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
OLD_SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="
BODY = (
    b'{"event_type":"checkout.session.expired","checkout_session":{"id":"cs_1","checkout_status":"expired"}}'
)
MESSAGE_ID = "msg_2test"
STAMP = "1788256800"
SENT_AT = datetime(2026, 9, 1, 10, tzinfo=UTC)
GOOD = "v1,khaXvDXQRrNf8OgMEu3F+RATVjJb04uLjoUouFlbXqA="
OLD_GOOD = "v1,/EFbV6boJQaMR3HtdmG0U0ELckX5FmIt3bHbGT4qWmw="
ROTATION = f"{OLD_GOOD} {GOOD}"


def headers(signature=GOOD, *, message_id=MESSAGE_ID, stamp=STAMP, family="svix"):
    return {
        f"{family}-id": message_id,
        f"{family}-timestamp": stamp,
        f"{family}-signature": signature,
    }


def signed(body=BODY, *, message_id=MESSAGE_ID, stamp=STAMP, secret=SECRET):
    moment = datetime.fromtimestamp(int(stamp), UTC)
    return Webhook(secret).sign(message_id, moment, body.decode())


def verify(given_headers, body=BODY, *, secrets=(SECRET,), now=SENT_AT):
    return Verifier(secrets).verify(body, given_headers, now)


def refusal(given_headers, body=BODY, **options):
    with pytest.raises(BadSignature) as caught:
        verify(given_headers, body, **options)
    return caught.value.reason


@pytest.mark.parametrize(
    ("signature", "secrets"),
    [
        (GOOD, [SECRET]),
        (OLD_GOOD, [OLD_SECRET]),
        (GOOD, [OLD_SECRET, SECRET]),
        (OLD_GOOD, [SECRET, OLD_SECRET]),
        (ROTATION, [SECRET]),
        (ROTATION, [OLD_SECRET]),
        (f"{GOOD} {OLD_GOOD}", [OLD_SECRET]),
        (f"v1a,{'A' * 86}== {GOOD}", [SECRET]),
        (f"{GOOD} v2,anything", [SECRET]),
    ],
)
def test_a_message_signed_with_one_of_our_secrets_gives_its_id(signature, secrets):
    assert verify(headers(signature), secrets=secrets) == MESSAGE_ID


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_header_names_are_read_in_any_case_and_under_both_names(family, spelling):
    sent = {spelling(name): value for name, value in headers(family=family).items()}
    assert verify(sent) == MESSAGE_ID


def test_a_message_sent_now_is_accepted_by_the_wall_clock():
    stamp = str(int(datetime.now(UTC).timestamp()))
    assert verify(headers(signed(stamp=stamp), stamp=stamp), now=None) == MESSAGE_ID


def test_an_old_message_is_stale_by_the_wall_clock():
    stamp = str(int(datetime.now(UTC).timestamp()) - 400)
    assert refusal(headers(signed(stamp=stamp), stamp=stamp), now=None) == "stale"


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_five_minutes_either_way_are_accepted(seconds):
    assert verify(headers(), now=SENT_AT + timedelta(seconds=seconds)) == MESSAGE_ID


@pytest.mark.parametrize(("seconds", "reason"), [(301, "stale"), (-301, "future"), (86400, "stale")])
def test_more_than_five_minutes_are_refused(seconds, reason):
    assert refusal(headers(), now=SENT_AT + timedelta(seconds=seconds)) == reason


def test_a_time_without_a_zone_counts_as_utc():
    assert verify(headers(), now=SENT_AT.replace(tzinfo=None)) == MESSAGE_ID


def test_removing_the_old_secret_refuses_what_it_signed():
    assert refusal(headers(OLD_GOOD)) == "no_match"


def test_one_changed_byte_of_the_body_matches_nothing():
    for at in range(len(BODY)):
        changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
        assert refusal(headers(), changed) == "no_match"


def test_the_headers_of_another_message_match_nothing():
    other = signed(message_id="msg_other")
    assert refusal(headers(other)) == "no_match"
    assert refusal(headers(stamp="1788256801")) == "no_match"
    assert refusal(headers(message_id="msg_other")) == "no_match"


def test_half_of_one_family_is_not_completed_from_the_other():
    mixed = headers() | {}
    mixed["webhook-signature"] = mixed.pop("svix-signature")
    assert refusal(mixed) == "missing_header"


def test_the_same_header_twice_with_two_values_is_malformed():
    assert refusal(headers() | {"Svix-Id": "msg_other"}) == "malformed_header"


@pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
@pytest.mark.parametrize("lost", [True, False], ids=["absent", "empty"])
def test_each_header_is_needed(name, lost):
    sent = headers() | {name: ""}
    if lost:
        del sent[name]
    assert refusal(sent) == "missing_header"


B64 = GOOD.removeprefix("v1,")
# What standardwebhooks 1.1.0 lets through or answers with another exception (measured), and their kin.
MALFORMED_SIGNATURES = {
    "no comma": f"v1{B64}",
    "version only": "v1",
    "version and comma": "v1,",
    "comma only": ",",
    "two commas": f"v1,{B64},",
    "doubled comma": f"v1,,{B64}",
    "one space": " ",
    "leading space": f" {GOOD}",
    "trailing space": f"{GOOD} ",
    "double space between": f"{OLD_GOOD}  {GOOD}",
    "bad one, then a space": f"{OLD_GOOD} ",
    "garbage before a good one": f"garbage {GOOD}",
    "garbage after a good one": f"{GOOD} garbage",
    "tab separated": f"{OLD_GOOD}\t{GOOD}",
    "folded by comma and space": f"{OLD_GOOD}, {GOOD}",
    "one character": "v1,A",
    "five characters": "v1,AAAAA",
    "padding stripped": f"v1,{B64[:-1]}",
    "43 characters": f"v1,{B64[:43]}",
    "doubled padding": f"v1,{B64}=",
    "text after padding": f"v1,{B64}AAAA",
    "junk inside": f"v1,{B64[:10]}!{B64[10:]}",
    "newline inside": f"v1,{B64[:10]}\n{B64[10:]}",
    "newline at the end": f"{GOOD}\n",
    "carriage return at the end": f"{GOOD}\r",
    "url-safe alphabet": "v1," + B64.replace("+", "-").replace("/", "_"),
    "spare bits set": f"v1,{B64[:-2]}B=",
    "too few bytes": "v1," + base64.b64encode(b"x" * 31).decode(),
    "too many bytes": "v1," + base64.b64encode(b"x" * 33).decode(),
    "SHA-512 length": "v1," + base64.b64encode(b"x" * 64).decode(),
    "hexadecimal": "v1," + "ab" * 32,
    "accented letter": "v1,\u00e9",
    "latin-1 x 44": "v1," + "\u00e9" * 44,
    "emoji": "v1,\U0001f600",
    "lone surrogate": "v1,\ud800",
    "NUL": f"{GOOD}\x00",
    "upper-case version": f"V1,{B64}",
    "version 01 spelt in words": f"one,{B64}",
    "Arabic version": f"v\u0661,{B64}",
    "quoted": f'"{GOOD}"',
    "equals as in Stripe": f"v1={B64}",
    "no-break space between": f"{OLD_GOOD}\u00a0{GOOD}",
    "a thousand signatures": " ".join([OLD_GOOD] * 1000),
    "100 kB": "v1," + "A" * 100_000,
    "bytes": GOOD.encode(),
    "number": 1,
    "list": [GOOD],
}
MALFORMED_TIMESTAMPS = {
    "fraction": "1788256800.9",
    "underscore": "1_788256800",
    "leading space": " 1788256800",
    "trailing space": "1788256800 ",
    "newline": "1788256800\n",
    "plus": "+1788256800",
    "minus": "-1788256800",
    "leading nought": "01788256800",
    "nought": "0",
    "exponent": "1788256800e0",
    "Arabic digits": "".join(chr(0x660 + int(digit)) for digit in STAMP),
    "full-width digits": "".join(chr(0xFF10 + int(digit)) for digit in STAMP),
    "hexadecimal": "0x6a96bae0",
    "nan": "nan",
    "infinity": "inf",
    "RFC 3339": "2026-09-01T10:00:00Z",
    "words": "now",
    "milliseconds beyond all years": "1788256800000",
    "5 000 digits": "1" * 5000,
    "bytes": STAMP.encode(),
    "number": int(STAMP),
}
MALFORMED_IDS = {
    "surrogate": "msg_\ud800",
    "accented": "msg_\u00e9",
    "space": "msg 2test",
    "newline": "msg_2test\n",
    "NUL": "msg_2test\x00",
    "dot": "msg_2test.1",
    "256 characters": "m" * 256,
    "bytes": b"msg_2test",
    "number": 7,
}


@pytest.mark.parametrize("value", MALFORMED_SIGNATURES.values(), ids=MALFORMED_SIGNATURES.keys())
def test_a_malformed_signature_header_is_refused_as_such(value):
    assert refusal(headers(value)) == ("malformed_header" if value else "missing_header")


@pytest.mark.parametrize("value", MALFORMED_TIMESTAMPS.values(), ids=MALFORMED_TIMESTAMPS.keys())
def test_a_malformed_timestamp_is_refused_as_such(value):
    assert refusal(headers(stamp=value)) == "malformed_header"


@pytest.mark.parametrize("value", MALFORMED_IDS.values(), ids=MALFORMED_IDS.keys())
def test_a_malformed_message_id_is_refused_as_such(value):
    assert refusal(headers(message_id=value)) == "malformed_header"


@pytest.mark.parametrize("body", [b"\xff", b"\xc3(", BODY + b"\x80", b"\xed\xa0\x80", BODY.decode(), None])
def test_a_body_that_is_not_utf8_bytes_is_refused_as_such(body):
    assert refusal(headers(), body) == "malformed_body"


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf{}", b"not json", b"[" * 100_000, b"1" * 5000, b"NaN"])
def test_what_a_signed_body_says_is_not_the_verifiers_business(body):
    assert verify(headers(signed(body)), body) == MESSAGE_ID


def test_a_refusal_holds_a_reason_and_no_secret():
    assert refusal({}) in REASONS
    with pytest.raises(BadSignature) as caught:
        verify(headers(OLD_GOOD))
    assert SECRET.removeprefix("whsec_") not in str(caught.value)


header_values = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=20),
    st.none(),
    st.sampled_from([GOOD, STAMP, MESSAGE_ID, ROTATION, "v1,", " "]),
    st.builds(lambda a, b: f"{a},{b}", st.sampled_from(["v1", "v1a", ""]), st.text(max_size=50)),
    st.integers(-(10**12), 10**12).map(str),
)
header_names = st.one_of(
    st.sampled_from([f"{f}-{p}" for f in ("svix", "Webhook") for p in ("id", "timestamp", "signature")]),
    st.text(max_size=10),
)


@given(sent=st.dictionaries(header_names, header_values, max_size=8), body=st.binary(max_size=80))
def test_whatever_comes_unsigned_only_a_refusal_escapes(sent, body):
    assert refusal(sent, body) in REASONS


@given(value=header_values)
@pytest.mark.parametrize("part", ["id", "timestamp", "signature"])
def test_one_wrong_header_among_good_ones_only_gives_a_refusal(part, value):
    sent = headers() | {f"svix-{part}": value}
    if value == headers()[f"svix-{part}"] or (part == "signature" and value == ROTATION):
        assert verify(sent) == MESSAGE_ID
    else:
        assert refusal(sent) in REASONS


@given(body=st.text(max_size=200), message_id=st.from_regex(r"msg_[A-Za-z0-9]{1,30}", fullmatch=True))
def test_whatever_is_signed_rightly_is_accepted(body, message_id):
    raw = body.encode("utf-8")
    assert verify(headers(signed(raw, message_id=message_id), message_id=message_id), raw) == message_id


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), OLD_SECRET])
def test_a_whole_secret_passes_with_and_without_its_prefix(secret):
    check_secret(secret)


def encoded(count):
    return base64.b64encode(b"k" * count).decode()


BAD_SECRETS = {
    "nothing": "",
    "prefix only": "whsec_",
    "wrong-case prefix": "WHSEC_" + encoded(24),
    "prefix without its underscore": "whsec" + encoded(24)[:-1],
    "prefix twice": "whsec_whsec_" + encoded(24),
    "leading space": " " + SECRET,
    "trailing space": SECRET + " ",
    "newline": SECRET + "\n",
    "space inside": SECRET[:20] + " " + SECRET[20:],
    "quotes": f'"{SECRET}"',
    "one byte": "whsec_A",
    "23 bytes": "whsec_" + encoded(23),
    "padding lost": SECRET.rstrip("="),
    "padding half lost": SECRET[:-1],
    "last character lost": "whsec_" + encoded(24)[:-1],
    "url-safe": "whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(),
    "accented": "whsec_\u00e9" + encoded(24),
    "two at once": f"{SECRET},{OLD_SECRET}",
    "spare bits": SECRET[:-3] + "R==",
    "number": 123,
    "bytes": SECRET.encode(),
    "none": None,
}


@pytest.mark.parametrize("secret", BAD_SECRETS.values(), ids=BAD_SECRETS.keys())
def test_a_secret_that_cannot_be_right_is_refused_without_being_repeated(secret):
    with pytest.raises(BadSecret) as caught:
        check_secret(secret)
    assert encoded(24) not in str(caught.value)
    with pytest.raises(BadSecret):
        Verifier([SECRET, secret])


@pytest.mark.parametrize("secrets", [[], (), SECRET, ""])
def test_a_verifier_needs_a_list_of_at_least_one_secret(secrets):
    with pytest.raises(BadSecret):
        Verifier(secrets)


@given(secret=st.text(max_size=60))
def test_any_text_either_passes_as_a_secret_or_is_refused(secret):
    try:
        check_secret(secret)
    except BadSecret:
        return
    Verifier([secret])
