"""Unsigned webhooks of a self-hosted Flexprice: hints, which only say what to ask Flexprice about."""

import json
from typing import Any

import pytest

from storefront.checkout import State
from storefront.checkout.signals import webhook_rejected
from storefront.checkout.webhooks import HINT_INTERVAL
from storefront.models import PlanAccess, WebhookEvent
from tests.shop_fixtures import sign
from tests.unit.checkout.conftest import utc_now

VALUE = "k8Jq2-the-value-agreed-upon-4711"
SHARED = {"X-Api-Key": VALUE}
SECRET, KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", b"0123456789abcdef" * 2
SESSION = "/checkout/sessions/cs_01"
COMPLETED = {"checkout_status": "completed", "completed_at": "2026-09-01T10:03:20Z", "terminal": True}


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    return env | {"FLEXPRICE_WEBHOOK_HEADER": f"X-Api-Key: {VALUE}", "FLEXPRICE_WEBHOOK_SECRET": ""}


@pytest.fixture
def hint(send_webhook: Any, webhook: Any) -> Any:
    """Delivers an unsigned webhook about the session: `hint("failed")`."""
    return lambda status="completed": send_webhook(webhook(status), SHARED).status_code


def questions(flexprice: Any) -> int:
    return int(flexprice.calls.count(("GET", SESSION)))


def test_hint_leads_to_a_question_and_fulfills(
    flexprice: Any, add_opened: Any, hint: Any, work: Any, the_order: Any, rows: Any
) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session(**COMPLETED))
    assert hint() == 204
    work()
    assert questions(flexprice) == 1
    assert the_order().state == State.FULFILLED
    assert len(rows(PlanAccess)) == 1


def test_forged_completion_changes_nothing(
    flexprice: Any, add_opened: Any, hint: Any, work: Any, the_order: Any, the_event: Any
) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session())
    hint("completed")
    work()
    assert the_order().state == State.AWAITING_PAYMENT
    assert the_event().outcome == "nothing new"


@pytest.mark.parametrize("status", ["failed", "expired", "completed"])
def test_status_in_a_hint_is_never_believed(
    flexprice: Any, add_opened: Any, hint: Any, work: Any, the_order: Any, status: str
) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session(checkout_status="failed", terminal=True))
    hint(status)
    work()
    assert the_order().state == State.FAILED


def test_hints_cost_one_question_an_interval(
    flexprice: Any, add_opened: Any, hint: Any, work: Any, rows: Any, pass_time: Any
) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session())
    for status in ("completed", "failed", "initiated", "brand_new"):
        hint(status)
        work()
    assert questions(flexprice) == 1
    assert len(rows(WebhookEvent)) == 1
    pass_time(HINT_INTERVAL)
    for _ in range(3):
        hint()
        work()
    assert questions(flexprice) == 2


def test_hints_about_nothing_cost_one_question_an_interval(
    flexprice: Any, hint: Any, work: Any, the_event: Any, pass_time: Any
) -> None:
    flexprice.answer("GET", SESSION, {"code": "not_found", "message": "not found"}, 404)
    for _ in range(3):
        hint()
        work()
    assert questions(flexprice) == 1
    assert the_event().processed_at is None
    pass_time(HINT_INTERVAL)
    work()
    assert questions(flexprice) == 2


def test_hint_waits_at_least_the_interval_for_flexprice_to_be_back(
    flexprice: Any, hint: Any, work: Any, the_event: Any, pass_time: Any
) -> None:
    flexprice.answer("GET", SESSION, {"error": "down"}, 503)
    hint()
    for intervals in (1, 2, 4):
        before = utc_now()
        work()
        assert the_event().next_attempt_at - before >= intervals * HINT_INTERVAL
        pass_time(the_event().next_attempt_at - before)


def test_genuine_hint_after_a_forged_one_counts(
    flexprice: Any, add_opened: Any, hint: Any, work: Any, the_order: Any, pass_time: Any
) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session())
    hint("initiated")
    work()
    flexprice.mock.reset()
    flexprice.answer("GET", SESSION, flexprice.session(**COMPLETED))
    hint()
    pass_time(HINT_INTERVAL)
    work()
    assert the_order().state == State.FULFILLED


def test_hint_during_a_question_is_followed_up(
    flexprice: Any, add_opened: Any, hint: Any, work: Any, the_event: Any
) -> None:
    """The answer under way may be older than the hint."""

    def answer(_request: Any) -> tuple[int, dict[str, str], str]:
        hint("initiated")
        return 200, {}, json.dumps(flexprice.session())

    add_opened()
    flexprice.mock.add_callback("GET", f"http://127.0.0.1:8001/v1{SESSION}", callback=answer)
    hint("initiated")
    work()
    assert the_event().processed_at is None
    assert the_event().next_attempt_at > the_event().received_at


def test_hint_is_stored_without_its_body(hint: Any, the_event: Any) -> None:
    hint()
    event = the_event()
    assert (event.object_id, event.signed, event.body) == ("cs_01", False, None)


def test_other_hints_are_ignored(send_webhook: Any, work: Any, the_event: Any) -> None:
    body = {"event_type": "customer.created", "customer": {"id": "cust_9"}}
    assert send_webhook(body, SHARED).status_code == 204
    work()
    assert the_event().outcome == "ignored"


def cancelled(subscription_id: str, ref: str) -> dict[str, Any]:
    forged = {"id": subscription_id, "subscription_status": "cancelled", "metadata": {"order_ref": ref}}
    return {"event_type": "subscription.cancelled", "subscription": forged}


