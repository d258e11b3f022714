"""Exceptions to pages: what happened, what this request did, and what to do next."""

import logging
import secrets
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Flask, Response, g, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as lazy
from flask_babel import ngettext
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, TooManyRequests

from storefront.accounts.redirects import safe_next
from storefront.checkout.context import host_of, rollback
from storefront.extensions import limiter, login
from storefront.flexprice import FlexpriceError

log = logging.getLogger(__name__)

DATABASE_ERRORS = (OperationalError, InterfaceError, InternalError, DisconnectionError, PoolTimeout)
RETRY_SOON_S, RETRY_FLEXPRICE_S = 2, 30


class Page(NamedTuple):
    """What an error page says; `action` is its first button, see `next_step`."""

    status: int
    title: str
    message: str
    action: str = "back"


PAGES = {
    400: Page(
        400,
        lazy("Request not understood"),
        lazy("Something in the request was not as expected. Go back and try again."),
    ),
    401: Page(401, lazy("Sign in to continue"), lazy("This page needs an account."), "sign_in"),
    403: Page(
        403,
        lazy("Access denied"),
        lazy("Are you signed in with the account that this page belongs to?"),
        "orders",
    ),
    404: Page(
        404,
        lazy("Page not found"),
        lazy("This page does not exist, or it belongs to another account."),
        "plans",
    ),
    405: Page(
        405,
        lazy("Method not allowed"),
        lazy("This address cannot be opened like that. Go back and use the buttons on the page."),
    ),
    413: Page(413, lazy("Too large"), lazy("The form is larger than we accept. Go back and send less.")),
    429: Page(
        429,
        lazy("Too many requests"),
        lazy("Many requests came in a short time. Try again in %(time)s."),
        "retry",
    ),
    500: Page(500, lazy("Something went wrong"), lazy("We are sorry. The error is in our log."), "retry"),
    503: Page(
        503,
        lazy("Not available at the moment"),
        lazy("We cannot reach our payment service. Try again in a minute."),
        "retry",
    ),
}
DATABASE_AWAY = Page(
    503,
    lazy("Not available at the moment"),
    lazy("We cannot reach our database. Try again in a moment."),
    "retry",
)
EXPIRED_FORM = Page(
    400, lazy("This form has expired"), lazy("Open the page again and send it once more."), "reload"
)
NO_COOKIES = Page(
    400,
    lazy("Cookies are needed"),
    lazy("Your browser did not send our cookie. Allow cookies for this shop, then send the form again."),
    "reload",
)
STEPS = {
    "back": lazy("Go back"),
    "reload": lazy("Open the page again"),
    "retry": lazy("Try again"),
    "sign_in": lazy("Sign in"),
    "orders": lazy("See your orders"),
    "plans": lazy("See all plans"),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(CSRFError, form_refused)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(FlexpriceError, flexprice_failed)
    for error in DATABASE_ERRORS:
        app.register_error_handler(error, database_failed)
    app.register_error_handler(DBAPIError, database_error)
    app.register_error_handler(Exception, unexpected)


def http_error(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error
    if isinstance(error, TooManyRequests):
        return too_many(error)
    return show(PAGES.get(error.code, PAGES[400]._replace(status=error.code)))


def too_many(_error: TooManyRequests) -> Response:
    seconds = seconds_until_allowed()
    minutes = -(-seconds // 60)
    page = PAGES[429]
    wait = ngettext("a minute", "%(num)d minutes", minutes)
    message = _("Many requests came in a short time. Try again in %(time)s.", time=wait)
    return show(page._replace(message=message), retry_after_s=seconds)


def seconds_until_allowed() -> int:
    limit = limiter.current_limit
    return max(1, int(limit.reset_at - time.time())) if limit else 60


def form_refused(_error: CSRFError) -> Response:
    return show(EXPIRED_FORM if request.cookies else NO_COOKIES)


def flexprice_failed(error: FlexpriceError) -> Response:
    log.warning("Flexprice could not be asked: %s (request %s)", error, error.request_id)
    return show(PAGES[503], retry_after_s=RETRY_FLEXPRICE_S)


def database_failed(error: Exception) -> Response:
    """Away, full, locked or without a table. Nothing was written; Flexprice delivers a webhook again."""
    log.error("The database cannot be used", exc_info=error)
    give_up_database()
    return show(DATABASE_AWAY, retry_after_s=RETRY_SOON_S)


def database_error(error: DBAPIError) -> Response:
    """A lost connection appears as any error of the driver."""
    return database_failed(error) if error.connection_invalidated else unexpected(error)


def unexpected(error: Exception) -> Response:
    reference = secrets.token_hex(4)
    log.error("Error %s", reference, exc_info=error)
    rollback()
    return show(PAGES[500], reference=reference)


def give_up_database() -> None:
    """The error page must not wait for the same database again to learn who is signed in."""
    rollback()
    g._login_user = login.anonymous_user()


def show(page: Page, retry_after_s: int | None = None, reference: str = "") -> Response:
    label, address = next_step(page.action)
    body = render_template(
        "errors/error.html", **page._asdict(), reference=reference, next_label=label, next_url=address
    )
    response = make_response(body, page.status)
    if retry_after_s:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def next_step(action: str) -> tuple[str, str]:
    """The label and the address of the first button. Asks neither the database nor who is signed in."""
    if action in ("sign_in", "orders", "plans"):
        endpoints = {"sign_in": "accounts.sign_in", "orders": "accounts.show", "plans": "checkout.plans"}
        return str(STEPS[action]), url_for(endpoints[action])
    if action == "retry" and request.method == "GET":
        return str(STEPS["retry"]), safe_next(request.full_path.rstrip("?"))
    if host_of(request.referrer) != request.host:  # of this shop only: Referrer-Policy is same-origin
        return str(STEPS["plans"]), url_for("checkout.plans")
    came_from = urlsplit(request.referrer or "")
    label = STEPS["back"] if action == "retry" else STEPS[action]
    return str(label), safe_next(f"{came_from.path}?{came_from.query}".rstrip("?"))
