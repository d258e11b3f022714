"""Messages to the shop: their order, their signatures, their retries."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from storefront.sandbox import create_app
from storefront.sandbox.delivery.signing import sign, signatures, svix_headers
from tests.sandbox.conftest import run_due

SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
OLD = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="
ON_CREATE = [
    "subscription.draft.created",
    "invoice.update",
    "customer.updated",
    "payment.updated",
    "checkout.session.initiated",
]
ON_PAYMENT = [
    "invoice.update.finalized",
    "payment.updated",
    "invoice.update.payment",
    "subscription.activated",
    "checkout.session.completed",
]


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize(
    ("secrets", "signed"),
    [
        ((SECRET,), "v1,khaXvDXQRrNf8OgMEu3F+RATVjJb04uLjoUouFlbXqA="),
        (
            (OLD, SECRET),
            "v1,/EFbV6boJQaMR3HtdmG0U0ELckX5FmIt3bHbGT4qWmw= v1,khaXvDXQRrNf8OgMEu3F+RATVjJb04uLjoUouFlbXqA=",
        ),
    ],
    ids=["one secret", "two secrets"],
)
def test_the_vectors_of_the_contract_hold(secrets: tuple[str, ...], signed: str) -> None:
    """Computed apart from this code, and known to the verifier's tests as well."""
    session = '{"id":"cs_1","checkout_status":"expired"}'
    body = f'{{"event_type":"checkout.session.expired","checkout_session":{session}}}'

    assert signatures(secrets, "msg_2test", 1788256800, body) == signed


