"""Rejected webhooks: the sender learns nothing, the operator learns the cause, and a flood costs little."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from storefront.flexprice import InvalidSignature
from storefront.models import WebhookEvent
from storefront.operations import webhook_rejections
from storefront.operations.models import RejectedWebhook
from storefront.operations.webhook_diagnosis import Diagnosis
from tests.shop_fixtures import NOW, sign

SECOND = timedelta(seconds=1)


@pytest.fixture
def app(make_app):
    """New for each test: the process keeps in memory what is tested here."""
    return make_app()


@pytest.fixture
def unlimited(monkeypatch):
    """Every rejection may be written: the tests do not wait for a second to pass."""
    monkeypatch.setattr(webhook_rejections, "WRITE_INTERVAL", timedelta())


@pytest.fixture
def broken_setups(send_webhook, webhook):
    """The six broken setups, each as one delivery."""
    body = json.dumps(webhook(), separators=(",", ":")).encode()

    def altered():
        assert (
            send_webhook(webhook("failed"), message_id="msg_good").status_code == 204
        )  # so the secret is right
        return send_webhook(body.replace(b"cs_01", b"cs_02"), sign(body))

    return {
        "missing_header": lambda: send_webhook(body, {}),
        "malformed_header": lambda: send_webhook(body, sign(body) | {"svix-signature": "v1,cut"}),
        "clock": lambda: send_webhook(body, at=datetime.now(UTC) - 700 * SECOND),
        "reencoded": lambda: send_webhook(json.dumps(webhook(), indent=1).encode(), sign(body)),
        "altered": altered,
        "other_secret": lambda: send_webhook(body, key=b"that of another endpoint, 32 b.."),
    }


CAUSES = ["missing_header", "malformed_header", "clock", "reencoded", "altered", "other_secret"]


@pytest.mark.parametrize("cause", CAUSES)
def test_a_broken_setup_is_named_in_row_and_log(broken_setups, rows, caplog, cause):
    caplog.set_level(logging.WARNING)
    broken_setups[cause]()
    (rejection,) = rows(RejectedWebhook)
    assert rejection.cause == cause
    assert f"Webhook rejected: {cause}: {rejection.message}" in caplog.messages


def test_the_answer_is_the_same_whatever_the_cause(broken_setups, unlimited):
    answers = [broken_setups[cause]() for cause in CAUSES]
    for answer in answers:
        answer.headers.remove("X-Request-ID")  # each request has its own
    assert {(answer.status_code, answer.data, str(answer.headers)) for answer in answers} == {
        (401, b'{"error":"signature not accepted"}\n', str(answers[0].headers))
    }


def test_log_and_row_repeat_no_secret_or_body(broken_setups, rows, caplog, env, unlimited):
    caplog.set_level(logging.DEBUG)
    for cause in CAUSES:
        broken_setups[cause]()
    kept = repr([vars(rejection) for rejection in rows(RejectedWebhook)]) + caplog.text
    assert env["FLEXPRICE_WEBHOOK_SECRET"][6:20] not in kept
    assert "checkout_status" not in kept
    assert "v1," not in kept


def test_a_row_says_who_sent_what(send_webhook, webhook, rows):
    body = json.dumps(webhook()).encode()
    headers = {"svix-id": "msg_9", "svix-timestamp": "1788256800", "User-Agent": "Svix\x7f-Webhooks/1.2"}
    send_webhook(body, headers)
    (row,) = rows(RejectedWebhook)
    assert (row.message_id, row.user_agent, row.remote_addr) == ("msg_9", "Svix?-Webhooks/1.2", "127.0.0.1")
    assert (row.body_bytes, len(row.body_sha256), row.count) == (len(body), 64, 1)


def test_a_wrong_clock_is_named_in_seconds(broken_setups, rows):
    broken_setups["clock"]()
    (row,) = rows(RejectedWebhook)
    assert int(row.message.partition(" s old")[0].rpartition(" ")[2]) >= 700


def test_a_signed_body_that_is_no_event_is_recorded(send_webhook, rows):
    assert send_webhook(b'{"event_type": 5}').status_code == 400
    (row,) = rows(RejectedWebhook)
    assert row.cause == "not_an_event"


def test_after_a_mismatch_the_secret_is_suspected(broken_setups, rows, unlimited):
    """The secret was renewed at Flexprice: from then on nothing verifies."""
    broken_setups["altered"]()
    broken_setups["other_secret"]()
    assert [row.cause for row in rows(RejectedWebhook)] == ["altered", "other_secret"]


def test_an_old_event_says_nothing_of_the_secret(broken_setups, rows, monkeypatch):
    monkeypatch.setattr(webhook_rejections, "TRUSTED_FOR", timedelta())
    broken_setups["altered"]()
    assert [row.cause for row in rows(RejectedWebhook)] == ["other_secret"]


def test_the_self_test_says_nothing_of_the_secret(broken_setups, send_webhook, rows, unlimited):
    """It signs with the secret that is in question, and forges with another."""
    send_webhook({"event_type": "storefront.test"}, message_id="msg_preflight_1")
    broken_setups["other_secret"]()
    assert [row.cause for row in rows(RejectedWebhook)] == ["other_secret"]


def test_a_forged_self_test_takes_no_trust_away(broken_setups, send_webhook, webhook, rows, unlimited):
    send_webhook(webhook(), message_id="msg_good")
    send_webhook(webhook(), message_id="msg_preflight_2", key=b"a value nobody knows, made by it")
    broken_setups["other_secret"]()
    assert rows(RejectedWebhook)[-1].cause == "altered"


def test_an_unsigned_hint_says_nothing_of_the_secret(broken_setups, add_rows, make_event, rows):
    add_rows(make_event(id="hint:checkout:cs_01", signed=False))
    broken_setups["other_secret"]()
    assert [row.cause for row in rows(RejectedWebhook)] == ["other_secret"]


# -- floods -----------------------------------------------------------------------------------------


@pytest.fixture
def reject(context, monkeypatch):
    """Reject webhooks at a time of the test."""

    def rejected(reason="missing_header", at=NOW, times=1):
        monkeypatch.setattr(webhook_rejections, "db_now", lambda: at)
        for _ in range(times):
            webhook_rejections.record(context, InvalidSignature(reason, "x"), b"{}", {}, "192.0.2.7")

    return rejected


def test_a_flood_writes_one_row_a_second_and_counts(reject, rows):
    reject(times=500)
    reject(at=NOW + SECOND)
    assert [row.count for row in rows(RejectedWebhook)] == [1, 500]


def test_a_flood_of_one_cause_does_not_hide_another(reject, rows):
    reject(times=5)
    reject("stale")
    assert [row.cause for row in rows(RejectedWebhook)] == ["missing_header", "clock"]


def test_a_flood_fills_no_table(reject, rows, monkeypatch):
    monkeypatch.setattr(webhook_rejections, "KEPT_PER_CAUSE", 5)
    reject("stale")
    for second in range(20):
        reject(at=NOW + second * SECOND)
    kept = rows(RejectedWebhook)
    assert [row.cause for row in kept] == ["clock"] + ["missing_header"] * 5
    assert kept[-1].at == NOW + 19 * SECOND


def test_only_what_is_recorded_is_diagnosed(reject, monkeypatch):
    asked = []
    found = Diagnosis("clock", "x")
    monkeypatch.setattr(webhook_rejections, "diagnose", lambda *arguments: asked.append(arguments) or found)
    reject(times=100)
    assert len(asked) == 1


def test_a_database_in_trouble_changes_no_answer_and_loses_no_count(
    send_webhook, webhook, rows, monkeypatch, unlimited
):
    def locked():
        raise OperationalError("", {}, Exception("database is locked"))

    with monkeypatch.context() as patched:
        patched.setattr(webhook_rejections, "commit", locked)
        assert send_webhook(webhook(), {}).status_code == 401
    assert send_webhook(webhook(), {}).status_code == 401
    assert [row.count for row in rows(RejectedWebhook)] == [2]
    assert rows(WebhookEvent) == []
