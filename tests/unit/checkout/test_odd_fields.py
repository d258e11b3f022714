"""Text of any length and characters, and any other value, in every field that Flexprice sends.

No error of ours, the other plans stay on sale, and a paid order is fulfilled, or flagged for a person, once
Flexprice is in order again. PostgreSQL refuses NUL and what its columns cannot hold; SQLite takes it all.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
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
from storefront.models import Order, OrderTransition, PlanAccess, WebhookEvent
from tests import samples

LENGTHS = (255, 256, 5000)
TEXTS = [character * length for character in ("x", "\U0001f600", "x\x00", "\ud800") for length in LENGTHS]
MARKUP = (
    "<script>x</script>",
    "![x](https://evil.example)",
    "x\r\n2026 INFO forged",
    "\u202ex",
    "a\u0301\u0327" * 300,
)
OTHERS = (
    2**31, 2**63, -1, 0, 0.5, 1e300, True, None, "", [], {}, ["x"], {"x": "x"}, "1e99", "0." + "1" * 60,
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-09-01T10:00:00",
)  # fmt: skip
VALUES: list[Any] = [*TEXTS, *MARKUP, *OTHERS]
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
    """The address of everything in an object."""
    if path and path != ("event",):
        yield path
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, str(key)))


def put(value: Any, path: Path, text: Any) -> Any:
    """A copy with this value in that place."""
    if not path:
        return text
    key, rest = path[0], path[1:]
    if isinstance(value, list):
        return [put(inner, rest, text) if str(at) == key else inner for at, inner in enumerate(value)]
    return value | {key: put(value[key], rest, text)}


GOOD = samples.plan(samples.price(), id="plan_02", name="Good")


class Odd:
    """A Flexprice with one odd value somewhere, and a second plan that is in order."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.path: Path = ()
        self.text: Any = ""
        self.ref = ""
        answers: dict[tuple[str, str], Callable[[Objects], Any]] = {
            ("POST", "plans/search"): lambda have: {
                "items": [have["plan"], GOOD],
                "pagination": {"total": 2},
            },
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
        plan, usual = self.objects()["plan"], full_objects()["plan"]
        price = usual["prices"][0]
        if self.path[:3] == ("plan", "prices", "0") and len(self.path) == 4:
            price = plan["prices"][0]
        fields = {
            "plan": plan["id"] if isinstance(plan, dict) else usual["id"],
            "currency": price.get("currency"),
            "billing_period": price.get("billing_period"),
        }
        return {name: re.sub("[\0\ud800]", "", str(text))[:255] for name, text in fields.items()}

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
    odd: Odd, asha: Any, send_webhook: Any, work: Any, rows: Any, begin_again: Any, pass_time: Any
) -> Callable[[], None]:
    """A whole sale, from the catalog to the account page, and what follows once Flexprice is in order."""

    def visit(path: str) -> None:
        assert asha.get(path).status_code in (200, 404, 503), path

    def waiting() -> list[str]:
        return [order.ref for order in rows(Order) if order.state == State.PAID and not order.review_note]

    def run() -> None:
        begin_again()
        visit("/plans")
        assert "Good" in asha.get("/plans").text, odd.path
        assert asha.post("/checkout", **odd.offer()).status_code in (303, 400, 404, 422, 503)
        body = json.dumps(odd.objects()["event"]).encode()
        assert send_webhook(body).status_code in (204, 400)
        for _ in range(2):
            work()
        for order in rows(Order):
            visit(f"/orders/{order.ref}/success")
            visit(f"/orders/{order.ref}/status")
        visit("/account")
        path, odd.path = odd.path, ()
        for _ in range(12):
            pass_time(timedelta(hours=1))
            work()
            if not waiting():
                break
        assert waiting() == [], path
        visit("/account")

    return run


def errors(caplog: Any) -> list[str]:
    """Exceptions in the log that are not Flexprice's."""
    found = [record for record in caplog.records if record.exc_info and record.exc_info[1]]
    return [str(r.exc_info[1]) for r in found if not isinstance(r.exc_info[1], FlexpriceError)]


def test_sale_without_odd_text_is_fulfilled(odd: Odd, sell: Any, the_order: Any, caplog: Any) -> None:
    """So that the tests below reach every step."""
    sell()
    assert (the_order().state, the_order().invoice_number) == (State.FULFILLED, "INV-1")
    assert errors(caplog) == []


def test_odd_value_in_any_field_causes_no_error(odd: Odd, sell: Any, rows: Any, caplog: Any) -> None:
    """A sixth of the fields, each with one of the values; the next test takes all with all.

    Kind: one reader for what Flexprice sends.
    """
    for path, odd.text in zip(list(places(full_objects()))[::6], cycle(VALUES), strict=False):
        odd.path = path
        sell()
        look(path, rows, caplog)


@pytest.mark.thorough
@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:20])
def test_every_odd_value_in_any_field_causes_no_error(
    odd: Odd, sell: Any, rows: Any, caplog: Any, value: Any
) -> None:
    odd.text = value
    for path in places(full_objects()):
        odd.path = path
        sell()
        look(path, rows, caplog)


def look(path: Path, rows: Any, caplog: Any) -> None:
    assert errors(caplog) == [], path
    caplog.clear()
    for row in (*rows(Order), *rows(WebhookEvent)):
        assert too_long(row) == [], path


def too_long(row: Any) -> list[str]:
    """Columns that PostgreSQL could not store; SQLite takes them all."""
    found = []
    for attribute in row.__mapper__.column_attrs:
        value, length = getattr(row, attribute.key), getattr(attribute.columns[0].type, "length", None)
        if isinstance(value, str) and ("\x00" in value or (length and len(value) > length)):
            found.append(attribute.key)
    return found
