"""What is sold, to whom, and in which environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from .._json import Fields


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
            id=fields.required_id("id"),
            external_id=fields.required_id("external_id"),
            name=fields.name("name"),
            email=fields.text("email"),
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
            unit_amount=fields.money_or("unit_amount", Decimal(0)),
            flat_amount=fields.money_or("flat_amount", Decimal(0)),
            up_to=fields.optional_integer("up_to"),
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
    invoice_cadence: str = ""
    min_quantity: Decimal | None = None
    trial_period_days: int = 0
    display_name: str = ""
    display_amount: str = ""
    start_date: datetime | None = None
    end_date: datetime | None = None
    billing_period_count: int = 1
    price_unit_type: str = ""
    lookup_key: str = ""
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
        kind = fields.required_id("type").upper()
        return cls(
            id=fields.required_id("id"),
            amount=fields.money("amount") if kind == "FIXED" else fields.money_or("amount", Decimal(0)),
            currency=fields.required_id("currency").lower(),
            type=kind,
            billing_model=fields.upper("billing_model"),
            billing_cadence=fields.upper("billing_cadence"),
            billing_period=fields.upper("billing_period"),
            invoice_cadence=fields.upper("invoice_cadence"),
            min_quantity=fields.optional_money("min_quantity"),
            trial_period_days=fields.integer("trial_period_days"),
            display_name=fields.name("display_name"),
            display_amount=fields.name("display_amount"),
            start_date=fields.time("start_date"),
            end_date=fields.time("end_date"),
            billing_period_count=fields.integer("billing_period_count", 1),
            price_unit_type=fields.name("price_unit_type"),
            lookup_key=fields.name("lookup_key"),
            tiers=fields.many("tiers", Tier.from_json),
            package_size=fields.inner("transform_quantity").integer("divide_by", 1),
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
    is_soft_limit: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entitlement:
        """Read an entitlement.

        :raises UnreadableResponse: a field has another form.
        """
        fields = Fields(data, "entitlement")
        return cls(
            feature_name=fields.inner("feature").name("name"),
            feature_type=fields.name("feature_type"),
            is_enabled=fields.flag("is_enabled"),
            usage_limit=fields.optional_integer("usage_limit"),
            usage_reset_period=fields.name("usage_reset_period"),
            static_value=fields.name("static_value"),
            is_soft_limit=fields.flag("is_soft_limit"),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a shopper chooses, with its published prices and entitlements.

    One unreadable price or entitlement makes the whole plan unreadable: a plan without one of its prices
    would be shown at a wrong amount.
    """

    id: str
    name: str
    lookup_key: str = ""
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
            id=fields.required_id("id"),
            name=fields.name("name"),
            lookup_key=fields.name("lookup_key"),
            description=fields.text("description"),
            display_order=fields.integer("display_order"),
            metadata=fields.metadata(),
            prices=fields.many("prices", Price.from_json),
            entitlements=fields.many("entitlements", Entitlement.from_json),
            environment_id=fields.id("environment_id"),
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
        kind = fields.required_id("type").lower()
        return cls(id=fields.required_id("id"), name=fields.name("name"), type=kind)
