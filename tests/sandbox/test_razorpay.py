"""What Flexprice learns of a payment depends on the events that Razorpay was told to send."""

from typing import Any

import pytest

ALL = [
    "payment.captured",
    "payment_link.paid",
    "payment.failed",
    "payment_link.cancelled",
    "payment_link.expired",
]
URL = "/v1/checkout/sessions"


def only(*events: str) -> dict[str, Any]:
    return {"razorpay_events": list(events)}


def payment_of(api: Any, session: Any) -> Any:
    return api.get(f"/v1/payments/{session['checkout_payment_id']}").json()


@pytest.mark.parametrize("event", ["payment.captured", "payment_link.paid"])
def test_one_event_about_the_money_is_enough(api: Any, event: str) -> None:
    api.switch(**only(event))
    api.customer()
    session = api.session()

    api.pay(session)

    assert api.read(session)["checkout_status"] == "completed"
    assert api.told().count("checkout.session.completed") == 1
    assert len(payment_of(api, session)["attempts"]) == 1


def test_without_either_the_money_is_kept_and_the_session_expires(api: Any) -> None:
    quiet = only("payment.failed", "payment_link.cancelled", "payment_link.expired")
    api.switch(**quiet, polling_reads="show")
    api.customer()
    session = api.session()

    back = api.pay(session)
    assert "razorpay_payment_link_status=paid" in back.headers["Location"]
    assert api.read(session)["checkout_status"] == "pending"
    api.advance("31m")
    api.post("/_sandbox/sweep")

    assert api.read(session)["checkout_status"] == "expired"
    assert payment_of(api, session)["payment_status"] == "PENDING"
    assert api.get("/v1/refunds").json()["items"] == []
    assert "already paid" in api.page(session).text


def test_a_polling_read_may_find_out_by_itself(api: Any) -> None:
    api.switch(**only(), polling_reads="settle")
    api.customer()
    session = api.session()
    assert api.read(session)["checkout_status"] == "pending"
    api.pay(session)
    api.advance("3s")

    assert api.read(session)["checkout_status"] == "completed"
    assert api.told()[-1] == "checkout.session.completed"


def test_a_read_that_came_too_soon_asks_nobody(api: Any) -> None:
    api.switch(**only(), polling_reads="settle")
    api.customer()
    session = api.session()
    api.read(session)
    api.pay(session)

    read = api.read(session)

    assert (read["checkout_status"], read["stale"]) == ("pending", True)


def test_a_decline_that_is_not_told_leaves_no_attempt(api: Any) -> None:
    api.switch(**only("payment.captured"))
    api.customer()
    session = api.session()

    api.page(session, "decline")

    assert "attempts" not in payment_of(api, session)
    assert "declined by the bank" in api.page(session).text


def test_a_decline_after_the_end_fails_the_payment(api: Any) -> None:
    api.customer()
    session = api.session()
    api.advance("31m")
    api.post("/_sandbox/sweep")

    api.page(session, "decline")

    payment = payment_of(api, session)
    assert (payment["payment_status"], payment["error_message"]) == (
        "FAILED",
        "Your payment was declined by the bank",
    )
    assert payment["gateway_payment_id"].startswith("pay_")
    assert "attempts" not in payment


def test_events_that_flexprice_does_not_handle_change_nothing(api: Any) -> None:
    api.customer()
    session = api.session()
    link, told = session["payment_action"]["url"], len(api.told())

    unhandled = ["payment.authorized", "token.confirmed", "refund.processed"]
    api.control("provider", action="pay", link=link, events=unhandled)
    assert len(api.told()) == told
    api.control("provider", action="pay", link=link, events=["payment.failed", "payment_link.cancelled"])

    assert payment_of(api, session)["attempts"][0]["error_message"]
    assert api.read(session)["failure_reason"] == "payment link payment_link.cancelled by provider"
    wrong = {"action": "pay", "link": link, "events": ["payment.nonsense"]}
    assert api.post("/_sandbox/provider", wrong).json()["message"] == "No such event: payment.nonsense"


@pytest.mark.parametrize(
    ("outcome", "event"), [("cancelled", "payment_link.cancelled"), ("link_expired", "payment_link.expired")]
)
def test_a_closed_link_fails_its_session_only_when_it_is_told(api: Any, outcome: str, event: str) -> None:
    api.customer()
    told, untold = api.session(), api.session()

    api.post(f"/_sandbox/sessions/{told['id']}/outcome", {"outcome": outcome})
    api.switch(**only(*(other for other in ALL if other != event)))
    api.post(f"/_sandbox/sessions/{untold['id']}/outcome", {"outcome": outcome})

    assert api.read(told)["failure_reason"] == f"payment link {event} by provider"
    assert api.read(untold)["checkout_status"] == "pending"
    assert api.pay(untold).status_code == 409


def test_late_money_goes_back_once_though_two_events_tell_of_it(api: Any) -> None:
    api.customer()
    session = api.session()
    api.advance("31m")
    api.post("/_sandbox/sweep")
    before = api.told()

    api.pay(session)

    payment = payment_of(api, session)
    (refund,) = api.get(f"/v1/refunds?payment_ids={payment['id']}").json()["items"]
    assert (payment["payment_status"], payment["refunded_at"]) == ("REFUNDED", refund["succeeded_at"])
    assert payment["metadata"]["razorpay_refund_id"] == refund["gateway_refund_id"]
    assert api.told()[len(before) :] == ["refund.created", "refund.succeeded"]
    assert api.read(session)["checkout_status"] == "expired"


def test_late_money_of_which_nothing_is_told_stays_where_it_is(api: Any) -> None:
    api.switch(**only())
    api.customer()
    session = api.session()
    api.advance("31m")
    api.post("/_sandbox/sweep")

    api.pay(session)

    assert api.get("/v1/refunds").json()["items"] == []


def test_money_for_a_deleted_session_needs_the_event_about_the_payment(api: Any) -> None:
    api.switch(**only("payment_link.paid"), generation="legacy")
    api.customer()
    session = api.session()
    api.call("DELETE", f"{URL}/{session['id']}")

    api.pay(session)

    assert payment_of(api, session)["payment_status"] == "INITIATED"
