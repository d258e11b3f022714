"""How many calls may be under way, and who is told at once that theirs is not made."""

import threading

import pytest

from storefront.flexprice import NeverSent, breaker
from storefront.flexprice.breaker import Breaker


class Calls:
    """Calls that hang until the test lets them end."""

    def __init__(self, breaker):
        self.breaker = breaker
        self.end = threading.Event()
        self.began = threading.Semaphore(0)
        self.threads = []

    def start(self, how_many=1):
        for _ in range(how_many):
            self.threads.append(threading.Thread(target=self.hang))
            self.threads[-1].start()
        for _ in range(how_many):
            assert self.began.acquire(timeout=30)

    def hang(self):
        with self.breaker.turn():
            self.began.release()
            self.end.wait(30)

    def finish(self):
        self.end.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def line():
    return Breaker(at_once=2)


@pytest.fixture
def calls(line):
    calls = Calls(line)
    yield calls
    calls.finish()


@pytest.fixture(autouse=True)
def times(monkeypatch):
    """Nobody queues, nothing is slow, and a rest has no end: each test changes what it is about."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setattr(breaker, name, value)

    change(QUEUE=0, SLOW=1000, REST=1000)
    return change


def call(line):
    with line.turn():
        pass


def fail(line):
    with pytest.raises(ConnectionError), line.turn():
        raise ConnectionError


def test_more_calls_than_allowed_are_not_sent(line, calls):
    calls.start(2)
    with pytest.raises(NeverSent) as refused:
        call(line)
    assert refused.value.retryable
    calls.finish()
    call(line)


def test_a_call_waits_for_a_turn_that_comes(line, calls, times):
    times(QUEUE=30)
    calls.start(2)
    threading.Timer(0.05, calls.end.set).start()
    call(line)


def test_nobody_queues_behind_calls_that_look_hung(line, calls, times):
    times(QUEUE=1000, SLOW=0)
    calls.start(2)
    with pytest.raises(NeverSent):
        call(line)


def test_after_a_call_that_hung_no_other_is_made_for_a_while(line, times):
    times(SLOW=-1)
    fail(line)
    with pytest.raises(NeverSent):
        call(line)


def test_after_the_rest_one_tries_and_its_answer_opens_the_line(line, calls, times):
    times(SLOW=-1)
    fail(line)
    times(REST=0)
    call(line)
    times(REST=1000)
    call(line)
    calls.start(2)


def test_while_one_tries_the_others_are_still_told_at_once(line, calls, times):
    times(SLOW=-1)
    fail(line)
    times(REST=0)
    calls.start()
    times(REST=1000)
    with pytest.raises(NeverSent):
        call(line)


def test_what_fails_at_once_keeps_nobody_and_stops_nobody(line):
    for _ in range(10):
        fail(line)
    call(line)


def test_a_refused_turn_is_no_call(line, calls):
    """However many are refused, the calls under way are counted right."""
    calls.start(2)
    for _ in range(10):
        with pytest.raises(NeverSent):
            call(line)
    calls.finish()
    call(line)
