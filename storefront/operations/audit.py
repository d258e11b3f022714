"""The audit trail: who did what, written in the transaction of the action."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from storefront.checkout.context import db_now, rollback
from storefront.extensions import db
from storefront.operations.models import AuditNote

COMMAND_LINE = "command line"


def add(who: str, action: str, subject: str, subject_id: str, text: str, form_key: str | None = None) -> bool:
    """Add a note to the current transaction.

    :param subject: "order", "event", "email", "subscription" or "invoice".
    :param form_key: of the form that was sent.
    :returns: False when this form was sent before: then the transaction is rolled back.
    """
    note = AuditNote(
        at=db_now(), who=who[:320], action=action, subject=subject, subject_id=subject_id, text=text,
        form_key=form_key,
    )  # fmt: skip
    try:
        db.session.add(note)
        db.session.flush()
    except IntegrityError:
        rollback()
        return False
    return True


def notes(subject: str, subject_id: str) -> list[AuditNote]:
    """All that was written about one thing, the oldest first."""
    about = AuditNote.subject == subject, AuditNote.subject_id == subject_id
    return list(db.session.scalars(select(AuditNote).where(*about).order_by(AuditNote.id)))
