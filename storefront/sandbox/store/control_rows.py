"""The sandbox's own rows: stores, messages and their deliveries, what is due, what was arranged, the log."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Float, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Json


class StoreState(Base, kw_only=True):
    """One row per store: its clock, switches, webhook endpoint and counters. Its key is the store's name."""

    __tablename__ = "stores"

    created_at: Mapped[float] = mapped_column(Float)  # wall time
    used_at: Mapped[float] = mapped_column(Float)  # wall time
    clock_offset_s: Mapped[float] = mapped_column(Float, default=0.0)
    switches: Mapped[Json] = mapped_column(default_factory=dict)  # only those that were set
    defaults: Mapped[Json] = mapped_column(default_factory=dict)  # of this server, such as its generation
    webhook_url: Mapped[str] = mapped_column(default="")
    webhook_secrets: Mapped[list[Any]] = mapped_column(default_factory=list)
    seed: Mapped[str] = mapped_column(default="")  # what `reset` puts back
    event_sequence: Mapped[int] = mapped_column(default=0)
    message_sequence: Mapped[int] = mapped_column(default=0)
    delivery_sequence: Mapped[int] = mapped_column(default=0)
    invoice_sequence: Mapped[int] = mapped_column(default=0)
    price_sequence: Mapped[int] = mapped_column(default=0)
    has_overrides: Mapped[bool] = mapped_column(default=False)
    keeps_versions: Mapped[bool] = mapped_column(default=False)  # for the fault replica_lag


class Event(Base, kw_only=True):
    """Something that happened. The message about it is built when it is first delivered."""

    __tablename__ = "events"
    __table_args__ = (
        Index("events_of_an_entity", "store", "entity_id"),
        Index("events_of_a_customer", "store", "customer_id", "sequence"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # the svix-id
    sequence: Mapped[int]  # grows with every event of the store
    message_number: Mapped[int | None] = mapped_column(default=None)  # grows as messages are built
    event_type: Mapped[str]
    entity: Mapped[str]  # the key of the object in the body: checkout_session, invoice, …
    entity_id: Mapped[str]
    customer_id: Mapped[str]
    created_at: Mapped[datetime]
    body: Mapped[str | None] = mapped_column(Text, default=None)
    built_at: Mapped[datetime | None] = mapped_column(default=None)


class Delivery(Base, kw_only=True):
    __tablename__ = "deliveries"
    __table_args__ = (
        Index("deliveries_due", "state", "due_at"),
        Index("deliveries_of_an_event", "store", "event_id"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # grows within the store
    event_id: Mapped[str]
    customer_id: Mapped[str]  # one customer's messages go out one after the other
    due_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="due")  # due, held, delivered, unsent, dropped, lost, failed
    attempt: Mapped[int] = mapped_column(default=0)
    fault: Mapped[str | None] = mapped_column(default=None)  # what is wrong with it on purpose
    response_status: Mapped[int | None] = mapped_column(default=None)
    response_body: Mapped[str | None] = mapped_column(Text, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)


class Attempt(Base, kw_only=True):
    """One request to the webhook endpoint: what went out and what came back."""

    __tablename__ = "attempts"
    __table_args__ = (Index("attempts_of_a_delivery", "store", "delivery_id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    delivery_id: Mapped[int]
    number: Mapped[int]
    at: Mapped[datetime]
    took_s: Mapped[float] = mapped_column(Float)
    headers: Mapped[Json] = mapped_column(JSON)
    body: Mapped[str] = mapped_column(Text)
    response_status: Mapped[int | None] = mapped_column(default=None)
    response_body: Mapped[str | None] = mapped_column(Text, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    note: Mapped[str | None] = mapped_column(Text, default=None)  # what the sandbox did to it


class Task(Base, kw_only=True):
    """Something that happens by itself at a time of the store's clock."""

    __tablename__ = "tasks"
    __table_args__ = (Index("tasks_due", "due_at"), Index("tasks_of_a_target", "store", "kind", "target"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str]  # the name of its handler, see engine/scheduler.py
    target: Mapped[str]  # an id
    due_at: Mapped[datetime]
    data: Mapped[Json | None] = mapped_column(default=None)


class Override(Base, kw_only=True):
    """An API fault, outcome, completion, delivery mode or provider failure that was arranged."""

    __tablename__ = "overrides"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str]  # fault, outcome, completion, delivery, provider
    name: Mapped[str]
    session: Mapped[str | None] = mapped_column(default=None)  # for this one alone; null: for all
    customer: Mapped[str | None] = mapped_column(default=None)  # either id; null: for all
    method: Mapped[str | None] = mapped_column(default=None)
    path: Mapped[str | None] = mapped_column(default=None)
    times: Mapped[int | None] = mapped_column(default=None)  # how often still; null: until it is removed
    seconds: Mapped[float | None] = mapped_column(Float, default=None)


class LogLine(Base, kw_only=True):
    """A call to the API, a click on the payment page, something the provider did."""

    __tablename__ = "log_lines"
    __table_args__ = (Index("log_of_a_session", "store", "session_id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime]
    what: Mapped[str]  # "POST /v1/checkout/sessions", "pay", "decline"
    session_id: Mapped[str | None] = mapped_column(default=None)
    status: Mapped[int | None] = mapped_column(default=None)
    detail: Mapped[Json] = mapped_column(JSON, default_factory=dict)


class ScenarioRun(Base, kw_only=True):
    """The last run of a test scenario; without a verdict it is under way."""

    __tablename__ = "scenario_runs"

    scenario: Mapped[str] = mapped_column(String(64), primary_key=True)
    started_at: Mapped[datetime]
    since: Mapped[Json] = mapped_column(JSON)  # the newest rows when it was started, and what was set up
    verdict: Mapped[str | None] = mapped_column(String(16), default=None)  # Passed, Failed
    verdict_at: Mapped[float | None] = mapped_column(Float, default=None)  # wall time
    result: Mapped[Json | None] = mapped_column(default=None)  # both halves, and each check
    who: Mapped[str] = mapped_column(default="")  # the tester
    comment: Mapped[str] = mapped_column(Text, default="")


class Mail(Base, kw_only=True):
    """An email that a shop posted here instead of sending it."""

    __tablename__ = "mails"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # grows within the store
    received_at: Mapped[datetime]
    sender: Mapped[str]
    recipient: Mapped[str]
    subject: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text, default="")
    html: Mapped[str] = mapped_column(Text, default="")


class RowVersion(Base, kw_only=True):
    """What a row was before: for reads from a replica that lags behind."""

    __tablename__ = "row_versions"
    __table_args__ = (Index("versions_of_a_row", "store", "row_id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    row_id: Mapped[str]
    at: Mapped[datetime]
    values: Mapped[Json | None] = mapped_column(default=None)  # null: the row did not exist


class Setting(Base, kw_only=True):
    """A tenant setting of Flexprice: invoice_config, subscription_config."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Json] = mapped_column(JSON)


class Usage(Base, kw_only=True):
    """How much of a feature a customer used, as it was set by a test."""

    __tablename__ = "usage"

    customer_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    feature_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Decimal]
