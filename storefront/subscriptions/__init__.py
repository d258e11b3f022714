"""The months after the first payment: invoices to pay, cancelling, another plan, and access that follows.

    subscriptions = Subscriptions(checkout)

    @subscriptions.on_suspend
    def suspend(order): ...            # unpaid beyond the grace. Write rows; call nobody

    @subscriptions.on_resume
    def resume(order): ...             # paid: access is back

    subscriptions.init_app(app, db, Subscription, Invoice)

Call it after `checkout.init_app`; it needs the folders `checkout` and `flexprice` beside it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Flask

from ..checkout import Checkout
from ..checkout import views as checkout_views
from ..checkout.signals import order_transitioned
from ..flexprice import FlexpriceError
from . import changes, starts, views, worker
from .context import Hooks, Installation
from .models import InvoiceMixin, SubscriptionMixin
from .signals import Fact, subscription_news
from .states import Access, Link

__all__ = [
    "Access",
    "Fact",
    "InvoiceMixin",
    "Link",
    "SubscriptionMixin",
    "Subscriptions",
    "subscription_news",
]

F = TypeVar("F", bound=Callable[..., Any])


class Subscriptions:
    """The extension. Make one, register your functions, then call `init_app`."""

    def __init__(self, checkout: Checkout) -> None:
        self.hooks = Hooks()
        checkout.before_start(views.offer_change)
        checkout.hooks.on_event.append(worker.on_event)
        checkout.hooks.more_work.append(worker.run_once)
        checkout.hooks.trial_offered = starts.trial_offered

    def on_suspend(self, function: F) -> F:
        """Called with an order, in the transaction, when an invoice is unpaid beyond the grace."""
        self.hooks.on_suspend = function
        return function

    def on_resume(self, function: F) -> F:
        """Called with an order, in the transaction, when what was owed is paid."""
        self.hooks.on_resume = function
        return function

    def on_plan_change(self, function: F) -> F:
        """Called with (order, plan_id, plan_name), in the transaction, when a planned change has happened.

        The subscription stays, and its order grants this plan from now on.
        """
        self.hooks.on_plan_change = function
        return function

    def init_app(
        self, app: Flask, db: Any, Subscription: Any, Invoice: Any, url_prefix: str = "/billing"
    ) -> None:
        """Register the blueprint `subscriptions` and this extension, after `checkout.init_app`.

        :param db: the one that the checkout has.
        :param Subscription: your model with `SubscriptionMixin`.
        :param Invoice: your model with `InvoiceMixin`.
        :param url_prefix: the address of the billing page, below which its forms are; not empty.
        :raises ValueError: the checkout is not registered with this db, or the prefix is empty.
        """
        if getattr(app.extensions.get("checkout"), "db", None) is not db:
            raise ValueError("call checkout.init_app first, with the same db")
        app.extensions["subscriptions"] = Installation(Subscription, Invoice, self.hooks)
        app.register_blueprint(_blueprint(), url_prefix=url_prefix)
        order_transitioned.connect(changes.hand_over, app)


def _blueprint() -> Blueprint:
    bp = Blueprint("subscriptions", __name__, template_folder="templates")
    bp.before_request(checkout_views.check_origin)
    bp.after_request(checkout_views.secure_headers)
    bp.register_error_handler(FlexpriceError, views.flexprice_failed)
    bp.register_error_handler(403, checkout_views.forbidden)
    bp.add_url_rule("", "billing", views.billing)
    bp.add_url_rule("/invoices/<invoice_id>/pay", "pay", views.pay, methods=["POST"])
    bp.add_url_rule("/invoices/<invoice_id>/return/<int:attempt>", "returned", views.returned)
    bp.add_url_rule("/invoices/<invoice_id>/pdf", "pdf", views.pdf)
    bp.add_url_rule(
        "/subscriptions/<subscription_id>/cancel", "cancel", views.cancel, methods=["GET", "POST"]
    )
    bp.add_url_rule("/subscriptions/<subscription_id>/undo", "undo", views.undo, methods=["POST"])
    bp.add_url_rule(
        "/subscriptions/<subscription_id>/change", "change", views.change, methods=["GET", "POST"]
    )
    bp.add_url_rule("/start", "start", views.start, methods=["POST"])
    return bp
