"""Seventy-two malformed webhooks, then thousands of random ones: none is stored, and none is a 500.

A naive receiver (parse first, catch one exception) answers 22 of the 72 with 500 and accepts 18.
"""

import base64
import hashlib
import hmac
import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from waitress.server import create_server

from storefront.models import WebhookEvent
from tests.shop_fixtures import HOME, SIGNING_KEY

OTHER_KEY = b"somebody else's key, 32 bytes..."
EVENT = {
    "event_type": "checkout.session.completed",
    "checkout_session": {"id": "cs_01", "customer_id": "cust_01", "checkout_status": "completed"},
}
BODY = json.dumps(EVENT).encode()
NESTED = b'{"event_type": "x", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
Request = tuple[dict[str, str], bytes]


@pytest.fixture
def database_url(sqlite_in: Any, tmp_path: Any) -> str:
    """Nothing here reaches the rows, so one database is enough."""
    return str(sqlite_in(tmp_path))


class Message(NamedTuple):
    """A valid webhook, as Flexprice would send it now, to be changed."""

    body: bytes = BODY
    id: str = "msg_1"
    stamp: str = ""
    key: bytes = SIGNING_KEY

    @property
    def b64(self) -> str:
        signed = f"{self.id}.{self.stamp}.".encode("utf-8", "surrogateescape") + self.body
        return base64.b64encode(hmac.new(self.key, signed, hashlib.sha256).digest()).decode()

    @property
    def v1(self) -> str:
        return f"v1,{self.b64}"

    def forged(self) -> str:
        return self._replace(key=OTHER_KEY).v1

    def headers(self, family: str = "svix", **changes: str | None) -> dict[str, str]:
        """Its headers, with values replaced after it was signed; None removes one."""
        made = {"id": self.id, "timestamp": self.stamp, "signature": self.v1} | changes
        return {f"{family}-{name}": value for name, value in made.items() if value is not None}


def valid(**changes: Any) -> Message:
    """Signed as it is, changes included."""
    return Message(stamp=str(int(datetime.now(UTC).timestamp())))._replace(**changes)


def signature(make: Callable[[Message], str]) -> Callable[[], Request]:
    return lambda: (valid().headers(signature=make(valid())), BODY)


def stamp(make: Callable[[str], str]) -> Callable[[], Request]:
    return lambda: (valid(stamp=make(valid().stamp)).headers(), BODY)


def message_id(value: str) -> Callable[[], Request]:
    return lambda: (valid(id=value).headers(), BODY)


def body(raw: bytes) -> Callable[[], Request]:
    return lambda: (valid(body=raw).headers(), raw)


def headers(make: Callable[[Message], dict[str, str]]) -> Callable[[], Request]:
    return lambda: (make(valid()), BODY)


