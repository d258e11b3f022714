"""For the day on which the webhooks were lost: every order that waits for news is asked about, now."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from storefront import aftercare
from storefront.database import writing
from storefront.extensions import db
from storefront.flexprice import FlexpriceError
from storefront.lifecycle import OPEN, State
from storefront.models import Order

STEPS = 3  # an open order may become paid, and a paid one fulfilled
GIVE_UP_AFTER = 5  # in a row: then Flexprice is down, and the rest is for later


@dataclass(frozen=True)
class Asked:
    """What asking about one order came to."""

    ref: str
    before: str
    after: str
    error: str = ""

    @property
    def moved(self) -> bool:
        return self.before != self.after


class _Rehearsed(Exception):
    """Undoes what was written."""


def run(now: datetime, *, dry: bool = False) -> Iterator[Asked]:
    """The same questions and the same `settle` as the worker's, without its gaps.

    Orders that nothing was ever asked for are left out. A dry run asks, and writes nothing.
    """
    failures = 0
    for order_id in waiting():
        asked = _ask(order_id, now, dry)
        failures = failures + 1 if asked.error else 0
        yield asked
        if failures == GIVE_UP_AFTER:
            return


def waiting() -> list[int]:
    open_or_owed = select(Order.id).where(Order.state.in_([*OPEN, State.PAID]))
    known = or_(Order.opening_at.is_not(None), Order.session_id.is_not(None))
    return list(db.session.scalars(open_or_owed.where(known).order_by(Order.id)))


def _ask(order_id: int, now: datetime, dry: bool) -> Asked:
    order = db.session.get_one(Order, order_id)
    ref, before = order.ref, order.state
    state = before
    try:
        for _ in range(1 if dry else STEPS):
            state, was = _step(order, now, dry), state
            if state == was:
                break
    except FlexpriceError as error:
        return Asked(ref, before, state, str(error))
    return Asked(ref, before, state)


def _step(order: Order, now: datetime, dry: bool) -> str:
    act = aftercare.ask(order, now, at_once=True)
    state = order.state
    try:
        with writing():
            act(now)
            state = order.state
            if dry:
                raise _Rehearsed
    except _Rehearsed:
        pass
    return state
