"""The paid period of an access is over: has it been renewed? Flexprice is asked, the operator is told."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update

from storefront.extensions import db
from storefront.flexprice import Invoice
from storefront.models import Access

log = logging.getLogger(__name__)

ASK_AGAIN_AFTER = timedelta(days=1)


def next_to_ask_about(now: datetime, grace: timedelta) -> Access | None:
    return db.session.scalar(
        select(Access)
        .where(Access.paid_until <= now - grace, Access.revoked_at.is_(None))
        .where(Access.subscription_id.is_not(None), _not_asked_lately(now))
        .order_by(Access.paid_until)
        .limit(1)
    )


def claim_asking(access_id: int, now: datetime) -> bool:
    """True for the one worker that asks about the access today."""
    result: Any = db.session.execute(
        update(Access).where(Access.id == access_id, _not_asked_lately(now)).values(asked_at=now)
    )
    return bool(result.rowcount)


def _not_asked_lately(now: datetime) -> Any:
    return or_(Access.asked_at.is_(None), Access.asked_at <= now - ASK_AGAIN_AFTER)


def follow_invoices(access: Access, invoices: Iterable[Invoice], now: datetime, grace: timedelta) -> None:
    """An unpaid renewal ends nothing by itself (decision 9); the operator sees `overdue_since`."""
    paid = [invoice.period_end for invoice in invoices if invoice.paid and invoice.period_end]
    access.paid_until = max([*paid, *([access.paid_until] if access.paid_until else [])], default=None)
    over = access.paid_until is not None and access.paid_until + grace <= now
    if over and access.overdue_since is None:
        log.warning(
            "access of shopper %s to %s is paid until %s only (subscription %s)",
            access.shopper_id,
            access.plan_id,
            access.paid_until,
            access.subscription_id,
        )
    access.overdue_since = access.paid_until if over else None
