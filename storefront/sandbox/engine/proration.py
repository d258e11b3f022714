"""Parts of a period's fee: given back for unused time, or charged for the rest of a period."""

from datetime import datetime, timedelta
from decimal import Decimal

from ..store.billing_rows import Invoice, InvoiceLine, Subscription, SubscriptionLine
from ..store.database import Session
from ..store.rows import Price
from ..store.values import decimal_text
from .money import rounded

# A period ends a second early here, in Flexprice's own words "to avoid overlap".
OVERLAP = timedelta(seconds=1)


def share(subscription: Subscription, effective: datetime) -> Decimal:
    """Which part of the current period is left, between 0 and 1."""
    ends = subscription.current_period_end - OVERLAP
    whole = (ends - subscription.current_period_start).total_seconds()
    left = (ends - effective).total_seconds()
    return Decimal(str(max(left, 0.0))) / Decimal(str(whole)) if whole > 0 else Decimal(0)


def charge(subscription: Subscription, price: Price, quantity: Decimal, effective: datetime) -> Decimal:
    """A fee for the rest of the period."""
    return rounded(price.amount * quantity * share(subscription, effective), subscription.currency)


def credit(
    session: Session, subscription: Subscription, line: SubscriptionLine, price: Price, effective: datetime
) -> Decimal:
    """What a line gives back, as a negative amount: only ADVANCE fees, at most what was billed for that time.

    Where nothing was billed, as in the first period of a sale by checkout, the list price is the limit.
    """
    if line.price_type != "FIXED" or price.invoice_cadence != "ADVANCE":
        return Decimal(0)
    amount = price.amount * line.quantity * share(subscription, effective)
    charged, credited = _billed(session, line, price, effective)
    amount = max(min(amount, charged, charged - credited), Decimal(0))
    return -rounded(amount, subscription.currency)


def _billed(session: Session, line: SubscriptionLine, price: Price, at: datetime) -> tuple[Decimal, Decimal]:
    """What invoices charged and gave back for a line at this time."""
    found = session.all(
        InvoiceLine,
        InvoiceLine.subscription_line_item_id == line.id,
        InvoiceLine.period_start <= at,
        InvoiceLine.period_end > at,
    )
    amounts = [row.amount for row in found if _counts(session.get(Invoice, row.invoice_id))]
    if not amounts:
        return price.amount * line.quantity, Decimal(0)
    charged = sum((amount for amount in amounts if amount > 0), Decimal(0))
    return charged, -sum((amount for amount in amounts if amount < 0), Decimal(0))


def _counts(invoice: Invoice | None) -> bool:
    return bool(
        invoice and invoice.status == "published" and invoice.invoice_status in ("DRAFT", "FINALIZED")
    )


def span(effective: datetime, subscription: Subscription) -> str:
    """The rest of the period, as the texts of lines say it."""
    return f"{_day(effective)} – {_day(subscription.current_period_end)}"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%b %Y}"


def unit_price(subscription: Subscription, price: Price) -> str:
    return f"{subscription.currency.upper()} {decimal_text(price.amount)}/unit"
