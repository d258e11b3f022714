"""What was bought: place an order, open its session, let news move it."""

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, or_, select, update
from sqlalchemy.exc import IntegrityError

from storefront.catalog import Offer
from storefront.database import beside_others
from storefront.extensions import db
from storefront.flexprice import CheckoutSession
from storefront.lifecycle import OPEN, SETTLED, Fact, State, moves
from storefront.models import Access, Order, Shopper

log = logging.getLogger(__name__)

LOST_AFTER = timedelta(seconds=40)  # longer than the create call waits: no answer by then is no answer
ASK_AT_MOST_EVERY = timedelta(seconds=3)  # shop → Flexprice, per order, however many tabs poll


class AlreadyYours(Exception):
    """The shopper has this plan, or has paid for it a moment ago."""


class AnotherOfferOpen(Exception):
    """The plan has an open payment for another period or currency."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.ref)
        self.order = order


def place(shopper: Shopper, offer: Offer, now: datetime) -> Order:
    """A new order, or the open one for the same offer. Raises AlreadyYours, AnotherOfferOpen."""
    db.session.execute(select(Shopper.id).where(Shopper.id == shopper.id).with_for_update())
    if _owned(shopper, offer.plan_id, now):
        raise AlreadyYours
    order = Order(
        shopper_id=shopper.id,
        plan_id=offer.plan_id,
        plan_name=offer.plan_name,
        currency=offer.currency,
        billing_period=offer.billing_period,
        amount=offer.amount,
        created_at=now,
    )
    try:
        with db.session.begin_nested():
            db.session.add(order)
    except IntegrityError:  # a second click, or a second tab
        return _same_offer(_open_order(shopper, offer.plan_id), offer)
    log.info("order %s placed: %s, %s %s", order.ref, offer.plan_name, offer.amount, offer.currency)
    return order


def _owned(shopper: Shopper, plan_id: str, now: datetime) -> bool:
    access = db.session.scalar(
        select(Access).where(Access.shopper_id == shopper.id, Access.plan_id == plan_id)
    )
    paid = select(Order.id).where(
        Order.shopper_id == shopper.id, Order.plan_id == plan_id, Order.state == State.PAID
    )
    return bool(access and access.active_at(now)) or db.session.scalar(paid) is not None


def _open_order(shopper: Shopper, plan_id: str) -> Order:
    return db.session.scalars(
        select(Order).where(Order.shopper_id == shopper.id, Order.plan_id == plan_id, Order.state.in_(OPEN))
    ).one()


def _same_offer(order: Order, offer: Offer) -> Order:
    if (order.currency, order.billing_period) != (offer.currency, offer.billing_period):
        raise AnotherOfferOpen(order)
    return order


def find(ref: str, shopper: Shopper) -> Order | None:
    """Another shopper's order is not found, exactly like one that never was."""
    return db.session.scalar(select(Order).where(Order.ref == ref, Order.shopper_id == shopper.id))


def of_shopper(shopper: Shopper) -> list[Order]:
    orders = select(Order).where(Order.shopper_id == shopper.id).order_by(Order.id.desc())
    return list(db.session.scalars(orders))


def claim_opening(order_id: int, now: datetime) -> bool:
    """True for the one caller who may ask Flexprice for a session (decision 6)."""
    return _changed(
        update(Order)
        .where(Order.id == order_id, Order.state == State.PLACED)
        .where(Order.opening_at.is_(None), Order.session_id.is_(None))
        .values(opening_at=now, next_look_at=now + LOST_AFTER, looks=0)
    )


def release_opening(order_id: int) -> None:
    """Flexprice answered that nothing was opened, or was never reached: the same key may be used again."""
    db.session.execute(
        update(Order)
        .where(Order.id == order_id, Order.session_id.is_(None))
        .values(opening_at=None, next_look_at=None)
    )


def session_opened(order: Order, session: CheckoutSession, now: datetime) -> None:
    """Keep what Flexprice says of the session, beside the order."""
    adopt(order, session)
    advance(order, Fact.SESSION_OPENED, now)


def adopt(order: Order, session: CheckoutSession) -> None:
    order.session_id = session.id
    order.customer_id = session.customer_id
    order.payment_url = session.payment_url or order.payment_url
    order.expires_at = session.expires_at
    order.invoice_id = session.invoice_id
    order.payment_id = session.payment_id
    db.session.flush()


def advance(order: Order, fact: Fact, now: datetime, **values: Any) -> bool:
    """Move the order; True when *this call* moved it. Every side effect hangs on that True."""
    table = moves(fact)
    moved = _changed(
        update(Order)
        .where(Order.id == order.id, Order.state.in_(table))
        .values(
            state=case({str(old): str(new) for old, new in table.items()}, value=Order.state),
            next_look_at=now,  # the worker looks after every move at once, then by its own gaps
            looks=0,
            **values,
        )
    )
    db.session.refresh(order)
    if moved:
        log.info("order %s %s: %s (session %s)", order.ref, order.state, fact, order.session_id)
    else:
        log.info("order %s stays %s: %s is old news", order.ref, order.state, fact)
    return moved


def rest(order_id: int) -> None:
    """The worker need not look again; an order that has just been paid keeps its turn."""
    db.session.execute(
        update(Order).where(Order.id == order_id, Order.state.in_(SETTLED)).values(next_look_at=None)
    )


def by_session(session_id: str) -> Order | None:
    return db.session.scalar(select(Order).where(Order.session_id == session_id))


def by_ref(ref: str) -> Order | None:
    return db.session.scalar(select(Order).where(Order.ref == ref))


def by_payment(payment_id: str) -> Order | None:
    return db.session.scalar(select(Order).where(Order.payment_id == payment_id))


def ask_cancel(order_id: int, now: datetime) -> None:
    """Remember who ends it: the news of the end may come before the answer to our call."""
    db.session.execute(update(Order).where(Order.id == order_id).values(cancel_asked_at=now))


def look_now(order_id: int, now: datetime) -> None:
    """Whatever is owed to the order, the worker sees to it in its next pass."""
    db.session.execute(update(Order).where(Order.id == order_id).values(next_look_at=now))


def next_to_look_after(now: datetime, to_claim: bool = False) -> Order | None:
    due = select(Order).where(Order.next_look_at <= now).order_by(Order.next_look_at).limit(1)
    return db.session.scalar(beside_others(due) if to_claim else due)


def claim_look(order_id: int, now: datetime, again_at: datetime) -> bool:
    """True for the one worker that looks after the order now; the others see it at `again_at`."""
    return _changed(
        update(Order)
        .where(Order.id == order_id, Order.next_look_at <= now)
        .values(next_look_at=again_at, looks=Order.looks + 1)
    )


def give_back(next_looks: list[datetime], now: datetime) -> None:
    """Whoever was to look after these could not go on; they are due at once."""
    db.session.execute(update(Order).where(Order.next_look_at.in_(next_looks)).values(next_look_at=now))


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
