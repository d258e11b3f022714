"""The database is away, full, or hands out no connection: 503 and when to come back, never a lost message."""

import resource
import sqlite3
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from storefront import create_app, database, worker
from storefront.database import writing
from storefront.extensions import db
from storefront.lifecycle import State
from storefront.models import InboxMessage, Letter
from storefront.settings import Settings

ON = {
    engine: pytest.mark.parametrize("database_url", [pytest.param(engine, marks=marks)], indirect=True)
    for engine, marks in {"sqlite": (), "postgres": pytest.mark.postgres}.items()
}
PAGES = ["/account", "/members", "/letters", "/sign-in"]


@pytest.fixture(autouse=True)
def templates_in_memory(monkeypatch):
    """The disk that is full is the shop's, not that of the tests."""
    monkeypatch.setattr(Flask, "jinja_options", {})


@pytest.fixture
def server(app, request):
    """The PostgreSQL server, to be stopped and started; running again afterwards."""
    server = request.getfixturevalue("postgres")
    yield server
    if server.process.poll() is not None:
        server.start()


@contextmanager
def disk_full(largest=1):
    """No file grows beyond: what the system says then is, as far as a database can tell, of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def largest_file_is_full(server, app):
    """The inbox has grown as far as a file may; the server's log, in files of 16 MB, still has room."""
    server.stop()
    with disk_full(largest=16 * 1024 * 1024):
        server.start()
    with pytest.raises(InternalError, match="could not extend file"):
        run(app, A_PAGE_EACH)
    yield
    server.stop()
    server.start()


A_PAGE_EACH = """
ALTER TABLE inbox ALTER body SET STORAGE PLAIN;
INSERT INTO inbox (id, event_type, object_id, customer_id, body, received_at, attempts, next_try_at)
SELECT n::text, 'x', 'x', 'x', repeat('x', 8000), now(), 1, now() FROM generate_series(1, 3000) n
"""


@contextmanager
def no_space_left(_server, app):
    """In PostgreSQL's own words, 53100, which it has for ENOSPC alone: that cannot be had without a disk."""
    run(app, NO_SPACE)
    yield
    run(app, "DROP TRIGGER no_space ON inbox")


NO_SPACE = """
CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'could not extend file "base/1/1": No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER no_space BEFORE INSERT ON inbox EXECUTE FUNCTION no_space()
"""


def run(app, statements):
    with app.app_context(), writing():
        db.session.execute(text(statements))


def is_refused_politely(answer):
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) <= 2
    return True


@ON["sqlite"]
def test_on_a_full_disk_no_message_is_acknowledged(tell, news, rows):
    assert tell(news(), message_id="msg_before").status_code == 204
    with disk_full():
        assert is_refused_politely(tell(news()))
    assert [message.id for message in rows(InboxMessage)] == ["msg_before"]

    assert tell(news()).status_code == 204  # there is room again, and it comes again
    assert [message.id for message in rows(InboxMessage)] == ["msg_before", "msg_1"]


@ON["postgres"]
@pytest.mark.parametrize("full", [largest_file_is_full, no_space_left])
def test_on_the_servers_full_disk_no_message_is_acknowledged_and_pages_are_read(
    server, app, asha, tell, news, rows, full
):
    with full(server, app):
        assert is_refused_politely(tell(news()))
        assert asha.get("/account").status_code == 200
        assert rows(InboxMessage) == []

    assert tell(news()).status_code == 204
    assert [message.id for message in rows(InboxMessage)] == ["msg_1"]


@ON["sqlite"]
def test_on_a_full_disk_pages_are_read_and_nothing_is_promised(asha, order_of):
    order_of(state=State.FULFILLED)
    token = asha.token()
    with disk_full():
        assert "Pro" in asha.get("/account").text
        answer = asha.raw_post("/forgot-password", {"email": "asha@example.com", "csrf_token": token})
    assert is_refused_politely(answer)


