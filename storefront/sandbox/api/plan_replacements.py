"""Another plan by another subscription: /v1/subscriptions/{id}/change (v1)."""

from decimal import Decimal

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine import plan_replacements
from ..engine.billing import milliseconds
from ..engine.catalog import prices_of
from ..engine.errors import invalid
from ..engine.periods import period_end
from ..store.billing_rows import Subscription
from ..store.database import Session
from ..store.values import decimal_text, rfc3339
from . import auth, requests, validation
from .plan_changes import BEHAVIORS, WHEN, no_value
from .serializers.changes import plan_summary
from .serializers.common import Body, without_empty
from .subscriptions import need

bp = auth.v1("sandbox_plan_replacements", __name__)

NO_TIME = "0001-01-01T00:00:00Z"
DOWNGRADE = "This is a downgrade. You may lose access to certain features."
IN_TRIAL = "Changing plans during trial period may end your trial immediately."
PRORATED = "Proration charges or credits will be applied to your next invoice."


@bp.post("/subscriptions/<subscription_id>/change/preview")
def preview(subscription_id: str) -> ResponseReturnValue:
    """What a replacement would do. Its total is wrong, as Flexprice's is: it sums all prices of the plan."""
    asked = _asked()
    with auth.reading() as session:
        row = need(session, subscription_id)
        found = plan_replacements.preview(session, row, asked)
        body: Body = {
            "subscription_id": row.id,
            "current_plan": plan_summary(found.from_plan),
            "target_plan": plan_summary(found.to_plan),
            "change_type": found.type,
            "proration_details": _proration(row, found),
            "next_invoice_preview": _next_invoice(session, row, found),
            "effective_date": rfc3339(found.effective),
            "new_billing_cycle": _cycle(row, found),
            "warnings": _warnings(session, row, found, asked),
            "metadata": asked.metadata,
        }
    return jsonify(without_empty(body, "proration_details", "warnings", "metadata"))


@bp.post("/subscriptions/<subscription_id>/change/execute")
def execute(subscription_id: str) -> ResponseReturnValue:
    """Ends the subscription and begins another one, now or at the period's end."""
    asked = _asked()
    with auth.writing() as session:
        row = need(session, subscription_id)
        found = plan_replacements.execute(session, row, asked)
        body: Body = {
            "is_scheduled": found.schedule is not None,
            "schedule_id": found.schedule.id if found.schedule else None,
            "scheduled_at": rfc3339(found.schedule.scheduled_at) if found.schedule else None,
            "old_subscription": _no_summary() | ({"id": row.id, "status": "cancelled"} if found.new else {}),
            "new_subscription": _summary(found.new) if found.new else _no_summary(),
            "change_type": found.type,
            "proration_applied": _proration(row, found),
            "effective_date": rfc3339(found.effective),
            "metadata": asked.metadata if found.new else None,
        }
    return jsonify(without_empty(body, "schedule_id", "scheduled_at", "proration_applied", "metadata"))


def _asked() -> plan_replacements.Request:
    body = requests.json_body()
    names = ("target_plan_id", "proration_behavior", "billing_cadence", "billing_period", "billing_cycle")
    target, behavior, cadence, period, cycle = (requests.text(body, name) for name in names)
    if not all((target, behavior, cadence, period, cycle)):
        raise invalid(requests.BAD_FORMAT)
    when = requests.text(body, "change_at")
    count = requests.whole(body, "billing_period_count", 1) or 1
    if count < 0:
        raise invalid("Billing Period must be a valid positive number", billing_period_count=count)
    if behavior not in BEHAVIORS:
        raise no_value("Proration behavior must be create_prorations or none", BEHAVIORS, behavior)
    if when and when not in WHEN:
        raise no_value("Schedule type must be 'immediate', 'end_of_period'", WHEN, when)
    if period not in validation.PERIODS:
        raise invalid("Invalid billing period", billing_period=period)
    metadata, prorates = requests.metadata(body) or None, behavior == BEHAVIORS[0]
    at_end = when == WHEN[1]
    return plan_replacements.Request(target, prorates, period, count, cadence, cycle, at_end, metadata)


def _summary(row: Subscription) -> Body:
    return {
        "id": row.id,
        "status": row.subscription_status,
        "plan_id": row.plan_id,
        "current_period_start": rfc3339(row.current_period_start),
        "current_period_end": rfc3339(row.current_period_end),
        "billing_anchor": rfc3339(row.billing_anchor),
        "created_at": rfc3339(row.created_at),
    }


def _no_summary() -> Body:
    """The empty object that Flexprice shows where it has nothing to say."""
    times = ("current_period_start", "current_period_end", "billing_anchor", "created_at")
    return {"id": "", "status": "", "plan_id": ""} | dict.fromkeys(times, NO_TIME)


def _proration(row: Subscription, found: plan_replacements.Replacement) -> Body | None:
    if found.credit is None:
        return None
    start, end, now = row.current_period_start, row.current_period_end, found.effective
    return {
        "credit_amount": decimal_text(found.credit),
        "credit_description": f"Credit for unused time on {found.from_plan.id} plan",
        "charge_amount": "0",
        "charge_description": f"Charge for plan change from {now:%Y-%m-%d}",
        "net_amount": decimal_text(-found.credit),
        "proration_date": rfc3339(now),
        "current_period_start": rfc3339(start),
        "current_period_end": rfc3339(end),
        "days_used": (now - start).days,
        "days_remaining": max((end - now).days, 0),
        "currency": row.currency,
    }


def _next_invoice(session: Session, row: Subscription, found: plan_replacements.Replacement) -> Body:
    left, lines, total = found.credit or Decimal(0), [], Decimal(0)
    for price in prices_of(session, found.to_plan.id, ended=False):
        if price.amount <= 0:
            continue
        taken = min(left, price.amount)
        amount, left = price.amount - taken, left - taken
        total += amount
        text = f"{found.to_plan.name} - {price.description or 'Price'}"
        shown = {"description": text, "amount": decimal_text(amount), "quantity": "1"}
        lines.append(shown | {"unit_price": decimal_text(amount), "is_proration": False})
    amounts = {"subtotal": decimal_text(total), "tax_amount": "0", "total": decimal_text(total)}
    return amounts | {"currency": row.currency, "line_items": lines}


def _cycle(row: Subscription, found: plan_replacements.Replacement) -> Body:
    """Of the old subscription's period, whatever was asked for."""
    start = milliseconds(found.effective)
    end = period_end(start, start, row.billing_period, row.billing_period_count)
    return {
        "period_start": rfc3339(found.effective),
        "period_end": rfc3339(end),
        "billing_anchor": rfc3339(row.billing_anchor),
        "billing_cadence": row.billing_cadence,
        "billing_period": row.billing_period,
        "billing_period_count": row.billing_period_count,
    }


def _warnings(
    session: Session,
    row: Subscription,
    found: plan_replacements.Replacement,
    asked: plan_replacements.Request,
) -> list[str]:
    in_trial = row.trial_end is not None and row.trial_end > session.now()
    said = ((found.type == "downgrade", DOWNGRADE), (in_trial, IN_TRIAL), (asked.prorates, PRORATED))
    return [text for applies, text in said if applies]
