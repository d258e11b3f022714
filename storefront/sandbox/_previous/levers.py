"""What was arranged to go otherwise than usual: for one session, one customer, the next N times, or all."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, bindparam, case, delete, insert, or_, select, update

from storefront.sandbox._previous.schema import (
    arrangements,
    customers,
    invoices,
    payments,
    refunds,
    sessions,
    subscriptions,
    versions,
)
from storefront.sandbox._previous.statements import run, wording
from storefront.sandbox._previous.store import LAG, Body, find

A = arrangements.c
USUAL = ("normal", "at_once")
LAG_SECONDS = 5.0  # unless something else was asked for

# What an entity's id is called in the session it belongs to.
IN_SESSION = {
    "subscription": "subscription_id",
    "invoice": "invoice_id",
    "payment": "payment_id",
}
PREFIXES = {
    "cs": ("checkout_session", sessions),
    "cust": ("customer", customers),
    "subs": ("subscription", subscriptions),
    "inv": ("invoice", invoices),
    "pay": ("payment", payments),
    "refund": ("refund", refunds),
}


class Who(NamedTuple):
    """Whom something is about: a session and both ids of its customer, as far as they are known."""

    session: str | None = None
    customers: tuple[str, ...] = ()


def who(conn: Connection, kind: str, body: Body) -> Who:
    session = session_of(conn, kind, body)
    customer = find(conn, customers, customer_of(conn, kind, body))
    known = (customer["id"], customer["external_id"]) if customer else ()
    return Who(session["id"] if session else None, known)


def customer_of(conn: Connection, kind: str, body: Body) -> str:
    if kind == "customer":
        return str(body["id"])
    of = body if "customer_id" in body else session_of(conn, kind, body)
    return str(of["customer_id"]) if of else ""


def session_of(conn: Connection, kind: str, body: Body) -> Body | None:
    if kind == "checkout_session":
        return body
    if kind == "refund":
        kind, body = "payment", {"id": body["payment_id"]}
    if kind not in IN_SESSION:
        return None
    return find(conn, sessions, body["id"], IN_SESSION[kind])


def known_as(conn: Connection, thing: str) -> Who:
    """By any id that Flexprice gives out, or a customer's external one."""
    kind, table = PREFIXES.get(thing.partition("_")[0], ("", None))
    body = find(conn, table, thing) if table is not None else None
    if body is None:
        kind, body = "customer", find(conn, customers, thing, "external_id")
    return who(conn, kind, body) if body else Who(customers=(thing,))


def arrange(conn: Connection, kind: str, name: str, *, times: int | None = None, **where: Any) -> int:
    """Without `times` it holds until it is taken back, and takes the place of an older one like it."""
    row = {"session": None, "customer": None, "method": None, "path": None, "seconds": None} | where
    if times is None:
        scope = [A[name].is_(row[name]) for name in ("session", "customer", "method", "path")]
        conn.execute(delete(arrangements).where(A.kind == kind, A.times.is_(None), *scope))
    if name == LAG:
        conn.execute(delete(versions))  # what is older was not kept without a gap
    values = {"kind": kind, "name": name, "times": times, **row}
    made = conn.execute(insert(arrangements).values(values)).inserted_primary_key
    assert made is not None  # noqa: S101 (an insert has a key)
    return int(made[0])


def for_session(conn: Connection, session_id: str, ways: dict[str, str], seconds: float | None) -> None:
    """How this one's payment is taken and told of, by kind; what is usual needs no arrangement."""
    times = {"completion": 1}
    for kind, name in ways.items():
        if name not in USUAL:
            arrange(conn, kind, name, times=times.get(kind), session=session_id, seconds=seconds)


_ANY = wording(select(A.id).where(A.kind == bindparam("kind"), or_(A.times.is_(None), A.times > 0)))


def any_arranged(conn: Connection, kind: str) -> bool:
    return run(conn, _ANY, kind=kind).fetchone() is not None


def _open(kind: str) -> Select[Any]:
    return select(arrangements).where(A.kind == kind, or_(A.times.is_(None), A.times > 0))


def _closest(kind: str, of: Who) -> Select[Any]:
    """The session's own first, then the customer's, then everybody's."""
    fits = (
        or_(A.session.is_(None), A.session == of.session),
        or_(A.customer.is_(None), A.customer.in_(of.customers)),
    )
    closeness = case((A.session.is_not(None), 0), (A.customer.is_not(None), 1), else_=2)
    return _open(kind).where(*fits).order_by(closeness, A.times.is_(None), A.id).limit(1)


def take(conn: Connection, kind: str, of: Who, *conditions: Any) -> Row[Any] | None:
    """The closest arrangement that fits; used up by one."""
    if not any_arranged(conn, kind):
        return None
    found = conn.execute(_closest(kind, of).where(*conditions)).first()
    if found and found.times is not None:
        conn.execute(update(arrangements).where(A.id == found.id).values(times=A.times - 1))
    return found


def lag(conn: Connection, kind: str, body: Body) -> float | None:
    """Seconds by which a message about this runs behind, which counts as no call."""
    if not any_arranged(conn, "fault"):
        return None
    of = who(conn, kind, body)
    found = conn.execute(_closest("fault", of).where(A.name == LAG, A.times.is_(None))).first()
    return None if found is None else LAG_SECONDS if found.seconds is None else float(found.seconds)


def in_force(conn: Connection) -> Iterable[Body]:
    query = select(arrangements).where(or_(A.times.is_(None), A.times > 0)).order_by(A.id)
    return [dict(row) for row in conn.execute(query).mappings()]


def take_back(conn: Connection, *conditions: Any) -> int:
    return conn.execute(delete(arrangements).where(*conditions)).rowcount
