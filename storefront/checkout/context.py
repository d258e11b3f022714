"""The running extension, its database session and clock, and the commit that sends signals afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from blinker import NamedSignal
from flask import Flask, current_app
from sqlalchemy import text
from sqlalchemy.orm import Session, scoped_session

if TYPE_CHECKING:
    from . import Checkout

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_AFTER_COMMIT = "checkout_after_commit"
DATABASE_CLOCK = text("SELECT clock_timestamp() AT TIME ZONE 'utc'")


def checkout() -> Checkout:
    return cast("Checkout", current_app.extensions["checkout"])


def session() -> scoped_session[Session]:
    return cast("scoped_session[Session]", checkout().db.session)


def db_now() -> datetime:
    """The database's clock as naive UTC: web servers and workers may disagree about the time."""
    if session().get_bind().dialect.name == "postgresql":
        return cast(datetime, session().scalar(DATABASE_CLOCK))
    return datetime.now(UTC).replace(tzinfo=None)


def naive(moment: datetime | None) -> datetime | None:
    """An aware time of Flexprice's, as the tables hold it."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment else None


def backoff(attempts: int, first: timedelta, longest: timedelta) -> timedelta:
    """How long to wait after so many failed attempts: doubling, bounded."""
    doublings: int = min(max(attempts - 1, 0), 20)
    return min(first * 2.0**doublings, longest)


def ask(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call Flexprice. What was written so far is committed first: no transaction stays open across a call."""
    commit()
    return call(*args, **kwargs)


def after_commit(signal: NamedSignal, **values: Any) -> None:
    """Send `signal` once the transaction is committed; a rollback forgets it."""
    session().info.setdefault(_AFTER_COMMIT, []).append((signal, values))


def commit() -> None:
    session().commit()
    for signal, values in session().info.pop(_AFTER_COMMIT, []):
        send(signal, **values)


def rollback() -> None:
    """Undo what was not committed. Raises nothing: it runs where something has failed already."""
    try:
        session().info.pop(_AFTER_COMMIT, None)
        session().rollback()
    except Exception:
        log.exception("The database session could not be rolled back; it is discarded")
        release()


def release() -> None:
    """Give the connection back. Raises nothing, also when the database is gone."""
    try:
        session().remove()
    except Exception:
        log.exception("The database session could not be closed cleanly")
        session().registry.clear()


def send(signal: NamedSignal, **values: Any) -> None:
    """Send a signal outside a transaction; a receiver that raises is logged."""
    try:
        signal.send(app(), **values)
    except Exception:
        log.exception("A receiver of %s failed", signal.name)


def app() -> Flask:
    return cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]
