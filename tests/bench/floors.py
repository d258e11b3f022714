"""What the shop is measured against: the least that does the job, and what the vendors' samples do.

Each factory gives a WSGI application; the modules beside this one serve them with the shop's own server.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from flask import Flask, redirect, request
from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, event, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

metadata = MetaData()
inbox = Table("inbox", metadata, Column("id", String, primary_key=True), Column("body", String))
orders = Table(
    "orders",
    metadata,
    Column("ref", String, primary_key=True),
    Column("session_id", String, unique=True),
    Column("state", String),
    Column("payment_url", String),
)


def hello() -> Flask:
    app = Flask("hello")

    @app.get("/")
    def say() -> str:
        return "hello"

    return app


def page() -> Flask:
    """A Jinja page with loops, as large as the file BENCH_PAGE."""
    app = Flask("page")
    size = Path(os.environ["BENCH_PAGE"]).stat().st_size
    row = (
        "<li class=row><a href=/plans/{{ n }}>Plan {{ n }}</a> <strong>{{ n * 499 }}</strong> a month</li>\n"
    )
    source = "<!doctype html><ul>{% for n in range(count) %}" + row + "{% endfor %}</ul>"
    count = size // len(row.replace("{{ n }}", "12").replace("{{ n * 499 }}", "5988"))
    template = app.jinja_env.from_string(source)

    @app.get("/")
    def show() -> str:
        return template.render(count=count)

    return app


class Rows:
    """One engine, set up as limits.md says, and the gate around writers."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, pool_size=8)
        self.gate = threading.Lock()
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.path = Path(f"{self.engine.url.database}.gate")
        if self.sqlite:
            event.listen(self.engine, "connect", _prepare)

    @contextmanager
    def writing(self) -> Iterator[Any]:
        if not self.sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        if not self.gate.acquire(timeout=0.5):
            raise TimeoutError
        try:
            with self.path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                with self.engine.connect() as connection:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    yield connection
                    connection.commit()
        finally:
            self.gate.release()

    def insert(self, table: Table) -> Any:
        return (sqlite if self.sqlite else postgresql).insert(table)


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=500"):
        connection.execute(f"PRAGMA {pragma}")


def fill(url: str, count: int) -> Engine:
    """The floor's own rows: open orders with the session ids cs_0, cs_1, …"""
    engine = create_engine(url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [
            {"ref": f"ref{n}", "session_id": f"cs_{n}", "state": "awaiting_payment"} for n in range(count)
        ]
        connection.execute(orders.insert(), rows)
    engine.dispose()
    return engine


def webhook() -> Flask:
    """Verify, INSERT … ON CONFLICT DO NOTHING, one UPDATE, in one gated Core transaction."""
    from standardwebhooks import Webhook

    app = Flask("webhook")
    rows = Rows(os.environ["BENCH_DATABASE"])
    verifier = Webhook(os.environ["BENCH_SECRET"])

    @app.post("/webhooks/flexprice")
    def receive() -> Any:
        body = request.get_data()
        headers = {
            f"webhook-{part}": request.headers[f"svix-{part}"] for part in ("id", "timestamp", "signature")
        }
        verifier.verify(body, headers)
        session = json.loads(body)["checkout_session"]
        with rows.writing() as connection:
            connection.execute(
                rows.insert(inbox)
                .values(id=headers["webhook-id"], body=body.decode())
                .on_conflict_do_nothing()
            )
            connection.execute(
                update(orders)
                .where(orders.c.session_id == session["id"], orders.c.state == "awaiting_payment")
                .values(state="paid")
            )
        return "", 204

    @app.get("/")
    def ready() -> str:
        return "ready"

    return app


def stripe_sample() -> Flask:
    """In the manner of the vendors' samples: verify with their package, print, keep nothing."""
    import stripe

    app = Flask("stripe_sample")
    secret = os.environ["BENCH_STRIPE_SECRET"]

    @app.post("/webhook")
    def receive() -> Any:
        body = request.get_data(as_text=True)
        found = stripe.Webhook.construct_event(body, request.headers["stripe-signature"], secret)  # type: ignore[no-untyped-call]
        print(found["type"])
        return {"status": "success"}

    @app.get("/")
    def ready() -> str:
        return "ready"

    return app


def checkout() -> Flask:
    """A kept-alive requests.Session between two gated Core transactions, then the 303."""
    app = Flask("checkout")
    rows = Rows(os.environ["BENCH_DATABASE"])
    upstream = requests.Session()
    url = os.environ["FLEXPRICE_API_URL"] + "/checkout/sessions"

    @app.post("/checkout")
    def start() -> Any:
        ref = os.urandom(16).hex()
        with rows.writing() as connection:
            connection.execute(rows.insert(orders).values(ref=ref, state="placed"))
        wanted = {
            "customer_external_id": "bench",
            "action": "create_subscription",
            "payment_provider": "razorpay",
            "configuration": {
                "create_subscription_params": {
                    "plan_id": request.form["plan"],
                    "currency": request.form["currency"],
                    "billing_period": request.form["billing_period"],
                    "metadata": {"order_ref": ref},
                }
            },
            "success_url": f"http://127.0.0.1/orders/{ref}/success",
            "idempotency_key": ref,
            "metadata": {"order_ref": ref},
        }
        session = upstream.post(url, json=wanted, headers={"x-api-key": "k"}, timeout=(2, 25)).json()
        link = session["payment_action"]["url"]
        with rows.writing() as connection:
            connection.execute(
                update(orders)
                .where(orders.c.ref == ref)
                .values(session_id=session["id"], payment_url=link, state="awaiting_payment")
            )
        return redirect(link, 303)

    @app.get("/")
    def ready() -> str:
        return "ready"

    return app


def poll() -> Flask:
    """One Core query by an indexed reference, and a kilobyte of Jinja."""
    app = Flask("poll")
    rows = Rows(os.environ["BENCH_DATABASE"])
    source = "<section id=order>{{ state }}<p>{{ filler }}</p></section>"
    template = app.jinja_env.from_string(source)

    @app.get("/orders/<ref>/status")
    def status(ref: str) -> Any:
        with rows.engine.connect() as connection:
            state = connection.execute(select(orders.c.state).where(orders.c.ref == ref)).scalar_one()
        return template.render(state=state, filler="." * 900)

    @app.get("/")
    def ready() -> str:
        return "ready"

    return app


def hello_sqlalchemy() -> Flask:
    """Flask and Flask-SQLAlchemy with one table, for the memory of a process."""
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("hello_sqlalchemy")
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["BENCH_DATABASE"]
    db = SQLAlchemy(app)

    class Thing(db.Model):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)
        at = db.Column(db.DateTime, default=lambda: datetime.now(UTC))

    with app.app_context():
        db.session.execute(CreateTable(Thing.__table__, if_not_exists=True))  # two processes start at once
        db.session.commit()

    @app.get("/")
    def say() -> str:
        return f"hello {db.session.query(Thing).count()}"

    return app
