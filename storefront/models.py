"""The rows: who buys, what was bought, what they may use, what Flexprice told us, which letters we owe.

Besides: the worker's sign of life, webhooks we refused, and what operators did.
"""

import secrets
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask_login import UserMixin
from sqlalchemy import DateTime, Dialect, Float, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from storefront.lifecycle import ENDED_UNPAID, OPEN, SETTLED, State


class UtcDateTime(TypeDecorator[datetime]):
    """Aware in, aware out; stored as naive UTC, which SQLite and PostgreSQL sort alike."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class Money(TypeDecorator[Decimal]):
    """Major units, exactly as Flexprice writes them: SQLite has no decimal type, and a float loses paise."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, Decimal: Money, str: String(255)}


def random_key() -> str:
    """128 random bits: nobody guesses an order, a customer or a session."""
    return secrets.token_hex(16)


class Shopper(UserMixin, Base):
    __tablename__ = "shoppers"

    id: Mapped[int] = mapped_column(primary_key=True)
    external_id: Mapped[str] = mapped_column(unique=True, default=random_key)  # what Flexprice knows them by
    email: Mapped[str] = mapped_column(unique=True)  # lower case
    name: Mapped[str]
    password_hash: Mapped[str]
    flexprice_id: Mapped[str | None]  # None until the customer exists there
    is_operator: Mapped[bool] = mapped_column(default=False)
    session_key: Mapped[str] = mapped_column(unique=True, default=random_key)  # renewed with the password
    created_at: Mapped[datetime]

    def get_id(self) -> str:
        """What the session cookie carries: a new password signs every browser out."""
        return self.session_key


_OPEN_SQL = text("state IN ('placed', 'awaiting_payment')")
_PAID_SQL = text("state = 'paid'")


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (
        # A second click finds the first order instead of making another payable link.
        Index(
            "one_open_order_per_shopper_and_plan",
            "shopper_id",
            "plan_id",
            unique=True,
            sqlite_where=_OPEN_SQL,
            postgresql_where=_OPEN_SQL,
        ),
        # Somebody has paid and is waiting: found among however many that are looked after for other reasons.
        Index("orders_to_hand_over", "next_look_at", sqlite_where=_PAID_SQL, postgresql_where=_PAID_SQL),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ref: Mapped[str] = mapped_column(String(32), unique=True, default=random_key)  # decision 5
    shopper_id: Mapped[int] = mapped_column(ForeignKey("shoppers.id"), index=True)
    state: Mapped[str] = mapped_column(String(20), default=State.PLACED)
    plan_id: Mapped[str]
    plan_name: Mapped[str]
    currency: Mapped[str] = mapped_column(String(3))
    billing_period: Mapped[str] = mapped_column(String(20))
    amount: Mapped[Decimal]  # as shown, before tax
    created_at: Mapped[datetime]
    moved_at: Mapped[datetime | None]  # into the state it is in

    opening_at: Mapped[datetime | None]  # who set this is the one who calls Flexprice
    session_id: Mapped[str | None] = mapped_column(unique=True)
    customer_id: Mapped[str | None]  # Flexprice's id, as on the session
    payment_url: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None]  # "please pay by", not the end of the link (decision 15)
    invoice_id: Mapped[str | None]
    payment_id: Mapped[str | None] = mapped_column(index=True)
    subscription_id: Mapped[str | None] = mapped_column(index=True)
    terms_checked_at: Mapped[datetime | None]  # the session charges what was ordered, or an operator said so

    asked_at: Mapped[datetime | None]  # when a page last asked Flexprice
    next_ask_at: Mapped[datetime | None]
    next_look_at: Mapped[datetime | None] = mapped_column(index=True)  # when the worker looks after it again
    looked_at: Mapped[datetime | None]
    looked_by: Mapped[str | None]  # a worker, as in the inbox
    looks: Mapped[int] = mapped_column(default=0)
    cancel_asked_at: Mapped[datetime | None]

    paid_at: Mapped[datetime | None]
    fulfilled_at: Mapped[datetime | None]
    refunded_at: Mapped[datetime | None]  # when a refund of what was delivered was first heard of
    invoice_number: Mapped[str | None]
    invoice_total: Mapped[Decimal | None]
    flag: Mapped[str | None] = mapped_column(Text)  # a sentence for the operator

    shopper: Mapped[Shopper] = relationship(lazy="joined")

    @property
    def short_ref(self) -> str:
        return self.ref[-8:]

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def link(self) -> str | None:
        """Where it can be paid."""
        return self.payment_url if self.is_open else None

    @property
    def ended_unpaid(self) -> bool:
        return self.state in ENDED_UNPAID

    @property
    def waiting_since(self) -> datetime:
        """For what it waits for now: news of its session, its goods, a person."""
        return self.moved_at or self.opening_at or self.created_at

    @property
    def settled(self) -> bool:
        return self.state in SETTLED


