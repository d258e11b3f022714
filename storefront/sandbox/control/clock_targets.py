"""Times that `POST /_sandbox/clock {"until", "id"}` walks to."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ..engine import invoices, renewals, switches
from ..engine.errors import Refusal, not_found
from ..store.billing_rows import Invoice, Subscription
from ..store.control_rows import Task
from ..store.database import Session
from ..store.rows import CheckoutSession

Target = Callable[[Session, str], datetime]

AFTER_SESSION = timedelta(minutes=1)
AFTER_PERIOD = timedelta(minutes=2)
AFTER_COMPUTING = timedelta(minutes=20)  # after the period's end
AFTER_FINALIZING = timedelta(minutes=1)
AFTER_TRIAL = timedelta(minutes=2)
JUST_NOW = timedelta(minutes=1, seconds=30)


def session_expiry(session: Session, session_id: str) -> datetime:
    """A minute after a checkout session's `expires_at`."""
    checkout = session.get(CheckoutSession, session_id)
    if checkout is None:
        raise not_found(f"checkout session {session_id} not found", id=session_id)
    return checkout.expires_at + AFTER_SESSION


def _subscription(session: Session, subscription_id: str) -> Subscription:
    """A subscription, also by its invoice or checkout session."""
    if subscription_id.startswith("inv_"):
        invoice = session.get(Invoice, subscription_id)
        subscription_id = invoice.subscription_id if invoice else ""
    elif subscription_id.startswith("cs_"):
        checkout = session.get(CheckoutSession, subscription_id)
        subscription_id = (checkout.subscription_id if checkout else None) or ""
    row = session.get(Subscription, subscription_id)
    if row is None:
        raise not_found("Subscription not found", id=subscription_id)
    return row


def _unreachable(row: Subscription, why: str) -> Refusal:
    return Refusal("already_exists", why, id=row.id, subscription_status=row.subscription_status)


def _running(session: Session, subscription_id: str) -> Subscription:
    """Active, or in a trial, whose end is the end of its first period."""
    row = _subscription(session, subscription_id)
    if row.subscription_status not in ("active", "trialing") or row.status != "published":
        raise _unreachable(row, f"A subscription that is {row.subscription_status} has no renewals")
    return row


def period_end(session: Session, subscription_id: str) -> datetime:
    """Two minutes after the current period's end: billing has run."""
    return _running(session, subscription_id).current_period_end + AFTER_PERIOD


def trial_end(session: Session, subscription_id: str) -> datetime:
    """Two minutes after the trial's end: its first invoice is there."""
    row = _subscription(session, subscription_id)
    if row.subscription_status != "trialing" or row.trial_end is None:
        raise _unreachable(row, f"A subscription that is {row.subscription_status} has no trial to end")
    return row.trial_end + AFTER_TRIAL


def invoice_computed(session: Session, thing: str) -> datetime:
    """20 minutes after a period's end: that of an empty draft that waits, else of the current period."""
    if waiting := _waiting(session, thing, "renewal.compute"):
        ended = session.need(Invoice, waiting.target).period_end or session.now()
        return max(ended + AFTER_COMPUTING, waiting.due_at)
    if thing.startswith("inv_"):
        raise _is_past(session, thing)
    return _running(session, thing).current_period_end + AFTER_COMPUTING


def invoice_finalized(session: Session, thing: str) -> datetime:
    """The first renewal that becomes final from now on; a period without an invoice is passed over."""
    for kind in ("renewal.finalize", "renewal.compute"):
        if waiting := _waiting(session, thing, kind):
            return waiting.due_at + AFTER_FINALIZING
    if thing.startswith("inv_"):
        raise _is_past(session, thing)
    row = _running(session, thing)
    period = (row.current_period_start, row.current_period_end)
    if not any(charge.amount for charge in invoices.charges(session, row, period)):
        raise _unreachable(row, "A subscription that costs nothing has no invoices")
    return period_end(session, thing)


def no_renewal_yet(session: Session, thing: str) -> bool:
    """Whether none became final at this stop."""
    lately = session.now() - JUST_NOW
    found = session.all(Invoice, Invoice.finalized_at >= lately, Invoice.invoice_type == "SUBSCRIPTION")
    ids = {invoice.id for invoice in found} | {invoice.subscription_id for invoice in found}
    own = thing if thing.startswith("inv_") else _subscription(session, thing).id
    return own not in ids


def _waiting(session: Session, thing: str, kind: str) -> Task | None:
    """The task of this kind that waits for an invoice, or for the next one of a subscription."""
    if thing.startswith("inv_"):
        return session.first(Task, Task.kind == kind, Task.target == thing)
    row = _subscription(session, thing)
    own = session.select(Invoice, Invoice.subscription_id == row.id, Invoice.invoice_status == "DRAFT")
    drafts = [invoice.id for invoice in session.orm.scalars(own)]
    return session.first(Task, Task.kind == kind, Task.target.in_(drafts), order=(Task.due_at, Task.id))


def _is_past(session: Session, invoice_id: str) -> Refusal:
    row = session.get(Invoice, invoice_id)
    if row is None:
        return not_found(f"invoice {invoice_id} not found", id=invoice_id)
    why = f"The invoice is {row.invoice_status}: nothing is planned for it"
    return Refusal("already_exists", why, id=invoice_id)


TARGETS: dict[str, Target] = {
    "session_expiry": session_expiry,
    "period_end": period_end,
    "invoice_computed": invoice_computed,
    "invoice_finalized": invoice_finalized,
    "trial_end": trial_end,
}
# Whether the clock has to go on to another stop; those not here have one stop.
GO_ON: dict[str, Callable[[Session, str], bool]] = {"invoice_finalized": no_renewal_yet}


def before(session: Session, target: str, thing: str) -> None:
    """Legacy, as recorded: on the way to a period's end the job that gives notice of it has not run."""
    to_a_period = target in ("period_end", "invoice_computed", "invoice_finalized")
    if to_a_period and not thing.startswith("inv_") and switches.is_legacy(session):
        renewals.skip_notice(session, _subscription(session, thing))
