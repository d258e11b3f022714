"""Customers and the catalog: rows of the objects that are sold and of who buys them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Json, Record


class Customer(Record, kw_only=True):
    __tablename__ = "customers"
    __table_args__ = (
        Index("customers_by_external_id", "store", "external_id"),
        Index(
            "customers_published",
            "store",
            "external_id",
            unique=True,
            sqlite_where=text("status = 'published'"),
            postgresql_where=text("status = 'published'"),
        ),
    )

    external_id: Mapped[str]
    name: Mapped[str]
    email: Mapped[str] = mapped_column(default="")
    contact: Mapped[str] = mapped_column(default="")
    address_line1: Mapped[str] = mapped_column(default="")
    address_line2: Mapped[str] = mapped_column(default="")
    address_city: Mapped[str] = mapped_column(default="")
    address_state: Mapped[str] = mapped_column(default="")
    address_postal_code: Mapped[str] = mapped_column(default="")
    address_country: Mapped[str] = mapped_column(default="")
    timezone: Mapped[str] = mapped_column(default="UTC")
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)
    extra: Mapped[Json | None] = mapped_column(default=None)  # fields that only the newest generation has


class Plan(Record, kw_only=True):
    __tablename__ = "plans"
    __table_args__ = (Index("plans_by_lookup_key", "store", "lookup_key"),)

    name: Mapped[str]
    lookup_key: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    display_order: Mapped[int] = mapped_column(default=0)
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class Price(Record, kw_only=True):
    __tablename__ = "prices"
    __table_args__ = (Index("prices_of_an_entity", "store", "entity_id"),)

    entity_type: Mapped[str]
    entity_id: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]  # lower case
    start_date: Mapped[datetime]
    type: Mapped[str] = mapped_column(default="FIXED")
    billing_model: Mapped[str] = mapped_column(default="FLAT_FEE")
    billing_cadence: Mapped[str] = mapped_column(default="RECURRING")
    billing_period: Mapped[str] = mapped_column(default="MONTHLY")
    billing_period_count: Mapped[int] = mapped_column(default=1)
    invoice_cadence: Mapped[str] = mapped_column(default="ADVANCE")
    trial_period_days: Mapped[int] = mapped_column(default=0)
    price_unit_type: Mapped[str] = mapped_column(default="FIAT")
    display_name: Mapped[str] = mapped_column(default="")
    lookup_key: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    meter_id: Mapped[str] = mapped_column(default="")
    parent_price_id: Mapped[str] = mapped_column(default="")
    group_id: Mapped[str] = mapped_column(default="")
    tier_mode: Mapped[str] = mapped_column(default="")
    tiers: Mapped[list[Any] | None] = mapped_column(default=None)
    transform_quantity: Mapped[Json | None] = mapped_column(default=None)
    min_quantity: Mapped[Decimal | None] = mapped_column(default=None)
    end_date: Mapped[datetime | None] = mapped_column(default=None)
    sequence: Mapped[int | None] = mapped_column(default=None)  # absent in the answer of the create call
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class Feature(Record, kw_only=True):
    __tablename__ = "features"
    __table_args__ = (Index("features_by_lookup_key", "store", "lookup_key"),)

    name: Mapped[str]
    lookup_key: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    type: Mapped[str] = mapped_column(default="metered")  # metered, boolean, static
    meter_id: Mapped[str] = mapped_column(default="")
    unit_singular: Mapped[str] = mapped_column(default="")
    unit_plural: Mapped[str] = mapped_column(default="")
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class Entitlement(Record, kw_only=True):
    __tablename__ = "entitlements"
    __table_args__ = (Index("entitlements_of_an_entity", "store", "entity_id"),)

    entity_type: Mapped[str]
    entity_id: Mapped[str]
    feature_id: Mapped[str]
    feature_type: Mapped[str]
    is_enabled: Mapped[bool] = mapped_column(default=True)
    is_soft_limit: Mapped[bool] = mapped_column(default=False)
    usage_limit: Mapped[int | None] = mapped_column(default=None)
    usage_reset_period: Mapped[str] = mapped_column(default="")
    static_value: Mapped[str] = mapped_column(default="")
    display_order: Mapped[int] = mapped_column(default=0)


class CreditGrant(Record, kw_only=True):
    """Wallet credits that come with a plan."""

    __tablename__ = "credit_grants"
    __table_args__ = (Index("credit_grants_of_a_plan", "store", "plan_id"),)

    name: Mapped[str]
    plan_id: Mapped[str]
    credits: Mapped[Decimal]
    scope: Mapped[str] = mapped_column(default="PLAN")
    cadence: Mapped[str] = mapped_column(default="ONETIME")
    expiration_type: Mapped[str] = mapped_column(default="NEVER")


class CheckoutSession(Record, kw_only=True):
    __tablename__ = "checkout_sessions"
    __table_args__ = (
        # One open session per key in the whole store. `open_key` is null once the session has ended.
        UniqueConstraint("store", "open_key", name="one_open_session_per_key"),
        Index("sessions_of_a_customer", "store", "customer_id"),
        Index("sessions_of_a_subscription", "store", "subscription_id"),
        Index("sessions_of_an_invoice", "store", "invoice_id"),
        Index("sessions_of_a_payment", "store", "payment_id"),
        Index("sessions_to_sweep", "store", "checkout_status", "expires_at"),
    )

    customer_id: Mapped[str]
    action: Mapped[str]  # create_subscription, modify_subscription, …
    payment_provider: Mapped[str]
    expires_at: Mapped[datetime]
    checkout_status: Mapped[str] = mapped_column(default="initiated")
    subscription_id: Mapped[str | None] = mapped_column(default=None)
    invoice_id: Mapped[str | None] = mapped_column(default=None)
    payment_id: Mapped[str | None] = mapped_column(default=None)
    link_id: Mapped[str | None] = mapped_column(default=None)  # ProviderLink
    # False until the session row names its invoice and payment: an aborted create never does.
    names_payment: Mapped[bool] = mapped_column(default=False)
    idempotency_key: Mapped[str | None] = mapped_column(default=None)
    open_key: Mapped[str | None] = mapped_column(default=None)
    success_url: Mapped[str | None] = mapped_column(default=None)
    failure_url: Mapped[str | None] = mapped_column(default=None)
    cancel_url: Mapped[str | None] = mapped_column(default=None)
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)
    payment_action: Mapped[Json | None] = mapped_column(default=None)
    completed_at: Mapped[datetime | None] = mapped_column(default=None)
    cancelled_at: Mapped[datetime | None] = mapped_column(default=None)
    failure_reason: Mapped[str] = mapped_column(default="")
    asked_at: Mapped[datetime | None] = mapped_column(default=None)  # when a read last asked Razorpay
    mandate: Mapped[str] = mapped_column(default="")  # link, no_action: charge_automatically
    # What completion applies for action modify_subscription: the requested change, in the engine's own words.
    change: Mapped[Json | None] = mapped_column(default=None)


class ProviderLink(Record, kw_only=True):
    """A payment link at Razorpay, as the stand-in for Razorpay keeps it. Its id is `plink_…`."""

    __tablename__ = "provider_links"
    __table_args__ = (
        Index("links_by_code", "code", unique=True),
        Index("links_of_a_payment", "store", "payment_id"),
    )

    code: Mapped[str]  # the last part of its URL
    url: Mapped[str]
    payment_id: Mapped[str]  # Flexprice's payment
    customer_id: Mapped[str]
    amount: Mapped[int]  # minor units, always times 100
    currency: Mapped[str]  # upper case
    request: Mapped[Json]  # what Razorpay was asked for: notes, callback, description
    state: Mapped[str] = mapped_column(default="created")  # created, paid, cancelled, expired
    callback_url: Mapped[str] = mapped_column(default="")
    expire_by: Mapped[datetime | None] = mapped_column(default=None)
    captures: Mapped[list[Any]] = mapped_column(default_factory=list)  # {id, amount, currency}
    declined: Mapped[str] = mapped_column(default="")  # the last decline's reason
