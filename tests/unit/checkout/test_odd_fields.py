"""Text of any length and of any characters, in every field that Flexprice sends: no error, nothing lost.

On PostgreSQL, which refuses NUL and text longer than its column, and on SQLite, where lengths are compared.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest
import responses
from flask import Flask
from sqlalchemy import delete

from storefront.checkout import State
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.flexprice import FlexpriceError
from storefront.flexprice._json import label
from storefront.models import Order, OrderTransition, PlanAccess, WebhookEvent
from tests import samples

LENGTHS = (255, 256, 5000)
TEXTS = [character * length for character in ("x", "\U0001f600", "x\x00", "\ud800") for length in LENGTHS]
Path = tuple[str, ...]
Objects = dict[str, Any]


def full_objects(ref: str = "") -> Objects:
    """One of each object that takes part in a sale, with every text that Flexprice may put into it."""
    bought = samples.subscription(metadata={"order_ref": ref}, latest_invoice={"id": "inv_01"})
    session = samples.session(
        checkout_status="completed", terminal=True, completed_at="2026-09-01T10:05:00Z", idempotency_key=ref,
        metadata={"order_ref": ref}, payment={"status": "SUCCEEDED"}, failure_reason="x",
    )  # fmt: skip
    return {
        "plan": samples.plan(
            samples.price(display_name="x", display_amount="x", lookup_key="x", price_unit_type="FIAT"),
            description="x", lookup_key="x", entitlements=[
                {"feature_type": "static", "is_enabled": True, "static_value": "x", "feature": {"name": "x"}}
            ],
        ),
        "opened": samples.session(idempotency_key=ref),
        "event": {"event_type": "checkout.session.completed", "checkout_session": session},
        "invoice": samples.invoice(
            invoice_status="FINALIZED", payment_status="SUCCEEDED", invoice_number="INV-1",
            subscription=bought, invoice_type="SUBSCRIPTION", billing_reason="x",
            customer={"external_id": ""},
        ),
    }  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The address of every text in an object."""
    if isinstance(value, str):
        yield path
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, str(key)))


def put(value: Any, path: Path, text: str) -> Any:
    """A copy with this text in that place."""
    if not path:
        return text
    key, rest = path[0], path[1:]
    if isinstance(value, list):
        return [put(inner, rest, text) if str(at) == key else inner for at, inner in enumerate(value)]
    return value | {key: put(value[key], rest, text)}


class Odd:
    """A Flexprice with one odd text somewhere."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.path: Path = ()
        self.text, self.ref = "", ""
        answers: dict[tuple[str, str], Callable[[Objects], Any]] = {
            ("POST", "plans/search"): lambda have: {"items": [have["plan"]], "pagination": {"total": 1}},
            ("POST", "checkout/sessions"): lambda have: have["opened"],
            ("GET", "checkout/sessions/.*"): lambda have: have["event"]["checkout_session"],
            ("GET", "invoices/.*"): lambda have: have["invoice"],
            ("GET", "subscriptions/.*"): lambda have: have["invoice"]["subscription"],
            ("POST", "subscriptions/search"): lambda have: {
                "items": [have["invoice"]["subscription"]],
                "pagination": {"total": 1},
            },
        }
        for (method, path), answer in answers.items():
            mock.add_callback(method, re.compile(f"{samples.API}/{path}"), self._answer(answer))
        mock.add(responses.GET, re.compile(".*"), json={"error": "not found"}, status=404)

    def objects(self) -> Objects:
        made = full_objects(self.ref)
        return dict(put(made, self.path, self.text)) if self.path else made

    def offer(self) -> dict[str, str]:
        """What the form on the plan's page sends."""
        plan = self.objects()["plan"]
        price = plan["prices"][0]
        fields = {
            "plan": plan["id"],
            "currency": price["currency"],
            "billing_period": price["billing_period"],
        }
        return {name: label(text) for name, text in fields.items()}

    def _answer(self, answer: Callable[[Objects], Any]) -> Callable[[Any], Any]:
        def reply(request: Any) -> tuple[int, dict[str, str], str]:
            if request.url.endswith("/checkout/sessions"):
                self.ref = json.loads(request.body)["idempotency_key"]
            return 200, {}, json.dumps(answer(self.objects()))

        return reply


@pytest.fixture
def odd() -> Iterator[Odd]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Odd(mock)


@pytest.fixture
def begin_again(app: Flask) -> Callable[[], None]:
    def forget() -> None:
        vars(app.extensions["checkout"]).pop("catalog", None)
        with app.app_context():
            for model in (Email, PlanAccess, OrderTransition, WebhookEvent, Order):
                db.session.execute(delete(model))
            db.session.commit()

    return forget


@pytest.fixture
def sell(
    odd: Odd, asha: Any, send_webhook: Any, work: Any, rows: Any, begin_again: Any
) -> Callable[[], None]:
    """A whole sale, from the catalog to the account page."""

    def visit(path: str) -> None:
        assert asha.get(path).status_code in (200, 404, 503), path

    def run() -> None:
        begin_again()
        visit("/plans")
        assert asha.post("/checkout", **odd.offer()).status_code in (303, 400, 404, 422, 503)
        body = json.dumps(odd.objects()["event"]).encode()
        assert send_webhook(body).status_code in (204, 400)
        for _ in range(2):
            work()
        for order in rows(Order):
            visit(f"/orders/{order.ref}/success")
            visit(f"/orders/{order.ref}/status")
        visit("/account")

    return run


def errors(caplog: Any) -> list[str]:
    """Exceptions in the log that are none of Flexprice's."""
    found = [record for record in caplog.records if record.exc_info and record.exc_info[1]]
    return [str(r.exc_info[1]) for r in found if not isinstance(r.exc_info[1], FlexpriceError)]


def test_sale_without_odd_text_is_fulfilled(odd: Odd, sell: Any, the_order: Any, caplog: Any) -> None:
    """So that the tests below reach every step."""
    sell()
    assert (the_order().state, the_order().invoice_number) == (State.FULFILLED, "INV-1")
    assert errors(caplog) == []


def test_odd_text_in_any_field_causes_no_error(odd: Odd, sell: Any, rows: Any, caplog: Any) -> None:
    """Each field with one of the texts; the next test takes all of them."""
    for odd.path, odd.text in zip(places(full_objects()), cycle(TEXTS), strict=False):
        sell()
        look(odd, rows, caplog)


@pytest.mark.thorough
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{len(text)} of {len(set(text))}")
def test_every_odd_text_in_any_field_causes_no_error(
    odd: Odd, sell: Any, rows: Any, caplog: Any, text: str
) -> None:
    odd.text = text
    for odd.path in places(full_objects()):
        sell()
        look(odd, rows, caplog)


def look(odd: Odd, rows: Any, caplog: Any) -> None:
    assert errors(caplog) == [], odd.path
    caplog.clear()
    for row in (*rows(Order), *rows(WebhookEvent)):
        assert too_long(row) == [], odd.path


def too_long(row: Any) -> list[str]:
    """Columns that PostgreSQL could not store; SQLite takes them all."""
    found = []
    for attribute in row.__mapper__.column_attrs:
        value, length = getattr(row, attribute.key), getattr(attribute.columns[0].type, "length", None)
        if isinstance(value, str) and ("\x00" in value or (length and len(value) > length)):
            found.append(attribute.key)
    return found
