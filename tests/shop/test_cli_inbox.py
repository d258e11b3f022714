"""The commands for what came in: to look, to read once more, and to find out why something was refused."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from storefront import doorman
from storefront.database import writing
from storefront.flexprice import CAUSES
from storefront.models import InboxMessage, OperatorNote

HOUR = timedelta(hours=1)
COMPLETED = "checkout.session.completed"


@pytest.fixture
def run(app):
    def command(*words):
        return app.test_cli_runner().invoke(args=["inbox", *map(str, words)])

    return command


@pytest.fixture
def messages(app):
    """One that waits, one that broke, one set aside, one handled."""
    now = datetime.now(UTC)
    each = {
        "msg_waits": {},
        "msg_broke": {"traceback": "Traceback …\nKeyError: 'x'", "outcome": "KeyError", "attempts": 2},
        "msg_aside": {"handled_at": now, "outcome": "set aside: nobody knows it"},
        "msg_done": {"handled_at": now, "outcome": "settled", "attempts": 1},
    }
    with app.app_context(), writing() as session:
        for name, values in each.items():
            known = {"attempts": 0, "next_try_at": now + HOUR, "received_at": now} | values
            session.add(
                InboxMessage(id=name, event_type=COMPLETED, object_id="cs_01", customer_id="", **known)
            )


def test_messages_are_listed_with_what_became_of_them(run, messages):
    lines = run("list").output.splitlines()
    states = {"msg_waits": "waiting", "msg_broke": "broken", "msg_aside": "set aside", "msg_done": "handled"}
    for name, state in states.items():
        assert any(name in line and state in line for line in lines), name
    assert "msg_done" not in run("list", "--show", "waiting").output
    assert len(run("list", "--limit", 1).output.splitlines()) == 1


def test_a_message_is_shown_with_its_traceback(run, messages):
    shown = run("show", "msg_broke")
    assert shown.exit_code == 0
    assert "KeyError: 'x'" in shown.output
    assert "checkout.session.completed" in shown.output


@pytest.mark.parametrize("command", ["show", "retry", "replay"])
def test_a_message_that_is_not_there_is_said(run, command):
    answer = run(command, "msg_none")
    assert answer.exit_code == 1
    assert "There is no message msg_none." in answer.output


@pytest.mark.parametrize(("command", "name"), [("retry", "msg_waits"), ("replay", "msg_aside")])
def test_a_message_is_due_at_once_and_it_is_kept_who_did_that(run, messages, rows, command, name):
    assert run(command, name).exit_code == 0
    (row,) = [row for row in rows(InboxMessage) if row.id == name]
    assert row.handled_at is None
    assert row.next_try_at <= datetime.now(UTC)
    assert [(note.who, note.subject_id) for note in rows(OperatorNote)] == [("the command line", name)]


@pytest.mark.parametrize(("command", "name"), [("retry", "msg_done"), ("replay", "msg_waits")])
def test_the_wrong_word_does_nothing(run, messages, rows, command, name):
    assert run(command, name).exit_code == 1
    assert rows(OperatorNote) == []


# -- the doctor -------------------------------------------------------------------------------------


def test_what_was_refused_lately_is_told_by_cause(run, tell, news):
    assert run("doctor").output == "No webhook has been refused.\n"
    tell(news(), {})
    tell(news(), at=datetime.now(UTC) - HOUR)
    told = run("doctor").output
    assert "Signature header missing [missing_header]: 1, last " in told
    assert " s old (300 s are allowed)" in told


@pytest.fixture
def saved(run, tmp_path):
    """Examine a request as it was saved."""

    def examine(headers, body, *more):
        lines = [f"{name}: {value}" for name, value in headers.items()]
        (tmp_path / "headers.txt").write_text(
            "\n".join(["POST /webhooks/flexprice HTTP/1.1", *lines, "", ""])
        )
        (tmp_path / "body.json").write_bytes(body)
        return run("doctor", "--headers", tmp_path / "headers.txt", "--body", tmp_path / "body.json", *more)

    return examine


LONG_AGO = datetime(2026, 9, 1, 10, tzinfo=UTC)
OTHER_KEY = b"that of another endpoint, 32 b.."


def test_a_saved_request_that_is_right_is_called_right_however_old(saved, sign, news):
    body = json.dumps(news()).encode()
    answer = saved(sign(body, at=LONG_AGO), body)
    assert (answer.exit_code, answer.output[:19]) == (0, "Let in: message msg")


def causes_of_saved(sign, news):
    body = json.dumps(news(), separators=(",", ":")).encode()
    good = sign(body, at=LONG_AGO)
    return {
        "missing_header": ({"svix-id": "msg_1"}, body),
        "malformed_header": (good | {"svix-signature": "v1,cut"}, body),
        "clock": (good, body, "--arrived", "2026-09-01T10:07:00"),
        "reencoded": (good, json.dumps(news()).encode()),
        "altered": (good, body[:-1]),
        "other_secret": (sign(body, at=LONG_AGO, key=OTHER_KEY), body),
        "malformed_body": (good, b"\xff"),
        "not_an_event": (sign(b"{}", at=LONG_AGO), b"{}"),
    }


def test_a_saved_request_is_diagnosed(saved, sign, news):
    requests = causes_of_saved(sign, news)
    for cause, request in requests.items():
        answer = saved(*request)
        assert (answer.exit_code, answer.output.splitlines()[0]) == (1, f"{CAUSES[cause]} [{cause}]")
    assert set(requests) == set(CAUSES) - {"shared_header"}
    assert "420 s old" in saved(*requests["clock"]).output


def test_the_secret_it_was_signed_with_is_recognised_and_not_repeated(saved, sign, news, tmp_path):
    body = json.dumps(news()).encode()
    others = ["whsec_short", *("whsec_" + base64.b64encode(key).decode() for key in (b"x" * 32, OTHER_KEY))]
    (tmp_path / "secrets.txt").write_text("\n".join(others))
    headers = sign(body, at=LONG_AGO, key=OTHER_KEY)
    told = saved(headers, body, "--other-secrets", tmp_path / "secrets.txt").output
    assert "Secret 1 of" in told
    assert "It was signed with secret 3 of" in told
    assert not any(secret[6:14] in told for secret in others[1:])


def test_half_a_saved_request_is_refused(run, tmp_path):
    (tmp_path / "h").write_text("")
    assert run("doctor", "--headers", tmp_path / "h").exit_code == 2


def test_headers_are_read_from_a_log_of_curl():
    from storefront.cli_inbox import headers_in

    log = "* Connected\n> POST /x HTTP/1.1\n> Svix-Id: msg_1\n> Host: a:80\n"
    assert headers_in(log) == {"svix-id": "msg_1", "host": "a:80"}


def test_examining_writes_nothing_down(saved, sign, news, rows):
    for request in causes_of_saved(sign, news).values():
        saved(*request)
    assert rows(doorman.Refusal) == []
    assert rows(InboxMessage) == []
