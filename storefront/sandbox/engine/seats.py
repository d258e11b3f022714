"""Changes of quantity within a period."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ..store.base import USER
from ..store.billing_rows import Invoice, Subscription, SubscriptionLine, WalletTransaction
from ..store.database import Session
from ..store.rows import CheckoutSession, Price
from ..store.values import decimal_text, new_id, rfc3339
from . import one_off, proration, wallets
from .errors import invalid, not_found
from .events import publish


@dataclass(frozen=True)
class Wanted:
    line_id: str
    quantity: Decimal
    effective_date: datetime | None = None


@dataclass
class Step:
    """One line's change: what it costs (or gives back, negative) for the rest of the period."""

    line: SubscriptionLine
    price: Price
    quantity: Decimal
    effective: datetime
    amount: Decimal
    ends: datetime | None = None  # of a line that has an end already
    ended_id: str = "(preview-ended)"
    created_id: str = "(preview-created)"


@dataclass
class Change:
    steps: list[Step]
    settled: list[Invoice | WalletTransaction] = field(default_factory=list)

    @property
    def net(self) -> Decimal:
        return sum((step.amount for step in self.steps), Decimal(0))


def quote(session: Session, subscription: Subscription, wanted: list[Wanted]) -> Change:
    """What the change would do. A quantity that stays the same is left out.

    :raises Refusal: a rule is broken.
    """
    if subscription.subscription_status != "active":
        message = "Only active subscriptions can have quantity changes applied"
        raise invalid(message, subscription_id=subscription.id, status=subscription.subscription_status)
    steps = [_step(session, subscription, one) for one in wanted]
    return Change([step for step in steps if step.quantity != step.line.quantity])


def _step(session: Session, subscription: Subscription, wanted: Wanted) -> Step:
    effective = wanted.effective_date or session.now()
    _check_date(subscription, effective)
    line = session.get(SubscriptionLine, wanted.line_id)
    if line is None:
        raise not_found(f"Subscription line item with ID {wanted.line_id} was not found", id=wanted.line_id)
    _check_line(subscription, line, effective)
    price = session.need(Price, line.price_id)
    amount = Decimal(0)
    if line.invoice_cadence == "ADVANCE":
        amount = proration.charge(subscription, price, wanted.quantity, effective)
        amount -= proration.charge(subscription, price, line.quantity, effective)
    return Step(line, price, wanted.quantity, effective, amount, ends=line.end_date)


def _check_date(subscription: Subscription, effective: datetime) -> None:
    start, end = subscription.current_period_start, subscription.current_period_end
    if not start <= effective < end:
        message = "Set effective_date to a time within the current billing period"
        bound = {"current_period_start": rfc3339(start)} if effective < start else {}
        bound = bound or {"current_period_end": rfc3339(end)}
        raise invalid(message, effective_date=rfc3339(effective), **bound)


def _check_line(subscription: Subscription, line: SubscriptionLine, effective: datetime) -> None:
    if line.subscription_id != subscription.id:
        message = "The specified line item ID must belong to the given subscription"
        raise invalid(message, line_item_id=line.id, subscription_id=subscription.id)
    if line.price_type != "FIXED":
        message = "Quantity changes are only supported for fixed-price line items"
        raise invalid(message, line_item_id=line.id, price_type=line.price_type)
    details = {"effective_date": rfc3339(effective), "line_item_id": line.id}
    if effective < line.start_date:
        message = "Set effective_date to a time when the line item is active"
        raise invalid(message, **details, line_item_start=rfc3339(line.start_date))
    ends = line.end_date or subscription.current_period_end
    if effective >= ends:
        message = "Set effective_date to a time before the line item's active window ends"
        raise invalid(message, **details, line_item_end=rfc3339(ends))


