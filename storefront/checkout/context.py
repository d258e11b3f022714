"""The checkout as installed in the current app: its models, client, database session and addresses."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from blinker import NamedSignal
from flask import Flask, current_app, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import text, update
from sqlalchemy.orm import Session, scoped_session

from ..flexprice import AuthenticationError, Client, InvalidSecret, SharedHeader, WebhookVerifier, is_loopback
from .models import Customer, WebhookEventMixin
from .offers import Catalog, Offer, PlanOnSale
from .signals import flexprice_called

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

PAYMENT_HOSTS = ("razorpay.com", "rzp.io")
PAGE_TIMEOUT_S = (1.5, 2.5)  # to connect, to read: a page waits no longer than 4 s for Flexprice
_AFTER_COMMIT = "checkout_after_commit"
_DATABASE_CLOCK = text("SELECT clock_timestamp() AT TIME ZONE 'utc'")
_READ_CLOCK = "checkout_clock"


@dataclass
class Hooks:
    """The functions of the host app, see the decorators of `Checkout`."""

    customer_loader: Callable[[], Customer | None] = lambda: None
    before_start: list[Callable[[Customer, Offer], ResponseReturnValue | None]] = field(default_factory=list)
    on_order_created: Callable[[Any], None] = lambda order: None
    on_fulfill: Callable[[Any], None] = lambda order: None
    on_revoke: Callable[[Any], None] = lambda order: None
    # For an extension beside the checkout, such as subscriptions/:
    on_event: list[Callable[[WebhookEventMixin], None]] = field(default_factory=list)  # in its transaction
    more_work: list[Callable[[int], int]] = field(default_factory=list)  # of a turn of the worker
    trial_offered: Callable[[PlanOnSale, Offer], datetime | None] = lambda plan, offer: None  # for the pages


@dataclass
class Installation:
    """The checkout in one app: `app.extensions["checkout"]`."""

    app: Flask
    db: Any
    Order: Any
    WebhookEvent: Any
    hooks: Hooks
    max_concurrent: int

    @cached_property
    def client(self) -> Client:
        """The Flexprice client, made when it is first needed: the app's own tests need no key.

        :raises AuthenticationError: FLEXPRICE_API_URL or FLEXPRICE_API_KEY is not set.
        """
        config = self.app.config
        if not config.get("FLEXPRICE_API_URL") or not config.get("FLEXPRICE_API_KEY"):
            raise AuthenticationError("FLEXPRICE_API_URL or FLEXPRICE_API_KEY is not set")
        return Client(
            config["FLEXPRICE_API_URL"],
            config["FLEXPRICE_API_KEY"],
            environment_id=config.get("FLEXPRICE_ENVIRONMENT_ID"),
            max_concurrent=self.max_concurrent,
            event_hooks={"response": [lambda call: send(flexprice_called, call=call)]},
        )

    @cached_property
    def catalog(self) -> Catalog:
        """What is for sale."""
        return Catalog(lambda: self.client.list_plans(timeout=PAGE_TIMEOUT_S), moved_by)

    @cached_property
    def verifier(self) -> WebhookVerifier | None:
        """None without a usable FLEXPRICE_WEBHOOK_SECRET: then no signed webhook is accepted."""
        secrets = str(self.app.config.get("FLEXPRICE_WEBHOOK_SECRET") or "").split()
        try:
            return WebhookVerifier(secrets) if secrets else None
        except InvalidSecret as error:
            log.error("FLEXPRICE_WEBHOOK_SECRET cannot be used: %s", error)
            return None

    @cached_property
    def shared_header(self) -> SharedHeader | None:
        """FLEXPRICE_WEBHOOK_HEADER ("Name: value"), for a self-hosted Flexprice that does not sign."""
        name, _, value = str(self.app.config.get("FLEXPRICE_WEBHOOK_HEADER") or "").partition(":")
        return SharedHeader(name.strip(), value.strip()) if name.strip() and value.strip() else None


def checkout() -> Installation:
    """Return the checkout of the current app."""
    return cast(Installation, current_app.extensions["checkout"])


def session() -> scoped_session[Session]:
    """Return the app's database session."""
    return cast("scoped_session[Session]", checkout().db.session)


def load(model: Any, key: object) -> Any:
    """The row with this primary key, read again from the database. (`get_one` needs SQLAlchemy 2.0.22.)

    :raises LookupError: there is none.
    """
    found = session().get(model, key, populate_existing=True)
    if found is None:
        raise LookupError(f"{model.__name__} {key} does not exist")
    return found


