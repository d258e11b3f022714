"""What a person asks who answers "I paid and got nothing", and the little they may do about it.

Nothing here moves an order: that is for `settle` and the lifecycle.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update

from storefront.extensions import db
from storefront.lifecycle import FOR_A_PERSON, OPEN, State
from storefront.models import Access, InboxMessage, Letter, OperatorNote, Order, Shopper
from storefront.orders import OPEN_TOO_LONG_AFTER

Row = TypeVar("Row")

ROWS = 25  # on a page
DELIVERY_TAKES = timedelta(minutes=1)  # a worker that lives needs a second


# -- finding ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    orders: list[Order]
    shoppers: list[Shopper]
    messages: list[InboxMessage]

    @property
    def nothing(self) -> bool:
        return not (self.orders or self.shoppers or self.messages)


def search(words: str) -> Found:
    """By e-mail, reference (whole, or its last characters), or any id of Flexprice's."""
    words = words.strip(" \t#…")
    if not words:
        return Found([], [], [])
    people = select(Shopper).where(_names(words)).order_by(Shopper.id.desc()).limit(ROWS)
    shoppers = list(db.session.scalars(people))
    ids = [shopper.id for shopper in shoppers]
    bought = select(Order).where(or_(_means_order(words), Order.shopper_id.in_(ids)))
    told = select(InboxMessage).where(or_(InboxMessage.id == words, InboxMessage.object_id == words))
    return Found(
        list(db.session.scalars(bought.order_by(Order.id.desc()).limit(2 * ROWS))),
        shoppers,
        list(db.session.scalars(told.order_by(InboxMessage.received_at.desc()).limit(ROWS))),
    )


def _names(words: str) -> ColumnElement[bool]:
    known = [Shopper.flexprice_id == words, Shopper.external_id == words]
    if "@" in words:
        known.append(Shopper.email.startswith(words.lower(), autoescape=True))
    return or_(*known)


def _means_order(words: str) -> ColumnElement[bool]:
    ids = (
        Order.session_id,
        Order.payment_id,
        Order.invoice_id,
        Order.invoice_number,
        Order.subscription_id,
    )
    meant = [column == words for column in ids]
    if re.fullmatch(r"[0-9a-fA-F]{6,32}", words):
        meant.append(Order.ref.endswith(words.lower(), autoescape=True))
    return or_(*meant)


# -- lists ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: list[Row]
    number: int
    more: bool


def page_of(query: Select[Row], number: int) -> Page[Row]:
    number = min(max(number, 1), 10_000)
    rows = list(db.session.scalars(query.offset((number - 1) * ROWS).limit(ROWS + 1)))
    return Page(rows[:ROWS], number, len(rows) > ROWS)


@dataclass(frozen=True)
class Reason:
    """Why an operator looks at an order."""

    title: str
    explained: str
    applies: Callable[[datetime], ColumnElement[bool]]


REASONS = {
    "to-decide": Reason(
        "Waiting for a decision",
        "Money came and nothing was delivered for it: not what was ordered, stuck, or paid twice.",
        lambda now: Order.state.in_(FOR_A_PERSON),
    ),
    "open-long": Reason(
        "Open too long",
        "Not paid for more than an hour, and not ended either. Flexprice is asked about each of them hourly.",
        lambda now: and_(Order.state.in_(OPEN), Order.created_at < now - OPEN_TOO_LONG_AFTER),
    ),
    "not-delivered": Reason(
        "Paid, not delivered",
        "Paid for more than a minute without the goods. Does the worker run?",
        lambda now: and_(Order.state == State.PAID, Order.paid_at < now - DELIVERY_TAKES),
    ),
    "flagged": Reason(
        "Flagged",
        "The shop noticed something about the order that a person should read.",
        lambda now: Order.flag.is_not(None),
    ),
    "paid-late": Reason(
        "Paid too late",
        "Money came after the order had ended. Flexprice sends it back; here you see whether it did.",
        lambda now: Order.state == State.PAID_LATE,
    ),
    "not-renewed": Reason(
        "Not renewed",
        "The paid period of the access is over by more than the grace, and Flexprice shows no new payment.",
        lambda now: Order.id.in_(
            select(Access.order_id).where(Access.overdue_since.is_not(None), Access.revoked_at.is_(None))
        ),
    ),
}


def orders_of(which: str, now: datetime, oldest_first: bool) -> Select[Order]:
    """`which`: a key of REASONS, a state, or anything else for all of them."""
    query = select(Order).order_by(Order.id.asc() if oldest_first else Order.id.desc())
    if which in REASONS:
        return query.where(REASONS[which].applies(now))
    return query.where(Order.state == which) if which in set(State) else query


def counts_by_state() -> dict[State, int]:
    found = dict(db.session.execute(select(Order.state, func.count()).group_by(Order.state)).all())
    return {state: found.get(state, 0) for state in State}


def counts_by_reason(now: datetime) -> dict[str, int]:
    return {
        name: db.session.scalar(select(func.count()).select_from(Order).where(reason.applies(now))) or 0
        for name, reason in REASONS.items()
    }


