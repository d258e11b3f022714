"""A checkout session, and what a completed one leaves behind: subscription, invoice, payment, refund."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from .._json import MAX_ID_CHARS, Fields, flag, identifier, label, money, text, time, word
from ..exceptions import UnreadableResponse

# An unknown status is not terminal, unless the field `terminal` says so: Flexprice may add some.
TERMINAL_STATUSES = frozenset({"completed", "failed", "expired"})
PAID_STATUSES = frozenset({"SUCCEEDED", "OVERPAID"})
OPEN_STATUSES = frozenset({"PENDING", "FAILED"})


@dataclass(frozen=True, slots=True)
class CheckoutSessionRequest:
    """What is asked of `POST /checkout/sessions` (docs/flexprice-contract.md#b6).

    :param customer_external_id: your id of the customer, who must exist at Flexprice.
    :param currency: a code of three characters in any case; a price of the plan must be in it.
    :param billing_period: `MONTHLY`, `ANNUAL`, …; sent in upper case, because Flexprice refuses lower case.
    :param idempotency_key: your order's reference, 1 to 255 characters. While a session with it is active,
        another create with it is a `Conflict`. It is also put as `order_ref` into the metadata of the session
        and of the subscription, so that either can be found when the answer was lost.
    :param success_url: where the shopper returns after paying. Put your order's reference into it:
        Flexprice replaces nothing in it.
    :param failure_url: accepted and never used by Flexprice, like `cancel_url`.
    :param metadata: more entries for the session and its payment link; short, because Razorpay allows 15.
    :raises ValueError: the key has a wrong length, or a metadata key would overwrite Flexprice's own notes.
    """

    customer_external_id: str
    plan_id: str
    currency: str
    billing_period: str
    idempotency_key: str
    success_url: str
    failure_url: str
    cancel_url: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.idempotency_key) <= MAX_ID_CHARS:
            raise ValueError(f"an idempotency key has 1 to {MAX_ID_CHARS} characters")
        for key in self.metadata:
            if key.startswith("flexprice_") or key == "payment_source":
                raise ValueError(f"the metadata key {key!r} would overwrite Flexprice's own notes")

    def to_json(self) -> dict[str, Any]:
        """Return the body of the request."""
        reference = {"order_ref": self.idempotency_key}
        return {
            "customer_external_id": self.customer_external_id,
            "action": "create_subscription",
            "payment_provider": "razorpay",
            "configuration": {
                "create_subscription_params": {
                    "plan_id": self.plan_id,
                    "currency": self.currency,
                    "billing_period": self.billing_period.upper(),
                    "metadata": dict(reference),
                }
            },
            "success_url": self.success_url,
            "failure_url": self.failure_url,
            "cancel_url": self.cancel_url,
            "idempotency_key": self.idempotency_key,
            "metadata": {**self.metadata, **reference},
        }


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """One attempt to pay (docs/flexprice-contract.md#b6).

    `status` is `initiated`, `pending`, `completed`, `failed` or `expired`; `terminal` says that it is over.
    `payment_url` must not be offered once it is. `expires_at` may pass while the status still says `pending`.
    `failure_reason` is internal text of Flexprice's: never show it to a shopper. `payment_status` comes from
    newer servers only.
    """

    id: str
    customer_id: str
    status: str
    payment_url: str | None = None
    expires_at: datetime | None = None
    completed_at: datetime | None = None
    cancelled_at: datetime | None = None
    created_at: datetime | None = None
    invoice_id: str | None = None
    payment_id: str | None = None
    payment_status: str = ""
    idempotency_key: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    failure_reason: str = ""
    terminal: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, partial: bool = False) -> CheckoutSession:
        """Read a session.

        :param partial: the session is part of a webhook, which lacks metadata and key and may lack more.
        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "checkout session")
        status = fields.required("checkout_status", identifier)
        customer_id = fields.get("customer_id", identifier, "")
        if not (partial or customer_id):
            raise UnreadableResponse("checkout session has no usable 'customer_id'")
        return cls(
            id=fields.required("id", identifier),
            customer_id=customer_id,
            status=status,
            payment_url=fields.inner("payment_action").get("url", text, "")
            or None,  # absent, or with an empty url
            expires_at=fields.get("expires_at", time, None),
            completed_at=fields.get("completed_at", time, None),
            cancelled_at=fields.get("cancelled_at", time, None),
            created_at=fields.get("created_at", time, None),
            invoice_id=fields.get("checkout_invoice_id", identifier, "") or None,
            payment_id=fields.get("checkout_payment_id", identifier, "") or None,
            payment_status=fields.inner("payment").get("status", word, ""),
            idempotency_key=fields.get("idempotency_key", identifier, "") or None,
            metadata=fields.metadata(),
            failure_reason=fields.get("failure_reason", text, ""),
            terminal=fields.get("terminal", flag, False) or status in TERMINAL_STATUSES,
        )


@dataclass(frozen=True, slots=True)
class Subscription:
    """Access to a plan over time (docs/flexprice-contract.md#j1).

    `status` is `draft` (not paid), `incomplete`, `trialing`, `active`, `paused` or `cancelled`, and does not
    tell whether the last invoice is paid. `cancelled_at` is set as soon as an end is *scheduled*: take the
    end from `cancel_at`, and whether it is over from `status`. `metadata` holds `order_ref` from the first
    moment. `checkout_session` is there only in the answer that made it, where something is to be paid first.
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
    plan_name: str = ""
    checkout_session: CheckoutSession | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Subscription:
        """Read a subscription.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields, paid_first = Fields(data, "subscription"), data.get("checkout_session")
        return cls(
            id=fields.required("id", identifier),
            customer_id=fields.required("customer_id", identifier),
            plan_id=fields.required("plan_id", identifier),
            status=fields.required("subscription_status", identifier).lower(),
            currency=fields.get("currency", label, "").lower()[:MAX_ID_CHARS],
            billing_period=fields.get("billing_period", word, ""),
            created_at=fields.get("created_at", time, None),
            start_date=fields.get("start_date", time, None),
            current_period_start=fields.get("current_period_start", time, None),
            current_period_end=fields.get("current_period_end", time, None),
            trial_start=fields.get("trial_start", time, None),
            trial_end=fields.get("trial_end", time, None),
            cancel_at=fields.get("cancel_at", time, None),
            cancel_at_period_end=fields.get("cancel_at_period_end", flag, False),
            cancelled_at=fields.get("cancelled_at", time, None),
            metadata=fields.metadata(),
            latest_invoice_id=fields.inner("latest_invoice").get("id", identifier, "") or None,
            plan_name=fields.inner("plan").get("name", label, ""),
            checkout_session=CheckoutSession.from_json(paid_first) if paid_first else None,
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
        total, bought = fields.required("total", money), data.get("subscription")
        due, paid = fields.get("amount_due", money, total), fields.get("amount_paid", money, Decimal(0))
        return cls(
            id=fields.required("id", identifier),
            status=fields.required("invoice_status", identifier).upper(),
            payment_status=fields.required("payment_status", identifier).upper(),
            currency=fields.required("currency", identifier).lower(),
            subtotal=fields.required("subtotal", money),
            total=total,
            total_tax=fields.get("total_tax", money, Decimal(0)),
            amount_due=due,
            amount_paid=paid,
            amount_remaining=fields.get("amount_remaining", money, due - paid),
            number=fields.get("invoice_number", label, "") or None,  # shown, never looked up by
            invoice_type=fields.get("invoice_type", word, ""),
            billing_reason=fields.get("billing_reason", word, ""),
            customer_id=fields.get("customer_id", identifier, ""),
            customer_external_id=fields.inner("customer").get("external_id", identifier, ""),
            subscription_id=fields.get("subscription_id", identifier, "") or None,
            subscription=Subscription.from_json(bought) if bought else None,
            due_date=fields.get("due_date", time, None),
            paid_at=fields.get("paid_at", time, None),
            finalized_at=fields.get("finalized_at", time, None),
            voided_at=fields.get("voided_at", time, None),
            period_start=fields.get("period_start", time, None),
            period_end=fields.get("period_end", time, None),
        )


@dataclass(frozen=True, slots=True)
class Payment:
    """One way to settle an invoice (docs/flexprice-contract.md#b12).

    `status` is in upper case. A declined card changes nothing: a checkout's payment stays `INITIATED`, or
    `PENDING` on newer servers, until it succeeds. `payment_url` is where a link is paid; it may be missing
    for some seconds, and stays when the link is dead. `provider_id` is the provider's own: `inv_…` says that
    the page is that of an invoice which Flexprice copied to Razorpay (docs/flexprice-contract.md#j5).
    """

    id: str
    status: str
    amount: Decimal
    currency: str
    succeeded_at: datetime | None = None
    refunded_at: datetime | None = None
    invoice_id: str | None = None
    failed_at: datetime | None = None
    payment_url: str | None = None
    provider_id: str = ""
    idempotency_key: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Payment:
        """Read a payment.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "payment")
        return cls(
            id=fields.required("id", identifier),
            status=fields.required("payment_status", identifier).upper(),
            amount=fields.required("amount", money),
            currency=fields.required("currency", identifier).lower(),
            succeeded_at=fields.get("succeeded_at", time, None),
            refunded_at=fields.get("refunded_at", time, None),
            invoice_id=fields.get("destination_id", identifier, "") or None,
            failed_at=fields.get("failed_at", time, None),
            payment_url=fields.get("payment_url", text, "") or None,
            provider_id=fields.get("gateway_tracking_id", label, ""),
            idempotency_key=fields.get("idempotency_key", label, ""),
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
    def from_json(cls, data: Mapping[str, Any]) -> Refund:
        """Read a refund.

        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "refund")
        return cls(
            id=fields.required("id", identifier),
            payment_id=fields.required("payment_id", identifier),
            status=fields.required("refund_status", identifier).upper(),
            amount=fields.required("amount", money),
            currency=fields.required("currency", identifier).lower(),
        )
