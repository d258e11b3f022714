"""Sync: read a subscription by its id and write what Flexprice says, with the access that follows from it.

Several changes send no event, and a message may be late, repeated, or built from a later state
(docs/flexprice-contract.md#j4): an event only says when to look, and dates do the same.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, or_, select

from ..checkout import orders
from ..checkout.context import ask, checkout, commit, db_now, naive, rollback, session, shop_now
from ..checkout.models import OrderMixin
from ..checkout.orders import change, check_now
from ..checkout.states import State
from ..flexprice import RouteNotFound, Subscription, UnreadableResponse
from .context import (
    find_subscription,
    get_subscription,
    grace,
    invoices_of,
    note,
    order_of,
    subscriptions,
    tell,
)
from .invoices import record_invoice
from .models import SubscriptionMixin
from .signals import Fact
from .states import ACCESS, RUNNING, Access, Verdict, suspend_at, verdict

log = logging.getLogger(__name__)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AT_LEAST_EVERY = 12 * HOUR  # of real time, whatever the dates say
REMIND_BEFORE_RENEWAL, REMIND_BEFORE_TRIAL_END = DAY, 3 * DAY
# After a period's end: the period rolls, its invoice is computed, and is final 2 h later
# (docs/flexprice-contract.md#j2).
AFTER_PERIOD_END = (2 * MINUTE, 20 * MINUTE, 2.3 * HOUR, 2.9 * HOUR, 3.5 * HOUR)
NOTHING_PLANNED = dict.fromkeys(("cancel_schedule_id", "change_schedule_id", "planned_plan_id", "planned_at"))
UNTIL_READ = ("flexprice_customer_id", "plan_id", "plan_name", "currency", "billing_period")  # empty


def sync(row_id: int, *, may_suspend: bool = False) -> bool:
    """Read one subscription with its invoices and plans for it, and write the truth. Commits.

    :param may_suspend: what could be paid by a live link was asked before: an overdue invoice may suspend.
        Otherwise the worker asks first.
    :returns: False: another sync was faster; it is due again.
    :raises FlexpriceError: it could not be read whole: nothing is written.
    """
    row = get_subscription(row_id)
    version, subscription_id = row.version, row.subscription_id
    client = checkout().client
    told = ask(client.get_subscription, subscription_id)
    listed = ask(client.list_invoices, subscription_id)
    planned = _planned(subscription_id) if told.status != "cancelled" else NOTHING_PLANNED
    theirs = row.flexprice_customer_id or ask(client.get_customer_by_external_id, row.customer_key).id
    doubles = _doubles(row, told)
    row = get_subscription(row_id)
    if (told.id, told.customer_id) != (subscription_id, theirs):
        raise UnreadableResponse("it is another subscription, or it belongs to another customer")
    if listed.unreadable:
        raise UnreadableResponse("an invoice of the subscription cannot be read")
    own = [bill for bill in listed if (bill.subscription_id, bill.customer_id) == (told.id, told.customer_id)]
    if not _write(row, told, planned, version):
        rollback()
        return False
    for bill in own:
        record_invoice(row, bill)
    if order := order_of(row):
        for double in doubles:
            end_unwanted(order, double)
    _begin(row)
    settle_access(row, may_suspend=may_suspend)
    remind(row)
    _plan_next_look(row)
    commit()
    return True


def _planned(subscription_id: str) -> dict[str, Any]:
    """Its columns; of none while a plan for it cannot be read: what is known stays."""
    try:
        found = ask(checkout().client.list_schedules, subscription_id)
    except RouteNotFound:
        return NOTHING_PLANNED
    if found.unreadable:
        return {}
    planned = {one.type: one for one in reversed(found) if one.status == "pending"}
    ends, changes = planned.get("cancellation"), planned.get("plan_change")
    return {
        "cancel_schedule_id": ends.id if ends else None,
        "change_schedule_id": changes.id if changes else None,
        "planned_plan_id": changes.target_plan_id or None if changes else None,
        "planned_at": naive(changes.scheduled_at) if changes else None,
    }


def _write(row: SubscriptionMixin, told: Subscription, planned: dict[str, Any], version: int) -> bool:
    before = (row.status, row.cancel_at, row.plan_id)
    values: dict[str, Any] = {
        "version": version + 1,
        "synced_at": db_now(),
        "attempts": row.attempts if row.end_requested_at else 0,  # those to end it are counted together
        "flexprice_customer_id": told.customer_id,
        "status": told.status,
        "plan_id": told.plan_id,
        "plan_name": told.plan_name or (row.plan_name if told.plan_id == row.plan_id else told.plan_id),
        "currency": told.currency[:3] or row.currency,
        "billing_period": told.billing_period[:20] or row.billing_period,
        "period_start": naive(told.current_period_start),
        "period_end": naive(told.current_period_end),
        "trial_end": naive(told.trial_end),
        "cancel_at": naive(told.cancel_at),
    }
    if not change(row, values | planned, version=version):
        return False
    if order := order_of(row):
        change(order, {"access_ends_at": row.cancel_at})  # an undo sends no event
    if before[0]:  # it was read before
        _tell_changes(row, *before)
    return True


def _tell_changes(row: SubscriptionMixin, status: str, cancel_at: datetime | None, plan_id: str) -> None:
    if row.runs and row.cancel_at and cancel_at is None:
        tell(Fact.CANCEL_SCHEDULED, row)
    if row.runs and row.cancel_at is None and cancel_at:
        tell(Fact.CANCEL_UNDONE, row)
    if row.plan_id != plan_id:
        _plan_changed(row)


def _plan_changed(row: SubscriptionMixin) -> None:
    """Flexprice changed the plan of the same subscription: the order grants the new one from now on."""
    order = order_of(row)
    if order is not None and order.is_active and row.replaced_by is None:
        slot = orders.slot_of(order.customer_key, row.plan_id)
        taken = orders.find(slot=slot)
        if taken is not None and taken.id != order.id:
            note(row, "The customer has the plan that this subscription changed to a second time")
            slot = order.slot or ""
        change(order, {"slot": slot or None})
        subscriptions().hooks.on_plan_change(order, row.plan_id, row.plan_name)
    tell(Fact.PLAN_CHANGED, row)


# -- what was started for nothing -------------------------------------------------------------------


def _begin(row: SubscriptionMixin) -> None:
    """An order over nothing is fulfilled when its subscription runs and nothing is owed."""
    order = order_of(row)
    if order is None or order.state != State.PAID or order.amount or not row.runs:
        return
    if not any(invoice.is_open for invoice in invoices_of(row.subscription_id)):
        change(order, {"invoice_verified_at": db_now()})
        orders.fulfill(order, by="worker")


def _doubles(row: SubscriptionMixin, told: Subscription) -> list[Subscription]:
    """Others that the same start has made: its request was sent again after a lost answer."""
    order = order_of(row)
    if order is None or order.amount or told.status not in RUNNING:
        return []
    if db_now() - order.status_changed_at > DAY:
        return []
    others = [one for one in orders.traces_of(order) if one.id != told.id and one.status in RUNNING]
    return [one for one in others if one.customer_id == told.customer_id]


def end_unwanted(order: OrderMixin, made: Subscription) -> None:
    """Have a subscription ended that an order over nothing has made beside or after it. Does not commit."""
    if find_subscription(subscription_id=made.id) is None:
        add_row(
            subscription_id=made.id, customer_key=order.customer_key, plan_id=made.plan_id,
            plan_name=order.plan_name, replaced_by=order.ref, end_requested_at=db_now(),
        )  # fmt: skip


# -- access -----------------------------------------------------------------------------------------


def settle_access(row: SubscriptionMixin, *, may_suspend: bool = False) -> None:
    """Suspend, resume or end access by what is written; the host's hooks run in this transaction.

    :param may_suspend: False: an overdue invoice only makes the row due, and the worker asks first.
    """
    bills = [] if row.replaced_by else [invoice.bill for invoice in invoices_of(row.subscription_id)]
    change(row, {"suspend_at": suspend_at(bills, grace())})
    says = verdict(row.status, row.suspend_at, shop_now())
    before = Access(row.access)
    after = ACCESS.get((before, says))
    if before is Access.ENDED and says is Verdict.IN_ORDER:
        note(row, "Its access has ended, but Flexprice says that it runs")
    if says is Verdict.OVERDUE and after and not may_suspend:
        check_now(row)
        return
    if after is None or not change(row, {"access": after}, access=before):
        return
    order = order_of(row)
    log.info("subscription %s: access %s -> %s (%s)", row.subscription_id, before, after, says)
    if after is Access.ENDED:
        if order is not None:
            orders.revoke(order, by="worker", reason="the subscription was cancelled")
        if row.replaced_by is None:
            tell(Fact.ENDED, row)
        return
    hooks = subscriptions().hooks
    if order is not None and order.is_active:
        (hooks.on_suspend if after is Access.SUSPENDED else hooks.on_resume)(order)
    tell(Fact.SUSPENDED if after is Access.SUSPENDED else Fact.RESUMED, row)


def remind(row: SubscriptionMixin) -> None:
    """What is due by the date alone: also when the event was missed, which is never sent again."""
    now = shop_now()
    if row.replaced_by or row.cancel_at or row.access == Access.ENDED:
        return
    end = row.period_end
    renews = row.status == "active" and end and end - REMIND_BEFORE_RENEWAL <= now < end
    if renews and row.renewal_told_for != end:
        change(row, {"renewal_told_for": end})
        tell(Fact.RENEWAL_COMING, row)
    over = row.trial_end
    if row.in_trial and over and over - REMIND_BEFORE_TRIAL_END <= now < over and row.trial_told_for != over:
        change(row, {"trial_told_for": over})
        tell(Fact.TRIAL_ENDING, row)


def _plan_next_look(row: SubscriptionMixin) -> None:
    now, real_now = shop_now(), db_now()
    late = row.runs and row.period_end is not None and row.period_end <= now  # billing has not run yet
    late = late or row.status == "draft"  # a replica lags
    next_look = real_now + (MINUTE if late else AT_LEAST_EVERY)
    if row.access == Access.ENDED and not any(i.is_open for i in invoices_of(row.subscription_id)):
        next_look = real_now + 7 * DAY
    if row.runs and row.access == Access.GRANTED and row.suspend_at and row.suspend_at <= now:
        next_look = real_now  # nobody is suspended before the worker has asked
    coming = [moment for moment in _dates(row) if moment > now]
    change(row, {"due_at": min(coming, default=None), "next_attempt_at": next_look})


def _dates(row: SubscriptionMixin) -> list[datetime]:
    """When something may change at Flexprice, or by the date alone; in shop time."""
    overdue = (invoice.overdue_from for invoice in invoices_of(row.subscription_id))
    dates: list[datetime | None] = [row.suspend_at, *overdue]
    if row.runs:
        dates += [
            end + wait for end in (row.period_start, row.period_end) if end for wait in AFTER_PERIOD_END
        ]
        dates += [row.cancel_at + 2 * MINUTE] if row.cancel_at else []
        dates += [row.period_end - REMIND_BEFORE_RENEWAL] if row.period_end else []
    if row.in_trial and row.trial_end:
        dates += [row.trial_end - REMIND_BEFORE_TRIAL_END, row.trial_end + 16 * MINUTE]
    return [moment for moment in dates if moment]


# -- which subscriptions ----------------------------------------------------------------------------


def keep(order: OrderMixin) -> None:
    """Give a fulfilled order's subscription its row. Does not commit."""
    model, subscription_id = subscriptions().Subscription, order.subscription_id
    known = or_(model.order_ref == order.ref, model.subscription_id == subscription_id)
    if subscription_id and session().scalar(select(model.id).where(known)) is None:
        add_row(
            subscription_id=subscription_id, customer_key=order.customer_key, order_ref=order.ref,
            flexprice_customer_id=order.flexprice_customer_id or "", access=Access.GRANTED,
            plan_id=order.plan_id, plan_name=order.plan_name, currency=order.currency,
            billing_period=order.billing_period, replaced_by=order.replaced_by,
            end_requested_at=db_now() if order.replaced_by else None,
        )  # fmt: skip


