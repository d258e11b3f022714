"""A shop that has been open for long: as quick as on its first day, and no heavier (`make soak`)."""

import http.client
import os
import statistics
import time
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, insert, select, text, update

from storefront.models import Access, InboxMessage, Letter, Order, Shopper, random_key
from tests.faults.storm import Storm, tell

pytestmark = pytest.mark.soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
SALES, COPIES = 200, 100  # 100,000 messages
ROUNDS, EACH = 25, 60
UNIQUE = {"id", "email", "recipient", "session_id", "object_id", "customer_id", "flexprice_id"}
TABLES = (Shopper, Order, Access, Letter, InboxMessage)
RANDOM = {"external_id", "session_key", "ref", "message_id"}
NUMBERS = {"id", "shopper_id", "order_id"}


# -- R21: a hundred thousand messages later ------------------------------------------------------------


@pytest.fixture
def new_town(a_town, town):
    """The same shop on its first day."""
    return a_town(town.rows.dialect.name)


def test_a_hundred_thousand_messages_make_nothing_slower(town, new_town):
    storm = Storm(town, [town.shop_url], SALES)
    storm.deliver(storm.news(), senders=8)
    storm.check()
    empty = size(new_town)
    fill(town, COPIES)
    town.settle()
    kept = town.scalar(select(func.count(InboxMessage.id)))
    grown = (size(town) - empty) / kept

    ratios = {"webhook": [], "poll": []}
    doors = {name: Visitor(each) for name, each in (("full", town), ("new", new_town))}
    for turn in range(ROUNDS):
        in_turn = list(doors.items())[:: 1 if turn % 2 else -1]
        for what, times in ratios.items():
            spent = {name: getattr(door, what)(EACH) for name, door in in_turn}
            times.append(spent["new"] / spent["full"])
    flat = {what: statistics.median(times) for what, times in ratios.items()}
    print(
        f"\n{town.rows.dialect.name}: {kept} messages, {grown:.0f} bytes of database each (with their orders"
        f" and letters); against an empty shop: webhook {flat['webhook']:.2f}x, poll {flat['poll']:.2f}x"
    )
    assert grown <= 2048
    assert min(flat.values()) >= 0.9


def fill(town, copies):
    """What the storm left, again and again: as other shoppers' sales, all of them over."""
    with town.rows.connect() as connection:
        connection.execute(update(Order).values(next_look_at=None))
        for model in TABLES:
            table = model.__table__
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
            for copy in range(1, copies):
                connection.execute(insert(table), [another(row, copy) for row in rows])
        connection.commit()
        if town.rows.dialect.name == "sqlite":
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        else:
            connection.execute(text("ANALYZE"))
            connection.commit()


def another(row, copy):
    def changed(name, value):
        if name in RANDOM:
            return random_key()
        if name in NUMBERS and isinstance(value, int):
            return value + copy * 10_000
        if name in UNIQUE and value:
            return f"{value}c{copy}"
        return value

    return {name: changed(name, value) for name, value in row.items()}


def size(town):
    if town.rows.dialect.name == "sqlite":
        return sum(path.stat().st_size for path in town.folder.glob("shop.db*"))
    return town.scalar(text("SELECT pg_database_size(current_database())"))


class Visitor:
    """One sender of messages nobody has seen, and one shopper who looks at an order that waits."""

    def __init__(self, town):
        self.town = town
        self.storm = Storm(town, [town.shop_url], 1)
        self.browser, self.page = self.storm.sign_in(self.storm.paid[0])
        self.line = http.client.HTTPConnection(urlsplit(town.shop_url).netloc, timeout=60)

    def webhook(self, times):
        [(_, body), *_] = self.storm.news()
        news = body.replace(b"checkout.session.initiated", b"payment.updated")
        started = time.monotonic()
        for number in range(times):
            message_id = f"msg_{time.time_ns()}_{number}"
            self.line.request("POST", "/webhooks/flexprice", news, self.town.signed(message_id, news))
            answer = self.line.getresponse()
            answer.read()
            assert answer.status == 204
        return time.monotonic() - started

    def poll(self, times):
        started = time.monotonic()
        for _ in range(times):
            assert self.browser.get(self.page, timeout=60).status_code == 200
        return time.monotonic() - started


# -- R22: half an hour at half of what it can ----------------------------------------------------------


@pytest.fixture
def doors(town):
    doors = [town.shop_url, town.open_shop("web2")]
    town.open_worker("worker2")
    town.wait_until_open(*doors)
    return doors


def test_half_an_hour_of_work_makes_nothing_heavier(town, doors):
    """Everybody rests for as long as their request took. How long: SOAK_MINUTES."""
    began, seen, answers, looks, times = time.monotonic(), [], 0, 0, []
    while time.monotonic() - began < MINUTES * 60:
        storm = Storm(town, doors, orders=100)
        storm.rest = 1
        sent = storm.deliver(storm.news(), at_most=2, senders=8, pollers=8)
        assert storm.answers == {204: sent}
        assert set(storm.looks) <= {200, 303}
        storm.check()
        answers, looks, times = answers + sent, looks + storm.looks.total(), times + storm.times
        seen.append((town.weights(), wal(town)))
    warm, last = seen[len(seen) // 5][0], seen[-1][0]
    assert set(warm) == set(last), "a process ended"
    heavier = {pid: (last[pid][0] - warm[pid][0]) / 1024 for pid in warm}
    opened = {pid: last[pid][1] - warm[pid][1] for pid in warm}
    tell(town, f"{answers} messages and {looks} looks in {MINUTES:.0f} min, none failed", times)
    print(
        f"memory of each process at most {max(heavier.values()):+.1f} MB, open files at most"
        f" {max(opened.values()):+d}, WAL at most {max(size for _, size in seen) / 1e6:.1f} MB"
    )
    assert max(heavier.values()) <= 10
    assert max(opened.values()) <= 2  # a connection more or less is open at any moment
    assert max(size for _, size in seen) <= 20e6


def wal(town):
    path = town.folder / "shop.db-wal"
    return path.stat().st_size if path.exists() else 0
