"""What all objects have in common."""

import secrets
from typing import Any

from ...store.base import Record
from ...store.values import rfc3339

Body = dict[str, Any]

# Each store has one tenant with one environment; they are the same in all stores.
ENVIRONMENT_ID = "env_01K3B8N36096Q14DR9GPQY77ZX"
TENANT_ID = "tenant_01K3B8YYK596NGYA1DQ91K5GQA"
NO_END = "0001-01-01T00:00:00Z"  # Go's zero time: a line without an end


def row_fields(row: Record, *, environment: bool = True, status: bool = True) -> Body:
    """Tenant, environment, row status, and who wrote the row when."""
    body: Body = {
        "tenant_id": TENANT_ID,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
        "created_by": row.created_by,
        "updated_by": row.updated_by,
    }
    if environment:
        body["environment_id"] = ENVIRONMENT_ID
    return body | ({"status": row.status} if status else {})


def without_empty(body: Body, *names: str) -> Body:
    """Leaves out those of the named keys that are empty, as Go's `omitempty` does."""
    return {key: value for key, value in body.items() if key not in names or value not in (None, "", [], {})}


def in_nanoseconds(body: Body, *names: str) -> Body:
    """The times of an object that was just made: nine fraction digits instead of six."""
    return body | {name: _nanoseconds(body[name]) for name in names if body.get(name)}


def _nanoseconds(moment: str) -> str:
    whole, _, fraction = moment.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<6}{secrets.randbelow(999) + 1:03d}Z"
