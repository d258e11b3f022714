"""Another plan for a running subscription, now or at the end of its period (v2 of Flexprice's route)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ..store.base import USER
from ..store.billing_rows import (
    Invoice,
    InvoiceLine,
    Schedule,
    Subscription,
    SubscriptionLine,
    WalletTransaction,
)
from ..store.database import Session
from ..store.rows import Plan, Price
from ..store.values import decimal_text, rfc3339
from . import billing, invoices, one_off, proration, schedules, wallets
from .errors import Refusal, invalid, not_found
from .events import publish

BILLED_ALIKE = (
    *("amount", "currency", "type", "meter_id", "billing_model", "billing_cadence", "invoice_cadence"),
    *("billing_period", "billing_period_count"),
)


@dataclass(frozen=True)
class Request:
    target_plan_id: str
    prorates: bool
    at_period_end: bool = False
    idempotency_key: str = ""
    metadata: dict[str, str] | None = None


class Move(NamedTuple):
    line: SubscriptionLine
    price: Price


@dataclass
class Change:
    """What a request comes to: lines that stay, end and begin, and how the difference is settled."""

    effective: datetime
    from_plan: Plan
    to_plan: Plan
    carried: list[Move]
    closing: list[Move]
    opening: list[Move]
    items: list[one_off.Item]
    invoice: Invoice | None = None
    invoice_lines: list[InvoiceLine] | None = None  # of a preview
    credit: WalletTransaction | None = None
    schedule: Schedule | None = None

    @property
    def net(self) -> Decimal:
        return sum((item.amount for item in self.items), Decimal(0))

    @property
    def type(self) -> str:
        """By the recurring fees, not by what is due now."""
        before = sum(move.price.amount * move.line.quantity for move in self.closing)
        after = sum(move.price.amount * move.line.quantity for move in self.opening)
        return "upgrade" if after > before else "downgrade" if after < before else "lateral"


def preview(session: Session, subscription: Subscription, asked: Request) -> Change:
    """What a change would do. Writes nothing.

    :raises Refusal: a rule is broken.
    """
    effective = subscription.current_period_end if asked.at_period_end else session.now()
    change = _resolve(session, subscription, asked, effective)
    if change.net > 0:
        built = one_off.build(session, subscription, change.items, effective)
        change.invoice, change.invoice_lines = built
    return change


def execute(session: Session, subscription: Subscription, asked: Request) -> Change:
    """Changes the plan, or plans that.

    :raises Refusal: a rule is broken, also by a change that is planned already.
    """
    for waiting in schedules.pending(session, subscription.id, schedules.PLAN_CHANGE):
        details = {"schedule_id": waiting.id, "scheduled_at": rfc3339(waiting.scheduled_at)}
        message = "Cancel the existing schedule before requesting another one."
        raise invalid(message, subscription_id=subscription.id, **details)
    if asked.at_period_end:
        return _schedule(session, subscription, asked)
    return _apply(session, subscription, asked, session.now())


def execute_scheduled(session: Session, row: Schedule, subscription: Subscription) -> None:
    """A planned change at the period's end. If it cannot run it has failed, and the old plan goes on."""
    target = (row.configuration or {}).get("target_plan_id", "")
    try:
        change = _apply(session, subscription, Request(target, prorates=False), row.scheduled_at)
    except Refusal as refusal:
        schedules.fail(session, row, refusal.message)
        return
    schedules.execute(session, row)
    row.result = {
        "subscription_id": subscription.id,
        "from_plan_id": change.from_plan.id,
        "to_plan_id": change.to_plan.id,
        "change_type": change.type,
        "effective_date": rfc3339(change.effective),
    }


def _schedule(session: Session, subscription: Subscription, asked: Request) -> Change:
    change = _resolve(session, subscription, asked, subscription.current_period_end)
    configuration = {"version": "v2", "target_plan_id": asked.target_plan_id}
    if asked.idempotency_key:
        configuration["idempotency_key"] = asked.idempotency_key
    if asked.metadata:
        configuration["change_metadata"] = asked.metadata  # type: ignore[assignment]
    change.schedule = schedules.add(
        session, subscription, schedules.PLAN_CHANGE, change.effective, configuration
    )
    return change


def _apply(session: Session, subscription: Subscription, asked: Request, effective: datetime) -> Change:
    change = _resolve(session, subscription, asked, effective)
    for move in change.carried:
        move.line.entity_id, move.line.plan_display_name = change.to_plan.id, change.to_plan.name
        move.line.price_id, move.line.updated_at = move.price.id, session.now()
    for move in change.closing:
        move.line.end_date, move.line.updated_at = max(effective, move.line.start_date), session.now()
    for move in change.opening:
        session.add(move.line)
    subscription.plan_id = change.to_plan.id
    subscription.updated_at, subscription.updated_by = session.now(), USER
    _settle(session, subscription, change)
    publish(session, "subscription.plan_changed", subscription.id)
    publish(session, "subscription.updated", subscription.id)
    return change


