"""Go-live checks: `flask preflight`, and the page /operator/preflight, which only looks."""

from flask import Flask

from storefront.operations.preflight.commands import preflight
from storefront.operations.preflight.pages import bp


def init_app(app: Flask) -> None:
    """Register the page and the command."""
    app.register_blueprint(bp)
    app.cli.add_command(preflight)
