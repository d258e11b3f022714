"""One id follows a request from the visitor through our logs to Flexprice and back."""

import logging
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("request_id", default="-")
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,64}")


def current() -> str:
    return _current.get()


def accepted(given: str | None) -> str:
    """The visitor's or the proxy's id if it can stand in a log line; otherwise a new one."""
    if given and _ACCEPTED.fullmatch(given):
        return given
    return f"{random.getrandbits(96):024x}"  # a name, not a secret


@contextmanager
def following(request_id: str) -> Iterator[None]:
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


class RequestIds(logging.Filter):
    """Gives every record of a handler its `request_id`, whichever library wrote it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current()
        return True
