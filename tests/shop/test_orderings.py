"""The four events of a session in every order, each several times: a paid order ends fulfilled, once."""

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
import responses
from storefront.lifecycle import State

from storefront import orders, worker
from storefront.database import writing
from storefront.flexprice import CheckoutSession
from storefront.models import Access, InboxMessage, Letter

SOON = timedelta(seconds=10)
EVENTS = ("initiated", "completed", "failed", "expired")


@pytest.fixture
def at_rest(context, enrol, order_of, tell, news, the_order):
    """Deliver these in turn; after each the worker reads what came, and looks after what is paid."""

    def deliver(statuses, ids="msg-{}".format):
        enrol()
        order_of(state=State.AWAITING_PAYMENT, session_id="cs_01", customer_id="cust_01")
        with responses.RequestsMock(assert_all_requests_are_fired=False):  # Flexprice is away
            for number, status in enumerate(statuses):
                assert tell(news(status), message_id=ids(f"{status}-{number}")).status_code == 204
                worker.one_pass()
        return the_order()

    return deliver


@pytest.mark.parametrize("order", list(permutations(EVENTS)), ids="-".join)
def test_every_order_of_the_events_ends_in_the_same_sale(at_rest, rows, order):
    chance = random.Random("".join(order))
    repeated = [status for status in order for _ in range(chance.randint(1, 3))]

    assert at_rest(repeated).state == State.FULFILLED
    assert [letter.kind for letter in rows(Letter) if letter.kind == "welcome"] == ["welcome"]
    assert len(rows(Access)) == 1


def test_two_messages_with_different_ids_about_one_payment_are_one_sale(at_rest, rows):
    assert at_rest(["completed", "completed", "completed"]).state == State.FULFILLED
    assert len(rows(Access)) == 1
    assert [letter.kind for letter in rows(Letter)] == ["welcome"]


def test_the_end_of_what_is_not_delivered_yet_is_waited_with(
    context, enrol, order_of, tell, news, vendor, rows
):
    """Otherwise there would be no access to end, and then one that never ends."""
    enrol()
    ref = order_of(state=State.AWAITING_PAYMENT, session_id="cs_01", customer_id="cust_01")
    bought = {"id": "subs_1", "customer_id": "cust_01", "plan_id": "plan_01", "metadata": {"order_ref": ref}}
    ended = bought | {"subscription_status": "cancelled"}
    for _ in range(3):
        vendor.answers("GET", "/subscriptions/subs_1", ended)
    now = datetime.now(UTC)

    tell({"event_type": "subscription.cancelled", "subscription": ended}, message_id="msg_end")
    worker.read_inbox(now + SOON)
    tell(news("completed"), message_id="msg_paid")
    worker.read_inbox(now + 2 * SOON)
    assert rows(Access) == []

    worker.look_after_orders(now + 2 * SOON)
    assert [access.revoked_at for access in rows(Access)] == [None]
    worker.read_inbox(now + 3 * SOON)
    assert [access.revoked_at for access in rows(Access)] == [now + 3 * SOON]
    assert {message.id: message.outcome for message in rows(InboxMessage)}["msg_end"] == "access ended"


def test_the_end_of_a_session_that_becomes_known_while_it_is_looked_up_is_news(
    context, enrol, order_of, tell, news, vendor, samples, the_order
):
    """One worker asks Flexprice whose session it is; another one has just heard that it was opened."""
    enrol()
    now = datetime.now(UTC)
    ref = order_of(opening_at=now - timedelta(minutes=5))
    failed = samples.session(checkout_status="failed", terminal=True, idempotency_key=ref)

    def hear_of_it(_request):
        with writing():
            orders.session_opened(1, CheckoutSession("cs_01", "cust_01", "pending"), now)
        return 200, {}, json.dumps(failed)

    vendor.mock.add_callback("GET", "http://127.0.0.1:8001/v1/checkout/sessions/cs_01", hear_of_it)
    tell(news("failed"))
    worker.read_inbox(now + SOON)
    assert the_order().state == State.FAILED