MALFORMED: dict[str, Callable[[], Request]] = {
    # The signature header.
    "no signature": headers(lambda m: m.headers(signature=None)),
    "empty signature": signature(lambda m: ""),
    "no comma": signature(lambda m: f"v1{m.b64}"),
    "version only": signature(lambda m: "v1"),
    "version and comma": signature(lambda m: "v1,"),
    "comma only": signature(lambda m: ","),
    "a second comma at the end": signature(lambda m: f"{m.v1},"),
    "doubled comma": signature(lambda m: f"v1,,{m.b64}"),
    "doubled version": signature(lambda m: f"v1,{m.v1}"),
    "one space": signature(lambda m: " "),
    "double space between": signature(lambda m: f"{m.forged()}  {m.v1}"),
    "garbage before a valid one": signature(lambda m: f"garbage {m.v1}"),
    "garbage after a valid one": signature(lambda m: f"{m.v1} garbage"),
    "tab between": signature(lambda m: f"{m.forged()}\t{m.v1}"),
    "two headers folded by a comma": signature(lambda m: f"{m.forged()}, {m.v1}"),
    "one character": signature(lambda m: "v1,A"),
    "five characters": signature(lambda m: "v1,AAAAA"),
    "padding stripped": signature(lambda m: m.v1.rstrip("=")),
    "last character lost": signature(lambda m: m.v1.rstrip("=")[:-1] + "="),
    "URL-safe alphabet": signature(lambda m: "v1," + "-_" * 21 + "A="),
    "junk inside": signature(lambda m: f"v1,{m.b64[:9]}!{m.b64[9:]}"),
    "text after the padding": signature(lambda m: f"{m.v1}text"),
    "escaped line break": signature(lambda m: f"v1,{m.b64[:20]}%0A{m.b64[20:]}"),
    "spare bits set": signature(lambda m: m.v1[:-2] + chr(ord(m.v1[-2]) + 1) + "="),
    "an accent": signature(lambda m: "v1,é"),
    "44 accents": signature(lambda m: "v1," + "é" * 44),
    "an emoji": signature(lambda m: "v1,🙂"),
    "in quotes": signature(lambda m: f'"{m.v1}"'),
    "capital V": signature(lambda m: f"V1,{m.b64}"),
    "version 2": signature(lambda m: f"v2,{m.b64}"),
    "version 1a, asymmetric": signature(lambda m: f"v1a,{m.b64}"),
    "hexadecimal": signature(lambda m: f"v1,{base64.b64decode(m.b64).hex()}"),
    "twice as long": signature(lambda m: "v1," + base64.b64encode(bytes(64)).decode()),
    "all zero": signature(lambda m: "v1," + base64.b64encode(bytes(32)).decode()),
    "nine thousand characters": signature(lambda m: "v1," + "A" * 9000),
    "a hundred valid ones": signature(lambda m: " ".join([m.v1] * 100)),
    # The timestamp.
    "no timestamp": headers(lambda m: m.headers(timestamp=None)),
    "empty timestamp": stamp(lambda s: ""),
    "a word": stamp(lambda s: "yesterday"),
    "a fraction": stamp(lambda s: f"{s}.9"),
    "an underscore": stamp(lambda s: f"{s[0]}_{s[1:]}"),
    "a plus": stamp(lambda s: f"+{s}"),
    "an exponent": stamp(lambda s: f"{s}e0"),
    "negative": stamp(lambda s: f"-{s}"),
    "a leading zero": stamp(lambda s: f"0{s}"),
    "hexadecimal timestamp": stamp(lambda s: hex(int(s))),
    "Arabic digits": stamp(lambda s: s.translate({48 + n: 0x660 + n for n in range(10)})),
    "a space inside": stamp(lambda s: f"{s[:5]} {s[5:]}"),
    "milliseconds": stamp(lambda s: f"{s}000"),
    "a date": stamp(lambda s: datetime.fromtimestamp(int(s), UTC).isoformat()),
    "twenty digits": stamp(lambda s: "9" * 20),
    "not a number": stamp(lambda s: "NaN"),
    # The id.
    "no id": headers(lambda m: m.headers(id=None)),
    "empty id": message_id(""),
    "a dot in the id": message_id("msg.1"),
    "a space in the id": message_id("msg 1"),
    "an accent in the id": message_id("msg_é"),
    "a surrogate in the id": message_id("msg_\udc80"),
    "three hundred characters": message_id("m" * 300),
    # The families.
    "halves of two families": headers(
        lambda m: m.headers(signature=None) | m.headers("webhook", id=None, timestamp=None)
    ),
    "a forged family beside a valid one": headers(
        lambda m: m.headers("webhook") | m._replace(key=OTHER_KEY).headers()
    ),
    # The body, with a valid signature.
    "no body": body(b""),
    "not JSON": body(b"event=completed"),
    "a byte order mark": body(b"\xef\xbb\xbf" + BODY),
    "cut off": body(BODY[:-1]),
    "a list": body(b"[]"),
    "NaN in it": body(BODY[:-1] + b', "amount": NaN}'),
    "nested 100,000 deep": body(NESTED),
    "a number of 5,000 digits": body(BODY[:-1] + b', "amount": ' + b"9" * 5000 + b"}"),
    "half a character": body(b'{"event_type": "\xff"}'),
    # The body, not signed.
    "not text, and not signed": lambda: (valid().headers(signature="v1," + "A" * 43 + "="), b"\xff\xfe\x00"),
    "encoded again": lambda: (valid().headers(), json.dumps(EVENT, indent=1).encode()),
}
NOT_EVENTS = [
    b"null",
    b"{}",
    b'"text"',
    b'{"event_type": 5}',
    b'{"event_type": null}',
    b'{"event_type": ""}',
    b'{"event_type": "checkout.session.completed"}',
    b'{"event_type": "checkout.session.completed", "checkout_session": {"id": 7}}',
    b'{"event_type": "checkout.session.completed", "checkout_session": []}',
    b'{"event_type": "refund.succeeded", "refund": {"id": "re_1", "amount": NaN}}',
]


def post(app: Flask, sent: dict[str, str], raw: bytes) -> int:
    client = app.test_client()
    return client.post("/webhooks/flexprice", base_url=HOME, data=raw, headers=sent).status_code


def test_there_are_seventy_two() -> None:
    assert len(MALFORMED) == 72


def test_what_they_are_made_from_is_valid(app: Flask, the_event: Any) -> None:
    assert post(app, valid().headers(), BODY) == 204
    assert the_event().object_id == "cs_01"


def test_all_of_them_are_refused(app: Flask, rows: Any) -> None:
    answers = {name: post(app, *make()) for name, make in MALFORMED.items()}
    assert {name: status for name, status in answers.items() if status not in (400, 401)} == {}
    assert rows(WebhookEvent) == []


def test_signed_body_that_is_no_event_is_400(app: Flask, rows: Any) -> None:
    answers = {raw: post(app, valid(body=raw).headers(), raw) for raw in NOT_EVENTS}
    assert answers == dict.fromkeys(NOT_EVENTS, 400)
    assert rows(WebhookEvent) == []


# -- the same through a real server ------------------------------------------------------------------


@pytest.fixture
def port(app: Flask) -> Iterator[int]:
    server = create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield int(server.effective_port)
    server.trigger.pull_trigger(lambda: server.close())
    thread.join(5)
    server.task_dispatcher.shutdown()


