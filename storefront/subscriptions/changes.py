"""What a customer changes: cancel, undo, change the plan. After each, the truth is read."""

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ..checkout import orders, purchase, reconciliation
from ..checkout.context import ask, checkout, commit, db_now, rollback, session, shop_now, update_where
from ..checkout.models import Customer, OrderMixin
from ..checkout.offers import Offer, Refusal
from ..checkout.orders import change
from ..checkout.states import ENDED_UNPAID, State, Trigger
from ..flexprice import InvalidRequest, NoAnswer
from .context import WRITE_TIMEOUT_S, find_subscription, get_subscription, invoices_of, note
from .models import SubscriptionMixin
from .states import Access
from .sync import keep, running_of, settle_access, sync

log = logging.getLogger(__name__)

SYNCS_AFTER_A_CHANGE = 3
NOT_PLANNED = "It could not be planned. Nothing was charged. You can change today instead, or contact us."
NO_FEE = "There is nothing to pay for it today. Change at the renewal, or start it when your plan has ended."


class Refused(Exception):
    """Flexprice, or a rule of ours, says no: a sentence for the customer."""


def _attempt(row_id: int, call: Callable[..., Any], *args: Any, **kwargs: Any) -> InvalidRequest | None:
    """Call, then read the truth. A lost answer and a repeated request are decided by what is read. Commits.

    :returns: what Flexprice refused with, if it did.
    """
    refused = None
    try:
        ask(call, *args, timeout=WRITE_TIMEOUT_S, **kwargs)
    except InvalidRequest as error:
        log.warning("subscription row %s: its change was refused: %s", row_id, error)
        refused = error
    except NoAnswer as error:
        log.warning("subscription row %s: no answer to its change: %s", row_id, error)
    # A sync that was faster may have read before the change, and undoing sends no event.
    if not any(sync(row_id) for _ in range(SYNCS_AFTER_A_CHANGE)):
        orders.check_now(get_subscription(row_id))
        commit()
    return refused


def cancel(row_id: int, *, immediately: bool) -> None:
    """End a subscription; safe to repeat. A trial is always ended at once: planned for its end it is billed.

    :raises Refused: it runs on.
    """
    row = get_subscription(row_id)
    if not row.runs or (row.cancel_at and not immediately):
        return
    call, now = checkout().client.cancel_subscription, immediately or row.in_trial
    refused = _attempt(row_id, call, row.subscription_id, immediately=now)
    row = get_subscription(row_id)
    if row.runs and row.cancel_at is None:
        raise Refused("This plan could not be cancelled now. Try again in a minute.") from refused


def undo(row_id: int, what: str) -> None:
    """Undo a planned end ("cancel") or a planned change of plan ("change"); safe to repeat.

    :raises Refused: it is still planned.
    """
    row = get_subscription(row_id)
    column = "cancel_schedule_id" if what == "cancel" else "change_schedule_id"
    schedule_id = getattr(row, column)
    if not row.runs or not schedule_id:
        return
    refused = _attempt(row_id, checkout().client.cancel_schedule, schedule_id)
    if getattr(get_subscription(row_id), column):
        raise Refused("This could not be undone now. Try again in a minute.") from refused


# -- another plan -----------------------------------------------------------------------------------


def why_not_at_renewal(row: SubscriptionMixin, offer: Offer) -> str:
    """Why the plan cannot be changed when the period ends; empty when it can."""
    if not row.runs or row.replaced_by:
        return "This plan has ended."
    if row.cancel_at:
        return "This plan is cancelled for the end of its period. Undo that first."
    if row.change_schedule_id:
        return "A change of plan is already planned. Undo that first."
    if (row.currency, row.billing_period) != (offer.currency, offer.billing_period):
        return "At the renewal only a plan with the same currency and billing period is possible."
    return "You have this plan." if row.plan_id == offer.plan_id else ""


def change_at_renewal(row_id: int, offer: Offer) -> None:
    """Plan the change; nothing is charged today. Safe to repeat.

    :raises Refused: with a sentence for the customer.
    """
    row = get_subscription(row_id)
    if row.planned_plan_id == offer.plan_id:
        return
    if why := why_not_at_renewal(row, offer):
        raise Refused(why)
    call = checkout().client.plan_change_at_renewal
    refused = _attempt(row_id, call, row.subscription_id, offer.plan_id)
    row = get_subscription(row_id)
    if row.planned_plan_id != offer.plan_id and row.plan_id != offer.plan_id:
        raise Refused(NOT_PLANNED) from refused


def why_not_today(row: SubscriptionMixin, offer: Offer) -> str:
    """Why the plan cannot be changed today; empty when it can."""
    if not row.runs or row.order_ref is None or row.replaced_by:
        return "This plan cannot be changed today."
    if offer.refusal:
        return NO_FEE if offer.refusal == Refusal.FREE else str(offer.refusal)
    if any(invoice.is_open for invoice in invoices_of(row.subscription_id)):
        return "Pay the open invoice of your plan first."
    return ""


