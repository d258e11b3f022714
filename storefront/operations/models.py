"""The tables of operations: audit notes, rejected webhooks, the worker's heartbeat. Times are naive UTC."""

from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy import Index, String, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from storefront.extensions import db


class AuditNote(db.Model):  # type: ignore[name-defined]
    """What an operator did or wrote about an order, a webhook event or an email. Rows are only ever added."""

    __tablename__ = "audit_notes"
    __table_args__ = (Index("ix_audit_notes_subject", "subject", "subject_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(320))  # an operator's email address, or "command line"
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(20))  # "order", "event", "email", "subscription" or "invoice"
    subject_id: Mapped[str] = mapped_column(String(300))  # an order's reference, else the row's id
    text: Mapped[str] = mapped_column(Text)
    # Made with the form: the INSERT decides that a second press of the same button does nothing.
    form_key: Mapped[str | None] = mapped_column(String(32), unique=True)


def _refuse(_mapper: Any, _connection: Any, _note: AuditNote) -> NoReturn:
    raise RuntimeError("audit notes are append-only")


event.listen(AuditNote, "before_update", _refuse)
event.listen(AuditNote, "before_delete", _refuse)


class RejectedWebhook(db.Model):  # type: ignore[name-defined]
    """A webhook that was rejected, and why: a few rows for each cause. Never the body, never a secret."""

    __tablename__ = "rejected_webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    cause: Mapped[str] = mapped_column(String(40), index=True)  # a key of webhook_diagnosis.CAUSES
    message: Mapped[str] = mapped_column(Text)
    count: Mapped[int]  # how many rejections the row stands for
    remote_addr: Mapped[str] = mapped_column(String(200))
    user_agent: Mapped[str] = mapped_column(String(200))
    message_id: Mapped[str] = mapped_column(String(200))
    body_bytes: Mapped[int]
    body_sha256: Mapped[str] = mapped_column(String(64))


class WorkerHeartbeat(db.Model):  # type: ignore[name-defined]
    """When a worker's loop last turned."""

    __tablename__ = "worker_heartbeats"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    beat_at: Mapped[datetime]
