"""Another plan for a subscription: /v1/subscriptions/{id}/change/v2."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine import plan_changes
from ..engine.errors import Refusal, invalid
from ..store.billing_rows import Subscription
from ..store.database import Session
from . import auth, requests, validation
from .serializers import billing, changes
from .serializers.common import Body
from .subscriptions import need

bp = auth.v1("sandbox_plan_changes", __name__)

BEHAVIORS = ("create_prorations", "none")
WHEN = ("immediate", "end_of_period")
AT_BOUNDARY = (
    "Set proration_behavior to 'none'. At a period boundary the renewal invoice already bills the new plan."
)


@bp.post("/subscriptions/<subscription_id>/change/v2/preview")
def preview(subscription_id: str) -> ResponseReturnValue:
    """What the change would cost. Writes nothing; the ids in the answer do not exist."""
    asked = _asked()
    with auth.reading() as session:
        row = need(session, subscription_id)
        shown = _shown(session, row)
        change = plan_changes.preview(session, row, asked)
        return jsonify(changes.plan_change(session, row, change, shown, preview=True))


@bp.post("/subscriptions/<subscription_id>/change/v2/execute")
def execute(subscription_id: str) -> ResponseReturnValue:
    """Changes the plan at once, paid or not, or plans it for the period's end."""
    asked = _asked()
    with auth.writing() as session:
        row = need(session, subscription_id)
        shown = _shown(session, row)
        change = plan_changes.execute(session, row, asked)
        shown["plan_id"] = row.plan_id
        return jsonify(changes.plan_change(session, row, change, shown, preview=False))


def _shown(session: Session, row: Subscription) -> Body:
    return billing.subscription(session, row, lines="short", plan="none", customer=False)


def no_value(message: str, allowed: tuple[str, ...], provided: str) -> Refusal:
    return invalid(message, allowed_values=list(allowed), provided_value=provided)


def _asked() -> plan_changes.Request:
    """In Flexprice's order: required fields, values, then what they mean together."""
    body = requests.json_body()
    names = ("target_plan_id", "proration_behavior", "change_at", "idempotency_key")
    target, behavior, when, key = (requests.text(body, name) for name in names)
    validation.required(
        "SubscriptionChangeV2Request", {"TargetPlanID": target, "ProrationBehavior": behavior}
    )
    if behavior not in BEHAVIORS:
        raise no_value("Proration behavior must be create_prorations or none", BEHAVIORS, behavior)
    if when and when not in WHEN:
        raise no_value("Schedule type must be 'immediate', 'end_of_period'", WHEN, when)
    prorates, at_period_end = behavior == BEHAVIORS[0], when == WHEN[1]
    if prorates and at_period_end:
        raise invalid(AT_BOUNDARY)
    return plan_changes.Request(target, prorates, at_period_end, key, requests.metadata(body) or None)
