"""What happened, as rows. The message about it is built when it is delivered (delivery/build.py)."""

from ..store.base import Record
from ..store.billing_rows import Invoice, Payment, Refund, Subscription, Wallet, WalletTransaction
from ..store.control_rows import Event
from ..store.database import Session
from ..store.rows import CheckoutSession, Customer, Entitlement, Feature
from ..store.values import random_text

# An event's name without its last word (or only its first word): the key in the body, and its row.
ENTITIES: dict[str, tuple[str, type[Record]]] = {
    "checkout": ("checkout_session", CheckoutSession),
    "customer": ("customer", Customer),
    "subscription": ("subscription", Subscription),
    "invoice": ("invoice", Invoice),
    "payment": ("payment", Payment),
    "refund": ("refund", Refund),
    "wallet": ("wallet", Wallet),
    "wallet.transaction": ("transaction", WalletTransaction),
    "feature": ("feature", Feature),
    "entitlement": ("entitlement", Entitlement),
}


def entity_of(event_type: str) -> tuple[str, type[Record]]:
    """The key that an event's object has in its body, and the row it is read from."""
    name = event_type.rpartition(".")[0]
    return ENTITIES.get(name) or ENTITIES[name.split(".")[0]]


def publish(session: Session, event_type: str, entity_id: str) -> Event:
    """Records that something happened, and queues the message about it."""
    from ..delivery.queue import enqueue

    entity, model = entity_of(event_type)
    state = session.state
    state.event_sequence += 1
    event = Event(
        id=f"msg_{random_text(27)}",
        sequence=state.event_sequence,
        event_type=event_type,
        entity=entity,
        entity_id=entity_id,
        customer_id=customer_id_of(session, session.need(model, entity_id)),
        created_at=session.now(),
    )
    session.add(event)
    enqueue(session, event)
    return event


def customer_id_of(session: Session, row: Record) -> str:
    """Whom an object is about; empty for the catalog's."""
    if isinstance(row, Customer):
        return row.id
    if isinstance(row, Refund):
        row = session.need(Payment, row.payment_id)
    if isinstance(row, Payment):
        row = session.need(Invoice, row.destination_id)
    return str(getattr(row, "customer_id", ""))
