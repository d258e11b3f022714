"""The door Flexprice calls: only its own, fresh, unaltered messages come in, each of them once."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from storefront.models import InboxMessage


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_a_signed_message_is_stored(tell, news, rows, family):
    answer = tell(news(), family=family)
    assert (answer.status_code, answer.data) == (204, b"")
    (message,) = rows(InboxMessage)
    assert (message.id, message.event_type, message.object_id) == (
        "msg_1",
        "checkout.session.completed",
        "cs_01",
    )
    assert message.customer_id == "cust_01"
    assert json.loads(message.body) == news()
    assert message.handled_at is None


def test_the_same_message_again_is_stored_once(tell, news, rows):
    assert [tell(news()).status_code for _ in range(3)] == [204, 204, 204]
    assert len(rows(InboxMessage)) == 1


def test_a_second_copy_does_not_overwrite_the_first(tell, news, rows):
    tell(news())
    tell(news("failed"))  # signed, but under an id that is taken
    (message,) = rows(InboxMessage)
    assert message.event_type == "checkout.session.completed"


def test_a_signed_in_shopper_or_a_missing_form_token_does_not_matter(asha, sign, news):
    body = json.dumps(news()).encode()
    assert asha.raw_post("/webhooks/flexprice", body, headers=sign(body)).status_code == 204


def test_a_rotated_secret_is_accepted_beside_the_old_one(build, env, sign, news):
    old, new = env["FLEXPRICE_WEBHOOK_SECRET"], "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    app = build(FLEXPRICE_WEBHOOK_SECRET=f"{old} {new}")
    body = json.dumps(news()).encode()
    for number, key in enumerate((b"the shop's own signing key, 32 b", b"0123456789abcdef" * 2)):
        headers = sign(body, f"msg_{number}", key=key)
        answer = app.test_client().post("/webhooks/flexprice", data=body, headers=headers)
        assert answer.status_code == 204


def refused(answer, rows, status=401):
    assert answer.status_code == status
    assert rows(InboxMessage) == []


def test_a_forged_message_is_refused(tell, news, rows):
    refused(tell(news(), key=b"somebody else's key, 32 bytes..."), rows)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_stale_message_is_refused(tell, news, rows, minutes):
    refused(tell(news(), at=datetime.now(UTC) + timedelta(minutes=minutes)), rows)


def test_an_altered_body_is_refused(tell, news, sign, rows):
    headers = sign(json.dumps(news("failed")).encode())
    refused(tell(news("completed"), headers), rows)


def test_a_body_with_one_more_space_is_refused(tell, news, sign, rows):
    body = json.dumps(news()).encode()
    refused(tell(body + b" ", sign(body)), rows)


@pytest.mark.parametrize("changed", ["svix-id", "svix-timestamp"])
def test_an_altered_header_is_refused(tell, news, sign, rows, changed):
    body = json.dumps(news()).encode()
    headers = sign(body)
    headers[changed] = headers[changed][:-1] + ("1" if headers[changed][-1] != "1" else "2")
    refused(tell(body, headers), rows)


@pytest.mark.parametrize("missing", ["svix-id", "svix-timestamp", "svix-signature"])
def test_a_missing_header_is_refused(tell, news, sign, rows, missing):
    body = json.dumps(news()).encode()
    headers = sign(body)
    del headers[missing]
    refused(tell(body, headers), rows)


def test_headers_of_two_families_are_not_mixed(tell, news, sign, rows):
    body = json.dumps(news()).encode()
    svix, plain = sign(body), sign(body, family="webhook")
    mixed = {"svix-id": svix["svix-id"], "svix-timestamp": svix["svix-timestamp"]}
    refused(tell(body, mixed | {"webhook-signature": plain["webhook-signature"]}), rows)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("svix-timestamp", "yesterday"),
        ("svix-timestamp", "1e9"),
        ("svix-timestamp", "99999999999999999999999"),
        ("svix-timestamp", "-1"),
        ("svix-signature", "v1,not base64!"),
        ("svix-signature", "v1,"),
        ("svix-signature", "v1,ä"),
        ("svix-signature", "v1," + "A" * 9000),
        ("svix-signature", "v2,AAAA"),
        ("svix-id", "a.b"),
        ("svix-id", "x" * 300),
    ],
)
def test_a_malformed_header_is_refused_and_never_an_error_of_ours(tell, news, sign, rows, header, value):
    body = json.dumps(news()).encode()
    refused(tell(body, sign(body) | {header: value}), rows)


def test_unsigned_bytes_that_are_no_text_are_refused(tell, rows):
    headers = {"svix-id": "m", "svix-timestamp": "1788256800", "svix-signature": "v1," + "A" * 43 + "="}
    refused(tell(b"\xff\xfe\x00", headers), rows)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}",
        b'"text"',
        b'{"event_type": 5}',
        b'{"event_type": null}',
        b'{"event_type": ""}',
        b'{"event_type": "checkout.session.completed"}',
        b'{"event_type": "checkout.session.completed", "checkout_session": {"id": 7}}',
        b'{"event_type": "checkout.session.completed", "checkout_session": []}',
        b'{"event_type": "refund.succeeded", "refund": {"id": "re_1", "amount": NaN}}',
        b'{"event_type": "x", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'\xef\xbb\xbf{"event_type": "x"}',
    ],
)
def test_a_signed_body_that_is_no_event_is_400(tell, rows, body):
    refused(tell(body), rows, 400)


def test_signed_bytes_that_are_no_text_are_refused(tell, rows):
    refused(tell(b'{"event_type": "\xff"}'), rows)


def test_more_than_256_kib_is_413(tell, rows):
    refused(tell(b"{" + b" " * 256 * 1024), rows, 413)


def test_exactly_256_kib_is_read(tell, news):
    body = json.dumps(news()).encode()
    assert tell(body.ljust(256 * 1024)).status_code == 204


@pytest.mark.parametrize("kind", ["customer.created", "invoice.update.finalized", "brand.new"])
def test_other_events_are_noted_without_their_body(tell, rows, kind):
    entity = {"id": "obj_1", "customer_id": "cust_9", "email": "private@example.com"}
    assert tell({"event_type": kind, kind.partition(".")[0]: entity}).status_code == 204
    (message,) = rows(InboxMessage)
    assert (message.event_type, message.object_id, message.body) == (kind, "obj_1", None)


def test_the_order_reference_of_a_subscription_is_kept_and_its_body_is_not(tell, rows):
    subscription = {"id": "subs_1", "subscription_status": "active", "metadata": {"order_ref": "abc"}}
    assert tell({"event_type": "subscription.updated", "subscription": subscription}).status_code == 204
    (message,) = rows(InboxMessage)
    assert (message.object_id, message.order_ref, message.body) == ("subs_1", "abc", None)


def test_a_refund_is_kept_by_its_payment(tell, rows):
    refund = {"id": "re_1", "payment_id": "pay_01", "refund_status": "succeeded", "currency": "inr"}
    assert tell({"event_type": "refund.succeeded", "refund": refund}).status_code == 204
    (message,) = rows(InboxMessage)
    assert (message.object_id, message.body) == ("pay_01", None)


def test_a_visit_is_not_allowed(browser):
    assert browser.get("/webhooks/flexprice").status_code == 405


# -- what no database would keep ------------------------------------------------------------------------

KINDS = {"checkout.session.completed": "checkout_session", "subscription.updated": "subscription"}
KINDS |= {"refund.x": "refund", "plan.x": "plan"}
PLACES = ("event_type", "id", "customer_id", "payment_id", "idempotency_key", "order_ref")


@pytest.mark.parametrize("odd", ["\\ud800", "\\u0000", "x" * 300], ids=["half a pair", "NUL", "too long"])
def test_what_no_database_would_keep_is_refused_or_left_out(tell, rows, odd):
    """Half a surrogate pair, a NUL, more than a column is wide: each is an exception in some database."""
    for number, (kind, place) in enumerate(itertools.product(KINDS, PLACES)):
        inner = {"id": "x_1", "customer_id": "c_1", "checkout_status": "completed", "metadata": {}}
        event = {"event_type": kind, KINDS[kind]: inner}
        where = {"event_type": event, "order_ref": inner["metadata"]}.get(place, inner)
        where[place] = where.get(place, "") + "ODD"
        raw = json.dumps(event).encode().replace(b"ODD", odd.encode())
        answer = tell(raw, message_id=f"msg_{number}")
        assert (kind, place, answer.status_code in (204, 400)) == (kind, place, True)
    for row in rows(InboxMessage):
        kept = (row.event_type, row.object_id, row.customer_id, row.order_ref or "")
        assert all(len(text) <= 255 and "\0" not in text and text.isascii() for text in kept)


# -- the clock, and the secret's successor ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "status"), [(-290, 204), (290, 204), (-310, 401), (310, 401), (-600, 401), (600, 401)]
)
def test_five_minutes_either_way_are_forgiven(tell, news, rows, seconds, status):
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    assert tell(news(), at=at).status_code == status
    assert len(rows(InboxMessage)) == (status == 204)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_wrong_is_named_in_the_log(tell, news, caplog, minutes):
    tell(news(), at=datetime.now(UTC) + timedelta(minutes=minutes))
    assert "clock" in caplog.text
    assert re.search(r"\b(599|600|601)\b|10 min", caplog.text)


def test_a_replay_is_stored_once_within_the_window_and_refused_after_it(tell, news, sign, rows):
    body = json.dumps(news()).encode()
    fresh, old = sign(body), sign(body, at=datetime.now(UTC) - timedelta(minutes=6))
    assert [tell(body, fresh).status_code for _ in range(3)] == [204, 204, 204]
    assert tell(body, old).status_code == 401
    assert tell(body, sign(body)).status_code == 204, "a manual resend keeps its id and is stamped anew"
    assert len(rows(InboxMessage)) == 1


NEW_KEY = b"0123456789abcdef" * 2
NEW_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OLD_KEY = b"the shop's own signing key, 32 b"


def test_no_message_is_dropped_while_the_secret_is_changed(build, env, sign, news):
    """Day one: the old secret. Then both, in either order, for as long as Flexprice signs with both."""
    old = env["FLEXPRICE_WEBHOOK_SECRET"]
    body, at = json.dumps(news()).encode(), datetime.now(UTC)

    def answers(secrets, **signatures):
        door = build(FLEXPRICE_WEBHOOK_SECRET=secrets).test_client()
        headers = sign(body, at=at) | signatures
        return door.post("/webhooks/flexprice", data=body, headers=headers).status_code

    made = {
        name: sign(body, key=key, at=at)["svix-signature"]
        for name, key in (("old", OLD_KEY), ("new", NEW_KEY))
    }
    old_first, new_first = f"{made['old']} {made['new']}", f"{made['new']} {made['old']}"
    for secrets in (f"{old} {NEW_SECRET}", f"{NEW_SECRET} {old}"):
        for signature in (made["old"], made["new"], old_first, new_first):
            assert answers(secrets, **{"svix-signature": signature}) == 204
    for signature in (made["new"], old_first, new_first):
        assert answers(NEW_SECRET, **{"svix-signature": signature}) == 204
    assert answers(NEW_SECRET, **{"svix-signature": made["old"]}) == 401, "removed is removed"
