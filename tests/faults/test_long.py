"""A shop that has been open for long: as quick as on its first day, and no heavier (`make soak`)."""

import http.client
import os
import statistics
import time
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, insert, select, text, update

from storefront.emails.models import Email
from storefront.models import Order, PlanAccess, User, WebhookEvent, random_key
from tests.faults.storm import Storm, tell

pytestmark = pytest.mark.soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
SALES, COPIES = 200, 100  # 100,000 messages
ROUNDS, EACH = 25, 60
UNIQUE = {"id", "email", "recipient", "session_id", "object_id", "customer_id", "flexprice_id"}
TABLES = (User, Order, PlanAccess, Email, WebhookEvent)
RANDOM = {"external_id", "session_key", "ref", "message_id"}
NUMBERS = {"id", "shopper_id", "order_id"}


# -- R21: a hundred thousand messages later ------------------------------------------------------------


@pytest.fixture
def new_stack_beside(new_stack, stack):
    """The same shop on its first day."""
    return new_stack(stack.engine.dialect.name)


def test_a_hundred_thousand_messages_make_nothing_slower(stack, new_stack_beside):
    storm = Storm(stack, [stack.shop_url], SALES)
    storm.deliver(storm.messages(), senders=8)
    storm.check()
    empty = size(new_stack_beside)
    fill(stack, COPIES)
    stack.settle()
    kept = stack.scalar(select(func.count(WebhookEvent.id)))
    grown = (size(stack) - empty) / kept

    ratios = {"webhook": [], "poll": []}
    webs = {name: Visitor(each) for name, each in (("full", stack), ("new", new_stack_beside))}
    for turn in range(ROUNDS):
        in_turn = list(webs.items())[:: 1 if turn % 2 else -1]
        for what, times in ratios.items():
            spent = {name: getattr(web, what)(EACH) for name, web in in_turn}
            times.append(spent["new"] / spent["full"])
    flat = {what: statistics.median(times) for what, times in ratios.items()}
    print(
        f"\n{stack.engine.dialect.name}: {kept} messages, {grown:.0f} bytes of database each (with orders"
        f" and emails); against an empty shop: webhook {flat['webhook']:.2f}x, poll {flat['poll']:.2f}x"
    )
    assert grown <= 2048
    assert min(flat.values()) >= 0.9


def fill(stack, copies):
    """What the storm left, again and again: as other shoppers' sales, all of them over."""
    with stack.engine.connect() as connection:
        connection.execute(update(Order).values(next_look_at=None))
        for model in TABLES:
            table = model.__table__
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
            for copy in range(1, copies):
                connection.execute(insert(table), [another(row, copy) for row in rows])
        connection.commit()
        if stack.engine.dialect.name == "sqlite":
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


def size(stack):
    if stack.engine.dialect.name == "sqlite":
        return sum(path.stat().st_size for path in stack.folder.glob("shop.db*"))
    return stack.scalar(text("SELECT pg_database_size(current_database())"))


class Visitor:
    """One sender of messages nobody has seen, and one shopper who polls at an order that waits."""

    def __init__(self, stack):
        self.stack = stack
        self.storm = Storm(stack, [stack.shop_url], 1)
        self.browser, self.page = self.storm.sign_in(self.storm.paid[0])
        self.line = http.client.HTTPConnection(urlsplit(stack.shop_url).netloc, timeout=60)

    def webhook(self, times):
        [(_, body), *_] = self.storm.messages()
        news = body.replace(b"checkout.session.initiated", b"payment.updated")
        started = time.monotonic()
        for number in range(times):
            message_id = f"msg_{time.time_ns()}_{number}"
            self.line.request("POST", "/webhooks/flexprice", news, self.stack.signed(message_id, news))
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
def webs(stack):
    webs = [stack.shop_url, stack.start_web("web2")]
    stack.start_worker("worker2")
    stack.wait_until_up(*webs)
    return webs


def test_half_an_hour_of_work_makes_nothing_heavier(stack, webs):
    """Everybody rests for as long as their request took. How long: SOAK_MINUTES."""
    began, seen, answers, polls, times = time.monotonic(), [], 0, 0, []
    while time.monotonic() - began < MINUTES * 60:
        storm = Storm(stack, webs, orders=100)
        storm.pause = 1
        sent = storm.deliver(storm.messages(), at_most=2, senders=8, pollers=8)
        assert storm.answers == {204: sent}
        assert set(storm.polls) <= {200, 303}
        storm.check()
        answers, polls, times = answers + sent, polls + storm.polls.total(), times + storm.times
        seen.append((stack.usage(), wal(stack)))
    warm, last = seen[len(seen) // 5][0], seen[-1][0]
    assert set(warm) == set(last), "a process ended"
    heavier = {pid: (last[pid][0] - warm[pid][0]) / 1024 for pid in warm}
    opened = {pid: last[pid][1] - warm[pid][1] for pid in warm}
    tell(stack, f"{answers} messages and {polls} polls in {MINUTES:.0f} min, none failed", times)
    print(
        f"memory of each process at most {max(heavier.values()):+.1f} MB, open files at most"
        f" {max(opened.values()):+d}, WAL at most {max(size for _, size in seen) / 1e6:.1f} MB"
    )
    assert max(heavier.values()) <= 10
    assert max(opened.values()) <= 2  # a connection more or less is open at any moment
    assert max(size for _, size in seen) <= 20e6


def wal(stack):
    path = stack.folder / "shop.db-wal"
    return path.stat().st_size if path.exists() else 0
