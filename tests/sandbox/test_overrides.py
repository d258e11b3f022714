"""Misbehaving on request: outcomes, delivery plans and faults, for one session, a customer, or all."""

import base64
import hashlib
import hmac
import json
import re
import time
from contextlib import nullcontext
from typing import Any

import pytest
import requests

from storefront.sandbox.control.faults import FAULTS
from storefront.sandbox.delivery.modes import MODES as PLANS
from storefront.sandbox.engine.outcomes import OUTCOMES

URL = "/v1/checkout/sessions"
SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
OLD = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="


def told(receiver: Any, event_type: str) -> list[tuple[dict[str, str], str]]:
    return [(sent, body) for sent, body in receiver.got if json.loads(body)["event_type"] == event_type]


def signed_by(secret: str, sent: dict[str, str], body: str) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{sent['svix-id']}.{sent['svix-timestamp']}.{body}".encode()
    digest = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return f"v1,{digest}" in sent["svix-signature"].split()


# What may come of a payment.


@pytest.mark.parametrize(
    ("outcome", "status", "payment", "back"),
    [
        ("paid", "completed", "SUCCEEDED", True),
        ("declined", "pending", "PENDING", False),
        ("pending", "pending", "PENDING", False),
        ("cancelled", "failed", "PENDING", False),
        ("link_expired", "failed", "PENDING", False),
        ("not_paid_in_time", "expired", "PENDING", False),
        ("paid_too_late", "expired", "REFUNDED", True),
        ("refunded", "completed", "REFUNDED", True),
    ],
)
def test_each_outcome_leaves_what_it_says(
    sandbox: Any, outcome: str, status: str, payment: str, back: bool
) -> None:
    sandbox.customer()
    session = sandbox.session()

    answer = sandbox.page(session, "outcome", outcome=outcome, delivery="normal")

    assert answer.headers.get("Location", "").startswith("https://shop.test/return") is back
    assert sandbox.read(session)["checkout_status"] == status
    found = sandbox.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert found["payment_status"] == payment


def test_no_outcome_is_left_out_above() -> None:
    (mark,) = test_each_outcome_leaves_what_it_says.pytestmark  # type: ignore[attr-defined]
    assert [row[0] for row in mark.args[1]] == list(OUTCOMES)


