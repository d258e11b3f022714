"""The sandbox: a customer, a session, paid, and the webhook sent; with few and with many customers stored."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path

import requests

from storefront.sandbox import create_app
from storefront.sandbox.schema import customers
from storefront.sandbox.settings import SandboxSettings
from tests.bench.load import load, post
from tests.bench.servers import Running, free_port, running
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import expect
from tests.bench.working import upstream

KEY = "sk_of_the_bench"
MANY = 100_000
STORED = 500  # customers, at which localstripe is asked
SALES = 60


def fill(place: Path, number: int) -> None:
    app = create_app(SandboxSettings(database_url=f"sqlite:///{place}"))
    store = app.extensions["sandbox"]
    with store.writing() as conn:
        for start in range(0, number, 5000):
            bodies = [_customer(n) for n in range(start, start + 5000)]
            names = [column.name for column in customers.c if column.name != "body"]
            values = [
                {name: body[name] for name in names if name in body} | {"body": body} for body in bodies
            ]
            conn.execute(customers.insert(), values)
    store.close()


def _customer(number: int) -> dict[str, object]:
    return {
        "id": f"cust_many_{number:07d}",
        "external_id": f"many-{number}",
        "name": "Asha Rao",
        "email": f"many{number}@bench.example",
        "metadata": None,
        "status": "published",
        "created_at": "2026-09-01T10:00:00Z",
    }


@contextmanager
def sandbox(template: Path, sink: int) -> Iterator[Running]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "sandbox.db"
        shutil.copy(template, place)
        environ = {
            "SANDBOX_PORT": str(port),
            "SANDBOX_URL": f"http://127.0.0.1:{port}",
            "SANDBOX_DATABASE_URL": f"sqlite:///{place}",
            "SANDBOX_WEBHOOK_URL": f"http://127.0.0.1:{sink}/v1/customers",
            "FLEXPRICE_API_KEY": KEY,
        }
        with running("-m", "storefront.sandbox", port=port, ready="/", **environ) as server:
            yield server


def sale(http: requests.Session, base: str, plan: str, number: int) -> None:
    customer = {"external_id": f"bench-{number}", "name": "Asha Rao", "email": "asha@bench.example"}
    http.post(f"{base}/v1/customers", json=customer, timeout=20).raise_for_status()
    params = {"plan_id": plan, "currency": "INR", "billing_period": "MONTHLY"}
    wanted = {
        "customer_external_id": customer["external_id"],
        "action": "create_subscription",
        "payment_provider": "razorpay",
        "configuration": {"create_subscription_params": params},
        "idempotency_key": f"bench-{number}",
    }
    answer = http.post(f"{base}/v1/checkout/sessions", json=wanted, timeout=20)
    answer.raise_for_status()
    link = answer.json()["payment_action"]["url"]
    http.post(f"{link}/pay", data={"method": "success@razorpay"}, timeout=20, allow_redirects=False)


def sales(template: Path) -> Figures:
    with upstream() as sink, sandbox(template, sink) as server, requests.Session() as http:
        base = f"http://127.0.0.1:{server.port}"
        http.headers["x-api-key"] = KEY
        plans = http.post(f"{base}/v1/plans/search", json={"lookup_key": "starter"}, timeout=20).json()[
            "items"
        ]
        began = time.perf_counter()
        for number in range(SALES):
            sale(http, base, plans[0]["id"], number)
        return {"sales": SALES / (time.perf_counter() - began), **customers_made(server, _ours())}


def _ours() -> Iterator[bytes]:
    for number in count():
        body = {"external_id": f"bulk-{number}", "name": "Asha Rao", "email": "asha@bench.example"}
        yield post("/v1/customers", json.dumps(body).encode(), Content_Type="application/json", x_api_key=KEY)


def customers_made(server: Running, made: Iterator[bytes]) -> Figures:
    """The rate once so many are stored."""
    expect(load(server.port, 4, 120, islice(made, STORED)))
    result = load(server.port, 4, 2.0, made)
    expect(result)
    return {"customers": result.rate}


def localstripe() -> Figures:
    port = free_port()
    with running(
        "-m", "localstripe.server", "--port", str(port), "--from-scratch", port=port, ready="/"
    ) as server:
        return customers_made(server, _theirs())


def _theirs() -> Iterator[bytes]:
    for number in count():
        body = f"name=Asha+Rao&email=asha{number}%40bench.example".encode()
        yield post(
            "/v1/customers",
            body,
            Content_Type="application/x-www-form-urlencoded",
            Authorization="Bearer sk_test_12345",
        )


def measure(rounds: int, folder: Path) -> list[Row]:
    few, many = folder / "few.db", folder / "many.db"
    fill(few, 0)
    fill(many, MANY)
    seen = Rounds().run(
        rounds, {"few": partial(sales, few), "many": partial(sales, many), "localstripe": localstripe}
    )
    return [
        Row(
            "sandbox: customer, session, paid; 100,000 customers stored",
            "none stored: rate",
            seen.ratio("many", "few", "sales"),
            0.9,
        ),
        Row(
            "sandbox: customers made at 500 stored",
            "localstripe: rate",
            seen.ratio("few", "localstripe", "customers"),
            20,
        ),
    ]