def test_a_sale_is_told_in_order(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session(params={"metadata": {"order_ref": "r1"}})
    sandbox.deliver()
    sandbox.pay(session)
    sandbox.deliver()

    assert receiver.types == ["customer.created", *ON_CREATE, *ON_PAYMENT]
    assert receiver.last("subscription.draft.created")["subscription"]["metadata"] == {"order_ref": "r1"}
    initiated = receiver.last("checkout.session.initiated")["checkout_session"]
    assert set(initiated) == {
        *("id", "customer_id", "action", "checkout_status", "payment_provider", "expires_at"),
        *("checkout_invoice_id", "checkout_payment_id", "payment_action"),
    }
    completed = receiver.last("checkout.session.completed")["checkout_session"]
    assert completed["checkout_status"] == "completed"
    assert completed["payment_action"] == session["payment_action"]
    assert receiver.last("invoice.update.payment")["invoice"]["payment_status"] == "SUCCEEDED"


@pytest.mark.thorough
def test_a_plan_with_credits_tells_of_the_wallet_too(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    for credits in ("500", "1000"):
        receiver.got.clear()
        sandbox.pay(sandbox.session("business"))
        sandbox.deliver()

        told = receiver.last("wallet.transaction.created")["transaction"]
        assert (told["credit_amount"], told["credit_balance_after"]) == ("500", credits)
        after = receiver.types.index("invoice.update.payment")
        wallet = ["wallet.created"] if credits == "500" else []
        assert receiver.types[after + 1 :] == [*wallet, "wallet.transaction.created", *ON_PAYMENT[3:]]


def test_each_message_is_signed_with_wall_time(sandbox: Any, receiver: Any) -> None:
    sandbox.advance("100h")
    sandbox.customer()
    sandbox.deliver()

    ((sent, body),) = receiver.got
    assert abs(time.time() - int(sent["svix-timestamp"])) < 60
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{sent['svix-id']}.{sent['svix-timestamp']}.{body}".encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert sent["svix-signature"] == f"v1,{expected}"


def test_every_secret_signs_while_one_is_being_rotated() -> None:
    body = "{}"

    sent = svix_headers((OLD, SECRET), "msg_1", body)

    at = int(sent["svix-timestamp"])
    assert sent["svix-signature"] == f"{sign(OLD, 'msg_1', at, body)} {sign(SECRET, 'msg_1', at, body)}"


@pytest.mark.thorough
def test_a_late_message_tells_what_is_true_now_and_a_retry_repeats_itself(
    sandbox: Any, receiver: Any
) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.pay(session)
    sandbox.deliver()
    assert receiver.last("checkout.session.initiated")["checkout_session"]["checkout_status"] == "completed"

    receiver.got.clear()
    receiver.answers = [500]
    sandbox.customer("user-43")
    sandbox.deliver()
    sandbox.advance("5m")
    sandbox.deliver()
    (first, body), (second, again) = receiver.got
    assert (first["svix-id"], body) == (second["svix-id"], again)


FLEXPRICE_LADDER = [0, 300, 2100, 9300, 27300, 63300]  # 5 min, 30 min, 2 h, 5 h, 10 h after one another
SVIX_LADDER = [0, 5, 305, 2105, 9305, 27305, 63305, 99305]


@pytest.mark.parametrize(
    ("ladder", "offsets"), [("flexprice", FLEXPRICE_LADDER), ("svix", SVIX_LADDER)], ids=["flexprice", "svix"]
)
def test_a_ladder_is_climbed_at_its_offsets_under_one_message_id(
    sandbox: Any, receiver: Any, ladder: str, offsets: list[int]
) -> None:
    receiver.answers = [503, 302, 404, 500, 500, 500, 500, 500, 500]
    sandbox.control("switches", webhook_retries=ladder)
    sandbox.customer()

    sandbox.walk("40h")

    (delivery,) = sandbox.deliveries()
    assert (delivery["state"], delivery["attempt"]) == ("failed", len(offsets))
    made = sandbox.get(f"/_sandbox/deliveries/{delivery['id']}").json()["attempts"]
    began = seconds(made[0]["at"])
    drift = [seconds(attempt["at"]) - began - offset for attempt, offset in zip(made, offsets, strict=True)]
    assert all(0 <= late < 120 for late in drift)  # a busy machine is late, and never early
    assert len({sent["svix-id"] for sent, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert [attempt["response_status"] for attempt in made][:4] == [503, 302, 404, 500]


def test_eighteen_hours_see_all_six_attempts(sandbox: Any, receiver: Any) -> None:
    receiver.answers = [500] * 6
    sandbox.customer()

    sandbox.walk("18h")

    assert len(receiver.got) == 6


def test_the_ladder_ends_where_the_message_is_taken(sandbox: Any, receiver: Any) -> None:
    receiver.answers = [500, 500]
    sandbox.customer()

    sandbox.walk("18h")

    assert len(receiver.got) == 3
    assert sandbox.deliveries()[0]["state"] == "delivered"


def test_a_restart_in_the_middle_of_a_retry_loses_nothing(sandbox: Any, receiver: Any) -> None:
    """The process ends before the retry; the next one makes it, same id, same body."""
    receiver.answers = [500]
    sandbox.customer()
    sandbox.deliver()
    sandbox.advance("6m")
    again = create_app(sandbox.app.extensions["sandbox_settings"])
    assert run_due(again) == 1

    (first, body), (second, same) = receiver.got
    assert (first["svix-id"], body) == (second["svix-id"], same)
    assert sandbox.deliveries()[0]["state"] == "delivered"
    assert run_due(again) == 0
    again.extensions["sandbox"].close()


@pytest.mark.thorough
def test_a_process_killed_with_a_message_in_its_hands_sends_it_again(receiver: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "SANDBOX_PORT": str(port),
        "SANDBOX_DATABASE_URL": f"sqlite:///{tmp_path}/s.db",
        "SANDBOX_WEBHOOK_URL": receiver.url,
        "FLEXPRICE_API_KEY": "k",
    }

    def started() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "storefront.sandbox"]
        process = subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert any(b"Serving" in line for line in process.stderr)
        return process

    receiver.hold()
    with started() as first:
        customer = {"external_id": "user-42", "name": "Asha Rao"}
        url = f"http://127.0.0.1:{port}/v1/customers"
        requests.post(url, json=customer, headers={"x-api-key": "k"}, timeout=10)
        came = receiver.got_one.wait(20)
        first.kill()
    assert came
    receiver.let_go()
    receiver.got_one.clear()

    with started() as second:
        came = receiver.got_one.wait(20)
        second.terminate()

    assert came
    (sent, body), (again, same) = receiver.got
    assert (sent["svix-id"], body) == (again["svix-id"], same)


def test_a_restart_keeps_the_place_on_the_ladder(sandbox: Any, receiver: Any) -> None:
    receiver.answers = [500, 500]
    sandbox.customer()
    sandbox.walk("6m")

    again = create_app(sandbox.app.extensions["sandbox_settings"])
    client = again.test_client()
    sent = [
        client.post("/_sandbox/clock", json={"advance": step}).json["sent"] for step in ("0s", "28m", "2m")
    ]
    assert sent == [0, 0, 1]

    assert sandbox.deliveries()[0]["attempt"] == 3
    again.extensions["sandbox"].close()


def test_unsigned_messages_carry_one_header_and_are_built_again(sandbox: Any, receiver: Any) -> None:
    """No signature, no id, no time; a job tries again after a quarter of an hour."""
    sandbox.control("switches", webhook_signing="native")
    receiver.answers = [500] + [200] * 20
    sandbox.customer()
    sandbox.deliver()
    sandbox.post("/_sandbox/webhooks", {"mode": "drop"})
    session = sandbox.session()
    sandbox.pay(session)

    sandbox.walk("16m")

    (sent, _), (again, body) = receiver.got
    assert sent["x-flexprice-key"] == again["x-flexprice-key"] == "sandbox-native-key"
    assert not [name for name in again if name.startswith(("svix", "webhook"))]
    assert "razorpay_customer_id" in body  # known only since the session


def test_the_sweep_expires_what_was_not_paid(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session(idempotency_key="k")
    sandbox.deliver()
    sandbox.advance("26m")
    assert sandbox.post("/_sandbox/sweep").json() == {"expired": 1}
    sandbox.deliver()

    assert sandbox.read(session)["checkout_status"] == "expired"
    assert receiver.types[-1] == "checkout.session.expired"
    assert sandbox.get(f"/v1/invoices/{session['checkout_invoice_id']}").status_code == 404
    assert sandbox.session(idempotency_key="k")


def test_two_threads_never_send_the_same_attempt(sandbox: Any, receiver: Any) -> None:
    for number in range(20):
        sandbox.customer(f"user-{number}")

    threads = [threading.Thread(target=run_due, args=(sandbox.app,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = [sent["svix-id"] for sent, _ in receiver.got]
    assert len(ids) == len(set(ids)) == 20


def customers(receiver: Any) -> list[str]:
    return [json.loads(body)["customer"]["external_id"] for _, body in receiver.got]


def test_a_shop_that_lets_one_message_wait_delays_no_other_customer(sandbox: Any, receiver: Any) -> None:
    receiver.hold("slow-one")
    for name in ("slow-one", "user-1", "user-2"):
        sandbox.customer(name)

    sandbox.app.extensions["sandbox_dispatcher"].start()

    assert receiver.came(3)
    assert sorted(customers(receiver)) == ["slow-one", "user-1", "user-2"]
    receiver.let_go()
    sandbox.deliver()
    assert {delivery["state"] for delivery in sandbox.deliveries()} == {"delivered"}


def test_what_concerns_one_customer_waits_for_its_turn(sandbox: Any, receiver: Any) -> None:
    receiver.hold()
    sandbox.customer()
    session = sandbox.session()
    sandbox.app.extensions["sandbox_dispatcher"].start()
    assert receiver.came(1)
    assert not receiver.came(2, 0.3)

    receiver.let_go()
    sandbox.pay(session)
    sandbox.deliver()

    assert receiver.types == ["customer.created", *ON_CREATE, *ON_PAYMENT]


@pytest.mark.thorough
def test_no_more_are_under_way_than_there_are_hands(sandbox: Any, receiver: Any) -> None:
    receiver.hold()
    hands = sandbox.app.extensions["sandbox_settings"].senders
    for number in range(hands + 2):
        sandbox.customer(f"user-{number}")

    senders = sandbox.app.extensions["sandbox_dispatcher"]
    for _ in range(3):
        senders.start()

    assert receiver.came(hands)
    assert not receiver.came(hands + 1, 0.3)
    receiver.let_go()
    sandbox.deliver()
    assert len(receiver.got) == hands + 2


def test_a_payment_waits_for_its_own_news_and_for_nobody_elses(sandbox: Any, receiver: Any) -> None:
    hands = sandbox.app.extensions["sandbox_settings"].senders
    sandbox.customer("user-42")
    session = sandbox.session()
    sandbox.deliver()
    receiver.hold("slow-one")
    for number in range(hands):
        sandbox.customer(f"slow-one-{number}")
    sandbox.app.extensions["sandbox_dispatcher"].start()
    before = len(receiver.got)
    assert receiver.came(before + hands)

    sandbox.control("webhooks", mode="before_redirect", session=session["id"])
    answer = sandbox.pay(session)

    assert answer.status_code == 303
    assert receiver.types[-1] == "checkout.session.completed"
    receiver.let_go()
    sandbox.deliver()


def test_ten_at_once_are_under_way_before_one_is_answered(sandbox: Any, receiver: Any) -> None:
    receiver.hold()
    sandbox.control("webhooks", mode="ten_at_once")
    sandbox.customer()

    sandbox.app.extensions["sandbox_dispatcher"].start()

    assert receiver.came(10)
    receiver.let_go()
    sandbox.deliver()
    assert len({sent["svix-id"] for sent, _ in receiver.got}) == 1


def test_webhooks_are_dropped_doubled_and_held_on_request(sandbox: Any, receiver: Any) -> None:
    for mode, name in (("drop", "a"), ("twice", "b"), ("hold", "c")):
        assert sandbox.post("/_sandbox/webhooks", {"mode": mode}).json() == {"mode": mode}
        sandbox.customer(name)
        sandbox.deliver()
    said = [json.loads(body)["customer"]["external_id"] for _, body in receiver.got]
    assert said == ["b", "b"]
    assert receiver.got[0][0]["svix-id"] == receiver.got[1][0]["svix-id"]

    sandbox.post("/_sandbox/webhooks", {"mode": "normal"})
    sandbox.deliver()
    assert receiver.last("customer.created")["customer"]["external_id"] == "c"


def test_a_message_is_resent_as_it_was(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    sandbox.deliver()
    (delivery,) = sandbox.get("/_sandbox/deliveries").json()["items"]

    sandbox.post(f"/_sandbox/deliveries/{delivery['id']}/resend")
    sandbox.deliver()

    (first, body), (second, again) = receiver.got
    assert (first["svix-id"], body) == (second["svix-id"], again)
    assert sandbox.post("/_sandbox/deliveries/99/resend").status_code == 404