def test_an_arranged_outcome_beats_the_card_as_often_as_was_said(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.control("outcomes", outcome="declined", times=2)

    for _ in range(2):
        assert sandbox.pay(session).headers["Location"].startswith("/pay/")
    sandbox.pay(session)

    assert sandbox.read(session)["checkout_status"] == "completed"


def test_an_outcome_can_be_made_to_happen_to_one_session(sandbox: Any) -> None:
    sandbox.customer()
    mine, other = sandbox.session(), sandbox.session()

    answer = sandbox.control(f"sessions/{mine['id']}/outcome", outcome="cancelled")

    assert answer["checkout_status"] == "failed"
    assert sandbox.read(other)["checkout_status"] == "pending"
    again = sandbox.post(f"/_sandbox/sessions/{mine['id']}/outcome", {"outcome": "paid"})
    assert (again.status_code, again.json()["code"]) == (400, "invalid_operation")
    assert sandbox.post("/_sandbox/sessions/cs_0/outcome", {"outcome": "paid"}).status_code == 404


@pytest.mark.thorough
def test_the_browser_may_be_back_before_the_payment_is_visible(sandbox: Any, receiver: Any) -> None:
    sandbox.control("switches", polling_reads="show")
    sandbox.customer()
    session = sandbox.session()
    sandbox.page(session, "outcome", outcome="paid", completion="late", seconds="300")
    sandbox.deliver()
    assert sandbox.read(session)["checkout_status"] == "pending"
    assert "already paid" in sandbox.page(session).text

    sandbox.walk("5m")

    assert sandbox.read(session)["checkout_status"] == "completed"
    assert receiver.types[-1] == "checkout.session.completed"


ENTITY_NEWS = [
    "invoice.update.finalized",
    "payment.updated",
    "invoice.update.payment",
    "wallet.transaction.created",
    "subscription.activated",
]


def test_two_events_at_once_double_all_news_but_the_sessions_own(api: Any) -> None:
    """The completion is claimed once; what is told of its parts is not."""
    api.customer()
    session = api.session("business")
    before = len(api.told())
    api.control("completions", completion="in_parallel", times=1)

    api.pay(session)

    told = [name for name in api.told()[before:] if name != "wallet.created"]
    assert told == [name for name in ENTITY_NEWS for _ in range(2)] + ["checkout.session.completed"]
    payment = api.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert len(payment["attempts"]) == 1


def test_one_event_alone_cannot_double_anything(api: Any) -> None:
    api.switch(razorpay_events=["payment_link.paid"])
    api.customer()
    session = api.session()
    before = len(api.told())
    api.control("completions", completion="in_parallel", times=1)

    api.pay(session)

    assert len(api.told()) - before == 5


def stuck(api: Any) -> Any:
    api.switch(polling_reads="show")
    api.customer()
    session = api.session()
    api.control("completions", completion="half_done", session=session["id"])
    api.page(session, "outcome", outcome="paid", delivery="normal")
    return session


@pytest.mark.thorough
def test_a_completion_can_stop_half_way(api: Any) -> None:
    """The money is there, Flexprice does not try again, and in the end the session expires."""
    session = stuck(api)

    payment = api.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert (api.read(session)["checkout_status"], payment["payment_status"]) == ("pending", "SUCCEEDED")
    bill = api.bill(session)
    assert (bill["invoice_status"], bill["payment_status"]) == ("FINALIZED", "PENDING")
    assert bill["subscription"]["subscription_status"] == "draft"
    assert api.told()[-2:] == ["invoice.update.finalized", "payment.updated"]

    api.walk("1h")
    assert api.read(session)["checkout_status"] == "expired"
    assert api.get(f"/v1/payments/{session['checkout_payment_id']}").json()["payment_status"] == "SUCCEEDED"


def test_a_later_event_heals_what_stopped_half_way(api: Any) -> None:
    session = stuck(api)
    number = api.bill(session)["invoice_number"]

    api.control(f"sessions/{session['id']}/paid-again")

    bill = api.bill(session)
    assert api.read(session)["checkout_status"] == "completed"
    assert (bill["payment_status"], bill["invoice_number"]) == ("SUCCEEDED", number)
    assert api.told()[-5:] == [*ENTITY_NEWS[:3], "subscription.activated", COMPLETED]
    assert len(api.get(f"/v1/payments/{session['checkout_payment_id']}").json()["attempts"]) == 1


@pytest.mark.thorough
def test_after_the_end_the_same_event_gives_the_money_back(api: Any) -> None:
    session = stuck(api)
    api.walk("1h")

    api.control(f"sessions/{session['id']}/paid-again")

    assert api.get(f"/v1/payments/{session['checkout_payment_id']}").json()["payment_status"] == "REFUNDED"
    assert api.read(session)["checkout_status"] == "expired"


def test_only_money_that_was_taken_is_told_of_again(api: Any) -> None:
    api.customer()
    session = api.session()

    for name in (session["id"], "cs_0"):
        assert api.post(f"/_sandbox/sessions/{name}/paid-again").status_code == 404


# How messages are delivered.


def delivered(sandbox: Any, plan: str, **more: Any) -> Any:
    sandbox.customer()
    session = sandbox.session()
    sandbox.deliver()
    sandbox.control("webhooks", mode=plan, session=session["id"], **more)
    sandbox.pay(session)
    sandbox.deliver()
    return session


COMPLETED = "checkout.session.completed"


def test_before_the_redirect_means_before_the_answer_to_the_payment(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.control("webhooks", mode="before_redirect")

    sandbox.pay(session)

    assert receiver.types[-1] == COMPLETED


@pytest.mark.thorough
def test_later_means_after_that_many_seconds(sandbox: Any, receiver: Any) -> None:
    delivered(sandbox, "after", seconds=3600)
    assert told(receiver, COMPLETED) == []

    assert sandbox.walk("50m")["sent"] == 0
    assert sandbox.walk("10m")["sent"] == 5


@pytest.mark.thorough
@pytest.mark.parametrize(("plan", "times"), [("twice", 2), ("ten_at_once", 10), ("drop", 0), ("hold", 0)])
def test_a_message_comes_as_often_as_was_said(sandbox: Any, receiver: Any, plan: str, times: int) -> None:
    delivered(sandbox, plan)

    assert len(told(receiver, COMPLETED)) == times
    assert len({sent["svix-id"] for sent, _ in told(receiver, COMPLETED)}) == min(times, 1)


@pytest.mark.thorough
def test_what_is_held_goes_when_it_is_let_go(sandbox: Any, receiver: Any) -> None:
    delivered(sandbox, "hold")

    sandbox.control("webhooks", mode="normal")
    sandbox.deliver()

    assert len(told(receiver, COMPLETED)) == 1


@pytest.mark.thorough
def test_reversed_is_the_last_news_first(sandbox: Any, receiver: Any) -> None:
    sandbox.control("webhooks", mode="reversed")
    sandbox.customer()
    session = sandbox.session()
    assert sandbox.deliver() == 0

    sandbox.pay(session)
    sandbox.deliver()

    assert (receiver.types[0], receiver.types[-1]) == (COMPLETED, "customer.created")
    assert len(receiver.types) == 11


def test_a_bad_signature_is_nobodys(sandbox: Any, receiver: Any) -> None:
    delivered(sandbox, "bad_signature")

    ((sent, body),) = told(receiver, COMPLETED)
    assert sent["svix-signature"].startswith("v1,")
    assert not signed_by(SECRET, sent, body)
    assert not signed_by(OLD, sent, body)


def test_a_stale_message_is_well_signed_and_too_old(sandbox: Any, receiver: Any) -> None:
    delivered(sandbox, "stale")

    ((sent, body),) = told(receiver, COMPLETED)
    assert signed_by(SECRET, sent, body)
    assert time.time() - int(sent["svix-timestamp"]) > 500


@pytest.mark.thorough
def test_the_old_secret_signs_alone(sandbox: Any, receiver: Any) -> None:
    delivered(sandbox, "old_secret")

    ((sent, body),) = told(receiver, COMPLETED)
    assert signed_by(OLD, sent, body)
    assert not signed_by(SECRET, sent, body)


def test_an_altered_body_no_longer_fits_its_signature(sandbox: Any, receiver: Any) -> None:
    session = delivered(sandbox, "altered")

    ((sent, body),) = told(receiver, "checkout.session.failed")
    assert json.loads(body)["checkout_session"]["id"] == session["id"]
    assert json.loads(body)["checkout_session"]["checkout_status"] == "failed"
    assert not signed_by(SECRET, sent, body)


@pytest.mark.thorough
@pytest.mark.parametrize(("plan", "arrives", "first"), [("answer_500", 2, 500), ("away", 1, None)])
def test_a_first_attempt_that_fails_starts_the_retries(
    sandbox: Any, receiver: Any, plan: str, arrives: int, first: int | None
) -> None:
    delivered(sandbox, plan)
    assert len(told(receiver, COMPLETED)) == arrives - 1

    sandbox.walk("6m")

    assert len(told(receiver, COMPLETED)) == arrives
    assert len({(sent["svix-id"], body) for sent, body in told(receiver, COMPLETED)}) == 1
    made = sandbox.get(f"/_sandbox/deliveries/{sandbox.deliveries()[-1]['id']}").json()["attempts"]
    assert [attempt["response_status"] for attempt in made] == [first, 200]
    assert "as arranged" in made[0]["note"]


@pytest.mark.thorough
def test_a_resend_goes_out_as_it_should(sandbox: Any, receiver: Any) -> None:
    delivered(sandbox, "bad_signature")

    sandbox.control(f"deliveries/{sandbox.deliveries()[-1]['id']}/resend")
    sandbox.deliver()

    sent, body = told(receiver, COMPLETED)[-1]
    assert signed_by(SECRET, sent, body)


def test_every_plan_can_be_arranged(sandbox: Any) -> None:
    for plan in PLANS:
        sandbox.control("webhooks", mode=plan)
    assert len(sandbox.get("/_sandbox/overrides").json()["items"]) == 1  # the newest replaces the others


# For whom, and for how long.


@pytest.mark.thorough
def test_a_plan_for_one_customer_leaves_the_others_alone(sandbox: Any, receiver: Any) -> None:
    customer = sandbox.customer("user-42")
    sandbox.customer("user-43")
    sandbox.deliver()
    receiver.got.clear()
    sandbox.control("webhooks", mode="drop", customer="user-42")

    quiet, loud = sandbox.session(), sandbox.session(customer_external_id="user-43")
    sandbox.control("webhooks", mode="drop", customer=customer["id"])
    for session in (quiet, loud):
        sandbox.pay(session)
    sandbox.deliver()

    assert [json.loads(body)["checkout_session"]["id"] for _, body in told(receiver, COMPLETED)] == [
        loud["id"]
    ]


def test_the_closest_arrangement_wins_and_is_used_up(sandbox: Any, receiver: Any) -> None:
    sandbox.control("webhooks", mode="drop")
    sandbox.control("webhooks", mode="twice", customer="user-42", times=1)

    sandbox.customer("user-42")
    sandbox.customer("user-43")
    sandbox.deliver()

    assert len(receiver.got) == 2
    (left,) = sandbox.get("/_sandbox/overrides").json()["items"]
    assert (left["name"], left["times"]) == ("drop", None)


def test_a_fault_for_one_session_spares_the_others(sandbox: Any) -> None:
    sandbox.customer()
    mine, other = sandbox.session(), sandbox.session()
    sandbox.control("faults", fault="down", session=mine["id"], times=0)

    for _ in range(2):
        assert sandbox.get(f"{URL}/{mine['id']}").status_code == 503
        assert sandbox.get(f"{URL}/{other['id']}").status_code == 200


def test_a_fault_for_one_customer_finds_him_by_any_id(sandbox: Any) -> None:
    customer, _ = sandbox.customer("user-42"), sandbox.customer("user-43")
    session = sandbox.session()
    sandbox.control("faults", fault="error_500", customer="user-42", times=0)

    for path in (
        "/v1/customers/external/user-42",
        f"/v1/customers/{customer['id']}",
        f"{URL}/{session['id']}",
        f"/v1/invoices/{session['checkout_invoice_id']}",
        f"/v1/payments/{session['checkout_payment_id']}",
    ):
        assert sandbox.get(path).status_code == 500, path
    assert sandbox.post(URL, sandbox.asked()).status_code == 500
    search = sandbox.post("/v1/subscriptions/search", {"external_customer_id": "user-42"})
    assert search.status_code == 500
    assert sandbox.get("/v1/customers/external/user-43").status_code == 200


def test_arrangements_are_removed_one_by_one_or_all(sandbox: Any) -> None:
    for fault in ("down", "error_500", "slow"):
        sandbox.control("faults", fault=fault)
    first, *_ = sandbox.get("/_sandbox/overrides").json()["items"]

    sandbox.control(f"overrides/{first['id']}/remove")
    assert len(sandbox.get("/_sandbox/overrides").json()["items"]) == 2
    assert sandbox.post(f"/_sandbox/overrides/{first['id']}/remove").status_code == 404
    assert sandbox.control("overrides/clear") == {"removed": 2}


# Bad days of the API.


def test_a_rate_limit_says_when_to_come_back(sandbox: Any) -> None:
    sandbox.control("faults", fault="rate_limited", seconds=7)

    answer = sandbox.get(f"{URL}/cs_1")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["code"] == "too_many_requests"
    assert sandbox.get(f"{URL}/cs_1").status_code == 404


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        (
            "environment_unresolved",
            {"error": "Internal server error", "message": "Failed to resolve environment"},
        ),
        ("tenant_unverified", {"message": "failed to verify tenant access"}),
    ],
)
def test_the_door_itself_can_stumble(sandbox: Any, fault: str, body: dict[str, str]) -> None:
    """Two of the shapes without an envelope are 500s."""
    sandbox.customer()
    asked = sandbox.asked()
    sandbox.control("faults", fault=fault)

    answer = sandbox.post(URL, asked)

    assert (answer.status_code, answer.json()) == (500, body)
    assert sandbox.get("/_sandbox/sessions").json()["items"] == []
    assert sandbox.session()["id"]


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ["wrong_json", "truncated", "html"])
def test_an_unreadable_answer_hides_what_was_done(sandbox: Any, fault: str) -> None:
    sandbox.customer()
    sandbox.post("/_sandbox/faults", {"fault": fault, "path": URL})

    answer = sandbox.post(URL, sandbox.asked())

    assert answer.ok
    with pytest.raises((KeyError, ValueError)):
        answer.json()["id"]
    assert len(sandbox.get("/_sandbox/sessions").json()["items"]) == 1


