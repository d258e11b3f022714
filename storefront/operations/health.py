"""/healthz: for load balancers, and for the person who wonders why nothing is fulfilled."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, cast

from flask import Blueprint, Flask, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from storefront.checkout.context import db_now, release
from storefront.extensions import db
from storefront.models import Order, WebhookEvent
from storefront.operations import emails, heartbeat

log = logging.getLogger(__name__)
bp = Blueprint("health", __name__)

ANSWER_WITHIN_S = 1.0
EMAILS_LATE_AFTER = timedelta(minutes=5)  # some mail servers take an email at its second attempt only
EMAILS_STUCK = "stuck: none was sent for minutes, and some wait"


@bp.get("/healthz")
def check() -> ResponseReturnValue:
    """503 when the database does not answer within a second.

    A missing worker and emails that are stuck are "degraded", and no 503: pages and webhooks work.
    """
    try:
        return probe().report()
    except (SQLAlchemyError, NotInTime) as error:
        log.warning("The database does not answer: %s", type(error).__name__)
        return {"status": "unavailable", "database": "does not answer", "worker": "unknown"}, 503


class Probe:
    """Asks the database in a thread of its own: a frozen server must not hold the page.

    At most one question is under way in a process, however often the page is asked for.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._asked: Future[dict[str, Any]] | None = None

    def report(self) -> dict[str, Any]:
        """What the database says.

        :raises SQLAlchemyError: it does not work.
        :raises TimeoutError: it has not answered in time.
        """
        with self._lock:
            if self._asked is None or self._asked.done():
                self._pool = self._pool or ThreadPoolExecutor(1, "health")
                self._asked = self._pool.submit(self._ask)
            asked = self._asked
        return asked.result(ANSWER_WITHIN_S)

    def _ask(self) -> dict[str, Any]:
        with self._app.app_context():
            try:
                return read()
            finally:
                release()


def init_app(app: Flask) -> None:
    app.extensions["health_probe"] = Probe(app)
    app.register_blueprint(bp)


def probe() -> Probe:
    return cast(Probe, current_app.extensions["health_probe"])


def read() -> dict[str, Any]:
    """The state of the shop, from its rows; ages in seconds, None when nothing is due."""
    now, beat_at = db_now(), heartbeat.last()
    alive = beat_at is not None and now - beat_at < heartbeat.MISSING_AFTER
    oldest_email = oldest_due(emails.Email, now) if emails.in_use() else None
    stuck = emails.in_use() and emails_are_stuck(now, oldest_email)
    return {
        "status": "ok" if alive and not stuck else "degraded",
        "database": "ok",
        "worker": "ok" if alive else "heartbeat missing: nothing is fulfilled",
        "emails": EMAILS_STUCK if stuck else "ok",
        "worker_last_turn_s": _age_s(beat_at, now),
        "oldest_due_event_s": _age_s(oldest_due(WebhookEvent, now), now),
        "oldest_due_order_s": _age_s(oldest_due(Order, now), now),
        "oldest_due_email_s": _age_s(oldest_email, now),
    }


def oldest_due(model: Any, now: datetime) -> datetime | None:
    """Since when the row that is due for the longest time is due."""
    return db.session.scalar(select(func.min(model.next_attempt_at)).where(model.next_attempt_at <= now))


def emails_are_stuck(now: datetime, due_since: datetime | None) -> bool:
    """Whether nothing takes up what is due, or emails have waited for minutes and none was sent.

    One recipient who is refused for days is no reason while other emails are sent.
    """
    if due_since and now - due_since > heartbeat.MISSING_AFTER:
        return True
    Email, late = emails.Email, now - EMAILS_LATE_AFTER
    waits = select(Email.id).where(Email.next_attempt_at.is_not(None), Email.created_at < late)
    sent = select(Email.id).where(Email.sent_at >= late)
    return _any(waits) and not _any(sent)


def _any(query: Any) -> bool:
    return db.session.scalar(query.limit(1)) is not None


def _age_s(since: datetime | None, now: datetime) -> float | None:
    return round(max((now - since).total_seconds(), 0.0), 1) if since else None
