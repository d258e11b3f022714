"""Many at once: several web processes and several workers share one database, and each thing is done once."""

import threading
import time

import pytest

from tests.faults.storm import Storm, tell


@pytest.fixture(scope="module")
def doors(town):
    """Two web processes; and two more workers."""
    doors = [town.shop_url, town.open_shop("web2")]
    for name in ("worker2", "worker3"):
        town.open_worker(name)
    town.wait_until_open(*doors)
    return doors


def test_webs_and_workers_share_the_work_and_nothing_is_done_twice(town, doors):
    storm = Storm(town, doors, orders=40)
    sent = storm.deliver(storm.news(), at_most=3, senders=32, pollers=8)
    assert storm.answers[204] == sent
    assert set(storm.answers) <= {204, 503}  # "later": on a machine that has no time at all
    assert set(storm.looks) <= {200, 303}
    storm.check()


def test_a_storm_of_one_message_is_one_message(town, doors):
    storm = Storm(town, doors, orders=1)
    news = list(storm.news())
    storm.deliver([news[1]] * 256)
    assert storm.answers[204] == 256
    storm.deliver(news)
    storm.check()


def test_sixteen_clicks_at_once_open_one_session(town, doors, somebody):
    person = somebody()
    person.sign_up()
    page = person.see("/")
    action = page.action("/checkout")
    clicks = [
        threading.Thread(
            target=person.insist, args=("POST", door + action), kwargs={"data": page.forms[action]}
        )
        for door in doors * 8
    ]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    [order] = town.orders_of(person.email)
    assert town.sessions_of(order) == 1


@pytest.mark.soak
def test_ten_thousand_webhooks_for_two_thousand_orders(town, doors):
    warm = Storm(town, doors, orders=100)
    warm.deliver(warm.news())
    warm.check()
    before = town.weight()
    storm = Storm(town, doors, orders=2000)
    started = time.monotonic()
    sent = storm.deliver(storm.news(), at_most=10, senders=32)
    spent = time.monotonic() - started
    assert storm.answers == {204: sent}
    storm.check()
    tell(town, f"{sent} deliveries of 10,000 messages in {spent:.0f} s", storm.times)
    (memory, files), processes = town.weight(), len(doors) + 3
    print(
        f"memory of {processes} processes {before[0] / 1000:.0f} -> {memory / 1000:.0f} MB,"
        f" open files {before[1]} -> {files}"
    )
    assert max(storm.times) < 5


@pytest.mark.soak
def test_thirty_two_senders_and_thirty_two_pollers_never_meet_a_lock(town, doors):
    storm = Storm(town, doors, orders=400)
    sent = storm.deliver(storm.news(), at_most=3, senders=32, pollers=32)
    assert storm.answers == {204: sent}
    assert set(storm.looks) <= {200, 303}
    storm.check()
    tell(town, f"{sent} deliveries beside {sum(storm.looks.values())} looks", storm.times)
    assert max(storm.times) < 5


@pytest.mark.soak
def test_a_thousand_copies_of_one_message(town, doors):
    storm = Storm(town, doors, orders=1)
    news = list(storm.news())
    storm.deliver([news[1]] * 1024)
    assert storm.answers == {204: 1024}
    storm.deliver(news)
    storm.check()
    tell(town, "1024 copies of one message", storm.times)
    assert sorted(storm.times)[int(len(storm.times) * 0.99)] <= 0.15


@pytest.mark.soak
def test_what_a_killed_worker_held_is_done_within_ten_seconds(town, doors, somebody):
    """R20. No time is made to pass here: the other workers find out by themselves."""
    first = somebody()
    first.sign_up()
    (town.faults / "trace").unlink()  # what a storm passed is not what a sale passes
    first.buy()
    town.settle()
    for moment in (
        "worker before commit in write_some:",
        "worker before commit in settle_some:",
        "worker after letter",
    ):
        [point, *_] = [passed for passed in town.passed() if passed.startswith(moment)]
        person = somebody()
        person.sign_up()
        person.send(person.see("/"), "/checkout")
        [order] = town.orders_of(person.email)
        town.arm(point)
        person.pay(order.payment_url)
        town.wait_until((town.faults / "died").exists)
        died = time.monotonic()
        town.wait_until(town.settled)
        spent = time.monotonic() - died
        town.disarm()
        print(f"\n{town.rows.dialect.name}: died at {point}; {spent:.1f} s later everything was done")
        assert spent <= 10
