"""What a message means, and what a paid order is owed."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from storefront import orders, outbox, terms
from storefront.database import hold
from storefront.extensions import db
from storefront.flexprice import (
    CheckoutSession,
    Client,
    Event,
    Invoice,
    NotFound,
    Subscription,
)
from storefront.lifecycle import Fact, State
from storefront.models import Access, InboxMessage, Order, Shopper

log = logging.getLogger(__name__)

Act = Callable[[datetime], str]  # to be called inside `with writing():`; says what came of it

FACTS = {
    "failed": Fact.PAYMENT_FAILED,
    "expired": Fact.SESSION_EXPIRED,
}
ENDINGS = ("completed", "failed", "expired", "asked")  # what an event may announce as over
MONEY_TAKEN = ("SUCCEEDED", "OVERPAID")
DRAFT_IS_LEFT_OVER = timedelta(minutes=50)  # a live session's draft is archived by the sweep before that
UNDONE = "Fulfilled, but Flexprice has overwritten its completed session: nothing will renew it"


class NotYet(Exception):
    """The message makes no sense so far; it may later."""


# -- what a message means ---------------------------------------------------------------------------


def understand(client: Client, message: InboxMessage) -> Act:
    """Ask Flexprice what must be asked (no transaction is open), and return what is to be done.

    Raises NotYet and FlexpriceError.
    """
    meaning = MEANINGS.get(message.event_type)
    return meaning(client, message) if meaning else lambda now: "noted"


def session_news(client: Client, message: InboxMessage) -> Act:
    """Decision 7: believe a signed terminal status of our own session; else ask."""
    told = Event.from_body(message.body.encode()).session if message.body else None
    announced = message.event_type.rpartition(".")[2]
    ref = orders.ref_by_session(message.object_id)
    if ref is None:
        return stranger_session(client, message)
    if told and (told.status, announced) == ("pending", "initiated"):
        return lambda now: "we opened it ourselves"
    session = told if told and _believable(told, announced) else client.get_session(message.object_id)
    if announced in ENDINGS and not session.terminal:
        raise NotYet("Flexprice does not say so yet")  # a replica that lags (contract E.3)
    return lambda now: _settled(ref, session, announced, now)


def _believable(session: CheckoutSession, announced: str) -> bool:
    return session.terminal and session.status == announced and bool(session.customer_id)


def _settled(ref: str, session: CheckoutSession, announced: str, now: datetime) -> str:
    order = orders.by_ref(ref)
    assert order is not None  # noqa: S101 (orders are never deleted)
    return "settled" if settle(order, session, now, announced) else "nothing new"


def stranger_session(client: Client, message: InboxMessage) -> Act:
    """A session we do not know: ours only if key *and* customer match an order that has none."""
    try:
        session = client.get_session(message.object_id)
    except NotFound as error:
        raise NotYet("Flexprice does not know the session (yet)") from error
    order = orders.by_ref(session.idempotency_key or "")
    if order is None or order.shopper.flexprice_id != session.customer_id:
        return lambda now: "not one of our sessions"
    if order.session_id and order.session_id != session.id:
        return another_attempt(order.ref, session)
    known = order.session_id == session.id  # by now: its answer, or other news of it, came meanwhile
    if not known and session.status not in ("pending", "completed") and not session.completed_at:
        if _being_opened(order, message.next_try_at):
            raise NotYet("the order is being opened: is this its session?")
        return lambda now: "an attempt we never saw moves nothing"
    order_id = order.id
    return lambda now: _adopted(order_id, session, now)


def another_attempt(ref: str, session: CheckoutSession) -> Act:
    """The order has its session. Nothing is delivered for a second one, and its money is to go back."""
    if session.status == "completed" or session.completed_at:
        return lambda now: _paid_besides(ref, session.id)
    return lambda now: "another attempt of an order that has its session"


def _paid_besides(ref: str, session_id: str) -> str:
    order = orders.by_ref(ref)
    assert order is not None  # noqa: S101 (orders are never deleted)
    order.flag = f"Session {session_id} of this order was paid as well: refund it"
    log.error("order %s: %s", order.ref, order.flag)
    return "second payment flagged"


def _being_opened(order: Order, now: datetime) -> bool:
    """Its first answer may be on the way still."""
    return order.is_open and order.opening_at is not None and now - order.opening_at < orders.LOST_AFTER


def _adopted(order_id: int, session: CheckoutSession, now: datetime) -> str:
    order = orders.session_opened(order_id, session, now)
    if order.session_id != session.id:
        raise NotYet("the order has another session by now")
    settle(order, session, now)
    return "session adopted"


def subscription_trace(client: Client, message: InboxMessage) -> Act:
    """A sign of a create whose answer was lost (decision 6): the worker looks for the rest of it."""
    order_ref = message.order_ref
    return lambda now: _look_for_lost(order_ref, now)


def _look_for_lost(order_ref: str | None, now: datetime) -> str:
    order = orders.by_ref(order_ref or "")
    if order is None or order.session_id:
        return "noted"
    orders.look_soon(order, now)
    return "a trace of an order without a session"


def subscription_news(client: Client, message: InboxMessage) -> Act:
    """Access ends when Flexprice says so (decision 9); a lost answer shows up here too."""
    subscription_id, order_ref = message.object_id, message.order_ref
    try:
        subscription = client.get_subscription(subscription_id)
    except NotFound:
        ended = message.event_type == "subscription.cancelled"
        return lambda now: _end_access(subscription_id, order_ref, now) if ended else "it is gone"
    return lambda now: follow_subscription(subscription, order_ref, now)


def follow_subscription(subscription: Subscription, order_ref: str | None, now: datetime) -> str:
    if subscription.status == "cancelled":
        return _end_access(subscription.id, order_ref, now)
    ref = subscription.metadata.get("order_ref", order_ref)
    ends = _change_access(subscription.id, ref).values(ends_at=subscription.cancel_at)
    return "access follows the subscription" if db.session.execute(ends).all() else _look_for_lost(ref, now)


def _end_access(subscription_id: str, order_ref: str | None, now: datetime) -> str:
    order = orders.by_ref(order_ref or "")
    to_come = order is not None and not order.settled  # looked at first: it may be granted meanwhile
    end = _change_access(subscription_id, order_ref).where(Access.revoked_at.is_(None)).values(revoked_at=now)
    ended = db.session.execute(end).all()
    for shopper_id, plan_id in ended:
        log.info("access of shopper %s to %s ended (%s)", shopper_id, plan_id, subscription_id)
    if to_come and not ended:
        raise NotYet("the access may be granted still, and would never end")
    return "access ended" if ended else "no access to end"


def _change_access(subscription_id: str, order_ref: str | None) -> ReturningUpdate[int, str]:
    """One statement: what is bought anew in the same moment belongs to another subscription."""
    by_order = Access.order_id == select(Order.id).where(Order.ref == order_ref).scalar_subquery()
    whose = or_(Access.subscription_id == subscription_id, by_order)
    return update(Access).where(whose).returning(Access.shopper_id, Access.plan_id)


def refund_news(client: Client, message: InboxMessage) -> Act:
    """A refund tells of money, not of the session: an order that is open here is asked about first."""
    order = orders.by_payment(message.object_id)
    if order is None:
        return lambda now: "not one of our payments"
    session = client.get_session(order.session_id) if order.is_open and order.session_id else None
    ref = order.ref
    return lambda now: _refunded(ref, session, now)


def _refunded(ref: str, session: CheckoutSession | None, now: datetime) -> str:
    order = orders.held(ref)
    assert order is not None  # noqa: S101 (orders are never deleted)
    if session:
        settle(order, session, now)
    if refund_seen(order, now):
        return "refund of a payment that bought nothing"
    order.flag = "Flexprice reports a refund for this order"
    order.refunded_at = order.refunded_at or now
    return "refund flagged"


def refund_hint(client: Client, message: InboxMessage) -> Act:
    """Nobody signed it: look at the payment itself."""
    try:
        refunded = client.get_payment(message.object_id).status == "REFUNDED"
    except NotFound:
        refunded = False
    return refund_news(client, message) if refunded else lambda now: "Flexprice knows of no refund"


def refund_failed(client: Client, message: InboxMessage) -> Act:
    payment_id = message.object_id
    return lambda now: _refund_failed(payment_id)


def _refund_failed(payment_id: str) -> str:
    order = orders.by_payment(payment_id)
    if order is None:
        return "not one of our payments"
    order.flag = "Flexprice could not send the money back: refund it by hand"
    log.error("order %s: %s", order.ref, order.flag)
    return "failed refund flagged"


MEANINGS: dict[str, Callable[[Client, InboxMessage], Act]] = {
    "checkout.session.initiated": session_news,  # brings back a session whose 201 was lost
    "checkout.session.completed": session_news,
    "checkout.session.failed": session_news,
    "checkout.session.expired": session_news,  # frees the plan, so that the buyer can try again
    "checkout.session.asked": session_news,  # a page saw a terminal answer before the webhook came
    "checkout.session.hinted": session_news,  # unsigned, from a self-hosted Flexprice (contract E.5)
    "subscription.hinted": subscription_news,
    "refund.hinted": refund_hint,
    "subscription.draft.created": subscription_trace,
    "subscription.activated": subscription_trace,
    "subscription.updated": subscription_news,  # `cancel_at`: the end is scheduled
    "subscription.cancelled": subscription_news,
    "refund.created": refund_news,
    "refund.succeeded": refund_news,
    "refund.failed": refund_failed,
}


# -- one way to settle ------------------------------------------------------------------------------


def settle(order: Order, session: CheckoutSession, now: datetime, announced: str = "") -> bool:
    """The one way a session's news reaches an order. True when it moved the order."""
    if session.id != order.session_id or session.customer_id != order.customer_id:
        order.flag = f"News of session {session.id} names another customer or session: not believed"
        log.error("order %s: %s", order.ref, order.flag)
        return False
    orders.know_records(order, session)
    fact = news(order, session, announced)
    if fact is None:
        return False
    paid_at = {"paid_at": session.completed_at or now} if fact is Fact.PAYMENT_COMPLETED else {}
    moved = orders.advance(order, fact, now, **paid_at)
    if moved and fact is Fact.PAYMENT_FAILED:
        outbox.write("payment_failed", order.shopper, now, order)
    if fact is Fact.COMPLETION_UNDONE and order.state == State.FULFILLED:
        order.flag = UNDONE
    return moved


