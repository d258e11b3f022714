"""Coupons: found by their code, redeemed when a subscription is made, taken off its invoices."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from sqlalchemy import func

from ..store.billing_rows import Coupon, CouponAssociation, Invoice, InvoiceLine, Subscription
from ..store.database import Session
from ..store.values import new_id
from .errors import Refusal, invalid, not_found
from .money import rounded


def by_code(session: Session, code: str) -> Coupon:
    """The published coupon with this code, in any case.

    :raises Refusal: there is none.
    """
    found = session.first(Coupon, func.lower(Coupon.code) == code.lower(), Coupon.status == "published")
    if found is None:
        raise not_found(f"Coupon with code '{code}' was not found", coupon_code=code)
    return found


def check(session: Session, coupon: Coupon, currency: str) -> None:
    """:raises Refusal: it is for another currency, used up, not yet or no longer valid."""
    now = session.now()
    other = coupon.type == "fixed" and coupon.currency and coupon.currency != currency.lower()
    used_up = coupon.max_redemptions is not None and coupon.total_redemptions >= coupon.max_redemptions
    early = coupon.redeem_after is not None and now < coupon.redeem_after
    late = coupon.redeem_before is not None and now > coupon.redeem_before
    if other or used_up or early or late:
        raise invalid("Coupon validation failed", coupon_id=coupon.id)


def redeem(session: Session, subscription: Subscription, codes: Iterable[str]) -> None:
    """Attaches coupons to a new subscription. Counted at once, also where its checkout expires.

    :raises Refusal: a code is unknown or its coupon cannot be used.
    """
    for code in codes:
        coupon = by_code(session, code)
        check(session, coupon, subscription.currency)
        coupon.total_redemptions += 1
        now = session.now()
        session.add(
            CouponAssociation(
                id=new_id("coupon_assoc"),
                coupon_id=coupon.id,
                subscription_id=subscription.id,
                created_at=now,
                updated_at=now,
            )
        )


def discount(session: Session, invoice: Invoice, subscription: Subscription) -> None:
    """Sets `total_discount` from the subscription's coupons; uses up one of their periods."""
    lines = session.all(InvoiceLine, InvoiceLine.invoice_id == invoice.id)
    subtotal = sum((line.amount for line in lines), Decimal(0))
    running = [
        one
        for one in _associations(session, subscription)
        if not _is_over(session.need(Coupon, one.coupon_id), one)
    ]
    for one in running:
        one.redeemed_periods += 1
    invoice.total_discount = _sum(session, running, subtotal, invoice.currency)


def preview(session: Session, subscription: Subscription, subtotal: Decimal) -> Decimal:
    """The discount of a preview: it repeats a coupon that is for one period, as Flexprice's does."""
    return _sum(session, _associations(session, subscription), subtotal, subscription.currency)


def _associations(session: Session, subscription: Subscription) -> Sequence[CouponAssociation]:
    return session.all(CouponAssociation, CouponAssociation.subscription_id == subscription.id)


def _sum(
    session: Session, associations: Sequence[CouponAssociation], subtotal: Decimal, currency: str
) -> Decimal:
    left = subtotal
    for one in associations:
        left -= min(amount_off(session.need(Coupon, one.coupon_id), left, currency), left)
    return subtotal - left


def amount_off(coupon: Coupon, amount: Decimal, currency: str) -> Decimal:
    if coupon.type == "fixed":
        return coupon.amount_off or Decimal(0)
    return rounded(amount * (coupon.percentage_off or Decimal(0)) / 100, currency)


def _is_over(coupon: Coupon, association: CouponAssociation) -> bool:
    periods = {"once": 1, "repeated": coupon.duration_in_periods or 1}.get(coupon.cadence)
    return periods is not None and association.redeemed_periods >= periods


def make(session: Session, name: str, code: str, **fields: object) -> Coupon:
    """A new coupon.

    :raises Refusal: the code is taken.
    """
    if code and session.first(Coupon, func.lower(Coupon.code) == code.lower(), Coupon.status == "published"):
        message = "A published coupon with this code already exists in this environment"
        raise Refusal("already_exists", message, name=name, coupon_code=code)
    now = session.now()
    row = Coupon(id=new_id("coupon"), name=name, code=code, created_at=now, updated_at=now, **fields)  # type: ignore[arg-type]
    return session.add(row)