def test_hint_ends_no_access_that_flexprice_knows(
    flexprice: Any, add_opened: Any, send_webhook: Any, work: Any, the_order: Any
) -> None:
    ref = add_opened(state=State.FULFILLED, subscription_id="subs_01")
    flexprice.answer("GET", "/subscriptions/subs_01", flexprice.subscription())
    send_webhook(cancelled("subs_01", ref), SHARED)
    work()
    assert (the_order().state, the_order().revoked_at) == (State.FULFILLED, None)


@pytest.mark.parametrize("known", [None, "subs_01"])
def test_hint_attaches_no_subscription(
    flexprice: Any, add_opened: Any, send_webhook: Any, work: Any, the_order: Any, known: str | None
) -> None:
    """The subscription of somebody else would end this access."""
    ref = add_opened(state=State.FULFILLED, subscription_id=known)
    send_webhook(cancelled("subs_of_another", ref), SHARED)
    work()
    assert (the_order().subscription_id, the_order().revoked_at) == (known, None)
    assert ("GET", "/subscriptions/subs_of_another") not in flexprice.calls


@pytest.mark.parametrize(("status", "seen"), [("REFUNDED", True), ("SUCCEEDED", False)])
def test_refund_hint_is_asked_about(
    flexprice: Any,
    add_opened: Any,
    send_webhook: Any,
    work: Any,
    the_order: Any,
    said: Any,
    status: str,
    seen: bool,
) -> None:
    add_opened()
    if seen:  # the session first: has it ended?
        flexprice.answer("GET", SESSION, flexprice.session())
    payment = {"id": "pay_01", "payment_status": status, "amount": "499", "currency": "inr"}
    flexprice.answer("GET", "/payments/pay_01", payment)
    refund = {"id": "re_1", "payment_id": "pay_01", "refund_status": "succeeded", "currency": "inr"}
    send_webhook({"event_type": "refund.succeeded", "refund": refund}, SHARED)
    work()
    assert (the_order().state == State.PAID_LATE) is seen
    assert said() == ("refund noted" if seen else "Flexprice knows of no refund")


def test_hint_leaves_those_about_other_objects_alone(
    flexprice: Any, add_opened: Any, hint: Any, send_webhook: Any, work: Any, rows: Any
) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, flexprice.session())
    send_webhook({"event_type": "subscription.updated", "subscription": {"id": "subs_of_another"}}, SHARED)
    work()
    assert [row.processed_at is not None for row in rows(WebhookEvent)] == [True]
    hint()
    work()
    hint()
    processed = {row.object_id: row.processed_at is not None for row in rows(WebhookEvent)}
    assert processed == {"subs_of_another": True, "cs_01": False}


# -- who may send hints -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Api-Key": ""},
        {"X-Api-Key": VALUE[:-1]},
        {"X-Api-Key": VALUE + "x"},
        {"X-Api-Key": VALUE.upper()},
        {"X-Other": VALUE},
        {"X-Api-Key": "é" * 32},
    ],
    ids=["absent", "empty", "cut short", "longer", "in capitals", "of another name", "not ASCII"],
)
def test_hint_needs_the_shared_header(
    send_webhook: Any, webhook: Any, rows: Any, sent: Any, headers: dict[str, str]
) -> None:
    with sent(webhook_rejected) as rejected:
        answer = send_webhook(webhook(), headers)
    assert (answer.status_code, answer.json) == (401, {"error": "signature not accepted"})
    assert rows(WebhookEvent) == []
    assert [rejection["error"].reason for rejection in rejected] == ["shared_header"]
    assert rejected[0]["headers"]["content-type"] == "application/json"


def test_header_name_is_read_in_any_case(send_webhook: Any, webhook: Any) -> None:
    assert send_webhook(webhook(), {"x-api-KEY": VALUE}).status_code == 204


def test_header_sent_twice_is_refused(app: Any, webhook: Any) -> None:
    headers = [("X-Api-Key", VALUE), ("X-Api-Key", VALUE)]
    answer = app.test_client().post("/webhooks/flexprice", json=webhook(), headers=headers)
    assert answer.status_code == 401


def test_hint_that_is_no_event_is_400(send_webhook: Any) -> None:
    assert send_webhook(b"{", SHARED).status_code == 400


def test_header_makes_no_wrong_signature_right(make_app: Any, webhook: Any) -> None:
    client = make_app(FLEXPRICE_WEBHOOK_SECRET=SECRET).test_client()
    body = json.dumps(webhook()).encode()
    good, bad = sign(body, key=KEY), sign(body, key=b"somebody else's, thirty-two byte")

    def status(headers: dict[str, str]) -> int:
        return int(client.post("/webhooks/flexprice", data=body, headers=headers).status_code)

    assert status(good) == 204
    assert status(bad | SHARED) == 401
    assert status({"svix-id": "msg_1"} | SHARED) == 401
    assert status(SHARED) == 204
    assert status({}) == 401


def test_without_the_setting_hints_are_refused(make_app: Any, webhook: Any) -> None:
    client = make_app(FLEXPRICE_WEBHOOK_HEADER="", FLEXPRICE_WEBHOOK_SECRET=SECRET).test_client()
    assert client.post("/webhooks/flexprice", json=webhook(), headers=SHARED).status_code == 401


def test_header_value_is_never_stored_or_logged(
    send_webhook: Any, webhook: Any, rows: Any, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    send_webhook(webhook(), SHARED)
    send_webhook(webhook(), {"X-Api-Key": VALUE + "x"})
    assert VALUE not in repr([vars(row) for row in rows(WebhookEvent)]) + caplog.text