def news(order: Order, session: CheckoutSession, announced: str = "") -> Fact | None:
    """What the session says of the order; None while nothing is decided."""
    if session.status == "completed":
        return Fact.PAYMENT_COMPLETED
    if session.terminal and (session.completed_at or announced == "completed"):
        return Fact.COMPLETION_UNDONE  # the server can overwrite a completed session (contract C.1)
    if session.terminal and order.cancel_asked_at and session.cancelled_at:
        return Fact.SHOPPER_CANCELLED  # we know who asked, and Flexprice says that it was done
    if session.terminal:
        return FACTS.get(session.status, Fact.SESSION_EXPIRED)  # one day there may be more kinds of end
    if session.payment_status in MONEY_TAKEN:
        return Fact.PAYMENT_STRANDED
    return None


def refund_seen(order: Order, now: datetime) -> bool:
    """The money of an order that bought nothing went back. True when this call says so first."""
    moved = orders.advance(order, Fact.REFUND_SEEN, now)
    if moved:
        outbox.write("refunded", order.shopper, now, order)
    return moved


# -- what a person decides --------------------------------------------------------------------------


def release(order: Order, now: datetime, operator: str) -> bool:
    """An operator lets an order that is held or stuck be fulfilled as it is."""
    accepted = {"terms_checked_at": now, "paid_at": order.paid_at or now}
    return orders.advance(order, Fact.RELEASED, now, flag=_signed(order, "released", operator), **accepted)


