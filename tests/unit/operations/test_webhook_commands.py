"""`flask webhooks …`: look into events, process one again, and find out why a webhook was rejected."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from storefront.models import WebhookEvent
from storefront.operations.cli import headers_in
from storefront.operations.models import AuditNote, RejectedWebhook
from storefront.operations.webhook_diagnosis import CAUSES
from tests.shop_fixtures import sign
from tests.unit.operations.conftest import now

HOUR = timedelta(hours=1)


@pytest.fixture
def app(make_app):
    """New for each test: the process counts rejected webhooks in its memory."""
    return make_app()


@pytest.fixture
def run(app):
    def command(*words):
        return app.test_cli_runner().invoke(args=["webhooks", *map(str, words)])

    return command


@pytest.fixture
def events(add_rows, make_event):
    """One that waits, one that fails, one set aside, one processed."""
    later = now() + HOUR
    add_rows(
        make_event(id="msg_waits", next_attempt_at=later),
        make_event(
            id="msg_fails",
            next_attempt_at=later,
            error="Traceback …\nKeyError: 'x'",
            outcome="failed: KeyError",
        ),
        make_event(id="msg_aside", next_attempt_at=None, outcome="Flexprice does not know it"),
        make_event(id="msg_done", processed_at=now(), outcome="applied", attempts=1),
    )


def test_events_are_listed_with_their_state(run, events):
    lines = run("list").output.splitlines()
    states = {
        "msg_waits": "waiting",
        "msg_fails": "failing",
        "msg_aside": "set aside",
        "msg_done": "processed",
    }
    for name, state in states.items():
        assert any(name in line and state in line for line in lines), name
    assert "msg_done" not in run("list", "--show", "waiting").output
    assert len(run("list", "--limit", 1).output.splitlines()) == 1


def test_an_event_is_shown_with_its_traceback(run, events):
    shown = run("show", "msg_fails")
    assert shown.exit_code == 0
    assert "KeyError: 'x'" in shown.output
    assert "checkout.session.completed" in shown.output


@pytest.mark.parametrize("command", ["show", "retry"])
def test_an_unknown_event_is_named(run, command):
    answer = run(command, "msg_none")
    assert answer.exit_code == 1
    assert "There is no event msg_none." in answer.output


@pytest.mark.parametrize("name", ["msg_waits", "msg_fails", "msg_aside", "msg_done"])
def test_retry_makes_an_event_due_and_leaves_a_note(run, events, rows, name):
    assert run("retry", name).exit_code == 0
    (row,) = [row for row in rows(WebhookEvent) if row.id == name]
    assert row.processed_at is None
    assert row.next_attempt_at <= now()
    assert [(note.who, note.subject_id) for note in rows(AuditNote)] == [("command line", name)]
    assert "command line: Retry requested" in run("show", name).output


# -- rejections -------------------------------------------------------------------------------------


def test_recent_rejections_are_listed_by_cause(run, send_webhook, webhook):
    assert run("rejected").output == "No webhooks have been rejected.\n"
    send_webhook(webhook(), {})
    send_webhook(webhook(), at=datetime.now(UTC) - HOUR)
    told = run("rejected").output
    assert "Signature header missing [missing_header]: 1, last " in told
    assert " s old (300 s are allowed)" in told


@pytest.fixture
def diagnose(run, tmp_path):
    """Diagnose a request as it was saved."""

    def saved(headers, body, *more):
        lines = [f"{name}: {value}" for name, value in headers.items()]
        text = "\n".join(["POST /webhooks/flexprice HTTP/1.1", *lines, "", ""])
        (tmp_path / "headers.txt").write_text(text)
        (tmp_path / "body.json").write_bytes(body)
        files = ("--headers", tmp_path / "headers.txt", "--body", tmp_path / "body.json")
        return run("diagnose", *files, *more)

    return saved


LONG_AGO = datetime(2026, 9, 1, 10, tzinfo=UTC)
OTHER_KEY = b"that of another endpoint, 32 b.."


def test_an_authentic_request_is_accepted_however_old(diagnose, webhook):
    body = json.dumps(webhook()).encode()
    answer = diagnose(sign(body, at=LONG_AGO), body)
    assert (answer.exit_code, answer.output[:19]) == (0, "Accepted: event msg")


def rejected_requests(webhook):
    body = json.dumps(webhook(), separators=(",", ":")).encode()
    good = sign(body, at=LONG_AGO)
    return {
        "missing_header": ({"svix-id": "msg_1"}, body),
        "malformed_header": (good | {"svix-signature": "v1,cut"}, body),
        "clock": (good, body, "--arrived", "2026-09-01T10:07:00"),
        "reencoded": (good, json.dumps(webhook()).encode()),
        "altered": (good, body[:-1]),
        "other_secret": (sign(body, at=LONG_AGO, key=OTHER_KEY), body),
        "malformed_body": (good, b"\xff"),
        "not_an_event": (sign(b"{}", at=LONG_AGO), b"{}"),
    }


def test_a_rejected_request_is_diagnosed(diagnose, webhook):
    requests = rejected_requests(webhook)
    for cause, request in requests.items():
        answer = diagnose(*request)
        assert (answer.exit_code, answer.output.splitlines()[0]) == (1, f"{CAUSES[cause]} [{cause}]")
    assert set(requests) == set(CAUSES) - {"shared_header"}
    assert "420 s old" in diagnose(*requests["clock"]).output


def test_the_secret_it_was_signed_with_is_recognised(diagnose, webhook, tmp_path):
    body = json.dumps(webhook()).encode()
    others = ["whsec_short", *("whsec_" + base64.b64encode(key).decode() for key in (b"x" * 32, OTHER_KEY))]
    (tmp_path / "secrets.txt").write_text("\n".join(others))
    headers = sign(body, at=LONG_AGO, key=OTHER_KEY)
    told = diagnose(headers, body, "--other-secrets", tmp_path / "secrets.txt").output
    assert "Secret 1 of" in told
    assert "It was signed with secret 3 of" in told
    assert not any(secret[6:14] in told for secret in others[1:])


def test_half_a_request_is_refused(run, tmp_path):
    (tmp_path / "h").write_text("")
    assert run("diagnose", "--headers", tmp_path / "h").exit_code == 2


def test_headers_are_read_from_a_log_of_curl():
    log = "* Connected\n> POST /x HTTP/1.1\n> Svix-Id: msg_1\n> Host: a:80\n"
    assert headers_in(log) == {"svix-id": "msg_1", "host": "a:80"}


def test_diagnosing_writes_nothing(diagnose, webhook, rows):
    for request in rejected_requests(webhook).values():
        diagnose(*request)
    assert rows(RejectedWebhook) == []
    assert rows(WebhookEvent) == []
