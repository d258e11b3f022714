"""What happened, as rows; the message itself is written when it is first delivered."""

import json
from typing import NamedTuple

from sqlalchemy import Connection, Table, delete, select, text

from storefront.sandbox._previous import levers, views
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.schema import (
    customers,
    deliveries,
    events,
    invoices,
    payments,
    refunds,
    sessions,
    subscriptions,
    transactions,
    wallets,
)
from storefront.sandbox._previous.statements import row
from storefront.sandbox._previous.store import Body, find, need, random_letters, seen

# An event's first word (or two), the key its entity has in the body, where it is read and how it is shown.
ENTITIES: dict[str, tuple[str, Table]] = {
    "checkout": ("checkout_session", sessions),
    "customer": ("customer", customers),
    "subscription": ("subscription", subscriptions),
    "invoice": ("invoice", invoices),
    "payment": ("payment", payments),
    "refund": ("refund", refunds),
    "wallet": ("wallet", wallets),
    "wallet.transaction": ("transaction", transactions),
}


def _entity(event_type: str) -> tuple[str, Table]:
    name = event_type.rpartition(".")[0]
    return ENTITIES.get(name) or ENTITIES[name.split(".")[0]]


class Plan(NamedTuple):
    says: str
    state: str = "due"
    copies: int = 1
    twist: str | None = None  # what hooks.py does to it when it is sent
    seconds: float = 0.0  # unless something else was asked for


# How a message goes out. A resend from the console goes out as it should, whatever its first delivery was.
PLANS = {
    "normal": Plan("at once, as it should be"),
    "before_redirect": Plan("delivered before the browser is sent back", twist="before_redirect"),
    "after": Plan("some seconds later", seconds=30),
    "twice": Plan("twice, one after the other", copies=2),
    "ten_at_once": Plan("ten times in the same moment", copies=10, twist="together"),
    "reversed": Plan("the last news first, once the session has ended", state="held", twist="reversed"),
    "hold": Plan("kept back until somebody lets them go", state="held"),
    "drop": Plan("never", state="dropped"),
    "bad_signature": Plan("signed with a secret nobody has", twist="bad_signature"),
    "stale": Plan("signed ten minutes ago", twist="stale"),
    "old_secret": Plan("signed with the old secret alone", twist="old_secret"),
    "altered": Plan("the body was changed on its way", twist="altered"),
    "answer_500": Plan("the shop's first answer is taken for a 500: the retries begin", twist="answer_500"),
    "away": Plan("the shop cannot be reached at first: the retries begin", twist="away"),
}

# After one of these nothing more is to come of a payment: what was held back to be turned round may go.
LAST_WORDS = {
    "checkout.session.completed",
    "checkout.session.failed",
    "checkout.session.expired",
    "refund.succeeded",
}


def tell(conn: Connection, event_type: str, entity_id: str) -> None:
    kind, table = _entity(event_type)
    at = now(conn).timestamp()
    event_id = f"msg_{random_letters(27)}"
    body = need(conn, table, entity_id)
    about = {"entity": kind, "entity_id": entity_id, "customer_id": levers.customer_of(conn, kind, body)}
    row(conn, events, id=event_id, event_type=event_type, created_at=at, **about)
    plan, seconds = _plan(conn, kind, body)
    for _ in range(plan.copies):
        enqueue(conn, event_id, plan.state, at + seconds, plan.twist)
    if event_type in LAST_WORDS:
        turn_round(conn)


def _plan(conn: Connection, kind: str, body: Body) -> tuple[Plan, float]:
    if not levers.any_arranged(conn, "delivery"):
        return PLANS["normal"], 0.0
    arranged = levers.take(conn, "delivery", levers.who(conn, kind, body))
    plan = PLANS[arranged.name] if arranged else PLANS["normal"]
    return plan, plan.seconds if arranged is None or arranged.seconds is None else arranged.seconds


def enqueue(conn: Connection, event_id: str, state: str, at: float, twist: str | None = None) -> int:
    return row(conn, deliveries, event_id=event_id, state=state, due_at=at, attempt=0, twist=twist)


def turn_round(conn: Connection) -> None:
    """Lets go what was kept back to be reversed: as new rows, since they are worked off in their order."""
    held = (deliveries.c.state == "held", deliveries.c.twist == "reversed")
    waiting = conn.execute(select(deliveries.c.event_id).where(*held).order_by(deliveries.c.id.desc())).all()
    if waiting:
        conn.execute(delete(deliveries).where(*held))
    for (event_id,) in waiting:
        enqueue(conn, event_id, "due", now(conn).timestamp())


def written(conn: Connection, event_type: str, entity_id: str) -> str:
    """The body as of now, keys sorted as Svix does: a late `initiated` may well say `completed`."""
    kind, table = _entity(event_type)
    body = need(conn, table, entity_id)
    conn.execution_options(lag=levers.lag(conn, kind, body))
    body = seen(conn, table, entity_id) or body
    message = {"event_type": event_type, kind: views.in_webhook(conn, kind, body)}
    return json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ids(conn: Connection, session_id: str | None = None) -> list[str]:
    """All messages, or those about a session and what belongs to it, as they happened."""
    query = select(events.c.id).order_by(text("events.rowid"))
    if session_id:
        session = find(conn, sessions, session_id) or {}
        own = [session_id, *(session[name] for name in levers.IN_SESSION.values() if session.get(name))]
        paid = [session.get("payment_id")]
        back = conn.execute(select(refunds.c.id).where(refunds.c.payment_id.in_(paid))).scalars()
        query = query.where(events.c.entity_id.in_([*own, *back]))
    return list(conn.execute(query).scalars())