# A replica that lags behind: some reads of what was changed a moment ago.


def lag(api: Any, seconds: float = 5, times: int = 0, **where: Any) -> None:
    """Until it is removed, unless `times` says otherwise."""
    api.control("faults", fault="replica_lag", seconds=seconds, times=times, **where)


def test_what_was_just_made_is_not_there_yet(api: Any) -> None:
    lag(api)
    customer = api.customer()
    session = api.session()

    assert api.get(f"/v1/customers/{customer['id']}").status_code == 404
    assert api.get("/v1/customers/external/user-42").json()["message"] == (
        "Customer with lookup key user-42 was not found"
    )
    missing = api.get(f"{URL}/{session['id']}")
    assert (missing.status_code, missing.json()["details"]) == (404, {"id": session["id"]})
    drafts = {"external_customer_id": "user-42", "subscription_status": ["draft"]}
    assert api.post("/v1/subscriptions/search", drafts).status_code == 404
    page = api.post("/v1/subscriptions/search", {"subscription_status": ["draft"]}).json()
    assert (page["items"], page["pagination"]["total"]) == ([], 0)

    api.advance("6s")
    assert api.read(session)["checkout_status"] == "pending"
    assert len(api.found("/v1/subscriptions/search", **drafts)) == 1


@pytest.mark.thorough
def test_what_was_just_paid_still_says_pending(api: Any) -> None:
    api.customer()
    session = api.session()
    lag(api)
    api.pay(session)

    assert api.read(session)["checkout_status"] == "pending"
    bill = api.bill(session)
    assert (bill["payment_status"], bill["subscription"]["subscription_status"]) == ("PENDING", "draft")
    api.advance("6s")
    assert api.read(session)["checkout_status"] == "completed"
    bill = api.bill(session)
    assert (bill["payment_status"], bill["subscription"]["subscription_status"]) == ("SUCCEEDED", "active")


