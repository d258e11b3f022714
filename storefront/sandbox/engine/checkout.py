"""A checkout session, from the request to a link that can be paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ..store.billing_rows import Invoice, Payment, Subscription, SubscriptionLine
from ..store.database import Session
from ..store.rows import CheckoutSession, Customer, Plan, Price, ProviderLink
from ..store.values import new_id
from . import billing, coupons, provider, session_lifecycle, switches
from .errors import Refusal, invalid, not_found
from .events import publish
from .periods import period_end
from .scheduler import schedule

LIFETIME = {"legacy": timedelta(minutes=15), "newest": timedelta(minutes=25)}
LINK_LIFETIME = timedelta(minutes=20)  # newest; a legacy link has no end of its own
MAX_KEY_LENGTH = 255
MANDATE_METHODS = ("", "UPI", "CARD")
NOTHING_CHARGED = "checkout requires a non-zero invoice; plan produced no charges"


@dataclass(frozen=True)
class Options:
    """What a request says about the checkout itself; the same for every action."""

    payment_provider: str = "razorpay"
    collection_method: str = "send_invoice"
    payment_method: str = ""
    success_url: str | None = None
    failure_url: str | None = None
    cancel_url: str | None = None
    idempotency_key: str | None = None
    metadata: dict[str, str] | None = None
    on_existing: str = "reject"  # or supersede


@dataclass(frozen=True)
class LineOverride:
    """Another quantity or amount for one price of the plan."""

    price_id: str
    quantity: Decimal | None = None
    amount: Decimal | None = None


@dataclass(frozen=True)
class SubscriptionRequest:
    """The parameters of a subscription to be sold; those below `metadata` are POST /subscriptions' own."""

    plan_id: str
    currency: str
    billing_period: str
    start_date: datetime | None = None
    end_date: datetime | None = None
    lookup_key: str = ""
    metadata: dict[str, str] | None = None
    billing_period_count: int = 1
    trial_period_days: int | None = None  # None: as the prices say
    collection_method: str = "charge_automatically"
    payment_behavior: str = "default_active"
    payment_terms: str = ""
    proration_behavior: str = "none"
    overrides: tuple[LineOverride, ...] = ()
    coupon_codes: tuple[str, ...] = ()
    is_draft: bool = False  # neither billed nor begun
    opening_credit: Decimal = Decimal(0)  # taken off its first fees: what a replaced subscription gives back


@dataclass
class Created:
    """A session and how it came about; `refusal` is raised by the caller after its commit."""

    session: CheckoutSession
    refusal: Refusal | None = None
    result: str = "created"  # superseded, failed_already_exists


def published_customer(session: Session, external_id: str) -> Customer:
    """:raises Refusal: there is none with this external id."""
    found = session.first(Customer, Customer.external_id == external_id, Customer.status == "published")
    if found is None:
        raise not_found(f"Customer with lookup key {external_id} was not found", lookup_key=external_id)
    return found


def sell_subscription(
    session: Session,
    customer: Customer,
    asked: SubscriptionRequest,
    options: Options,
    *,
    aborted: bool = False,
) -> Created:
    """Creates a session for a new subscription.

    :param aborted: the caller hung up. Flexprice stops where it stood while Razorpay goes on: the session
        stays `initiated`, its drafts stay, and the link takes money.
    :raises Refusal: before any row was made; later ones are in the answer.
    """
    created = begin(session, customer, "create_subscription", options)
    if created.result == "failed_already_exists":
        return created
    checkout = created.session
    try:
        invoice = _draft(session, checkout, customer, asked, options)
        offer(session, checkout, invoice, customer, options, aborted=aborted)
    except Refusal as refusal:
        session_lifecycle.end(session, checkout, "failed", refusal.reason)
        created.refusal = refusal
    return created


