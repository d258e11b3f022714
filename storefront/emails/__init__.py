"""Emails to users: an outbox row in the sale's transaction, rendered and sent by a loop of its own.

Optional: without this folder and its line in `create_app` the shop still sells.
"""

from flask import Flask

from storefront.accounts.signals import (
    account_deleted,
    billing_news,
    email_change_requested,
    email_changed,
    password_reset_requested,
)
from storefront.checkout.signals import order_transitioned
from storefront.emails import outbox, views
from storefront.emails.commands import emails


def init_app(app: Flask) -> None:
    """Register the receivers that write the outbox, the pages /emails and the commands `flask emails`."""
    order_transitioned.connect(outbox.enqueue_for_order, app)
    password_reset_requested.connect(outbox.enqueue_password_reset, app)
    email_change_requested.connect(outbox.enqueue_email_change, app)
    email_changed.connect(outbox.enqueue_email_changed, app)
    billing_news.connect(outbox.enqueue_billing_news, app)
    account_deleted.connect(outbox.remove_all, app)
    app.register_blueprint(views.bp)
    app.cli.add_command(emails)
