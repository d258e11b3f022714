"""The control API: the provider obeys whatever the link's state, the clock walks, messages are listed."""

from typing import Any

URL = "/v1/checkout/sessions"


def link_of(session: Any) -> str:
    return str(session["payment_action"]["url"])


def test_paid_without_an_event_leaves_the_session_pending(api: Any) -> None:
    api.switch(polling_reads="show")
    api.customer()
    session = api.session()

    answer = api.control("provider", action="pay", link=link_of(session), events=[])

    assert answer["state"] == "paid"
    assert api.read(session)["checkout_status"] == "pending"


def test_another_amount_or_currency_completes_all_the_same(api: Any) -> None:
    api.customer()
    session = api.session()

    api.control("provider", action="pay", link=link_of(session), amount=100, currency="USD")

    assert api.read(session)["checkout_status"] == "completed"
    assert api.bill(session)["amount_paid"] == "499"


def test_a_link_is_paid_twice_and_after_the_end(api: Any) -> None:
    api.switch(generation="legacy")
    api.customer()
    twice, late = api.session(), api.session()
    for _ in range(2):
        api.control("provider", action="pay", link=link_of(twice))
    api.control("clock", until="session_expiry", id=late["id"])
    before = api.told()

    api.control("provider", action="pay", link=link_of(late))

    assert api.read(twice)["checkout_status"] == "completed"
    assert api.read(late)["checkout_status"] == "expired"
    assert api.told() == before
    assert api.get(f"/v1/payments/{late['checkout_payment_id']}").json()["payment_status"] == "INITIATED"


def test_a_decline_after_the_end_fails_the_payment_without_an_attempt(api: Any) -> None:
    api.customer()
    session = api.session()
    api.control("clock", until="session_expiry", id=session["id"])

    api.control("provider", action="decline", link=link_of(session))

    payment = api.get(f"/v1/payments/{session['checkout_payment_id']}").json()
    assert payment["payment_status"] == "FAILED"
    assert "attempts" not in payment
    assert api.told()[-1] == "payment.updated"


def test_the_provider_fails_as_often_as_was_said(api: Any) -> None:
    api.customer()
    api.control("provider", action="fail", step="customer", times=1)
    api.control("provider", action="fail", step="link", times=1)

    answers = [api.post(URL, api.asked(idempotency_key="k")) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [400, 500, 201]
    assert answers[0].json()["message"] == "Unable to create customer in Razorpay"
    assert answers[1].json()["message"] == "Unable to create payment link in Razorpay"
    assert api.told().count("checkout.session.failed") == 2


def test_a_provider_failure_for_a_new_customer_may_be_a_500(api: Any) -> None:
    api.switch(provider_customer_error="500")
    api.customer()
    api.control("provider", action="fail", step="customer")

    refused = api.post(URL, api.asked())

    assert (refused.status_code, refused.json()["code"]) == (500, "system_error")


def test_two_events_at_once_double_messages_only_with_the_switch(api: Any) -> None:
    api.customer()
    api.pay(api.session())
    assert api.told().count("invoice.update.finalized") == 1
    api.switch(double_events="on")

    api.pay(api.session())

    assert api.told().count("invoice.update.finalized") == 3
    assert api.told().count("checkout.session.completed") == 2


def test_an_unknown_link_until_or_action_is_refused(api: Any) -> None:
    for path, body, status in (
        ("provider", {"action": "pay", "link": "https://rzp.io/x"}, 404),
        ("provider", {"action": "bribe", "link": "x"}, 400),
        ("provider", {"action": "fail", "step": "moon"}, 400),
        ("clock", {"until": "doomsday", "id": "cs_1"}, 400),
        ("clock", {"until": "session_expiry", "id": "cs_1"}, 404),
        ("clock", {"set": "soon"}, 400),
        ("store", {"webhook_url": "ftp://x"}, 400),
    ):
        method = "PUT" if path == "store" else "POST"
        assert api.call(method, f"/_sandbox/{path}", body).status_code == status, path


def test_messages_are_listed_as_they_were_built(api: Any) -> None:
    customer = api.customer()
    other = api.customer("user-43")
    session = api.session()
    api.pay(session)

    mine = api.get(f"/_sandbox/messages?customer={customer['id']}").json()
    every = api.get("/_sandbox/messages").json()

    assert [row["at"] for row in every] == sorted(row["at"] for row in every)
    assert {row["type"] for row in mine} >= {"customer.created", "checkout.session.completed"}
    assert other["id"] not in str(mine)
    assert mine[-1]["body"]["checkout_session"]["id"] == session["id"]


def test_messages_of_archived_objects_are_lost(api: Any) -> None:
    api.customer()
    session = api.session()
    api.page(session, "cancel")

    types = [row["type"] for row in api.get("/_sandbox/messages").json()]

    assert not {"subscription.draft.created", "invoice.update"} & set(types)
    assert types[-2:] == ["checkout.session.initiated", "checkout.session.failed"]


def test_lost_messages_may_hold_up_the_others(api: Any) -> None:
    api.switch(lost_messages="hold_up")
    api.customer()
    api.page(api.session(), "cancel")
    before = api.get("/_sandbox/clock").json()["now"]

    assert "checkout.session.failed" not in [row["type"] for row in api.get("/_sandbox/messages").json()]
    api.walk("2m")

    assert before < api.get("/_sandbox/clock").json()["now"]
    assert "checkout.session.failed" in [row["type"] for row in api.get("/_sandbox/messages").json()]


def test_delivery_can_be_slow_throttled_or_late(api: Any) -> None:
    for pace, step in (("slow", "31s"), ("backlog", "6m"), ("throttled", "5s")):
        api.switch(delivery_pace=pace)
        api.customer(f"user-{pace}")
        waiting = len(api.get("/_sandbox/messages").json())
        api.walk(step)
        assert len(api.get("/_sandbox/messages").json()) >= waiting

    assert len(api.get("/_sandbox/messages").json()) == 3


def test_a_link_that_razorpay_closes_may_be_told_of(api: Any) -> None:
    api.customer()
    quiet = api.session()
    api.switch(link_expiry_event="on")
    told = api.session()

    api.walk("21m")

    assert api.read(told)["failure_reason"] == "payment link payment_link.expired by provider"
    assert api.read(quiet)["checkout_status"] == "failed"  # the switch counts when the link expires
    assert "has expired" in api.page(quiet).text


def test_the_webhook_endpoint_belongs_to_the_store(api: Any) -> None:
    stored = api.call("PUT", "/_sandbox/store", {"webhook_url": "https://shop.test/hook"}).json()
    again = api.call("PUT", "/_sandbox/store", {"webhook_secret": ""}).json()

    assert again["webhook_url"] == "https://shop.test/hook"
    assert again["webhook_secret"] not in ("", stored["webhook_secret"])
    for secret in ("x", "whsec_", "whsec_%", "whsec_YQ== x"):
        refused = api.call("PUT", "/_sandbox/store", {"webhook_secret": secret})
        assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")
