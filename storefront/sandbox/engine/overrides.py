"""What was arranged to go otherwise than usual: for one session, one customer, the next N times, or all."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, case, or_

from ..store.base import Record
from ..store.billing_rows import Invoice, Payment, Refund, Subscription
from ..store.control_rows import Override, RowVersion
from ..store.database import Session
from ..store.rows import CheckoutSession, Customer
from .events import customer_id_of

REPLICA_LAG = "replica_lag"  # the fault that lets reads run behind
DEFAULT_LAG_S = 5.0
NEXT_CUSTOMER = "(the next one)"  # for a customer who is yet to be made

# Which column of a checkout session names an entity.
IN_SESSION: dict[type[Record], Any] = {
    Subscription: CheckoutSession.subscription_id,
    Invoice: CheckoutSession.invoice_id,
    Payment: CheckoutSession.payment_id,
}
BY_PREFIX: dict[str, type[Record]] = {
    "cs": CheckoutSession,
    "cust": Customer,
    "subs": Subscription,
    "inv": Invoice,
    "pay": Payment,
    "refund": Refund,
}


class Subject(NamedTuple):
    """Whom something is about: a session and both ids of its customer, as far as they are known."""

    session: str | None = None
    customers: tuple[str, ...] = ()


def subject_of(session: Session, row: Record) -> Subject:
    checkout = session_of(session, row)
    customer = session.get(Customer, customer_id_of(session, row))
    known = (customer.id, customer.external_id) if customer else ()
    return Subject(checkout.id if checkout else None, known)


def session_of(session: Session, row: Record) -> CheckoutSession | None:
    """The checkout session that an entity belongs to."""
    if isinstance(row, CheckoutSession):
        return row
    if isinstance(row, Refund):
        row = session.need(Payment, row.payment_id)
    column = IN_SESSION.get(type(row))
    return None if column is None else session.first(CheckoutSession, column == row.id)


def subject_named(session: Session, name: str) -> Subject:
    """By any id that Flexprice gives out, or a customer's external one."""
    model = BY_PREFIX.get(name.partition("_")[0])
    row: Record | None = session.get(model, name) if model else None
    row = row or session.first(Customer, Customer.external_id == name)
    return subject_of(session, row) if row else Subject(customers=(name,))


def arrange(
    session: Session,
    kind: str,
    name: str,
    *,
    times: int | None = None,
    about_session: str | None = None,
    customer: str | None = None,
    method: str | None = None,
    path: str | None = None,
    seconds: float | None = None,
) -> Override:
    """Arranges something. Without `times` it holds until it is removed, and replaces an older one like it."""
    scope = {"session": about_session, "customer": customer, "method": method, "path": path}
    if times is None:
        same = [getattr(Override, column).is_not_distinct_from(value) for column, value in scope.items()]
        session.delete(Override, Override.kind == kind, Override.times.is_(None), *same)
    if name == REPLICA_LAG:
        session.delete(RowVersion)  # earlier versions have gaps
        session.state.keeps_versions = True
    session.state.has_overrides = True
    number = session.next_number(Override)
    return session.add(Override(id=number, kind=kind, name=name, times=times, seconds=seconds, **scope))


def give_to(session: Session, customer_id: str) -> None:
    """What waits for the next customer holds for this one, who was just made, and for nobody else."""
    if session.state.has_overrides:
        for row in session.all(Override, Override.customer == NEXT_CUSTOMER):
            row.customer = customer_id


def in_force(session: Session, kind: str | None = None) -> Sequence[Override]:
    if not session.state.has_overrides:
        return []
    conditions = [or_(Override.times.is_(None), Override.times > 0), Override.kind != "provider"]
    if kind is not None:
        conditions.append(Override.kind == kind)
    return session.all(Override, *conditions, order=Override.id)


def take(session: Session, kind: str, about: Subject, *conditions: Any) -> Override | None:
    """The closest that fits, used up by one: the session's, then the customer's, then anyone's."""
    if not in_force(session, kind):
        return None
    found = _closest(session, kind, about, *conditions)
    if found and found.times is not None:
        found.times -= 1
    return found


def _closest(session: Session, kind: str, about: Subject, *conditions: Any) -> Override | None:
    fits = and_(
        or_(Override.session.is_(None), Override.session == about.session),
        or_(Override.customer.is_(None), Override.customer.in_(about.customers)),
    )
    open_ones = or_(Override.times.is_(None), Override.times > 0)
    closeness = case((Override.session.is_not(None), 0), (Override.customer.is_not(None), 1), else_=2)
    order = (closeness, case((Override.times.is_(None), 1), else_=0), Override.id)
    return session.first(Override, Override.kind == kind, open_ones, fits, *conditions, order=order)


def lag_s(session: Session, about: Subject) -> float | None:
    """Seconds by which a message about this runs behind; that does not use the fault up."""
    if not in_force(session, "fault"):
        return None
    found = _closest(session, "fault", about, Override.name == REPLICA_LAG, Override.times.is_(None))
    return None if found is None else DEFAULT_LAG_S if found.seconds is None else found.seconds


def remove(session: Session, *conditions: Any) -> int:
    """Removes what was arranged; says how much."""
    count = session.delete(Override, *conditions)
    lags = session.count(Override, Override.name == REPLICA_LAG)
    session.state.keeps_versions = bool(lags)
    session.state.has_overrides = session.count(Override) > 0
    return count