def post_over_http(port: int, sent: dict[str, str], raw: bytes) -> int:
    """Byte for byte: what latin-1 cannot say goes as UTF-8."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest("POST", "/webhooks/flexprice")
        connection.putheader("Content-Length", str(len(raw)))
        for name, value in sent.items():
            connection.putheader(name, value.encode("utf-8", "surrogateescape"))
        connection.endheaders(raw)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_real_server_refuses_all_of_them(port: int, rows: Any) -> None:
    answers = {name: post_over_http(port, *make()) for name, make in MALFORMED.items()}
    assert {name: status for name, status in answers.items() if status not in (400, 401)} == {}
    assert rows(WebhookEvent) == []
    assert post_over_http(port, valid().headers(), BODY) == 204


# -- and thousands more -------------------------------------------------------------------------------

HEADER_TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=80)
CHANGES = st.tuples(st.integers(0, 60), st.characters(max_codepoint=255, exclude_characters="\r\n"))
FAMILIES = st.sampled_from(["svix", "webhook", "Svix", "WEBHOOK"])
OTHER_HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Content-Encoding", "Accept", "Cookie", "X-Forwarded-For", "Expect"]),
    HEADER_TEXT,
)


@st.composite
def unsigned(draw: Any) -> Request:
    """Any headers and body, or a valid webhook with one character of a header changed."""
    raw = draw(st.one_of(st.binary(max_size=200), st.just(BODY)))
    if draw(st.booleans()):
        names = st.sampled_from(
            [f"{f}-{n}" for f in ("svix", "webhook") for n in ("id", "timestamp", "signature")]
        )
        return draw(st.dictionaries(names, HEADER_TEXT)) | draw(OTHER_HEADERS), raw
    made = valid(body=raw).headers(draw(FAMILIES))
    name, (at, char) = draw(st.sampled_from(sorted(made))), draw(CHANGES)
    changed = made[name][:at] + char + made[name][at + 1 :]
    assume(changed != made[name])
    return made | {name: changed} | draw(OTHER_HEADERS), raw


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["checkout.session.completed", "subscription.updated", "refund.x", "x"])
        | JSON
    },
    optional={
        name: st.dictionaries(
            st.sampled_from(["id", "customer_id", "checkout_status", "payment_id", "metadata", "amount"]),
            st.text(max_size=300) | JSON,
        )
        | JSON
        for name in ("checkout_session", "subscription", "refund", "customer")
    },
)
SIGNED_BODIES = st.binary(max_size=100) | EVENTS.map(lambda event: json.dumps(event).encode())


def check_unsigned(app: Flask, fuzz: Request) -> None:
    assert post(app, *fuzz) in (400, 401)


def check_signed(app: Flask, raw: bytes) -> None:
    number = hashlib.sha256(raw).hexdigest()
    assert post(app, valid(body=raw, id=number).headers(), raw) in (204, 400, 401)


@pytest.fixture
def quiet(caplog: Any) -> None:
    """Ten thousand log records of rejections would take 800 MB."""
    caplog.set_level("CRITICAL")


FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
MANY = settings(FEW, max_examples=10_000)


@FEW
@given(fuzz=unsigned())
def test_any_unsigned_request_is_refused(app: Flask, fuzz: Request) -> None:
    check_unsigned(app, fuzz)


@FEW
@given(raw=SIGNED_BODIES)
def test_any_signed_body_is_stored_or_refused(app: Flask, raw: bytes) -> None:
    check_signed(app, raw)


@pytest.mark.soak
@pytest.mark.usefixtures("quiet")
@MANY
@given(fuzz=unsigned())
def test_ten_thousand_unsigned_requests_are_refused(app: Flask, fuzz: Request) -> None:
    check_unsigned(app, fuzz)


@pytest.mark.soak
@pytest.mark.usefixtures("quiet")
@MANY
@given(raw=SIGNED_BODIES)
def test_ten_thousand_signed_bodies_cause_no_error(app: Flask, raw: bytes) -> None:
    check_signed(app, raw)


@pytest.mark.soak
@pytest.mark.usefixtures("quiet")
def test_refusing_takes_no_longer_than_storing(app: Flask) -> None:
    """At most 1.5 times. Each of the 72 in turn with a valid one, so that both meet the same machine."""
    ratios = {}
    for name, make in MALFORMED.items():
        spent_s: dict[bool, list[float]] = {True: [], False: []}
        for number in range(40):
            for good in (True, False):
                made = (valid(id=f"{name} {number}".replace(" ", "_")).headers(), BODY) if good else make()
                started = time.perf_counter()
                post(app, *made)
                spent_s[good].append(time.perf_counter() - started)
        ratios[name] = statistics.median(spent_s[False]) / statistics.median(spent_s[True])
    slowest = max(ratios, key=lambda name: ratios[name])
    print(f"\n72 malformed webhooks: at most {ratios[slowest]:.2f} times a valid one ({slowest})")
    assert ratios[slowest] <= 1.5
