"""Who is signed in, who may call us what, and where a browser may be sent."""

import logging
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import Flask, abort, current_app, flash, redirect, request, session, url_for
from flask_login import current_user, login_user, logout_user
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter, Map
from werkzeug.wrappers import Response

from storefront import shoppers
from storefront.database import writing
from storefront.extensions import csrf, login, settings
from storefront.models import Shopper
from storefront.web.words import _

log = logging.getLogger(__name__)

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
PAGE_OF = {
    "orders.status": "orders.failure",
    "orders.cancel": "orders.failure",
    "orders.start_again": "orders.failure",
    "qa.live": "qa.show",
    "qa.rows": "qa.index",
}
UNDER_ANY_NAME = {"webhooks.receive", "health.check"}  # the one is signed, the other tells nothing


def init_app(app: Flask) -> None:
    shop = app.config["SETTINGS"]
    app.config.update(
        # Cookies ignore ports: the sandbox next door has none. With __Host- no other host of the domain
        # can plant one, nor can plain http.
        SESSION_COOKIE_NAME="__Host-storefront" if shop.production else "storefront",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=shop.production,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        MAX_CONTENT_LENGTH=256 * 1024,
    )
    if proxies := shop.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, proxies, proxies, proxies)  # type: ignore[method-assign]
    app.before_request(operators_only)  # before the form guard, whose refusal would tell that there is a form
    csrf.init_app(app)
    login.init_app(app)
    login.session_protection = None  # it believes any X-Forwarded-For
    login.user_loader(shoppers.by_session_key)
    login.unauthorized_handler(to_sign_in)
    app.url_map.converters["int"] = RowNumber
    app.before_request(readable)
    app.before_request(one_host)
    app.add_template_test(is_payment_url, "payment_url")  # links are held to the same hosts


def operators_only() -> None:
    """To everybody else an operator's address is one that does not exist, whatever the method."""
    if request.path != "/operator" and not request.path.startswith("/operator/"):
        return
    if not (current_user.is_authenticated and current_user.is_operator):
        request.url_rule, request.routing_exception = None, NotFound()


def row_number(text: str) -> int:
    """A number that a row can have: a database is an error of ours beyond that."""
    number = int(text)
    if not 0 <= number < 2**31:
        raise ValueError(text)
    return number


class RowNumber(IntegerConverter):
    def __init__(self, url_map: Map, **options: Any) -> None:
        super().__init__(url_map, **{"max": 2**31 - 1} | options)


def readable() -> None:
    """PostgreSQL takes no text with a NUL in it, so no row has such a name and none is searched for."""
    if "\0" in request.path or "%00" in request.query_string.decode("latin-1"):
        abort(404)


def one_host() -> Response | None:
    """The shop answers under its own name only; a demo opened as `localhost` moves to where it lives."""
    home, here = name_in(settings().storefront_url), name_in(f"//{request.host}")
    if here == home or request.endpoint in UNDER_ANY_NAME:
        return None
    if request.method == "GET" and here in LOOPBACK and home in LOOPBACK:
        return redirect(settings().storefront_url + request.full_path.rstrip("?"), 302)
    log.warning("asked for as %r, which is not STOREFRONT_URL; behind a proxy, see TRUSTED_PROXIES", here)
    return abort(400)


@lru_cache(64)
def name_in(url: str) -> str | None:
    return urlsplit(url).hostname


def to_sign_in() -> Response:
    flash(_("Please sign in to go on."), "info")
    return redirect(url_for("account.sign_in", next=way_back()), 302)


def way_back() -> str:
    """The page a sign-in leads back to: a form's answer or a fragment is none."""
    if page := PAGE_OF.get(request.endpoint or ""):
        return url_for(page, **request.view_args or {})
    return request.full_path.rstrip("?") if request.method == "GET" else url_for("account.show")


def is_payment_url(url: str | None) -> bool:
    """May a shopper be sent there? The payment hosts and their subdomains, https but for loopback."""
    if not url or any(char in url for char in "\\\r\n\t @"):
        return False
    try:
        parts = urlsplit(url)
        where = parts.netloc.lower()
    except ValueError:
        return False
    for host in settings().payment_hosts:
        if parts.hostname in LOOPBACK:
            if parts.scheme in ("http", "https") and where == host:
                return True
        elif parts.scheme == "https" and (where == host or where.endswith(f".{host}")):
            return True
    return False


def safe_next(target: str | None) -> str:
    """A page of ours, or the start page: nobody is led elsewhere through `next`."""
    if not target or not target.startswith("/") or target.startswith("//"):
        return "/"
    if "\\" in target or not target.isprintable():
        return "/"
    try:
        adapter = current_app.create_url_adapter(request)
        assert adapter is not None  # noqa: S101 - there is a request
        adapter.match(unquote(urlsplit(target).path), method="GET")
    except (HTTPException, ValueError):
        return "/"
    return target


def start_session(shopper: Shopper) -> None:
    session.clear()  # nothing from before the sign-in goes on
    login_user(shopper)


def end_session() -> None:
    """In every browser: the cookie is a copy that others may have kept, so the key in it must end."""
    if current_user.is_authenticated:
        with writing():
            shoppers.sign_out(current_user)
    logout_user()
    session.clear()
