"""The database is away, full or read-only: 503, and no webhook is acknowledged in vain."""

import resource
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import text

from storefront import create_app
from storefront.checkout import State
from storefront.extensions import db
from storefront.models import WebhookEvent
from storefront.settings import Settings
from tests.shop_fixtures import Browser, send_webhook_to

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
PAGES = ["/account", "/members", "/emails"]


@pytest.fixture(autouse=True)
def templates_in_memory(monkeypatch):
    """The disk that is full is the shop's, not that of the tests."""
    monkeypatch.setattr(Flask, "jinja_options", {})


@pytest.fixture
def server(app, postgres):
    """The PostgreSQL server, to be stopped and started; running again afterwards."""
    yield postgres
    if postgres.process.poll() is not None:
        postgres.start()


@contextmanager
def disk_full():
    """No file may grow: to a database that is a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


NO_SPACE = """
CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'could not extend file "base/1/1": No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER no_space BEFORE INSERT ON checkout_webhook_events EXECUTE FUNCTION no_space()
"""


def execute(app, statements):
    with app.app_context():
        db.session.execute(text(statements))
        db.session.commit()


def assert_unavailable(answer):
    assert answer.status_code == 503, answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


@on_sqlite
def test_a_full_disk_acknowledges_no_webhook(send_webhook, webhook, rows):
    assert send_webhook(webhook(), message_id="msg_1").status_code == 204
    with disk_full():
        assert_unavailable(send_webhook(webhook(), message_id="msg_2"))
    assert [event.id for event in rows(WebhookEvent)] == ["msg_1"]
    assert send_webhook(webhook(), message_id="msg_2").status_code == 204


@on_sqlite
def test_a_full_disk_shows_pages_and_promises_nothing(asha, add_order):
    add_order(state=State.FULFILLED)
    with disk_full():
        assert "Pro" in asha.get("/account").text
        assert_unavailable(asha.post("/forgot-password", email="asha@example.com"))


@on_sqlite
def test_a_read_only_file_takes_no_webhook_and_shows_pages(env, asha, webhook, rows, monkeypatch):
    from storefront import database

    def connect_read_only(_dialect, record, args, parameters):
        connection = database.sqlite3.connect(f"file:{args[0]}?mode=ro", uri=True, **parameters)
        record.info["file"], record.info["inode"] = args[0], database.inode(args[0])
        return connection

    monkeypatch.setattr(database, "connect_sqlite", connect_read_only)
    app = create_app(Settings.from_env(env))
    assert_unavailable(send_webhook_to(app, webhook()))
    assert Browser(app).get("/sign-in").status_code == 200
    assert rows(WebhookEvent) == []
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@on_postgresql
def test_a_full_server_acknowledges_no_webhook(app, asha, send_webhook, webhook, rows):
    execute(app, NO_SPACE)
    assert_unavailable(send_webhook(webhook()))
    assert asha.get("/account").status_code == 200
    execute(app, "DROP TRIGGER no_space ON checkout_webhook_events")
    assert send_webhook(webhook()).status_code == 204
    assert [event.id for event in rows(WebhookEvent)] == ["msg_1"]


@on_postgresql
def test_while_the_server_is_away_everything_is_503(server, asha, send_webhook, webhook, rows):
    server.stop()
    assert_unavailable(send_webhook(webhook()))
    for page in PAGES:
        assert_unavailable(asha.get(page))
    server.start()
    assert send_webhook(webhook()).status_code == 204  # the first one: no stale connection is used
    assert asha.get("/account").status_code == 200
    assert len(rows(WebhookEvent)) == 1


@on_postgresql
def test_a_restart_between_two_requests_is_not_noticed(server, asha, send_webhook, webhook):
    assert send_webhook(webhook()).status_code == 204
    server.stop()
    server.start()
    assert send_webhook(webhook(), message_id="msg_2").status_code == 204
    assert asha.get("/account").status_code == 200
