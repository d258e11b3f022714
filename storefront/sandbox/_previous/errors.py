"""How Flexprice says no."""

from typing import Any

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

STATUS = {
    "validation_error": 400,
    "invalid_operation": 400,
    "not_found": 404,
    "already_exists": 409,
    "internal_error": 500,
    "database_error": 500,
    "not_implemented": 501,
}


class Refusal(Exception):
    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def response(self) -> tuple[Response, int]:
        status = STATUS[self.code]
        body = {"code": self.code, "message": self.message, "http_status_code": status}
        return jsonify(body | ({"details": self.details} if self.details else {})), status


def not_found(message: str, **details: Any) -> Refusal:
    return Refusal("not_found", message, **details)


def invalid(message: str, **details: Any) -> Refusal:
    return Refusal("validation_error", message, **details)


def register(app: Flask) -> None:
    app.register_error_handler(Refusal, lambda refusal: refusal.response())
    # Flexprice's router knows no 405 and gives no envelope: a plain 404, before any key is looked at.
    for status in (404, 405):
        app.register_error_handler(status, _no_such_route)


def _no_such_route(_error: HTTPException) -> Response:
    return Response("404 page not found", status=404, content_type="text/plain")
