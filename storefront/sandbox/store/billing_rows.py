"""Subscriptions and everything that is billed for them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from .base import Json, Record

ZERO = Decimal(0)


class Subscription(Record, kw_only=True):
    __tablename__ = "subscriptions"
    __table_args__ = (
        Index("subscriptions_of_a_customer", "store", "customer_id", "subscription_status"),
        Index("subscriptions_by_status", "store", "status", "subscription_status", "id"),
    )

    customer_id: Mapped[str]
    plan_id: Mapped[str]
    currency: Mapped[str]  # lower case
    billing_period: Mapped[str]
    start_date: Mapped[datetime]
    billing_anchor: Mapped[datetime]
    current_period_start: Mapped[datetime]
    current_period_end: Mapped[datetime]
    subscription_status: Mapped[str] = mapped_column(default="draft")
    billing_period_count: Mapped[int] = mapped_column(default=1)
    billing_cadence: Mapped[str] = mapped_column(default="RECURRING")
    billing_cycle: Mapped[str] = mapped_column(default="anniversary")
    lookup_key: Mapped[str] = mapped_column(default="")
    end_date: Mapped[datetime | None] = mapped_column(default=None)
    cancel_at: Mapped[datetime | None] = mapped_column(default=None)
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    cancelled_at: Mapped[datetime | None] = mapped_column(default=None)
    trial_start: Mapped[datetime | None] = mapped_column(default=None)
    trial_end: Mapped[datetime | None] = mapped_column(default=None)
    collection_method: Mapped[str] = mapped_column(default="send_invoice")
    payment_behavior: Mapped[str] = mapped_column(default="default_active")
    payment_terms: Mapped[str] = mapped_column(default="")
    pause_status: Mapped[str] = mapped_column(default="none")
    proration_behavior: Mapped[str] = mapped_column(default="none")
    subscription_type: Mapped[str] = mapped_column(default="standalone")
    timezone: Mapped[str] = mapped_column(default="UTC")
    version: Mapped[int] = mapped_column(default=1)
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class SubscriptionLine(Record, kw_only=True):
    """A price of a subscription. `end_date` None is an open line."""

    __tablename__ = "subscription_lines"
    __table_args__ = (Index("lines_of_a_subscription", "store", "subscription_id"),)

    subscription_id: Mapped[str]
    customer_id: Mapped[str]
    entity_id: Mapped[str]
    price_id: Mapped[str]
    price_type: Mapped[str]
    currency: Mapped[str]
    billing_period: Mapped[str]
    invoice_cadence: Mapped[str]
    start_date: Mapped[datetime]
    quantity: Mapped[Decimal]
    entity_type: Mapped[str] = mapped_column(default="plan")
    plan_display_name: Mapped[str] = mapped_column(default="")
    display_name: Mapped[str] = mapped_column(default="")
    billing_period_count: Mapped[int] = mapped_column(default=1)
    end_date: Mapped[datetime | None] = mapped_column(default=None)


class Invoice(Record, kw_only=True):
    __tablename__ = "invoices"
    __table_args__ = (
        Index("invoices_of_a_customer", "store", "customer_id"),
        Index("invoices_of_a_subscription", "store", "subscription_id"),
        Index("invoices_by_status", "store", "status", "invoice_status", "payment_status", "id"),
    )

    customer_id: Mapped[str]
    currency: Mapped[str]
    subscription_id: Mapped[str] = mapped_column(default="")
    invoice_type: Mapped[str] = mapped_column(default="SUBSCRIPTION")
    invoice_status: Mapped[str] = mapped_column(default="DRAFT")
    payment_status: Mapped[str] = mapped_column(default="PENDING")
    subtotal: Mapped[Decimal] = mapped_column(default=ZERO)
    total: Mapped[Decimal] = mapped_column(default=ZERO)
    total_discount: Mapped[Decimal] = mapped_column(default=ZERO)
    total_tax: Mapped[Decimal] = mapped_column(default=ZERO)
    total_prepaid_credits_applied: Mapped[Decimal] = mapped_column(default=ZERO)
    amount_due: Mapped[Decimal] = mapped_column(default=ZERO)
    amount_paid: Mapped[Decimal] = mapped_column(default=ZERO)
    amount_remaining: Mapped[Decimal] = mapped_column(default=ZERO)
    adjustment_amount: Mapped[Decimal] = mapped_column(default=ZERO)
    refunded_amount: Mapped[Decimal] = mapped_column(default=ZERO)
    overpaid_amount: Mapped[Decimal | None] = mapped_column(default=None)
    invoice_number: Mapped[str] = mapped_column(default="")
    idempotency_key: Mapped[str] = mapped_column(default="")
    billing_sequence: Mapped[int | None] = mapped_column(default=None)
    billing_reason: Mapped[str] = mapped_column(default="")
    billing_period: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    period_start: Mapped[datetime | None] = mapped_column(default=None)
    period_end: Mapped[datetime | None] = mapped_column(default=None)
    due_date: Mapped[datetime | None] = mapped_column(default=None)
    issue_date: Mapped[datetime | None] = mapped_column(default=None)
    finalized_at: Mapped[datetime | None] = mapped_column(default=None)
    last_computed_at: Mapped[datetime | None] = mapped_column(default=None)
    paid_at: Mapped[datetime | None] = mapped_column(default=None)
    voided_at: Mapped[datetime | None] = mapped_column(default=None)
    version: Mapped[int] = mapped_column(default=1)
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class InvoiceLine(Record, kw_only=True):
    __tablename__ = "invoice_lines"
    __table_args__ = (Index("lines_of_an_invoice", "store", "invoice_id"),)

    invoice_id: Mapped[str]
    customer_id: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal]  # may be negative: a proration credit
    quantity: Mapped[Decimal]
    subscription_id: Mapped[str] = mapped_column(default="")
    subscription_line_item_id: Mapped[str] = mapped_column(default="")
    entity_id: Mapped[str] = mapped_column(default="")
    entity_type: Mapped[str] = mapped_column(default="")
    plan_display_name: Mapped[str] = mapped_column(default="")
    display_name: Mapped[str] = mapped_column(default="")
    price_id: Mapped[str] = mapped_column(default="")
    price_type: Mapped[str] = mapped_column(default="")
    period_start: Mapped[datetime | None] = mapped_column(default=None)
    period_end: Mapped[datetime | None] = mapped_column(default=None)
    prepaid_credits_applied: Mapped[Decimal] = mapped_column(default=ZERO)
    line_item_discount: Mapped[Decimal] = mapped_column(default=ZERO)
    invoice_level_discount: Mapped[Decimal] = mapped_column(default=ZERO)
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class Payment(Record, kw_only=True):
    __tablename__ = "payments"
    __table_args__ = (
        Index("payments_by_destination", "store", "destination_id"),
        Index("payments_by_key", "store", "idempotency_key"),
    )

    destination_id: Mapped[str]  # the invoice
    amount: Mapped[Decimal]
    currency: Mapped[str]
    idempotency_key: Mapped[str]
    destination_type: Mapped[str] = mapped_column(default="INVOICE")
    payment_method_type: Mapped[str] = mapped_column(default="PAYMENT_LINK")
    payment_method_id: Mapped[str] = mapped_column(default="")
    payment_gateway: Mapped[str] = mapped_column(default="razorpay")
    payment_status: Mapped[str] = mapped_column(default="INITIATED")
    track_attempts: Mapped[bool] = mapped_column(default=True)
    gateway_payment_id: Mapped[str] = mapped_column(default="")
    # The link of a payment made by POST /payments; a checkout's payment shows none of these.
    gateway_tracking_id: Mapped[str] = mapped_column(default="")
    gateway_metadata: Mapped[Json | None] = mapped_column(default=None)
    payment_url: Mapped[str] = mapped_column(default="")
    link_id: Mapped[str | None] = mapped_column(default=None)  # ProviderLink
    save_card_and_make_default: Mapped[bool] = mapped_column(default=False)
    succeeded_at: Mapped[datetime | None] = mapped_column(default=None)
    failed_at: Mapped[datetime | None] = mapped_column(default=None)
    refunded_at: Mapped[datetime | None] = mapped_column(default=None)
    voided_at: Mapped[datetime | None] = mapped_column(default=None)
    error_message: Mapped[str] = mapped_column(default="")
    attempts: Mapped[list[Any]] = mapped_column(default_factory=list)  # as shown; assign a new list
    booked_twice: Mapped[bool] = mapped_column(default=False)  # by a read beside the event
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class Refund(Record, kw_only=True):
    __tablename__ = "refunds"
    __table_args__ = (Index("refunds_of_a_payment", "store", "payment_id", unique=True),)

    payment_id: Mapped[str]
    invoice_id: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]
    gateway_refund_id: Mapped[str]
    refund_status: Mapped[str] = mapped_column(default="SUCCEEDED")
    refund_reason: Mapped[str] = mapped_column(default="OTHER")
    refund_destination: Mapped[str] = mapped_column(default="GATEWAY")
    payment_gateway: Mapped[str] = mapped_column(default="razorpay")
    attempt: Mapped[int] = mapped_column(default=1)
    initiated_at: Mapped[datetime | None] = mapped_column(default=None)
    succeeded_at: Mapped[datetime | None] = mapped_column(default=None)
    failed_at: Mapped[datetime | None] = mapped_column(default=None)
    failure_reason: Mapped[str] = mapped_column(default="")


class Schedule(Record, kw_only=True):
    """A planned change of a subscription. `status` is the row's; `schedule_status` is what the API shows."""

    __tablename__ = "schedules"
    __table_args__ = (Index("schedules_of_a_subscription", "store", "subscription_id"),)

    subscription_id: Mapped[str]
    schedule_type: Mapped[str]  # plan_change, cancellation
    scheduled_at: Mapped[datetime]
    schedule_status: Mapped[str] = mapped_column(default="pending")  # pending, executed, cancelled, failed
    configuration: Mapped[Json | None] = mapped_column(default=None)
    executed_at: Mapped[datetime | None] = mapped_column(default=None)
    cancelled_at: Mapped[datetime | None] = mapped_column(default=None)
    error_message: Mapped[str] = mapped_column(default="")
    result: Mapped[Json | None] = mapped_column(default=None)  # of an executed plan change


