"""The second month as the operator pages see it; without the package there is nothing to show."""

from importlib.util import find_spec
from typing import Any

from flask import current_app
from sqlalchemy import or_, select

from storefront.checkout.context import db_now
from storefront.checkout.orders import change, check_now
from storefront.extensions import db

SHOWN = 200


def in_use() -> bool:
    """Whether subscriptions/ is part of this shop."""
    return find_spec("storefront.billing") is not None and "subscriptions" in current_app.extensions


def rows() -> list[tuple[Any, list[Any]]]:
    """Subscriptions with their invoices: those that need a person first, then the newest."""
    from storefront.billing import Invoice, Subscription

    flagged = (
        Subscription.review_note.is_not(None)
        | Subscription.end_requested_at.is_not(None)
        | Subscription.subscription_id.in_(
            select(Invoice.subscription_id).where(
                or_(Invoice.link == "review", Invoice.review_note.is_not(None))
            )
        )
    )
    found = db.session.scalars(
        select(Subscription).order_by(flagged.desc(), Subscription.id.desc()).limit(SHOWN)
    )
    return [(row, invoices_of(row)) for row in found]


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
    """An operator has seen to its money. Commits."""
    from storefront.subscriptions.payments import settle_by_hand

    return settle_by_hand(invoice.id, by=by)