def db_now() -> datetime:
    """The database's clock as naive UTC: web servers and workers may disagree about the time.

    PostgreSQL is asked once in each transaction: those of the checkout are short.
    """
    if session().get_bind().dialect.name != "postgresql":
        return datetime.now(UTC).replace(tzinfo=None)
    connection = session().connection()  # another object in each transaction
    asked, now = session().info.get(_READ_CLOCK, (None, None))
    if asked is not connection:
        now = session().scalar(_DATABASE_CLOCK)
        session().info[_READ_CLOCK] = connection, now
    return cast(datetime, now)


def shop_now() -> datetime:
    """The time that business dates are in and are compared with; the database's clock in production.

    Retries, signatures, sessions and rate limits are real time.
    """
    return db_now() + moved_by()


def moved_by() -> timedelta:
    """How far CLOCK_FILE moves the clock of a test shop; the sandbox writes the seconds into it."""
    path = current_app.config.get("CLOCK_FILE")
    try:
        return timedelta(seconds=float(Path(path).read_text())) if path else timedelta()
    except (OSError, ValueError, OverflowError):
        return timedelta()


def naive(moment: datetime | None) -> datetime | None:
    """An aware time of Flexprice's, as the tables hold it."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment else None


def backoff(attempts: int, first: timedelta, longest: timedelta) -> timedelta:
    """How long to wait after this number of failed attempts: doubling, bounded."""
    doublings: int = min(max(attempts - 1, 0), 20)
    return min(first * 2.0**doublings, longest)


def ask(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call Flexprice. What was written so far is committed first: no transaction stays open across a call."""
    commit()
    return call(*args, **kwargs)


def update_where(model: Any, values: dict[str, Any], *conditions: Any) -> int:
    """One UPDATE of the rows that meet the conditions; how many did."""
    columns = {getattr(model, name): value for name, value in values.items()}
    statement = update(model).where(*conditions).values(columns)
    result: Any = session().execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)


def after_commit(signal: NamedSignal, **values: Any) -> None:
    """Send `signal` once the transaction is committed; a rollback forgets it."""
    session().info.setdefault(_AFTER_COMMIT, []).append((signal, values))


def commit() -> None:
    """Commit, then send the signals that wait for it."""
    session().commit()
    for signal, values in session().info.pop(_AFTER_COMMIT, []):
        send(signal, **values)


def rollback() -> None:
    """Undo what was not committed. Raises nothing: it runs where something has failed already."""
    try:
        session().info.pop(_AFTER_COMMIT, None)
        session().rollback()
    except Exception:
        log.exception("The database session could not be rolled back; it is discarded")
        release()


def release() -> None:
    """Give the connection back. Raises nothing, also when the database is gone."""
    try:
        session().remove()
    except Exception:
        log.exception("The database session could not be closed cleanly")
        session().registry.clear()


def send(signal: NamedSignal, **values: Any) -> None:
    """Send a signal outside a transaction; a receiver that raises is logged."""
    try:
        signal.send(checkout().app, **values)
    except Exception:
        log.exception("A receiver of %s failed", signal.name)


# -- addresses ---------------------------------------------------------------------------------------


def words(value: object) -> list[str]:
    """A setting that is a list, or text with spaces or commas between the words."""
    return value.replace(",", " ").split() if isinstance(value, str) else [str(word) for word in value or ()]  # type: ignore[attr-defined]


def payment_hosts(app: Flask) -> list[str]:
    """Hosts a customer may be sent to, with their subdomains: Razorpay's, and CHECKOUT_PAYMENT_HOSTS."""
    return [*PAYMENT_HOSTS, *words(app.config.get("CHECKOUT_PAYMENT_HOSTS"))]


def host_of(url: str | None) -> str:
    """Host and port of an address that a header gives; empty when it cannot be read."""
    try:
        return urlsplit(url or "").netloc
    except ValueError:
        return ""


def is_payment_url(url: str | None) -> bool:
    """Whether a customer may be sent there: https and a payment host, or http to one on this machine."""
    if not url or any(character in url for character in "\\\r\n\t @"):
        return False
    where, scheme = host_of(url).lower(), url.partition(":")[0].lower()
    hosts = [host.lower() for host in payment_hosts(current_app)]
    if is_loopback(url):
        return where in hosts and scheme in ("http", "https")
    return scheme == "https" and any(where == host or where.endswith(f".{host}") for host in hosts)


def return_url(ref: str) -> str:
    """The order's address without /success or /failure, as the payment page leads back to it."""
    return base_url() + url_for("checkout.success", ref=ref).removesuffix("/success")


def base_url() -> str:
    """Scheme and host of this request where CHECKOUT_ALLOWED_HOSTS names its host, else CHECKOUT_BASE_URL."""
    config, base = current_app.config, f"{request.scheme}://{request.host}"
    if config.get("CHECKOUT_BASE_URL") and request.host not in words(config.get("CHECKOUT_ALLOWED_HOSTS")):
        base = str(config["CHECKOUT_BASE_URL"]).rstrip("/")
    return base