@ON["sqlite"]
def test_a_file_that_became_read_only_takes_no_message_and_shows_its_pages(
    env, build, asha, tell_to, news, rows
):
    file = env["DATABASE_URL"].removeprefix("sqlite:///")
    with pytest.MonkeyPatch.context() as patch:
        only_read = {"creator": lambda: sqlite3.connect(f"file:{file}?mode=ro", uri=True)}
        patch.setattr(database, "POOL", database.POOL | only_read)
        app = create_app(Settings.from_env(env))
    assert is_refused_politely(tell_to(app, news()))
    browser = app.test_client()
    assert browser.get("/sign-in", base_url="http://127.0.0.1:8000").status_code == 200
    assert rows(InboxMessage) == []
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@ON["postgres"]
def test_while_the_server_is_away_everything_is_503_and_afterwards_goes_on(server, asha, tell, news, rows):
    server.stop()
    assert is_refused_politely(tell(news()))
    for page in PAGES:
        assert is_refused_politely(asha.get(page))
    assert asha.get("/healthz").status_code == 503

    server.start()
    assert tell(news()).status_code == 204  # the first one: no stale connection is tried
    assert asha.get("/account").status_code == 200
    assert len(rows(InboxMessage)) == 1


@ON["postgres"]
def test_a_server_that_restarts_between_two_requests_is_not_noticed(server, asha, tell, news):
    assert tell(news()).status_code == 204
    server.stop()
    server.start()
    assert tell(news(), message_id="msg_2").status_code == 204
    assert asha.get("/account").status_code == 200


@ON["postgres"]
def test_a_connection_dropped_in_the_middle_of_a_write_leaves_nothing_behind(
    app, tell, news, rows, monkeypatch
):
    store = worker.inbox.store

    def store_and_lose_the_line(kept, *args):
        store(kept, *args)
        me = kept.scalar(text("SELECT pg_backend_pid()"))
        with db.engine.connect() as other:
            other.execute(text(f"SELECT pg_terminate_backend({me})"))
        return True

    monkeypatch.setattr(worker.inbox, "store", store_and_lose_the_line)
    assert is_refused_politely(tell(news()))
    assert rows(InboxMessage) == []
    monkeypatch.undo()
    assert tell(news()).status_code == 204


def test_when_no_connection_is_free_everything_is_503(monkeypatch, build, tell_to, news):
    monkeypatch.setattr(database, "POOL", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01})
    app = build()
    with app.app_context():
        held = db.engine.connect()
    assert is_refused_politely(tell_to(app, news()))
    assert app.test_client().get("/healthz").status_code == 503
    held.close()
    assert tell_to(app, news()).status_code == 204


@ON["postgres"]
def test_the_worker_outlives_a_server_that_restarts_and_goes_on_at_once(
    server, context, enrol, order_of, tell, news, the_order, rows, monkeypatch
):
    """What it had claimed when the line broke is not left to lie until the claim lapses."""
    enrol()
    order_of(state=State.AWAITING_PAYMENT, session_id="cs_01", customer_id="cust_01")
    assert tell(news()).status_code == 204
    steps = iter([lambda: True, lambda: True, lambda: the_order().state != State.FULFILLED])
    settle = worker.fulfillment.settle

    def lose_the_line(*args):
        monkeypatch.setattr(worker.fulfillment, "settle", settle)
        server.stop()
        server.start()
        return settle(*args)

    monkeypatch.setattr(worker.fulfillment, "settle", lose_the_line)
    worker.run(beat=lambda: next(steps, lambda: False)())
    assert the_order().state == State.FULFILLED
    assert [letter.kind for letter in rows(Letter)] == ["welcome"]


def test_a_worker_that_was_held_up_goes_on_at_once(
    context, enrol, order_of, tell, news, the_order, monkeypatch
):
    enrol()
    order_of(state=State.AWAITING_PAYMENT, session_id="cs_01", customer_id="cust_01")
    assert tell(news()).status_code == 204
    for name in ("settle", "fulfill"):
        stumble_once(monkeypatch, name)
    beats = iter([True] * 4)
    worker.run(beat=lambda: next(beats, False))
    assert the_order().state == State.FULFILLED


def stumble_once(monkeypatch, name):
    does = getattr(worker.fulfillment, name)

    def stumble(*args):
        monkeypatch.setattr(worker.fulfillment, name, does)
        raise database.DatabaseBusy

    monkeypatch.setattr(worker.fulfillment, name, stumble)


def test_the_page_of_a_broken_rule_is_still_our_fault(browser, app):
    @app.get("/broken")
    def broken():
        with writing() as session:
            session.execute(text("INSERT INTO heartbeats (name) VALUES ('x')"))

    assert browser.get("/broken").status_code == 500
