"""The demo's own users: sign-up, sign-in, sign-out, a new password by email, and the account page."""

from flask import Flask

from storefront.accounts import service, views
from storefront.accounts.commands import operator
from storefront.extensions import login


def init_app(app: Flask) -> None:
    """Register the blueprint `accounts`, the user loader and the command `flask operator`."""
    login.session_protection = None  # it would trust any X-Forwarded-For
    login.user_loader(service.by_session_key)
    login.unauthorized_handler(views.to_sign_in)
    app.register_blueprint(views.bp)
    app.cli.add_command(operator)
