"""Refusals, unknown routes and failures as HTTP answers."""

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from ..engine.errors import Refusal


def register(app: Flask) -> None:
    app.register_error_handler(Refusal, refusal)
    for status in (404, 405):
        app.register_error_handler(status, unknown_route)


def refusal(error: Refusal) -> tuple[Response, int]:
    return jsonify(error.body()), error.status


def unknown_route(_error: HTTPException) -> Response:
    """Flexprice's router answers plain text without an envelope, before it looks at a key."""
    return Response("404 page not found", status=404, content_type="text/plain")
