"""An order from its session to the end of its access: move it, fulfill it once, revoke it.

Call `commit()` after any function here. Only `traces_of` commits, before it asks Flexprice.
"""

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm.attributes import set_committed_value

from ..flexprice import CheckoutSession, NotFound, Subscription, UnreadableResponse
from . import context
from .context import after_commit, ask, checkout, db_now, load, naive, rollback, session, update_where
from .models import OrderMixin
from .signals import order_needs_attention, order_transitioned
from .states import ENDED_UNPAID, HOLDS_SLOT, OPEN, SETTLED, TRANSITIONS, State, Trigger

log = logging.getLogger(__name__)


MONEY_TAKEN = ("SUCCEEDED", "OVERPAID")
# A customer may have several subscriptions; without statuses Flexprice hides drafts and cancelled ones.
TRACES = ("draft", "active", "trialing")

CLAIMED_PAID = (
    'Ended, but the customer came back with Razorpay\'s status "paid" (unverified). '
    "Are the events payment.captured and payment_link.paid enabled at Razorpay?"
)
NOTES = {  # what an operator reads about an order that moved by these
    Trigger.PAYMENT_UNMATCHED: "Paid, but the session did not complete: fulfill or refund it by hand",
    Trigger.COMPLETION_OVERWRITTEN: "Paid and completed, but overwritten since: fulfill or refund it by hand",
    Trigger.DUPLICATE_PAYMENT: "The customer already has this plan: refund this payment",
}
LOST = "No answer to the create call came, and Flexprice knows of no payment"
UNTRUE_WHEN_PAID = (LOST, CLAIMED_PAID, *NOTES.values())


class FulfillmentFailed(Exception):
    """The host's hook raised. Nothing of the transaction may be kept; the order stays paid."""


def record_session(order: OrderMixin, created: CheckoutSession, *, by: str) -> bool:
    """Store the session beside the order; an order that has another session keeps that one.

    :returns: whether the order has this session now.
    """
    ids = {
        "session_id": created.id,
        "flexprice_customer_id": created.customer_id,
        "payment_url": created.payment_url,
        "expires_at": naive(created.expires_at),
        "invoice_id": created.invoice_id,
        "payment_id": created.payment_id,
    }
    known = {name: value for name, value in ids.items() if value is not None}
    if not change(order, known, session_id=None) and order.session_id != created.id:
        log.error("order %s has session %s: %s is ignored", order.ref, order.session_id, created.id)
        return False
    if not transition(order, Trigger.SESSION_CREATED, by=by):
        check_now(order)  # it ended before the answer came: the worker withdraws the link
    return True


def settle(order_id: int, told: CheckoutSession, *, by: str, announced: str = "") -> bool:
    """Apply the session; where that makes the order paid, fulfill it in the same transaction.

    The transaction is done again where it fails: a click may have taken the order's slot in between. A hook
    or a receiver that raises never blocks the move to paid: then it is done without the hook, at last
    without the receivers, and the worker tries to fulfill the order later.

    :returns: whether it moved the order.
    """
    for fulfill_now, notify in ((True, True), (True, True), (False, True), (False, False)):
        order = get(order_id)
        try:
            moved = apply_session(order, told, by=by, announced=announced, notify=notify)
            if fulfill_now and moved and order.state == State.PAID and order.invoice_verified_at:
                fulfill(order, by=by)
            session().flush()
            return moved
        except Exception:
            if not notify:
                raise
            rollback()
            log.exception("order %s: the transaction failed; it is done again", order_id)
    raise AssertionError("unreachable")


