"""The operator desk at /operator; for everybody else these addresses do not exist."""

from flask import Flask

from storefront.operations.operator import actions, billing_pages
from storefront.operations.operator.pages import bp


def init_app(app: Flask) -> None:
    """Register the desk's pages and its actions."""
    app.register_blueprint(bp)


__all__ = ["actions", "billing_pages", "bp", "init_app"]
