"""Refused webhooks: the sender learns nothing, the operator learns why, and a flood costs next to nothing."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from storefront import database, doorman
from storefront.database import DatabaseBusy
from storefront.models import InboxMessage, Refusal

SECOND = timedelta(seconds=1)


@pytest.fixture
def unhurried(monkeypatch):
    """Every refusal may be written down: the tests do not wait for a second to pass."""
    monkeypatch.setattr(doorman, "PAUSE", timedelta())


@pytest.fixture
def set_up(tell, news, sign):
    """The six broken set-ups, each as one delivery."""
    body = json.dumps(news(), separators=(",", ":")).encode()

    def altered():
        assert tell(news("failed"), message_id="msg_good").status_code == 204  # the secret is right
        return tell(body.replace(b"cs_01", b"cs_02"), sign(body))

    return {
        "missing_header": lambda: tell(body, {}),
        "malformed_header": lambda: tell(body, sign(body) | {"svix-signature": "v1,cut"}),
        "clock": lambda: tell(body, at=datetime.now(UTC) - 700 * SECOND),
        "reencoded": lambda: tell(json.dumps(news(), indent=1).encode(), sign(body)),
        "altered": altered,
        "other_secret": lambda: tell(body, key=b"that of another endpoint, 32 b.."),
    }


CAUSES = ["missing_header", "malformed_header", "clock", "reencoded", "altered", "other_secret"]


@pytest.mark.parametrize("cause", CAUSES)
def test_a_broken_set_up_is_named_in_the_row_and_in_the_log(set_up, rows, caplog, cause):
    caplog.set_level(logging.WARNING)
    set_up[cause]()
    (refusal,) = rows(Refusal)
    assert refusal.cause == cause
    assert f"webhook refused: {cause}: {refusal.says}" in caplog.messages


def test_the_answer_is_the_same_whatever_the_cause(set_up, unhurried):
    answers = [set_up[cause]() for cause in CAUSES]
    for answer in answers:
        answer.headers.remove("X-Request-Id")  # each request has its own
    assert {(answer.status_code, answer.data, str(answer.headers)) for answer in answers} == {
        (401, b'{"error":"signature not accepted"}\n', str(answers[0].headers))
    }


def test_neither_log_nor_row_repeats_secret_signature_or_body(set_up, rows, caplog, env, unhurried):
    caplog.set_level(logging.DEBUG)
    for cause in CAUSES:
        set_up[cause]()
    kept = repr([vars(refusal) for refusal in rows(Refusal)]) + caplog.text
    assert env["FLEXPRICE_WEBHOOK_SECRET"][6:20] not in kept
    assert "checkout_status" not in kept
    assert "v1," not in kept


def test_a_row_says_who_sent_what_and_never_the_body(tell, news, rows):
    body = json.dumps(news()).encode()
    headers = {"svix-id": "msg_9", "svix-timestamp": "1788256800", "User-Agent": "Svix\x7f-Webhooks/1.2"}
    tell(body, headers)
    (refusal,) = rows(Refusal)
    assert (refusal.message_id, refusal.agent, refusal.sender) == ("msg_9", "Svix?-Webhooks/1.2", "127.0.0.1")
    assert (refusal.body_bytes, len(refusal.body_sha256), refusal.count) == (len(body), 64, 1)


def test_the_wrong_clock_is_told_in_seconds(set_up, rows):
    set_up["clock"]()
    (refusal,) = rows(Refusal)
    assert int(refusal.says.partition(" s old")[0].rpartition(" ")[2]) >= 700


def test_a_signed_body_that_is_no_event_is_written_down_too(tell, rows):
    assert tell(b'{"event_type": 5}').status_code == 400
    (refusal,) = rows(Refusal)
    assert refusal.cause == "not_an_event"


def test_after_one_that_did_not_open_the_next_is_the_secrets_fault(set_up, rows, unhurried):
    """The secret was renewed at Flexprice: from then on nothing opens."""
    set_up["altered"]()
    set_up["other_secret"]()
    assert [refusal.cause for refusal in rows(Refusal)] == ["altered", "other_secret"]


def test_a_message_of_the_day_before_yesterday_says_nothing_of_the_secret(
    set_up, rows, tell, news, monkeypatch
):
    monkeypatch.setattr(doorman, "TRUSTED_FOR", timedelta())
    set_up["altered"]()
    assert [refusal.cause for refusal in rows(Refusal)] == ["other_secret"]


def test_what_the_shop_sends_itself_says_nothing_of_the_secret(set_up, tell, news, rows, unhurried):
    """The go-live doctor signs with the secret that is in question, and forges with another."""
    tell({"event_type": "storefront.test"}, message_id="msg_doctor_1")
    set_up["other_secret"]()
    assert [refusal.cause for refusal in rows(Refusal)] == ["other_secret"]


def test_what_the_shop_forges_itself_takes_no_trust_away(set_up, tell, news, rows, unhurried):
    tell(news(), message_id="msg_good")
    tell(news(), message_id="msg_doctor_2", key=b"a value nobody knows, made by it")
    set_up["other_secret"]()
    assert rows(Refusal)[-1].cause == "altered"


def test_an_unsigned_note_of_our_own_says_nothing_of_the_secret(context, set_up, rows):
    from storefront import inbox

    with database.writing():
        inbox.note_answer("cs_01", "completed", datetime.now(UTC))
    set_up["other_secret"]()
    assert [refusal.cause for refusal in rows(Refusal)] == ["other_secret"]


# -- floods -----------------------------------------------------------------------------------------


def refuse(reason="missing_header", at=datetime(2026, 9, 1, 10, tzinfo=UTC), times=1):
    for _ in range(times):
        doorman.note(doorman.BadSignature(reason, "x"), doorman.Delivery(b"{}", {}, "192.0.2.7", at))


def test_a_flood_writes_one_row_a_second_and_counts_the_rest(context, rows, samples):
    refuse(at=samples.NOW, times=500)
    refuse(at=samples.NOW + SECOND)
    assert [refusal.count for refusal in rows(Refusal)] == [1, 500]


def test_a_flood_of_one_cause_does_not_silence_another(context, rows, samples):
    refuse(at=samples.NOW, times=5)
    refuse("stale", at=samples.NOW)
    assert [refusal.cause for refusal in rows(Refusal)] == ["missing_header", "clock"]


def test_a_flood_fills_no_table_and_pushes_out_no_other_cause(context, rows, samples, monkeypatch):
    monkeypatch.setattr(doorman, "KEPT", 5)
    refuse("stale", at=samples.NOW)
    for second in range(20):
        refuse(at=samples.NOW + second * SECOND)
    kept = rows(Refusal)
    assert [refusal.cause for refusal in kept] == ["clock"] + ["missing_header"] * 5
    assert kept[-1].at == samples.NOW + 19 * SECOND


def test_only_what_is_written_down_is_diagnosed(context, samples, monkeypatch):
    asked = []
    monkeypatch.setattr(doorman, "diagnose", lambda *a: asked.append(a) or doorman.Finding("clock", "x"))
    refuse(at=samples.NOW, times=100)
    assert len(asked) == 1


def test_a_busy_database_changes_no_answer_and_loses_no_count(tell, news, rows, monkeypatch):
    def busy():
        raise DatabaseBusy

    monkeypatch.setattr(doorman, "PAUSE", timedelta())
    with monkeypatch.context() as patched:
        patched.setattr(doorman, "writing", busy)
        assert tell(news(), {}).status_code == 401
    assert tell(news(), {}).status_code == 401
    assert [refusal.count for refusal in rows(Refusal)] == [2]
    assert rows(InboxMessage) == []
