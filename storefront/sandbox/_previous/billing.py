"""What a session will charge: the draft subscription, its first invoice, and the payment for it."""

import calendar
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection

from storefront.sandbox._previous import shelf, validation
from storefront.sandbox._previous.clock import now as sandbox_now
from storefront.sandbox._previous.errors import invalid
from storefront.sandbox._previous.store import ENVIRONMENT, Body, lever, money, new_id, pull, rfc3339

MONTHS = {"MONTHLY": 1, "QUARTERLY": 3, "HALF_YEARLY": 6, "ANNUAL": 12}
DAYS = {"DAILY": 1, "WEEKLY": 7}
BY = {"created_by": "user_sandbox", "updated_by": "user_sandbox"}


def after(start: datetime, period: str) -> datetime:
    if period in DAYS:
        return start + timedelta(days=DAYS[period])
    month = start.month - 1 + MONTHS[period]
    year, month = start.year + month // 12, month % 12 + 1
    return start.replace(year=year, month=month, day=min(start.day, calendar.monthrange(year, month)[1]))


def attached_prices(conn: Connection, plan: Body, currency: str, period: str) -> list[Body]:
    """What Flexprice attaches: filterValidPricesForSubscription in internal/ee/service/subscription.go."""
    if period == "ONETIME":
        raise invalid("Invalid billing period type", period=period)
    entity = {"entity_id": plan["id"], "entity_type": "PLAN"}
    running = shelf.running_prices(conn, [plan["id"]], sandbox_now(conn))
    of_period = [price for price in running if price["billing_period"] in (period, "ONETIME")]
    if not of_period:
        raise invalid("The entity must have at least one price to create a subscription", **entity)
    prices = [price for price in of_period if price["currency"] == currency.lower()]
    if not prices:
        raise invalid("No prices match the subscription criteria", **entity)
    return prices


def is_recurring_fee(price: Body) -> bool:
    return bool(price["type"] == "FIXED" and price["billing_period"] != "ONETIME")


def trial_days(prices: list[Body]) -> int:
    """Of the recurring fees, which must agree. The checkout takes the whole first charge all the same."""
    days = {price.get("trial_period_days") or 0 for price in prices if is_recurring_fee(price)}
    if len(days) > 1:
        raise invalid(
            "Align trial_period_days on plan prices or override with subscription trial_period_days"
        )
    return max(days, default=0)


def charge(price: Body) -> Decimal:
    """Recurring fees are due at once, ADVANCE and ARREAR; one-time and usage prices are not."""
    if not is_recurring_fee(price):
        return Decimal(0)
    return Decimal(price["amount"]) * Decimal(price.get("min_quantity") or 1)


def stamps(now: datetime) -> Body:
    return {
        "created_at": rfc3339(now),
        "updated_at": rfc3339(now),
        **BY,
        **ENVIRONMENT,
        "status": "published",
    }


def draft_subscription(
    customer: Body, plan: Body, prices: list[Body], params: Body, method: str, starts: datetime, now: datetime
) -> Body:
    period = params["billing_period"]
    subscription_id = new_id("subs")
    days = trial_days(prices)
    return {
        "id": subscription_id,
        "lookup_key": params.get("lookup_key") or "",
        "customer_id": customer["id"],
        "plan_id": plan["id"],
        "subscription_status": "draft",
        "currency": params["currency"].lower(),
        "billing_period": period,
        "billing_period_count": 1,
        "billing_cadence": "RECURRING",
        "billing_cycle": "anniversary",
        "billing_anchor": rfc3339(starts),
        "start_date": rfc3339(starts),
        **_end_date(params),
        "current_period_start": rfc3339(starts),
        "current_period_end": rfc3339(_period_end(starts, params)),
        "cancel_at": None,
        "cancel_at_period_end": False,
        "trial_start": rfc3339(starts) if days else None,
        "trial_end": rfc3339(starts + timedelta(days=days)) if days else None,
        "collection_method": method,
        "payment_behavior": "default_active",
        "pause_status": "none",
        "subscription_type": "standalone",
        "timezone": "UTC",
        "proration_behavior": "none",
        "enable_true_up": False,
        "version": 1,
        "metadata": params.get("metadata"),
        "line_items": [_attached(subscription_id, customer, plan, price, starts, now) for price in prices],
        **stamps(now),
    }


def _end_date(params: Body) -> Body:
    ends = validation.moment(params.get("end_date"))
    return {"end_date": rfc3339(ends)} if ends else {}


def _period_end(starts: datetime, params: Body) -> datetime:
    ends, whole = validation.moment(params.get("end_date")), after(starts, params["billing_period"])
    return min(ends, whole) if ends else whole


