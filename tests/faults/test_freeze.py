"""A process that is frozen between two steps, and thawed after others have done its work."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
import requests
from sqlalchemy import update

from storefront.operations.models import WorkerHeartbeat
from tests.faults.conftest import Buyer
from tests.faults.stack import Stack

NewBuyer = Callable[[], Buyer]
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def points(stack: Stack, new_buyer: NewBuyer) -> list[str]:
    """Every point of a sale, as one that goes well passes them."""
    buyer = new_buyer()
    buyer.sign_up()
    buyer.buy()
    stack.settle()
    return stack.points_passed()


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("worker before commit in process_event", "worker"),  # access is granted, its rows are locked
        ("worker after commit in process_event", "worker"),
        ("emails before email", "emails"),
        ("emails after email", "emails"),  # sent, and not noted
    ],
)
def test_another_takes_over_from_a_frozen_process(
    stack: Stack, points: list[str], new_buyer: NewBuyer, moment: str, name: str
) -> None:
    """On SQLite a transaction that is frozen holds up all others: it is thawed first.

    PostgreSQL ends it after `idle_in_transaction_session_timeout`.
    Kind: clocks and locks of several processes.
    """
    point = next(point for point in points if point.startswith(moment))
    frozen, buyer = stack.processes[name], new_buyer()
    stack.arm(point, by=signal.SIGSTOP)
    buyer.sign_up()
    shopping = Thread(target=buyer.buy)
    shopping.start()
    stack.wait_until(stack.was_reached, f"no process passed {point}")
    locked = stack.engine.dialect.name == "sqlite" and "before commit" in moment
    if locked:
        check_health_of_a_locked_file(stack)
        frozen.thaw()
    elif name == "worker":
        check_health_without_worker(stack)
    other = stack.start_worker("second") if name == "worker" else stack.start_emails("second")
    try:
        shopping.join()
        stack.settle()
        frozen.thaw()  # it goes on where it stood, with a claim and a connection of the past
        stack.settle()
        stack.check_books()
        assert frozen.running.poll() is None, "the frozen process has ended"
        stack.wait_until(lambda: health(stack)["status"] == "ok", "health does not see the loops turn again")
    finally:
        other.stop()


def health(stack: Stack) -> Any:
    return requests.get(f"{stack.shop_url}/healthz", timeout=20).json()


def check_health_of_a_locked_file(stack: Stack) -> None:
    """A page is read, and no webhook is acknowledged."""
    answer = requests.get(f"{stack.shop_url}/healthz", timeout=20)
    assert answer.status_code == 200
    assert answer.json()["database"] == "ok"


def check_health_without_worker(stack: Stack) -> None:
    """A minute later nothing has turned: the heartbeat of the frozen one is as old."""
    earlier = (datetime.now(UTC) - timedelta(minutes=2)).replace(tzinfo=None)
    with stack.engine.connect() as connection, connection.begin():
        connection.execute(update(WorkerHeartbeat).values(beat_at=earlier))
    assert "heartbeat missing" in health(stack)["worker"]
