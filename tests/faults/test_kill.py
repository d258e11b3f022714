"""kill -9 between any two steps: afterwards nothing is lost and nothing has happened twice."""

import random
import threading
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import Buyer
from tests.faults.stack import Process, Stack

KILLS = 120
BUYERS = 4
SEED = time.time_ns()
NewBuyer = Callable[[], Buyer]


@pytest.fixture(scope="module")
def points(stack: Stack, new_buyer: NewBuyer) -> list[str]:
    """Every point of a sale, as one that goes well passes them."""
    buy(new_buyer())
    stack.settle()
    stack.check_books()
    return stack.points_passed()


def buy(buyer: Buyer) -> None:
    buyer.sign_up()
    buyer.buy()


def dies_at(stack: Stack, buyer: Buyer, point: str, other: Process | None = None) -> bool:
    """A sale in which a process is killed at this point; whether one was."""
    stack.arm(point, other)
    buy(buyer)
    stack.settle()
    died = stack.disarm()
    stack.check_books()
    return died


# The moments that have cost other shops money; all the others: make soak.
@pytest.mark.parametrize(
    ("moment", "other"),
    [
        ("web before commit in place_order", None),  # the order does not exist, whatever the buyer saw
        ("web after POST /v1/checkout/sessions", None),  # the session is open, and nobody here knows it
        ("web after commit in store", "worker"),  # the event is stored and not acknowledged
        ("worker before commit in process_event", "web"),  # access is granted, nothing is committed
        ("worker after commit in process_event", None),
        ("emails after email", None),  # sent, and not noted
    ],
)
def test_sale_survives_a_kill(
    stack: Stack, points: list[str], new_buyer: NewBuyer, moment: str, other: str | None
) -> None:
    found = [point for point in points if point.startswith(moment)]
    assert found, f"a sale has no such moment any more: {points}"
    assert dies_at(stack, new_buyer(), found[0], stack.processes.get(other or ""))


@pytest.mark.soak
def test_sale_survives_a_kill_at_every_point(stack: Stack, points: list[str], new_buyer: NewBuyer) -> None:
    """Each point of a sale, every other time together with another process."""
    died = []
    for number, point in enumerate(points):
        other = "worker" if point.startswith("web") else "web"
        if dies_at(stack, new_buyer(), point, stack.processes[other] if number % 2 else None):
            died.append(point)
    print(f"\n{stack.engine.dialect.name}: died at {len(died)} of the {len(points)} points of a sale")
    print("not reached again:", *sorted(set(points) - set(died)), sep="\n    ")
    assert len(died) >= len(points) * 0.8


@pytest.mark.soak
def test_random_kills_lose_and_double_nothing(stack: Stack, new_buyer: NewBuyer) -> None:
    chance = random.Random(SEED)
    stop = threading.Event()
    broken: list[BaseException] = []

    def go_shopping() -> None:
        while not stop.is_set():
            try:
                buy(new_buyer())
            except BaseException as error:
                broken.append(error)
                raise

    before = len(stack.buyers)
    buyers = [threading.Thread(target=go_shopping) for _ in range(BUYERS)]
    for buyer in buyers:
        buyer.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 3))
        for name in chance.choice([["web"], ["worker"], ["web", "worker"], ["emails"]]):
            stack.processes[name].kill()
    stop.set()
    for buyer in buyers:
        buyer.join()
    assert not broken
    stack.settle()
    stack.check_books()
    sold = len(stack.buyers) - before
    print(
        f"\n{stack.engine.dialect.name}: {KILLS} kills (seed {SEED}), {sold} sales, none lost, none doubled"
    )
    assert sold
