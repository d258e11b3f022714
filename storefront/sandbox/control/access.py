"""Whose store a control call is about, what was sent, and how it is answered."""

from collections.abc import Collection
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue

from ..api import auth
from ..api.serializers.common import Body
from ..engine.errors import invalid

HOME = "/_sandbox/"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def choose_store() -> tuple[Response, int] | None:
    """The key in `x-api-key` names the store; without one it is the default store."""
    key = request.headers.get("x-api-key", "")
    found = auth.caller(key) if key else auth.Caller(auth.DEFAULT_STORE, "")
    if found is None:
        return jsonify({"error": "Unauthorized"}), 401
    g.store = found.store
    auth.ensure_store(found.store)
    current_app.extensions["sandbox_log"].store(auth.database(), found.store)
    return None


def control(name: str, module: str, prefix: str = HOME.rstrip("/")) -> Blueprint:
    """A blueprint below /_sandbox for the store of the caller's key."""
    blueprint = Blueprint(name, module, url_prefix=prefix)
    blueprint.before_request(choose_store)
    return blueprint


def asked() -> Body:
    """JSON whatever its content type says, so that a bare `curl -d` works; else a form's fields."""
    body = json_object()
    return request.form.to_dict() if body is None else body


def json_object() -> Body | None:
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:
        body = None
    return body if isinstance(body, dict) else None


def answer(body: Any) -> ResponseReturnValue:
    """JSON; a form is sent back to the page it came from."""
    if not request.form or json_object() is not None:
        return jsonify(body)
    back = request.form.get("back", HOME)
    return redirect(back if back.startswith(HOME) else HOME, 303)


def one_of(body: Body, name: str, known: Collection[str]) -> str:
    """:raises Refusal: it is none of these; names those that are allowed."""
    value = body.get(name)
    if not isinstance(value, str) or value not in known:
        raise invalid(f"No such {name}", allowed_values=list(known))
    return value


def number(body: Body, name: str, at_most: float) -> float | None:
    """A number from 0; None if there is none.

    :raises Refusal: it is no number, or too large.
    """
    try:
        value = float(body[name]) if body.get(name) not in (None, "") else None
    except (TypeError, ValueError):
        raise invalid(f"{name} is a number") from None
    if value is not None and not 0 <= value <= at_most:
        raise invalid(f"{name} is between 0 and {at_most:g}")
    return value


def scope(body: Body) -> Body:
    """`session`, `customer`, `times`, `seconds` of an override; `target` is an id of either kind."""
    times = number(body, "times", 1_000_000)
    found: Body = {"times": int(times) if times else None, "seconds": number(body, "seconds", 86400)}
    target = str(body.get("target") or "").strip()
    named = {"session" if target.startswith("cs_") else "customer": target} if target else {}
    for name in ("session", "customer"):
        found[name] = str(body.get(name) or "").strip() or named.get(name)
    return found