def _attached(
    subscription_id: str, customer: Body, plan: Body, price: Body, starts: datetime, now: datetime
) -> Body:
    copied = ("currency", "billing_period", "invoice_cadence", "display_name")
    return {
        "id": new_id("subs_line"),
        "subscription_id": subscription_id,
        "customer_id": customer["id"],
        "entity_id": plan["id"],
        "entity_type": "plan",
        "plan_display_name": plan["name"],
        "price_id": price["id"],
        "price_type": price["type"],
        "quantity": str(price.get("min_quantity") or 1),
        "start_date": rfc3339(starts),
        "price": price,
        **{name: price[name] for name in copied},
    }


def draft_invoice(
    subscription: Body, plan: Body, prices: list[Body], ends: datetime | None, now: datetime
) -> Body:
    """The first one. ADVANCE prices pay for the period after it: where none follows, they are not on it."""
    period, currency = subscription["billing_period"], subscription["currency"]
    starts = datetime.fromisoformat(subscription["current_period_start"])
    invoice_id, period_ends = new_id("inv"), after(starts, period)
    billed = [
        price
        for price in prices
        if price["billing_period"] != "ONETIME"
        and not (ends and ends <= period_ends and price["invoice_cadence"] == "ADVANCE")
    ]
    lines = [_line(invoice_id, plan, price, starts, period_ends, now) for price in billed]
    total = money(sum((charge(price) for price in billed), Decimal(0)))
    return {
        "id": invoice_id,
        "customer_id": subscription["customer_id"],
        "subscription_id": subscription["id"],
        "invoice_type": "SUBSCRIPTION",
        "invoice_status": "DRAFT",
        "payment_status": "PENDING",
        "currency": currency,
        "subtotal": total,
        "total": total,
        "total_tax": "0",
        "total_discount": "0",
        "amount_due": total,
        "amount_paid": "0",
        "amount_remaining": total,
        "adjustment_amount": "0",
        "refunded_amount": "0",
        "total_prepaid_credits_applied": "0",
        "invoice_number": None,
        "idempotency_key": None,
        "billing_sequence": None,
        "billing_reason": "SUBSCRIPTION_CYCLE",
        "billing_period": period,
        "period_start": subscription["current_period_start"],
        "period_end": subscription["current_period_end"],
        "metadata": {},
        "version": 1,
        "line_items": lines,
        "taxes": [],
        **stamps(now),
    }


def _line(invoice_id: str, plan: Body, price: Body, starts: datetime, ends: datetime, now: datetime) -> Body:
    # As in Flexprice, an ADVANCE line carries the *following* period: show the invoice's period instead.
    ahead = price["invoice_cadence"] == "ADVANCE"
    start, end = (ends, after(ends, price["billing_period"])) if ahead else (starts, ends)
    return {
        "id": new_id("inv_line"),
        "invoice_id": invoice_id,
        "display_name": price["display_name"],
        "plan_display_name": plan["name"],
        "price_id": price["id"],
        "price_type": price["type"],
        "amount": money(charge(price)),
        "quantity": "0" if price["type"] == "USAGE" else str(price.get("min_quantity") or 1),
        "currency": price["currency"],
        "period_start": rfc3339(start),
        "period_end": rfc3339(end),
        **stamps(now),
    }


def new_payment(invoice: Body, now: datetime) -> Body:
    payment_id = new_id("pay")
    return {
        "id": payment_id,
        "destination_type": "INVOICE",
        "destination_id": invoice["id"],
        "payment_method_type": "PAYMENT_LINK",
        "payment_method_id": "",
        "payment_gateway": "razorpay",
        "amount": invoice["amount_due"],
        "currency": invoice["currency"],
        "payment_status": "INITIATED",
        "track_attempts": True,
        "idempotency_key": payment_id,
        "save_card_and_make_default": False,
        "metadata": {},
        "attempts": [],
        **stamps(now),
    }


def finalized(conn: Connection, now: datetime) -> Body:
    """What a finalised invoice has over its draft."""
    number = lever(conn, "invoice_number", 0) + 1
    pull(conn, "invoice_number", number)
    return {
        "invoice_status": "FINALIZED",
        "invoice_number": f"INV-{now:%Y%m}-{number:05d}",
        "finalized_at": rfc3339(now),
        "version": 2,
        "updated_at": rfc3339(now),
    }


def paid(invoice: Body, now: datetime) -> Body:
    return {
        "payment_status": "SUCCEEDED",
        "amount_paid": invoice["amount_due"],
        "amount_remaining": "0",
        "paid_at": rfc3339(now),
        "updated_at": rfc3339(now),
    }
