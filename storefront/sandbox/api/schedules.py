"""Planned changes of a subscription: /v1/subscriptions/{id}/schedules and /v1/subscriptions/schedules.

Their errors are `{"error"}` without a code.
"""

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement

from ..engine import schedules
from ..engine.errors import Refusal
from ..store.billing_rows import Schedule
from ..store.database import Session
from . import auth, requests
from .serializers import billing

bp = auth.v1("sandbox_schedules", __name__)

NO_TARGET = "either schedule_id or (subscription_id + schedule_type) must be provided"
TYPES = (schedules.CANCELLATION, schedules.PLAN_CHANGE)


def _need(session: Session, schedule_id: str) -> Schedule:
    row = session.get(Schedule, schedule_id)
    if row is None:
        raise Refusal("not_found", "Schedule not found", bare=True)
    return row


@bp.get("/subscriptions/<subscription_id>/schedules")
def of_subscription(subscription_id: str) -> ResponseReturnValue:
    """In every status, newest first; an unknown subscription has none."""
    return _listed(Schedule.subscription_id == subscription_id)


@bp.get("/subscriptions/schedules")
def search() -> ResponseReturnValue:
    """Newest first, by `schedule_ids`, `subscription_ids`, `schedule_type`, `schedule_status`."""
    columns = {
        "schedule_ids": Schedule.id,
        "subscription_ids": Schedule.subscription_id,
        "schedule_type": Schedule.schedule_type,
        "schedule_status": Schedule.schedule_status,
    }
    given = {name: request.args.getlist(name) for name in columns}
    return _listed(*(columns[name].in_(values) for name, values in given.items() if values))


def _listed(*conditions: ColumnElement[bool]) -> ResponseReturnValue:
    order = (Schedule.created_at.desc(), Schedule.id.desc())
    with auth.reading() as session:
        found = session.all(Schedule, *conditions, order=order)
        shown = [billing.schedule(row, session.now()) for row in found]
    return jsonify(schedules=shown, count=len(shown))


@bp.get("/subscriptions/schedules/<schedule_id>")
def get(schedule_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(billing.schedule(_need(session, schedule_id), session.now()))


@bp.post("/subscriptions/schedules/<schedule_id>/cancel")
def cancel_by_id(schedule_id: str) -> ResponseReturnValue:
    """Undoes a planned change. Without a body, or with one that names a schedule: `{}` is refused."""
    if request.get_data().strip():
        _check_body()
    with auth.writing() as session:
        schedules.cancel(session, _need(session, schedule_id))
    return _cancelled()


@bp.post("/subscriptions/schedules/cancel")
def cancel() -> ResponseReturnValue:
    """`{"schedule_id"}`, or `{"subscription_id", "schedule_type"}` for its pending one."""
    schedule_id, subscription_id, kind = _check_body()
    with auth.writing() as session:
        if schedule_id:
            row = _need(session, schedule_id)
        else:
            found = schedules.pending(session, subscription_id, kind)
            if not found:
                message = f"no pending {kind} schedule found for subscription {subscription_id}"
                raise Refusal("validation_error", message, bare=True)
            row = found[0]
        schedules.cancel(session, row)
    return _cancelled()


def _check_body() -> tuple[str, str, str]:
    try:
        body = requests.json_body(NO_TARGET)
        names = ("schedule_id", "subscription_id", "schedule_type")
        schedule_id, subscription_id, kind = (requests.text(body, name) for name in names)
    except Refusal as refusal:
        raise Refusal(refusal.code, refusal.message, bare=True) from None
    if not schedule_id and not (subscription_id and kind):
        raise Refusal("validation_error", NO_TARGET, bare=True)
    if not schedule_id and kind not in TYPES:
        raise Refusal("validation_error", f"invalid schedule type: {kind}", bare=True)
    return schedule_id, subscription_id, kind


def _cancelled() -> ResponseReturnValue:
    return jsonify(status="cancelled", message="Schedule cancelled successfully")