class Wallet(Record, kw_only=True):
    __tablename__ = "wallets"
    __table_args__ = (Index("wallets_of_a_customer", "store", "customer_id", "currency"),)

    customer_id: Mapped[str]
    currency: Mapped[str]
    name: Mapped[str]
    balance: Mapped[Decimal] = mapped_column(default=ZERO)
    credit_balance: Mapped[Decimal] = mapped_column(default=ZERO)
    wallet_status: Mapped[str] = mapped_column(default="active")
    wallet_type: Mapped[str] = mapped_column(default="PRE_PAID")
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class WalletTransaction(Record, kw_only=True):
    __tablename__ = "wallet_transactions"
    __table_args__ = (Index("transactions_of_a_wallet", "store", "wallet_id"),)

    wallet_id: Mapped[str]
    customer_id: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal]
    credit_balance_before: Mapped[Decimal]
    credit_balance_after: Mapped[Decimal]
    description: Mapped[str] = mapped_column(default="")
    transaction_reason: Mapped[str] = mapped_column(default="SUBSCRIPTION_CREDIT_GRANT")
    reference_id: Mapped[str] = mapped_column(default="")
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class Coupon(Record, kw_only=True):
    __tablename__ = "coupons"
    __table_args__ = (Index("coupons_by_code", "store", "code"),)

    name: Mapped[str]
    code: Mapped[str]  # compared without regard to case
    type: Mapped[str] = mapped_column(default="percentage")  # percentage, fixed
    amount_off: Mapped[Decimal | None] = mapped_column(default=None)
    percentage_off: Mapped[Decimal | None] = mapped_column(default=None)
    currency: Mapped[str] = mapped_column(default="")
    cadence: Mapped[str] = mapped_column(default="forever")  # once, repeated, forever
    duration_in_periods: Mapped[int | None] = mapped_column(default=None)
    max_redemptions: Mapped[int | None] = mapped_column(default=None)
    total_redemptions: Mapped[int] = mapped_column(default=0)
    redeem_after: Mapped[datetime | None] = mapped_column(default=None)
    redeem_before: Mapped[datetime | None] = mapped_column(default=None)
    meta: Mapped[Json | None] = mapped_column("metadata", JSON(none_as_null=True), default=None)


class CouponAssociation(Record, kw_only=True):
    """A coupon of a subscription, or of one of its lines."""

    __tablename__ = "coupon_associations"
    __table_args__ = (Index("coupons_of_a_subscription", "store", "subscription_id"),)

    coupon_id: Mapped[str]
    subscription_id: Mapped[str]
    subscription_line_item_id: Mapped[str] = mapped_column(default="")
    redeemed_periods: Mapped[int] = mapped_column(default=0)
