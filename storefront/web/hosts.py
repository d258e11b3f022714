"""Proxies in front, the host names the shop answers to, and addresses that no page can have."""

import logging
from urllib.parse import urlsplit

from flask import Flask, abort, current_app, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter, Map

from storefront.checkout.context import words
from storefront.extensions import settings
from storefront.flexprice import is_loopback

log = logging.getLogger(__name__)

MAX_ROW_ID = 2**31 - 1  # an INTEGER column of PostgreSQL holds no more
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
ANY_HOST_PATHS = {"/healthz"}  # asked by load balancers, by address
WEBHOOK = "checkout.webhook"  # signed, so the host proves nothing


def init_app(app: Flask) -> None:
    if proxies := app.config["SETTINGS"].trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, proxies, proxies, proxies)  # type: ignore[method-assign]
    app.url_map.converters["int"] = RowId
    # Before the checks of Flask-WTF and Flask-Limiter, which are registered already.
    app.before_request_funcs.setdefault(None, [])[:0] = [refuse_unreadable, check_host]


class RowId(IntegerConverter):
    """`<int:…>` in a route: a number that an id can have; a larger one is a database error."""

    def __init__(self, url_map: Map, **options: object) -> None:
        super().__init__(url_map, **({"max": MAX_ROW_ID} | options))  # type: ignore[arg-type]


def refuse_unreadable() -> None:
    """Line breaks belong in no address, and PostgreSQL stores no text with a NUL."""
    if any(ord(character) < 32 or ord(character) == 127 for character in request.path):
        abort(404)
    if "%00" in request.query_string.decode("latin-1"):
        abort(404)
    is_form = request.mimetype in FORMS and request.endpoint != WEBHOOK
    if is_form and any("\0" in value for value in request.form.values()):
        abort(400)


def check_host() -> ResponseReturnValue | None:
    """Answer under the names in CHECKOUT_ALLOWED_HOSTS only.

    A page elsewhere whose name is made to mean this machine (DNS rebinding) must learn nothing. A demo that
    is opened as `localhost` is redirected to its own name, because cookies and return addresses belong to it.
    """
    if request.endpoint == WEBHOOK or request.path in ANY_HOST_PATHS:
        return None
    here, allowed = host_name(request.host), allowed_hosts()
    if here in allowed:
        return None
    shop_url, local = settings().storefront_url, here is not None and is_loopback(f"//{request.host}")
    if request.method in ("GET", "HEAD") and local and is_loopback(shop_url):
        return redirect(shop_url + request.full_path.rstrip("?"), 302)
    log.warning("Refused host %r: not in CHECKOUT_ALLOWED_HOSTS. Behind a proxy, see TRUSTED_PROXIES", here)
    return "This shop has another address.", 400, {"Content-Type": "text/plain; charset=utf-8"}


def allowed_hosts() -> set[str | None]:
    return {host_name(host) for host in words(current_app.config["CHECKOUT_ALLOWED_HOSTS"])}


def host_name(host: str) -> str | None:
    """The name in a Host header, in one spelling: no port, lower case, no final dot, IDNA.

    :returns: None when it cannot be read.
    """
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # reading it checks it
    except ValueError:
        return None
    if parts.netloc != host or "@" in host:
        return None
    name = (parts.hostname or "").removesuffix(".")
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return None
