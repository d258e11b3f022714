"""Writing: all or nothing, one at a time, and a plain answer when there is no turn."""

import fcntl
import sqlite3
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from storefront import database
from storefront.database import DatabaseBusy, Gate, NotWriting, Queue, insert_or_ignore, writing
from storefront.extensions import db
from storefront.models import Heartbeat, Shopper

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def other(env, context, enrol):
    """Another process that writes and does not end."""
    enrol()
    url = env["DATABASE_URL"]
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
    else:
        connection = psycopg.connect(url.replace("+psycopg", ""))
        connection.execute("LOCK inbox, letters, heartbeats, shoppers IN EXCLUSIVE MODE")
    yield connection
    connection.close()


@pytest.fixture
def hasty(monkeypatch):
    """Wait for nobody. (To be asked for before the shop is built.)"""
    monkeypatch.setattr(database, "PATIENCE", 0)
    monkeypatch.setitem(database.POSTGRES_TIMES, "options", "-c lock_timeout=1")


def test_what_was_written_stays(context, samples, rows):
    with writing() as session:
        insert_or_ignore(session, Heartbeat, name="x", beat_at=samples.NOW)
    assert [row.beat_at for row in rows(Heartbeat)] == [samples.NOW]


def test_a_directory_that_is_not_there_yet_is_made(build, tmp_path):
    build(DATABASE_URL=f"sqlite:///{tmp_path}/a/new/place/shop.db")
    assert (tmp_path / "a/new/place").is_dir()


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt, DatabaseBusy])
def test_an_exception_undoes_everything(context, samples, rows, trouble):
    def write_and_fail():
        with writing() as session:
            insert_or_ignore(session, Heartbeat, name="x", beat_at=samples.NOW)
            raise trouble

    with pytest.raises(trouble):
        write_and_fail()
    assert rows(Heartbeat) == []
    with writing() as session:  # and the door is open again
        insert_or_ignore(session, Heartbeat, name="y", beat_at=samples.NOW)
    assert len(rows(Heartbeat)) == 1


def test_a_broken_rule_of_the_database_undoes_everything(context, enrol, rows, samples):
    enrol()

    def change_and_break_the_rule():
        with writing() as session:
            session.get_one(Shopper, 1).name = "changed"
            session.flush()
            session.add(
                Shopper(email="asha@example.com", name="x", password_hash="x", created_at=samples.NOW)
            )

    with pytest.raises(IntegrityError):
        change_and_break_the_rule()
    assert [row.name for row in rows(Shopper)] == ["Asha Rao"]


def test_foreign_keys_are_kept(context, samples):
    statement = text("INSERT INTO letters (shopper_id, kind) VALUES (99, 'x')")
    with pytest.raises(IntegrityError), writing() as session:
        session.execute(statement)


def test_a_key_that_is_taken_is_told_and_nothing_is_overwritten(context, samples, rows):
    with writing() as session:
        assert insert_or_ignore(session, Heartbeat, name="x", beat_at=samples.NOW)
    with writing() as session:
        assert not insert_or_ignore(session, Heartbeat, name="x", beat_at=samples.NOW.replace(year=2030))
    assert [row.beat_at for row in rows(Heartbeat)] == [samples.NOW]


