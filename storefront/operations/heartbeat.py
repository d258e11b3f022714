"""The worker's heartbeat: a row that says when the loop last turned."""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy.exc import IntegrityError

from storefront.checkout.context import commit, db_now, rollback, update_where
from storefront.checkout.signals import worker_ran
from storefront.extensions import db
from storefront.operations.models import WorkerHeartbeat

log = logging.getLogger(__name__)

NAME = "checkout"
WRITE_INTERVAL_S = 10.0
MISSING_AFTER = timedelta(seconds=60)  # an error of the database pauses the loop for some seconds


def init_app(app: Flask) -> None:
    """Write the heartbeat after a turn of the worker, at most every `WRITE_INTERVAL_S` in each process."""
    app.extensions["heartbeat_written_at_s"] = float("-inf")
    worker_ran.connect(beat, app)


def beat(app: Flask, **_: Any) -> None:
    """A worker's loop has turned."""
    now_s = time.monotonic()
    if now_s - app.extensions["heartbeat_written_at_s"] < WRITE_INTERVAL_S:
        return
    app.extensions["heartbeat_written_at_s"] = now_s
    write()


def write() -> None:
    """Commits."""
    now = db_now()
    try:
        if update_where(WorkerHeartbeat, {"beat_at": now}, WorkerHeartbeat.name == NAME) == 0:
            db.session.add(WorkerHeartbeat(name=NAME, beat_at=now))
        commit()
    except IntegrityError:  # another worker wrote the first one
        rollback()


def last() -> datetime | None:
    """When a worker's loop last turned, naive UTC; None: never."""
    row = db.session.get(WorkerHeartbeat, NAME, populate_existing=True)
    return row.beat_at if row else None


def is_alive() -> bool:
    beat_at = last()
    return beat_at is not None and db_now() - beat_at < MISSING_AFTER
