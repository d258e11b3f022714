"""/healthz and the worker's heartbeat."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from storefront.checkout.signals import worker_ran
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.operations import health, heartbeat
from storefront.operations.models import WorkerHeartbeat
from tests.shop_fixtures import HOME
from tests.unit.operations.conftest import now


@pytest.fixture
def app(make_app):
    """New for each test: the process keeps in memory what is tested here."""
    return make_app()


@pytest.fixture
def ask(app, monkeypatch):
    """Gives a busy machine the time it needs: how long the page waits is tested by a test of its own."""
    monkeypatch.setattr(health, "ANSWER_WITHIN_S", 60.0)
    return lambda **more: app.test_client().get("/healthz", **({"base_url": HOME} | more))


def test_a_missing_worker_is_said_and_is_no_503(ask):
    answer = ask()
    assert answer.status_code == 200
    assert answer.json["status"] == "degraded"
    assert answer.json["worker"].startswith("heartbeat missing")
    assert answer.json["worker_last_turn_s"] is None


def test_a_turn_of_the_worker_is_seen(ask, work):
    work()
    answer = ask()
    assert (answer.json["status"], answer.json["worker"]) == ("ok", "ok")
    assert 0 <= answer.json["worker_last_turn_s"] < 60


def test_a_loop_that_stopped_turning_is_told(app, ask, work):
    work()
    with app.app_context():
        db.session.get_one(WorkerHeartbeat, heartbeat.NAME).beat_at = now() - timedelta(minutes=5)
        db.session.commit()
    assert ask().json["status"] == "degraded"
    assert ask().json["worker_last_turn_s"] >= 300


def test_the_age_of_what_is_due_is_told(ask, add_user, add_order, add_rows, make_event):
    assert ask().json["oldest_due_event_s"] is ask().json["oldest_due_order_s"] is None
    add_user()
    add_order(next_attempt_at=now() - timedelta(minutes=10))
    add_rows(make_event(next_attempt_at=now() - timedelta(minutes=20)))
    add_rows(make_event(id="msg_2", next_attempt_at=now() + timedelta(minutes=20)))
    assert 600 <= ask().json["oldest_due_order_s"] < 1200
    assert 1200 <= ask().json["oldest_due_event_s"] < 1800


@pytest.mark.parametrize(
    ("waited", "due_for", "status"),
    [
        (timedelta(minutes=4), timedelta(seconds=-1), "ok"),
        (timedelta(minutes=6), timedelta(seconds=-1), "degraded"),  # refused, and tried again later
        (timedelta(minutes=3), timedelta(minutes=2), "degraded"),  # no loop takes it
    ],
)
def test_emails_that_are_stuck_are_told(ask, work, add_user, add_rows, waited, due_for, status):
    add_user()
    work()
    times = {"created_at": now() - waited, "next_attempt_at": now() - due_for}
    add_rows(Email(kind="welcome", user_id=1, expires_at=now() + timedelta(days=5), **times))
    assert ask().json["status"] == status
    assert (ask().json["emails"] == "ok") == (status == "ok")


def test_one_recipient_who_is_refused_is_no_fault_while_others_get_theirs(ask, work, add_user, add_rows):
    add_user()
    work()
    old = {"created_at": now() - timedelta(hours=9), "expires_at": now() + timedelta(days=5), "user_id": 1}
    add_rows(Email(kind="welcome", next_attempt_at=now() + timedelta(hours=1), **old))
    add_rows(Email(kind="welcome", sent_at=now() - timedelta(minutes=2), **old))
    assert ask().json["status"] == "ok"


def test_a_broken_database_is_503(ask, monkeypatch):
    def gone():
        raise OperationalError("", {}, Exception("postgresql://user:secret@host"))

    monkeypatch.setattr(health, "read", gone)
    answer = ask()
    assert (answer.status_code, answer.json["database"]) == (503, "does not answer")
    assert "secret" not in answer.text
    monkeypatch.undo()
    assert ask().status_code == 200


def test_a_frozen_database_is_503_within_seconds(ask, monkeypatch):
    """Kind: one deadline for whatever is waited for."""
    asked, thawed = [], threading.Event()
    monkeypatch.setattr(health, "ANSWER_WITHIN_S", 0.1)
    monkeypatch.setattr(health, "read", lambda: asked.append(1) or thawed.wait(60))
    assert [ask().status_code for _ in range(4)] == [503] * 4
    thawed.set()
    assert len(asked) == 1  # one question under way, however often the page is asked for


def test_load_balancers_ask_by_address(ask):
    assert ask(base_url="http://10.0.0.7:8000").status_code == 200


# -- the heartbeat ----------------------------------------------------------------------------------


def test_a_process_writes_at_most_every_ten_seconds(app, context, rows, monkeypatch):
    written = []
    monkeypatch.setattr(heartbeat, "write", lambda: written.append(1))
    for clock_s in (0.0, 1.0, 9.9, 10.0, 15.0, 20.1):
        monkeypatch.setattr(heartbeat.time, "monotonic", lambda at=clock_s: at)
        worker_ran.send(app, processed=0)
    assert len(written) == 3


def test_there_is_one_row_however_many_workers(context, rows):
    heartbeat.write()
    heartbeat.write()
    assert [row.name for row in rows(WorkerHeartbeat)] == ["checkout"]
    assert heartbeat.is_alive()


def test_a_heartbeat_that_cannot_be_written_stops_no_worker(app, work, monkeypatch, caplog):
    def locked():
        raise OperationalError("", {}, Exception("database is locked"))

    monkeypatch.setattr(heartbeat, "write", locked)
    assert work() == 0
    assert "A receiver of worker-ran failed" in caplog.text
