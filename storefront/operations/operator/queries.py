"""What the desk reads: search, pages of a list, and everything about one order."""

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from storefront.extensions import db
from storefront.models import Order, OrderTransition, PlanAccess, User, WebhookEvent
from storefront.operations import audit, billing, emails
from storefront.operations.models import AuditNote

Row = TypeVar("Row")
PAGE_SIZE = 25
MAX_PAGE = 10_000
MIN_NAME_CHARS = 2


@dataclass(frozen=True)
class Found:
    """What a search found."""

    orders: list[Order]
    users: list[User]
    events: list[WebhookEvent]

    @property
    def nothing(self) -> bool:
        return not (self.orders or self.users or self.events)


def search(words: str) -> Found:
    """By name, email, reference (whole, or its last characters), or any id of Flexprice or Razorpay."""
    words = words.strip(" \t#…")
    if not words:
        return Found([], [], [])
    people = select(User).where(_means_user(words)).order_by(User.id.desc()).limit(PAGE_SIZE)
    users = list(db.session.scalars(people))
    bought = select(Order).where(or_(_means_order(words), Order.user_id.in_([user.id for user in users])))
    about = or_(WebhookEvent.id == words, WebhookEvent.object_id == words)
    events = select(WebhookEvent).where(about).order_by(WebhookEvent.received_at.desc()).limit(PAGE_SIZE)
    return Found(
        list(db.session.scalars(bought.order_by(Order.id.desc()).limit(2 * PAGE_SIZE))),
        users,
        list(db.session.scalars(events)),
    )


def _means_user(words: str) -> ColumnElement[bool]:
    if "@" in words:
        return User.email.startswith(words.lower(), autoescape=True) if words != "@" else User.key == words
    if len(words) < MIN_NAME_CHARS:
        return User.key == words
    return or_(User.key == words, func.lower(User.name).contains(words.lower(), autoescape=True))


def _means_order(words: str) -> ColumnElement[bool]:
    columns = (
        Order.session_id,
        Order.payment_id,
        Order.unverified_payment_id,
        Order.invoice_id,
        Order.invoice_number,
        Order.subscription_id,
        Order.flexprice_customer_id,
        Order.customer_key,
    )
    meant = [column == words for column in columns]
    if re.fullmatch(r"[0-9a-fA-F]{6,32}", words):
        meant.append(Order.ref.endswith(words.lower(), autoescape=True))
    return or_(*meant)


# -- lists ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: list[Row]
    number: int
    more: bool


def page_of(query: Select[Row], number: int) -> Page[Row]:
    """One page of a list, counted from 1; a number beyond both ends is the nearest page."""
    number = min(max(number, 1), MAX_PAGE)
    rows = list(db.session.scalars(query.offset((number - 1) * PAGE_SIZE).limit(PAGE_SIZE + 1)))
    return Page(rows[:PAGE_SIZE], number, len(rows) > PAGE_SIZE)


def email_filters() -> dict[str, ColumnElement[bool]]:
    Email = emails.Email
    queued = Email.sent_at.is_(None) & Email.failed_at.is_(None)
    return {
        "queued": queued,
        "failing": queued & Email.error.is_not(None),
        "failed": Email.failed_at.is_not(None),
        "sent": Email.sent_at.is_not(None),
    }


def emails_of(which: str, oldest_first: bool) -> Select[Any]:
    Email, filters = emails.Email, email_filters()
    query = select(Email).order_by(Email.id.asc() if oldest_first else Email.id.desc())
    return query.where(filters[which]) if which in filters else query


def email_counts() -> dict[str, int]:
    """How many emails each filter shows; empty without the package emails/."""
    if not emails.in_use():
        return {}
    counted = select(func.count()).select_from(emails.Email)
    return {name: db.session.scalar(counted.where(which)) or 0 for name, which in email_filters().items()}


# -- one order --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrderFile:
    """An order and all that is known about it."""

    order: Order
    transitions: list[OrderTransition]
    events: list[WebhookEvent]
    emails: list[Any]
    accesses: list[PlanAccess]
    other_orders: list[Order]
    notes: list[AuditNote]


def order_file(order: Order) -> OrderFile:
    """Read everything about an order."""
    moved = select(OrderTransition).where(OrderTransition.order_id == order.id).order_by(OrderTransition.id)
    ids = [value for value in (order.session_id, order.payment_id, order.subscription_id) if value]
    about = or_(WebhookEvent.object_id.in_(ids), WebhookEvent.order_ref == order.ref)
    events = select(WebhookEvent).where(about).order_by(WebhookEvent.received_at).limit(200)
    same_plan = and_(PlanAccess.user_id == order.user_id, PlanAccess.plan_id == order.plan_id)
    accesses = select(PlanAccess).where(or_(same_plan, PlanAccess.order_id == order.id))
    others = select(Order).where(Order.user_id == order.user_id, Order.id != order.id)
    return OrderFile(
        order=order,
        transitions=list(db.session.scalars(moved)),
        events=list(db.session.scalars(events)),
        emails=emails_about(order),
        accesses=list(db.session.scalars(accesses.order_by(PlanAccess.id))),
        other_orders=list(db.session.scalars(others.order_by(Order.id.desc()).limit(PAGE_SIZE))),
        notes=audit.notes("order", order.ref),
    )


def emails_about(order: Order) -> list[Any]:
    if not emails.in_use():
        return []
    Email, ids = emails.Email, _ids_of_later_months(order)
    to_user = select(Email).where(Email.user_id == order.user_id).order_by(Email.id)
    found = db.session.scalars(to_user.where(or_(Email.order_id == order.id, Email.about.is_not(None))))
    return [email for email in found if email.about is None or email.about.split()[1] in ids]


def _ids_of_later_months(order: Order) -> set[str]:
    """Of its subscription and the invoices of that: an email's `about` is a fact and one of them."""
    followed = billing.followed([order.ref]).get(order.ref)
    return {followed[0].subscription_id, *(row.invoice_id for row in followed[1])} if followed else set()


def order_of(event: WebhookEvent) -> Order | None:
    """The order that an event is about."""
    about = (Order.session_id, Order.payment_id, Order.subscription_id)
    fits = [column == event.object_id for column in about if event.object_id]
    if event.order_ref:
        fits.append(Order.ref == event.order_ref)
    return db.session.scalar(select(Order).where(or_(*fits)).order_by(Order.id).limit(1)) if fits else None
