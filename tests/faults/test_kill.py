"""kill -9 between any two steps: afterwards nothing is lost and nothing has happened twice."""

import random
import threading
import time

import pytest

KILLS = 120
BUYERS = 4
SEED = time.time_ns()


@pytest.fixture(scope="module")
def points(town, somebody):
    """Every point of a sale, as one that goes well passes them."""
    buy(somebody())
    town.settle()
    town.check_books()
    return town.passed()


def buy(person):
    person.sign_up()
    person.buy()


def dies_at(town, person, point, company=None):
    """A sale in which a process dies at this point; whether one did."""
    town.arm(point, company)
    buy(person)
    town.settle()
    died = town.disarm()
    town.check_books()
    return died


# The moments that have cost other shops money; all the others: make soak.
@pytest.mark.parametrize(
    ("moment", "company"),
    [
        ("web before commit in start", None),  # the order is not there, whatever the shopper saw
        ("web after POST /v1/checkout/sessions", None),  # the session is open, and nobody here knows it
        ("web after commit in receive", "worker"),  # the message is kept and not acknowledged
        ("worker before commit in settle_some:", "web"),  # everything is granted, nothing is committed
        ("worker after commit in settle_some:", None),
        ("worker after letter", None),  # posted, and not noted
    ],
)
def test_whoever_dies_there_the_sale_happens_once(town, points, somebody, moment, company):
    found = [point for point in points if point.startswith(moment)]
    assert found, f"the shop has no such moment any more; it has {points}"
    point = found[0]
    assert dies_at(town, somebody(), point, town.processes.get(company))


@pytest.mark.soak
def test_whoever_dies_wherever_the_sale_happens_once(town, points, somebody):
    """The matrix: each point of a sale, every other time together with the process next door."""
    died = []
    for number, point in enumerate(points):
        other = "worker" if point.startswith("web") else "web"
        if dies_at(town, somebody(), point, town.processes[other] if number % 2 else None):
            died.append(point)
    print(f"\n{town.rows.dialect.name}: died at {len(died)} of the {len(points)} points of a sale")
    print("not come to again:", *sorted(set(points) - set(died)), sep="\n    ")
    assert len(died) >= len(points) * 0.8


@pytest.mark.soak
def test_random_kills_lose_nothing_and_double_nothing(town, somebody):
    chance = random.Random(SEED)
    stop = threading.Event()
    broken = []

    def go_shopping():
        while not stop.is_set():
            try:
                buy(somebody())
            except BaseException as error:
                broken.append(error)
                raise

    before = len(town.buyers)
    buyers = [threading.Thread(target=go_shopping) for _ in range(BUYERS)]
    for buyer in buyers:
        buyer.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 3))
        for name in chance.choice([["web"], ["worker"], ["web", "worker"]]):
            town.processes[name].kill()
    stop.set()
    for buyer in buyers:
        buyer.join()
    assert not broken
    town.settle()
    town.check_books()
    sold = len(town.buyers) - before
    print(f"\n{town.rows.dialect.name}: {KILLS} kills (seed {SEED}), {sold} sales, none lost, none doubled")
    assert sold
