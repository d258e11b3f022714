"""How access and a payment link move, as tables, and the rule of access. Pure: no database, no calls."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

PAID = frozenset({"SUCCEEDED", "OVERPAID"})
RUNNING = frozenset({"active", "trialing"})
DUE_AFTER_FINALIZED = timedelta(days=1)  # of invoices whose `due_date` is months away, or missing


class Access(StrEnum):
    NONE = "none"  # made in Flexprice's dashboard: no order of ours granted anything
    GRANTED = "granted"
    SUSPENDED = "suspended"  # unpaid beyond the grace; comes back when paid
    ENDED = "ended"  # over; a late payment does not revive it


class Verdict(StrEnum):
    """What Flexprice's state means for access."""

    IN_ORDER = "in order"
    OVERDUE = "overdue beyond the grace"
    NOT_RUNNING = "not running"  # paused, incomplete
    UNCLEAR = "unclear"  # a draft: after a sale a replica lags
    OVER = "over"


ACCESS: dict[tuple[Access, Verdict], Access] = {
    (Access.GRANTED, Verdict.OVERDUE): Access.SUSPENDED,
    (Access.GRANTED, Verdict.NOT_RUNNING): Access.SUSPENDED,
    (Access.GRANTED, Verdict.OVER): Access.ENDED,
    (Access.SUSPENDED, Verdict.IN_ORDER): Access.GRANTED,
    (Access.SUSPENDED, Verdict.OVER): Access.ENDED,
    # NONE stays until an operator assigns it. ENDED stays: a subscription that runs again needs a person.
}


class Link(StrEnum):
    """The one payment link of an invoice."""

    NONE = "none"
    REQUESTED = "requested"  # POST /payments is under way, or its answer was lost
    OPEN = "open"  # it can be paid, also after a decline
    FAILED = "failed"  # Flexprice read it as expired or cancelled: a new attempt may begin
    SETTLED = "settled"  # the invoice is paid
    REVIEW = "review"  # money may have come and the invoice does not say so: a person decides


class News(StrEnum):
    REQUESTED = "requested"
    LINKED = "linked"
    REFUSED = "refused"
    FAILED = "failed"
    FAILED_BUT_CLAIMED = "failed, and its customer came back as paid"
    INVOICE_PAID = "invoice paid"
    MONEY_UNBOOKED = "money taken, invoice not paid"
    ASKS_TOO_MUCH = "the link asks for more than is owed"
    CLOSED = "closed by operator"


LINKS: dict[tuple[Link, News], Link] = {
    (Link.NONE, News.REQUESTED): Link.REQUESTED,
    (Link.FAILED, News.REQUESTED): Link.REQUESTED,
    (Link.REQUESTED, News.LINKED): Link.OPEN,
    (Link.REQUESTED, News.REFUSED): Link.NONE,
    **{(state, News.FAILED): Link.FAILED for state in (Link.REQUESTED, Link.OPEN)},
    **{(state, News.FAILED_BUT_CLAIMED): Link.REVIEW for state in (Link.REQUESTED, Link.OPEN, Link.FAILED)},
    **{(state, News.INVOICE_PAID): Link.SETTLED for state in Link if state is not Link.SETTLED},
    **{
        (state, News.MONEY_UNBOOKED): Link.REVIEW
        for state in (Link.NONE, Link.REQUESTED, Link.OPEN, Link.FAILED)
    },
    **{(state, News.ASKS_TOO_MUCH): Link.REVIEW for state in (Link.REQUESTED, Link.OPEN)},
    (Link.REVIEW, News.CLOSED): Link.SETTLED,
}


@dataclass(frozen=True, slots=True)
class Bill:
    """What the rule of access needs to know of an invoice. Times are naive UTC."""

    open: bool
    reason: str
    due_date: datetime | None = None
    finalized_at: datetime | None = None
    money_seen: bool = False  # its payment was read as SUCCEEDED: nobody is suspended for it


def overdue_from(bill: Bill) -> datetime | None:
    """When an open invoice becomes overdue; None: never.

    Of a renewal at its due date. The first invoice, that of a trial's end and that of a change are due months
    later or never (docs/flexprice-contract.md#j3): a day after they were finalized.
    """
    if not bill.open or bill.money_seen:
        return None
    if bill.reason == "SUBSCRIPTION_CYCLE" and bill.due_date:
        return bill.due_date
    return bill.finalized_at + DUE_AFTER_FINALIZED if bill.finalized_at else bill.due_date


def suspend_at(bills: Iterable[Bill], grace: timedelta) -> datetime | None:
    """When access is suspended unless something is paid before; None: nothing is owed."""
    moments = [moment + grace for bill in bills if (moment := overdue_from(bill))]
    return min(moments, default=None)


def verdict(status: str, suspended_from: datetime | None, now: datetime) -> Verdict:
    """The rule of access: running, and nothing overdue beyond the grace.

    Never "there is an invoice for this period": the first renewal after a checkout may make none.
    """
    if status == "cancelled":
        return Verdict.OVER
    if status not in RUNNING:
        return Verdict.UNCLEAR if status == "draft" else Verdict.NOT_RUNNING
    return Verdict.OVERDUE if suspended_from and suspended_from <= now else Verdict.IN_ORDER
