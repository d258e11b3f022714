"""What was done here and what came of it: calls that wrote or were refused, clicks on the payment page."""

import json
import re
from typing import Any

from flask import Flask, Response, g, request
from sqlalchemy import Connection, delete, func, select

from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.door import is_read
from storefront.sandbox._previous.schema import journal
from storefront.sandbox._previous.statements import row
from storefront.sandbox._previous.store import Body, current_store

KEPT = 5000  # rows
ENDS = ("completed", "failed", "expired")


def note(
    conn: Connection, what: str, session_id: str | None = None, status: int | None = None, **detail: Any
) -> None:
    noted = {"at": now(conn).timestamp(), "what": what, "session_id": session_id, "status": status}
    number = row(conn, journal, **noted, detail=json.dumps(detail))
    if number % 500 == 0:
        conn.execute(delete(journal).where(journal.c.id <= number - KEPT))


def register(app: Flask) -> None:
    app.after_request(_note_call)


def _note_call(response: Response) -> Response:
    """Reads that went well are not worth a line, unless they tell how a session ended; everything else is."""
    fault = g.get("fault")
    if not request.path.startswith("/v1/"):
        return response
    asked, answer = (_object(part) for part in (request, response))
    if is_read() and response.status_code < 400 and not fault and answer.get("checkout_status") not in ENDS:
        return response
    detail = {
        "fault": fault,
        "request_id": g.get("request_id"),
        "customer": asked.get("customer_external_id") or asked.get("external_id"),
        "key": asked.get("idempotency_key"),
        "code": answer.get("code"),
        "message": answer.get("message"),
    }
    with current_store().writing() as conn:
        note(
            conn,
            f"{request.method} {request.path}",
            _session_id(answer),
            response.status_code,
            # Whatever was sent: a NaN for a key would be JSON to Python and none to SQLite.
            **{name: value for name, value in detail.items() if isinstance(value, str)},
        )
    return response


def _object(part: Any) -> Body:
    try:
        body = part.get_json(force=True, silent=True)
    except RecursionError:
        body = None
    return body if isinstance(body, dict) else {}


def _session_id(answer: Body) -> str | None:
    named = re.search(r"/sessions/(\w+)", request.path)
    return named[1] if named else answer.get("id") if request.path.endswith("/sessions") else None


def newest(conn: Connection) -> int:
    return conn.execute(select(func.max(journal.c.id))).scalar() or 0