class Access(Base):
    """What a shopper may use: one row per plan, revived when the plan is bought again."""

    __tablename__ = "accesses"
    __table_args__ = (UniqueConstraint("shopper_id", "plan_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    shopper_id: Mapped[int] = mapped_column(ForeignKey("shoppers.id"))
    plan_id: Mapped[str]
    plan_name: Mapped[str]
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    subscription_id: Mapped[str | None] = mapped_column(index=True)
    granted_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # scheduled by `subscription.updated`
    paid_until: Mapped[datetime | None] = mapped_column(index=True)  # the end of the newest paid period
    asked_at: Mapped[datetime | None]  # when Flexprice was last asked whether it was renewed
    overdue_since: Mapped[datetime | None]  # over, by more than the grace, and not renewed: for the operator
    revoked_at: Mapped[datetime | None]

    def active_at(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.ends_at is None or self.ends_at > now)

    @property
    def active(self) -> bool:
        return self.active_at(datetime.now(UTC))


class InboxMessage(Base):
    __tablename__ = "inbox"
    __table_args__ = (
        Index("inbox_to_read", "handled_at", "next_try_at"),
        Index("inbox_by_time", "received_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # the sender's message id: a second copy finds it taken
    event_type: Mapped[str]
    object_id: Mapped[str] = mapped_column(index=True)
    customer_id: Mapped[str]
    order_ref: Mapped[str | None]
    body: Mapped[str | None] = mapped_column(Text)  # only what the shop acts on (decision 23)
    received_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    claimed_by: Mapped[str | None]  # a worker: what a dead one held is free again (storefront/lifesigns.py)
    handled_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)  # of the last reading that broke, for the operator


class Letter(Base):
    """A letter we owe: written in the sale's transaction, posted later."""

    __tablename__ = "letters"
    __table_args__ = (UniqueConstraint("order_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    shopper_id: Mapped[int] = mapped_column(ForeignKey("shoppers.id"), index=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    kind: Mapped[str] = mapped_column(String(40))
    to: Mapped[str] = mapped_column("recipient")
    subject: Mapped[str]
    body_text: Mapped[str] = mapped_column(Text)
    body_html: Mapped[str] = mapped_column(Text)
    message_id: Mapped[str] = mapped_column(unique=True, default=random_key)
    created_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    claimed_by: Mapped[str | None]
    posted_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)

    @property
    def state(self) -> str:
        return "posted" if self.posted_at else "to be posted"


class Heartbeat(Base):
    """Signs of life, a row for each worker: a web process alone fulfils nothing (storefront/lifesigns.py)."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)
    beat_at: Mapped[datetime]


class Tally(Base):
    """One figure of /metrics, added up by all processes (storefront/tallies.py)."""

    __tablename__ = "tallies"

    series: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Float)


class Refusal(Base):
    """Webhooks that were refused, a few rows of each cause (storefront/doorman.py)."""

    __tablename__ = "refusals"
    __table_args__ = (Index("refusals_by_cause", "cause", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    cause: Mapped[str] = mapped_column(String(40))
    says: Mapped[str] = mapped_column(Text)
    count: Mapped[int]  # how many like it since the row before
    sender: Mapped[str]  # address, program and message id: whoever called chose them
    agent: Mapped[str]
    message_id: Mapped[str]
    body_bytes: Mapped[int]
    body_sha256: Mapped[str] = mapped_column(String(64))  # never the body


class OperatorNote(Base):
    """What an operator did or wrote, and about what: kept for good."""

    __tablename__ = "operator_notes"
    __table_args__ = (Index("operator_notes_by_subject", "subject", "subject_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str]
    subject: Mapped[str] = mapped_column(String(20))  # order, message or letter
    subject_id: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
