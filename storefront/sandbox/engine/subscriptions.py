"""POST /subscriptions: free, with a trial, billed at once, or paid first through a checkout session."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from ..store.base import USER
from ..store.billing_rows import Invoice, Subscription, SubscriptionLine
from ..store.database import Session
from ..store.rows import CheckoutSession, Customer, Plan, Price
from ..store.values import new_id
from . import billing, checkout, coupons, renewals, session_lifecycle, trials, usage, wallets
from .errors import Refusal, invalid
from .events import publish

Attached = Sequence[tuple[Price, SubscriptionLine]]
INCOMPLETE = ("default_incomplete", "allow_incomplete", "error_if_incomplete")


@dataclass
class Made:
    """A new subscription; `refusal` is raised by the caller after its commit."""

    subscription: Subscription
    invoice: Invoice | None = None
    checkout: CheckoutSession | None = None
    refusal: Refusal | None = None
    was_draft: bool = False  # its answer has no lines then


def create(
    session: Session,
    customer: Customer,
    asked: checkout.SubscriptionRequest,
    options: checkout.Options | None = None,
) -> Made:
    """Makes a subscription. Nothing keeps a customer from a second one to the same plan.

    :param options: pay first, if there is something to pay.
    :raises Refusal: a rule is broken; nothing is stored then.
    """
    plan = checkout.active_plan(session, asked.plan_id)
    prices = billing.attachable_prices(session, plan, asked.currency, asked.billing_period)
    days = billing.trial_days(prices) if asked.trial_period_days is None else asked.trial_period_days
    subscription = _row(session, customer, plan, asked)
    attached = _attach(session, subscription, plan, prices, asked.overrides)
    coupons.redeem(session, subscription, asked.coupon_codes)
    if asked.is_draft:
        publish(session, "subscription.draft.created", subscription.id)
        return Made(subscription)
    if days:
        return _trial(session, subscription, attached, days)
    if options:
        return _pay_first(session, subscription, customer, attached, options)
    return _bill(session, subscription, attached, asked.opening_credit)


def _row(
    session: Session, customer: Customer, plan: Plan, asked: checkout.SubscriptionRequest
) -> Subscription:
    start = asked.start_date or session.now()
    row = billing.new_subscription(
        session,
        customer,
        plan,
        asked.currency,
        asked.billing_period,
        start,
        asked.billing_period_count,
    )
    row.lookup_key, row.meta = asked.lookup_key, asked.metadata
    row.collection_method, row.payment_behavior = asked.collection_method, asked.payment_behavior
    row.payment_terms, row.proration_behavior = asked.payment_terms, asked.proration_behavior
    if asked.end_date:
        row.end_date = asked.end_date
        row.current_period_end = min(asked.end_date, row.current_period_end)
    return row


def _attach(
    session: Session,
    subscription: Subscription,
    plan: Plan,
    prices: Sequence[Price],
    overrides: Sequence[checkout.LineOverride],
) -> Attached:
    """Attaches the prices; an overridden amount is a price of the subscription's own."""
    wanted, attached = {one.price_id: one for one in overrides}, []
    if strange := [name for name in wanted if name not in {price.id for price in prices}]:
        message = "All override price IDs must be valid prices for the selected plan"
        raise invalid(message, price_id=strange[0], plan_id=plan.id)
    for price in prices:
        override = wanted.get(price.id)
        own = price
        if override and override.amount is not None:
            own = _own_price(session, subscription, price, override.amount)
        line = billing.new_line(session, subscription, plan, own, subscription.start_date)
        if override and override.quantity is not None:
            line.quantity = override.quantity
        attached.append((own, line))
    return attached


def _own_price(session: Session, subscription: Subscription, price: Price, amount: Decimal) -> Price:
    names = [column.key for column in Price.__table__.columns if column.key not in ("store", "metadata")]
    values = {name: getattr(price, name) for name in names} | {"meta": price.meta}
    values |= {"id": new_id("price"), "amount": amount, "entity_type": "SUBSCRIPTION"}
    values |= {"entity_id": subscription.id, "parent_price_id": price.id, "lookup_key": ""}
    return session.add(Price(**values))


def _advance_fees(attached: Attached) -> list[tuple[SubscriptionLine, Decimal]]:
    return [
        (line, billing.line_amount(price, line.quantity))
        for price, line in attached
        if billing.is_recurring_fee(price) and price.invoice_cadence == "ADVANCE"
    ]


