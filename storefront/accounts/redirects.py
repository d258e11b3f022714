"""Where a sign-in leads: to a page of this shop, and nowhere else. What a session keeps."""

from urllib.parse import unquote, urlsplit

from flask import current_app, flash, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from werkzeug.exceptions import HTTPException

from storefront.checkout.context import host_of


def safe_next(target: str | None) -> str:
    """`target` when it is the address of a page of this shop, else the start page."""
    if not target or not target.startswith("/") or target.startswith("//"):
        return "/"
    if "\\" in target or not target.isprintable():
        return "/"
    adapter = current_app.create_url_adapter(request)
    try:
        assert adapter is not None  # noqa: S101 - there is a request
        adapter.match(unquote(urlsplit(target).path), method="GET")
    except (HTTPException, ValueError):
        return "/"
    return target


def clear_session() -> None:
    """Forget everything of this browser but the language that was chosen in it."""
    language = session.get("language")
    session.clear()
    if language:
        session["language"] = language


def page_before() -> str:
    """The page of this shop that a form was on, else the start page."""
    if host_of(request.referrer) != request.host:  # Referrer-Policy is same-origin
        return "/"
    parts = urlsplit(request.referrer or "")
    return safe_next(f"{parts.path}?{parts.query}".rstrip("?"))


def way_back() -> str:
    """The page that a sign-in leads back to: never a form's answer, nor a fragment of a page."""
    page = request.headers.get("HX-Current-URL")
    if host_of(page):
        parts = urlsplit(page or "")
        return safe_next(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    return request.full_path.rstrip("?") if request.method == "GET" else url_for("accounts.show")


def to_sign_in() -> ResponseReturnValue:
    """What a page that needs an account answers to a visitor without one."""
    flash(_("Sign in to continue."), "info")
    return redirect(url_for("accounts.sign_in", next=way_back()), 302)