def mark_refunded(order: Order, now: datetime, operator: str) -> bool:
    """An operator has seen to it that the money went back."""
    moved = orders.advance(order, Fact.REFUND_MADE, now, flag=_signed(order, "refund confirmed", operator))
    if moved:
        outbox.write("refunded", order.shopper, now, order)
    return moved


def _signed(order: Order, deed: str, operator: str) -> str:
    return "; ".join(filter(None, (order.flag, f"{deed} by {operator}")))


# -- what a paid order is owed ----------------------------------------------------------------------


def fulfill(order: Order, now: datetime) -> bool:
    """Deliver exactly once: everything here is one transaction with the order's last move."""
    # What is granted to several is written together. Should one of them have paid twice, its key is taken:
    # nothing is written then, and the worker sees to each by itself.
    with db.session.no_autoflush:
        # Two paid orders of one shopper are fulfilled one after the other: the second finds the plan granted.
        shopper = order.shopper
        hold(Shopper, shopper.id)
        held = orders.access_to(order.shopper_id, order.plan_id, to_change=True)
        if held and held.active_at(now):
            flag = "Paid although the plan was already granted: refund it"
            return orders.advance(order, Fact.ALREADY_GRANTED, now, flag=flag)
        if not orders.advance(order, Fact.GOODS_DELIVERED, now, fulfilled_at=now):
            return False  # another worker got here first
        grant_access(order, held, now)
        outbox.write("welcome", shopper, now, order)
        return True


