"""The operator desk at /operator; for everybody else these addresses do not exist."""

from flask import Flask

from storefront.operations.operator import actions, billing_pages, demo_sign_in
from storefront.operations.operator.pages import bp


def init_app(app: Flask) -> None:
    """Register the desk's pages and its actions."""
    app.register_blueprint(bp)
    if app.config["SETTINGS"].demo_operator_token:
        app.register_blueprint(demo_sign_in.bp)


__all__ = ["actions", "billing_pages", "bp", "demo_sign_in", "init_app"]
