"""What a subscription is charged: its lines, its first invoice, and how an invoice becomes final and paid."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ..store.billing_rows import Invoice, InvoiceLine, Subscription, SubscriptionLine
from ..store.control_rows import Setting
from ..store.database import Session
from ..store.rows import Customer, Plan, Price
from ..store.values import new_id
from .catalog import prices_of
from .errors import invalid
from .money import rounded
from .periods import period_end

DUE_DATE_DAYS = 1
FINALIZATION_DELAY = timedelta(hours=2)
ONE_TIME = "ONETIME"


def milliseconds(moment: datetime) -> datetime:
    """Flexprice keeps starts and anchors in milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def attachable_prices(session: Session, plan: Plan, currency: str, period: str) -> Sequence[Price]:
    """The prices that a new subscription gets.

    Published, not ended, of this currency and exactly this period, and the one-time prices. Newest first.

    Source: filterValidPricesForSubscription in internal/ee/service/subscription.go.

    :raises Refusal: there is none.
    """
    if period == ONE_TIME:
        raise invalid("Invalid billing period type", period=period)
    entity = {"entity_id": plan.id, "entity_type": "PLAN"}
    running = prices_of(session, plan.id, ended=False)
    of_period = [price for price in running if price.billing_period in (period, ONE_TIME)]
    if not of_period:
        raise invalid("The entity must have at least one price to create a subscription", **entity)
    prices = [price for price in of_period if price.currency == currency.lower()]
    if not prices:
        raise invalid("No prices match the subscription criteria", **entity)
    return prices


def is_recurring_fee(price: Price) -> bool:
    return price.type == "FIXED" and price.billing_period != ONE_TIME


def trial_days(prices: Sequence[Price]) -> int:
    """The trial of the recurring fees.

    :raises Refusal: they do not agree.
    """
    days = {price.trial_period_days for price in prices if is_recurring_fee(price)}
    if len(days) > 1:
        message = "Align trial_period_days on plan prices or override with subscription trial_period_days"
        raise invalid(message)
    return max(days, default=0)


def new_line(
    session: Session, subscription: Subscription, plan: Plan, price: Price, start: datetime
) -> SubscriptionLine:
    """Attaches a price to a subscription. A one-time price ends as it begins."""
    return session.add(a_line(session, subscription, plan, price, start))


def a_line(
    session: Session, subscription: Subscription, plan: Plan, price: Price, start: datetime
) -> SubscriptionLine:
    """A line that is not stored."""
    now, begins = session.now(), max(start, milliseconds(price.start_date))
    return SubscriptionLine(
        id=new_id("subs_line"),
        subscription_id=subscription.id,
        customer_id=subscription.customer_id,
        entity_id=plan.id,
        plan_display_name=plan.name,
        price_id=price.id,
        price_type=price.type,
        display_name=price.display_name,
        quantity=price.min_quantity or Decimal(1),
        currency=price.currency,
        billing_period=price.billing_period,
        billing_period_count=price.billing_period_count,
        invoice_cadence=price.invoice_cadence,
        start_date=begins,
        end_date=begins if price.billing_period == ONE_TIME else None,
        created_at=now,
        updated_at=now,
    )


def new_subscription(
    session: Session,
    customer: Customer,
    plan: Plan,
    currency: str,
    period: str,
    start: datetime,
    count: int = 1,
) -> Subscription:
    """A draft with its first period and without lines.

    :param count: how many of these periods make up one.
    """
    now, start = session.now(), milliseconds(start)
    return session.add(
        Subscription(
            id=new_id("subs"),
            customer_id=customer.id,
            plan_id=plan.id,
            currency=currency.lower(),
            billing_period=period,
            billing_period_count=count,
            billing_anchor=start,
            start_date=start,
            current_period_start=start,
            current_period_end=period_end(start, start, period, count),
            timezone=customer.timezone,
            created_at=now,
            updated_at=now,
        )
    )


def setting(session: Session, key: str, name: str, default: int) -> int:
    """A number of a tenant setting, such as `due_date_days` of `invoice_config`."""
    found = session.get(Setting, key)
    return int((found.value if found else {}).get(name, default))


def due_date(session: Session, after: datetime, days: int | None = None) -> datetime:
    """:param days: instead of those of the settings."""
    if days is None:
        days = setting(session, "invoice_config", "due_date_days", DUE_DATE_DAYS)
    return after + timedelta(days=days)


def new_invoice(session: Session, subscription: Subscription, reason: str) -> Invoice:
    """A draft without lines for the subscription's current period."""
    now = session.now()
    count = session.count(Invoice, Invoice.subscription_id == subscription.id)
    return session.add(
        Invoice(
            id=new_id("inv"),
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            currency=subscription.currency,
            billing_reason=reason,
            billing_period=subscription.billing_period,
            billing_sequence=count + 1,
            idempotency_key=f"subscription_invoice-{secrets.token_hex(8)}",
            description=f"Invoice for subscription {subscription.id}",
            period_start=subscription.current_period_start,
            period_end=subscription.current_period_end,
            due_date=due_date(session, subscription.current_period_end),
            issue_date=now,
            created_at=now,
            updated_at=now,
        )
    )


