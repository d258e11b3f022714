"""Connections: what is written stays, writers wait for each other, and nothing waits for ever."""

import os
import signal
import sqlite3
import threading
import traceback
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from storefront import create_app, database, postgresql
from storefront.extensions import db
from storefront.models import User, WebhookEvent
from storefront.settings import Settings, SettingsError
from tests.shop_fixtures import NOW

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def file_of(env) -> Path:
    return Path(env["DATABASE_URL"].removeprefix("sqlite:///"))


@pytest.fixture
def app(make_app):
    """A shop of this test alone: some delete its file."""
    return make_app()


def user(**changes) -> User:
    return User(
        **({"email": "x@example.com", "name": "X", "password_hash": "h", "created_at": NOW} | changes)
    )


def test_a_rollback_leaves_nothing_behind(context, rows):
    db.session.add(user())
    db.session.flush()
    db.session.rollback()
    assert rows(User) == []


def test_foreign_keys_are_enforced(context):
    statement = "INSERT INTO plan_access (user_id, plan_id, plan_name, order_id, granted_at)"
    with pytest.raises(IntegrityError):
        db.session.execute(text(f"{statement} VALUES (99, 'x', 'x', 99, '2026-09-01 10:00:00')"))


@pytest.mark.parametrize(
    "wrong", [{}, {"name": None}, {"email": "b@example.com", "session_key": "of-another-session"}],
    ids=["address taken", "name missing", "session key taken"],
)  # fmt: skip
def test_a_refused_statement_is_reported_without_its_values(context, wrong):
    """Kind: what is logged. PostgreSQL's DETAIL repeats the whole row, whatever SQLAlchemy hides."""
    values = {"email": "a@example.com", "password_hash": "the-hash", "session_key": "of-another-session"}
    db.session.add(user(**values))
    db.session.commit()
    db.session.add(user(**(values | {"session_key": "of-this-session"} | wrong)))
    with pytest.raises(IntegrityError) as raised:
        db.session.commit()
    logged = "".join(traceback.format_exception(raised.value))
    assert "hidden due to hide_parameters" in logged
    for value in ("example.com", "the-hash", "session'", "-session", "2026"):
        assert value not in logged, value


# -- SQLite -----------------------------------------------------------------------------------------


@on_sqlite
def test_the_sqlite_file_is_durable_and_waits_for_writers(context):
    values = [
        db.session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "busy_timeout")
    ]
    assert values == ["wal", 2, 5000]


@on_sqlite
def test_only_the_owner_can_read_the_sqlite_files(context, env):
    """Kind: secrets at rest."""
    db.session.add(user())
    db.session.commit()
    files = list(file_of(env).parent.glob(f"{file_of(env).name}*"))
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@on_sqlite
def test_a_missing_folder_is_created_for_its_owner(make_app, tmp_path):
    make_app(DATABASE_URL=f"sqlite:///{tmp_path}/a/new/place/shop.db")
    assert (tmp_path / "a/new/place").stat().st_mode & 0o777 == 0o700


@on_sqlite
@pytest.mark.parametrize("folder", ["what?", "50%", "a#b"])
def test_the_data_lands_in_the_folder_with_the_odd_name(make_app, tmp_path, monkeypatch, folder):
    """Kind: folders with odd names."""
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    app = make_app(DATABASE_URL="sqlite:///instance/shop.db")
    with app.app_context():
        db.create_all()
        db.session.add(user())
        db.session.commit()
    assert (tmp_path / folder / "instance" / "shop.db").stat().st_size > 0


@on_sqlite
def test_a_file_that_cannot_be_written_is_one_sentence(env, tmp_path):
    """Kind: settings that cannot work."""
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(SettingsError) as raised:
        create_app(Settings.from_env(env | {"DATABASE_URL": f"sqlite:///{tmp_path}/taken/shop.db"}))
    assert raised.value.problems == ["DATABASE_URL names a file that cannot be written: File exists."]


@on_sqlite
def test_two_writers_wait_for_each_other(context, env, rows):
    other = sqlite3.connect(file_of(env), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, other.execute, ["COMMIT"])
    timer.start()
    db.session.add(user())
    db.session.commit()
    timer.join()
    other.close()
    assert len(rows(User)) == 1


