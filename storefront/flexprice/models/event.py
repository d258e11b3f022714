"""The body of a webhook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._json import Fields, parse_json, usable_id
from .billing import Refund, Subscription
from .checkout import CheckoutSession


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook's body (docs/flexprice-contract.md#e2).

    Flexprice builds the body when it delivers it, so `type` and the status inside can disagree
    (docs/flexprice-contract.md#e3). Of types without a model only the ids are kept. `order_ref` is the
    reference that you gave as idempotency key, where the body holds it: sessions in webhooks do not,
    subscriptions do.
    """

    type: str
    session: CheckoutSession | None = None
    subscription: Subscription | None = None
    refund: Refund | None = None
    payment_id: str = ""
    object_id: str = ""
    customer_id: str = ""
    order_ref: str | None = None

    @classmethod
    def from_body(cls, body: bytes) -> Event:
        """Read an event from the raw body of a webhook.

        :raises UnreadableResponse: it is not an event, or one that is acted upon lacks what it needs.
        """
        fields = Fields(parse_json(body), "event")
        kind = fields.required_id("event_type")
        entity = _entity(fields, kind)
        if kind.startswith("checkout.session."):
            return _session_event(kind, CheckoutSession.from_json(entity, partial=True))
        if kind.startswith("subscription.") and entity:
            return _subscription_event(kind, Subscription.from_json(entity, partial=True))
        if kind.startswith("refund.") and entity:
            return _refund_event(kind, entity)
        return _other_event(kind, entity)


def _entity(fields: Fields, kind: str) -> Mapping[str, Any]:
    """Return the object under its own name, else under `data`, where Flexprice's guide has it."""
    name = "checkout_session" if kind.startswith("checkout.session.") else kind.partition(".")[0]
    found = (fields.data.get(key) for key in (name, "data"))
    return next((value for value in found if isinstance(value, Mapping)), {})


def _session_event(kind: str, session: CheckoutSession) -> Event:
    return Event(
        kind,
        session=session,
        payment_id=session.payment_id or "",
        object_id=session.id,
        customer_id=session.customer_id,
        order_ref=usable_id(session.metadata, "order_ref") or session.idempotency_key,
    )


def _subscription_event(kind: str, subscription: Subscription) -> Event:
    return Event(
        kind,
        subscription=subscription,
        object_id=subscription.id,
        customer_id=subscription.customer_id,
        order_ref=usable_id(subscription.metadata, "order_ref") or None,
    )


def _refund_event(kind: str, entity: Mapping[str, Any]) -> Event:
    refund = Refund.from_json(entity, partial=True)
    customer_id = usable_id(entity, "customer_id")
    return Event(
        kind, refund=refund, payment_id=refund.payment_id, object_id=refund.id, customer_id=customer_id
    )


def _other_event(kind: str, entity: Mapping[str, Any]) -> Event:
    object_id = usable_id(entity, "id")
    metadata = entity.get("metadata")
    reference = usable_id(metadata, "order_ref") if isinstance(metadata, Mapping) else ""
    return Event(
        kind,
        payment_id=object_id if kind.startswith("payment.") else usable_id(entity, "payment_id"),
        object_id=object_id,
        customer_id=object_id if kind.startswith("customer.") else usable_id(entity, "customer_id"),
        order_ref=reference or None,
    )
