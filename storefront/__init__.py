"""The storefront: plans, a checkout, and what happens after the payment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from storefront.settings import Settings


def create_app(settings: Settings) -> Flask:
    from flask import Flask

    app = Flask(__name__, template_folder="../templates", static_folder="../static")
    install(app, settings)
    return app


def install(app: Flask, settings: Settings) -> None:
    """The table of contents of the shop. `app` may be one of yours (docs/copying.md)."""
    from storefront import cli, database, extensions, tallies, tracing, web
    from storefront.catalog import Catalog
    from storefront.doorman import Turns
    from storefront.flexprice import Client, SharedHeader, Verifier

    app.config.update(
        SETTINGS=settings,
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=database.engine_options(settings.database_url),
    )
    client = Client(
        settings.flexprice_api_url,
        settings.flexprice_api_key,
        settings.flexprice_environment_id,
        request_id=tracing.current,
        watch=tallies.upstream,
        before_call=database.end_reading,
    )
    app.extensions["flexprice"] = client
    app.extensions["catalog"] = Catalog(client)
    secrets, shared = settings.flexprice_webhook_secrets, settings.flexprice_webhook_header
    app.extensions["verifier"] = Verifier(secrets) if secrets else None
    app.extensions["shared_header"] = SharedHeader(*shared) if shared else None
    app.extensions["turns"] = Turns()

    extensions.db.init_app(app)
    database.init_app(app)
    web.init_app(app)
    cli.init_app(app)
