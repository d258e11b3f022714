"""What Flexprice told us: stored once, claimed once."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update

from storefront.database import insert_or_ignore
from storefront.extensions import db
from storefront.flexprice import Event
from storefront.models import InboxMessage

CLAIM_LASTS = timedelta(seconds=90)  # a worker that died is not waited for any longer
GAPS = [timedelta(seconds=s) for s in (1, 2, 5, 15, 60, 300, 600, 900)]
ASKED = "checkout.session.asked"  # our own note: a page saw a terminal answer (decision 14)


def store(message_id: str, event: Event, body: bytes, now: datetime) -> bool:
    """Keep a message; False when it is known already. Other people's data is not kept (decision 23)."""
    ours = event.type.startswith("checkout.session.")
    return insert_or_ignore(
        db.session,
        InboxMessage,
        id=message_id,
        event_type=event.type,
        object_id=event.refund.payment_id if event.refund else event.object_id,
        customer_id=event.customer_id,
        order_ref=event.order_ref,
        body=body.decode() if ours else None,
        received_at=now,
        next_try_at=now,
    )


def note_answer(session_id: str, status: str, now: datetime) -> bool:
    """A page asked and saw a terminal status: let the worker settle it."""
    return insert_or_ignore(
        db.session,
        InboxMessage,
        id=f"asked:{session_id}:{status}",
        event_type=ASKED,
        object_id=session_id,
        customer_id="",
        received_at=now,
        next_try_at=now,
    )


def next_message(now: datetime) -> InboxMessage | None:
    return db.session.scalar(
        select(InboxMessage)
        .where(InboxMessage.handled_at.is_(None), InboxMessage.next_try_at <= now, _unclaimed(now))
        .order_by(InboxMessage.next_try_at)
        .limit(1)
    )


def claim(message_id: str, now: datetime) -> bool:
    """True for the one worker that may act on the message."""
    return _update(message_id, _unclaimed(now), claimed_at=now, attempts=InboxMessage.attempts + 1)


def done(message: InboxMessage, outcome: str, now: datetime) -> None:
    _update(message.id, claimed_at=None, handled_at=now, outcome=outcome)


def again(message: InboxMessage, why: str, now: datetime) -> None:
    gap = GAPS[min(message.attempts, len(GAPS)) - 1]
    _update(message.id, claimed_at=None, next_try_at=now + gap, outcome=why)


def _unclaimed(now: datetime) -> Any:
    return or_(InboxMessage.claimed_at.is_(None), InboxMessage.claimed_at < now - CLAIM_LASTS)


def _update(message_id: str, *conditions: Any, **values: Any) -> bool:
    statement = (
        update(InboxMessage)
        .where(InboxMessage.id == message_id, InboxMessage.handled_at.is_(None), *conditions)
        .values(**values)
    )
    result: Any = db.session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount)
