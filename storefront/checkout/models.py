"""The two tables of the checkout, as mixins for models on your own `db`, and the customer that you hand in.

    class Order(OrderMixin, db.Model):
        user_id = mapped_column(ForeignKey("user.id"))

    class WebhookEvent(WebhookEventMixin, db.Model): ...

Standard column types only, so that your `flask db migrate` writes the revision. Times are UTC without a zone.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .states import ENDED_UNPAID, OPEN, SETTLED, State


@dataclass(frozen=True, slots=True)
class Customer:
    """Who is buying.

    :param key: an id of yours that never changes, at most 255 characters; Flexprice's `external_id`.
    :param name: shown on invoices, at most 255 characters.
    :param email: Razorpay and Flexprice write to it.
    """

    key: str
    name: str
    email: str


class OrderMixin:
    """One purchase: at most one checkout session at Flexprice, at most one fulfillment."""

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return "checkout_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    # 128 random bits, which cannot be guessed; also the idempotency key.
    ref: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: secrets.token_hex(16))
    # "<customer key> <plan id>" while the order is open, paid or active; NULL afterwards. Unique, so that the
    # INSERT decides a double click, and the UPDATE a second payment for the same plan.
    slot: Mapped[str | None] = mapped_column(String(520), unique=True)
    state: Mapped[str] = mapped_column(String(20), default=State.PLACED)

    customer_key: Mapped[str] = mapped_column(String(255), index=True)
    customer_name: Mapped[str | None] = mapped_column(String(255))  # until the order is settled
    customer_email: Mapped[str | None] = mapped_column(String(320))  # until the order is settled
    plan_id: Mapped[str] = mapped_column(String(255))
    plan_name: Mapped[str] = mapped_column(String(255))
    currency: Mapped[str] = mapped_column(String(3))  # lower case, as Flexprice writes it
    billing_period: Mapped[str] = mapped_column(String(20))
    amount_text: Mapped[str] = mapped_column("amount", String(40))  # SQLite has no decimal type
    return_url: Mapped[str] = mapped_column(Text)  # the order's address, without /success or /failure

    created_at: Mapped[datetime]
    ordered_at: Mapped[datetime | None]  # the same in shop time, which a test clock moves
    status_changed_at: Mapped[datetime]
    session_requested_at: Mapped[datetime | None]  # set by the one who calls Flexprice
    session_id: Mapped[str | None] = mapped_column(String(255), unique=True)
    flexprice_customer_id: Mapped[str | None] = mapped_column(String(255))  # as on the session
    payment_url: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None]  # "please pay by"; the link may live longer
    invoice_id: Mapped[str | None] = mapped_column(String(255))
    payment_id: Mapped[str | None] = mapped_column(String(255), index=True)
    subscription_id: Mapped[str | None] = mapped_column(String(255), index=True)
    invoice_verified_at: Mapped[datetime | None]  # it charges what was ordered
    cancel_requested_at: Mapped[datetime | None]

    next_attempt_at: Mapped[datetime | None] = mapped_column(index=True)  # when the worker acts next
    attempts: Mapped[int] = mapped_column(default=0)  # of the worker, since the last transition
    last_checked_at: Mapped[datetime | None]  # when Flexprice was last asked

    paid_at: Mapped[datetime | None]  # in shop time
    fulfilled_at: Mapped[datetime | None]  # in shop time
    revoked_at: Mapped[datetime | None]  # access ended after the order was fulfilled
    access_ends_at: Mapped[datetime | None]  # Flexprice's `cancel_at`: end scheduled
    refunded_at: Mapped[datetime | None]  # when a refund was first reported
    invoice_number: Mapped[str | None] = mapped_column(String(255))
    invoice_total_text: Mapped[str | None] = mapped_column("invoice_total", String(40))  # with tax
    period_end: Mapped[datetime | None]  # of the first invoice
    review_note: Mapped[str | None] = mapped_column(Text)  # a sentence for the operator

    # What the return URL claimed. Anybody can type it: shown to support, never believed.
    returned_paid_at: Mapped[datetime | None]
    unverified_payment_id: Mapped[str | None] = mapped_column(String(40))

    replaces: Mapped[str | None] = mapped_column(String(32), unique=True)  # ref of the order it follows
    replaced_by: Mapped[str | None] = mapped_column(String(32))

    @property
    def amount(self) -> Decimal:
        """Before tax, in major units, as shown when it was ordered."""
        return Decimal(self.amount_text)

    @property
    def invoice_total(self) -> Decimal | None:
        """What was charged, with tax, in major units; None until the invoice was read."""
        return Decimal(self.invoice_total_text) if self.invoice_total_text else None

    @property
    def short_ref(self) -> str:
        """What a customer quotes to support."""
        return self.ref[-8:]

    @property
    def is_open(self) -> bool:
        """Whether it is placed or awaits its payment."""
        return self.state in OPEN

    @property
    def ended_unpaid(self) -> bool:
        """Whether it ended and no payment is known."""
        return self.state in ENDED_UNPAID

    @property
    def settled(self) -> bool:
        """Whether it is neither open nor paid and waiting to be fulfilled."""
        return self.state in SETTLED

    @property
    def is_active(self) -> bool:
        """Fulfilled, and not revoked since."""
        return self.state == State.FULFILLED and self.revoked_at is None


class WebhookEventMixin:
    """The inbox: a webhook event is stored once, before it is answered and before it is acted upon."""

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return "checkout_webhook_events"

    # The message id: a second copy finds it taken.
    id: Mapped[str] = mapped_column(String(300), primary_key=True)
    event_type: Mapped[str] = mapped_column(String(255))
    object_id: Mapped[str] = mapped_column(String(255), index=True)
    customer_id: Mapped[str] = mapped_column(String(255))  # Flexprice's
    order_ref: Mapped[str | None] = mapped_column(String(255))
    body: Mapped[str | None] = mapped_column(Text)  # of checkout.session.* only: others hold customers' data
    signed: Mapped[bool] = mapped_column(default=True)  # False: a hint, never believed
    received_at: Mapped[datetime] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(index=True)  # None: processed or set aside
    processed_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(Text)  # what came of it, or why it waits
    error: Mapped[str | None] = mapped_column(Text)  # traceback of the last attempt that raised
