"""Flexprice's objects as the shop reads them: strict about what it relies on, blind to all other fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

# Contract C.1: the last three are terminal; an unknown status is not, unless `terminal` says so.
TERMINAL_STATUSES = frozenset({"completed", "failed", "expired"})
# Contract B.11: "paid" is FINALIZED and one of these.
PAID_STATUSES = frozenset({"SUCCEEDED", "OVERPAID"})

_LONGEST_ID = 255
_LONGEST_POLL = timedelta(hours=1)
_MONEY = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
# RFC 3339 with 0 to 9 fraction digits (contract A.3); digits beyond microseconds are cut off.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# Lone surrogates cannot be encoded, NUL cannot be stored by PostgreSQL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class UnreadableObject(ValueError):
    """What came is not the object it should be."""


def parse_json(raw: bytes) -> Any:
    """Read JSON without floats, NaN or Infinity; raise UnreadableObject on whatever else it is."""
    try:
        return json.loads(raw.decode("utf-8"), parse_float=_money_from_text, parse_constant=_no_constant)
    except UnreadableObject:
        raise
    except (ValueError, RecursionError):
        raise UnreadableObject("not JSON") from None


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time as an aware datetime in UTC."""
    match = _TIME.fullmatch(text)
    if not match:
        raise UnreadableObject("not an RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone
    try:
        parsed = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{offset}")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnreadableObject("not a possible time") from None


def parse_money(value: object) -> Decimal:
    """Read an amount in major units from a string or a number; floats never take part."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnreadableObject("not an amount")
    if isinstance(value, int) and abs(value) >= 10**20:
        raise UnreadableObject("not an amount")
    return _money_from_text(str(value))


def _money_from_text(text: str) -> Decimal:
    if not _MONEY.fullmatch(text):
        raise UnreadableObject("not an amount")
    return Decimal(text)


def _no_constant(name: str) -> NoReturn:
    raise UnreadableObject(f"{name} is not JSON")


class _Fields:
    """Typed access to the fields of one JSON object. Missing and null are the same."""

    def __init__(self, data: object, kind: str) -> None:
        if not isinstance(data, Mapping):
            raise UnreadableObject(f"{kind} is not an object")
        self._data = data
        self._kind = kind

    def _bad(self, name: str) -> NoReturn:
        raise UnreadableObject(f"{self._kind} has no usable {name!r}")

    def _get(self, name: str, read: Callable[[Any], T], default: T) -> T:
        value = self._data.get(name)
        if value is None:
            return default
        try:
            return read(value)
        except UnreadableObject:
            self._bad(name)

    def need(self, name: str) -> str:
        return self.key(name) or self._bad(name)

    def key(self, name: str) -> str:
        """An id, or anything else that goes into a narrow column; empty when there is none."""
        value = self.text(name)
        if len(value) > _LONGEST_ID:
            self._bad(name)
        return value

    def text(self, name: str) -> str:
        return self._get(name, _text, "")

    def maybe(self, name: str) -> str | None:
        return self.text(name) or None

    def maybe_key(self, name: str) -> str | None:
        return self.key(name) or None

    def time(self, name: str) -> datetime | None:
        return self._get(name, _time, None)

    def money(self, name: str) -> Decimal:
        if self._data.get(name) is None:
            self._bad(name)
        return self.money_or(name, Decimal(0))

    def money_or(self, name: str, default: Decimal) -> Decimal:
        return self._get(name, parse_money, default)

    def maybe_money(self, name: str) -> Decimal | None:
        return None if self._data.get(name) is None else self.money(name)

    def whole(self, name: str, default: int = 0) -> int:
        return self._get(name, _whole, default)

    def maybe_whole(self, name: str) -> int | None:
        return None if self._data.get(name) is None else self.whole(name)

    def maybe_flag(self, name: str) -> bool | None:
        return self._get(name, _flag, None)

    def flag(self, name: str, default: bool = False) -> bool:
        found = self.maybe_flag(name)
        return default if found is None else found

    def metadata(self) -> dict[str, str]:
        inner = self.inner("metadata")
        return {key: inner.text(key) for key, value in inner._data.items() if isinstance(value, str)}

    def inner(self, name: str) -> _Fields:
        found = self._data.get(name)
        return _Fields({} if found is None else found, f"{self._kind}.{name}")

    def one(self, name: str, read: Callable[[Mapping[str, Any]], T]) -> T | None:
        found = self._data.get(name)
        return read(found) if found else None

    def rows(self, name: str, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
        rows: list[Any] = self._get(name, _list, [])
        return tuple(read(row) for row in rows if _published(row))


def _text(value: object) -> str:
    if not isinstance(value, str) or _UNSTORABLE.search(value):
        raise UnreadableObject("not text")
    return value


def _time(value: object) -> datetime | None:
    """None for an empty text and for Go's zero time, which stands for "never"."""
    text = _text(value)
    if not text:
        return None
    moment = parse_time(text)
    return moment if moment.year > 1 else None


def _whole(value: object) -> int:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise UnreadableObject("not a whole number")
    return value


def _flag(value: object) -> bool | None:
    if not isinstance(value, bool):
        raise UnreadableObject("not true or false")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UnreadableObject("not an object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise UnreadableObject("not a list")
    return value


def _published(row: object) -> bool:
    """Row state (contract A.3), unrelated to any other status. Missing means published."""
    return not isinstance(row, Mapping) or row.get("status") in (None, "published")


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What is asked of POST /checkout/sessions. The idempotency key is the shop's order reference."""

    customer_external_id: str
    plan_id: str
    currency: str
    billing_period: str
    idempotency_key: str
    success_url: str
    failure_url: str
    cancel_url: str

    def to_json(self) -> dict[str, Any]:
        """Contract B.6; the reference is also put where Flexprice copies it to the subscription (C.4)."""
        reference = {"order_ref": self.idempotency_key}
        return {
            "customer_external_id": self.customer_external_id,
            "action": "create_subscription",
            "payment_provider": "razorpay",
            "configuration": {
                "create_subscription_params": {
                    "plan_id": self.plan_id,
                    "currency": self.currency,
                    "billing_period": self.billing_period.upper(),  # lower case is a 400 (B.6)
                    "metadata": dict(reference),
                }
            },
            "success_url": self.success_url,
            "failure_url": self.failure_url,
            "cancel_url": self.cancel_url,
            "idempotency_key": self.idempotency_key,
            "metadata": dict(reference),
        }


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """Contract B.6 and E.2. A webhook's session lacks metadata and key, and may lack more (`partial`)."""

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
        fields = _Fields(data, "checkout session")
        status = fields.need("checkout_status")
        terminal = fields.flag("terminal")
        return cls(
            id=fields.need("id"),
            customer_id=fields.key("customer_id") if partial else fields.need("customer_id"),
            status=status,
            payment_url=fields.inner("payment_action").maybe("url"),  # absent, or empty strings (D.8)
            expires_at=fields.time("expires_at"),
            completed_at=fields.time("completed_at"),
            cancelled_at=fields.time("cancelled_at"),
            created_at=fields.time("created_at"),
            invoice_id=fields.maybe_key("checkout_invoice_id"),
            payment_id=fields.maybe_key("checkout_payment_id"),
            payment_status=fields.inner("payment").text("status").upper(),  # newest servers only (B.6)
            idempotency_key=fields.maybe_key("idempotency_key"),
            metadata=fields.metadata(),
            failure_reason=fields.text("failure_reason"),
            terminal=terminal or status in TERMINAL_STATUSES,  # C.8
            next_poll_after=_pause(fields.whole("next_poll_after_ms")),
            stale=fields.flag("stale"),
        )


def _pause(milliseconds: int) -> timedelta | None:
    """Nought means "stop" or "this was not a polling read" (contract B.6): no advice either way."""
    if milliseconds <= 0:
        return None
    return timedelta(milliseconds=min(milliseconds, _LONGEST_POLL // timedelta(milliseconds=1)))


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    external_id: str
    name: str = ""
    email: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Customer:
        fields = _Fields(data, "customer")
        return cls(fields.need("id"), fields.need("external_id"), fields.text("name"), fields.text("email"))


@dataclass(frozen=True, slots=True)
class Price:
    """Contract B.3 and B.5. Unknown words of an enum are kept as they are, in upper case."""

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

    @property
    def one_time(self) -> bool:
        """Its period says so. The cadence of one-time prices is RECURRING, since the other one was removed
        (Flexprice, internal/types/price.go; the SDK knows no other either)."""
        return "ONETIME" in (self.billing_period, self.billing_cadence)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Price:
        fields = _Fields(data, "price")
        kind = fields.need("type").upper()
        return cls(
            id=fields.need("id"),
            amount=fields.money("amount") if kind == "FIXED" else fields.money_or("amount", Decimal(0)),
            currency=fields.need("currency").lower(),
            type=kind,
            billing_model=fields.text("billing_model").upper(),
            billing_cadence=fields.text("billing_cadence").upper(),
            billing_period=fields.text("billing_period").upper(),
            invoice_cadence=fields.text("invoice_cadence").upper(),
            min_quantity=fields.maybe_money("min_quantity"),
            trial_period_days=fields.whole("trial_period_days"),
            display_name=fields.text("display_name"),
            display_amount=fields.text("display_amount"),
            start_date=fields.time("start_date"),
            end_date=fields.time("end_date"),
            billing_period_count=fields.whole("billing_period_count", 1),
            price_unit_type=fields.text("price_unit_type"),
            lookup_key=fields.text("lookup_key"),
        )


@dataclass(frozen=True, slots=True)
class Entitlement:
    feature_name: str
    feature_type: str = ""
    is_enabled: bool = False
    usage_limit: int | None = None
    usage_reset_period: str = ""
    static_value: str = ""
    is_soft_limit: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entitlement:
        fields = _Fields(data, "entitlement")
        return cls(
            feature_name=fields.inner("feature").text("name"),
            feature_type=fields.text("feature_type"),
            is_enabled=fields.flag("is_enabled"),
            usage_limit=fields.maybe_whole("usage_limit"),
            usage_reset_period=fields.text("usage_reset_period"),
            static_value=fields.text("static_value"),
            is_soft_limit=fields.flag("is_soft_limit"),
        )


@dataclass(frozen=True, slots=True)
class Plan:
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
        fields = _Fields(data, "plan")
        return cls(
            id=fields.need("id"),
            name=fields.text("name"),
            lookup_key=fields.text("lookup_key"),
            description=fields.text("description"),
            display_order=fields.whole("display_order"),
            metadata=fields.metadata(),
            prices=fields.rows("prices", Price.from_json),
            entitlements=fields.rows("entitlements", Entitlement.from_json),
            environment_id=fields.text("environment_id"),
        )


@dataclass(frozen=True, slots=True)
class Environment:
    """`type` is `production` or `development` (server: internal/api/router.go, /v1/environments)."""

    id: str
    name: str
    type: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Environment:
        fields = _Fields(data, "environment")
        return cls(fields.need("id"), fields.text("name"), fields.need("type").lower())


@dataclass(frozen=True, slots=True)
class Invoice:
    """Contract B.11. Read by its id it comes with its subscription and customer, in a search without."""

    id: str
    status: str
    payment_status: str
    currency: str
    subtotal: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    total_tax: Decimal = Decimal(0)
    amount_paid: Decimal = Decimal(0)
    number: str | None = None
    customer_id: str = ""
    customer_external_id: str = ""
    subscription_id: str | None = None
    subscription: Subscription | None = None
    paid_at: datetime | None = None
    finalized_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None

    @property
    def paid(self) -> bool:
        return self.status == "FINALIZED" and self.payment_status in PAID_STATUSES

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Invoice:
        fields = _Fields(data, "invoice")
        return cls(
            id=fields.need("id"),
            status=fields.need("invoice_status").upper(),
            payment_status=fields.need("payment_status").upper(),
            currency=fields.need("currency").lower(),
            subtotal=fields.money("subtotal"),
            total=fields.money("total"),
            total_tax=fields.money_or("total_tax", Decimal(0)),
            amount_paid=fields.money_or("amount_paid", Decimal(0)),
            number=fields.maybe_key("invoice_number"),
            customer_id=fields.key("customer_id"),
            customer_external_id=fields.inner("customer").key("external_id"),
            subscription_id=fields.maybe_key("subscription_id"),
            subscription=fields.one("subscription", Subscription.from_json),
            paid_at=fields.time("paid_at"),
            finalized_at=fields.time("finalized_at"),
            period_start=fields.time("period_start"),
            period_end=fields.time("period_end"),
        )


@dataclass(frozen=True, slots=True)
class Subscription:
    """Contract B.10. `metadata` holds our order reference from subscription.draft.created on (C.4)."""

    id: str
    customer_id: str
    plan_id: str
    status: str
    currency: str = ""
    billing_period: str = ""
    created_at: datetime | None = None
    start_date: datetime | None = None
    current_period_end: datetime | None = None
    cancel_at: datetime | None = None
    cancelled_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    latest_invoice_id: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, partial: bool = False) -> Subscription:
        fields = _Fields(data, "subscription")
        need = fields.key if partial else fields.need
        return cls(
            id=fields.need("id"),
            customer_id=need("customer_id"),
            plan_id=need("plan_id"),
            status=need("subscription_status").lower(),
            currency=fields.text("currency").lower(),
            billing_period=fields.text("billing_period").upper(),
            created_at=fields.time("created_at"),
            start_date=fields.time("start_date"),
            current_period_end=fields.time("current_period_end"),
            cancel_at=fields.time("cancel_at"),
            cancelled_at=fields.time("cancelled_at"),
            metadata=fields.metadata(),
            latest_invoice_id=fields.inner("latest_invoice").maybe_key("id"),
        )


@dataclass(frozen=True, slots=True)
class Payment:
    """Contract B.12. A declined payment stays INITIATED."""

    id: str
    status: str
    amount: Decimal
    currency: str
    succeeded_at: datetime | None = None
    refunded_at: datetime | None = None
    invoice_id: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Payment:
        fields = _Fields(data, "payment")
        return cls(
            id=fields.need("id"),
            status=fields.need("payment_status").upper(),
            amount=fields.money("amount"),
            currency=fields.need("currency").lower(),
            succeeded_at=fields.time("succeeded_at"),
            refunded_at=fields.time("refunded_at"),
            invoice_id=fields.maybe_key("destination_id"),
        )


@dataclass(frozen=True, slots=True)
class Refund:
    """Contract B.13; only newer servers have refunds. `status` in upper case."""

    id: str
    payment_id: str
    status: str
    amount: Decimal
    currency: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, partial: bool = False) -> Refund:
        fields = _Fields(data, "refund")
        need = fields.key if partial else fields.need
        return cls(
            id=fields.need("id"),
            payment_id=need("payment_id"),
            status=need("refund_status").upper(),
            amount=fields.money_or("amount", Decimal(0)) if partial else fields.money("amount"),
            currency=need("currency").lower(),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook's body. Of event types the shop does not act on only the type and ids are kept."""

    type: str
    session: CheckoutSession | None = None
    subscription: Subscription | None = None
    refund: Refund | None = None
    object_id: str = ""
    customer_id: str = ""
    order_ref: str | None = None

    @classmethod
    def from_body(cls, body: bytes) -> Event:
        fields = _Fields(parse_json(body), "event")
        kind = fields.need("event_type")
        entity = _entity(fields, kind)
        if kind.startswith("checkout.session."):
            return _session_event(kind, CheckoutSession.from_json(entity, partial=True))
        if kind.startswith("subscription.") and entity:
            return _subscription_event(kind, Subscription.from_json(entity, partial=True))
        if kind.startswith("refund.") and entity:
            refund = Refund.from_json(entity, partial=True)
            return cls(kind, refund=refund, object_id=refund.id, customer_id=_id_in(entity, "customer_id"))
        return _other_event(kind, entity)


def _entity(fields: _Fields, kind: str) -> Mapping[str, Any]:
    """The object under its own name, else under `data` as the vendor's guide has it (contract E.2)."""
    name = "checkout_session" if kind.startswith("checkout.session.") else kind.partition(".")[0]
    found = (fields._data.get(key) for key in (name, "data"))
    return next((value for value in found if isinstance(value, Mapping)), {})


def _session_event(kind: str, session: CheckoutSession) -> Event:
    reference = _id_in(session.metadata, "order_ref")
    return Event(
        kind,
        session=session,
        object_id=session.id,
        customer_id=session.customer_id,
        order_ref=reference or session.idempotency_key,
    )


def _subscription_event(kind: str, subscription: Subscription) -> Event:
    return Event(
        kind,
        subscription=subscription,
        object_id=subscription.id,
        customer_id=subscription.customer_id,
        order_ref=_id_in(subscription.metadata, "order_ref") or None,
    )


def _other_event(kind: str, entity: Mapping[str, Any]) -> Event:
    object_id = _id_in(entity, "id")
    customer_id = object_id if kind.startswith("customer.") else _id_in(entity, "customer_id")
    metadata = entity.get("metadata")
    reference = _id_in(metadata, "order_ref") if isinstance(metadata, Mapping) else ""
    return Event(kind, object_id=object_id, customer_id=customer_id, order_ref=reference or None)


def _id_in(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    usable = isinstance(value, str) and len(value) <= _LONGEST_ID and not _UNSTORABLE.search(value)
    return str(value) if usable else ""
