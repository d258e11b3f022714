"""What is sold, to whom, and in which environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from .._json import Fields, flag, identifier, label, money, text, time, whole, word


@dataclass(frozen=True, slots=True)
class Customer:
    """A buyer (docs/flexprice-contract.md#b1).

    `id` is Flexprice's own; `external_id` is the one that you gave.
    """

    id: str
    external_id: str
    name: str = ""
    email: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Customer:
        """Read a customer.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "customer")
        return cls(
            id=fields.required("id", identifier),
            external_id=fields.required("external_id", identifier),
            name=fields.get("name", label, ""),
            email=fields.get("email", text, ""),
            metadata=fields.metadata(),
        )


@dataclass(frozen=True, slots=True)
class Tier:
    """What a unit costs up to a quantity, inclusive; `up_to` None: without end."""

    unit_amount: Decimal
    flat_amount: Decimal = Decimal(0)
    up_to: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tier:
        """Read a tier.

        :raises UnreadableResponse: an amount or the limit cannot be read.
        """
        fields = Fields(data, "tier")
        return cls(
            unit_amount=fields.get("unit_amount", money, Decimal(0)),
            flat_amount=fields.get("flat_amount", money, Decimal(0)),
            up_to=fields.get("up_to", whole, None),
        )


@dataclass(frozen=True, slots=True)
class Price:
    """One price of a plan, as Flexprice gives it (docs/flexprice-contract.md#b5).

    It is in force while `start_date <= now < end_date`; a missing date means no limit. Lists of plans hold
    future prices too, so the caller decides which are in force. `amount` is per unit and before tax.
    """

    id: str
    amount: Decimal
    currency: str
    type: str
    billing_model: str = "FLAT_FEE"
    billing_cadence: str = "RECURRING"
    billing_period: str = ""
    min_quantity: Decimal | None = None
    trial_period_days: int = 0
    display_name: str = ""
    start_date: datetime | None = None
    end_date: datetime | None = None
    billing_period_count: int = 1
    tiers: tuple[Tier, ...] = ()
    package_size: int = 1  # of a PACKAGE price: `amount` is for this many units

    @property
    def one_time(self) -> bool:
        """Whether the price is charged once.

        Its period says so: the cadence of one-time prices is RECURRING, since Flexprice removed the other
        one (internal/types/price.go in its source).
        """
        return "ONETIME" in (self.billing_period, self.billing_cadence)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Price:
        """Read a price. A usage price needs no amount.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "price")
        kind = fields.required("type", identifier).upper()
        amount = (
            fields.required("amount", money) if kind == "FIXED" else fields.get("amount", money, Decimal(0))
        )
        return cls(
            id=fields.required("id", identifier),
            amount=amount,
            currency=fields.required("currency", identifier).lower(),
            type=kind,
            billing_model=fields.get("billing_model", word, ""),
            billing_cadence=fields.get("billing_cadence", word, ""),
            billing_period=fields.get("billing_period", word, ""),
            min_quantity=fields.get("min_quantity", money, None),
            trial_period_days=fields.get("trial_period_days", whole, 0),
            display_name=fields.get("display_name", label, ""),
            start_date=fields.get("start_date", time, None),
            end_date=fields.get("end_date", time, None),
            billing_period_count=fields.get("billing_period_count", whole, 1),
            tiers=fields.many("tiers", Tier.from_json),
            package_size=fields.inner("transform_quantity").get("divide_by", whole, 1),
        )


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What a plan includes (docs/flexprice-contract.md#b3).

    `usage_limit` is None where the feature is not metered or has no limit.
    """

    feature_name: str
    feature_type: str = ""
    is_enabled: bool = False
    usage_limit: int | None = None
    usage_reset_period: str = ""
    static_value: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entitlement:
        """Read an entitlement.

        :raises UnreadableResponse: a field has another form.
        """
        fields = Fields(data, "entitlement")
        return cls(
            feature_name=fields.inner("feature").get("name", label, ""),
            feature_type=fields.get("feature_type", label, ""),
            is_enabled=fields.get("is_enabled", flag, False),
            usage_limit=fields.get("usage_limit", whole, None),
            usage_reset_period=fields.get("usage_reset_period", label, ""),
            static_value=fields.get("static_value", label, ""),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a shopper chooses, with its published prices and entitlements.

    One unreadable price or entitlement makes the whole plan unreadable: a plan without one of its prices
    would be shown at a wrong amount.
    """

    id: str
    name: str
    description: str = ""
    display_order: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    prices: tuple[Price, ...] = ()
    entitlements: tuple[Entitlement, ...] = ()
    environment_id: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read a plan. Archived and deleted prices and entitlements are left out.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "plan")
        return cls(
            id=fields.required("id", identifier),
            name=fields.get("name", label, ""),
            description=fields.get("description", text, ""),
            display_order=fields.get("display_order", whole, 0),
            metadata=fields.metadata(),
            prices=fields.many("prices", Price.from_json),
            entitlements=fields.many("entitlements", Entitlement.from_json),
            environment_id=fields.get("environment_id", identifier, ""),
        )


@dataclass(frozen=True, slots=True)
class Environment:
    """Where an API key works: `type` is `production` or `development`."""

    id: str
    name: str
    type: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Environment:
        """Read an environment.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "environment")
        kind = fields.required("type", identifier).lower()
        return cls(id=fields.required("id", identifier), name=fields.get("name", label, ""), type=kind)
