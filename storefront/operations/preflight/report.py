"""All go-live checks, in the order of the report."""

import logging
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from storefront.checkout.context import db_now, rollback
from storefront.extensions import settings
from storefront.operations import heartbeat
from storefront.operations.preflight import (
    billing_checks,
    flexprice_checks,
    self_test,
    settings_checks,
    shop_checks,
)
from storefront.operations.preflight.result import BY_HAND, FAILS, Check, Context, Result

log = logging.getLogger(__name__)

NOT_FROM_A_PAGE = "Not checked: this page only looks. The command checks it: flask --app wsgi preflight"

CHECKS = (
    Check("Address of the shop", settings_checks.address),
    Check("Not the sandbox", settings_checks.not_the_sandbox),
    Check("Webhook secret", settings_checks.webhook_secret),
    Check("API key", flexprice_checks.api_key),
    Check("API key may write", flexprice_checks.may_write, acts=True),
    Check("Environment", flexprice_checks.environment),
    Check("Offers", flexprice_checks.offers),
    Check("Clock", flexprice_checks.clock),
    Check("Later invoices", billing_checks.invoices),
    Check("Database", shop_checks.database),
    Check("Database can be written", shop_checks.writable, acts=True),
    Check("Worker", shop_checks.worker),
    Check("Email", shop_checks.email, acts=True),
    Check("Webhook endpoint", self_test.webhook_endpoint, acts=True),
    Check("Cookies and headers", self_test.cookies_and_headers, acts=True),
    Check("To check by hand", settings_checks.by_hand),
)


def run(*, act: bool) -> list[Result]:
    """Run all checks; one that breaks is one line and hides no other.

    :param act: also those that send a request or write a row.
    """
    try:
        alive, now = heartbeat.is_alive(), db_now()
    except SQLAlchemyError:  # one of the checks says so
        rollback()
        alive, now = False, _own_clock()
    context = Context(settings(), alive, now)
    return [result for check in CHECKS for result in _results(check, context, act)]


def _own_clock() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _results(check: Check, context: Context, act: bool) -> list[Result]:
    if check.acts and not act:
        return [Result(check.title, BY_HAND, NOT_FROM_A_PAGE, "")]
    try:
        return [Result(check.title, *finding) for finding in check.look(context)]
    except Exception as error:
        rollback()
        log.exception("The check %r failed", check.title)
        message = f"The check itself failed: {type(error).__name__}."
        return [Result(check.title, FAILS, message, "See the log, and report it.")]