def test_a_price_that_was_just_changed_is_still_the_old_one(api: Any) -> None:
    plan = api.stock("solo", prices=[{"currency": "inr", "amount": "99"}, {"currency": "usd", "amount": "2"}])
    lag(api)
    api.stock("solo", name="Solo again", prices=[{"currency": "inr", "amount": "120"}])
    api.stock("new", prices=[{"currency": "inr", "amount": "1"}])

    def told() -> tuple[Any, list[str], list[str]]:
        whole = api.get(f"/v1/plans/{plan['id']}").json()
        (listed,) = api.found("/v1/plans/search", lookup_key="solo", expand="prices")
        found = api.found("/v1/prices/search", entity_type="PLAN", entity_ids=[plan["id"]])
        assert whole["name"] == listed["name"]
        assert len(whole["prices"]) == len(listed["prices"])
        return (
            whole["name"],
            [price["amount"] for price in whole["prices"]],
            [price["amount"] for price in found],
        )

    assert told()[:2] == ("solo", ["99", "2"])
    assert api.post("/v1/plans/search", {"lookup_key": "new"}).json()["pagination"]["total"] == 0
    api.advance("6s")
    assert told() == ("Solo again", ["120"], ["120"])
    assert len(api.found("/v1/plans/search", lookup_key="new")) == 1