def begin(session: Session, customer: Customer, action: str, options: Options) -> Created:
    """Inserts the session's row in status `initiated`.

    :raises Refusal: the key is in use by an open session, or too long.
    """
    key = options.idempotency_key
    if len(key or "") > MAX_KEY_LENGTH:
        raise Refusal("database_error", "checkout session creation failed")
    result = "created"
    if key is not None and (existing := session.first(CheckoutSession, CheckoutSession.open_key == key)):
        result = _existing(session, existing, options)
        if result == "failed_already_exists":
            return Created(existing, result=result)
    now, generation = session.now(), switches.read(session, "generation")
    checkout = CheckoutSession(
        id=new_id("cs"),
        customer_id=customer.id,
        action=action,
        payment_provider=options.payment_provider,
        expires_at=now + LIFETIME[generation],
        idempotency_key=key,
        open_key=key,
        success_url=options.success_url,
        failure_url=options.failure_url,
        cancel_url=options.cancel_url,
        meta=options.metadata,
        created_at=now,
        updated_at=now,
    )
    session.add(checkout)
    session_lifecycle.plan_sweep(session, checkout)
    return Created(checkout, result=result)


def _existing(session: Session, existing: CheckoutSession, options: Options) -> str:
    """What becomes of a create call whose key an open session has."""
    if switches.read(session, "open_key") == "refuse":
        message = "An active checkout session with this idempotency key already exists"
        raise Refusal("already_exists", message, idempotency_key=options.idempotency_key)
    if options.on_existing != "supersede":
        return "failed_already_exists"
    session_lifecycle.end(session, existing, "expired")
    session.flush()
    return "superseded"


def _draft(
    session: Session,
    checkout: CheckoutSession,
    customer: Customer,
    asked: SubscriptionRequest,
    options: Options,
) -> Invoice:
    """The draft subscription and its first invoice."""
    start = asked.start_date or session.now()
    if asked.end_date and asked.end_date < start:
        raise invalid("End date must be after start date")
    plan = active_plan(session, asked.plan_id)
    prices = billing.attachable_prices(session, plan, asked.currency, asked.billing_period)
    days = billing.trial_days(prices)
    subscription = billing.new_subscription(
        session, customer, plan, asked.currency, asked.billing_period, start
    )
    subscription.lookup_key, subscription.meta = asked.lookup_key, asked.metadata
    subscription.collection_method = options.collection_method
    start = subscription.start_date
    if asked.end_date:
        subscription.end_date = asked.end_date
        subscription.current_period_end = min(asked.end_date, subscription.current_period_end)
    if days:
        subscription.trial_start, subscription.trial_end = start, start + timedelta(days=days)
    checkout.subscription_id = subscription.id
    publish(session, "subscription.draft.created", subscription.id)
    invoice = first_invoice(session, subscription, plan, prices, start)
    if invoice.subtotal == 0:
        raise Refusal("validation_error", "An unexpected error occurred", reason=NOTHING_CHARGED)
    return invoice


def active_plan(session: Session, plan_id: str) -> Plan:
    """:raises Refusal: there is no such plan, or it is archived."""
    plan = session.get(Plan, plan_id)
    if plan is None:
        raise not_found(f"Plan with ID {plan_id} was not found", plan_id=plan_id)
    if plan.status != "published":
        message = "The plan must be active to create a subscription"
        raise invalid(message, plan_id=plan_id, status=plan.status)
    return plan


def first_invoice(
    session: Session, subscription: Subscription, plan: Plan, prices: Any, start: datetime
) -> Invoice:
    """Attaches the prices, and drafts what a checkout charges for them.

    ADVANCE fees are charged for the period that follows, as Flexprice does; where none follows they are not
    on the invoice. One-time prices are attached and not charged.
    """
    lines = [(price, billing.new_line(session, subscription, plan, price, start)) for price in prices]
    return first_invoice_of(session, subscription, lines)


