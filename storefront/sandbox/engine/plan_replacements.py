"""Another plan by another subscription: v1 of Flexprice's route, also for another period or the same plan.

The old subscription ends at once, and a new one begins with the old one's metadata.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..store.billing_rows import Schedule, Subscription
from ..store.control_rows import Task
from ..store.database import Session
from ..store.rows import Customer, Plan, Price
from ..store.values import rfc3339
from . import cancellations, checkout, invoices, proration, schedules, subscriptions
from .catalog import prices_of
from .errors import Refusal, invalid, not_found
from .scheduler import handles

REASON = "subscription_change"
NOTED = ("cancellation_type", "cancellation_reason", "effective_date")  # by a cancellation, in metadata
NOT_CHANGED = {
    "paused": "Resume the subscription before changing plans",
    "cancelled": "Cancelled subscriptions cannot be changed",
}


@dataclass(frozen=True)
class Request:
    target_plan_id: str
    prorates: bool
    billing_period: str
    billing_period_count: int = 1
    billing_cadence: str = "RECURRING"
    billing_cycle: str = "anniversary"
    at_period_end: bool = False
    metadata: dict[str, str] | None = None


@dataclass
class Replacement:
    """What a request comes to; a preview has no new subscription."""

    from_plan: Plan
    to_plan: Plan
    type: str
    effective: datetime
    credit: Decimal | None = None  # None: not prorated
    new: Subscription | None = None
    schedule: Schedule | None = None


def preview(session: Session, subscription: Subscription, asked: Request) -> Replacement:
    """What a change would do. It refuses the same plan, which `execute` takes.

    :raises Refusal: a rule is broken.
    """
    if subscription.plan_id == asked.target_plan_id:
        raise invalid("Target plan must be different from current plan")
    return _resolve(session, subscription, asked)


def execute(session: Session, subscription: Subscription, asked: Request) -> Replacement:
    """Replaces the subscription, or plans that.

    :raises Refusal: a rule is broken.
    """
    if asked.at_period_end:
        return _schedule(session, subscription, asked)
    found = _resolve(session, subscription, asked)
    _end_old(session, subscription)
    customer = session.need(Customer, subscription.customer_id)
    wanted = checkout.SubscriptionRequest(
        found.to_plan.id,
        subscription.currency,
        asked.billing_period,
        start_date=found.effective,
        lookup_key=subscription.lookup_key,
        metadata=_metadata(subscription, asked),
        billing_period_count=asked.billing_period_count,
        trial_period_days=0,
        payment_terms=subscription.payment_terms,
        proration_behavior="create_prorations" if asked.prorates else "none",
        opening_credit=found.credit or Decimal(0),
    )
    found.new = subscriptions.create(session, customer, wanted).subscription
    return found


def _metadata(subscription: Subscription, asked: Request) -> dict[str, str] | None:
    """The old one's, without what its cancellation wrote there."""
    kept = {name: text for name, text in (subscription.meta or {}).items() if name not in NOTED}
    return (kept | (asked.metadata or {})) or None


@handles("plan.replacement")
def _execute_scheduled(session: Session, task: Task) -> None:
    """A planned replacement, after the period has rolled. If it cannot run the old plan goes on."""
    row = session.need(Schedule, task.target)
    subscription, kept = session.need(Subscription, row.subscription_id), row.configuration or {}
    asked = Request(
        kept["target_plan_id"],
        kept["proration_behavior"] == "create_prorations",
        kept["billing_period"],
        kept["billing_period_count"],
        metadata=kept.get("change_metadata"),
    )
    try:
        with session.savepoint():
            found = execute(session, subscription, asked)
    except Refusal as refusal:
        schedules.fail(session, row, refusal.message)
        return
    schedules.execute(session, row)
    row.result = {
        "old_subscription_id": subscription.id,
        "new_subscription_id": found.new.id if found.new else "",
        "change_type": found.type,
    }


def _resolve(session: Session, subscription: Subscription, asked: Request) -> Replacement:
    to_plan = session.get(Plan, asked.target_plan_id)
    if to_plan is None:
        raise not_found(f"Plan with ID {asked.target_plan_id} was not found", plan_id=asked.target_plan_id)
    _check(session, subscription, asked)
    from_plan, now = session.need(Plan, subscription.plan_id), session.now()
    before, after = _value(session, from_plan), _value(session, to_plan)
    kind = "upgrade" if after > before else "downgrade" if after < before else "lateral"
    prorates = asked.prorates and subscription.subscription_status != "trialing"
    credit = _credit(session, subscription, now) if prorates else None
    return Replacement(from_plan, to_plan, kind, now, credit)


def _check(session: Session, subscription: Subscription, asked: Request) -> None:
    status = subscription.subscription_status
    if status in NOT_CHANGED:
        raise invalid(NOT_CHANGED[status])
    if status not in ("active", "trialing"):
        raise invalid("Subscription must be active or trialing", current_status=status)
    running = [line for line in invoices.lines_of(session, subscription) if line.end_date is None]
    if asked.prorates and any(line.billing_period != subscription.billing_period for line in running):
        message = (
            "Set proration_behavior to 'none' when changing a subscription with different billing periods"
        )
        details = {"subscription_id": subscription.id, "proration_behavior": "create_prorations"}
        raise invalid(message, **details)


def _value(session: Session, plan: Plan) -> Decimal:
    """The sum of a plan's prices, of all currencies and periods, as Flexprice compares plans here."""
    return sum((price.amount for price in prices_of(session, plan.id, ended=False)), Decimal(0))


def _credit(session: Session, subscription: Subscription, now: datetime) -> Decimal:
    total = Decimal(0)
    for line in invoices.lines_of(session, subscription):
        price = session.get(Price, line.price_id)
        if price and line.end_date is None:
            total -= proration.credit(session, subscription, line, price, now)
    return total


def _end_old(session: Session, subscription: Subscription) -> None:
    """With an invoice for ARREAR fees; the credit goes to the new one's first invoice, not to a wallet."""
    request = cancellations.Request("immediate", REASON, generates_invoice=True)
    cancellations.cancel(session, subscription, request)


def _schedule(session: Session, subscription: Subscription, asked: Request) -> Replacement:
    if subscription.subscription_status != "active":
        raise invalid("Only active subscriptions can have scheduled plan changes")
    for waiting in schedules.pending(session, subscription.id, schedules.CANCELLATION):
        message = "Cancel the pending cancellation schedule before scheduling a plan change"
        raise invalid(
            message, cancellation_schedule_id=waiting.id, scheduled_at=rfc3339(waiting.scheduled_at)
        )
    for waiting in schedules.pending(session, subscription.id, schedules.PLAN_CHANGE):
        message = "Cancel the existing scheduled plan change before creating a new one"
        raise invalid(message, existing_schedule_id=waiting.id, scheduled_at=rfc3339(waiting.scheduled_at))
    configuration: dict[str, Any] = {
        "target_plan_id": asked.target_plan_id,
        "proration_behavior": "create_prorations" if asked.prorates else "none",
        "billing_cadence": asked.billing_cadence,
        "billing_period": asked.billing_period,
        "billing_period_count": asked.billing_period_count,
        "billing_cycle": asked.billing_cycle,
    }
    if asked.metadata:
        configuration["change_metadata"] = asked.metadata
    ends, plan = subscription.current_period_end, session.need(Plan, subscription.plan_id)
    row = schedules.add(session, subscription, schedules.PLAN_CHANGE, ends, configuration)
    return Replacement(plan, plan, "upgrade", ends, schedule=row)
