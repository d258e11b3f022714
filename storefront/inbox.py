"""What Flexprice told us: stored once, claimed once."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, bindparam, case, or_, select, update

from storefront.database import beside_others, insert_or_ignore
from storefront.extensions import db
from storefront.flexprice import Event
from storefront.lifesigns import me, unclaimed
from storefront.models import InboxMessage

GAPS = [timedelta(seconds=s) for s in (1, 2, 5, 15, 60, 300, 600, 900)]
ASKED = "checkout.session.asked"  # our own note: a page saw a terminal answer (decision 14)
OWN_TEST = "msg_doctor_"  # what selftest.py sends: signed by the shop itself, it says nothing of Flexprice
HINTS = {
    "checkout.session": "checkout.session.hinted",
    "subscription": "subscription.hinted",
    "refund": "refund.hinted",
}
HINT_PAUSE = timedelta(seconds=5)  # between two questions about one thing, however many hints come


_INBOX: Any = InboxMessage.__table__
_DONE = (  # as `_let_go` does it, written once: it is said of every message
    update(_INBOX)
    .where(_INBOX.c.id == bindparam("of"), _INBOX.c.claimed_by == bindparam("holder"))
    .where(_INBOX.c.handled_at.is_(None), _INBOX.c.received_at <= bindparam("at"))
    .values(claimed_at=None, claimed_by=None, handled_at=bindparam("at"), outcome=bindparam("came"))
)


class LostClaim(Exception):
    """Another worker has taken the message over meanwhile; what was to be written is left to that one."""


def store(rows: Connection, message_id: str, event: Event, body: bytes, now: datetime) -> bool:
    """Keep a message; False when it is known already. Other people's data is not kept (decision 23)."""
    ours = event.type.startswith("checkout.session.")
    return insert_or_ignore(
        rows,
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


def hint(rows: Connection, event: Event, now: datetime) -> bool:
    """Unsigned news (contract E.5): remember only that there is something to ask Flexprice about.

    One row for each thing, asked about at most once in HINT_PAUSE however often somebody hints.
    True when the hint is not one the shop has no use for.
    """
    kind = HINTS.get(event.type.rpartition(".")[0])
    about = event.refund.payment_id if event.refund else event.object_id
    if kind is None or not about:
        return False
    key = f"hint:{kind}:{about}"[:255]
    new = insert_or_ignore(
        rows,
        InboxMessage,
        id=key,
        event_type=kind,
        object_id=about,
        customer_id="",
        received_at=now,
        next_try_at=now,
    )
    if not new:
        _hinted_again(rows, key, now)
    return True


def _hinted_again(rows: Connection, key: str, now: datetime) -> None:
    """A waiting hint notes the time only, so that a look under way is followed by another (see `done`)."""
    handled = InboxMessage.handled_at
    again_at = case(
        (handled.is_(None), InboxMessage.next_try_at),
        (handled > now - HINT_PAUSE, now + HINT_PAUSE),
        else_=now,
    )
    rows.execute(
        update(InboxMessage)
        .where(InboxMessage.id == key)
        .values(received_at=now, handled_at=None, next_try_at=again_at)
    )


def is_waiting(now: datetime) -> bool:
    return db.session.scalar(_due(now).limit(1)) is not None


def claim(now: datetime, most: int) -> list[InboxMessage]:
    """Messages that this worker alone may act on; as they are, apart from the session.

    By what they are about, of that the oldest first: whoever has news of the same orders comes to them in the
    same order, and two workers do not wait for each other.
    """
    ids = db.session.scalars(beside_others(_due(now).limit(most))).all()
    taken = (
        update(InboxMessage)
        .where(InboxMessage.id.in_(ids))
        .values(claimed_at=now, claimed_by=me(), attempts=InboxMessage.attempts + 1)
        .returning(InboxMessage)
    )
    found = db.session.scalars(taken, execution_options={"synchronize_session": False}).all() if ids else []
    for message in found:
        db.session.expunge(message)
    return sorted(found, key=lambda message: (message.object_id, ids.index(message.id)))


def _due(now: datetime) -> Select[str]:
    return (
        select(InboxMessage.id)
        .where(
            InboxMessage.handled_at.is_(None), InboxMessage.next_try_at <= now, unclaimed(InboxMessage, now)
        )
        .order_by(InboxMessage.next_try_at)
    )


def done(message: InboxMessage, outcome: str, now: datetime) -> None:
    """Raises LostClaim, and with it undoes what was written along."""
    said = {"of": message.id, "holder": me(), "at": now, "came": outcome}
    result: Any = db.session.execute(_DONE, said)
    if result.rowcount:
        return
    # A hint that came again while we looked: what was seen may be old.
    if not _let_go(message.id, next_try_at=now + HINT_PAUSE, outcome=outcome):
        raise LostClaim


def again(message: InboxMessage, why: str, now: datetime, traceback: str | None = None) -> None:
    gap = GAPS[min(message.attempts, len(GAPS)) - 1]
    if message.event_type in HINTS.values():
        gap = max(gap, HINT_PAUSE)
    broke = {"traceback": traceback} if traceback else {}
    _let_go(message.id, next_try_at=now + gap, outcome=why, **broke)


def once_more(message_id: str, attempts: int, now: datetime) -> bool:
    """Read it again now, handled or not. `attempts`: as the operator saw them; a second press finds more.

    What a message means is safe to repeat: every effect hangs on a row that can change only once.
    """
    result: Any = db.session.execute(
        update(InboxMessage)
        .where(InboxMessage.id == message_id, InboxMessage.attempts == attempts, unclaimed(InboxMessage, now))
        .values(handled_at=None, claimed_at=None, claimed_by=None, next_try_at=now)
    )
    return bool(result.rowcount)


def last_signed_at() -> datetime | None:
    """When the newest message came that one of our secrets opened."""
    other = or_(
        InboxMessage.event_type.in_([ASKED, *HINTS.values()]),  # our own notes, and hints
        InboxMessage.id.startswith(OWN_TEST, autoescape=True),
    )
    newest = select(InboxMessage.received_at).where(~other).order_by(InboxMessage.received_at.desc())
    return db.session.scalar(newest.limit(1))


def give_back(worker: str) -> None:
    """Whoever claimed these cannot go on; they are free at once."""
    db.session.execute(
        update(InboxMessage)
        .where(InboxMessage.claimed_by == worker, InboxMessage.handled_at.is_(None))
        .values(claimed_at=None, claimed_by=None)
    )


def _let_go(message_id: str, **values: Any) -> bool:
    """Nobody but its holder may say what became of a message."""
    statement = (
        update(InboxMessage)
        .where(InboxMessage.id == message_id, InboxMessage.claimed_by == me())
        .where(InboxMessage.handled_at.is_(None))
        .values(claimed_at=None, claimed_by=None, **values)
    )
    result: Any = db.session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount)
