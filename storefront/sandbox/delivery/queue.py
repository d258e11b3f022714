"""Deliveries waiting to be sent."""

from collections.abc import Sequence
from datetime import timedelta

from ..engine import overrides, switches
from ..engine.events import entity_of
from ..store.billing_rows import Payment, Refund
from ..store.control_rows import Delivery, Event
from ..store.database import Session
from ..store.rows import CheckoutSession
from .modes import FINAL_EVENTS, MODES, Mode

PACE_DELAY_S = {"slow": 30.0, "backlog": 300.0}
THROTTLE_GAP_S = 0.2  # five a second


def enqueue(session: Session, event: Event) -> None:
    """Queues a new event in the way that was arranged for it."""
    mode, seconds = _mode(session, event)
    for _ in range(mode.copies):
        add(session, event, state=mode.state, delay_s=seconds, fault=mode.fault)
    if event.event_type in FINAL_EVENTS:
        release_reversed(session)


def _mode(session: Session, event: Event) -> tuple[Mode, float]:
    pace = switches.read(session, "delivery_pace")
    delay = PACE_DELAY_S.get(pace, 0.0)
    if pace == "throttled":
        delay = _throttled(session)
    if not overrides.in_force(session, "delivery"):
        return MODES["normal"], delay
    row = session.need(entity_of(event.event_type)[1], event.entity_id)
    found = overrides.take(session, "delivery", overrides.subject_of(session, row))
    mode = MODES[found.name] if found else MODES["normal"]
    return mode, delay + (mode.seconds if found is None or found.seconds is None else found.seconds)


def _throttled(session: Session) -> float:
    last = session.first(
        Delivery, Delivery.state == "due", Delivery.attempt == 0, order=Delivery.due_at.desc()
    )
    gap = timedelta(seconds=THROTTLE_GAP_S)
    return max(0.0, (last.due_at + gap - session.now()).total_seconds()) if last else 0.0


def add(
    session: Session, event: Event, *, state: str = "due", delay_s: float = 0.0, fault: str | None = None
) -> Delivery:
    """One delivery of an event, due after `delay_s` seconds of the store's clock."""
    session.state.delivery_sequence += 1
    delivery = Delivery(
        id=session.state.delivery_sequence,
        event_id=event.id,
        customer_id=event.customer_id,
        due_at=session.now() + timedelta(seconds=delay_s),
        state=state,
        fault=fault,
    )
    return session.add(delivery)


def release_held(session: Session) -> None:
    """Lets messages go that are held until they are released."""
    for delivery in session.all(Delivery, Delivery.state == "held", Delivery.fault.is_(None)):
        delivery.state = "due"
    release_reversed(session)


def release_reversed(session: Session) -> None:
    """Lets messages go that were held to be reversed: as new deliveries, which go out in their order."""
    held = (Delivery.state == "held", Delivery.fault == "reversed")
    waiting = session.all(Delivery, *held, order=Delivery.id.desc())
    events = [session.need(Event, delivery.event_id) for delivery in waiting]
    if events:
        session.delete(Delivery, *held)
    for event in events:
        add(session, event)


def events_about(session: Session, session_id: str | None = None) -> Sequence[Event]:
    """All events, or those about a checkout session and what belongs to it, as they happened."""
    if session_id is None:
        return session.all(Event, order=Event.sequence)
    checkout = session.get(CheckoutSession, session_id)
    own = [session_id]
    if checkout:
        own += [i for i in (checkout.subscription_id, checkout.invoice_id, checkout.payment_id) if i]
        payment = session.get(Payment, checkout.payment_id)
        refund = session.first(Refund, Refund.payment_id == payment.id) if payment else None
        own += [refund.id] if refund else []
    return session.all(Event, Event.entity_id.in_(own), order=Event.sequence)