def running_of(customer_key: str) -> list[SubscriptionMixin]:
    """The customer's plans that run and that an order of ours granted."""
    model = subscriptions().Subscription
    theirs = (model.customer_key == customer_key, model.order_ref.is_not(None), model.replaced_by.is_(None))
    found = select(model).where(*theirs, model.status.in_(RUNNING)).order_by(model.id)
    return list(session().scalars(found))


def add_row(**columns: Any) -> None:
    """A subscription that the worker reads now. Does not commit."""
    unknown = dict.fromkeys(UNTIL_READ, "") | {"access": Access.NONE}
    session().add(subscriptions().Subscription(**unknown | columns, next_attempt_at=db_now()))
    session().flush()


def adopt_orders(limit: int = 100) -> int:
    """The same for orders that were fulfilled before the second month was installed. Commits.

    It reads all orders.
    """
    Order, model = checkout().Order, subscriptions().Subscription
    fulfilled = (
        Order.state == State.FULFILLED,
        Order.revoked_at.is_(None),
        Order.subscription_id.is_not(None),
    )
    known = exists().where(or_(model.order_ref == Order.ref, model.subscription_id == Order.subscription_id))
    without = list(session().scalars(select(Order).where(*fulfilled, ~known).limit(limit)))
    for order in without:
        keep(order)
    commit()
    return len(without)
