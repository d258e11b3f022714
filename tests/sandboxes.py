"""Sandboxes for tests, each as if it had just been started on a database of its own.

The Flask app and its engine serve one test after another: making them takes longer than most tests here.
"""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask

from storefront.sandbox.app import create_app, put_on
from storefront.sandbox.settings import SandboxSettings

_idle: list[Flask] = []


class Calls:
    """The app for a server with threads; counts the calls that it is answering."""

    def __init__(self, app: Flask) -> None:
        self._app, self._lock, self.under_way = app, threading.Lock(), 0

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        with self._lock:
            self.under_way += 1
        try:
            return self._app(environ, start)
        finally:
            with self._lock:
                self.under_way -= 1


def start(settings: SandboxSettings) -> Flask:
    """:param settings: with a new SQLite file (fixture `sandbox_in`), which the app moves."""
    if not _idle or settings.clock_file:
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


def stop(app: Flask, calls: Calls | None = None) -> None:
    """The next test gets the app, unless a call of this one still waits in it."""
    for thread in threading.enumerate():
        if thread.name == "sandbox-sender":
            thread.join(20)
    app.extensions["sandbox"].close()
    is_free = calls is None or not calls.under_way
    if is_free and app.extensions["sandbox"].is_sqlite and not app.extensions["sandbox_settings"].clock_file:
        _idle.append(app)
