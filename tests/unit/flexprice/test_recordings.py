"""Every answer and every webhook that a real Flexprice server was recorded with can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import responses

from storefront.flexprice import (
    AuthenticationError,
    CheckoutSession,
    CheckoutSessionRequest,
    Client,
    Conflict,
    Customer,
    CustomerNotFound,
    Event,
    FlexpriceError,
    InvalidRequest,
    Invoice,
    NotFound,
    ObjectList,
    Plan,
    Price,
    ProviderError,
    ServerError,
    Subscription,
)

URL = "https://flexprice.test/v1"
FOLDER = Path(__file__).parents[2] / "sandbox" / "recordings"
RECORDINGS = {path.stem: path for path in sorted(FOLDER.glob("*.json"))}
NOW = datetime(2026, 11, 27, 14, tzinfo=UTC)
GO_ZERO_TIME = "<now-739947d>"  # as the recorder wrote it: "no end"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
REQUEST = CheckoutSessionRequest(
    "ext_1", "plan_1", "inr", "MONTHLY", "key", "https://s", "https://f", "https://c"
)

OPEN_INVOICE = Invoice("inv_1", "FINALIZED", "PENDING", "inr", amount_remaining=Decimal(499))

# What the client asks, and how.
CALLS: dict[tuple[str, str], Callable[[Client, str], object]] = {
    ("POST", r"/checkout/sessions"): lambda client, _id: client.create_checkout_session(REQUEST),
    ("GET", r"/checkout/sessions/([^/]+)"): lambda client, id_: client.get_checkout_session(id_),
    ("POST", r"/customers"): lambda client, _id: client.create_customer("ext_1", "Asha Rao", "a@b.test"),
    ("GET", r"/customers/external/([^/]+)"): lambda client, id_: client.get_customer_by_external_id(id_),
    ("GET", r"/invoices/([^/?]+)"): lambda client, id_: client.get_invoice(id_),
    ("POST", r"/invoices/search"): lambda client, _id: client.list_invoices("subs_1"),
    ("GET", r"/payments/([^/?]+)"): lambda client, id_: client.get_payment(id_),
    ("GET", r"/plans/([^/?]+)"): lambda client, id_: client.get_plan(id_),
    ("POST", r"/plans/search"): lambda client, _id: client.list_plans(),
    ("GET", r"/subscriptions/([^/?]+)"): lambda client, id_: client.get_subscription(id_),
    ("POST", r"/subscriptions"): lambda client, _id: client.create_subscription(
        "ext_1", "plan_1", "inr", "MONTHLY", "r-1"
    ),
    ("POST", r"/subscriptions/([^/]+)/cancel"): lambda client, id_: client.cancel_subscription(
        id_, immediately=False
    ),
    ("GET", r"/subscriptions/([^/]+)/schedules"): lambda client, id_: client.list_schedules(id_),
    ("POST", r"/subscriptions/schedules/([^/]+)/cancel"): lambda client, id_: client.cancel_schedule(id_),
    ("POST", r"/subscriptions/([^/]+)/change/v2/preview"): lambda client, id_: client.preview_plan_change(
        id_, "plan_2"
    ),
    ("POST", r"/subscriptions/([^/]+)/change/v2/execute"): lambda client, id_: client.plan_change_at_renewal(
        id_, "plan_2"
    ),
    ("POST", r"/payments"): lambda client, _id: client.create_payment_link(OPEN_INVOICE, "k", "https://s"),
    ("GET", r"/customers/external/([^/]+)/entitlements"): lambda client, id_: client.list_entitlements(id_),
    ("GET", r"/customers/usage\?customer_lookup_key=(.+)"): lambda client, id_: client.list_usage(id_),
    ("POST", r"/subscriptions/search"): lambda client, _id: client.list_subscriptions("ext_1", ["active"]),
}
# Answers to calls that the client does not make; the objects in them are the same.
OBJECTS = {
    ("POST", r"/plans"): Plan.from_json,
    ("POST", r"/prices"): Price.from_json,
    ("GET", r"/prices/([^/?]+)"): Price.from_json,
    ("POST", r"/invoices/([^/]+)/finalize"): lambda _answer: None,
}
ERRORS = {
    400: InvalidRequest,
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFound,
    409: Conflict,
    500: ServerError,
}


def substitute(text: str) -> Any:
    """Put real values for the placeholders; times get nine, six, three or no fraction digits in turn."""
    digits = [9, 6, 3, 0]

    def moment(match: re.Match[str]) -> str:
        digits.append(digits.pop(0))
        if match[0] == GO_ZERO_TIME:
            return "0001-01-01T00:00:00Z"
        sign = -1 if match[1] == "-" else 1
        away = timedelta(**{UNITS[match[3]]: sign * int(match[2])}) if match[1] else timedelta()
        fraction = "." + "123456789"[: digits[0]] if digits[0] else ""
        return f"{NOW + away:%Y-%m-%dT%H:%M:%S}{fraction}Z"

    return json.loads(
        re.sub(r"<([a-z_0-9]+)>", r"\1", re.sub(r"<now(?:([+-])(\d+)([smhd]))?>", moment, text))
    )


def steps(name: str) -> Iterator[dict[str, Any]]:
    yield from substitute(RECORDINGS[name].read_text())["steps"]


def find(table: dict[tuple[str, str], Any], method: str, path: str) -> tuple[Any, str] | None:
    for (wanted, pattern), entry in table.items():
        match = re.fullmatch(pattern, path)
        if match and method == wanted:
            return entry, match[1] if match.groups() else ""
    return None


def expected_error(step: dict[str, Any], status: int) -> type[FlexpriceError]:
    message = step["answer"]["body"].get("message", "")
    if "in Razorpay" in message:
        return ProviderError
    return CustomerNotFound if message.startswith("Customer with") else ERRORS[status]


def ask(call: dict[str, Any], status: int, body: object) -> object:
    run, id_ = find(CALLS, call["method"], call["path"])
    with responses.RequestsMock() as server:
        server.add(call["method"], URL + call["path"], json=body, status=status)
        return run(Client(URL, "sk_test"), id_)


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_answer_is_read(name: str) -> None:
    for step in steps(name):
        call, answer = step.get("call"), step.get("answer")
        if not call or answer["status"] >= 300 or not find(CALLS, call["method"], call["path"]):
            continue
        found = ask(call, answer["status"], answer["body"])
        if isinstance(found, ObjectList):
            (rows,) = [rows for rows in answer["body"].values() if isinstance(rows, list)][-1:]
            assert (len(found), found.unreadable) == (len(rows), 0)
        elif "id" in answer["body"]:
            assert found.id == answer["body"]["id"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_error_has_its_class(name: str) -> None:
    for step in steps(name):
        call, answer = step.get("call"), step.get("answer")
        if not call or answer["status"] < 400 or not find(CALLS, call["method"], call["path"]):
            continue
        for status in {answer["status"], answer.get("or", answer["status"])}:
            with pytest.raises(FlexpriceError) as caught:
                ask(call, status, answer["body"])
            assert type(caught.value) is expected_error(step, status)
            assert caught.value.message
            assert caught.value.status == status


@pytest.mark.parametrize("name", RECORDINGS)
def test_objects_of_other_calls_are_read(name: str) -> None:
    for step in steps(name):
        call, answer = step.get("call"), step.get("answer")
        found = call and answer["status"] < 300 and find(OBJECTS, call["method"], call["path"])
        if found:
            found[0](answer["body"])


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_webhook_is_read(name: str) -> None:
    for step in steps(name):
        for message in step.get("webhooks", ()):
            event = Event.from_body(json.dumps(message["body"]).encode())
            assert event.type == message["type"]
            assert event.object_id


def recorded(name: str, model: type, method: str, pattern: str) -> list[Any]:
    """Return the objects in a recording's answers to one kind of call."""
    calls = [step for step in steps(name) if "call" in step]
    bodies = [
        step["answer"]["body"]
        for step in calls
        if step["call"]["method"] == method
        and re.fullmatch(pattern, step["call"]["path"])
        and step["answer"]["status"] < 300
    ]
    return [model.from_json(item) for body in bodies for item in body.get("items", [body])]