@pytest.mark.thorough
def test_a_message_made_from_a_lagging_read_contradicts_its_own_name(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.deliver()
    lag(sandbox)
    sandbox.pay(session)
    sandbox.deliver()

    told = receiver.last("checkout.session.completed")["checkout_session"]

    assert (told["checkout_status"], "payment_action" in told) == ("pending", True)


def test_a_replica_lags_for_some_reads_or_for_one_customer(api: Any) -> None:
    for name in ("user-42", "user-43"):
        api.customer(name)
    mine, other = (api.session(customer_external_id=name) for name in ("user-42", "user-43"))
    lag(api, times=2, customer="user-42")
    for session in (mine, other):
        api.pay(session)

    told = [api.read(session)["checkout_status"] for session in (other, mine, mine, mine)]

    assert told == ["completed", "pending", "pending", "completed"]


def test_a_replica_that_caught_up_and_lags_again_tells_nothing_older(api: Any) -> None:
    api.customer()
    session = api.session()
    lag(api)
    api.control("overrides/clear")
    api.pay(session)
    lag(api)

    assert api.read(session)["checkout_status"] == "completed"


def test_a_customer_can_be_missing_for_one_call(sandbox: Any) -> None:
    sandbox.customer()
    sandbox.control("faults", fault="customer_missing")

    refused = sandbox.post(URL, sandbox.asked())

    assert (refused.status_code, refused.json()["details"]) == (404, {"lookup_key": "user-42"})
    assert sandbox.get("/_sandbox/sessions").json()["items"] == []
    assert sandbox.session()["id"]


def test_a_key_can_be_taken_for_one_call(sandbox: Any) -> None:
    sandbox.customer()
    sandbox.control("faults", fault="duplicate_key")

    refused = sandbox.post(URL, sandbox.asked(idempotency_key="k"))

    assert (refused.status_code, refused.json()["details"]) == (409, {"idempotency_key": "k"})


def test_every_fault_answers_and_ends(sandbox: Any) -> None:
    cuts_the_line = {"timeout_before", "timeout_after", "aborted"}
    for fault in FAULTS:
        sandbox.post("/_sandbox/faults", {"fault": fault, "path": "/v1/", "method": "POST", "seconds": 0})
        with pytest.raises(requests.RequestException) if fault in cuts_the_line else nullcontext():
            sandbox.post("/v1/plans/search", {})
        assert sandbox.post("/v1/plans/search", {}).json()["items"]


# The clock.


def test_a_walk_sweeps_on_the_half_hour(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()

    sandbox.walk("1h")

    assert sandbox.read(session)["checkout_status"] == "expired"
    assert receiver.types[-1] == "checkout.session.expired"


@pytest.mark.parametrize("step", ["367d", "-5m", "9999999h", "soon", ""])
def test_a_step_the_clock_cannot_take_is_refused(sandbox: Any, step: str) -> None:
    for jump in (True, False):
        answer = sandbox.post("/_sandbox/clock", {"advance": step, "jump": jump})
        assert answer.status_code == 400


def controls(app: Any) -> list[tuple[str, str]]:
    """Every control route that changes something."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/_sandbox")]
    writes = [(method, rule) for rule in rules for method in rule.methods & {"POST", "PUT", "DELETE"}]
    return [(method, re.sub(r"<[^>]*>", "1", rule.rule)) for method, rule in writes]


def test_pages_of_other_sites_cannot_change_anything(api: Any) -> None:
    found = controls(api.app)
    assert {("POST", "/_sandbox/switches"), ("PUT", "/_sandbox/plans/1")} < set(found)
    stranger = api.headers | {"Sec-Fetch-Site": "cross-site"}

    foreign = api.headers | {"Origin": "https://evil.example"}

    for method, path in found:
        for headers in (stranger, foreign):
            assert api.call(method, path, {}, headers=headers).status_code == 403, path


def test_a_ticket_may_lead_to_the_console(api: Any) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Accept": "text/html"}

    assert api.get("/_sandbox/scenarios", headers=link).status_code == 200