MESSAGES: dict[str, ColumnElement[bool]] = {
    "waiting": InboxMessage.handled_at.is_(None),
    "broken": and_(InboxMessage.handled_at.is_(None), InboxMessage.traceback.is_not(None)),
    "set-aside": InboxMessage.outcome.startswith("set aside"),
    "handled": InboxMessage.handled_at.is_not(None),
}


def messages_of(which: str, oldest_first: bool) -> Select[InboxMessage]:
    at = InboxMessage.received_at
    query = select(InboxMessage).order_by(at.asc() if oldest_first else at.desc(), InboxMessage.id)
    return query.where(MESSAGES[which]) if which in MESSAGES else query


LETTERS: dict[str, ColumnElement[bool]] = {
    "waiting": Letter.posted_at.is_(None),
    "failing": and_(Letter.posted_at.is_(None), Letter.error.is_not(None)),
    "posted": Letter.posted_at.is_not(None),
}


def letters_of(which: str, oldest_first: bool) -> Select[Letter]:
    query = select(Letter).order_by(Letter.id.asc() if oldest_first else Letter.id.desc())
    return query.where(LETTERS[which]) if which in LETTERS else query


def count(model: Any, condition: ColumnElement[bool]) -> int:
    return db.session.scalar(select(func.count()).select_from(model).where(condition)) or 0


# -- one order --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    at: datetime
    text: str
    tone: str = ""  # good, warn or bad
    message_id: str = ""
    who: str = ""  # the operator


@dataclass(frozen=True)
class Case:
    """An order and all that is known around it."""

    order: Order
    messages: list[InboxMessage]
    letters: list[Letter]
    accesses: list[Access]
    others: list[Order]
    notes: list[OperatorNote]

    def story(self) -> list[Moment]:
        """What happened, in order."""
        moments = [*_of_order(self.order)]
        moments += [
            Moment(message.received_at, f"Received: {message.event_type}", message_id=message.id)
            for message in self.messages
        ]
        for letter in self.letters:
            moments.append(Moment(letter.created_at, f"Letter written: {letter.subject}"))
            if letter.posted_at:
                moments.append(Moment(letter.posted_at, f"Letter posted: {letter.subject}", "good"))
        for access in self.accesses:
            moments.append(Moment(access.granted_at, f"Access to {access.plan_name} granted", "good"))
            if access.revoked_at:
                moments.append(Moment(access.revoked_at, f"Access to {access.plan_name} ended", "warn"))
        moments += [Moment(note.at, note.text, who=note.who) for note in self.notes]
        return sorted(moments, key=lambda moment: moment.at)


def _of_order(order: Order) -> Iterator[Moment]:
    when = (
        (order.created_at, "Order placed", ""),
        (order.opening_at, "Flexprice asked for a session", ""),
        (order.cancel_asked_at, "Shopper asked to cancel", "warn"),
        (order.asked_at, "A page last asked Flexprice", ""),
        (order.terms_checked_at, "Charged for what was ordered: checked", ""),
        (order.paid_at, "Paid", "good"),
        (order.fulfilled_at, "Goods delivered", "good"),
        (order.moved_at, f"Became {order.state.replace('_', ' ')}", ""),
    )
    return (Moment(at, text, tone) for at, text, tone in when if at)


def case(order: Order) -> Case:
    ids = [value for value in (order.session_id, order.payment_id, order.subscription_id) if value]
    about = or_(InboxMessage.object_id.in_(ids), InboxMessage.order_ref == order.ref)
    messages = select(InboxMessage).where(about).order_by(InboxMessage.received_at).limit(200)
    letters = select(Letter).where(Letter.order_id == order.id).order_by(Letter.id)
    accesses = select(Access).where(Access.shopper_id == order.shopper_id, Access.plan_id == order.plan_id)
    others = select(Order).where(Order.shopper_id == order.shopper_id, Order.id != order.id)
    return Case(
        order,
        list(db.session.scalars(messages)),
        list(db.session.scalars(letters)),
        list(db.session.scalars(accesses)),
        list(db.session.scalars(others.order_by(Order.id.desc()).limit(ROWS))),
        notes("order", order.ref),
    )


# -- what an operator does --------------------------------------------------------------------------


def note(who: str, subject: str, subject_id: str, text: str, now: datetime) -> None:
    """Kept for good, beside what it is about: order, message or letter."""
    db.session.add(OperatorNote(at=now, who=who, subject=subject, subject_id=subject_id, text=text))


def notes(subject: str, subject_id: str) -> list[OperatorNote]:
    found = select(OperatorNote).where(OperatorNote.subject == subject, OperatorNote.subject_id == subject_id)
    return list(db.session.scalars(found.order_by(OperatorNote.id)))


def said_last(who: str, subject: str, subject_id: str, text: str) -> bool:
    found = notes(subject, subject_id)
    return bool(found) and (found[-1].who, found[-1].text) == (who, text)


def clear_flag(order_id: int, flag: str) -> bool:
    """False when the flag is not the one the operator read."""
    result: Any = db.session.execute(
        update(Order).where(Order.id == order_id, Order.flag == flag).values(flag=None)
    )
    return bool(result.rowcount)
