"""What happened how often, counted by every process and added up in the database.

Each process counts in memory and adds what is new to the rows every few seconds, so that any process of any
machine can show the whole. A process that ends takes the last seconds of its counting along.
"""

import logging
import os
import threading
import time
from collections import defaultdict

from flask import Flask, current_app
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from storefront.database import DatabaseBusy, insert_or_ignore, writing
from storefront.extensions import db
from storefront.models import Tally

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds


class Tallies:
    def __init__(self, app: Flask) -> None:
        self._app = app
        self._new: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._counting_in: int | None = None  # process: threads do not survive a fork

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        with self._lock:
            self._new[series(name, **labels)] += amount
            if self._counting_in != os.getpid():
                self._counting_in = os.getpid()
                threading.Thread(target=self._keep_adding, daemon=True).start()

    def _keep_adding(self) -> None:
        while True:
            time.sleep(EVERY)
            with self._app.app_context():
                self.add()
                db.session.remove()

    def add(self) -> None:
        """Into the database, in one transaction. What does not get through is added the next time."""
        with self._lock:
            new, self._new = self._new, defaultdict(float)
        if not new:
            return
        try:
            with writing() as session:
                for name, amount in sorted(new.items()):  # one order for all processes: no deadlock
                    insert_or_ignore(session, Tally, series=name, value=0.0)
                    session.execute(
                        update(Tally).where(Tally.series == name).values(value=Tally.value + amount)
                    )
        except (SQLAlchemyError, DatabaseBusy) as error:
            log.warning("the tallies wait: %s", type(error).__name__)
            with self._lock:
                for name, amount in new.items():
                    self._new[name] += amount


def series(name: str, **labels: str) -> str:
    """As Prometheus writes it: name{label="value"}."""
    if not labels:
        return name
    inside = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}"[:255]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")[:80]


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Nothing where metrics are off."""
    tallies: Tallies | None = current_app.extensions.get("tallies") if current_app else None
    if tallies:
        tallies.count(name, amount, **labels)


def upstream(method: str, resource: str, status: int, seconds: float) -> None:
    """One call to Flexprice. Status 0: no answer."""
    count("storefront_upstream_calls_total", method=method, resource=resource, status=str(status or "none"))
    count("storefront_upstream_seconds_total", seconds, resource=resource)


def all_of_them() -> dict[str, float]:
    """Of all processes, up to the last time each added its own."""
    return {row.series: row.value for row in db.session.scalars(select(Tally).order_by(Tally.series))}
