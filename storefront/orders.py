"""What was bought: place an order, open its session, let news move it."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, case, literal_column, or_, select, update
from sqlalchemy.orm import lazyload
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql.dml import ReturningUpdate

from storefront.catalog import Offer
from storefront.database import beside_others, hold, insert_or_ignore
from storefront.extensions import db
from storefront.flexprice import CheckoutSession
from storefront.lifecycle import OPEN, Fact, State, moves
from storefront.lifesigns import me
from storefront.models import Access, Order, Shopper, random_key

log = logging.getLogger(__name__)

# Sentences for the operator.
OPEN_TOO_LONG = "Open for more than an hour; it is asked about hourly"
LOST = "The answer was lost; Flexprice knows of no payment"
FLAGS = {  # what a move by these facts is flagged with
    Fact.PAYMENT_STRANDED: "Paid, but the session did not complete: fulfil or refund it by hand",
    Fact.COMPLETION_UNDONE: "Paid and completed, but overwritten since: fulfil or refund it by hand",
}
UNTRUE_WHEN = {Fact.PAYMENT_COMPLETED: (LOST, *FLAGS.values())}  # how the flags begin that it takes back
OPEN_TOO_LONG_AFTER = timedelta(hours=1)  # decision 15
LOST_AFTER = timedelta(seconds=40)  # longer than the create call waits: no answer by then is no answer
ASK_AT_MOST_EVERY = timedelta(seconds=3)  # shop → Flexprice, per order, however many tabs poll

BOUGHT = (State.PAID, State.HELD, State.STUCK)  # paid for, and not yet theirs
_IS_PAID = Order.state == literal_column("'paid'")  # word for word: only so its index is used

Glance = Row[Any]  # an order as it stands in its row
# No page shows them.
_LOOKED_AFTER = ("next_ask_at", "asked_at", "next_look_at", "looked_at", "looked_by", "looks")
_ORDERS: Any = Order.__table__
_ROWS, _BUYERS = _ORDERS.c, Shopper.__table__.c
_GLANCE = (
    select(_ROWS.next_ask_at, *(column for column in _ROWS if column.name not in _LOOKED_AFTER))
    .join(Shopper.__table__, _BUYERS.id == _ROWS.shopper_id)
    .where(_ROWS.ref == bindparam("of"), _BUYERS.session_key == bindparam("by"))
)
_BY_REF = select(Order).where(Order.ref == bindparam("of"))
_WITHOUT_SHOPPER = _BY_REF.options(lazyload(Order.shopper))  # the worker seldom asks whose it is
_HELD = _WITHOUT_SHOPPER.with_for_update(key_share=True)  # SQLite leaves this out
_REF_BY_SESSION = select(_ROWS.ref).where(_ROWS.session_id == bindparam("of"))
_WHICH = (
    _ROWS.shopper_id == bindparam("shopper"),
    _ROWS.plan_id == bindparam("plan"),
    _ROWS.state.in_(bindparam("states", expanding=True)),
)
_OF_PLAN = select(Order).where(*_WHICH).order_by(_ROWS.id.desc()).limit(1)  # the newest
_STATES_OF_PLAN = select(_ROWS.state, _ROWS.id).where(*_WHICH)
_MOVED_OF_PLAN = select(_ROWS.moved_at).where(*_WHICH).order_by(_ROWS.id.desc()).limit(1)
_ACCESS = select(Access).where(Access.shopper_id == bindparam("shopper"), Access.plan_id == bindparam("plan"))
_ACCESS_TO_CHANGE = _ACCESS.with_for_update(key_share=True)  # SQLite leaves this out
_THESE = (
    select(Order).where(Order.id.in_(bindparam("ids", expanding=True))).order_by(Order.shopper_id, Order.id)
)
_ANY_DUE = select(_ROWS.id).where(_ROWS.next_look_at <= bindparam("now")).limit(1)
_DUE = select(Order).where(Order.next_look_at <= bindparam("now")).order_by(Order.next_look_at)
_PAID_AND_DUE = beside_others(_DUE.where(_IS_PAID).limit(bindparam("most")))
_ONE_DUE = beside_others(_DUE.limit(1))


class AlreadyYours(Exception):
    """The shopper has this plan, or has paid for it a moment ago."""


class AlreadyPaid(Exception):
    """The shopper has paid for this plan, and a person is looking at why it is not theirs yet."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.ref)
        self.order = order


