"""The apps that are measured: a host of the checkout, and the plainest way to do the same.

Each is a factory; gunicorn serves `tests.bench.apps:ours()` and so on. BENCH_DATABASE is the database's URL.
"""

import json
import os
from datetime import UTC, datetime
from typing import Any

from flask import Flask, redirect, render_template_string, request, session
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from storefront.checkout import Checkout, Customer, OrderMixin, WebhookEventMixin

SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
FRAGMENT = "<section id=order-status>{{ order.state }} {{ order.plan_name }}<p>{{ filler }}</p></section>"

db = SQLAlchemy()
checkout = Checkout()


class User(db.Model):  # type: ignore[name-defined,misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))


class Order(OrderMixin, db.Model):  # type: ignore[name-defined,misc]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))


class WebhookEvent(WebhookEventMixin, db.Model):  # type: ignore[name-defined,misc]
    pass


class Access(db.Model):  # type: ignore[name-defined,misc]
    order_ref: Mapped[str] = mapped_column(String(32), primary_key=True)
    plan_id: Mapped[str] = mapped_column(String(255))


class PlainEvent(db.Model):  # type: ignore[name-defined,misc]
    id: Mapped[str] = mapped_column(String(300), primary_key=True)
    body: Mapped[str]


@checkout.customer_loader
def load_customer() -> Customer | None:
    user = signed_in()
    return Customer(f"user-{user.id}", user.name, "bench@example.com") if user else None


@checkout.on_fulfill
def grant_access(order: Order) -> None:
    db.session.add(Access(order_ref=order.ref, plan_id=order.plan_id))


def signed_in() -> User | None:
    return db.session.get(User, session["user"]) if "user" in session else None


def base() -> Flask:
    app = Flask("bench")
    url = os.environ["BENCH_DATABASE"]
    sqlite: dict[str, Any] = {"connect_args": {"isolation_level": "IMMEDIATE", "timeout": 5}}
    app.config.update(SECRET_KEY="bench", SQLALCHEMY_DATABASE_URI=url)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = sqlite if url.startswith("sqlite") else {"pool_size": 8}
    db.init_app(app)

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.get("/sign-in/<int:user_id>")
    def sign_in(user_id: int) -> str:
        session["user"] = user_id
        return "signed in"

    return app


def ours() -> Flask:
    app = base()
    app.config.update(
        FLEXPRICE_API_URL=os.environ.get("BENCH_API_URL", "http://127.0.0.1:9/v1"),
        FLEXPRICE_API_KEY="key",
        FLEXPRICE_WEBHOOK_SECRET=SECRET,
        CHECKOUT_PAYMENT_HOSTS="pay.bench.example",
        CHECKOUT_LAYOUT="layout.html",
    )
    app.jinja_loader = DictLoader({"layout.html": "{% block content %}{% endblock %}"})
    checkout.init_app(app, db, Order, WebhookEvent)
    return app


def plain() -> Flask:
    """Verify, one INSERT, commit; a page with the same sign-in and queries; a sale with the official SDK."""
    from standardwebhooks import Webhook

    app = base()
    verifier = Webhook(SECRET)

    @app.post("/billing/webhooks/flexprice")
    def receive() -> Any:
        body = request.get_data()
        names = ("id", "timestamp", "signature")
        verifier.verify(body, {f"webhook-{name}": request.headers[f"svix-{name}"] for name in names})
        db.session.execute(db.insert(PlainEvent).values(id=request.headers["svix-id"], body=body.decode()))
        db.session.commit()
        return "", 204

    @app.get("/billing/orders/<ref>/status")
    def status(ref: str) -> Any:
        user = signed_in()
        assert user
        wanted = db.select(Order).filter_by(ref=ref, customer_key=f"user-{user.id}")
        order = db.session.execute(wanted).scalar_one()
        return render_template_string(FRAGMENT, order=order, filler="." * 900)

    return app


def sdk() -> Flask:
    """The same sale with the official SDK in the place of our client: two transactions around one call."""
    from flexprice import Flexprice

    app = base()
    client = Flexprice(server_url=os.environ["BENCH_API_URL"], api_key_auth="key")

    @app.post("/billing/checkout")
    def start() -> Any:
        user = signed_in()
        assert user
        now = datetime.now(UTC).replace(tzinfo=None)
        form, ref = request.form, os.urandom(16).hex()
        order = Order(
            ref=ref, slot=ref, customer_key=f"user-{user.id}", plan_id=form["plan"], plan_name="Bench",
            currency=form["currency"], billing_period=form["billing_period"], amount_text="499",
            return_url=f"http://127.0.0.1/orders/{ref}", created_at=now, status_changed_at=now,
        )  # fmt: skip
        db.session.add(order)
        db.session.commit()
        params = {"plan_id": form["plan"], "currency": "INR", "billing_period": "MONTHLY"}
        created = client.checkout.create_checkout_session(
            customer_external_id=f"user-{user.id}",
            action="create_subscription",
            payment_provider="razorpay",
            configuration={"create_subscription_params": params},
            success_url=f"http://127.0.0.1/orders/{ref}/success",
            idempotency_key=ref,
            metadata={"order_ref": ref},
        )
        order.session_id, order.payment_url = created.id, created.payment_action.url
        order.state = "awaiting_payment"
        db.session.commit()
        return redirect(order.payment_url, 303)

    return app


def settle_plainly(count: int) -> None:
    """The transaction of a completed event, written plainly: event, order and access together."""
    events = db.session.scalars(db.select(WebhookEvent).filter_by(processed_at=None).limit(count)).all()
    ids = [event.id for event in events]
    for event_id in ids:
        event = db.session.get_one(WebhookEvent, event_id)
        told = json.loads(event.body)["checkout_session"]
        order = db.session.execute(db.select(Order).filter_by(session_id=told["id"])).scalar_one()
        now = datetime.now(UTC).replace(tzinfo=None)
        order.state, order.paid_at, order.fulfilled_at = "fulfilled", now, now
        event.processed_at, event.next_attempt_at, event.outcome = now, None, "applied"
        db.session.add(Access(order_ref=order.ref, plan_id=order.plan_id))
        db.session.commit()