def apply_session(
    order: OrderMixin, told: CheckoutSession, *, by: str, announced: str = "", notify: bool = True
) -> bool:
    """The one way in which a session's status reaches an order.

    :param told: from a signed webhook with a final status, or from Flexprice when asked.
    :param announced: the last word of the webhook's event type.
    :param notify: whether `order_transitioned` is sent.
    :returns: whether it moved the order.
    """
    if (told.id, told.customer_id) != (order.session_id, order.flexprice_customer_id):
        add_review_note(order, f"Session {told.id} is not this order's, or not its customer's: not believed")
        return False
    order.invoice_id = told.invoice_id or order.invoice_id
    order.payment_id = told.payment_id or order.payment_id
    session().flush()
    trigger = trigger_for(order, told, announced)
    if trigger is None:
        return False
    paid_at = naive(told.completed_at) or context.shop_now()
    values: dict[str, Any] = {"paid_at": paid_at} if trigger is Trigger.PAYMENT_COMPLETED else {}
    moved = transition(order, trigger, by=by, notify=notify, **values)
    if trigger is Trigger.COMPLETION_OVERWRITTEN and order.state == State.FULFILLED:
        add_review_note(order, "Fulfilled, but Flexprice overwrote the completed session: it will not renew")
    return moved


def trigger_for(order: OrderMixin, told: CheckoutSession, announced: str = "") -> Trigger | None:
    """What a session's status means for its order; None while nothing is decided."""
    if told.status == "completed":
        return Trigger.PAYMENT_COMPLETED
    if told.terminal and (told.completed_at or announced == "completed"):
        return Trigger.COMPLETION_OVERWRITTEN  # a late clean-up can overwrite a completed session
    if order.cancel_requested_at and (told.cancelled_at or told.status == "expired"):
        return Trigger.CANCELLED  # Flexprice's word for it is "expired"
    if told.terminal:
        return Trigger.PAYMENT_FAILED if told.status == "failed" else Trigger.SESSION_EXPIRED
    if told.payment_status in MONEY_TAKEN:
        return Trigger.PAYMENT_UNMATCHED
    return None


def traces_of(order: OrderMixin) -> list[Subscription]:
    """The customer's subscriptions that may come from this order's requests, the oldest first.

    :raises UnreadableResponse: when one of them cannot be read: then none can be excluded.
    """
    try:
        search = checkout().client.list_subscriptions
        found = ask(search, order.customer_key, TRACES, timeout=context.PAGE_TIMEOUT_S)
    except NotFound:
        return []
    if found.unreadable:
        raise UnreadableResponse(f"{found.unreadable} subscriptions of the customer cannot be read")
    ours = [subscription for subscription in found if subscription.metadata.get("order_ref") == order.ref]
    return sorted(ours, key=lambda subscription: str(subscription.created_at))


def find_payment(order: OrderMixin, found: list[Subscription], *, by: str) -> bool:
    """A session whose answer was lost may be paid: then one of the order's subscriptions is active."""
    active = next((s for s in found if s.status in ("active", "trialing")), None)
    if active is None:
        return False
    told: dict[str, Any] = {"subscription_id": active.id, "invoice_id": active.latest_invoice_id}
    known = {name: value for name, value in told.items() if value}
    return transition(order, Trigger.PAYMENT_COMPLETED, by=by, paid_at=context.shop_now(), **known)


def transition(
    order: OrderMixin,
    trigger: Trigger,
    *,
    by: str,
    notify: bool = True,
    only_if: dict[str, Any] | None = None,
    **values: Any,
) -> bool:
    """Move the order by one conditional UPDATE. Every side effect hangs on the True that this call returns.

    :param by: who caused it: "webhook", "worker", "customer", "operator:<email>".
    :param only_if: columns that must still have these values.
    :param values: further columns to write with it.
    """
    Order = checkout().Order
    session().flush()
    columns = (Order.state, Order.slot, Order.review_note, Order.returned_paid_at)
    for _ in range(2):  # SQLite has no row locks: an order that changed in between is read once more
        seen = session().execute(select(*columns).where(Order.id == order.id).with_for_update()).one()
        after = TRANSITIONS.get((State(seen.state), trigger))
        if after is None:
            break
        written = _values_of(order, seen, trigger, after) | values
        if change(order, written, state=seen.state, review_note=seen.review_note, **only_if or {}):
            log.info("order %s: %s -> %s (%s, by %s)", order.ref, seen.state, after, trigger, by)
            if notify:
                told: dict[str, Any] = {"order": order, "trigger": trigger, "by": by}
                order_transitioned.send(checkout().app, from_state=State(seen.state), to_state=after, **told)
            if note := written.get("review_note"):
                _alert(order, note, by)
            return True
    session().refresh(order)
    log.info("order %s stays %s: %s changes nothing", order.ref, order.state, trigger)
    return False


