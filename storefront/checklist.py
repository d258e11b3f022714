"""Did the whole sale happen? Five checks of one order, each with its evidence, or with cause and fix."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import or_, select

from storefront.extensions import db
from storefront.flexprice import CheckoutSession, FlexpriceError, Invoice, Subscription
from storefront.inbox import ASKED
from storefront.lifecycle import ENDED_UNPAID, OPEN, State
from storefront.models import Access, InboxMessage, Letter, Order

DONE, WAIT, STOP, LOOK = "done", "wait", "stop", "look"  # as the pages mark them
RESULTS = {DONE: "done", WAIT: "not seen yet", STOP: "not due", LOOK: "look here"}

COMPLETED = "checkout.session.completed"


@dataclass(frozen=True)
class Said:
    """What Flexprice said when it was asked about an order: the object, or why there is none."""

    at: datetime
    session: CheckoutSession | FlexpriceError | None = None
    invoice: Invoice | FlexpriceError | None = None
    subscription: Subscription | FlexpriceError | None = None

    @property
    def answered(self) -> bool:
        return not isinstance(self.session, FlexpriceError) or self.session.answered


@dataclass(frozen=True)
class Case:
    """All that is known of one order."""

    order: Order
    now: datetime
    worker_alive: bool
    said: Said | None = None
    messages: list[InboxMessage] = field(default_factory=list)  # of its session and subscription
    access: Access | None = None  # to the plan it is about
    letters: dict[str, Letter] = field(default_factory=dict)  # by kind

    @property
    def session(self) -> CheckoutSession | None:
        return self.said.session if self.said and isinstance(self.said.session, CheckoutSession) else None

    @property
    def invoice(self) -> Invoice | None:
        return self.said.invoice if self.said and isinstance(self.said.invoice, Invoice) else None

    @property
    def subscription(self) -> Subscription | None:
        said = self.said
        return said.subscription if said and isinstance(said.subscription, Subscription) else None

    @property
    def session_status(self) -> str:
        """As Flexprice says; where it was not asked, as a signed message said before the order moved."""
        if self.session:
            return self.session.status
        return "completed" if self.order.paid_at and self.order.session_id else ""

    @property
    def completed(self) -> bool:
        return self.session_status == "completed"

    @property
    def open(self) -> bool:
        return self.order.state in OPEN

    @property
    def ended_unpaid(self) -> bool:
        return self.order.state in ENDED_UNPAID or self.order.state == State.PAID_LATE

    def received(self, event_type: str) -> InboxMessage | None:
        return next((message for message in self.messages if message.event_type == event_type), None)

    def failure(self, part: str) -> FlexpriceError | None:
        found = getattr(self.said, part, None)
        return found if isinstance(found, FlexpriceError) else None


class Evidence(NamedTuple):
    label: str
    value: str
    letter_id: int | None = None  # the page makes it a link


class Hint(NamedTuple):
    """One row of the troubleshooting tables."""

    applies: Callable[[Case], bool]
    tone: str
    cause: str
    fix: str


@dataclass(frozen=True)
class Check:
    key: str
    title: str
    tone: str
    evidence: tuple[Evidence, ...]
    cause: str = ""
    fix: str = ""

    @property
    def result(self) -> str:
        return RESULTS[self.tone]


# -- what counts as done ----------------------------------------------------------------------------


def session_done(case: Case) -> bool:
    return case.completed


def subscription_done(case: Case) -> bool:
    if case.subscription:
        return case.subscription.status == "active"
    told = case.received("subscription.activated") and not case.received("subscription.cancelled")
    return bool(told) and case.failure("subscription") is None


def invoice_done(case: Case) -> bool:
    if case.invoice:
        return case.invoice.paid
    return bool(case.order.invoice_number) and case.failure("invoice") is None


def webhook_done(case: Case) -> bool:
    return case.received(COMPLETED) is not None


def fulfillment_done(case: Case) -> bool:
    welcome = case.letters.get("welcome")
    posted = welcome is not None and welcome.posted_at is not None
    return case.order.state == State.FULFILLED and case.access is not None and posted


# -- the evidence -----------------------------------------------------------------------------------


def stamp(when: datetime | None) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if when else ""


def session_evidence(case: Case) -> Iterable[Evidence]:
    order, session = case.order, case.session
    yield Evidence("Session", order.session_id or "")
    yield Evidence("Status", case.session_status)
    yield Evidence("Completed", stamp(session.completed_at if session else order.paid_at))
    yield Evidence("Pay by", stamp(order.expires_at) if case.open else "")
    yield Evidence("Payment", order.payment_id or "")
    yield from _asked(case, "session")


def subscription_evidence(case: Case) -> Iterable[Evidence]:
    subscription, activated = case.subscription, case.received("subscription.activated")
    yield Evidence("Subscription", subscription_id(case) or "")
    yield Evidence("Status", subscription.status if subscription else "")
    yield Evidence("Period ends", stamp(subscription.current_period_end if subscription else None))
    yield Evidence("Ends", stamp(subscription.cancel_at if subscription else None))
    if activated:
        yield Evidence("Message subscription.activated", f"{activated.id}, {stamp(activated.received_at)}")
    yield from _asked(case, "subscription")


def invoice_evidence(case: Case) -> Iterable[Evidence]:
    order, invoice = case.order, case.invoice
    total, currency = (invoice.total, invoice.currency) if invoice else (order.invoice_total, order.currency)
    yield Evidence("Invoice", invoice.id if invoice else order.invoice_id or "")
    yield Evidence("Number", (invoice.number if invoice else order.invoice_number) or "")
    yield Evidence("Status", f"{invoice.status}, payment {invoice.payment_status}" if invoice else "")
    yield Evidence("Total", f"{total} {currency.upper()}" if total is not None else "")
    yield Evidence("Shown when ordered", f"{order.amount} {order.currency.upper()} before tax")
    yield Evidence("Finalized", stamp(invoice.finalized_at if invoice else None))
    yield from _asked(case, "invoice")


def webhook_evidence(case: Case) -> Iterable[Evidence]:
    for message in case.messages:
        if not message.event_type.startswith("checkout.session."):
            continue
        read = f"read {stamp(message.handled_at)}" if message.handled_at else "not read yet"
        facts = (message.id, f"received {stamp(message.received_at)}", read, message.outcome or "")
        name = "A page asked and was told" if message.event_type == ASKED else message.event_type
        yield Evidence(name, ", ".join(fact for fact in facts if fact))


def fulfillment_evidence(case: Case) -> Iterable[Evidence]:
    order, access = case.order, case.access
    yield Evidence("Order", f"{order.state} {stamp(order.fulfilled_at)}".strip())
    if access:
        until = "revoked " + stamp(access.revoked_at) if access.revoked_at else ""
        until = until or (f"until {stamp(access.ends_at)}" if access.ends_at else "")
        other = "" if access.order_id == order.id else "by another order of the same plan"
        facts = (f"granted {stamp(access.granted_at)}", until, other)
        yield Evidence("Access", ", ".join(fact for fact in facts if fact))
    for kind, letter in case.letters.items():
        sent = f"sent {stamp(letter.posted_at)}" if letter.posted_at else "not sent yet"
        trouble = f", {letter.attempts} tries, {letter.error}" if letter.error else ""
        yield Evidence(f"Letter {kind}", f"written {stamp(letter.created_at)}, {sent}{trouble}", letter.id)
    yield Evidence("For the operator", order.flag or "")


def subscription_id(case: Case) -> str | None:
    if case.subscription:
        return case.subscription.id
    activated = case.received("subscription.activated")
    return case.order.subscription_id or (activated.object_id if activated else None)


def _asked(case: Case, part: str) -> Iterable[Evidence]:
    failure = case.failure(part)
    if case.said and failure:
        answer = f"{failure.status or 'no answer'} {failure.code}".strip()
        request = f", request {failure.request_id}" if failure.request_id else ""
        yield Evidence("Flexprice was asked", f"{stamp(case.said.at)}: {answer}{request}")
    elif case.said and getattr(case.said, part):
        yield Evidence("Flexprice was asked", stamp(case.said.at))


class _Kind(NamedTuple):
    title: str
    done: Callable[[Case], bool]
    evidence: Callable[[Case], Iterable[Evidence]]


CHECKS = {
    "session": _Kind("Session completed", session_done, session_evidence),
    "subscription": _Kind("Subscription active", subscription_done, subscription_evidence),
    "invoice": _Kind("Invoice finalized", invoice_done, invoice_evidence),
    "webhook": _Kind("checkout.session.completed received", webhook_done, webhook_evidence),
    "fulfillment": _Kind("Fulfillment ran", fulfillment_done, fulfillment_evidence),
}


def checks(case: Case, hints: dict[str, tuple[Hint, ...]]) -> list[Check]:
    return [_check(key, kind, case, hints[key]) for key, kind in CHECKS.items()]


def _check(key: str, kind: _Kind, case: Case, hints: tuple[Hint, ...]) -> Check:
    evidence = tuple(piece for piece in kind.evidence(case) if piece.value)
    if kind.done(case):
        return Check(key, kind.title, DONE, evidence)
    hint = next(hint for hint in hints if hint.applies(case))  # the last one always does
    return Check(key, kind.title, hint.tone, evidence, hint.cause, hint.fix)


def over(case: Case, found: list[Check]) -> bool:
    """Nothing more will change by itself: a page need not go on looking."""
    unpaid = case.ended_unpaid or case.order.state in (State.PAID_TWICE, State.REFUNDED)
    return all(check.tone == DONE for check in found) or (unpaid and all(c.tone != WAIT for c in found))


# -- gathering --------------------------------------------------------------------------------------


def gather(
    orders: list[Order], said: Callable[[str], Said | None], worker_alive: bool, now: datetime
) -> list[Case]:
    """The cases of these orders, by four queries however many they are."""
    messages, letters = _messages(orders), _letters(orders)
    accesses = _accesses(orders)
    return [
        Case(
            order=order,
            now=now,
            worker_alive=worker_alive,
            said=said(order.ref),
            messages=messages[order.id],
            access=accesses.get((order.shopper_id, order.plan_id)),
            letters=letters[order.id],
        )
        for order in orders
    ]


def _messages(orders: list[Order]) -> dict[int, list[InboxMessage]]:
    by_name = {order.ref: order.id for order in orders}
    by_name |= {order.session_id: order.id for order in orders if order.session_id}
    by_name |= {order.subscription_id: order.id for order in orders if order.subscription_id}
    ours = or_(InboxMessage.object_id.in_(by_name), InboxMessage.order_ref.in_(by_name))
    found = defaultdict(list)
    for message in db.session.scalars(select(InboxMessage).where(ours).order_by(InboxMessage.received_at)):
        order_id = by_name.get(message.object_id) or by_name.get(message.order_ref or "")
        if order_id:
            found[order_id].append(message)
    return found


def _letters(orders: list[Order]) -> dict[int, dict[str, Letter]]:
    wanted = select(Letter).where(Letter.order_id.in_([order.id for order in orders])).order_by(Letter.id)
    found: dict[int, dict[str, Letter]] = defaultdict(dict)
    for letter in db.session.scalars(wanted):
        found[letter.order_id or 0][letter.kind] = letter
    return found


def _accesses(orders: list[Order]) -> dict[tuple[int, str], Access]:
    shoppers = {order.shopper_id for order in orders}
    held = db.session.scalars(select(Access).where(Access.shopper_id.in_(shoppers)))
    return {(access.shopper_id, access.plan_id): access for access in held}
