"""Request ids, and log lines that name the route of a request, never its path: that may contain a token."""

import logging
import re
import secrets
from typing import Any

from flask import Flask, Response, g, has_request_context, request

FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s %(route)s] %(message)s"
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Control characters and line separators as \x0d and so on: text from outside cannot forge a line.
ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def configure(level: int = logging.INFO) -> None:
    """Log to standard error in our format."""
    handler = logging.StreamHandler()
    handler.addFilter(RequestFields())
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def init_app(app: Flask) -> None:
    app.after_request(send_id)


def send_id(response: Response) -> Response:
    response.headers["X-Request-ID"] = request_id()
    return response


def request_id() -> str:
    """The id that a proxy has given, if it is well formed; else a random one. "-" outside a request."""
    if not has_request_context():
        return "-"
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(12)
    return str(g.request_id)


def route() -> str:
    """Method and route, such as `GET /reset-password/<token>`; "-" outside a request."""
    if not has_request_context():
        return "-"
    method = request.method if request.method.isalpha() else "?"
    return f"{method} {request.url_rule.rule if request.url_rule else 'no route'}"


class RequestFields(logging.Filter):
    """Gives every record `request_id` and `route`, whichever library wrote it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id, record.route = request_id(), route()
        return True


class OneLine(logging.Formatter):
    """A message stays on one line; a traceback follows on lines of its own, which begin with spaces.

    The message of an exception may hold text from outside: indented, it cannot pass for a line of the log.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(ESCAPES)

    def formatException(self, ei: Any) -> str:
        lines = super().formatException(ei).splitlines()  # at every kind of line separator
        return "\n".join(f"  {line.translate(ESCAPES)}" for line in lines)