def test_provider_trouble_is_seen_in_recordings() -> None:
    kinds = set()
    for name in ("provider-down-at-customer", "provider-down-at-link"):
        for step in steps(name):
            if step.get("provider") is None and step.get("answer", {}).get("status", 0) >= 400:
                kinds.add(expected_error(step, step["answer"]["status"]))
    assert kinds == {ProviderError}


def test_a_draft_invoice_has_no_number() -> None:
    invoices = recorded("paid", Invoice, "GET", r"/invoices/[^/]+")
    invoices += recorded("two-sessions", Invoice, "POST", r"/invoices/search")
    assert {invoice.number is None for invoice in invoices if invoice.status == "DRAFT"} <= {True}
    assert all(invoice.number for invoice in invoices if invoice.status == "FINALIZED")
    assert any(invoice.paid for invoice in invoices)


def test_a_completed_session_has_no_payment_url() -> None:
    sessions = recorded("paid", CheckoutSession, "GET", r"/checkout/sessions/[^/]+")
    completed = [session for session in sessions if session.status == "completed"]
    assert completed
    assert all(session.terminal and session.payment_url is None for session in completed)


def test_a_scheduled_cancel_is_read() -> None:
    subscriptions = recorded("cancel-and-undo", Subscription, "GET", r"/subscriptions/[^/]+")
    planned = [one for one in subscriptions if one.status == "active" and one.cancelled_at]
    assert planned
    assert all(one.cancel_at and one.cancel_at_period_end for one in planned)


def test_prices_keep_their_dates() -> None:
    plans = recorded("catalog", Plan, "POST", r"/plans/search")
    plans += recorded("catalog", Plan, "GET", r"/plans/[^/]+")
    prices = [price for plan in plans for price in plan.prices]
    assert prices
    assert all(price.start_date for price in prices)


def test_a_customer_without_metadata_is_read() -> None:
    assert recorded("paid", Customer, "POST", r"/customers")
