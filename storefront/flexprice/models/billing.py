"""The later months of a subscription: what is scheduled, and what a customer may use and has used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from .._json import Fields, flag, identifier, label, money, time


@dataclass(frozen=True, slots=True)
class Schedule:
    """A planned end or change of a subscription (docs/flexprice-contract.md#j8).

    `type` is `cancellation` or `plan_change`; `status` is `pending`, `executed`, `cancelled`, …
    """

    id: str
    subscription_id: str
    type: str
    status: str
    scheduled_at: datetime | None = None
    target_plan_id: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schedule:
        """Read a schedule.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "schedule")
        return cls(
            id=fields.required("id", identifier),
            subscription_id=fields.required("subscription_id", identifier),
            type=fields.required("schedule_type", identifier).lower(),
            status=fields.required("status", identifier).lower(),
            scheduled_at=fields.get("scheduled_at", time, None),
            target_plan_id=fields.inner("configuration").get("target_plan_id", identifier, ""),
        )


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What a change of plan does, or would do (docs/flexprice-contract.md#j9).

    A planned one (`is_scheduled`) names no amounts: its new plan is billed by the renewal.
    """

    type: str
    from_plan_id: str
    to_plan_id: str
    is_scheduled: bool = False
    schedule_id: str = ""
    effective_at: datetime | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlanChange:
        """Read a change.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "plan change")
        return cls(
            type=fields.get("change_type", label, ""),
            from_plan_id=fields.inner("from_plan").get("id", identifier, ""),
            to_plan_id=fields.inner("to_plan").required("id", identifier),
            is_scheduled=fields.get("is_scheduled", flag, False),
            schedule_id=fields.get("schedule_id", identifier, ""),
            effective_at=fields.get("scheduled_at", time, None) or fields.get("effective_at", time, None),
        )


@dataclass(frozen=True, slots=True)
class CustomerFeature:
    """A feature that a customer has, with its limit and use (docs/flexprice-contract.md#j12).

    `limit` is None where there is none, and `used` where nothing is measured: a zero in no period says
    nothing. While Flexprice's usage store
    is down it reports a use of zero: say when the number was read.
    """

    name: str
    type: str = ""
    is_enabled: bool = False
    limit: Decimal | None = None
    used: Decimal | None = None

    @classmethod
    def from_usage(cls, data: Mapping[str, Any]) -> CustomerFeature:
        """Read a feature of `/customers/usage`.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "usage")
        unlimited = fields.get("is_unlimited", flag, False)
        kind = fields.inner("feature").get("type", label, "").lower()
        used = fields.get("current_usage", money, None) if kind == "metered" else None
        has_period = fields.get("next_usage_reset_at", time, None) is not None
        return cls(
            name=fields.inner("feature").get("name", label, ""),
            type=kind,
            is_enabled=fields.get("is_enabled", flag, False),
            limit=None if unlimited else fields.get("total_limit", money, None),
            used=used if used or has_period else None,
        )

    @classmethod
    def from_entitlement(cls, data: Mapping[str, Any]) -> CustomerFeature:
        """Read a feature of `/customers/external/{id}/entitlements`: without its use.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "entitlement")
        granted = fields.inner("entitlement")
        return cls(
            name=fields.inner("feature").get("name", label, ""),
            type=fields.inner("feature").get("type", label, ""),
            is_enabled=granted.get("is_enabled", flag, False),
            limit=granted.get("usage_limit", money, None),
        )