def _values_of(order: OrderMixin, seen: Any, trigger: Trigger, after: State) -> dict[str, Any]:
    now = db_now()
    values: dict[str, Any] = {"state": after, "status_changed_at": now, "next_attempt_at": now, "attempts": 0}
    if after not in HOLDS_SLOT:
        values["slot"] = None
    elif seen.slot is None and trigger is not Trigger.FULFILLED:
        values["slot"] = free_slot(order)
    if after in SETTLED:
        values |= {"customer_name": None, "customer_email": None}
    if trigger in NOTES:
        values["review_note"] = NOTES[trigger]
    elif after in ENDED_UNPAID and seen.returned_paid_at:
        values["review_note"] = CLAIMED_PAID
    elif trigger is Trigger.PAYMENT_COMPLETED and (seen.review_note or "").startswith(UNTRUE_WHEN_PAID):
        values["review_note"] = None
    return values


def _alert(order: OrderMixin, note: str, by: str) -> None:
    if not by.startswith("operator"):
        log.error("order %s: %s", order.ref, note)
        after_commit(order_needs_attention, order=order, note=note)


def slot_of(customer_key: str, plan_id: str) -> str:
    """Return the value of the column `slot` for this customer and plan."""
    return f"{customer_key} {plan_id}"


def free_slot(order: OrderMixin) -> str | None:
    """The order's slot, taken over from an order that is not paid; None: the customer has the plan."""
    Order, slot = checkout().Order, slot_of(order.customer_key, order.plan_id)
    weaker = Order.state.in_([*OPEN, State.HELD, State.STUCK])
    update_where(Order, {"slot": None}, Order.slot == slot, Order.id != order.id, weaker)
    # One that is placed just now, after the UPDATE, makes a conflict: the transaction is done again.
    taken = session().scalar(select(Order.id).where(Order.slot == slot, Order.id != order.id, ~weaker))
    return slot if taken is None else None


# -- what a paid order is owed ----------------------------------------------------------------------


def fulfill(order: OrderMixin, *, by: str) -> bool:
    """Grant access exactly once: `on_fulfill` runs in the transaction that marks the order, or not at all.

    :raises FulfillmentFailed: the hook, or a receiver of `order_transitioned`, raised: roll back.
    """
    slot = order.slot or free_slot(order)
    if slot is None:
        return transition(order, Trigger.DUPLICATE_PAYMENT, by=by)
    try:
        fulfilled = transition(order, Trigger.FULFILLED, by=by, slot=slot, fulfilled_at=context.shop_now())
        if fulfilled:
            checkout().hooks.on_fulfill(order)
        session().flush()
    except Exception as error:
        raise FulfillmentFailed(str(error)) from error
    return fulfilled


def revoke(order: OrderMixin, *, by: str, reason: str) -> bool:
    """Access has ended: `on_revoke` runs once, in this transaction. False when it has ended already.

    It does not run where a later order of the customer grants the same plan: that one took the slot over.
    """
    granted = find(slot=order.slot or slot_of(order.customer_key, order.plan_id))
    ended = change(order, {"revoked_at": db_now(), "slot": None}, state=State.FULFILLED, revoked_at=None)
    if ended:
        log.info("order %s: access ended (%s, by %s)", order.ref, reason, by)
        if granted is None or granted.id == order.id or not granted.is_active:
            checkout().hooks.on_revoke(order)
    return ended


def refund_seen(order: OrderMixin, *, by: str) -> None:
    """Flexprice reports that money went back. Of a sale that was fulfilled it is information, no more."""
    order.refunded_at = order.refunded_at or db_now()
    if not transition(order, Trigger.REFUND_SEEN, by=by):
        add_review_note(order, "Flexprice reports a refund for this order")


# -- what a person decides --------------------------------------------------------------------------