class AnotherOfferOpen(Exception):
    """The plan has an open payment for another period, currency or price."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.ref)
        self.order = order


def place(shopper_id: int, offer: Offer, now: datetime, opening: bool = False) -> tuple[Order, bool]:
    """The open order for this offer, and whether it is a new one; whoever raises undoes what was written.

    With `opening` whoever makes a new one is also who may ask for its session (see claim_opening).
    Raises AlreadyYours, AlreadyPaid, AnotherOfferOpen.
    """
    hold(Shopper, shopper_id)
    ref = random_key()
    new = insert_or_ignore(
        db.session,
        Order,
        ref=ref,
        shopper_id=shopper_id,
        plan_id=offer.plan_id,
        plan_name=offer.plan_name,
        currency=offer.currency,
        billing_period=offer.billing_period,
        amount=offer.amount,
        created_at=now,
        **(_being_opened(now) if opening else {}),
    )
    # Not before: an order that was open until now, and so kept no place free, may have been paid since.
    found = db.session.execute(_STATES_OF_PLAN, _which(shopper_id, offer.plan_id, *BOUGHT))
    paid = {state: order_id for state, order_id in found}  # noqa: C416 (rows are no pairs to mypy)
    if State.PAID in paid or _has_access(shopper_id, offer.plan_id, now):
        raise AlreadyYours
    if paid:
        raise AlreadyPaid(db.session.get_one(Order, max(paid.values())))
    if new:
        log.info("order %s placed: %s, %s %s", ref, offer.plan_name, offer.amount, offer.currency)
        return db.session.scalars(_BY_REF, {"of": ref}).one(), True
    # A second click, or a second tab.
    first = db.session.scalars(_OF_PLAN, _which(shopper_id, offer.plan_id, *OPEN)).first()
    return (_same_offer(first, offer), False) if first else place(shopper_id, offer, now, opening)


def access_to(shopper_id: int, plan_id: str, to_change: bool = False) -> Access | None:
    """`to_change`: nobody else does meanwhile, such as the news that what was bought before has ended."""
    of = {"shopper": shopper_id, "plan": plan_id}
    return db.session.scalar(_ACCESS_TO_CHANGE if to_change else _ACCESS, of)


def _has_access(shopper_id: int, plan_id: str, now: datetime) -> bool:
    access = access_to(shopper_id, plan_id)
    return bool(access and access.active_at(now))


def _which(shopper_id: int, plan_id: str, *states: State) -> dict[str, Any]:
    return {"shopper": shopper_id, "plan": plan_id, "states": states}


def _same_offer(order: Order, offer: Offer) -> Order:
    if (order.currency, order.billing_period) != (offer.currency, offer.billing_period):
        raise AnotherOfferOpen(order)
    if order.amount != offer.amount and not _reprice(order, offer):
        raise AnotherOfferOpen(order)
    return order


def _reprice(order: Order, offer: Offer) -> bool:
    """The price changed since the first click. While no link exists, today's counts."""
    return _changed(
        update(Order)
        .where(Order.id == order.id, Order.state == State.PLACED, Order.opening_at.is_(None))
        .values(amount=offer.amount)
    )


def mismatch_seen_at(shopper_id: int, plan_id: str) -> datetime | None:
    """When the shopper's order was found to charge something else: prices read before that are old."""
    differed = _which(shopper_id, plan_id, State.MISMATCHED, State.HELD, State.REFUNDED)
    return db.session.scalar(_MOVED_OF_PLAN, differed)


def find(ref: str, shopper: Shopper) -> Order | None:
    """Another shopper's order is not found, exactly like one that never was."""
    return db.session.scalar(select(Order).where(Order.ref == ref, Order.shopper_id == shopper.id))


def glance(ref: str, session_key: str) -> Glance | None:
    """The shopper's order for a page that asks again and again: one query, found alike by nobody else."""
    with db.engine.connect() as connection:
        connection.execution_options(one_question=True)
        return connection.execute(_GLANCE, {"of": ref, "by": session_key}).first()


def shown(order: Glance) -> tuple[Any, ...]:
    """What a page may show of it: it changes whenever the order does."""
    return order[1:]


def of_shopper(shopper: Shopper) -> list[Order]:
    orders = select(Order).where(Order.shopper_id == shopper.id).order_by(Order.id.desc())
    return list(db.session.scalars(orders))


def claim_opening(order_id: int, now: datetime) -> bool:
    """True for the one caller who may ask Flexprice for a session (decision 6)."""
    return _changed(
        update(Order)
        .where(Order.id == order_id, Order.state == State.PLACED)
        .where(Order.opening_at.is_(None), Order.session_id.is_(None))
        .values(**_being_opened(now))
    )


def _being_opened(now: datetime) -> dict[str, Any]:
    return {"opening_at": now, "next_look_at": now + LOST_AFTER, "looks": 0}


