"""Signals: when they are sent, and what a receiver that raises can do."""

from typing import Any

import pytest

from storefront.checkout import State, orders, signals
from storefront.checkout.context import after_commit, commit, rollback, send
from storefront.checkout.signals import flexprice_called, order_needs_attention, order_transitioned
from storefront.models import OrderTransition

AFTER_COMMIT = [
    "order_needs_attention",
    "webhook_stored",
    "webhook_rejected",
    "flexprice_called",
    "worker_ran",
]


def fail(_app: Any, **_: Any) -> None:
    raise RuntimeError("the receiver is broken")


@pytest.mark.parametrize("name", AFTER_COMMIT)
def test_exception_of_a_receiver_is_logged(context: Any, caplog: Any, name: str) -> None:
    signal = getattr(signals, name)
    with signal.connected_to(fail, context):
        send(signal)
    assert f"A receiver of {signal.name} failed" in caplog.text


def test_signal_waits_for_the_commit(context: Any, sent: Any) -> None:
    with sent(order_needs_attention) as notes:
        after_commit(order_needs_attention, order=None, note="first")
        assert notes == []
        commit()
        assert [note["note"] for note in notes] == ["first"]
        commit()
    assert len(notes) == 1


def test_rollback_forgets_the_signal(context: Any, sent: Any) -> None:
    with sent(order_needs_attention) as notes:
        after_commit(order_needs_attention, order=None, note="undone")
        rollback()
        commit()
    assert notes == []


def test_transition_is_sent_inside_the_transaction(
    context: Any, add_opened: Any, rows: Any, sent: Any
) -> None:
    """A receiver adds rows, which are undone with the transition."""
    order = orders.find(ref=add_opened(state=State.PAID))
    assert order
    with sent(order_transitioned) as moves:
        orders.fulfill(order, by="worker")
        assert [move["to_state"] for move in moves] == [State.FULFILLED]
        rollback()
    assert rows(OrderTransition) == []


def test_every_call_to_flexprice_is_sent(shop: Any, browser: Any, sent: Any) -> None:
    with sent(flexprice_called) as calls:
        browser.get("/plans")
    (call,) = calls
    assert (call["call"].method, call["call"].path, call["call"].status) == ("POST", "/plans/search", 200)


def test_sender_is_the_app(app: Any, work: Any) -> None:
    senders: list[Any] = []

    def note(sender: Any, **_: Any) -> None:
        senders.append(sender)

    with signals.worker_ran.connected_to(note):
        work()
    assert senders == [app]
