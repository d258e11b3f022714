"""Tenant settings that billing depends on: /v1/settings."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine import billing, renewals
from ..engine.errors import invalid, not_found
from ..store.control_rows import Setting
from ..store.database import Session
from . import auth, requests, validation
from .serializers.common import Body

bp = auth.v1("sandbox_settings", __name__)

DEFAULTS: dict[str, Body] = {
    "invoice_config": {
        "prefix": "INV",
        "format": "YYYYMM",
        "start_sequence": 1,
        "timezone": "UTC",
        "separator": "-",
        "suffix_length": 5,
        "due_date_days": billing.DUE_DATE_DAYS,
        "finalization_delay_seconds": renewals.FINALIZATION_DELAY_S,
    },
    "subscription_config": {
        "grace_period_days": renewals.GRACE_PERIOD_DAYS,
        "auto_cancellation_enabled": False,
    },
}
# The least number of each, and where it stands in Flexprice's own types.
LEAST = {
    "due_date_days": (0, "InvoiceConfig", "DueDateDays"),
    "finalization_delay_seconds": (0, "InvoiceConfig", "FinalizationDelaySeconds"),
    "grace_period_days": (1, "SubscriptionConfig", "GracePeriodDays"),
}


def _value(session: Session, key: str) -> Body:
    """:raises Refusal: the sandbox has no such setting."""
    if key not in DEFAULTS:
        raise invalid(f"Unknown setting key: {key}")
    row = session.get(Setting, key)
    return DEFAULTS[key] | (row.value if row else {})


@bp.get("/settings/<key>")
def get(key: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(key=key, value=_value(session, key))


@bp.put("/settings/<key>")
def update(key: str) -> ResponseReturnValue:
    """`{"value": {…}}`; what is left out stays."""
    value = requests.an_object(requests.json_body(), "value")
    for name, (least, kind, field) in LEAST.items():
        if (given := requests.whole(value, name, least)) < least:
            raise validation.failed(kind, {field: "min" if given else "required"})
    requests.flag(value, "auto_cancellation_enabled")
    with auth.writing() as session:
        changed = _value(session, key) | value
        session.delete(Setting, Setting.key == key)
        session.add(Setting(key=key, value=changed))
        session.flush()
        renewals.replan_auto_cancellations(session)
    return jsonify(key=key, value=changed)


@bp.delete("/settings/<key>")
def delete(key: str) -> ResponseReturnValue:
    """Back to its defaults."""
    with auth.writing() as session:
        _value(session, key)
        if session.get(Setting, key) is None:
            raise not_found(f"Setting with key {key} not found")
        session.delete(Setting, Setting.key == key)
        renewals.replan_auto_cancellations(session)
    return jsonify(message="Setting deleted successfully")
