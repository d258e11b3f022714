"""Which webhooks are let in, and which were refused lately and why.

Few rows are kept of each cause: a flood of forgeries fills no disk and costs no more than refusing it.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from flask import current_app
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from storefront import inbox
from storefront.database import DatabaseBusy, writing
from storefront.extensions import db, shared_header, verifier
from storefront.flexprice import BadSignature, Finding, diagnose, is_signed
from storefront.models import Refusal

log = logging.getLogger(__name__)

KEPT = 50  # rows of each cause; the oldest go
PAUSE = timedelta(seconds=1)  # between two rows for one reason; what comes meanwhile is only counted
TRUSTED_FOR = timedelta(days=1)  # how long a message that opened speaks for the secret
MISMATCHES = ("reencoded", "altered", "other_secret")


class Turns:
    """Who may write a row now. Diagnosing costs more than refusing does: a flood must not pay for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[str, datetime] = {}
        self._waiting: dict[str, int] = {}

    def take(self, reason: str, now: datetime) -> int:
        """How many refusals the row stands for; 0 when it is not time for one."""
        with self._lock:
            self._waiting[reason] = self._waiting.get(reason, 0) + 1
            if now < self._next.get(reason, now):
                return 0
            self._next[reason] = now + PAUSE
            return self._waiting.pop(reason)

    def give_back(self, reason: str, count: int) -> None:
        with self._lock:
            self._waiting[reason] = self._waiting.get(reason, 0) + count


def turns() -> Turns:
    return cast(Turns, current_app.extensions["turns"])


@dataclass(frozen=True)
class Delivery:
    """What came to the door. Header names in lower case."""

    body: bytes
    headers: Mapping[str, str]
    sender: str
    at: datetime


def admit(delivery: Delivery) -> str | None:
    """The id of a signed message; None for a hint: not signed, but with the header that was agreed upon.

    Raises BadSignature.
    """
    secrets, shared = verifier(), shared_header()
    if secrets and (shared is None or is_signed(delivery.headers)):
        return secrets.verify(delivery.body, delivery.headers, delivery.at)
    if shared is None or not shared.sent_with(delivery.headers):
        raise BadSignature("shared_header")
    return None


def note(refusal: BadSignature, delivery: Delivery) -> None:
    """Say in the log what was wrong, and now and then in a row. Never the body, never a secret."""
    count = turns().take(refusal.reason, delivery.at)
    if not count:
        log.warning("webhook refused: %s", refusal.reason)
        return
    with _kept_for_later(refusal.reason, count):
        finding = diagnose(verifier(), delivery.body, delivery.headers, refusal, opened_at(delivery.at))
        log.warning("webhook refused: %s: %s", finding.cause, finding.says)
        _write(finding, count, delivery)


def note_unreadable(why: Exception, delivery: Delivery) -> None:
    """From Flexprice, but nothing the shop can read."""
    log.warning("webhook refused: let in, but %s", why)
    if count := turns().take("not_an_event", delivery.at):
        with _kept_for_later("not_an_event", count):
            _write(Finding("not_an_event", f"Let in, but not an event: {why}."), count, delivery)


@contextmanager
def _kept_for_later(reason: str, count: int) -> Iterator[None]:
    """The refusal stands, whatever becomes of its row."""
    try:
        yield
    except (DatabaseBusy, SQLAlchemyError) as error:
        db.session.rollback()
        log.warning("webhook refused: %s, not written down: %s", reason, type(error).__name__)
        turns().give_back(reason, count)


def opened_at(now: datetime) -> datetime | None:
    """When a message last opened, if that was lately and none has failed to since."""
    opened = inbox.last_signed_at()
    mismatch = Refusal.cause.in_(MISMATCHES) & ~Refusal.message_id.startswith(inbox.OWN_TEST, autoescape=True)
    failed = db.session.scalar(select(func.max(Refusal.at)).where(mismatch))
    if opened is None or now - opened > TRUSTED_FOR or (failed and failed > opened):
        return None
    return opened


def _write(finding: Finding, count: int, delivery: Delivery) -> None:
    headers = delivery.headers
    with writing() as session:
        session.add(
            Refusal(
                at=delivery.at,
                cause=finding.cause,
                says=finding.says,
                count=count,
                sender=_printable(delivery.sender),
                agent=_printable(headers.get("user-agent")),
                message_id=_printable(headers.get("svix-id") or headers.get("webhook-id")),
                body_bytes=len(delivery.body),
                body_sha256=hashlib.sha256(delivery.body).hexdigest(),
            )
        )
        session.flush()
        of_cause = select(Refusal.id).where(Refusal.cause == finding.cause).order_by(Refusal.id.desc())
        oldest = session.scalar(of_cause.offset(KEPT).limit(1))
        if oldest:
            session.execute(delete(Refusal).where(Refusal.cause == finding.cause, Refusal.id <= oldest))


def _printable(value: str | None) -> str:
    """Whoever calls chose these words: they end up in a log and on a page."""
    return re.sub(r"[^ -~]", "?", value or "")[:200]


def latest(limit: int = 200) -> list[Refusal]:
    return list(db.session.scalars(select(Refusal).order_by(Refusal.id.desc()).limit(limit)))


def by_cause() -> list[tuple[str, int, datetime]]:
    """Each cause with how many were refused for it, of those still kept, and when last."""
    rows = (
        select(Refusal.cause, func.sum(Refusal.count), func.max(Refusal.at))
        .group_by(Refusal.cause)
        .order_by(func.max(Refusal.at).desc())
    )
    return [(cause, int(count), at) for cause, count, at in db.session.execute(rows)]
