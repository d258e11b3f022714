"""The sandbox from a terminal: one's own session, tables or JSON, exit codes that scripts can use."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from storefront.sandbox.cli import TRIGGERS, main

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]


@pytest.fixture
def run(sandbox: Any) -> Run:
    """Like `python -m storefront.sandbox …` in another terminal: it knows the address and nothing else."""
    env = {"SANDBOX_URL": sandbox.base, "FLEXPRICE_API_KEY": None}
    return lambda *words, **options: CliRunner().invoke(main, [*words], env=env, **options)


def lines(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.output.splitlines()]


def read_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_sessions_are_a_table_or_json(sandbox: Any, run: Run) -> None:
    assert run("sessions").output == "Nothing yet.\n"
    sandbox.customer()
    session = sandbox.session(idempotency_key="order-1")

    heading, row = lines(run("sessions"))

    assert heading == ["SESSION", "STATUS", "LINK", "CREATED", "KEY"]
    assert (row[0], row[1], row[2], row[4]) == (session["id"], "pending", "created", "order-1")
    assert read_json(run("sessions", "--json"))[0]["id"] == session["id"]


@pytest.mark.thorough
@pytest.mark.parametrize("event", [name for name in TRIGGERS if name.startswith("checkout.session")])
def test_trigger_makes_it_happen_to_my_own_session(sandbox: Any, receiver: Any, run: Run, event: str) -> None:
    sandbox.customer()
    session = sandbox.session()

    printed = run("trigger", event, "--session", session["id"])

    assert next(row[3:] for row in lines(printed) if row[0] == event) == ["delivered", "200"]
    assert receiver.last(event)["checkout_session"]["id"] == session["id"]
    assert sandbox.read(session)["checkout_status"] == event.rpartition(".")[2]


@pytest.mark.thorough
def test_trigger_reaches_what_has_no_checkout_event_of_its_own(sandbox: Any, receiver: Any, run: Run) -> None:
    sandbox.customer()
    first, second, third = sandbox.session(), sandbox.session(), sandbox.session()

    run("trigger", "payment.failed", "--session", first["id"])
    payment = sandbox.get(f"/v1/payments/{first['checkout_payment_id']}").json()
    assert (payment["payment_status"], len(payment["attempts"])) == ("PENDING", 1)

    run("trigger", "payment_link.expired", "--session", first["id"])
    assert "payment_link.expired" in sandbox.read(first)["failure_reason"]
    run("trigger", "payment_link.cancelled", "--session", second["id"])
    assert "payment_link.cancelled" in sandbox.read(second)["failure_reason"]

    run("trigger", "payment_link.paid", "--session", third["id"])
    run("trigger", "subscription.updated", "--session", third["id"])
    assert receiver.last("subscription.updated")["subscription"]["cancel_at"]
    run("trigger", "refund.succeeded", "--session", third["id"])
    assert receiver.types[-1] == "refund.succeeded"
    run("trigger", "subscription.cancelled", "--session", third["id"])
    assert receiver.types[-1] == "subscription.cancelled"


def test_last_is_the_newest_session(sandbox: Any, run: Run) -> None:
    sandbox.customer()
    _, newest = sandbox.session(), sandbox.session()

    (paid,) = read_json(run("pay", "last", "--json"))

    assert (paid["session"], paid["checkout_status"]) == (newest["id"], "completed")
    assert paid["razorpay_payment_id"].startswith("pay_")


@pytest.mark.thorough
def test_a_payment_can_go_another_way_and_be_told_in_another_way(
    sandbox: Any, receiver: Any, run: Run
) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.deliver()
    receiver.got.clear()

    run("pay", session["id"], "--outcome", "cancelled", "--delivery", "ten_at_once")

    assert receiver.types == ["checkout.session.failed"] * 10


def test_events_say_how_they_were_told(sandbox: Any, receiver: Any, run: Run) -> None:
    receiver.answers = [500]
    sandbox.customer()
    other = sandbox.session()
    session = sandbox.session()
    sandbox.deliver()

    table = lines(run("events", "--type", "customer.created"))
    assert table[0][:3] == ["EVENT", "ABOUT", "MESSAGE"]
    assert table[1][3:5] == ["due", "500"]
    mine = read_json(run("events", "--session", session["id"], "--json"))
    assert next(row["event_type"] for row in mine) == "checkout.session.initiated"
    assert other["id"] not in json.dumps(mine)


def test_resend_sends_one_or_all_again(sandbox: Any, receiver: Any, run: Run) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.deliver()
    newest = read_json(run("events", "--json"))[0]["id"]
    before = len(receiver.got)

    assert lines(run("resend", newest))[1] == ["1", "1"]
    assert receiver.got[-1][0]["svix-id"] == receiver.got[before - 1][0]["svix-id"] == newest
    assert lines(run("resend", "--session", session["id"]))[1] == ["4", "4"]
    assert lines(run("resend", "--all"))[1] == [str(before)] * 2
    assert run("resend").exit_code == run("resend", newest, "--all").exit_code == 2


def test_the_clock_is_shown_and_walks(sandbox: Any, receiver: Any, run: Run) -> None:
    receiver.answers = [500] * 6
    sandbox.customer()
    began = run("clock").output.strip()

    (walked,) = read_json(run("clock", "advance", "18h", "--json"))

    assert walked["sent"] == 6
    assert walked["now"] > began
    assert run("clock", "advance", "a while").exit_code == 1
    assert "20m" in run("clock", "advance", "a while").stderr


def test_a_jump_does_late_what_fell_due(sandbox: Any, receiver: Any, run: Run) -> None:
    receiver.answers = [500] * 6
    sandbox.customer()
    sandbox.deliver()

    (jumped,) = read_json(run("clock", "advance", "18h", "--jump", "--json"))

    assert (jumped["sent"], len(receiver.got)) == (0, 1)


def test_overrides_are_arranged_shown_and_removed(sandbox: Any, run: Run) -> None:
    run("arrange", "fault", "rate_limited", "--times", "2", "--customer", "user-42")
    run("arrange", "fault", "down", "--times", "0")
    run("arrange", "outcome", "declined")
    run("arrange", "completion", "half_done")
    table = lines(run("arrange", "delivery", "drop"))

    for_ever = ["until", "removed"]
    assert [(*row[:2], row[-1] if row[-1] != "removed" else row[-2:]) for row in table[1:]] == [
        ("fault", "rate_limited", "2"),
        ("fault", "down", for_ever),
        ("outcome", "declined", "1"),
        ("completion", "half_done", "1"),
        ("delivery", "drop", for_ever),
    ]
    assert read_json(run("overrides", "--json"))[0]["customer"] == "user-42"
    assert run("overrides", "--clear").output == "Nothing yet.\n"


def test_scenarios_are_listed_and_started(sandbox: Any, run: Run) -> None:
    started = run("scenario", "start", "webhook-lost")

    assert "Expected: " in started.output
    assert read_json(run("overrides", "--json"))[0]["name"] == "drop"
    assert [row[0] for row in lines(run("scenario", "list")) if row[0] == "webhook-lost"] == ["webhook-lost"]

    judged = run("scenario", "verdict", "webhook-lost", "--who", "Olga")
    assert (judged.exit_code, judged.output.splitlines()[-1]) == (1, "The webhook is lost: Failed")
    assert "NO  sandbox: One session is completed" in judged.output


def test_reset_asks_first(sandbox: Any, run: Run) -> None:
    sandbox.customer()
    sandbox.session()
    sandbox.advance("20m")
    refused = run("reset", input="n\n")
    assert refused.exit_code == 1
    assert sandbox.get("/_sandbox/sessions").json()["items"]

    assert run("reset", "--yes").exit_code == 0
    assert sandbox.get("/_sandbox/sessions").json()["items"] == []
    assert sandbox.deliveries() == []
    assert sandbox.customer()["id"]
    assert sandbox.session()["id"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["trigger", "checkout.session.completed", "--session", "cs_0"], 1, "not found"),
        (["trigger", "checkout.session.completed"], 2, "--session"),
        (["trigger", "checkout.session.initiated", "--session", "last"], 2, "invalid"),
        (["pay", "last"], 1, "start a checkout"),
        (["resend", "msg_0"], 1, "not found"),
        (["scenario", "start", "nothing"], 1, "not found"),
        (["arrange", "fault", "nothing"], 1, "down"),
    ],
)
def test_what_cannot_be_is_said_with_an_exit_code(run: Run, words: list[str], code: int, says: str) -> None:
    result = run(*words)

    assert result.exit_code == code
    assert says in result.stderr.lower()


def test_a_session_that_ended_is_not_paid_again(sandbox: Any, run: Run) -> None:
    sandbox.customer()
    session = sandbox.session()
    run("pay", session["id"])

    again = run("trigger", "checkout.session.completed", "--session", session["id"])

    assert again.exit_code == 1
    assert "the payment link is paid" in again.stderr


@pytest.mark.thorough
def test_it_works_from_a_terminal_of_its_own(sandbox: Any, tmp_path: Path) -> None:
    """And says so, with a code of its own, where no sandbox answers."""
    sandbox.customer()
    session = sandbox.session()
    command = [sys.executable, "-m", "storefront.sandbox", "sessions"]
    environ = {"PATH": os.environ["PATH"], "SANDBOX_DATABASE_URL": f"sqlite:///{tmp_path}/other.db"}

    def ran(url: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=environ | {"SANDBOX_URL": url}, capture_output=True, text=True, timeout=60
        )

    assert session["id"] in ran(sandbox.base).stdout
    away = ran("http://127.0.0.1:9")
    assert (away.returncode, away.stdout) == (3, "")
    assert "No sandbox answers at http://127.0.0.1:9" in away.stderr
