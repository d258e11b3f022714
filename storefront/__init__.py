"""The demo shop: plans, a checkout, accounts and emails. It adopts checkout/ as docs/copying.md describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from storefront.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the shop: the table of contents of this package.

    It imports inside its body, so that `python -m storefront.sandbox` does not load the shop.

    :param settings: read from the environment when None.
    :raises SettingsError: settings are missing or malformed, or the database cannot be used.
    """
    from importlib import import_module

    from flask import Flask

    from storefront import access, accounts, database, extensions, web
    from storefront.checkout.signals import order_transitioned
    from storefront.models import Order, WebhookEvent
    from storefront.settings import SERVER_THREADS, Settings

    settings = settings or Settings.from_env()
    app = Flask(__name__, template_folder="../templates", static_folder="../static")
    app.config.update(settings.config())
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = database.engine_options(settings.database_url)
    extensions.init_app(app)
    database.init_app(app)
    accounts.init_app(app)

    # The checkout. Its hooks are in access.py. Half of the server's threads may wait for Flexprice.
    order_transitioned.connect(access.record_transition, app)
    extensions.checkout.init_app(
        app, extensions.db, Order, WebhookEvent, url_prefix="", max_concurrent=SERVER_THREADS // 2
    )

    web.init_app(app)

    # Optional: delete a folder and its line, and the shop still sells.
    for package in (
        "billing",
        "emails",
        "operations",
    ):
        import_module(f"storefront.{package}").init_app(app)
    return app