def _settle(session: Session, subscription: Subscription, change: Change) -> None:
    """A charge is an invoice, with the credits as negative lines; a net credit goes to a wallet."""
    if change.net > 0:
        change.invoice = one_off.issue(session, subscription, change.items, change.effective)
    elif change.net < 0:
        wallet = wallets.prepaid(session, subscription.customer_id, subscription.currency)
        change.credit = wallets.top_up(session, wallet, -change.net)


def _resolve(session: Session, subscription: Subscription, asked: Request, effective: datetime) -> Change:
    to_plan = session.get(Plan, asked.target_plan_id)
    if to_plan is None:
        raise not_found(f"Plan with ID {asked.target_plan_id} was not found", plan_id=asked.target_plan_id)
    from_plan = session.need(Plan, subscription.plan_id)
    _check(session, subscription, asked)
    prices = billing.attachable_prices(session, to_plan, subscription.currency, subscription.billing_period)
    fees = [price for price in prices if price.billing_period != billing.ONE_TIME]
    change = Change(effective, from_plan, to_plan, [], [], [], [])
    _match(session, subscription, change, fees)
    if asked.prorates:
        change.items = _items(session, subscription, change)
    return change


def _check(session: Session, subscription: Subscription, asked: Request) -> None:
    """In Flexprice's order."""
    status, own = subscription.subscription_status, {"subscription_id": subscription.id}
    if subscription.plan_id == asked.target_plan_id:
        raise invalid("The subscription is already on this plan", **own, plan_id=subscription.plan_id)
    if status not in ("active", "trialing"):
        message = "Only active or trialing subscriptions can change plan"
        raise invalid(message, **own, subscription_status=status)
    if subscription.pause_status in ("active", "scheduled"):
        message = "Resume the subscription before changing its plan"
        raise invalid(message, **own, pause_status=subscription.pause_status)
    if subscription.cancel_at_period_end or subscription.cancel_at:
        raise invalid("Clear the pending cancellation before changing plan", **own)
    running = [line for line in invoices.lines_of(session, subscription) if line.end_date is None]
    if asked.prorates and any(line.billing_period != subscription.billing_period for line in running):
        raise invalid("Set proration_behavior to 'none' to change this subscription's plan", **own)


def _match(session: Session, subscription: Subscription, change: Change, fees: list[Price]) -> None:
    """Lines whose price is billed alike in both plans are carried over."""
    left = list(fees)
    for line in invoices.lines_of(session, subscription):
        price = session.get(Price, line.price_id)
        if line.entity_type != "plan" or line.end_date is not None or price is None:
            continue
        alike = next((target for target in left if _bills_alike(price, target)), None)
        if alike is None:
            change.closing.append(Move(line, price))
        else:
            left.remove(alike)
            change.carried.append(Move(line, alike))
    for target in left:
        line = billing.a_line(session, subscription, change.to_plan, target, change.effective)
        change.opening.append(Move(line, target))


def _bills_alike(one: Price, other: Price) -> bool:
    if "USAGE" in (one.type, other.type) or one.tiers or other.tiers:
        return False
    if one.transform_quantity != other.transform_quantity:
        return False
    return all(getattr(one, name) == getattr(other, name) for name in BILLED_ALIKE)


def _items(session: Session, subscription: Subscription, change: Change) -> list[one_off.Item]:
    """Charges first, then credits; what comes to nothing is left out."""
    charges, credits, at = [], [], change.effective
    for line, price in change.opening:
        if line.price_type == "FIXED" and (
            amount := proration.charge(subscription, price, line.quantity, at)
        ):
            charges.append(_item(subscription, line, price, amount, at))
    for line, price in change.closing:
        if amount := proration.credit(session, subscription, line, price, at):
            credits.append(_item(subscription, line, price, amount, at))
    return charges + credits


def _item(
    subscription: Subscription, line: SubscriptionLine, price: Price, amount: Decimal, at: datetime
) -> one_off.Item:
    kind = "charge" if amount > 0 else "credit"
    what = f"{decimal_text(line.quantity)} × {line.display_name} {proration.unit_price(subscription, price)}"
    text = f"Proration {kind}: {what} ({proration.span(at, subscription)})"
    return one_off.Item(price, line.display_name, line.quantity, amount, text, line_id=line.id)
