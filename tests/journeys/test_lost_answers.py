"""The session may exist, and nobody told us: what is found, what is waited for, and what never happens."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

SESSIONS = "/v1/checkout/sessions"
REFUND_IT = "The customer already has this plan: refund this payment"


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.fixture
def lost(world: Any) -> Any:
    """A shopper whose session was created while the answer to the shop was lost; no message is delivered."""
    world.webhooks("hold")
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    return shopper


def resend(world: Any, *kinds: str) -> None:
    for row in world.deliveries():
        if row["event_type"] in kinds:
            world.control(f"deliveries/{row['id']}/resend")
    world.deliver()


def test_a_second_click_asks_nothing_and_waits_with_the_first(world: Any, lost: Any) -> None:
    answer = lost.buy()

    assert answer.headers["Location"] == f"/orders/{world.order().ref}/failure"
    assert lost.phase(world.order()) == "preparing"
    assert len(world.sessions()) == len(world.orders()) == 1


@pytest.mark.thorough
def test_a_gateway_that_hides_the_answer_leads_to_a_conflict_and_the_shop_waits(world: Any) -> None:
    """The same key is sent again, Flexprice answers 409 without telling the session: it is waited for."""
    world.webhooks("hold")
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    world.set_order(session_requested_at=None)  # as after an answer that said "not now"

    answer = shopper.try_again(world.order())
    assert answer.headers["Location"] == f"/orders/{world.order().ref}/failure"
    assert shopper.phase(world.order()) == "preparing"
    assert len(world.sessions()) == 1

    resend(world, "checkout.session.initiated")
    world.work()
    assert world.order().payment_url == world.pay_url()


@pytest.mark.thorough
def test_key_of_a_paid_session_is_not_used_again(world: Any) -> None:
    """After the completion the key is free again: without looking first a second link would be made."""
    world.webhooks("hold")
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    shopper.buy()
    world.set_order(session_requested_at=None, attempts=1)  # as after an answer that said "not now"
    shopper.pay(world.pay_url())

    shopper.try_again(world.order())
    world.work()

    assert shopper.phase(world.order()) == "ready"
    assert len(world.sessions()) == 1


@pytest.mark.thorough
def test_news_of_the_draft_sends_the_worker_looking_at_once(world: Any, lost: Any) -> None:
    """`subscription.draft.created` carries our reference, long after the shop has begun to look rarely."""
    lost.pay(world.pay_url())
    an_hour = timedelta(hours=1)
    soon = datetime.now(UTC)
    world.set_order(session_requested_at=soon - minutes(2), next_attempt_at=soon + an_hour)

    resend(world, "subscription.draft.created")
    world.work()

    assert lost.phase(world.order()) == "ready"
    assert world.emails() == ["welcome"]


def test_a_draft_alone_is_waited_for_and_then_left_to_a_person(world: Any, lost: Any) -> None:
    world.work(after=minutes(5))
    assert world.order().state == "placed"

    world.work(after=minutes(90))
    assert world.order().state == "abandoned"
    assert "a draft was left over: subs_" in world.order().review_note


@pytest.mark.thorough
def test_a_link_that_turns_up_after_the_order_was_given_up_is_never_offered_and_is_withdrawn(
    world: Any, lost: Any
) -> None:
    url = world.pay_url()
    world.work(after=minutes(90))
    again = lost.try_again(world.order())
    assert again.headers["Location"] == world.pay_url() != url

    resend(world, "checkout.session.initiated")
    world.work()

    first, second = world.orders()
    assert (first.state, second.state) == ("abandoned", "awaiting_payment")
    assert url not in lost.order_page(first).text
    assert "was cancelled" in lost.see(url).text  # it takes no money any more
    lost.pay(again.headers["Location"])
    world.webhooks("normal")
    world.settle()
    world.settle()
    assert [order.state for order in world.orders()] == ["abandoned", "fulfilled"]


@pytest.mark.thorough
def test_an_abandoned_order_that_was_paid_without_a_word_is_still_found(world: Any, lost: Any) -> None:
    """Razorpay mails the link; the messages are lost, too."""
    world.work(after=minutes(90))
    assert world.order().state == "abandoned"
    world.set_order(next_attempt_at=datetime.now(UTC))
    lost.pay(world.pay_url())

    world.work()

    assert lost.phase(world.order()) == "ready"
    assert world.order().review_note is None


@pytest.mark.thorough
@pytest.mark.parametrize("again", [False, True], ids=["once", "bought again"])
def test_an_abandoned_order_that_was_paid_is_delivered_or_owed_a_refund(
    world: Any, lost: Any, again: bool
) -> None:
    url = world.pay_url()
    world.work(after=minutes(90))
    first = world.order()
    assert first.state == "abandoned"
    if again:
        lost.pay(lost.try_again(first).headers["Location"])
        resend(world, "checkout.session.completed")
        world.work()

    lost.pay(url)  # which Razorpay had mailed
    world.webhooks("normal")
    world.settle()

    first = world.find(first)
    assert (first.state, first.review_note) == (("paid_twice", REFUND_IT) if again else ("fulfilled", None))
    assert lost.phase(first) == ("paid_twice" if again else "ready")
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]


def test_an_aborted_create_blocks_nobody_for_ever(world: Any) -> None:
    """Contract C.6a: the caller hung up. No event, a draft that stays, perhaps a live link."""
    world.webhooks("hold")
    shopper = world.shopper()
    world.fault("aborted", SESSIONS, times=1, method="POST")
    shopper.buy()
    assert shopper.phase(world.order()) == "preparing"
    world.set_order(session_requested_at=datetime.now(UTC) - minutes(3))

    answer = shopper.send(shopper.order_page(world.order()), "/checkout")
    world.webhooks("normal")
    assert world.orders()[0].state == "abandoned"
    assert "left over" in world.orders()[0].review_note
    shopper.pay(answer.headers["Location"])
    world.settle()
    assert world.order().state == "fulfilled"


@pytest.mark.thorough
def test_a_replica_that_lags_loses_no_payment(world: Any) -> None:
    """The message says completed, the session that is read says pending: it is asked again."""
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.work()
    world.fault("replica_lag", times=0, seconds=30)
    shopper.pay(url)
    world.settle()
    assert "fulfilled" not in {order.state for order in world.orders()}

    world.up()
    world.work(after=timedelta(seconds=30))
    assert world.order().state == "fulfilled"
    assert world.emails() == ["welcome"]


@pytest.mark.thorough
def test_a_session_unknown_to_a_lagging_replica_is_adopted_when_it_shows(world: Any) -> None:
    shopper = world.shopper()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    world.fault("replica_lag", SESSIONS, times=1, seconds=3600)
    shopper.buy()
    world.settle()
    assert world.order().session_id is None

    world.work(after=timedelta(seconds=30))
    assert world.order().payment_url == world.pay_url()


# -- who ended it -----------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("outage", ["down", "error_500"])
def test_a_cancel_that_was_refused_is_forgotten(world: Any, outage: str) -> None:
    """The link fails by itself later: that is a failure the shopper hears of, not their own doing."""
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    page = shopper.order_page(world.order())
    world.fault(outage)
    assert shopper.send(page, "/cancel").status_code == 503
    assert world.order().cancel_requested_at is None
    world.up()

    shopper.send(shopper.see(url), f"{url.rpartition('/')[2]}/cancel")
    world.settle()
    world.settle()

    assert shopper.phase(world.order()) == "failed"
    assert world.emails() == ["payment_failed"]


@pytest.mark.thorough
def test_a_cancel_without_an_answer_counts_only_if_flexprice_did_it(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.fault("timeout_before", SESSIONS, times=1, method="POST")
    assert "waiting for the answer" in shopper.cancel(world.order()).text
    assert world.order().cancel_requested_at is not None  # perhaps it was done
    assert shopper.phase(world.order()) == "waiting"

    shopper.send(shopper.see(url), f"{url.rpartition('/')[2]}/cancel")  # it was not: the merchant did
    world.settle()
    world.settle()

    assert shopper.phase(world.order()) == "failed"
    assert world.emails() == ["payment_failed"]


@pytest.mark.thorough
def test_a_cancel_without_an_answer_that_flexprice_did_is_the_shoppers(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy()
    world.fault("timeout_after", SESSIONS, times=1, method="POST")
    assert "waiting for the answer" in shopper.cancel(world.order()).text
    world.settle()

    assert shopper.phase(world.order()) == "cancelled"
    assert world.emails() == []
