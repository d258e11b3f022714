"""A shopper waits for a page, not for Flexprice: what takes longer is finished without them.

To open a session may take 25 s, and whoever hangs up earlier stops Flexprice's clean-up (decision 6).
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar, cast

from flask import Flask, current_app

from storefront import tracing
from storefront.database import end_reading

log = logging.getLogger(__name__)
T = TypeVar("T")

SECONDS = 4.5  # a page has been waited for, then


class TakesLonger(Exception):
    """It goes on by itself, and what comes of it stands in the rows."""


def wait_for(do: Callable[[], T], seconds: float) -> T:
    """What `do` gives or raises; it knows nothing of the request. After so many seconds TakesLonger."""
    end_reading()
    work: Future[T] = Future()
    app = cast(Any, current_app)._get_current_object()
    going_on = (app, tracing.current(), do, work)
    # Not a daemon, though the server's own threads are: serve.py waits for it at its end.
    threading.Thread(target=_carry_out, args=going_on, daemon=False).start()
    try:
        return work.result(max(seconds, 0))
    except TimeoutError:
        if work.cancel():
            raise TakesLonger from None
        return work.result()  # it ended in that moment


def _carry_out(app: Flask, name: str, do: Callable[[], T], work: Future[T]) -> None:
    with app.app_context(), tracing.following(name):
        try:
            result = do()
        except BaseException as error:  # the shopper's request raises it
            try:
                work.set_exception(error)
            except InvalidStateError:
                log.warning("went wrong after the shopper had their page", exc_info=error)
        else:
            with suppress(InvalidStateError):  # nobody waits any more; the rows know
                work.set_result(result)
