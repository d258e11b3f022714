"""All that is known about one order: its rows, and what Flexprice said when it was asked."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select

from storefront.checkout.states import ENDED_UNPAID, OPEN, State
from storefront.extensions import db
from storefront.flexprice import APIConnectionError, CheckoutSession, FlexpriceError, Invoice, Subscription
from storefront.models import Order, OrderTransition, PlanAccess, WebhookEvent
from storefront.operations import billing, emails


@dataclass(frozen=True)
class Answer:
    """What Flexprice said about an order at a time (naive UTC): the objects, or why there is none."""

    at: datetime
    session: CheckoutSession | FlexpriceError | None = None
    invoice: Invoice | FlexpriceError | None = None
    subscription: Subscription | FlexpriceError | None = None
    in_time: bool = True  # False: the time for questions was over before the last one

    @property
    def reached(self) -> bool:
        return not isinstance(self.session, APIConnectionError)


@dataclass(frozen=True)
class Case:
    """All that is known about one order. `now` is shop time; all times are naive UTC."""

    order: Order
    now: datetime
    worker_alive: bool
    answer: Answer | None = None
    events: list[WebhookEvent] = field(default_factory=list)  # of its session and subscription
    access: PlanAccess | None = None  # to the plan of the order
    emails: dict[str, Any] | None = None  # by kind; None without the package emails/
    transitions: list[OrderTransition] = field(default_factory=list)
    followed: tuple[Any, list[Any]] | None = None  # its subscription and invoices, with subscriptions/

    @property
    def session(self) -> CheckoutSession | None:
        found = self.answer.session if self.answer else None
        return found if isinstance(found, CheckoutSession) else None

    @property
    def invoice(self) -> Invoice | None:
        found = self.answer.invoice if self.answer else None
        return found if isinstance(found, Invoice) else None

    @property
    def subscription(self) -> Subscription | None:
        found = self.answer.subscription if self.answer else None
        return found if isinstance(found, Subscription) else None

    def asked(self, part: str) -> bool:
        """Whether Flexprice was asked about the session, invoice or subscription, where there is one."""
        if not self.order.session_id:
            return True
        return self.answer is not None and (self.answer.in_time or getattr(self.answer, part) is not None)

    @property
    def session_status(self) -> str:
        """As Flexprice says; where it was not asked, as a signed event said before the order moved."""
        if self.session:
            return self.session.status
        return "completed" if self.order.paid_at and self.order.session_id else ""

    @property
    def completed_at(self) -> datetime | None:
        """When the session was completed, naive UTC."""
        at = self.session.completed_at if self.session else None
        return at.astimezone(UTC).replace(tzinfo=None) if at else self.order.paid_at

    @property
    def completed(self) -> bool:
        return self.session_status == "completed"

    @property
    def open(self) -> bool:
        return self.order.state in OPEN

    @property
    def ended_unpaid(self) -> bool:
        return self.order.state in ENDED_UNPAID or self.order.state == State.PAID_LATE

    @property
    def subscription_id(self) -> str | None:
        if self.subscription:
            return self.subscription.id
        activated = self.received("subscription.activated")
        return self.order.subscription_id or (activated.object_id if activated else None)

    def received(self, event_type: str) -> WebhookEvent | None:
        return next((event for event in self.events if event.event_type == event_type), None)

    def failure(self, part: str) -> FlexpriceError | None:
        """Why Flexprice did not give the session, invoice or subscription when it was asked."""
        found = getattr(self.answer, part, None)
        return found if isinstance(found, FlexpriceError) else None


def gather(
    orders: list[Order], answer_of: Callable[[str], Answer | None], worker_alive: bool, now: datetime
) -> list[Case]:
    """The cases of these orders, by a fixed number of queries."""
    events, sent, moved, accesses = _events(orders), _emails(orders), _transitions(orders), _accesses(orders)
    followed = billing.followed([order.ref for order in orders])
    return [
        Case(
            order=order,
            now=now,
            worker_alive=worker_alive,
            answer=answer_of(order.ref),
            events=events[order.id],
            access=accesses.get(order.id) or accesses.get((order.user_id, order.plan_id)),
            emails=sent[order.id] if emails.in_use() else None,
            transitions=moved[order.id],
            followed=followed.get(order.ref),
        )
        for order in orders
    ]


def _events(orders: list[Order]) -> dict[int, list[WebhookEvent]]:
    by_name = {order.ref: order.id for order in orders}
    by_name |= {order.session_id: order.id for order in orders if order.session_id}
    by_name |= {order.subscription_id: order.id for order in orders if order.subscription_id}
    ours = or_(WebhookEvent.object_id.in_(by_name), WebhookEvent.order_ref.in_(by_name))
    found = defaultdict(list)
    for event in db.session.scalars(select(WebhookEvent).where(ours).order_by(WebhookEvent.received_at)):
        order_id = by_name.get(event.object_id) or by_name.get(event.order_ref or "")
        if order_id:
            found[order_id].append(event)
    return found


def _emails(orders: list[Order]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    if emails.in_use():
        Email = emails.Email
        wanted = select(Email).where(Email.order_id.in_([order.id for order in orders])).order_by(Email.id)
        for email in db.session.scalars(wanted):
            found[email.order_id][email.kind] = email
    return found


def _transitions(orders: list[Order]) -> dict[int, list[OrderTransition]]:
    ours = OrderTransition.order_id.in_([order.id for order in orders])
    found = defaultdict(list)
    for moved in db.session.scalars(select(OrderTransition).where(ours).order_by(OrderTransition.id)):
        found[moved.order_id].append(moved)
    return found


def _accesses(orders: list[Order]) -> dict[int | tuple[int, str], PlanAccess]:
    """By the order that grants it, else by user and plan: a planned change moves it to another plan."""
    ours = PlanAccess.user_id.in_({order.user_id for order in orders})
    rows = list(db.session.scalars(select(PlanAccess).where(ours)))
    found: dict[int | tuple[int, str], PlanAccess] = {(row.user_id, row.plan_id): row for row in rows}
    return found | {row.order_id: row for row in rows}
