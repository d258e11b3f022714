"""What a completed checkout leaves behind: subscription, invoice, payment, refund."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from .._json import Fields

PAID_STATUSES = frozenset({"SUCCEEDED", "OVERPAID"})
OPEN_STATUSES = frozenset({"PENDING", "FAILED"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """Access to a plan over time (docs/flexprice-contract.md#j1).

    `status` is `draft` (not paid), `incomplete`, `trialing`, `active`, `paused` or `cancelled`, and does not
    tell whether the last invoice is paid. `cancelled_at` is set as soon as an end is *scheduled*: take the
    end from `cancel_at`, and whether it is over from `status`. `metadata` holds `order_ref` from the first
    moment.
    """

    id: str
    customer_id: str
    plan_id: str
    status: str
    currency: str = ""
    billing_period: str = ""
    created_at: datetime | None = None
    start_date: datetime | None = None
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    trial_start: datetime | None = None
    trial_end: datetime | None = None
    cancel_at: datetime | None = None
    cancel_at_period_end: bool = False
    cancelled_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    latest_invoice_id: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, partial: bool = False) -> Subscription:
        """Read a subscription.

        :param partial: the subscription is part of a webhook, which may lack everything but its id.
        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "subscription")
        required = fields.id if partial else fields.required_id
        return cls(
            id=fields.required_id("id"),
            customer_id=required("customer_id"),
            plan_id=required("plan_id"),
            status=required("subscription_status").lower(),
            currency=fields.name("currency").lower(),
            billing_period=fields.upper("billing_period"),
            created_at=fields.time("created_at"),
            start_date=fields.time("start_date"),
            current_period_start=fields.time("current_period_start"),
            current_period_end=fields.time("current_period_end"),
            trial_start=fields.time("trial_start"),
            trial_end=fields.time("trial_end"),
            cancel_at=fields.time("cancel_at"),
            cancel_at_period_end=fields.flag("cancel_at_period_end"),
            cancelled_at=fields.time("cancelled_at"),
            metadata=fields.metadata(),
            latest_invoice_id=fields.inner("latest_invoice").optional_id("id"),
        )


@dataclass(frozen=True, slots=True)
class Invoice:
    """A bill (docs/flexprice-contract.md#j3).

    `status` is `DRAFT`, `FINALIZED`, `VOIDED` or `SKIPPED`; `payment_status` is independent of it. `subtotal`
    is before discount and tax, `total` after both. `number` is None until the invoice is final. Read by its
    id an invoice comes with its `subscription` and customer, in a list without the subscription.
    """

    id: str
    status: str
    payment_status: str
    currency: str
    subtotal: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    total_tax: Decimal = Decimal(0)
    amount_due: Decimal = Decimal(0)
    amount_paid: Decimal = Decimal(0)
    amount_remaining: Decimal = Decimal(0)
    number: str | None = None
    invoice_type: str = ""
    billing_reason: str = ""
    customer_id: str = ""
    customer_external_id: str = ""
    subscription_id: str | None = None
    subscription: Subscription | None = None
    due_date: datetime | None = None
    paid_at: datetime | None = None
    finalized_at: datetime | None = None
    voided_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None

    @property
    def paid(self) -> bool:
        """Whether the invoice is final and settled. A part payment settles it too, as Flexprice counts."""
        return self.status == "FINALIZED" and self.payment_status in PAID_STATUSES

    @property
    def open(self) -> bool:
        """Whether the invoice is final and money is still due."""
        final = self.status == "FINALIZED" and self.payment_status in OPEN_STATUSES
        return final and self.amount_remaining > 0

    @property
    def voided(self) -> bool:
        """Whether the invoice was withdrawn: nothing is due any more."""
        return self.status == "VOIDED"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Invoice:
        """Read an invoice.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "invoice")
        total = fields.money("total")
        due, paid = fields.money_or("amount_due", total), fields.money_or("amount_paid", Decimal(0))
        return cls(
            id=fields.required_id("id"),
            status=fields.required_id("invoice_status").upper(),
            payment_status=fields.required_id("payment_status").upper(),
            currency=fields.required_id("currency").lower(),
            subtotal=fields.money("subtotal"),
            total=total,
            total_tax=fields.money_or("total_tax", Decimal(0)),
            amount_due=due,
            amount_paid=paid,
            amount_remaining=fields.money_or("amount_remaining", due - paid),
            number=fields.name("invoice_number") or None,  # shown, never looked up by
            invoice_type=fields.upper("invoice_type"),
            billing_reason=fields.upper("billing_reason"),
            customer_id=fields.id("customer_id"),
            customer_external_id=fields.inner("customer").id("external_id"),
            subscription_id=fields.optional_id("subscription_id"),
            subscription=fields.one("subscription", Subscription.from_json),
            due_date=fields.time("due_date"),
            paid_at=fields.time("paid_at"),
            finalized_at=fields.time("finalized_at"),
            voided_at=fields.time("voided_at"),
            period_start=fields.time("period_start"),
            period_end=fields.time("period_end"),
        )


@dataclass(frozen=True, slots=True)
class Payment:
    """One way to settle an invoice (docs/flexprice-contract.md#b12).

    `status` is in upper case. A declined card changes nothing: a checkout's payment stays `INITIATED`, or
    `PENDING` on newer servers, until it succeeds.
    """

    id: str
    status: str
    amount: Decimal
    currency: str
    succeeded_at: datetime | None = None
    refunded_at: datetime | None = None
    invoice_id: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Payment:
        """Read a payment.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "payment")
        return cls(
            id=fields.required_id("id"),
            status=fields.required_id("payment_status").upper(),
            amount=fields.money("amount"),
            currency=fields.required_id("currency").lower(),
            succeeded_at=fields.time("succeeded_at"),
            refunded_at=fields.time("refunded_at"),
            invoice_id=fields.optional_id("destination_id"),
        )


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back (docs/flexprice-contract.md#b13).

    `status` is in upper case. Only newer servers have refunds.
    """

    id: str
    payment_id: str
    status: str
    amount: Decimal
    currency: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, partial: bool = False) -> Refund:
        """Read a refund.

        :param partial: the refund is part of a webhook, which may lack everything but its id.
        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "refund")
        required = fields.id if partial else fields.required_id
        return cls(
            id=fields.required_id("id"),
            payment_id=required("payment_id"),
            status=required("refund_status").upper(),
            amount=fields.money_or("amount", Decimal(0)) if partial else fields.money("amount"),
            currency=required("currency").lower(),
        )
