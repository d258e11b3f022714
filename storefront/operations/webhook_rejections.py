"""Records rejected webhooks and why, for the operator and the log.

A few rows are kept of each cause and at most one a second is written for each reason: a flood of forged
webhooks fills no disk and costs little more than rejecting it.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from storefront.checkout.context import checkout, commit, db_now, rollback
from storefront.checkout.signals import webhook_rejected
from storefront.extensions import db
from storefront.flexprice import InvalidSignature
from storefront.models import WebhookEvent
from storefront.operations.models import RejectedWebhook
from storefront.operations.webhook_diagnosis import Diagnosis, diagnose

log = logging.getLogger(__name__)

KEPT_PER_CAUSE = 50  # rows; the oldest are deleted
WRITE_INTERVAL = timedelta(seconds=1)  # between two rows for one reason; rejections in between are counted
TRUSTED_FOR = timedelta(days=1)  # how long a verified webhook speaks for the secret
MISMATCHES = ("reencoded", "altered", "other_secret")
SELF_TEST = "msg_preflight_"  # how the message ids of the self test begin


class RateLimitedRecorder:
    """Who may write a row now. Diagnosing costs more than rejecting does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[str, datetime] = {}
        self._waiting: dict[str, int] = {}

    def acquire(self, reason: str, now: datetime) -> int:
        """How many rejections the row stands for; 0 when it is too early for one."""
        with self._lock:
            self._waiting[reason] = self._waiting.get(reason, 0) + 1
            if now < self._next.get(reason, now):
                return 0
            self._next[reason] = now + WRITE_INTERVAL
            return self._waiting.pop(reason)

    def release(self, reason: str, count: int) -> None:
        """The row could not be written: the next one stands for these too."""
        with self._lock:
            self._waiting[reason] = self._waiting.get(reason, 0) + count


def init_app(app: Flask) -> None:
    app.extensions["webhook_rejections"] = RateLimitedRecorder()
    webhook_rejected.connect(record, app)


def record(app: Flask, error: Exception, body: bytes, headers: Mapping[str, str], remote_addr: str) -> None:
    """Receive `webhook_rejected`: log the cause, and now and then write a row."""
    recorder: RateLimitedRecorder = app.extensions["webhook_rejections"]
    reason, count = error.reason if isinstance(error, InvalidSignature) else "not_an_event", 0
    try:
        now = db_now()
        count = recorder.acquire(reason, now)
        if count:
            _record(error, body, headers, remote_addr, now, count)
    except SQLAlchemyError as trouble:
        rollback()
        log.warning("The rejection (%s) was not recorded: %s", reason, type(trouble).__name__)
        recorder.release(reason, count or 1)


def _record(
    error: Exception, body: bytes, headers: Mapping[str, str], remote_addr: str, now: datetime, count: int
) -> None:
    found = cause_of(error, body, headers, now)
    log.warning("Webhook rejected: %s: %s", found.cause, found.message)
    db.session.add(
        RejectedWebhook(
            at=now,
            cause=found.cause,
            message=found.message,
            count=count,
            remote_addr=_printable(remote_addr),
            user_agent=_printable(headers.get("user-agent")),
            message_id=_printable(headers.get("svix-id") or headers.get("webhook-id")),
            body_bytes=len(body),
            body_sha256=hashlib.sha256(body).hexdigest(),
        )
    )
    db.session.flush()
    _delete_oldest(found.cause)
    commit()


def cause_of(error: Exception, body: bytes, headers: Mapping[str, str], now: datetime) -> Diagnosis:
    """Diagnose a rejection by what was accepted before."""
    if not isinstance(error, InvalidSignature):
        return Diagnosis("not_an_event", f"Authentic, but not an event: {error}.")
    return diagnose(checkout().verifier, body, headers, error, last_verified_at(now))


def last_verified_at(now: datetime) -> datetime | None:
    """When a webhook was last verified, if that was within a day and none failed to since."""
    signed = WebhookEvent.signed.is_(True) & ~WebhookEvent.id.startswith(SELF_TEST, autoescape=True)
    verified = db.session.scalar(select(func.max(WebhookEvent.received_at)).where(signed))
    genuine = ~RejectedWebhook.message_id.startswith(SELF_TEST, autoescape=True)
    mismatch = RejectedWebhook.cause.in_(MISMATCHES) & genuine
    failed = db.session.scalar(select(func.max(RejectedWebhook.at)).where(mismatch))
    if verified is None or now - verified > TRUSTED_FOR or (failed and failed > verified):
        return None
    return verified


def _delete_oldest(cause: str) -> None:
    of_cause = select(RejectedWebhook.id).where(RejectedWebhook.cause == cause)
    oldest = db.session.scalar(of_cause.order_by(RejectedWebhook.id.desc()).offset(KEPT_PER_CAUSE).limit(1))
    if oldest:
        outdated: Any = RejectedWebhook.cause == cause, RejectedWebhook.id <= oldest
        db.session.execute(delete(RejectedWebhook).where(*outdated))


def _printable(value: str | None) -> str:
    """The sender chose these words: they end up in a log and on a page."""
    return re.sub(r"[^ -~]", "?", value or "")[:200]


def latest(limit: int = 200) -> list[RejectedWebhook]:
    """The newest first."""
    return list(db.session.scalars(select(RejectedWebhook).order_by(RejectedWebhook.id.desc()).limit(limit)))


def by_cause() -> list[tuple[str, int, datetime]]:
    """Each cause with how many were rejected for it, of the rows still kept, and when last."""
    last_at = func.max(RejectedWebhook.at)
    counted = select(RejectedWebhook.cause, func.sum(RejectedWebhook.count), last_at)
    rows = db.session.execute(counted.group_by(RejectedWebhook.cause).order_by(last_at.desc()))
    return [(cause, int(count), at) for cause, count, at in rows]
