"""Who is signed in, what a browser may load, and where it may be sent."""

from urllib.parse import urlsplit

from flask import Flask, Response, redirect, request, session
from flask_login import login_user, logout_user
from werkzeug.wrappers import Response as WerkzeugResponse

from storefront import shoppers
from storefront.extensions import csrf, login, settings
from storefront.models import Shopper

HTMX = "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def init_app(app: Flask) -> None:
    shop = app.config["SETTINGS"]
    app.config.update(
        SESSION_COOKIE_NAME="storefront",  # cookies ignore ports: the sandbox next door has none
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=shop.production,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        MAX_CONTENT_LENGTH=256 * 1024,
    )
    csrf.init_app(app)
    login.init_app(app)
    login.login_view = "account.sign_in"
    login.login_message = "Please sign in to go on."
    login.login_message_category = "info"
    login.user_loader(shoppers.by_session_key)
    app.before_request(one_host)
    app.after_request(headers)
    app.add_template_test(is_payment_url, "payment_url")  # links are held to the same hosts


def one_host() -> WerkzeugResponse | None:
    """The session cookie belongs to one host: a demo opened as `localhost` moves to where it lives."""
    home = urlsplit(settings().storefront_url)
    here = urlsplit(request.host_url)
    if request.method != "GET" or here.hostname == home.hostname or here.hostname not in LOOPBACK:
        return None
    if home.hostname not in LOOPBACK or request.path == "/healthz":
        return None
    return redirect(settings().storefront_url + request.full_path.rstrip("?"), 302)


def headers(response: Response) -> Response:
    payment = " ".join(origin for host in settings().payment_hosts for origin in _origins(host))
    response.headers.setdefault(
        "Content-Security-Policy",
        f"default-src 'none'; script-src 'self' {HTMX}; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'; form-action 'self' {payment}; base-uri 'none'; frame-ancestors 'none'",
    )
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")
    if settings().production:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


def _origins(host: str) -> tuple[str, ...]:
    """Chromium drops the 303 after a POST to a host that form-action does not list (decision 16)."""
    if urlsplit(f"//{host}").hostname in LOOPBACK:
        return (f"http://{host}",)
    return (f"https://{host}", f"https://*.{host}")


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
    """A path of ours, or the start page: nobody is led elsewhere through `next`."""
    if not target or not target.startswith("/") or target.startswith("//"):
        return "/"
    return "/" if any(char in target for char in "\\\r\n\t") else target


def start_session(shopper: Shopper) -> None:
    session.clear()  # nothing from before the sign-in goes on
    login_user(shopper)


def end_session() -> None:
    logout_user()
    session.clear()
