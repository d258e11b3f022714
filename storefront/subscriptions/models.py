"""The two tables of the second month, as mixins for models on your own `db`. Times are UTC without a zone.

Columns marked "shop time" are business dates, which the test clock moves; the others are real time.
"""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import DateTime, String, Text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .states import PAID, Access, Bill, Link, overdue_from


class SubscriptionMixin:
    """A subscription of a customer of ours, as Flexprice last told it, and the access that follows."""

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return "checkout_subscriptions"

    id: Mapped[int] = mapped_column(primary_key=True)
    subscription_id: Mapped[str] = mapped_column(String(255), unique=True)  # Flexprice's
    customer_key: Mapped[str] = mapped_column(String(255), index=True)
    flexprice_customer_id: Mapped[str] = mapped_column(String(255), index=True)
    order_ref: Mapped[str | None] = mapped_column(String(32), unique=True)  # None: made in the dashboard
    access: Mapped[str] = mapped_column(String(10), default=Access.NONE)

    plan_id: Mapped[str] = mapped_column(String(255))
    plan_name: Mapped[str] = mapped_column(String(255))
    currency: Mapped[str] = mapped_column(String(3))
    billing_period: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(255), default="")  # Flexprice's word; "" until it was read
    period_start: Mapped[datetime | None] = mapped_column(DateTime)  # shop time, like the next six
    period_end: Mapped[datetime | None] = mapped_column(DateTime)
    trial_end: Mapped[datetime | None] = mapped_column(DateTime)
    cancel_at: Mapped[datetime | None] = mapped_column(DateTime)  # an end is planned, or was
    planned_at: Mapped[datetime | None] = mapped_column(DateTime)  # of a change of plan
    suspend_at: Mapped[datetime | None] = mapped_column(DateTime)  # unless something is paid before
    due_at: Mapped[datetime | None] = mapped_column(DateTime, index=True)  # the next date that matters
    planned_plan_id: Mapped[str | None] = mapped_column(String(255))
    cancel_schedule_id: Mapped[str | None] = mapped_column(String(255))  # to undo the planned end
    change_schedule_id: Mapped[str | None] = mapped_column(String(255))  # to undo the planned change

    replaced_by: Mapped[str | None] = mapped_column(String(32))  # ref of the order that took over
    end_requested_at: Mapped[datetime | None] = mapped_column(DateTime)  # the worker ends it
    renewal_told_for: Mapped[datetime | None] = mapped_column(DateTime)  # the period end we wrote about
    trial_told_for: Mapped[datetime | None] = mapped_column(DateTime)

    version: Mapped[int] = mapped_column(default=0)  # of the last sync: an older read never overwrites it
    synced_at: Mapped[datetime | None] = mapped_column(DateTime)
    next_attempt_at: Mapped[datetime | None] = mapped_column(DateTime, index=True)
    attempts: Mapped[int] = mapped_column(default=0)  # since the last sync that worked
    review_note: Mapped[str | None] = mapped_column(Text)  # a sentence for the operator

    @property
    def runs(self) -> bool:
        return self.status in ("active", "trialing")

    @property
    def in_trial(self) -> bool:
        return self.status == "trialing"


class InvoiceMixin:
    """An invoice of such a subscription, and its one payment link."""

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return "checkout_invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[str] = mapped_column(String(255), unique=True)  # Flexprice's
    subscription_id: Mapped[str] = mapped_column(String(255), index=True)
    customer_key: Mapped[str] = mapped_column(String(255), index=True)
    number: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(255))
    payment_status: Mapped[str] = mapped_column(String(255))
    billing_reason: Mapped[str] = mapped_column(String(255), default="")
    currency: Mapped[str] = mapped_column(String(10))
    total_text: Mapped[str] = mapped_column("total", String(40))  # SQLite has no decimal type
    paid_text: Mapped[str] = mapped_column("amount_paid", String(40), default="0")
    remaining_text: Mapped[str] = mapped_column("amount_remaining", String(40), default="0")
    due_date: Mapped[datetime | None] = mapped_column(DateTime)  # shop time, like the next three
    finalized_at: Mapped[datetime | None] = mapped_column(DateTime)
    period_start: Mapped[datetime | None] = mapped_column(DateTime)
    period_end: Mapped[datetime | None] = mapped_column(DateTime)

    link: Mapped[str] = mapped_column(String(10), default=Link.NONE)
    attempt: Mapped[int] = mapped_column(default=0)  # counts the links: each has an own idempotency key
    payment_key: Mapped[str | None] = mapped_column(String(50), unique=True)
    payment_id: Mapped[str | None] = mapped_column(String(255), index=True)
    payment_url: Mapped[str | None] = mapped_column(Text)
    provider_page: Mapped[bool] = mapped_column(default=False)  # Razorpay's own, without a way back
    return_url: Mapped[str | None] = mapped_column(Text)
    requested_at: Mapped[datetime | None] = mapped_column(DateTime)  # of the current attempt
    returned_at: Mapped[datetime | None] = mapped_column(DateTime)  # the customer came back from it
    returned_paid: Mapped[bool] = mapped_column(default=False)  # what the return URL claimed: unverified
    money_seen_at: Mapped[datetime | None] = mapped_column(DateTime)  # a payment was read as SUCCEEDED
    ready_told_at: Mapped[datetime | None] = mapped_column(DateTime)
    paid_told_at: Mapped[datetime | None] = mapped_column(DateTime)
    overdue_told_at: Mapped[datetime | None] = mapped_column(DateTime)
    next_attempt_at: Mapped[datetime | None] = mapped_column(DateTime, index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    review_note: Mapped[str | None] = mapped_column(Text)

    @property
    def total(self) -> Decimal:
        return Decimal(self.total_text)

    @property
    def remaining(self) -> Decimal:
        return Decimal(self.remaining_text)

    @property
    def paid(self) -> bool:
        return self.status == "FINALIZED" and self.payment_status in PAID

    @property
    def is_open(self) -> bool:
        final = self.status == "FINALIZED" and self.payment_status in ("PENDING", "FAILED")
        return final and self.remaining > 0

    @property
    def bill(self) -> Bill:
        money_seen = self.money_seen_at is not None
        return Bill(self.is_open, self.billing_reason, self.due_date, self.finalized_at, money_seen)

    @property
    def overdue_from(self) -> datetime | None:
        return overdue_from(self.bill)