def release_opening(order_id: int) -> None:
    """Flexprice answered that nothing was opened, or was never reached: the same key may be used again.

    Unless the order was found to be paid all the same: then it is to be looked after.
    """
    db.session.execute(
        update(Order)
        .where(Order.id == order_id, Order.state == State.PLACED)
        .values(opening_at=None, next_look_at=None)
    )


def session_opened(order_id: int, session: CheckoutSession, now: datetime) -> Order:
    """Keep what Flexprice says of the session, beside the order; of one that has another session, nothing."""
    said = {
        "session_id": session.id,
        "customer_id": session.customer_id,
        "payment_url": session.payment_url,
        "expires_at": session.expires_at,
        "invoice_id": session.invoice_id,
        "payment_id": session.payment_id,
    }
    known = {name: value for name, value in said.items() if value is not None}
    opened = select(Order).from_statement(_moving(Fact.SESSION_OPENED, tuple(known)))
    as_it_is = {"populate_existing": True}
    order: Order | None = db.session.scalar(opened, _said(order_id, now, known), execution_options=as_it_is)
    if order:
        _note(order, Fact.SESSION_OPENED)
    else:  # known already, paid, or given up: then the worker withdraws the link
        has_none_other = or_(Order.session_id.is_(None), Order.session_id == session.id)
        kept = update(Order).where(Order.id == order_id, has_none_other).values(**known, next_look_at=now)
        ours = _changed(kept)
        order = db.session.get_one(Order, order_id, populate_existing=True)
        if not ours:
            log.error("order %s has session %s: %s is left alone", order.ref, order.session_id, session.id)
    return order


def know_records(order: Order, session: CheckoutSession) -> None:
    """Under which ids Flexprice keeps the sale; a session tells them as soon as they exist."""
    if session.invoice_id and session.invoice_id != order.invoice_id:
        order.invoice_id = session.invoice_id
    if session.payment_id and session.payment_id != order.payment_id:
        order.payment_id = session.payment_id


def advance(order: Order, fact: Fact, now: datetime, **values: Any) -> bool:
    """Move the order; True when *this call* moved it. Every side effect hangs on that True."""
    if db.session.dirty:
        db.session.flush()  # what was learnt of it; what was granted to others can wait for the commit
    row = db.session.execute(_moving(fact, tuple(values)), _said(order.id, now, values)).first()
    if row is None:
        db.session.refresh(order)
        log.info("order %s stays %s: %s is old news", order.ref, order.state, fact)
        return False
    for name, value in row._mapping.items():  # as it is now, whoever else changed it
        set_committed_value(order, name, value)
    _note(order, fact)
    return True


def _said(order_id: int, now: datetime, values: dict[str, Any]) -> dict[str, Any]:
    return {"of": order_id, "at": now} | {f"new_{name}": value for name, value in values.items()}


def _note(order: Order, fact: Fact) -> None:
    log.info("order %s %s: %s (session %s)", order.ref, order.state, fact, order.session_id)


@cache
def _moving(fact: Fact, named: tuple[str, ...]) -> ReturningUpdate[Any]:
    """Written once for each fact, and without the ORM, which costs more than the move: a sale moves twice."""
    table = moves(fact)
    return (
        update(_ORDERS)
        .where(_ROWS.id == bindparam("of"), _ROWS.state.in_(table))
        .values(
            state=case({str(old): str(new) for old, new in table.items()}, value=_ROWS.state),
            moved_at=bindparam("at"),
            next_look_at=bindparam("at"),  # the worker looks after every move at once, then by its own gaps
            looks=0,
            **{"flag": FLAGS.get(fact, case((_untrue(fact), None), else_=_ROWS.flag))}
            | {name: bindparam(f"new_{name}") for name in named},
        )
        .returning(*_ROWS)
    )


def _untrue(fact: Fact) -> ColumnElement[bool]:
    """Is what its flag says so no more? Asked in the statement: the flag may be another one by now."""
    taken_back = (_ROWS.flag.startswith(words, autoescape=True) for words in UNTRUE_WHEN.get(fact, ()))
    return or_(_ROWS.flag == OPEN_TOO_LONG, *taken_back)


def look_again(order_id: int, seen: State, when: datetime) -> None:
    """Unless it has left the state it was seen in: whatever moves an order gives it its turn at once."""
    db.session.execute(
        update(Order).where(Order.id == order_id, Order.state == seen).values(next_look_at=when)
    )


def rest(order_id: int, planned: datetime | None) -> None:
    """No look is planned any more; but one that was asked for since is had, and so is one after a move."""
    db.session.execute(
        update(Order).where(Order.id == order_id, Order.next_look_at == planned).values(next_look_at=None)
    )


