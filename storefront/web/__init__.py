"""The demo's own pages and hardening: start page, receipt, errors, headers, hosts, limits, languages."""

from flask import Flask

from storefront.web import (
    errors,
    headers,
    hosts,
    languages,
    legal,
    limits,
    pages,
    pricing,
    request_log,
    review,
    static_files,
)


def init_app(app: Flask) -> None:
    """Attach all of it. Call it after the checkout and accounts have registered their views."""
    request_log.init_app(app)
    hosts.init_app(app)
    languages.init_app(app)
    pages.init_app(app)
    app.register_blueprint(legal.bp)
    app.register_blueprint(review.bp)
    pricing.init_app(app)
    static_files.init_app(app)
    headers.init_app(app)
    limits.init_app(app)
    errors.init_app(app)
