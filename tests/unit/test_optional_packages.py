"""Delete a folder and its line in `create_app`, and the shop still sells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# A sale: placed, paid by a signed webhook, fulfilled by the worker. Flexprice is a stub of two answers.
SALE = """
import logging
from sqlalchemy import select
import responses
from storefront import create_app
from storefront.extensions import checkout, db
from storefront.models import Order, PlanAccess
from tests.samples import API, customer, invoice, plan, price, session, subscription, webhook
from tests.shop_fixtures import HOME, Browser, send_webhook_to

logging.basicConfig(level=logging.INFO)
app = create_app()
with app.app_context():
    db.create_all()
browser = Browser(app)
with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
    mock.add("POST", API + "/customers", json=customer(), status=201)
    plans = {"items": [plan(price())], "pagination": {"total": 1, "limit": 100, "offset": 0}}
    mock.add("POST", API + "/plans/search", json=plans)
    mock.add("POST", API + "/checkout/sessions", json=session(), status=201)
    mock.add("GET", API + "/invoices/inv_01", json=invoice())
    mock.add("GET", API + "/subscriptions/subs_01", json=subscription())
    mock.add("GET", API + "/checkout/sessions/cs_01", json=session())
    asha = {"name": "Asha", "email": "asha@example.com", "password": "correct horse battery"}
    signed_up = browser.post("/sign-up", **asha)
    assert signed_up.status_code == 303, signed_up.text
    bought = browser.post("/checkout", plan="plan_01", currency="inr", billing_period="MONTHLY")
    assert bought.location == "http://127.0.0.1:8001/pay/abc", bought.text
    with app.app_context():
        checkout.run_once()
        ref = db.session.scalar(select(Order.ref))
        db.session.remove()
    ended = session(checkout_status="completed", terminal=True, metadata={"order_ref": ref})
    told = webhook(checkout_session=ended)
    assert send_webhook_to(app, told).status_code == 204
    with app.app_context():
        checkout.run_once()
        checkout.run_once()
        order = db.session.scalar(select(Order))
        assert order.state == "fulfilled", (order.state, order.review_note)
        assert db.session.scalar(select(PlanAccess.plan_id)) == "plan_01"
        db.session.remove()
    assert browser.get(f"/orders/{ref}/success").status_code == 200
    assert browser.get("/account").status_code == 200
    assert browser.post("/forgot-password", email="asha@example.com").status_code == 303
print("sold")
"""


# Beside its folder: what takes a copied package into the demo, and its line in `create_app`.
TAKEN_IN_BY = {"subscriptions": "billing"}
OTHERS = ("none", "emails", "sandbox", "subscriptions")


@pytest.fixture
def clone(tmp_path) -> Path:
    for part in ("storefront", "templates", "static"):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "tests").mkdir()
    for name in ("samples.py", "shop_fixtures.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    return tmp_path


@pytest.mark.parametrize(
    "package", ["operations", *(pytest.param(package, marks=pytest.mark.thorough) for package in OTHERS)]
)
def test_the_shop_sells_without(clone, package):
    if package != "none":
        shutil.rmtree(clone / "storefront" / package, ignore_errors=True)
        line_of = TAKEN_IN_BY.get(package, package)
        (clone / "storefront" / f"{line_of}.py").unlink(missing_ok=True)
        contents = clone / "storefront" / "__init__.py"
        lines = [line for line in contents.read_text().splitlines() if line.strip() != f'"{line_of}",']
        contents.write_text("\n".join(lines) + "\n")
    environ = {
        "PATH": os.environ["PATH"],
        "FLEXPRICE_API_URL": "http://127.0.0.1:8001/v1",
        "FLEXPRICE_API_KEY": "sk_of_a_test",
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_dGhlIHNob3AncyBvd24gc2lnbmluZyBrZXksIDMyIGI=",
        "STOREFRONT_URL": "http://127.0.0.1:8000",
        "SECRET_KEY": "thirty-two characters, or more..",
        "DATABASE_URL": f"sqlite:///{clone}/shop.db",
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@shop.example",
        "RATE_LIMITS": "off",
        "CHECKOUT_PAYMENT_HOSTS": "127.0.0.1:8001",
    }
    ended = subprocess.run(
        [sys.executable, "-c", SALE], cwd=clone, env=environ, capture_output=True, text=True, timeout=120
    )
    assert ended.stdout == "sold\n", ended.stderr
