"""The switches: what they can be, the older generation of the API, and reads that lag behind."""

from typing import Any

import pytest

URL = "/v1/checkout/sessions"
ONLY_NEWEST = {"terminal", "stale", "next_poll_after_ms", "payment", "entity_creation_result"}
ONLY_LEGACY = {"environment_id", "tenant_id", "status", "created_by", "updated_by", "configuration"}


def test_the_switches_tell_where_they_stand(api: Any) -> None:
    before = api.get("/_sandbox/switches").json()
    api.switch(generation="legacy", mandates="no_action")
    after = api.get("/_sandbox/switches").json()

    assert (before["generation"], before["mandates"], before["tenant"]) == ("newest", "link", "active")
    by_generation = {"polling_reads", "late_money", "first_renewal", "pdf"}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"generation", "mandates", *by_generation}


@pytest.mark.parametrize(
    "wanted",
    [
        {"generation": "oldest"},
        {"generation": ["legacy"]},
        {"razorpay_events": "payment.captured"},
        {"razorpay_events": ["payment.authorized"]},
        {"razorpay_events": [{}]},
        {"tenant": True},
        {"colour": "green"},
        [],
    ],
)
def test_a_switch_says_what_it_can_be(api: Any, wanted: Any) -> None:
    before = api.get("/_sandbox/switches").json()

    answer = api.post("/_sandbox/switches", wanted)

    assert answer.status_code == 400
    assert api.get("/_sandbox/switches").json() == before


def test_nothing_is_turned_when_one_of_several_is_wrong(api: Any) -> None:
    answer = api.post("/_sandbox/switches", {"tenant": "suspended", "generation": "oldest"})

    assert answer.status_code == 400
    assert api.get("/_sandbox/switches").json()["tenant"] == "active"


# The older generation.


def test_the_older_generation_shows_a_session_its_own_way(api: Any) -> None:
    api.switch(generation="legacy")
    api.customer()
    session = api.session(idempotency_key="k", metadata={"order": "1"})

    assert set(session) >= ONLY_LEGACY
    assert not set(session) & ONLY_NEWEST
    assert (session["configuration"], session["status"]) == ({}, "published")
    assert (session["checkout_status"], session["metadata"]) == ("pending", {"order": "1"})
    times = ("created_at", "updated_at", "expires_at")
    assert api.read(session) | {name: session[name] for name in times} == session
    api.pay(session)
    completed = api.read(session)
    assert completed["checkout_status"] == "completed"
    assert not set(completed) & {*ONLY_NEWEST, "payment_action"}
    assert api.call("DELETE", f"{URL}/{session['id']}").status_code == 204
    assert api.read(session)["status"] == "archived"


def test_the_newest_generation_has_none_of_the_older_fields(api: Any) -> None:
    api.customer()

    session = api.session()

    assert not set(session) & ONLY_LEGACY


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"{URL}/cs_1/cancel"), ("GET", "/v1/refunds"), ("GET", "/v1/refunds/refund_1")],
)
@pytest.mark.parametrize("headers", [{}, None])
def test_the_older_generation_has_no_cancel_and_no_refunds(
    api: Any, method: str, path: str, headers: dict[str, str] | None
) -> None:
    """A plain 404, before any key is looked at: that is how a client tells it from an unknown session."""
    api.switch(generation="legacy")

    answer = api.call(method, path, headers=api.headers if headers is None else headers)

    assert (answer.status_code, answer.text) == (404, "404 page not found")


def test_legacy_leaves_late_money_untouched(api: Any) -> None:
    api.switch(generation="legacy")
    api.customer()
    session = api.session()
    api.advance("31m")
    api.post("/_sandbox/sweep")

    api.pay(session)

    payment = api.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert payment["payment_status"] == "INITIATED"
    assert not {"attempts", "gateway_payment_id", "refunded_at"} & set(payment)
    assert api.told()[-1] == "checkout.session.expired"


def test_the_older_generation_writes_empty_words_where_nothing_is_to_be_opened(api: Any) -> None:
    api.switch(generation="legacy", mandates="no_action")
    api.customer(contact="+919000000001")

    session = api.session(payment_provider_config={"collection_method": "charge_automatically"})

    assert session["payment_action"] == {"type": "", "url": ""}