def execute(session: Session, subscription: Subscription, change: Change) -> None:
    """Applies the change at once: each step's charge is an invoice, each credit goes to a wallet."""
    _apply(session, subscription, change.steps, USER)
    for step in change.steps:
        if step.amount > 0:
            change.settled.append(_charge(session, subscription, step))
        elif step.amount < 0:
            wallet = wallets.prepaid(session, subscription.customer_id, subscription.currency)
            change.settled.append(wallets.top_up(session, wallet, -step.amount))
    publish(session, "subscription.updated", subscription.id)


def _charge(session: Session, subscription: Subscription, step: Step) -> Invoice:
    """An invoice of its own; while a session for another change is open, its draft is raised instead.

    The session's link, for the old amount, then pays it all.
    """
    items, waiting = [item(subscription, step)], open_session(session, subscription)
    if waiting is None or waiting.invoice_id is None:
        return one_off.issue(session, subscription, items, step.effective)
    invoice = session.need(Invoice, waiting.invoice_id)
    one_off.extend(session, invoice, items)
    return invoice


def open_session(session: Session, subscription: Subscription) -> CheckoutSession | None:
    """The open checkout session for a change of this subscription."""
    return session.first(
        CheckoutSession,
        CheckoutSession.subscription_id == subscription.id,
        CheckoutSession.action == "modify_subscription",
        CheckoutSession.checkout_status.in_(("initiated", "pending")),
        CheckoutSession.status == "published",
    )


def item(subscription: Subscription, step: Step, *, name: str = "") -> one_off.Item:
    """The invoice line of a step. A preview names the plan, a real one the line."""
    line, when = step.line, proration.span(step.effective, subscription)
    units = f"{decimal_text(line.quantity)} → {decimal_text(step.quantity)} units"
    unit_price = proration.unit_price(subscription, step.price)
    return one_off.Item(
        step.price,
        f"{name or line.display_name} — Quantity Change Proration ({when})",
        step.quantity - line.quantity,
        step.amount,
        f"Proration for quantity change: {units} × {unit_price} ({when})",
        plan_name=line.plan_display_name,
    )


def stored(change: Change) -> dict[str, object]:
    """A change as a checkout session keeps it."""
    return {
        "steps": [
            {"line": step.line.id, "quantity": str(step.quantity), "effective": step.effective.isoformat()}
            for step in change.steps
        ]
    }


def apply_paid_change(session: Session, checkout: CheckoutSession) -> None:
    """Applies `checkout.change` once its checkout session is paid; amounts are not computed again."""
    subscription = session.need(Subscription, checkout.subscription_id)
    steps = [_stored_step(session, one) for one in (checkout.change or {}).get("steps", [])]
    _apply(session, subscription, steps, "")
    publish(session, "subscription.updated", subscription.id)


def _stored_step(session: Session, kept: dict[str, str]) -> Step:
    line = session.need(SubscriptionLine, kept["line"])
    price, effective = session.need(Price, line.price_id), datetime.fromisoformat(kept["effective"])
    return Step(line, price, Decimal(kept["quantity"]), effective, Decimal(0))


def _apply(session: Session, subscription: Subscription, steps: list[Step], by: str) -> None:
    """Ends each line and begins one with the new quantity."""
    now = session.now()
    for step in steps:
        old = step.line
        if old.end_date is not None and old.end_date <= step.effective:
            continue
        new = _copy(old, step, now, by)
        old.end_date, old.updated_at = step.effective, now
        session.add(new)
        step.ended_id, step.created_id = old.id, new.id
    subscription.updated_at, subscription.updated_by = now, by


def _copy(old: SubscriptionLine, step: Step, now: datetime, by: str) -> SubscriptionLine:
    names = (
        *("subscription_id", "customer_id", "entity_id", "entity_type", "plan_display_name", "price_id"),
        *("price_type", "display_name", "currency", "billing_period", "billing_period_count"),
        *("invoice_cadence", "end_date"),
    )
    return SubscriptionLine(
        id=new_id("subs_line"),
        quantity=step.quantity,
        start_date=step.effective,
        created_at=now,
        updated_at=now,
        created_by=by,
        updated_by=by,
        **{name: getattr(old, name) for name in names},
    )
