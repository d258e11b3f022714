"""Counts what an extension changes in a Flask app: compare `snapshot(app)` before and after `init_app`."""

from collections.abc import Iterator
from typing import Any

import flask.signals
from blinker import NamedSignal
from flask import Flask

from storefront.checkout import signals as checkout_signals

# Functions that run on every request or in every template.
HOOK_LISTS = (
    "before_request_funcs",
    "after_request_funcs",
    "teardown_request_funcs",
    "template_context_processors",
    "url_value_preprocessors",
    "url_default_functions",
)
APP_LISTS = ("teardown_appcontext_funcs", "shell_context_processors", "url_build_error_handlers")
JINJA = ("filters", "globals", "tests")


def snapshot(app: Flask) -> set[str]:
    """One line for each blueprint, extension, command, signal receiver, app-wide function, key and route."""
    return set(parts(app))


def parts(app: Flask) -> Iterator[str]:
    yield from (f"blueprint {name}" for name in app.blueprints)
    yield from (f"extension {name}" for name in app.extensions)
    yield from (f"command {name}" for name in app.cli.commands)
    yield from (f"config {name}={value!r}" for name, value in app.config.items())
    yield from (f"route {rule.rule} {sorted(rule.methods or ())}" for rule in app.url_map.iter_rules())
    yield from (f"converter {name}" for name in app.url_map.converters)
    for name in HOOK_LISTS:
        yield from (f"{name} {function!r}" for function in getattr(app, name).get(None, ()))
    for name in APP_LISTS:
        yield from (f"{name} {function!r}" for function in getattr(app, name))
    for code, handlers in app.error_handler_spec[None].items():
        yield from (f"error handler {code} {kind.__name__}" for kind in handlers)
    for name in JINJA:
        yield from (f"jinja {name} {key}" for key in getattr(app.jinja_env, name))
    yield f"cookie {app.session_interface!r}"
    yield from receivers()


def receivers() -> Iterator[str]:
    for name, signal in (vars(flask.signals) | vars(checkout_signals)).items():
        if isinstance(signal, NamedSignal):
            yield from (f"receiver of {name} {key}" for key in signal.receivers)


def changes(app: Flask, adopt: Any) -> list[str]:
    """What `adopt()` added to, took from or altered in the app."""
    before = snapshot(app)
    adopt()
    return sorted(before ^ snapshot(app))