@on_sqlite
def test_the_files_settings(context):
    values = [db.session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")]
    assert values == ["wal", 2]
    assert db.session.scalar(text("PRAGMA busy_timeout")) <= 500


def test_a_held_database_is_busy(hasty, other, samples):
    def write():
        with writing() as session:
            return insert_or_ignore(session, Heartbeat, name="x", beat_at=samples.NOW)

    with pytest.raises(DatabaseBusy):
        write()
    other.execute("ROLLBACK")
    assert write()


@on_sqlite
def test_a_writer_of_this_process_holds_the_gate(hasty, context):
    with context.extensions["gate"].passed(0), pytest.raises(DatabaseBusy), writing():
        pytest.fail("nobody may get in")
    with writing():
        pass


@on_sqlite
def test_a_writer_of_another_process_holds_the_gate(env, hasty, context):
    """It may have stopped in the middle, and then holds the file for ever."""
    path = env["DATABASE_URL"].removeprefix("sqlite:///") + ".gate"
    with Path(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DatabaseBusy), writing():
            pytest.fail("nobody may get in")
    with writing():
        pass


class Wait:
    """Somebody at the gate, a clock, and how often the gate has been passed."""

    def __init__(self, monkeypatch):
        self.clock, self.passes = 100.0, 0
        monkeypatch.setattr(database, "time", self)
        self.queue = Queue(lambda: self.passes, patience=0.5)

    def monotonic(self):
        return self.clock

    def goes_on(self, seconds, passes=0):
        self.clock += seconds
        self.passes += passes
        self.queue.look()


def test_a_queue_that_stands_still_is_left_soon(monkeypatch):
    wait = Wait(monkeypatch)
    wait.goes_on(0.4)
    with pytest.raises(DatabaseBusy):
        wait.goes_on(0.1)


def test_a_queue_that_moves_is_waited_in_but_not_for_ever(monkeypatch):
    wait = Wait(monkeypatch)
    for _ in range(7):
        wait.goes_on(0.4, passes=1)
    with pytest.raises(DatabaseBusy):
        wait.goes_on(0.4, passes=1)


@on_sqlite
def test_the_queue_sees_that_another_process_has_passed(context, env):
    gate = context.extensions["gate"]
    before = gate._last_passed()
    with writing():
        assert gate._last_passed() == before
    assert gate._last_passed() > before


def test_processes_write_in_turn(tmp_path):
    """Who has just been through and wants to again comes after those who wait."""
    one, other = Gate(tmp_path / "gate"), Gate(tmp_path / "gate")  # each has its own, as in two processes
    through = []

    def wait_and_pass():
        with other.passed(5):
            through.append("other")

    with one.passed(30):
        through.append("one")
        assert not is_locked(one._doorway), "who is inside still bars the doorway"
        waiting = threading.Thread(target=wait_and_pass)
        waiting.start()
        while not is_locked(one._doorway):
            assert waiting.is_alive(), "nobody stands in the doorway"
            time.sleep(0.001)
    with one.passed(30):
        through.append("one")
    waiting.join()
    assert through == ["one", "other", "one"]


def is_locked(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_readers_do_not_wait(hasty, other):
    assert len(db.session.scalars(select(Shopper)).all()) == 1


@pytest.mark.parametrize(
    "change",
    [
        update(Shopper).values(name="changed"),
        delete(Shopper),
        text("INSERT INTO heartbeats (name, beat_at) VALUES ('x', '2026-01-01')"),
        text("DROP TABLE heartbeats"),
    ],
    ids=["update", "delete", "insert", "drop"],
)
def test_nothing_can_be_changed_outside_a_write(enrol, context, rows, change):
    enrol()
    with pytest.raises(NotWriting):
        db.session.execute(change)
    db.session.rollback()
    with pytest.raises(NotWriting):  # and not by the next one on the same connection either
        db.session.execute(change)
    db.session.rollback()
    assert [row.name for row in rows(Shopper)] == ["Asha Rao"]
    assert rows(Heartbeat) == []


def test_a_changed_row_that_nobody_commits_is_a_mistake_too(enrol, context):
    enrol()
    db.session.get_one(Shopper, 1).name = "changed"
    with pytest.raises(NotWriting):
        db.session.flush()


def test_other_trouble_of_the_database_is_not_called_busy(context):
    with pytest.raises((OperationalError, ProgrammingError)), writing() as session:
        session.execute(text("SELECT * FROM nothing"))


def test_a_busy_database_is_503_and_says_when_to_come_back(hasty, other, tell, news, browser):
    answers = [tell(news()), browser.post("/forgot-password", email="asha@example.com")]
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "1")] * 2
    assert "Very busy just now" in answers[1].text
    other.execute("ROLLBACK")
    assert tell(news()).status_code == 204
