"""Which prices a plan has, and which of them are in force."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_

from ..store.database import Session
from ..store.rows import Price


def prices_of(session: Session, plan_id: str, *, ended: bool = True) -> Sequence[Price]:
    """The published prices of a plan, newest first.

    :param ended: prices that have ended too. Those that have not begun are always among them.
    """
    conditions = [Price.entity_id == plan_id, Price.entity_type == "PLAN"]
    if session.lag is None:
        conditions.append(Price.status == "published")
    if not ended:
        conditions.append(or_(Price.end_date.is_(None), Price.end_date > session.now()))
    found = session.all(Price, *conditions, order=(Price.created_at.desc(), Price.id.desc()))
    return [price for price in found if price.status == "published"]  # a lagging replica may know better


def is_in_force(price: Price, at: datetime) -> bool:
    """`start_date <= at < end_date`."""
    return price.start_date <= at and (price.end_date is None or at < price.end_date)
