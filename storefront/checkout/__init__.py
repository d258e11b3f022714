"""Sells Flexprice plans in your Flask app: to your users, in your database and your pages.

    checkout = Checkout()

    @checkout.customer_loader
    def load_customer():               # who is buying; None sends them to CHECKOUT_LOGIN_ENDPOINT
        return Customer(key="user-7", name="Asha Rao", email="asha@example.com")

    @checkout.on_fulfill
    def grant_access(order): ...       # once per paid order, in its transaction. Write rows; call nobody

    checkout.init_app(app, db, Order, WebhookEvent, url_prefix="/billing")

It needs Flask, SQLAlchemy and the client in the folder `flexprice` beside it: see docs/copying.md.

To follow one sale, read in this order:

1. The click: `views.start`, `purchase.place_order`, `purchase.open_session`.
2. While the customer pays, the worker compares the invoice with the order: `reconciliation.check_awaiting`.
3. The webhook is stored: `webhooks.receive`.
4. The worker processes it: `worker.run_once`, `webhooks.process_event`, `handle_session_event`.
5. Paid and fulfilled in one transaction: `orders.settle`, `apply_session`, `transition`, `fulfill`.

`context` holds what all of them use: the app's models, its database session, the client.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Flask, request_started

from ..flexprice import Client, FlexpriceError
from . import context, views, webhooks, worker
from .commands import cli
from .context import Hooks, Installation
from .models import Customer, OrderMixin, WebhookEventMixin
from .offers import Offer
from .purchase import create_customer
from .states import State, Trigger

__all__ = ["Checkout", "Customer", "Offer", "OrderMixin", "State", "Trigger", "WebhookEventMixin"]

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])


class Checkout:
    """The extension. Make one, register your functions, then call `init_app`."""

    def __init__(self) -> None:
        self.hooks = Hooks()

    # -- what you fill in

    def customer_loader(self, function: F) -> F:
        """Register the function that says who is buying.

        It returns a `Customer`, or None for a visitor who has to sign in.
        """
        self.hooks.customer_loader = function
        return function

    def before_start(self, function: F) -> F:
        """Register a function that may answer a purchase before an order is placed.

        It is called with (customer, offer) and returns a response to send instead, or None. Several may be
        registered; the first response wins.
        """
        self.hooks.before_start.append(function)
        return function

    def on_order_created(self, function: F) -> F:
        """Register the function that sets your own columns of a new order, such as the user's id.

        It is called with the order before its INSERT.
        """
        self.hooks.on_order_created = function
        return function

    def on_fulfill(self, function: F) -> F:
        """Register the function that grants access.

        It is called with the order, once per paid order, in the transaction that marks it as fulfilled. Write
        rows through `db.session`; call nobody. If it raises, the order stays paid and is tried again.
        """
        self.hooks.on_fulfill = function
        return function

    def on_revoke(self, function: F) -> F:
        """Register the function that ends access.

        It is called with the order, once, in the transaction that records that the access has ended.
        """
        self.hooks.on_revoke = function
        return function

    # -- what it brings

    def init_app(
        self,
        app: Flask,
        db: Any,
        Order: Any,
        WebhookEvent: Any,
        url_prefix: str = "/billing",
        max_concurrent: int = 4,
    ) -> None:
        """Register the blueprint `checkout`, the commands `flask checkout` and this extension.

        :param db: Flask-SQLAlchemy's `db`, or any object whose `session` is a SQLAlchemy `scoped_session`.
        :param Order: your model with `OrderMixin`.
        :param WebhookEvent: your model with `WebhookEventMixin`.
        :param url_prefix: below which the pages are; "" for none.
        :param max_concurrent: calls to Flexprice at once; at most half of the threads of your web server.
        """
        installed = Installation(app, db, Order, WebhookEvent, self.hooks, max_concurrent)
        app.extensions["checkout"] = installed
        app.register_blueprint(_blueprint(), url_prefix=url_prefix or None)
        app.cli.add_command(cli)
        request_started.connect(views.exempt_webhook, app)

    run_once = staticmethod(worker.run_once)  # (limit=100) -> how many were taken up

    def ensure_customer(self, customer: Customer) -> bool:
        """Create the customer in Flexprice at sign-up, so that a purchase needs one call. Optional.

        :returns: False when it could not be done now; the first purchase does it then.
        """
        try:
            create_customer(customer)
        except FlexpriceError as error:
            context.rollback()
            log.warning("Customer %s could not be created in Flexprice: %s", customer.key, error)
            return False
        return True

    @property
    def client(self) -> Client:
        """The Flexprice client of the current app.

        :raises AuthenticationError: FLEXPRICE_API_URL or FLEXPRICE_API_KEY is not set.
        """
        return context.checkout().client


def _blueprint() -> Blueprint:
    bp = Blueprint("checkout", __name__, template_folder="templates")
    bp.before_request(views.check_origin)
    bp.after_request(views.secure_headers)
    bp.register_error_handler(FlexpriceError, views.flexprice_failed)
    bp.register_error_handler(403, views.forbidden)
    bp.add_url_rule("/plans", "plans", views.plans)
    bp.add_url_rule("/plans/<plan_id>", "plan", views.plan)
    bp.add_url_rule("/checkout", "start", views.start, methods=["POST"])
    bp.add_url_rule("/orders/<ref>/success", "success", views.success)
    bp.add_url_rule("/orders/<ref>/failure", "failure", views.failure)
    bp.add_url_rule("/orders/<ref>/status", "status", views.status)
    bp.add_url_rule("/orders/<ref>/cancel", "cancel", views.cancel, methods=["POST"])
    bp.add_url_rule(
        "/webhooks/flexprice/", "webhook", webhooks.receive, methods=["POST"], strict_slashes=False
    )
    return bp
