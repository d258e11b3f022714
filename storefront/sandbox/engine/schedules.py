"""Planned changes of a subscription: an end, or another plan, at the end of the period."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..store.billing_rows import Schedule, Subscription
from ..store.database import Session
from ..store.values import new_id
from .errors import Refusal
from .scheduler import schedule as plan_task

CANCELLATION, PLAN_CHANGE = "cancellation", "plan_change"


def add(
    session: Session,
    subscription: Subscription,
    schedule_type: str,
    at: datetime,
    configuration: dict[str, Any] | None = None,
) -> Schedule:
    """A pending schedule."""
    now = session.now()
    return session.add(
        Schedule(
            id=new_id("sched"),
            subscription_id=subscription.id,
            schedule_type=schedule_type,
            scheduled_at=at,
            configuration=configuration,
            created_at=now,
            updated_at=now,
        )
    )


def pending(session: Session, subscription_id: str, schedule_type: str = "") -> Sequence[Schedule]:
    """The pending schedules of a subscription, newest first; of one type if it is given."""
    conditions = [Schedule.subscription_id == subscription_id, Schedule.schedule_status == "pending"]
    if schedule_type:
        conditions.append(Schedule.schedule_type == schedule_type)
    return session.all(Schedule, *conditions, order=(Schedule.created_at.desc(), Schedule.id.desc()))


def execute(session: Session, row: Schedule) -> None:
    row.schedule_status = "executed"
    row.executed_at = row.updated_at = session.now()


def fail(session: Session, row: Schedule, message: str) -> None:
    row.schedule_status, row.error_message = "failed", message
    row.executed_at = row.updated_at = session.now()


def cancel(session: Session, row: Schedule) -> None:
    """Undoes a planned change; no message is sent.

    The subscription's `cancellation_*` metadata stays, and so do plan changes that the cancellation dropped.

    :raises Refusal: it is not pending any more.
    """
    if row.schedule_status != "pending":
        message = f"schedule cannot be cancelled (status: {row.schedule_status})"
        raise Refusal("validation_error", message, bare=True)
    drop(session, row)
    subscription = session.get(Subscription, row.subscription_id)
    if subscription is None or row.schedule_type != CANCELLATION:
        return
    subscription.cancel_at = subscription.cancelled_at = None
    subscription.cancel_at_period_end = False
    if original := (row.configuration or {}).get("original_period_end"):
        subscription.end_date = None
        subscription.current_period_end = datetime.fromisoformat(original)
        plan_task(session, "renewal.period_end", subscription.id, subscription.current_period_end)
    subscription.updated_at, subscription.updated_by = session.now(), subscription.created_by


def drop(session: Session, row: Schedule) -> None:
    row.schedule_status = "cancelled"
    row.cancelled_at = row.updated_at = session.now()
