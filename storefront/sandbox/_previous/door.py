"""The way in to /v1: who is asking, what they may do, and the number every answer carries."""

import hmac
import re
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.exceptions import NotFound

from storefront.sandbox._previous import switches
from storefront.sandbox._previous.settings import SandboxSettings
from storefront.sandbox._previous.store import ENVIRONMENT, current_store, ulid

Answer = tuple[Response, int]

# Beside the key of the settings there are two more, made of it: one that may only read, and one as operators
# put it in Flexprice's configuration file, which belongs to no environment.
READ_ONLY, OPERATOR = "_read_only", "_operator"

NEWEST_ONLY: set[Callable[..., Any]] = set()  # views the older generation does not have


def current_settings() -> SandboxSettings:
    settings: SandboxSettings = current_app.extensions["sandbox_settings"]
    return settings


def newest_only(view: Callable[..., Any]) -> Callable[..., Any]:
    NEWEST_ONLY.add(view)
    return view


def let_in() -> Answer | None:
    """In the order of the original: the route, the key, the environment, the tenant, the role."""
    with current_store().reading() as conn:
        generation, tenant = switches.read(conn, "generation"), switches.read(conn, "tenant")
    if generation == "legacy" and current_app.view_functions[request.endpoint or ""] in NEWEST_ONLY:
        raise NotFound
    role = _role(request.headers.get("x-api-key", ""))
    if role is None:
        return jsonify({"error": _why_not(request.headers.get("Authorization"))}), 401
    if role == OPERATOR and request.headers.get("X-Environment-ID") != ENVIRONMENT["environment_id"]:
        return jsonify({"error": "Access denied", "message": "Invalid or inaccessible environment"}), 403
    if is_read():
        return None
    if tenant == "suspended":
        return jsonify({"message": "tenant account is suspended"}), 403
    if role == READ_ONLY:
        return jsonify({"message": "insufficient permissions"}), 403
    return None


def is_read() -> bool:
    return request.method == "GET" or request.path.endswith("/search")


def _role(key: str) -> str | None:
    for role in ("", READ_ONLY, OPERATOR):
        if hmac.compare_digest(key.encode(), (current_settings().api_key + role).encode()):
            return role
    return None


def _why_not(authorization: str | None) -> str:
    """Flexprice takes only a dashboard's token as Bearer, never an API key."""
    if not authorization:
        return "Unauthorized"
    if not authorization.startswith("Bearer "):
        return "Invalid authorization header format"
    # A dashboard's token is a JWT. One of that form is read, and says nothing that is known here.
    looks_like_one = re.fullmatch(r"Bearer [\w-]+\.[\w-]+\.[\w-]*", authorization)
    return "Invalid token claims" if looks_like_one else "Invalid token"


def v1(name: str, module: str) -> Blueprint:
    bp = Blueprint(name, module, url_prefix="/v1")
    bp.before_request(let_in)
    return bp


def number_request() -> None:
    g.request_id = request.headers.get("X-Request-ID") or ulid()


def show_number(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id") or ulid()
    return response
