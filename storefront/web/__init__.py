"""The doors: one blueprint a journey."""

from flask import Flask


def init_app(app: Flask) -> None:
    from storefront.web import (
        account,
        checkout,
        doctor,
        errors,
        files,
        headers,
        health,
        kept,
        limits,
        metrics,
        operator,
        orders,
        plans,
        qa,
        security,
        webhooks,
        words,
    )

    metrics.init_app(app)  # first: it names the request for the logs of all others
    security.init_app(app)  # before the doors: it says what a number in an address may be
    for door in (plans, checkout, orders, webhooks, account, health, qa, operator, doctor, metrics):
        app.register_blueprint(door.bp)
    files.init_app(app)
    headers.init_app(app)
    limits.init_app(app)
    errors.init_app(app)
    words.init_app(app)
    kept.init_app(app)
