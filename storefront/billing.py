"""The demo takes in subscriptions/: its two tables, and what a suspended plan means for PlanAccess.

Optional: without this file, the folder subscriptions/ and the line in `create_app` the shop still sells.
"""

from flask import Flask

from storefront import access
from storefront.checkout.context import db_now
from storefront.extensions import checkout, db
from storefront.models import Order
from storefront.subscriptions import InvoiceMixin, SubscriptionMixin, Subscriptions

subscriptions = Subscriptions(checkout)


class Subscription(SubscriptionMixin, db.Model):  # type: ignore[name-defined]
    pass


class Invoice(InvoiceMixin, db.Model):  # type: ignore[name-defined]
    pass


@subscriptions.on_suspend
def suspend(order: Order) -> None:
    """An invoice is overdue beyond the grace: the plan cannot be used until it is paid."""
    if (granted := access.granted_by(order)) is not None:
        granted.suspended_at = db_now()


@subscriptions.on_resume
def resume(order: Order) -> None:
    """What was owed is paid."""
    if (granted := access.granted_by(order)) is not None:
        granted.suspended_at = None


@subscriptions.on_plan_change
def change_plan(order: Order, plan_id: str, plan_name: str) -> None:
    """A planned change has happened: the order's access is to another plan from now on."""
    access.move_to(order, plan_id, plan_name)


def init_app(app: Flask) -> None:
    """Register the pages below /billing."""
    subscriptions.init_app(app, db, Subscription, Invoice)
