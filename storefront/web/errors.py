"""Exceptions to pages: what happened, whether money moved, what to do."""

import logging
import secrets
from typing import NamedTuple

from flask import Flask, Response, g, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, TooManyRequests

from storefront.catalog import CatalogUnavailable
from storefront.database import DATABASE_TROUBLE, DatabaseBusy
from storefront.extensions import login
from storefront.flexprice import FlexpriceError
from storefront.web.words import lazy, ngettext

log = logging.getLogger(__name__)


class Page(NamedTuple):
    status: int
    title: str
    message: str
    money: str = lazy("No money has moved.")


PAGES = {
    400: Page(
        400,
        lazy("We could not read that"),
        lazy("Something in the request was not as expected. Please go back and try again."),
    ),
    403: Page(
        403,
        lazy("This is not open to you"),
        lazy("Perhaps you are signed in under another address than the one it belongs to."),
    ),
    404: Page(404, lazy("Nothing here"), lazy("This page does not exist, or it belongs to somebody else.")),
    405: Page(
        405,
        lazy("Not this way"),
        lazy("This address cannot be opened like that. Please go back and use what is on the page."),
    ),
    413: Page(
        413, lazy("Too large"), lazy("What was sent is larger than we accept. Please go back and send less.")
    ),
    429: Page(
        429,
        lazy("A little slower, please"),
        lazy("Many requests came in a short time. Please try again in {}."),
        lazy("No money has moved by this request. A payment you made before is not lost."),
    ),
    500: Page(
        500,
        lazy("Something broke on our side"),
        lazy("We are sorry. Your orders are safe, and what happened is in our log."),
        lazy("If you have just paid, your payment is not lost."),
    ),
    503: Page(
        503,
        lazy("Payments are not available right now"),
        lazy("We cannot reach our payment service. Please try again in a minute."),
        lazy("No money has moved."),
    ),
}
BUSY = Page(
    503,
    lazy("Very busy just now"),
    lazy("Please try again in a moment."),
    lazy("No money has moved by this request."),
)
AWAY = Page(
    503,
    lazy("We cannot reach our records just now"),
    lazy("Please try again in a moment."),
    lazy("If you have just paid, your payment is not lost."),
)
EXPIRED_FORM = Page(
    400, lazy("This form is too old"), lazy("Please go back, reload the page and send it again.")
)


def init_app(app: Flask) -> None:
    app.register_error_handler(CSRFError, lambda error: show(EXPIRED_FORM))
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(DatabaseBusy, database_busy)
    for trouble in DATABASE_TROUBLE:
        app.register_error_handler(trouble, database_trouble)
    app.register_error_handler(FlexpriceError, flexprice_trouble)
    app.register_error_handler(CatalogUnavailable, lambda error: show(PAGES[503], retry_after=30))
    app.register_error_handler(Exception, our_fault)


def http_error(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error
    if isinstance(error, TooManyRequests):
        return too_many(error)
    return show(PAGES.get(error.code, PAGES[400]._replace(status=error.code)))


def too_many(error: TooManyRequests) -> Response:
    seconds = error.retry_after if isinstance(error.retry_after, int) else 60
    minutes = -(-seconds // 60)
    page = PAGES[429]
    message = page.message.format(ngettext("a minute", "%(num)d minutes", minutes) % {"num": minutes})
    return show(page._replace(message=message), retry_after=seconds)


def flexprice_trouble(error: FlexpriceError) -> Response:
    log.warning("Flexprice: %s (request %s)", error, error.request_id)
    return show(PAGES[503], retry_after=30)


def database_busy(error: DatabaseBusy) -> Response:
    log.warning("the database is busy at %s: %s", request.path, error)
    return show_to_anybody(BUSY, retry_after=1)


def database_trouble(error: SQLAlchemyError) -> Response:
    """Away, full, read-only, or without a table. What was to be written is not; a webhook comes again."""
    log.error("the database cannot be used: %s", request.path, exc_info=error)
    return show_to_anybody(AWAY, retry_after=2)


def show_to_anybody(page: Page, retry_after: int) -> Response:
    """Without a look at who is signed in: that would be another wait for the same database."""
    g._login_user = login.anonymous_user()
    return show(page, retry_after)


def our_fault(error: Exception) -> Response:
    reference = secrets.token_hex(4)
    log.error("error %s at %s", reference, request.path, exc_info=error)
    return show(PAGES[500], reference=reference)


def show(page: Page, retry_after: int | None = None, reference: str | None = None) -> Response:
    body = render_template("errors/error.html", **page._asdict(), reference=reference)
    response = make_response(body, page.status)
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response