def first_invoice_of(
    session: Session, subscription: Subscription, lines: Sequence[tuple[Price, SubscriptionLine]]
) -> Invoice:
    """The same, for prices that are attached."""
    invoice = billing.new_invoice(session, subscription, "SUBSCRIPTION_CYCLE")
    start, unit = subscription.start_date, subscription.billing_period
    count = subscription.billing_period_count
    whole_end = period_end(start, start, unit, count)
    following = (whole_end, period_end(start, whole_end, unit, count))
    for price, line in lines:
        if _is_charged(subscription, price, whole_end):
            ahead = price.invoice_cadence == "ADVANCE"
            period = following if ahead else (start, whole_end)
            amount = billing.line_amount(price, line.quantity)
            billing.add_invoice_line(session, invoice, line, period, amount)
    coupons.discount(session, invoice, subscription)
    billing.total(session, invoice)
    return invoice


def _is_charged(subscription: Subscription, price: Price, whole_end: datetime) -> bool:
    if price.billing_period == billing.ONE_TIME or price.start_date >= whole_end:
        return False
    ends = subscription.end_date
    return not (price.invoice_cadence == "ADVANCE" and ends and ends <= whole_end)


def offer(
    session: Session,
    checkout: CheckoutSession,
    invoice: Invoice,
    customer: Customer,
    options: Options,
    *,
    aborted: bool = False,
) -> None:
    """Makes the payment and its link, and the session `pending`.

    :raises Refusal: Razorpay refuses; the drafts are archived by the session's end.
    """
    payment = _new_payment(session, invoice)
    checkout.invoice_id, checkout.payment_id = invoice.id, payment.id
    publish(session, "invoice.update", invoice.id)
    try:
        _open_link(session, checkout, payment, invoice, customer, options)
    except Refusal:
        checkout.names_payment = True
        session_lifecycle.archive_drafts(session, checkout)
        raise
    if not aborted:
        _pending(session, checkout, payment)


def _new_payment(session: Session, invoice: Invoice) -> Payment:
    now = session.now()
    return session.add(
        Payment(
            id=new_id("pay"),
            destination_id=invoice.id,
            amount=invoice.amount_due,
            currency=invoice.currency,
            idempotency_key=f"payment-{invoice.idempotency_key.rpartition('-')[2][::-1]}",
            payment_status="INITIATED" if switches.is_legacy(session) else "PENDING",
            created_at=now,
            updated_at=now,
        )
    )


def _open_link(
    session: Session,
    checkout: CheckoutSession,
    payment: Payment,
    invoice: Invoice,
    customer: Customer,
    options: Options,
) -> None:
    if options.collection_method == "charge_automatically":
        _check_mandate(customer, options)
        checkout.mandate = switches.read(session, "mandates")
    link = provider.open_link(
        session,
        payment,
        invoice,
        customer,
        callback_url="" if checkout.mandate else options.success_url or "",
        metadata=options.metadata,
        expire_by=None if switches.is_legacy(session) else session.now() + LINK_LIFETIME,
    )
    checkout.link_id = payment.link_id = link.id
    if link.expire_by:
        schedule(session, "provider.link_expiry", link.id, link.expire_by)


def _check_mandate(customer: Customer, options: Options) -> None:
    if options.payment_method not in MANDATE_METHODS:
        raise Refusal("not_implemented", "Only UPI and Card are supported for Razorpay mandate registration")
    if not customer.contact:
        raise provider.no_link("The contact field is required")


def _pending(session: Session, checkout: CheckoutSession, payment: Payment) -> None:
    checkout.names_payment, checkout.checkout_status = True, "pending"
    checkout.payment_action = _payment_action(session, checkout)
    if not switches.is_legacy(session):
        publish(session, "payment.updated", payment.id)
    publish(session, "checkout.session.initiated", checkout.id)


def _payment_action(session: Session, checkout: CheckoutSession) -> dict[str, str] | None:
    if checkout.mandate == "no_action":  # a saved token is charged: there is nothing to open
        return {"type": "", "url": ""} if switches.is_legacy(session) else None
    link = session.need(ProviderLink, checkout.link_id)
    return {"type": "payment_link", "url": link.url}
