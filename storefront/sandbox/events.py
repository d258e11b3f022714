"""What happened, as rows; the message itself is written when it is first delivered."""

import json

from sqlalchemy import Connection, Table, insert

from storefront.sandbox import views
from storefront.sandbox.clock import now
from storefront.sandbox.schema import (
    customers,
    deliveries,
    events,
    invoices,
    payments,
    refunds,
    sessions,
    subscriptions,
)
from storefront.sandbox.store import Body, find, lever, random_letters

# An event's first word, the key its entity has in the body, where it is read and how it is shown.
ENTITIES: dict[str, tuple[str, Table]] = {
    "checkout": ("checkout_session", sessions),
    "customer": ("customer", customers),
    "subscription": ("subscription", subscriptions),
    "invoice": ("invoice", invoices),
    "payment": ("payment", payments),
    "refund": ("refund", refunds),
}

STATE_IN_MODE = {"normal": "due", "twice": "due", "hold": "held", "drop": "dropped"}


def tell(conn: Connection, event_type: str, entity_id: str) -> None:
    kind, _ = ENTITIES[event_type.split(".")[0]]
    at = now(conn).timestamp()
    event_id = f"msg_{random_letters(27)}"
    row = {"id": event_id, "event_type": event_type, "entity": kind, "entity_id": entity_id, "created_at": at}
    conn.execute(insert(events).values(row))
    mode = lever(conn, "webhook_mode", "normal")
    for _ in range(2 if mode == "twice" else 1):
        enqueue(conn, event_id, STATE_IN_MODE[mode], at)


def enqueue(conn: Connection, event_id: str, state: str, at: float) -> None:
    conn.execute(insert(deliveries).values(event_id=event_id, state=state, due_at=at, attempt=0))


def written(conn: Connection, event_type: str, entity_id: str) -> str:
    """The body as of now, keys sorted as Svix does: a late `initiated` may well say `completed`."""
    kind, table = ENTITIES[event_type.split(".")[0]]
    body: Body = find(conn, table, entity_id) or {"id": entity_id}
    shown = views.session_in_webhook(body) if table is sessions else body
    message = {"event_type": event_type, kind: shown}
    return json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