def release_for_fulfillment(order: OrderMixin, *, by: str) -> bool:
    """An operator lets an order that is held or stuck be fulfilled as it is; the worker does so."""
    now = db_now()
    accepted: dict[str, Any] = {"invoice_verified_at": now, "paid_at": order.paid_at or context.shop_now()}
    return transition(order, Trigger.RELEASED, by=by, review_note=f"Released by {by}", **accepted)


def confirm_refund(order: OrderMixin, *, by: str) -> bool:
    """An operator has seen to it that the money went back."""
    note, refunded_at = f"Refund confirmed by {by}", order.refunded_at or db_now()
    return transition(order, Trigger.REFUND_CONFIRMED, by=by, review_note=note, refunded_at=refunded_at)


def close(order: OrderMixin, *, by: str) -> bool:
    """An operator ends an order that would wait for ever. Money that comes all the same is still noticed."""
    return transition(order, Trigger.CLOSED, by=by, review_note=f"Closed by {by}")


# -- rows -------------------------------------------------------------------------------------------


def get(order_id: int) -> OrderMixin:
    """Return the order, read again from the database.

    :raises LookupError: there is none.
    """
    found: OrderMixin = load(checkout().Order, order_id)
    return found


def find(**columns: str) -> OrderMixin | None:
    """The order that has these values in unique columns, such as `ref`, `session_id` or `slot`."""
    found: OrderMixin | None = session().scalar(select(checkout().Order).filter_by(**columns))
    return found


def owned_plans(customer_key: str) -> set[str]:
    """Ids of the plans that a customer has, by what was sold here."""
    Order = checkout().Order
    active = (Order.customer_key == customer_key, Order.state == State.FULFILLED, Order.revoked_at.is_(None))
    slots = session().scalars(select(Order.slot).where(*active))  # a changed plan is in the slot only
    return {slot.rpartition(" ")[2] for slot in slots if slot}


def mismatched_at(customer_key: str, plan_id: str) -> datetime | None:
    """When an order of this customer was last found to charge something other than was shown."""
    Order = checkout().Order
    of_plan = (Order.customer_key == customer_key, Order.plan_id == plan_id)
    differed = Order.state.in_([State.MISMATCHED, State.HELD, State.REFUNDED])
    return session().scalar(select(func.max(Order.status_changed_at)).where(*of_plan, differed))


def change(row: Any, values: dict[str, Any], **as_it_was: Any) -> bool:
    """Write `values` where the columns are still as they were. False: they are not, and are read again.

    :param row: an order, or a row of an extension beside the checkout.
    """
    session().flush()
    model = type(row)
    unchanged = [getattr(model, name) == value for name, value in as_it_was.items()]
    if update_where(model, values, model.id == row.id, *unchanged) == 0:
        session().refresh(row)
        return False
    for name, value in values.items():
        set_committed_value(row, name, value)
    return True


def check_now(row: Any) -> None:
    """Let the worker look at it in its next turn."""
    change(row, {"next_attempt_at": db_now()})


def add_review_note(order: OrderMixin, note: str, *conditions: Any) -> None:
    """Say something to the operator, once, who is alerted.

    :param conditions: of the row, at the moment of the UPDATE; else nothing is said.
    """
    if append_note(order, note, *conditions):
        _alert(order, note, "")


def append_note(row: Any, note: str, *conditions: Any) -> bool:
    """Write a note that is not there yet; what was noted before stays in front of it.

    :param row: an order, or a row of an extension beside the checkout.
    """
    model, column = type(row), type(row).review_note
    unknown = ~func.coalesce(column, "").contains(note, autoescape=True)
    joined = func.coalesce(column + "; ", "") + note
    added = update_where(model, {"review_note": joined}, model.id == row.id, unknown, *conditions)
    session().refresh(row)
    return added == 1


def note_claimed_payment(order: OrderMixin) -> None:
    """The customer of an order that ended came back as if they had paid: a person looks into it."""
    add_review_note(order, CLAIMED_PAID, checkout().Order.state.in_(ENDED_UNPAID))
