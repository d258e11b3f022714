"""The second month as the operator pages see it; without the package there is nothing to show."""

from importlib.util import find_spec
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, and_, case, func, or_, select

from storefront.checkout.context import db_now, return_url
from storefront.checkout.orders import change, check_now
from storefront.extensions import db
from storefront.operations.models import AuditNote

SHOWN = 200


def in_use() -> bool:
    """Whether subscriptions/ is part of this shop."""
    return find_spec("storefront.billing") is not None and "subscriptions" in current_app.extensions


def rows() -> list[tuple[Any, list[Any]]]:
    """Subscriptions with their invoices: those that need a person first, then the newest."""
    from storefront.billing import Subscription

    first = case((_needs_a_person(), 0), else_=1)
    found = db.session.scalars(select(Subscription).order_by(first, Subscription.id.desc()).limit(SHOWN))
    return [(row, invoices_of(row)) for row in found]


def need_a_person() -> int:
    """How many subscriptions an operator has to look at."""
    if not in_use():
        return 0
    from storefront.billing import Subscription

    counted = select(func.count()).select_from(Subscription).where(_needs_a_person())
    return db.session.scalar(counted) or 0


def _needs_a_person() -> ColumnElement[bool]:
    """A note that nobody has cleared, money to decide about, or a plan that no order of ours granted."""
    from storefront.billing import Invoice, Subscription
    from storefront.subscriptions.payments import SETTLED_BY

    noted = Invoice.review_note.is_not(None) & ~Invoice.review_note.startswith(SETTLED_BY)
    of_money = select(Invoice.subscription_id).where(or_(Invoice.link == "review", noted))
    unassigned = and_(
        Subscription.order_ref.is_(None),
        Subscription.replaced_by.is_(None),
        Subscription.status.in_(["active", "trialing"]),
    )
    return or_(Subscription.review_note.is_not(None), Subscription.subscription_id.in_(of_money), unassigned)


def notes_of(rows: list[tuple[Any, list[Any]]]) -> dict[str, list[AuditNote]]:
    """What operators did, the oldest first: by the id of the subscription."""
    subject = {row.subscription_id: row.subscription_id for row, _ in rows}
    subject |= {bill.invoice_id: row.subscription_id for row, bills in rows for bill in bills}
    about = AuditNote.subject.in_(["subscription", "invoice"]), AuditNote.subject_id.in_(subject)
    found: dict[str, list[AuditNote]] = {}
    for note in db.session.scalars(select(AuditNote).where(*about).order_by(AuditNote.id)):
        found.setdefault(subject[note.subject_id], []).append(note)
    return found


def invoices_of(subscription: Any) -> list[Any]:
    from storefront.billing import Invoice

    of_it = (
        select(Invoice).filter_by(subscription_id=subscription.subscription_id).order_by(Invoice.id.desc())
    )
    return list(db.session.scalars(of_it))


def followed(refs: list[str]) -> dict[str, tuple[Any, list[Any]]]:
    """By the order's reference: its subscription, and all invoices of that, the oldest first."""
    if not in_use():
        return {}
    from storefront.billing import Invoice, Subscription

    found = {row.order_ref: row for row in db.session.scalars(_with(Subscription.order_ref, refs))}
    ids = [row.subscription_id for row in found.values()]
    invoices = list(db.session.scalars(_with(Invoice.subscription_id, ids).order_by(Invoice.id)))
    of = {
        ref: [i for i in invoices if i.subscription_id == row.subscription_id] for ref, row in found.items()
    }
    return {ref: (row, of[ref]) for ref, row in found.items()}


def _with(column: Any, values: list[str]) -> Any:
    return select(column.class_).where(column.in_(values))


def find(kind: str, row_id: int) -> Any:
    """A row of either table; None: there is none."""
    from storefront.billing import Invoice, Subscription

    return db.session.get(Invoice if kind == "invoice" else Subscription, row_id)


def sync_now(subscription: Any) -> None:
    """Let the worker read it now. Does not commit."""
    check_now(subscription)


def end_now(subscription: Any) -> bool:
    """Let the worker end a plan that was replaced, from its first attempt on. Does not commit."""
    if subscription.replaced_by is None or not subscription.runs:
        return False
    now = db_now()
    return change(subscription, {"end_requested_at": now, "next_attempt_at": now, "attempts": 0})


def settle(invoice: Any, by: str) -> bool:
    """An operator has seen to its money. Does not commit."""
    from storefront.subscriptions.payments import settle_by_hand

    return settle_by_hand(invoice.id, by=by)


def read_now(subscription: Any) -> None:
    """Read it, before something is decided about it. Commits.

    :raises FlexpriceError: Flexprice could not be asked.
    """
    from storefront.subscriptions.sync import sync

    sync(subscription.id)


def assign(row_id: int, by: str) -> str:
    """Give a plan made in Flexprice's dashboard to its customer. Does not commit.

    :returns: why it was not done; empty when it was.
    """
    from storefront.subscriptions.changes import Refused, assign

    try:
        assign(row_id, return_url, by=by)
    except Refused as refused:
        return str(refused)
    return ""
