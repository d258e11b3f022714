"""Deliveries waiting to be sent."""

from datetime import timedelta

from ..store.control_rows import Delivery, Event
from ..store.database import Session


def enqueue(
    session: Session, event: Event, *, state: str = "due", delay_s: float = 0.0, fault: str | None = None
) -> Delivery:
    """One delivery of an event, due now or after `delay_s` seconds of the store's clock."""
    return session.add(
        Delivery(
            id=session.next_number(Delivery),
            event_id=event.id,
            customer_id=event.customer_id,
            due_at=session.now() + timedelta(seconds=delay_s),
            state=state,
            fault=fault,
        )
    )
