"""What needs a person: the reasons, and the orders and events they apply to, by money and age."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select

from storefront.checkout.states import ENDED_UNPAID, FOR_A_PERSON, OPEN, State
from storefront.extensions import db
from storefront.models import Order, WebhookEvent
from storefront.operations.models import AuditNote

MAX_SHOWN = 50
FULFILLMENT_TAKES = timedelta(minutes=1)  # a running worker needs a second
OPEN_TOO_LONG_AFTER = timedelta(hours=1)
WRITTEN_BY_OPERATORS = ("Released by operator", "Refund confirmed by operator", "Closed by operator")


@dataclass(frozen=True)
class Reason:
    """Why a person looks at an order. `money`: somebody has paid, or says so, and has not got anything."""

    title: str
    explanation: str
    applies: Callable[[datetime], ColumnElement[bool]]
    money: bool = False


REASONS = {
    "to-decide": Reason(
        "Decision needed",
        "Money was taken and nothing fulfilled for it: not what was ordered, stuck, or paid twice.",
        lambda now: Order.state.in_(FOR_A_PERSON),
        money=True,
    ),
    "not-fulfilled": Reason(
        "Paid, not fulfilled",
        "Paid for more than a minute and not fulfilled. Is the worker running?",
        lambda now: and_(Order.state == State.PAID, Order.status_changed_at < now - FULFILLMENT_TAKES),
        money=True,
    ),
    "claims-paid": Reason(
        "Customer says paid",
        "The order ended, but the customer came back from Razorpay with the status “paid” (unverified).",
        lambda now: and_(Order.state.in_(ENDED_UNPAID), Order.returned_paid_at.is_not(None), has_note()),
        money=True,
    ),
    "flagged": Reason(
        "Review note",
        "The shop noticed something about the order that a person should read.",
        lambda now: has_note(),
    ),
    "open-long": Reason(
        "Open too long",
        "Open for more than an hour. Flexprice is asked about it hourly; you can close it.",
        lambda now: and_(Order.state.in_(OPEN), Order.created_at < now - OPEN_TOO_LONG_AFTER),
    ),
}


def has_note() -> ColumnElement[bool]:
    """A note that no operator wrote by deciding."""
    written = or_(*(Order.review_note.startswith(words, autoescape=True) for words in WRITTEN_BY_OPERATORS))
    return and_(Order.review_note.is_not(None), ~written)


@dataclass(frozen=True)
class Item:
    """An order that needs a person, and why."""

    order: Order
    reason: Reason


def needs_attention(now: datetime) -> list[Item]:
    """The orders that need a person: where money is involved first, then by how long they have waited."""
    conditions = {name: reason.applies(now) for name, reason in REASONS.items()}
    first = case(*((condition, name) for name, condition in conditions.items()))
    money = or_(*(conditions[name] for name, reason in REASONS.items() if reason.money))
    found = select(Order, first).where(or_(*conditions.values()))
    by_money_and_age = found.order_by(case((money, 0), else_=1), Order.status_changed_at, Order.id)
    rows = db.session.execute(by_money_and_age.limit(MAX_SHOWN))
    return [Item(order, REASONS[name]) for order, name in rows]


def money_waiting(now: datetime) -> dict[str, Decimal]:
    """The sum of the orders that somebody paid for, or says so, and that wait: by currency, before tax."""
    money = or_(*(reason.applies(now) for reason in REASONS.values() if reason.money))
    sums: dict[str, Decimal] = {}
    for currency, amount in db.session.execute(select(Order.currency, Order.amount_text).where(money)):
        sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    return sums


def counts_by_reason(now: datetime) -> dict[str, int]:
    return {name: count(Order, reason.applies(now)) for name, reason in REASONS.items()}


def counts_by_state() -> dict[State, int]:
    counted = db.session.execute(select(Order.state, func.count()).group_by(Order.state))
    found = {state: number for state, number in counted}  # noqa: C416 - rows, no pairs
    return {state: found.get(state, 0) for state in State}


def orders_of(which: str, now: datetime, oldest_first: bool) -> Select[Order]:
    """`which`: a key of REASONS, a state, or anything else for all of them."""
    query = select(Order).order_by(Order.id.asc() if oldest_first else Order.id.desc())
    if which in REASONS:
        return query.where(REASONS[which].applies(now))
    return query.where(Order.state == which) if which in set(State) else query


# -- events -----------------------------------------------------------------------------------------

UNPROCESSED = WebhookEvent.processed_at.is_(None)
# Money that matches no order here: of a restored backup, of another shop, of a subscription not sold here.
MATCHES_NOTHING = or_(
    WebhookEvent.outcome.startswith("a payment for an order that does not exist", autoescape=True),
    and_(WebhookEvent.event_type.startswith("refund.", autoescape=True),
         WebhookEvent.outcome == "not one of our payments"),
)  # fmt: skip


def not_reviewed() -> ColumnElement[bool]:
    """No operator has marked the event as reviewed since it came."""
    about = AuditNote.subject == "event", AuditNote.subject_id == WebhookEvent.id
    return ~exists().where(*about, AuditNote.action == "reviewed")


@dataclass(frozen=True)
class EventFilter:
    """A part of the webhook events. `attention`: a person has to look at them."""

    title: str
    explanation: str
    applies: ColumnElement[bool]
    attention: bool = False


EVENTS = {
    "unmatched": EventFilter(
        "Payments that match no order",
        "A payment or refund that belongs to no order of this shop, not marked as reviewed.",
        and_(MATCHES_NOTHING, not_reviewed()),
        attention=True,
    ),
    "set-aside": EventFilter(
        "Events set aside",
        "They made no sense for an hour. Retry them, or mark them as reviewed.",
        and_(UNPROCESSED, WebhookEvent.next_attempt_at.is_(None), not_reviewed()),
        attention=True,
    ),
    "failing": EventFilter(
        "Events failing",
        "Processing raised an error; they are retried automatically.",
        and_(UNPROCESSED, WebhookEvent.error.is_not(None)),
        attention=True,
    ),
    "waiting": EventFilter(
        "Events waiting",
        "Received and not processed yet; they are retried automatically.",
        and_(UNPROCESSED, WebhookEvent.next_attempt_at.is_not(None)),
    ),
    "processed": EventFilter("Events processed", "", WebhookEvent.processed_at.is_not(None)),
}


def events_of(which: str, oldest_first: bool) -> Select[WebhookEvent]:
    at = WebhookEvent.received_at
    query = select(WebhookEvent).order_by(at.asc() if oldest_first else at.desc(), WebhookEvent.id)
    return query.where(EVENTS[which].applies) if which in EVENTS else query


def count(model: type[Order] | type[WebhookEvent], condition: ColumnElement[bool]) -> int:
    return db.session.scalar(select(func.count()).select_from(model).where(condition)) or 0
