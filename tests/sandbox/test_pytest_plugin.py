"""The fixtures that the wheel brings to pytest."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

EXAMPLE = """
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from storefront.sandbox.pytest_plugin import Refused

CUSTOMER = {"external_id": "u1", "name": "Asha"}


def offer(store):
    store.call("POST", "/customers", CUSTOMER)
    plan = store.call("POST", "/plans", {"name": "Pro", "lookup_key": "pro"})
    price = {"entity_id": plan["id"], "entity_type": "PLAN", "type": "FIXED", "amount": "499"}
    price |= {"currency": "inr", "billing_model": "FLAT_FEE", "billing_cadence": "RECURRING"}
    price |= {"billing_period": "MONTHLY", "billing_period_count": 1, "invoice_cadence": "ADVANCE"}
    store.call("POST", "/prices", price | {"price_unit_type": "FIAT"})
    params = {"plan_id": plan["id"], "currency": "INR", "billing_period": "MONTHLY"}
    asked = {"customer_external_id": "u1", "action": "create_subscription"}
    asked |= {"payment_provider": "razorpay", "success_url": "https://shop.test/return"}
    return store.call(
        "POST", "/checkout/sessions", asked | {"configuration": {"create_subscription_params": params}}
    )


def test_a_sale(flexprice_store):
    session = offer(flexprice_store)
    assert session["payment_action"]["url"].startswith(flexprice_store.url.removesuffix("/v1"))

    flexprice_store.pay(session["payment_action"]["url"])

    read = flexprice_store.call("GET", f"/checkout/sessions/{session['id']}")
    assert read["checkout_status"] == "completed"
    types = [message["type"] for message in flexprice_store.messages(session["customer_id"])]
    assert types[0] == "customer.created" and "checkout.session.completed" in types


def test_the_next_store_is_empty_and_has_its_own_clock(flexprice_sandbox, flexprice_store):
    flexprice_store.call("POST", "/customers", CUSTOMER)
    other = flexprice_sandbox.store()
    assert other.call("POST", "/customers/search", {})["items"] == []
    assert flexprice_store.advance("31d")["now"] > other.advance("1d")["now"]
    assert flexprice_sandbox.store("named").key == "sk_sandbox_named"


def test_a_refusal_is_an_exception(flexprice_store):
    with pytest.raises(Refused) as caught:
        flexprice_store.call("GET", "/customers/cust_1")
    assert (caught.value.status, caught.value.body["code"]) == (404, "not_found")


def test_webhooks_arrive(flexprice_store):
    got = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.headers["svix-signature"])
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flexprice_store.send_webhooks_to(f"http://127.0.0.1:{server.server_port}/")
    flexprice_store.call("POST", "/customers", CUSTOMER)
    for _ in range(100):
        if got:
            break
        time.sleep(0.05)
    server.shutdown()
    server.server_close()
    assert got[0].startswith("v1,")


@pytest.mark.parametrize("number", range(50))
def test_many(flexprice_store, number):
    flexprice_store.call("POST", "/customers", CUSTOMER)


def test_a_store_is_made_quickly(flexprice_sandbox):
    took = []
    for _ in range(30):
        began = time.process_time()  # the machine may have other work; the sandbox is in this process
        flexprice_sandbox.store()
        took.append(time.process_time() - began)
    assert min(took) < 0.020
"""


@pytest.mark.thorough
def test_the_fixtures_give_each_test_a_store_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(EXAMPLE)
    words = ["-q", "-s", "-p", "storefront.sandbox.pytest_plugin", "-W", "error", "-p", "no:cacheprovider"]

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words, f"--rootdir={tmp_path}", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "55 passed" in ran.stdout
