"""The database is away, frozen, full or read-only: 503, and no webhook is acknowledged in vain."""

import os
import resource
import signal
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event, text, update
from sqlalchemy.exc import InternalError

from storefront import create_app, postgresql
from storefront.accounts import service
from storefront.checkout import State, worker
from storefront.checkout.context import db_now
from storefront.emails import worker as email_worker
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import PlanAccess, WebhookEvent
from storefront.operations import health
from storefront.settings import Settings
from tests.shop_fixtures import HOME, NOW, Browser, send_webhook_to

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


# -- a connection that is lost between two questions --------------------------------------------------


@contextmanager
def connection_lost(app, server, after=1):
    """The server ends the connection after one of the questions, and before what follows on it."""
    asked = count(1)

    def end(connection, *_):
        if next(asked) == after:
            pid = connection.connection.dbapi_connection.info.backend_pid
            server.administer(f"SELECT pg_terminate_backend({pid}, 60000)")

    with app.app_context():
        engine = db.engine
    event.listen(engine, "after_cursor_execute", end)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", end)
    assert next(asked) > after


@on_postgresql
@pytest.mark.parametrize("path", PAGES)
def test_a_connection_lost_within_a_request_is_503(app, postgres, asha, path):
    """Kind: letting go of a session raises nothing. The page is ours, and the next one is whole."""
    whole = asha.get(path).status_code
    with connection_lost(app, postgres):
        answer = asha.get(path)
    assert_unavailable(answer)
    assert "We cannot reach our database." in answer.text
    assert asha.get(path).status_code == whole


@on_postgresql
@pytest.mark.parametrize("after", [1, 2], ids=["before it is written", "before it is committed"])
def test_a_webhook_whose_connection_is_lost_comes_again(app, postgres, send_webhook, webhook, rows, after):
    """Kind: letting go of a session raises nothing."""
    with connection_lost(app, postgres, after):
        assert_unavailable(send_webhook(webhook()))
    assert rows(WebhookEvent) == []
    assert send_webhook(webhook()).status_code == 204
    assert [event.id for event in rows(WebhookEvent)] == ["msg_1"]


@on_postgresql
@pytest.mark.parametrize("after", [1, 2, 3])
def test_health_tells_of_a_lost_connection(app, postgres, monkeypatch, after):
    """Kind: letting go of a session raises nothing."""
    monkeypatch.setattr(health, "ANSWER_WITHIN_S", 60.0)
    with connection_lost(app, postgres, after):
        answer = app.test_client().get("/healthz", base_url=HOME)
    assert (answer.status_code, answer.json["database"]) == (503, "does not answer")
    assert app.test_client().get("/healthz", base_url=HOME).status_code == 200


class TwoTurns:
    """The event that ends a loop after its second turn. Between the two everything becomes due."""

    def __init__(self):
        self.turns = 0

    def is_set(self):
        return self.turns == 2

    def wait(self, _seconds):
        self.turns += 1
        for model in (WebhookEvent, Email):
            due = {"next_attempt_at": db_now() - timedelta(seconds=1)}
            db.session.execute(update(model).where(model.next_attempt_at.is_not(None)).values(due))
        db.session.commit()


@on_postgresql
@pytest.mark.parametrize("after", [1, 2, 4], ids=["in a claim", "before a claim is written", "in the work"])
def test_both_loops_outlive_a_lost_connection(app, postgres, add_user, send_webhook, rows, after):
    """The event is processed and the email is sent in the next turn.

    Kind: a loop that outlives anything.
    """
    add_user()
    assert send_webhook({"event_type": "brand.new", "brand": {"id": "b_1"}}).status_code == 204
    with app.app_context():
        service.request_reset("asha@example.com")
    for loop in (worker.run_forever, email_worker.run_forever):
        with app.app_context(), connection_lost(app, postgres, after):
            loop(TwoTurns())
    assert [(event.outcome, event.next_attempt_at) for event in rows(WebhookEvent)] == [("ignored", None)]
    assert [email.state for email in rows(Email)] == ["sent"]


# -- processes that are frozen ------------------------------------------------------------------------


@contextmanager
def frozen(server):
    """The server and all of its processes stand still, and nothing may wait for a minute until they go on."""
    parent = server.process.pid
    os.kill(parent, signal.SIGSTOP)
    pids = [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]

    def send(number):
        for pid in pids:
            os.kill(pid, number)

    send(signal.SIGSTOP)
    thaw = threading.Timer(60, send, [signal.SIGCONT])
    thaw.start()
    try:
        yield
    finally:
        in_time = thaw.is_alive()
        thaw.cancel()
        send(signal.SIGCONT)
    assert in_time, "something waited for the server"


@on_postgresql
def test_a_frozen_server_holds_nothing_up(app, postgres, asha, send_webhook, webhook, rows, monkeypatch):
    """Every connection of the pool is warm, and none answers: no request waits until the thaw.

    Kind: one deadline for whatever is waited for.
    """
    assert send_webhook(webhook(), message_id="msg_1").status_code == 204
    with frozen(postgres), monkeypatch.context() as patch:
        patch.setattr(postgresql.BoundedConnection, "read_timeout_s", 0.5)
        assert_unavailable(send_webhook(webhook(), message_id="msg_2"))
        assert_unavailable(asha.get("/account"))
        assert app.test_client().get("/healthz", base_url=HOME).status_code == 503
        assert asha.get("/static/shop.css", buffered=True).status_code == 200
    assert send_webhook(webhook(), message_id="msg_2").status_code == 204
    assert asha.get("/account").status_code == 200
    assert [event.id for event in rows(WebhookEvent)] == ["msg_1", "msg_2"]


@on_postgresql
@pytest.mark.parametrize(
    "held",
    [
        "SELECT * FROM checkout_webhook_events FOR UPDATE",
        "UPDATE checkout_webhook_events SET attempts = 5",
        "UPDATE checkout_orders SET attempts = 5",
    ],
)
def test_what_a_frozen_worker_holds_becomes_free(
    app, flexprice, add_user, add_order, send_webhook, webhook, work, rows, the_order, monkeypatch, held
):
    """Another worker does its work, and nothing of the frozen one is kept.

    Kind: clocks and locks of several processes.
    """
    add_user()
    opened = {"session_id": "cs_01", "flexprice_customer_id": "cust_01", "invoice_id": "inv_01"}
    add_order(state=State.AWAITING_PAYMENT, invoice_verified_at=NOW, **opened)
    assert send_webhook(webhook()).status_code == 204
    flexprice.answer("GET", "/invoices/inv_01", {"error": "down"}, 503)  # only for the receipt
    with app.app_context():
        db.engine.dispose()
        with monkeypatch.context() as patch:  # the frozen worker's connection is the only one so short
            patch.setattr(postgresql, "SESSION", postgresql.SESSION.replace("'30s'", "'1s'"))
            db.session.execute(text(held))
        deadline = time.monotonic() + 60
        while the_order().state != State.FULFILLED:
            assert time.monotonic() < deadline
            work()
            time.sleep(0.1)
        with pytest.raises(InternalError, match="idle-in-transaction"):
            db.session.commit()
    assert the_order().state == State.FULFILLED
    assert len(rows(PlanAccess)) == 1
