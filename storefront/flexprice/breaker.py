"""A Flexprice that hangs must not take the shop along: few calls at once, and hardly any while none ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import NeverSent

AT_ONCE = 2  # calls of one process: half of the threads that `storefront.serve` gives it
QUEUE = 1.0  # seconds a call waits for its turn, while turns come
SLOW = 2.0  # seconds after which a call looks like one that hangs
REST = 2.0  # seconds between two tries while calls hang


class Breaker:
    """Whoever gets no turn is told at once (NeverSent: nothing was sent, it may be tried again)."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._change = threading.Condition()
        self._under_way: dict[object, float] = {}  # since when
        self._last_start = 0.0
        self._hangs = False  # the last call to end had waited for nothing

    @contextmanager
    def turn(self) -> Iterator[None]:
        mine = self._start()
        answered = False
        try:
            yield
            answered = True
        finally:
            self._end(mine, answered)

    def _start(self) -> object:
        with self._change:
            patience = 0.0 if self._looks_hung() else QUEUE
            if not self._change.wait_for(self._may_start, patience):
                raise NeverSent("no call is made while others hang")
            mine = object()
            self._under_way[mine] = self._last_start = time.monotonic()
            return mine

    def _end(self, mine: object, answered: bool) -> None:
        with self._change:
            spent = time.monotonic() - self._under_way.pop(mine)
            if answered or spent > SLOW:  # what is refused at once keeps nobody
                self._hangs = not answered
            self._change.notify()

    def _may_start(self) -> bool:
        if self._hangs and time.monotonic() - self._last_start < REST:
            return False
        return len(self._under_way) < self._at_once

    def _looks_hung(self) -> bool:
        oldest = min(self._under_way.values(), default=time.monotonic())
        return self._hangs or time.monotonic() - oldest > SLOW
