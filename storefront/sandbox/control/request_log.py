"""What was done here and what came of it: calls that wrote or were refused, clicks on the payment page.

Lines about calls are kept in memory until the store is written to or its log is read.
"""

import re
import threading
from collections import defaultdict
from datetime import datetime
from typing import Any

from flask import Flask, Response, current_app, g, request

from ..api import auth
from ..api.serializers.common import Body
from ..engine.session_lifecycle import TERMINAL
from ..store.control_rows import LogLine
from ..store.database import Database, Session
from ..store.values import new_id
from .access import json_object

MAX_WAITING = 50


class Waiting:
    """Lines that are not stored yet, by store."""

    def __init__(self) -> None:
        self._lines: dict[str, list[LogLine]] = defaultdict(list)
        self._lock = threading.Lock()

    def add(self, store: str, line: LogLine) -> int:
        with self._lock:
            self._lines[store].append(line)
            return len(self._lines[store])

    def store(self, database: Database, store: str) -> None:
        """Stores the lines of a store that wait."""
        with self._lock:
            lines = self._lines.pop(store, [])
        if lines:
            with database.write(store) as session:
                for line in lines:
                    session.add(line)


def waiting() -> Waiting:
    found: Waiting = current_app.extensions["sandbox_log"]
    return found


def note(
    session: Session, what: str, session_id: str | None = None, status: int | None = None, **detail: Any
) -> None:
    """Adds a line to this transaction."""
    session.add(_line(session.now(), what, session_id, status, detail))


def _line(at: datetime, what: str, session_id: str | None, status: int | None, detail: Body) -> LogLine:
    return LogLine(id=new_id("log"), at=at, what=what, session_id=session_id, status=status, detail=detail)


def register(app: Flask) -> None:
    app.after_request(_note_call)


def _note_call(response: Response) -> Response:
    """Reads that succeed are left out, unless they tell how a session ended."""
    view = auth.database().view(g.store) if "store" in g else None
    if not request.path.startswith("/v1/") or view is None:
        return response
    fault = g.get("fault")
    quiet = auth.is_read() and response.status_code < 400 and not fault
    if quiet and "/checkout/sessions/" not in request.path:
        return response
    body = _answered(response)
    if quiet and body.get("checkout_status") not in TERMINAL:
        return response
    what = f"{request.method} {request.path}".replace("\x00", "")
    line = _line(view.now(), what, _session_id(body), response.status_code, _detail(fault, body))
    if waiting().add(g.store, line) >= MAX_WAITING:
        waiting().store(auth.database(), g.store)
    return response


def _detail(fault: str | None, body: Body) -> Body:
    sent = json_object() or {}
    detail = {
        "fault": fault,
        "request_id": g.get("request_id"),
        "customer": sent.get("customer_external_id") or sent.get("external_id"),
        "key": sent.get("idempotency_key"),
        "code": body.get("code"),
        "message": body.get("message"),
    }
    return {name: value.replace("\x00", "") for name, value in detail.items() if isinstance(value, str)}


def _answered(response: Response) -> Body:
    body = response.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else {}


def _session_id(body: Body) -> str | None:
    named = re.search(r"/sessions/(\w+)", request.path)
    return named[1] if named else body.get("id") if request.path.endswith("/sessions") else None
