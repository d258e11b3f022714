"""Rows to measure on: so many shoppers, each with one open order, written once and copied for every round."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from flask import Flask
from flask_login import login_user
from flask_wtf.csrf import generate_csrf

from storefront import create_app
from storefront.extensions import db
from storefront.models import Base, Order, Shopper
from storefront.settings import Settings
from tests.bench.load import post
from tests.bench.stub import AMOUNT, PAY_HOST, PLAN

SECRET = "whsec_" + base64.b64encode(b"the bench's own signing key, 32b").decode()
AGENT = "bench"
SENT = count()


def environ(database_url: str, upstream_port: int = 9) -> dict[str, str]:
    return {
        "FLEXPRICE_API_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "FLEXPRICE_API_KEY": "sk_of_the_bench",
        "FLEXPRICE_WEBHOOK_SECRET": SECRET,
        "STOREFRONT_URL": "http://127.0.0.1",
        "SECRET_KEY": "the bench signs its cookies with this",
        "DATABASE_URL": database_url,
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@bench.example",
        "PAYMENT_HOSTS": PAY_HOST,
        "RATE_LIMITS": "off",
        "BENCH_DATABASE": database_url,
        "BENCH_SECRET": SECRET,
        "BENCH_STRIPE_SECRET": "whsec_of_stripe",
    }


def shop(database_url: str) -> Flask:
    return create_app(Settings.from_env(environ(database_url)))


def fill(database_url: str, count: int, open_orders: bool = True) -> None:
    """The sessions are cs_0, cs_1, …, the customers cust_0, cust_1, …"""
    app = shop(database_url)
    now = datetime.now(UTC)
    with app.app_context():
        with db.engine.execution_options(writes_within=5).begin() as connection:
            Base.metadata.create_all(connection)
            for start in range(0, count, 5000):
                numbers = range(start, min(start + 5000, count))
                connection.execute(Shopper.__table__.insert(), [_shopper(n, now) for n in numbers])
                if open_orders:
                    connection.execute(Order.__table__.insert(), [_order(n, now) for n in numbers])
        db.engine.dispose()


def _shopper(number: int, now: datetime) -> dict[str, Any]:
    return {
        "id": number + 1,
        "external_id": f"{number:032x}",
        "email": f"shopper{number}@bench.example",
        "name": "Asha Rao",
        "password_hash": "none",
        "flexprice_id": f"cust_{number}",
        "is_operator": False,
        "session_key": session_key(number),
        "created_at": now,
    }


def _order(number: int, now: datetime) -> dict[str, Any]:
    return {
        "ref": ref(number),
        "shopper_id": number + 1,
        "state": "awaiting_payment",
        "plan_id": PLAN,
        "plan_name": "Plan 0",
        "currency": "inr",
        "billing_period": "MONTHLY",
        "amount": Decimal(AMOUNT),
        "created_at": now,
        "opening_at": now,
        "session_id": f"cs_{number}",
        "customer_id": f"cust_{number}",
        "payment_url": f"https://{PAY_HOST}/{number}",
        "expires_at": now + timedelta(minutes=15),
        "invoice_id": f"inv_{number}",
        "payment_id": f"pay_{number}",
        "terms_checked_at": now,  # the session charges what was ordered
        "looks": 0,
    }


def session_key(number: int) -> str:
    return hashlib.sha256(f"key {number}".encode()).hexdigest()[:32]


def ref(number: int) -> str:
    return hashlib.sha256(f"ref {number}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class SignedIn:
    """What the browser of a signed-in shopper sends."""

    cookie: str
    csrf_token: str


def signed_in(app: Flask, number: int) -> SignedIn:
    with app.test_request_context(headers={"User-Agent": AGENT}, environ_base={"REMOTE_ADDR": "127.0.0.1"}):
        from flask import session

        login_user(Shopper(id=number + 1, session_key=session_key(number)))
        token = generate_csrf()
        signer: Any = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
        return SignedIn(f"{app.config['SESSION_COOKIE_NAME']}={signer.dumps(dict(session))}", token)


def completed(number: int) -> bytes:
    """About 700 bytes, in the shape of contract E.2."""
    session = {
        "id": f"cs_{number}",
        "customer_id": f"cust_{number}",
        "action": "create_subscription",
        "checkout_status": "completed",
        "payment_provider": "razorpay",
        "checkout_invoice_id": f"inv_{number}",
        "checkout_payment_id": f"pay_{number}",
        "expires_at": "2036-09-01T10:15:01.5Z",
        "completed_at": "2036-09-01T10:03:20.4Z",
        "metadata": {"filler": "." * 300},
    }
    return json.dumps({"event_type": "checkout.session.completed", "checkout_session": session}).encode()


def webhook(number: int, message_id: str | None = None) -> bytes:
    body = completed(number)
    message_id, stamp = message_id or f"msg_{next(SENT)}", str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signed = {
        "svix_id": message_id,
        "svix_timestamp": stamp,
        "svix_signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    return post("/webhooks/flexprice", body, Content_Type="application/json", **signed)


def webhooks(orders: int, start: int = 0) -> Iterator[bytes]:
    for number in count(start):
        yield webhook(number % orders)


def stripe_webhooks() -> Iterator[bytes]:
    for number in count():
        body = json.dumps(
            {
                "id": f"evt_{number}",
                "object": "event",
                "type": "checkout.session.completed",
                "data": {"object": {"id": f"cs_{number}", "filler": "." * 500}},
            }
        ).encode()
        stamp = str(int(time.time()))
        digest = hmac.new(b"whsec_of_stripe", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        yield post(
            "/webhook", body, Content_Type="application/json", Stripe_Signature=f"t={stamp},v1={digest}"
        )