def grant_access(order: Order, held: Access | None, now: datetime) -> None:
    """REPLACE ME: this is the one function you change for your own product.

    Write rows only, in this transaction: that is what makes it exactly once. Effects outside the database
    (a call, a message) belong into the outbox.
    """
    access = held or Access(shopper_id=order.shopper_id, plan_id=order.plan_id)
    access.plan_name, access.order_id = order.plan_name, order.id
    access.subscription_id, access.granted_at = order.subscription_id, now
    access.ends_at = access.revoked_at = access.paid_until = access.overdue_since = None
    db.session.add(access)


def check_terms(order: Order, invoice: Invoice, now: datetime) -> bool:
    """Is it what was ordered? If not, the order leaves the way to fulfilment, for a person to decide."""
    differ = terms.differences(order, invoice)
    if not differ:
        order.terms_checked_at = now
        return True
    if orders.advance(order, Fact.TERMS_DIFFER, now, flag=f"Not what was ordered: {differ}"):
        log.error("order %s: %s", order.ref, order.flag)
    return False


def keep_receipt(order: Order, invoice: Invoice, now: datetime) -> None:
    """The invoice names the subscription: what a later cancellation is matched by."""
    order.subscription_id = invoice.subscription_id
    order.invoice_number, order.invoice_total = invoice.number, invoice.total
    if (invoice.currency, invoice.subtotal) != (order.currency, order.amount):
        charged = f"Charged {invoice.subtotal} {invoice.currency}, shown {order.amount} {order.currency}"
        if orders.flag_first(order.id, charged):
            log.error("order %s: %s", order.ref, charged)
    db.session.execute(
        update(Access)
        .where(Access.order_id == order.id)
        .values(subscription_id=invoice.subscription_id, paid_until=invoice.period_end)
    )


# -- a create whose answer was lost -----------------------------------------------------------------


def recover(order: Order, found: list[Subscription], now: datetime, patience: timedelta) -> bool:
    """Decision 6. `found`: this customer's subscriptions. True when the order moved.

    Gives the order up when nothing of it can be seen `patience` after the create.
    """
    if find_payment(order, found, now):
        return True
    ours = _of_order(order, found)
    if any(now - (draft.created_at or now) < DRAFT_IS_LEFT_OVER for draft in ours):
        return False  # perhaps payable: keep waiting
    if not ours and now - (order.opening_at or now) < patience:
        return False
    left = f"; a draft was left over at Flexprice: {', '.join(draft.id for draft in ours)}" if ours else ""
    return orders.advance(order, Fact.GIVEN_UP, now, flag=orders.LOST + left)


def find_payment(order: Order, found: list[Subscription], now: datetime) -> bool:
    """One that is active was paid for, whatever became of the answer and the messages."""
    active = next((s for s in _of_order(order, found) if s.status in ("active", "trialing")), None)
    if active is None:
        return False
    order.subscription_id, order.invoice_id = active.id, active.latest_invoice_id
    db.session.flush()
    return orders.advance(order, Fact.PAYMENT_COMPLETED, now, paid_at=now)


def _of_order(order: Order, found: list[Subscription]) -> list[Subscription]:
    return [subscription for subscription in found if subscription.metadata.get("order_ref") == order.ref]
