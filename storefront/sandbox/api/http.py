"""What Flexprice's HTTP server does around its routes, and which hosts the sandbox answers."""

import ipaddress
import re
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as BaseResponse

from ..settings import SandboxSettings
from ..store.values import ulid
from . import auth

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Expose-Headers": "*",
}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CONTROL = "/_sandbox"
OWN_PAGES = ("/_sandbox", "/pay", "/static")


def register(app: Flask) -> None:
    app.before_request(refuse_other_hosts)
    app.before_request(refuse_other_sites)
    app.before_request(_answer_as_the_router)
    app.after_request(_add_headers)
    app.add_url_rule("/health", "sandbox_health", lambda: {"status": "ok"}, methods=["GET"])


# Hosts and origins: a page elsewhere must not reach the control API by DNS rebinding or by a form.


def refuse_other_hosts() -> Response | None:
    """Answers loopback, IP addresses, names without a dot, and the configured names."""
    if is_known_host(request.host, auth.settings()):
        return None
    return Response("This host is not served: set SANDBOX_ALLOWED_HOSTS.\n", 400, content_type="text/plain")


def is_known_host(host: str, settings: SandboxSettings) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    known = {urlsplit(settings.url).hostname, *(one.lower() for one in settings.allowed_hosts)}
    return name in known or _is_local(name)


def _is_local(name: str) -> bool:
    if name.endswith(".localhost") or ("." not in name and re.fullmatch(r"[\w-]+", name)):
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def refuse_other_sites() -> Response | None:
    """A control call that changes something must not come from a page of another site."""
    if not request.path.startswith(CONTROL) or request.method in SAFE_METHODS:
        return None
    origin = request.headers.get("Origin")
    own = (request.host, urlsplit(auth.settings().url).netloc)
    foreign = origin is not None and origin.partition("://")[2] not in own
    if foreign or request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return Response("The control API accepts pages of this host and scripts only.\n", 403)
    return None


# The router.


def _answer_as_the_router() -> BaseResponse | None:
    """OPTIONS 200 on any path; HEAD 404; a trailing slash on a known route redirects."""
    g.request_id = request.headers.get("X-Request-ID") or ulid()
    if request.path.startswith(OWN_PAGES):
        return None
    if request.method == "OPTIONS":
        return Response("", 200)
    if request.method == "HEAD":
        return Response("404 page not found", 404, content_type="text/plain")
    return _without_slash() if request.path.endswith("/") and request.path != "/" else None


def _without_slash() -> BaseResponse | None:
    """GET 301, other methods 307, without a request id."""
    path = request.path.rstrip("/")
    adapter = current_app.create_url_adapter(request)
    try:
        if adapter is None:
            return None
        adapter.match(path, method=request.method)
    except (HTTPException, RequestRedirect):
        return None
    g.pop("request_id", None)
    query = request.query_string.decode("latin-1")
    return redirect(f"{path}?{query}" if query else path, 301 if request.method == "GET" else 307)


def _add_headers(response: Response) -> Response:
    if "request_id" in g:
        response.headers["X-Request-ID"] = g.request_id
    if request.path.startswith(OWN_PAGES):
        return response
    response.headers.extend(CORS)
    if response.mimetype == "application/json":
        response.headers["Content-Type"] = "application/json; charset=utf-8"
    return response
