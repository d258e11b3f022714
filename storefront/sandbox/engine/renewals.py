"""What time does to an active subscription: notice, the period's end, its invoice, automatic cancellation.

A period that ends at T: notice at T - 24 h, an empty draft at T, its lines 16 minutes later, final two hours
after that (`finalization_delay_seconds`).
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from ..store.billing_rows import Invoice, Schedule, Subscription, SubscriptionLine
from ..store.control_rows import Task
from ..store.database import Session
from . import billing, cancellations, coupons, invoices, plan_changes, switches
from .events import publish
from .scheduler import cancel, handles, schedule

NOTICE_BEFORE = timedelta(hours=24)
NOTICE_JOB_EVERY = timedelta(minutes=15)  # a notice missed by more than that is never caught up
COMPUTED_AFTER = timedelta(minutes=16)
FINALIZATION_DELAY_S = 2 * 60 * 60
GRACE_PERIOD_DAYS = 3


def plan(session: Session, subscription: Subscription) -> None:
    """Plans the end of the current period. Call it whenever a subscription becomes active or rolls."""
    ends = subscription.current_period_end
    schedule(session, "renewal.period_end", subscription.id, ends)
    if ends - NOTICE_BEFORE > session.now():
        schedule(session, "renewal.notice", subscription.id, ends - NOTICE_BEFORE)


def skip_notice(session: Session, subscription: Subscription) -> None:
    """The notice of the current period is missed, as if its job had not run."""
    cancel(session, "renewal.notice", subscription.id)


@handles("renewal.notice")
def _notice(session: Session, task: Task) -> None:
    subscription = session.need(Subscription, task.target)
    is_late = session.now() - task.due_at > NOTICE_JOB_EVERY
    if subscription.subscription_status == "active" and not subscription.cancel_at_period_end and not is_late:
        publish(session, "subscription.renewal.due", subscription.id)


@handles("renewal.period_end")
def _period_end(session: Session, task: Task) -> None:
    """Plan change, draft, cancellation, new period, in this order. After an outage once for each period."""
    subscription = session.need(Subscription, task.target)
    if subscription.subscription_status != "active":
        return
    ended = (subscription.current_period_start, subscription.current_period_end)
    _change_plan(session, subscription)
    if not _is_billed_already(session, subscription):
        invoice = invoices.draft_of_ended_period(session, subscription, ended)
        schedule(session, "renewal.compute", invoice.id, session.now() + COMPUTED_AFTER)
    next_period = invoices.following(subscription, ended[1])
    subscription.current_period_start, subscription.current_period_end = next_period
    subscription.updated_at, subscription.updated_by = session.now(), subscription.created_by
    if cancellations.is_due(subscription, ended[1]):
        cancellations.come_true(session, subscription)
    else:
        plan(session, subscription)


def _change_plan(session: Session, subscription: Subscription) -> None:
    waiting = session.first(
        Schedule,
        Schedule.subscription_id == subscription.id,
        Schedule.schedule_type == "plan_change",
        Schedule.schedule_status == "pending",
    )
    if waiting is None or waiting.scheduled_at > subscription.current_period_end:
        return
    if (waiting.configuration or {}).get("version") == "v2":
        plan_changes.execute_scheduled(session, waiting, subscription)
    else:  # a new subscription, once this one's period has rolled
        schedule(session, "plan.replacement", waiting.id, session.now())


def _is_billed_already(session: Session, subscription: Subscription) -> bool:
    """Whether an invoice of this kind exists for the ended period.

    A checkout's first invoice has the first period and this reason: legacy finds it, and makes none.
    """
    if switches.read(session, "first_renewal") == "billed":
        return False
    found = session.first(
        Invoice,
        Invoice.subscription_id == subscription.id,
        Invoice.billing_reason == "SUBSCRIPTION_CYCLE",
        Invoice.period_start == subscription.current_period_start,
        Invoice.status == "published",
    )
    return found is not None


@handles("renewal.compute")
def _compute(session: Session, task: Task) -> None:
    invoice = session.need(Invoice, task.target)
    if invoice.invoice_status != "DRAFT":
        return
    invoices.compute(session, invoice)
    plan_finalization(session, invoice)


def plan_finalization(session: Session, invoice: Invoice) -> None:
    """A computed draft becomes final after the delay of the settings (0 counts as not given)."""
    if invoice.invoice_status != "DRAFT":
        return
    delay = billing.setting(session, "invoice_config", "finalization_delay_seconds", FINALIZATION_DELAY_S)
    due = session.now() + timedelta(seconds=delay or FINALIZATION_DELAY_S)
    schedule(session, "renewal.finalize", invoice.id, due)


@handles("renewal.finalize")
def _finalize(session: Session, task: Task) -> None:
    invoice = session.need(Invoice, task.target)
    if invoice.invoice_status == "DRAFT":
        finalize(session, invoice)


def finalize(session: Session, invoice: Invoice) -> None:
    """Makes a draft final, and plans what becomes of it unpaid.

    :raises Refusal: it is no draft.
    """
    invoices.finalize(session, invoice)
    cancel(session, "renewal.finalize", invoice.id)
    cancel(session, "renewal.compute", invoice.id)
    if switches.is_on(session, "invoice_sync"):
        publish(session, "invoice.update", invoice.id)
    plan_auto_cancellation(session, invoice)


def opening_invoice(
    session: Session,
    subscription: Subscription,
    fees: Sequence[tuple[SubscriptionLine, Decimal]],
    reason: str,
) -> Invoice:
    """A final invoice for the current period's ADVANCE fees."""
    period = (subscription.current_period_start, subscription.current_period_end)
    invoice = billing.new_invoice(session, subscription, reason)
    invoice.description, invoice.version = f"Invoice for advance charges - subscription {subscription.id}", 0
    invoice.due_date = invoices.due_date(session, subscription, period[1])
    for line, amount in fees:
        billing.add_invoice_line(session, invoice, line, period, amount)
    coupons.discount(session, invoice, subscription)
    billing.total(session, invoice)
    publish(session, "invoice.update", invoice.id)
    finalize(session, invoice)
    return invoice


def plan_auto_cancellation(session: Session, invoice: Invoice) -> None:
    """An unpaid invoice may end its subscription when the grace period after its due date is over."""
    if invoice.due_date is None or not invoices.is_open(invoice):
        return
    days = billing.setting(session, "subscription_config", "grace_period_days", GRACE_PERIOD_DAYS)
    due = max(invoice.due_date + timedelta(days=days), session.now())
    schedule(session, "renewal.auto_cancellation", invoice.id, due)


@handles("renewal.auto_cancellation")
def _auto_cancellation(session: Session, task: Task) -> None:
    """With `auto_cancellation_enabled` the subscription ends; the invoice stays open."""
    invoice = session.need(Invoice, task.target)
    subscription = session.get(Subscription, invoice.subscription_id)
    enabled = billing.setting(session, "subscription_config", "auto_cancellation_enabled", 0)
    if not enabled or not invoices.is_open(invoice) or invoice.invoice_type != "SUBSCRIPTION":
        return
    if subscription and subscription.subscription_status in ("active", "incomplete"):
        cancellations.end_now(session, subscription, reason="")


def replan_auto_cancellations(session: Session) -> None:
    """After a change of the settings."""
    unpaid = (Invoice.invoice_status == "FINALIZED", Invoice.payment_status.in_(("PENDING", "FAILED")))
    for invoice in session.all(Invoice, *unpaid):
        plan_auto_cancellation(session, invoice)
