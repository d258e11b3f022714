"""The end of a trial: a job every 15 minutes moves the subscription to its first paid period."""

from datetime import timedelta

from ..store.billing_rows import Invoice, Subscription
from ..store.control_rows import Task
from ..store.database import Session
from ..store.rows import Price
from . import billing, invoices, renewals, wallets
from .events import publish
from .periods import period_end
from .scheduler import handles, schedule

JOB_AFTER = timedelta(minutes=1)


def plan(session: Session, subscription: Subscription) -> None:
    """Plans the end of a subscription's trial."""
    if subscription.trial_end:
        schedule(session, "trial.end", subscription.id, subscription.trial_end + JOB_AFTER)


@handles("trial.end")
def _end(session: Session, task: Task) -> None:
    """Billing begins at the trial's end, which is the new anchor. A planned cancellation is not looked at."""
    subscription = session.need(Subscription, task.target)
    if subscription.subscription_status != "trialing" or subscription.trial_end is None:
        return
    start = subscription.trial_end
    subscription.billing_anchor = subscription.current_period_start = start
    unit, count = subscription.billing_period, subscription.billing_period_count
    subscription.current_period_end = period_end(start, start, unit, count)
    subscription.updated_at, subscription.updated_by = session.now(), subscription.created_by
    invoice = _first_invoice(session, subscription)
    waits = invoice and invoice.payment_status != "SUCCEEDED"
    if waits and subscription.payment_behavior != "default_active":
        subscription.subscription_status = "incomplete"
        return
    subscription.subscription_status = "active"
    if invoice is None:
        publish(session, "subscription.activated", subscription.id)
    wallets.grant_plan_credits(session, subscription)
    renewals.plan(session, subscription)


def _first_invoice(session: Session, subscription: Subscription) -> Invoice | None:
    """The ADVANCE fees of the first paid period, final at once; None if there are none."""
    due = []
    for line in invoices.lines_of(session, subscription):
        price = session.get(Price, line.price_id)
        if price and line.end_date is None and line.invoice_cadence == "ADVANCE":
            due.append((line, billing.line_amount(price, line.quantity)))
    if not any(amount for _, amount in due):
        return None
    return renewals.opening_invoice(session, subscription, due, "SUBSCRIPTION_TRIAL_END")
