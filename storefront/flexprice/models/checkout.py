"""A checkout session, and what is sent to create one (docs/flexprice-contract.md#b6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .._json import MAX_ID_CHARS, Fields

# An unknown status is not terminal, unless the field `terminal` says so: Flexprice may add some.
TERMINAL_STATUSES = frozenset({"completed", "failed", "expired"})
MAX_POLL_DELAY = timedelta(hours=1)


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
    `failure_reason` is internal text of Flexprice's: never show it to a shopper. `payment_status`,
    `next_poll_after` (how long to wait before the next read; None: no advice) and `stale` come from newer
    servers only.
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
    next_poll_after: timedelta | None = None
    stale: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, partial: bool = False) -> CheckoutSession:
        """Read a session.

        :param partial: the session is part of a webhook, which lacks metadata and key and may lack more.
        :raises UnreadableResponse: a field that is relied on cannot be read.
        """
        fields = Fields(data, "checkout session")
        status = fields.required_id("checkout_status")
        return cls(
            id=fields.required_id("id"),
            customer_id=fields.id("customer_id") if partial else fields.required_id("customer_id"),
            status=status,
            payment_url=fields.inner("payment_action").text("url") or None,  # absent, or with an empty url
            expires_at=fields.time("expires_at"),
            completed_at=fields.time("completed_at"),
            cancelled_at=fields.time("cancelled_at"),
            created_at=fields.time("created_at"),
            invoice_id=fields.optional_id("checkout_invoice_id"),
            payment_id=fields.optional_id("checkout_payment_id"),
            payment_status=fields.inner("payment").upper("status"),
            idempotency_key=fields.optional_id("idempotency_key"),
            metadata=fields.metadata(),
            failure_reason=fields.text("failure_reason"),
            terminal=fields.flag("terminal") or status in TERMINAL_STATUSES,
            next_poll_after=_poll_delay(fields.integer("next_poll_after_ms")),
            stale=fields.flag("stale"),
        )


def _poll_delay(milliseconds: int) -> timedelta | None:
    """Return the advised delay. Zero means "stop" or "not a polling read": no advice either way."""
    if milliseconds <= 0:
        return None
    return timedelta(milliseconds=min(milliseconds, MAX_POLL_DELAY // timedelta(milliseconds=1)))