def line_amount(price: Price, quantity: Decimal) -> Decimal:
    """A recurring fee times its quantity, rounded to the currency's decimals; usage is not billed here."""
    if not is_recurring_fee(price):
        return Decimal(0)
    if price.billing_model == "TIERED":
        return rounded(tiered(price, quantity), price.currency)
    return rounded(price.amount * quantity, price.currency)


def tiered(price: Price, quantity: Decimal) -> Decimal:
    """VOLUME: the whole quantity at the rate of its tier. SLAB: each part at the rate of its own."""
    amount, below = Decimal(0), Decimal(0)
    for tier in price.tiers or []:
        up_to = None if tier.get("up_to") is None else Decimal(tier["up_to"])
        unit, flat = Decimal(tier.get("unit_amount") or 0), Decimal(tier.get("flat_amount") or 0)
        reached = up_to is None or quantity <= up_to
        if price.tier_mode == "VOLUME" and reached:
            return unit * quantity + flat
        if price.tier_mode != "VOLUME":
            amount += unit * ((quantity if up_to is None else min(quantity, up_to)) - below) + flat
        if reached:
            break
        below = up_to or below
    return amount


def add_invoice_line(
    session: Session,
    invoice: Invoice,
    line: SubscriptionLine,
    period: tuple[datetime, datetime],
    amount: Decimal,
) -> InvoiceLine:
    """A charge for one line of the subscription. Call `total` when all are there."""
    return session.add(an_invoice_line(session, invoice, line, period, amount))


def an_invoice_line(
    session: Session,
    invoice: Invoice,
    line: SubscriptionLine,
    period: tuple[datetime, datetime],
    amount: Decimal,
) -> InvoiceLine:
    """A charge that is not stored."""
    now = session.now()
    kind = "Fixed Charge" if line.price_type == "FIXED" else "Usage Charge"
    return InvoiceLine(
        id=new_id("inv_line"),
        invoice_id=invoice.id,
        customer_id=invoice.customer_id,
        subscription_id=invoice.subscription_id,
        subscription_line_item_id=line.id,
        entity_id=line.entity_id,
        entity_type=line.entity_type,
        plan_display_name=line.plan_display_name,
        display_name=line.display_name,
        price_id=line.price_id,
        price_type=line.price_type,
        amount=amount,
        quantity=line.quantity if line.price_type == "FIXED" else Decimal(0),
        currency=invoice.currency,
        period_start=period[0],
        period_end=period[1],
        meta={"description": f"{line.display_name} ({kind})"},
        created_at=now,
        updated_at=now,
    )


def total(session: Session, invoice: Invoice) -> None:
    """Sums the lines up, less the discount; what was paid before is taken off what remains."""
    lines = session.all(InvoiceLine, InvoiceLine.invoice_id == invoice.id)
    invoice.subtotal = sum((line.amount for line in lines), Decimal(0))
    invoice.total = max(invoice.subtotal - invoice.total_discount + invoice.total_tax, Decimal(0))
    invoice.amount_due = invoice.total - invoice.total_prepaid_credits_applied
    invoice.amount_remaining = max(invoice.amount_due - invoice.amount_paid, Decimal(0))
    invoice.last_computed_at = invoice.updated_at = session.now()
    invoice.version += 1


def finalize(session: Session, invoice: Invoice) -> None:
    """Gives a draft its number. An invoice over nothing is paid by that."""
    now, state = session.now(), session.state
    state.invoice_sequence += 1
    invoice.invoice_number = f"INV-{now:%Y%m}-{state.invoice_sequence:05d}"
    invoice.invoice_status = "FINALIZED"
    invoice.finalized_at = invoice.updated_at = now
    invoice.version += 3 if invoice.invoice_type == "SUBSCRIPTION" else 1


def settle(session: Session, invoice: Invoice, amount: Decimal, *, by: str = "") -> None:
    """Books money on an invoice: SUCCEEDED, also by a part of it; OVERPAID by more than is due.

    :param by: who is named as `updated_by`; empty for a Razorpay event.
    """
    now = session.now()
    invoice.amount_paid += amount
    over = invoice.amount_paid - invoice.amount_due
    invoice.amount_remaining = max(-over, Decimal(0))
    invoice.payment_status = "OVERPAID" if over > 0 else "SUCCEEDED"
    invoice.overpaid_amount = over if over > 0 else None
    invoice.paid_at = invoice.updated_at = now
    invoice.updated_by = by
    invoice.version += 1