def change_today(
    row_id: int, customer: Customer, offer: Offer, return_url: Callable[[str], str]
) -> OrderMixin:
    """The order by which another plan is paid; the old one is ended once it is. Commits.

    :raises Refused: with a sentence for the customer.
    """
    row = get_subscription(row_id)
    if why := why_not_today(row, offer):
        raise Refused(why)
    ref, key = row.order_ref or "", customer.key
    if known := _open_change(ref):
        if (known.plan_id, known.currency, known.billing_period) != _terms(offer):
            raise Refused("Another change of your plan is waiting for its payment. Cancel that order first.")
        if not _begins_again(known):
            return known
        _open_change(ref)
    values: dict[str, Any] = {"replaces": ref}
    if offer.plan_id == row.plan_id:  # only its period changes: the plan's slot is taken until it is paid
        values["slot"] = f"{key} change {ref}"
    try:
        order, claimed = purchase.place_order(customer, offer, return_url, **values)
    except (purchase.AlreadyOwned, purchase.OpenOrderExists) as error:
        raise Refused("You have this plan, or an open order for it.") from error
    except IntegrityError as error:  # another tab was faster
        rollback()
        raise Refused("Another change of your plan has just begun.") from error
    if claimed:
        purchase.open_session(order, by="customer")
    return orders.get(order.id)


def _terms(offer: Offer) -> tuple[str, str, str]:
    return offer.plan_id, offer.currency, offer.billing_period


def _open_change(ref: str) -> OrderMixin | None:
    """The order that is to replace this one. One that ended unpaid makes room: nothing has changed."""
    Order = checkout().Order
    ended = (Order.replaces == ref, Order.state.in_(ENDED_UNPAID))
    if update_where(Order, {"replaces": None}, *ended):
        commit()
    found: OrderMixin | None = session().scalar(select(Order).where(Order.replaces == ref))
    return found


def _begins_again(order: OrderMixin) -> bool:
    """No answer came to its create call, and no payment is found: it makes room for a new one. Commits."""
    waited = db_now() - (order.session_requested_at or db_now())
    lost = order.state == State.PLACED and waited > reconciliation.RESTART_AFTER
    return lost and reconciliation.restart(order)


def hand_over(_app: object, order: OrderMixin, to_state: State, **_: object) -> None:
    """In the transaction that fulfills an order: keep its subscription, have the replaced one ended."""
    if to_state == State.PAID and not order.amount:
        keep(order)  # the sync fulfills it
    if to_state != State.FULFILLED:
        return
    others = [row for row in running_of(order.customer_key) if row.order_ref != order.ref]
    keep(order)
    old = orders.find(ref=order.replaces) if order.replaces else None
    if old is None:
        for other in others:  # an order that ended was paid late, after another one had begun
            note(other, f"The customer has paid for another plan as well (order {order.ref}): both run")
        return
    # Its slot is handed over, or kept from other orders: access to another plan than the new one is revoked.
    same_plan = old.slot == orders.slot_of(order.customer_key, order.plan_id)
    kept = None if same_plan else f"{order.customer_key} replaced {old.ref}"
    change(old, {"replaced_by": order.ref, "slot": kept})
    change(order, {"slot": orders.slot_of(order.customer_key, order.plan_id)})
    if row := find_subscription(order_ref=old.ref):
        now = db_now()
        change(
            row, {"replaced_by": order.ref, "end_requested_at": now, "next_attempt_at": now, "attempts": 0}
        )


def end_replaced(row_id: int) -> None:
    """End a subscription that another one has replaced: at once, without credit or invoice; safe to repeat.

    :raises FlexpriceError: it could not be ended now.
    """
    sync(row_id)
    row = get_subscription(row_id)
    if row.runs:
        call = checkout().client.cancel_subscription
        refused = _attempt(row_id, call, row.subscription_id, immediately=True, reason="replaced")
        row = get_subscription(row_id)
        if row.runs:
            raise refused or NoAnswer("the replaced subscription still runs")
    change(row, {"end_requested_at": None, "attempts": 0})
    commit()


# -- made in Flexprice's dashboard ------------------------------------------------------------------


def assign(row_id: int, return_url: Callable[[str], str], *, by: str) -> OrderMixin:
    """Give a plan made in Flexprice's dashboard to its customer, by an order over nothing. Does not commit.

    Read it before (`sync`). Nobody is buying: your `on_order_created` finds the customer by
    `order.customer_key`.

    :param by: "operator:<email>".
    :raises Refused: it does not run or is assigned already, or the customer has the plan; the transaction
        is rolled back.
    """
    row = get_subscription(row_id)
    if row.order_ref or row.replaced_by or not row.runs:
        rollback()
        raise Refused("It does not run, or it is assigned already.")
    nothing = Offer(row.plan_id, row.plan_name, row.currency, row.billing_period, Decimal(0))
    owner = Customer(row.customer_key, "", "")
    known: dict[str, Any] = {
        "subscription_id": row.subscription_id,
        "flexprice_customer_id": row.flexprice_customer_id,
        "invoice_verified_at": db_now(),
    }
    order = purchase.new_order(owner, nothing, return_url, known)
    session().add(order)
    try:
        session().flush()
    except IntegrityError as error:
        rollback()
        raise Refused("The customer has this plan already, or an open order for it.") from error
    change(row, {"order_ref": order.ref, "access": Access.GRANTED}, order_ref=None)
    orders.transition(order, Trigger.PAYMENT_COMPLETED, by=by, paid_at=shop_now())
    orders.fulfill(order, by=by)
    settle_access(row)
    return order