@on_sqlite
def test_a_reader_does_not_wait_for_a_writer(context, env, monkeypatch):
    other = sqlite3.connect(file_of(env), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert db.session.scalars(select(User)).all() == []  # a wait would end in "database is locked"
    other.close()


@on_sqlite
def test_a_write_that_was_read_for_first_is_not_lost(app, env):
    """A transaction that writes takes the lock before it, so no other writer comes in between."""
    with app.app_context():
        db.session.add(user())
        db.session.commit()
        found = db.session.scalar(select(User))
        found.name = "A"
        db.session.flush()
        other = sqlite3.connect(file_of(env), timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE users SET name = 'B'")
        other.close()
        db.session.rollback()


@on_sqlite
@pytest.mark.parametrize("loss", ["file deleted", "file moved away", "folder moved away"])
def test_no_webhook_is_acknowledged_into_a_deleted_file(env, send_webhook, webhook, loss):
    """Kind: nothing is acknowledged that is not stored."""
    file = file_of(env)
    assert send_webhook(webhook(), message_id="msg_1").status_code == 204
    if loss == "file deleted":
        file.unlink()
    else:
        gone = file if loss == "file moved away" else file.parent
        gone.rename(gone.with_name("moved"))
    assert send_webhook(webhook(), message_id="msg_2").status_code == 503
    assert not file.exists()


@on_sqlite
def test_a_restored_file_is_used_at_once(env, sqlite_in, tmp_path, send_webhook, webhook, rows):
    assert send_webhook(webhook(), message_id="msg_1").status_code == 204
    for file in file_of(env).parent.glob("shop.db*"):
        file.unlink()
    sqlite_in(tmp_path)
    assert send_webhook(webhook(), message_id="msg_2").status_code == 204
    assert [event.id for event in rows(WebhookEvent)] == ["msg_2"]


# -- PostgreSQL -------------------------------------------------------------------------------------


@on_postgresql
def test_waits_are_bounded_on_each_connection(context):
    """Kind: one deadline for whatever is waited for."""
    names = ("lock_timeout", "idle_in_transaction_session_timeout")
    assert [db.session.scalar(text(f"SHOW {name}")) for name in names] == ["1s", "30s"]
    sent = db.session.connection().connection.dbapi_connection.info.get_parameters()
    names = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count")
    assert [sent[name] for name in names] == ["2", "10", "3", "3"]


@on_postgresql
def test_no_connection_parameter_is_one_that_poolers_refuse(context):
    """Kind: connection poolers."""
    assert "options" not in postgresql.connect_args(db.engine.url)
    raw = db.session.connection().connection.dbapi_connection
    assert raw.prepare_threshold is None


@on_postgresql
def test_a_parameter_in_the_address_wins(env):
    url = Settings.from_env(env | {"DATABASE_URL": "postgresql://db/shop?connect_timeout=9"}).database_url
    assert "connect_timeout" not in postgresql.connect_args(url)


@on_postgresql
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding_is_refused_at_start(env, postgres, encoding):
    """Kind: the database is checked at start."""
    url = postgres.database("template0", encoding)
    with pytest.raises(SettingsError) as raised:
        create_app(Settings.from_env(env | {"DATABASE_URL": url}))
    [problem] = raised.value.problems
    assert f"the database is in {encoding}, but must be in UTF8" in problem


@on_postgresql
def test_the_shop_starts_while_the_database_is_away(make_app):
    app = make_app(DATABASE_URL="postgresql://shop@127.0.0.1:9/shop")
    with app.app_context(), pytest.raises(OperationalError):
        db.session.execute(text("SELECT 1"))


@on_postgresql
def test_a_row_in_use_is_not_waited_for_long(context, env, rows):
    db.session.add(user())
    db.session.commit()
    other = psycopg.connect(env["DATABASE_URL"].replace("+psycopg", ""))
    other.execute("SELECT * FROM users FOR UPDATE")
    with pytest.raises(OperationalError, match="lock timeout"):
        db.session.execute(text("UPDATE users SET name = 'Y'"))
    other.close()
    db.session.rollback()


@on_postgresql
def test_a_frozen_server_is_given_up(context, postgres, monkeypatch):
    """Kind: one deadline for whatever is waited for."""
    monkeypatch.setattr(postgresql.BoundedConnection, "read_timeout_s", 0.5)
    db.session.execute(text("SELECT 1"))
    backend = db.session.scalar(text("SELECT pg_backend_pid()"))
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(OperationalError, match=r"no answer within 0\.5 s"):
            db.session.execute(text("SELECT 1"))
        db.session.rollback()
        assert db.session.scalar(text("SELECT 2")) == 2  # on a new connection
    finally:
        os.kill(backend, signal.SIGCONT)


@on_postgresql
def test_a_dropped_connection_is_replaced_before_use(context, postgres):
    db.session.execute(text("SELECT 1"))
    db.session.rollback()
    others = "pid <> pg_backend_pid() AND datname <> 'postgres'"
    postgres.administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    assert db.session.scalar(text("SELECT 2")) == 2


@on_postgresql
@pytest.mark.parametrize("path", ["/account", "/plans/x", "/nowhere"])
def test_a_connection_lost_at_the_end_of_a_request_spoils_no_answer(app, asha, postgres, path):
    """Kind: letting go of a session raises nothing. The connection breaks after the page was made."""

    def break_connection(response):
        pid = db.session.scalar(text("SELECT pg_backend_pid()"))
        postgres.administer(f"SELECT pg_terminate_backend({pid})")
        return response

    whole = asha.get(path).status_code
    app.after_request_funcs.setdefault(None, []).append(break_connection)
    assert asha.get(path).status_code == whole
    app.after_request_funcs[None].remove(break_connection)
    assert asha.get(path).status_code == whole


def test_pools_of_both_databases_ping_first_and_hide_values(env):
    options = database.engine_options(Settings.from_env(env).database_url)
    assert options["pool_pre_ping"]
    assert options["hide_parameters"]