def _bill(session: Session, subscription: Subscription, attached: Attached, credit: Decimal) -> Made:
    """Active at once, its first ADVANCE fees on a final invoice; `incomplete` until that is paid if asked."""
    made, fees = Made(subscription), _less(_advance_fees(attached), credit)
    if any(amount for _, amount in fees):
        reason = "SUBSCRIPTION_UPDATE" if credit else "SUBSCRIPTION_CREATE"
        made.invoice = renewals.opening_invoice(session, subscription, fees, reason)
    is_unpaid = made.invoice is not None and made.invoice.payment_status != "SUCCEEDED"
    waits = is_unpaid and subscription.payment_behavior in INCOMPLETE
    subscription.subscription_status = "incomplete" if waits else "active"
    publish(session, "subscription.created", subscription.id)
    if not waits:
        _begin(session, subscription)
    return made


def _less(
    fees: list[tuple[SubscriptionLine, Decimal]], credit: Decimal
) -> list[tuple[SubscriptionLine, Decimal]]:
    """Fees less a credit, each down to 0; what is left of the credit is lost."""
    lessened = []
    for line, amount in fees:
        taken = min(credit, amount)
        lessened.append((line, amount - taken))
        credit -= taken
    return lessened


def _begin(session: Session, subscription: Subscription) -> None:
    wallets.grant_plan_credits(session, subscription)
    renewals.plan(session, subscription)


def _trial(session: Session, subscription: Subscription, attached: Attached, days: int) -> Made:
    """Trialing, with an invoice of 0: paid at once if the customer is charged automatically, else PENDING."""
    start = subscription.start_date
    subscription.trial_start, subscription.trial_end = start, start + timedelta(days=days)
    subscription.current_period_end = subscription.trial_end
    subscription.subscription_status = "trialing"
    fees = [(line, Decimal(0)) for line, _ in _advance_fees(attached)]
    invoice = renewals.opening_invoice(session, subscription, fees, "SUBSCRIPTION_TRIAL_START")
    if subscription.collection_method == "charge_automatically":
        billing.settle(session, invoice, Decimal(0), by=USER)
        publish(session, "invoice.update.payment", invoice.id)
    publish(session, "subscription.created", subscription.id)
    trials.plan(session, subscription)
    return Made(subscription, invoice, was_draft=True)


def _pay_first(
    session: Session,
    subscription: Subscription,
    customer: Customer,
    attached: Attached,
    options: checkout.Options,
) -> Made:
    """A draft until its session is paid; with nothing to pay there is no session and it is active."""
    usage.refuse_without_store(session, subscription)
    made = Made(subscription, was_draft=True)
    subscription.collection_method = options.collection_method
    publish(session, "subscription.draft.created", subscription.id)
    invoice = checkout.first_invoice_of(session, subscription, attached)
    if invoice.amount_due == 0:
        made.invoice = _nothing_to_pay(session, subscription, invoice)
        return made
    made.invoice = invoice
    created = checkout.begin(session, customer, "create_subscription", options)
    made.checkout = created.session
    if created.result == "failed_already_exists":
        raise Refusal("already_exists", "An active checkout session with this idempotency key already exists")
    created.session.subscription_id = subscription.id
    try:
        checkout.offer(session, created.session, invoice, customer, options)
    except Refusal as refusal:
        session_lifecycle.end(session, created.session, "failed", refusal.reason)
        made.refusal = refusal
    return made


def _nothing_to_pay(session: Session, subscription: Subscription, invoice: Invoice) -> Invoice | None:
    """Active at once. A fee that a coupon covers leaves a paid invoice of 0; no fee leaves none."""
    kept = None
    if invoice.subtotal == 0:
        invoice.invoice_status = "SKIPPED"
    else:
        kept = invoice
        publish(session, "invoice.update", invoice.id)
        renewals.finalize(session, invoice)
    subscription.subscription_status = "active"
    publish(session, "subscription.activated", subscription.id)
    _begin(session, subscription)
    return kept


def overwrite(
    session: Session,
    subscription: Subscription,
    status: str,
    cancel_at: datetime | None,
    *,
    at_period_end: bool,
) -> None:
    """Writes status and end without any of a cancellation's rules: no schedule, no credit, no invoice.

    :param status: left as it is if empty.
    :param cancel_at: becomes the end date too; None leaves both, also when the planned end is taken back.
    """
    if status:
        subscription.subscription_status = status
    if cancel_at:
        subscription.cancel_at = subscription.end_date = cancel_at
    subscription.cancel_at_period_end = at_period_end
    subscription.updated_at = session.now()
    publish(session, "subscription.updated", subscription.id)