def ref_by_session(session_id: str) -> str | None:
    ref: str | None = db.session.scalar(_REF_BY_SESSION, {"of": session_id})
    return ref


def by_session(session_id: str) -> Order | None:
    return db.session.scalar(select(Order).where(Order.session_id == session_id))


def by_ref(ref: str) -> Order | None:
    return db.session.scalar(_WITHOUT_SHOPPER, {"of": ref})


def held(ref: str) -> Order | None:
    """As it stays until we commit, for whoever writes something on the strength of its state or its flag."""
    return db.session.scalar(_HELD, {"of": ref}, execution_options={"populate_existing": True})


def by_payment(payment_id: str) -> Order | None:
    return db.session.scalar(select(Order).where(Order.payment_id == payment_id))


def ask_cancel(order_id: int, now: datetime) -> None:
    """Remember who ends it: the news of the end may come before the answer to our call."""
    db.session.execute(
        update(Order).where(Order.id == order_id, Order.cancel_asked_at.is_(None)).values(cancel_asked_at=now)
    )


def take_back_cancel(order_id: int, asked_at: datetime) -> None:
    """Nothing came of it. What another tab has asked for stands."""
    db.session.execute(
        update(Order)
        .where(Order.id == order_id, Order.cancel_asked_at == asked_at)
        .values(cancel_asked_at=None)
    )


def look_now(order_id: int, now: datetime) -> None:
    """Whatever is owed to the order, the worker sees to it in its next pass."""
    db.session.execute(update(Order).where(Order.id == order_id).values(next_look_at=now))


def look_soon(order: Order, now: datetime) -> None:
    """Something was heard of an order whose answer was lost: the worker need not wait for its gap."""
    db.session.execute(
        update(Order)
        .where(Order.id == order.id, Order.next_look_at > now, Order.opening_at <= now - LOST_AFTER)
        .values(next_look_at=now)
    )


def is_one_due(now: datetime) -> bool:
    return db.session.scalar(_ANY_DUE, {"now": now}) is not None


def claim_looks(now: datetime, again_at: Callable[[Order, datetime], datetime], most: int) -> list[int]:
    """For this worker alone to look after now; the others see them `again_at`.

    So many that are paid and only to be handed over; of what may need an answer from Flexprice, one.
    """
    claimed = (
        db.session.scalars(_PAID_AND_DUE, {"now": now, "most": most}).all()
        or db.session.scalars(_ONE_DUE, {"now": now}).all()
    )
    for order in claimed:
        order.looked_at, order.looked_by = now, me()
        order.next_look_at, order.looks = again_at(order, now), order.looks + 1
        alert_if_long_open(order, now)
    return [order.id for order in claimed]


def alert_if_long_open(order: Order, now: datetime) -> None:
    """Decision 15: never given up, but after an hour a person should know."""
    opened = order.opening_at and order.opening_at <= now - OPEN_TOO_LONG_AFTER
    if opened and order.flag is None and not order.settled:
        order.flag = OPEN_TOO_LONG
        log.error("order %s: %s", order.ref, OPEN_TOO_LONG)


def flag_first(order_id: int, flag: str) -> bool:
    """Unless something else was noticed before."""
    return _changed(update(Order).where(Order.id == order_id, Order.flag.is_(None)).values(flag=flag))


def these(order_ids: list[int]) -> list[Order]:
    """As they are now, in one order whoever asks: two workers that need some of the same do not deadlock."""
    return list(db.session.scalars(_THESE, {"ids": order_ids}))


def give_back(worker: str, since: datetime, now: datetime) -> None:
    """Whoever was to look after these cannot go on; they are due at once.

    Nobody notes that a look is over: a few are looked after once more, and that is safe.
    """
    db.session.execute(
        update(Order)
        .where(Order.next_look_at > now, Order.looked_by == worker, Order.looked_at >= since)
        .values(next_look_at=now)
    )


def claim_asking(order_id: int, now: datetime) -> bool:
    """True for the one poll that may ask Flexprice now (decision 14)."""
    return _changed(
        update(Order)
        .where(Order.id == order_id)
        .where(or_(Order.next_ask_at.is_(None), Order.next_ask_at <= now))
        .values(asked_at=now, next_ask_at=now + ASK_AT_MOST_EVERY)
    )


def ask_later(order_id: int, when: datetime) -> None:
    db.session.execute(update(Order).where(Order.id == order_id).values(next_ask_at=when))


def _changed(statement: Any) -> bool:
    result: Any = db.session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount == 1)
