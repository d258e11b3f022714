"""The way in to /v1: who is asking, and the number every answer carries."""

import hmac

from flask import Blueprint, Response, current_app, g, jsonify, request

from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store import ulid


def current_settings() -> SandboxSettings:
    settings: SandboxSettings = current_app.extensions["sandbox_settings"]
    return settings


def require_api_key() -> tuple[Response, int] | None:
    key = request.headers.get("x-api-key", "")
    if hmac.compare_digest(key.encode(), current_settings().api_key.encode()):
        return None
    return jsonify({"error": _why_not(request.headers.get("Authorization"))}), 401


def _why_not(authorization: str | None) -> str:
    """Flexprice takes only a dashboard's token as Bearer, never an API key."""
    if not authorization:
        return "Unauthorized"
    if not authorization.startswith("Bearer "):
        return "Invalid authorization header format"
    return "Invalid token"


def v1(name: str, module: str) -> Blueprint:
    bp = Blueprint(name, module, url_prefix="/v1")
    bp.before_request(require_api_key)
    return bp


def number_request() -> None:
    g.request_id = request.headers.get("X-Request-ID") or ulid()


def show_number(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id") or ulid()
    return response
