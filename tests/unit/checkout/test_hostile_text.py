"""Text from Flexprice of every length, with NUL and beyond 16 bits: it sells, on PostgreSQL too."""

from typing import Any

import pytest

from storefront.checkout import State
from storefront.emails import rendering
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import PlanAccess

ASTRAL = "\U0001d11e"
NAMES = {
    "255 characters": "x" * 255,
    "256 characters": "x" * 256,
    "5,000 characters": "x" * 5000,
    "255 beyond 16 bits": ASTRAL * 255,
    "5,000 beyond 16 bits": ASTRAL * 5000,
    "NUL": "Pro\x00Plus",
    "a lone surrogate": "Pro\ud800Plus",
    "line breaks": "Pro\r\nBcc: all@example.com",
    "right to left": "\u202eorP",
}
LONG_TEXTS = ("x" * 5000, ASTRAL * 5000, "\x00" * 300 + "x")


@pytest.fixture
def sell(flexprice: Any, buy: Any, send_webhook: Any, webhook: Any, work: Any, the_order: Any) -> Any:
    """A whole sale: what Flexprice sends can be changed."""

    def run(plan: dict[str, Any], invoice: dict[str, Any], **session: Any) -> None:
        flexprice.sells(flexprice.plan(flexprice.price("499"), **plan))
        flexprice.opens(**session)
        buy()
        order = the_order()
        bought = flexprice.subscription(subscription_status="active")
        buyer = {"id": "cust_01", "external_id": order.customer_key}
        told = flexprice.invoice(subscription=bought, customer=buyer) | invoice
        flexprice.answer("GET", f"/invoices/{order.invoice_id}", told)
        if not told["invoice_number"]:
            flexprice.answer("GET", f"/subscriptions/{order.subscription_id or 'subs_01'}", bought)
        send_webhook(webhook(checkout_session=webhook()["checkout_session"] | {"terminal": True} | session))
        work()
        work()

    return run


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_plan_with_any_name_is_sold(
    context: Any, sell: Any, the_order: Any, rows: Any, asha: Any, name: str
) -> None:
    """Kind: one reader for text from Flexprice, on both databases."""
    sell({"name": name, "description": name, "lookup_key": name}, {"invoice_number": "INV-1"})
    order = the_order()
    assert (order.state, order.review_note) == (State.FULFILLED, None)
    assert len(order.plan_name) <= 255
    assert "\x00" not in order.plan_name
    assert len(rows(PlanAccess)) == 1
    assert asha.get(f"/orders/{order.ref}/success").status_code == 200
    email = rendering.render(db.session.get_one(Email, rows(Email)[0].id))
    assert "\n" not in email.subject
    assert "\r" not in email.subject


@pytest.mark.parametrize("text", LONG_TEXTS, ids=["long", "long beyond 16 bits", "NUL"])
def test_invoice_with_any_text_is_read(sell: Any, the_order: Any, text: str) -> None:
    sell({}, {"invoice_number": text, "billing_reason": text, "invoice_type": text})
    assert the_order().state == State.FULFILLED
    assert len(the_order().invoice_number) <= 255


LONG_AMOUNTS = {  # the column holds 40 characters
    "40 characters": ("499." + "0" * 36, State.FULFILLED),
    "41 characters": ("499." + "0" * 37, State.PAID),
    "20 digits": ("9" * 20, State.FULFILLED),
    "21 digits": ("9" * 21, State.PAID),
    "5,000 digits": ("9" * 5000, State.PAID),
    "an exponent": ("1e99", State.PAID),
    "a small number": ("1e-99", State.PAID),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("total", "state"), LONG_AMOUNTS.values(), ids=LONG_AMOUNTS)
def test_invoice_total_of_any_length_breaks_nothing(
    sell: Any, the_order: Any, asha: Any, caplog: Any, total: str, state: State
) -> None:
    """One that no column holds is unreadable: the paid order waits, and is for a person if it stays so."""
    sell({}, {"invoice_number": "INV-1", "total": total})
    order = the_order()
    assert order.state == state
    assert order.invoice_total_text == (total if state == State.FULFILLED else None)
    assert "DataError" not in caplog.text
    assert asha.get(f"/orders/{order.ref}/success").status_code == 200


@pytest.mark.thorough
@pytest.mark.parametrize("length", [255, 256, 5000])
@pytest.mark.parametrize("field", ["id", "customer_id", "checkout_invoice_id", "checkout_payment_id"])
def test_session_with_a_long_id_is_no_error(
    flexprice: Any, buy: Any, asha: Any, the_order: Any, field: str, length: int
) -> None:
    """One that no column holds is unusable: an answer without it, or a lost answer."""
    flexprice.sells(flexprice.plan(flexprice.price("499")))
    flexprice.opens(**{field: "x" * length})
    assert buy().status_code == 303
    order = the_order()
    assert order.state in (State.PLACED, State.AWAITING_PAYMENT)
    assert asha.get(f"/orders/{order.ref}/failure").status_code == 200


@pytest.mark.parametrize("text", LONG_TEXTS, ids=["long", "long beyond 16 bits", "NUL"])
def test_refusal_with_any_text_ends_the_order(flexprice: Any, buy: Any, the_order: Any, text: str) -> None:
    flexprice.sells(flexprice.plan(flexprice.price("499")))
    body = {"code": text, "message": text, "details": {"reason": text}}
    flexprice.answer("POST", "/checkout/sessions", body, 400)
    assert buy().status_code == 303
    assert the_order().state == State.FAILED


@pytest.mark.parametrize("text", LONG_TEXTS, ids=["long", "long beyond 16 bits", "NUL"])
def test_failed_payment_with_any_reason_ends_the_order(
    context: Any, add_opened: Any, send_webhook: Any, webhook: Any, work: Any, the_order: Any,
    flexprice: Any, text: str,
) -> None:  # fmt: skip
    add_opened(plan_name="x" * 255)
    session = webhook("failed")["checkout_session"] | {"terminal": True, "failure_reason": text}
    send_webhook(webhook("failed", checkout_session=session))
    flexprice.answer("GET", "/checkout/sessions/cs_01", session)
    flexprice.answer("GET", "/payments/pay_01", {"error": "down"}, 503)
    work()
    assert the_order().state == State.FAILED
