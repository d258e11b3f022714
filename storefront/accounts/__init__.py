"""The demo's own users: sign-up, sign-in, a new password by email, the account page and its settings."""

from flask import Flask

from storefront.accounts import service, settings_views, views
from storefront.accounts.commands import operator
from storefront.extensions import login


def init_app(app: Flask) -> None:
    """Register both blueprints, the user loader and the command `flask operator`."""
    login.session_protection = None  # it would trust any X-Forwarded-For
    login.user_loader(service.by_session_key)
    login.unauthorized_handler(views.to_sign_in)
    app.register_blueprint(views.bp)
    app.register_blueprint(settings_views.bp)
    app.cli.add_command(operator)
