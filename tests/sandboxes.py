"""Sandboxes for tests, each as if it had just been started on a database of its own.

The Flask app and its engine serve one test after another: making them takes longer than most tests here.
"""

import threading
from dataclasses import replace
from pathlib import Path

from flask import Flask

from storefront.sandbox.app import create_app, put_on
from storefront.sandbox.settings import SandboxSettings

_idle: list[Flask] = []


def start(settings: SandboxSettings) -> Flask:
    """:param settings: with a new SQLite file (fixture `sandbox_in`), which the app moves."""
    if not _idle:
        return create_app(settings)
    app = _idle.pop()
    database = app.extensions["sandbox"]
    for store in database.names():
        database.forget(store)
    database.close()
    place = Path(database.engine.url.database)
    for left in place.parent.glob(f"{place.name}-*"):  # SQLite's log
        left.unlink()
    Path(settings.database_url.removeprefix("sqlite:///")).replace(place)
    put_on(app, database, replace(settings, database_url=f"sqlite:///{place}"))
    return app


def stop(app: Flask) -> None:
    for thread in threading.enumerate():
        if thread.name == "sandbox-sender":
            thread.join(20)
    app.extensions["sandbox"].close()
    if app.extensions["sandbox"].is_sqlite:
        _idle.append(app)
