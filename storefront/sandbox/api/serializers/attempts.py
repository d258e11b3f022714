"""Attempts of a payment, as they are kept in its row."""

from datetime import datetime

from ...store.values import new_id, rfc3339
from .common import TENANT_ID, Body


def attempt(payment_id: str, number: int, at: datetime, error_message: str = "") -> Body:
    body: Body = {"id": new_id("attempt"), "payment_id": payment_id, "attempt_number": number}
    if error_message:
        body["error_message"] = error_message
    moment = rfc3339(at)
    times = {"created_at": moment, "updated_at": moment, "created_by": "", "updated_by": ""}
    return body | {"tenant_id": TENANT_ID} | times
