"""Every page and form of subscriptions/, found in the URL map: strangers see that nothing is there."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from storefront.billing import Invoice, Subscription
from storefront.extensions import db
from storefront.models import User
from storefront.subscriptions import Link

ASHAS = {"subscription_id": "subs_1", "invoice_id": "inv_1", "attempt": 1}


@pytest.fixture
def ashas_plan(app: Flask, add_user: Callable[..., int]) -> None:
    """Asha has a plan, an open invoice and a live link."""
    add_user()
    with app.app_context():
        key = db.session.scalars(select(User.key)).one()
        db.session.add_all(
            [
                Subscription(
                    subscription_id="subs_1", customer_key=key, flexprice_customer_id="cust_1",
                    order_ref="a" * 32, access="granted", plan_id="plan_1", plan_name="Secret plan",
                    currency="inr", billing_period="MONTHLY", status="active", cancel_schedule_id="sched_1",
                ),
                Invoice(
                    invoice_id="inv_1", subscription_id="subs_1", customer_key=key, number="INV-SECRET",
                    status="FINALIZED", payment_status="PENDING", currency="inr", total_text="499",
                    remaining_text="499", link=Link.OPEN, attempt=1, payment_id="pay_1",
                ),
            ]
        )  # fmt: skip
        db.session.commit()


def requests_of(app: Flask, **values: Any) -> Iterator[tuple[str, str, bool]]:
    """Method and path of each rule, and whether it is about one plan or invoice."""
    adapter = app.url_map.bind("127.0.0.1")
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("subscriptions.")]
    assert len(rules) >= 8
    for rule in rules:
        path = adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments})
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            yield method, path, bool(rule.arguments)


def ask(browser: Any, method: str, path: str) -> Any:
    return browser.client.open(
        path, method=method, base_url="http://127.0.0.1:8000", headers={"Sec-Fetch-Site": "same-origin"}
    )


def rows(app: Flask) -> list[tuple[Any, ...]]:
    tables = (Subscription.__table__, Invoice.__table__)
    with app.app_context():
        return [tuple(row) for table in tables for row in db.session.execute(select(table))]


@pytest.mark.usefixtures("ashas_plan")
def test_another_shopper_finds_nothing(app: Flask, add_user: Callable[..., int], browser: Any) -> None:
    add_user("mallory@example.com", "Mallory")
    browser.sign_in("mallory@example.com")
    before = rows(app)
    for method, path, is_of_somebody in requests_of(app, **ASHAS):
        answer = ask(browser, method, path)
        if is_of_somebody:
            assert answer.status_code == 404, (method, path)
        assert "SECRET" not in answer.text.upper(), (method, path)
    assert rows(app) == before


@pytest.mark.usefixtures("ashas_plan")
def test_somebody_signed_out_is_sent_to_sign_in(app: Flask, browser: Any) -> None:
    before = rows(app)
    for known in (ASHAS, ASHAS | {"subscription_id": "subs_none", "invoice_id": "inv_none"}):
        for method, path, _ in requests_of(app, **known):
            answer = ask(browser, method, path)
            assert answer.status_code in (302, 303), (method, path)
            assert answer.location.startswith("/sign-in?next=/"), (method, path)
    assert rows(app) == before


@pytest.mark.usefixtures("ashas_plan")
@pytest.mark.parametrize("text", ["none", "\0", "x" * 256, "%", "inv_1'--"])
def test_an_id_that_is_not_known_is_not_found(app: Flask, browser: Any, text: str) -> None:
    browser.sign_in()
    for method, path, has_id in requests_of(app, subscription_id=text, invoice_id=text, attempt=1):
        if has_id:
            assert ask(browser, method, path).status_code == 404, (method, path)
