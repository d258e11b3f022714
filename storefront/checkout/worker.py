"""The worker: processes due webhook events and checks due orders, one at a time.

The claim is a time: a worker that moves `next_attempt_at` on has the row for that long (SQS calls it a
visibility timeout). One that dies gives it back by itself: any number may run, and be killed at any point.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exc, or_, select

from ..flexprice import FlexpriceError
from . import orders
from .context import (
    after_commit,
    backoff,
    checkout,
    commit,
    db_now,
    load,
    release,
    rollback,
    send,
    session,
    update_where,
)
from .reconciliation import check_order, next_gap
from .signals import order_needs_attention, worker_ran
from .webhooks import HINT_INTERVAL, process_event

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)  # longer than the longest call to Flexprice
POLL_INTERVAL_S = 1.0
ERROR_INTERVAL_S = 5.0
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=1), timedelta(minutes=15)
ATTEMPTS_BEFORE_A_PERSON = 10
# The database is away or busy, or has ended an idle transaction: that says nothing about an order.
DATABASE_AWAY = (exc.OperationalError, exc.InternalError, exc.TimeoutError)


def run_once(limit: int = 100) -> int:
    """Do what is due: at most `limit` events and as many orders. Safe to call from cron or any job queue.

    :returns: how many were taken up.
    """
    done = run_due(checkout().WebhookEvent, process_event, retry_event, limit)
    done += run_due(checkout().Order, check_order, reschedule_order, limit)
    done += sum(work(limit) for work in checkout().hooks.more_work)
    send(worker_ran, processed=done)
    return done


def run_forever(stop: threading.Event, turn: Callable[[], int] | None = None) -> None:
    """Run until `stop` is set. No exception ends the loop: not of an event, an order or the database.

    :param turn: `run_once` of another worker; returns how many were taken up.
    """
    turn = turn or run_once
    while not stop.is_set():
        try:
            pause_s = 0.0 if turn() else POLL_INTERVAL_S
        except Exception:
            log.exception("The worker's turn failed; it goes on")
            pause_s = ERROR_INTERVAL_S
        release()
        stop.wait(pause_s)


def run_due(
    model: Any, act: Callable[[Any], bool | None], reschedule: Callable[..., None], limit: int, **claim: Any
) -> int:
    """Claim the rows that are due, one at a time, and act on them. No exception of one reaches the next.

    :param act: returns True for a row that is settled; any other is rescheduled, with the error raised.
    :param claim: as `claim_due` takes it.
    :returns: how many were taken up.
    """
    done = 0
    while done < limit and (claimed := claim_due(model, **claim)):
        row_id, until = claimed
        error, settled = None, None
        try:
            settled = act(row_id)
        except Exception as raised:
            rollback()
            error = raised
            expected = isinstance(raised, FlexpriceError)
            log.warning("%s %s: %s", model.__name__, row_id, raised, exc_info=not expected)
        if not settled:
            reschedule(row_id, until, error)
        done += 1
    return done


def claim_due(model: Any, also_due: Sequence[Any] = (), **values: Any) -> tuple[Any, datetime] | None:
    """Take the row that is due for the longest time: its id, and until when it is ours. Commits.

    :param also_due: conditions that make a row due before its `next_attempt_at`.
    :param values: columns to write with the claim.
    """
    while True:
        now = db_now()
        is_due = or_(model.next_attempt_at <= now, *also_due)
        due = select(model.id).where(is_due).order_by(model.next_attempt_at).limit(1)
        row_id = session().scalar(due.with_for_update(skip_locked=True))
        if row_id is None:
            commit()
            return None
        claim = {"next_attempt_at": now + LEASE, "attempts": model.attempts + 1, **values}
        claimed = update_where(model, claim, model.id == row_id, is_due)
        commit()
        if claimed == 1:
            return row_id, now + LEASE


def reschedule_order(order_id: int, until: datetime, error: Exception | None) -> None:
    """After as long as it has waited so far; an order that was moved in between is due already."""
    order = orders.get(order_id)
    unexpected = not isinstance(error, (FlexpriceError, orders.FulfillmentFailed, *DATABASE_AWAY))
    if error and unexpected and order.attempts >= ATTEMPTS_BEFORE_A_PERSON:
        orders.add_review_note(order, "Processing fails again and again: see the log")
    gap, now = next_gap(order), db_now()
    orders.change(order, {"last_checked_at": now})
    orders.change(order, {"next_attempt_at": now + gap if gap else None}, next_attempt_at=until)
    commit()


def retry_event(event_id: str, until: datetime, error: Exception | None) -> None:
    """An event that could not be processed waits longer each time; after ten attempts a person is told."""
    event = load(checkout().WebhookEvent, event_id)
    if event.next_attempt_at != until:
        commit()
        return
    gap = backoff(event.attempts, FIRST_RETRY if event.signed else HINT_INTERVAL, LONGEST_RETRY)
    if error and event.attempts >= ATTEMPTS_BEFORE_A_PERSON and not isinstance(error, FlexpriceError):
        gap = timedelta(days=1)
    if error and event.attempts == ATTEMPTS_BEFORE_A_PERSON:
        note = f"Webhook event {event.id} failed {event.attempts} times: {type(error).__name__}"
        after_commit(order_needs_attention, order=None, note=note)
    if error:
        event.outcome = f"failed: {type(error).__name__}"
        event.error = "".join(traceback.format_exception(error))[-10_000:]
    event.next_attempt_at = db_now() + gap
    commit()
