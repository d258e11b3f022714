"""What was done here and what came of it: calls that wrote or were refused, clicks on the payment page."""

import re
from typing import Any

from flask import Flask, Response, g, request

from ..api import auth
from ..api.serializers.common import Body
from ..store.control_rows import LogLine
from ..store.database import Session
from ..store.values import new_id
from .access import json_object

TERMINAL = ("completed", "failed", "expired")


def note(
    session: Session, what: str, session_id: str | None = None, status: int | None = None, **detail: Any
) -> None:
    """Adds a line."""
    line = LogLine(
        id=new_id("log"), at=session.now(), what=what, session_id=session_id, status=status, detail=detail
    )
    session.add(line)


def register(app: Flask) -> None:
    app.after_request(_note_call)


def _note_call(response: Response) -> Response:
    """Reads that succeed are left out, unless they tell how a session ended."""
    if not request.path.startswith("/v1/") or "store" not in g:
        return response
    fault, body = g.get("fault"), _answered(response)
    told_end = body.get("checkout_status") in TERMINAL
    if auth.is_read() and response.status_code < 400 and not fault and not told_end:
        return response
    sent = json_object() or {}
    detail = {
        "fault": fault,
        "request_id": g.get("request_id"),
        "customer": sent.get("customer_external_id") or sent.get("external_id"),
        "key": sent.get("idempotency_key"),
        "code": body.get("code"),
        "message": body.get("message"),
    }
    kept = {name: value.replace("\x00", "") for name, value in detail.items() if isinstance(value, str)}
    if auth.database().known(g.store):
        with auth.database().write(g.store) as session:
            what = f"{request.method} {request.path}".replace("\x00", "")
            note(session, what, _session_id(body), response.status_code, **kept)
    return response


def _answered(response: Response) -> Body:
    body = response.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else {}


def _session_id(body: Body) -> str | None:
    named = re.search(r"/sessions/(\w+)", request.path)
    return named[1] if named else body.get("id") if request.path.endswith("/sessions") else None
