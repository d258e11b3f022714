"""Is the shop ready to go live? One table of checks, each with why, and how to mend it."""

import logging
import smtplib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from storefront import outbox, selftest
from storefront.catalog import put_on_sale
from storefront.database import DatabaseBusy, insert_or_ignore, writing
from storefront.extensions import MIGRATIONS, db, flexprice, settings
from storefront.flexprice import FlexpriceError, NotAllowed, NotFound, Plan, Refused, RouteMissing
from storefront.models import Heartbeat, InboxMessage, Letter
from storefront.settings import Settings, is_loopback

log = logging.getLogger(__name__)

OK, WARNING, FAILS, BY_HAND = "ok", "warning", "fails", "by hand"
NOT_FROM_A_PAGE = "Not tried: a page only looks. The command does: flask --app wsgi doctor"
DEMO_ENV = Path("instance/demo.env")  # what the demo made up for itself
NOT_PUBLIC = (".test", ".local", ".localhost", ".internal", ".example", ".invalid", ".lan", ".home.arpa")
SKEW_NOTED, SKEW_REFUSED = 10, 120  # seconds; webhooks are refused at 300
LEAST = {"INR": 1, "USD": 0.01}  # Razorpay, contract D.6


class Finding(NamedTuple):
    status: str
    why: str
    fix: str = ""


class Line(NamedTuple):
    """One line of the report."""

    check: str
    status: str
    why: str
    fix: str


@dataclass(frozen=True)
class Patient:
    """What the checks look at; what is asked of Flexprice is asked once."""

    settings: Settings
    worker_alive: bool
    now: datetime

    @cached_property
    def plans(self) -> list[Plan] | FlexpriceError:
        try:
            return flexprice().search_plans()
        except FlexpriceError as error:
            return error


class Check(NamedTuple):
    title: str
    look: Callable[[Patient], Iterable[Finding]]
    acts: bool = False  # knocks at doors or writes a row: never from a page view


def examine(worker_alive: bool, now: datetime, *, act: bool) -> list[Line]:
    """All checks; a check that breaks is one line and hides no other. `act=False`: only look."""
    patient = Patient(settings(), worker_alive, now)
    return [line for check in CHECKS for line in _lines(check, patient, act)]


def _lines(check: Check, patient: Patient, act: bool) -> list[Line]:
    if check.acts and not act:
        return [Line(check.title, BY_HAND, NOT_FROM_A_PAGE, "")]
    try:
        return [Line(check.title, *finding) for finding in check.look(patient)]
    except Exception as error:
        db.session.rollback()
        log.exception("the check %r broke", check.title)
        why = f"The check itself broke: {type(error).__name__}."
        return [Line(check.title, FAILS, why, "See the log, and report it.")]


# -- settings ---------------------------------------------------------------------------------------


def address(patient: Patient) -> Iterable[Finding]:
    url, host = patient.settings.storefront_url, urlsplit(patient.settings.storefront_url).hostname or ""
    mend = "Set STOREFRONT_URL to the https address shoppers use; the return and webhook addresses follow it."
    if not patient.settings.production:
        yield Finding(FAILS, f"{url} is plain http: for practice only.", mend)
    elif not is_public(host):
        yield Finding(FAILS, f"{host} is no public name: neither shoppers nor Flexprice can reach it.", mend)
    else:
        yield Finding(OK, f"{url}, and with it the success, failure, cancel and webhook addresses")


def is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(NOT_PUBLIC)


def not_the_sandbox(patient: Patient) -> Iterable[Finding]:
    shop, mend = (
        patient.settings,
        "Take the value from your Flexprice account; never carry one over from the demo.",
    )
    demo = _demo_values()
    if is_loopback(shop.flexprice_api_url):
        yield Finding(FAILS, "FLEXPRICE_API_URL is this machine: the sandbox, no real Flexprice.", mend)
    if shop.flexprice_api_key in demo or shop.flexprice_api_key.startswith("sk_demo_"):
        yield Finding(FAILS, "FLEXPRICE_API_KEY is the one the demo made up.", mend)
    if demo.intersection(shop.flexprice_webhook_secrets):
        yield Finding(FAILS, "FLEXPRICE_WEBHOOK_SECRET is the sandbox's.", mend)
    if shop.secret_key in demo:
        yield Finding(FAILS, "SECRET_KEY is the one the demo made up.", "Make a new one; see .env.example.")
    others = [host for host in shop.payment_hosts if is_loopback(f"//{host}")]
    if others:
        yield Finding(FAILS, f"PAYMENT_HOSTS names this machine ({', '.join(others)}).", "Take it out.")
    if shop.qa_page and shop.production:
        yield Finding(WARNING, "The QA page is switched on.", "Set QA_PAGE=off once you sell for real.")
    if not is_loopback(shop.flexprice_api_url) and shop.flexprice_api_key not in demo:
        yield Finding(OK, f"{shop.flexprice_api_url} with a key of its own")


def _demo_values() -> set[str]:
    lines = DEMO_ENV.read_text().splitlines() if DEMO_ENV.exists() else []
    return {line.partition("=")[2] for line in lines} - {""}


def secret(patient: Patient) -> Iterable[Finding]:
    """Whether it is well formed was checked when the shop started."""
    number = len(patient.settings.flexprice_webhook_secrets)
    if number == 1:
        yield Finding(OK, "one, well formed")
    elif number:
        yield Finding(WARNING, f"{number} are accepted.", "Take the old one out when the rotation is over.")
    else:
        yield Finding(
            WARNING,
            "Messages are unsigned and known by a shared header only; the shop asks before it believes one.",
            "With Flexprice Cloud use a signing secret: FLEXPRICE_WEBHOOK_SECRET.",
        )


# -- Flexprice --------------------------------------------------------------------------------------


def key(patient: Patient) -> Iterable[Finding]:
    plans = patient.plans
    if isinstance(plans, NotAllowed):
        yield Finding(
            FAILS,
            f"Flexprice refuses the key ({plans.status}).",
            "Make a new key for this environment in Flexprice. It goes into x-api-key, never Bearer.",
        )
    elif isinstance(plans, FlexpriceError):
        yield Finding(FAILS, f"Flexprice did not answer as it should: {plans.status or 'no answer'}.", _ASK)
    else:
        yield Finding(OK, "Flexprice takes it")


_ASK = "Check FLEXPRICE_API_URL from this machine, and the status of Flexprice."


def may_write(patient: Patient) -> Iterable[Finding]:
    """A customer without a name is refused by every server; how it is refused tells what the key may do."""
    try:
        flexprice().create_customer("", "", "")
    except NotAllowed:
        yield Finding(FAILS, "The key may only read.", "Give it a role that may write.")
    except Refused:
        yield Finding(OK, "the key may write")
    except FlexpriceError as error:
        yield Finding(FAILS, f"Flexprice could not be asked: {error.status or 'no answer'}.", _ASK)
    else:
        yield Finding(WARNING, "Flexprice took a customer without a name.", "Delete it there.")


def environment(patient: Patient) -> Iterable[Finding]:
    plans = patient.plans
    found = [plan.environment_id for plan in plans] if isinstance(plans, list) else []
    wanted = patient.settings.flexprice_environment_id or next(filter(None, found), "")
    where = "Compare the key with the environments in Flexprice's dashboard."
    if not wanted:
        return [Finding(BY_HAND, "Which environment the key belongs to could not be read.", where)]
    try:
        environment = flexprice().get_environment(wanted)
    except (NotFound, RouteMissing, NotAllowed):
        return [Finding(BY_HAND, f"Flexprice does not say what kind of environment {wanted} is.", where)]
    except FlexpriceError as error:
        return [Finding(WARNING, f"Flexprice could not be asked: {error.status or 'no answer'}.", _ASK)]
    named = f"{environment.name or environment.id} is a {environment.type} environment"
    if environment.type == "production":
        return [Finding(OK, named)]
    return [Finding(WARNING, f"{named}: good for a rehearsal, not for selling.", "Use a production key.")]


def offers(patient: Patient) -> Iterable[Finding]:
    """Decision 2: what is shown is what the session charges; whatever differs is named."""
    plans = patient.plans
    if isinstance(plans, FlexpriceError):
        return [Finding(FAILS, "The plans could not be read, so nothing can be sold.", _ASK)]
    found = [finding for plan in plans for finding in _plan_findings(plan)]
    shown = [offer for plan in plans for offer in put_on_sale(plan).offers.values()]
    buyable = sum(offer.buyable for offer in shown)
    if not buyable:
        found.append(Finding(FAILS, "No plan can be bought.", "Publish a plan with a recurring fixed price."))
    else:
        found.append(Finding(OK, f"{buyable} of {len(shown)} offers can be bought, at the price shown"))
    return found


def _plan_findings(plan: Plan) -> Iterable[Finding]:
    for offer in put_on_sale(plan).offers.values():
        name = f"{plan.name}, {offer.currency.upper()} {offer.billing_period}"
        if offer.refusal:
            yield Finding(WARNING, f"{name} is not sold: {offer.refusal}", "Change its prices in Flexprice.")
        elif offer.amount < LEAST.get(offer.currency.upper(), 0):
            yield Finding(FAILS, f"{name}: {offer.amount} is below what Razorpay takes.", "Raise the price.")
    if any(price.one_time for price in plan.prices):
        why = f"{plan.name} has a one-time fee, which Flexprice leaves out of the first payment."
        yield Finding(WARNING, why, "The page says so. Invoice it otherwise, or take it out of the plan.")
    trials = {price.trial_period_days for price in plan.prices}
    if len(trials) > 1:
        why = f"{plan.name}: its prices have different trials, so Flexprice refuses the checkout (400)."
        yield Finding(FAILS, why, "Give all prices of the plan the same trial, best none.")
    elif trials - {0}:
        why = f"{plan.name} has a trial, which checkout ignores: the full first charge is taken at once."
        yield Finding(WARNING, why, "Do not advertise it; take the trial out of the plan.")


def clock(patient: Patient) -> Iterable[Finding]:
    """Signatures older or younger than five minutes are refused, so clocks must agree."""
    try:
        answer = requests.get(patient.settings.flexprice_api_url, timeout=(2, 5), allow_redirects=False)
        theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (requests.RequestException, ValueError, TypeError):
        return [Finding(WARNING, "Flexprice's clock could not be read.", _ASK)]
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    if skew < SKEW_NOTED:
        return [Finding(OK, f"within {skew:.0f} s of Flexprice's")]
    status = WARNING if skew < SKEW_REFUSED else FAILS
    return [Finding(status, f"{skew:.0f} s away from Flexprice's.", "Keep this machine's time by NTP.")]


# -- our own house ----------------------------------------------------------------------------------


def database(patient: Patient) -> Iterable[Finding]:
    from alembic.runtime.migration import MigrationContext  # a web process seldom comes here
    from alembic.script import ScriptDirectory

    try:
        found = MigrationContext.configure(db.session.connection()).get_current_revision()
        db.session.rollback()
    except SQLAlchemyError as error:
        db.session.rollback()
        why = f"It does not answer: {type(error).__name__}."
        return [Finding(FAILS, why, "Check DATABASE_URL and the server.")]
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if found != newest:
        why = f"It is at {found or 'no version'}, the code at {newest}."
        return [Finding(FAILS, why, "flask --app wsgi db upgrade")]
    if patient.settings.database_url.startswith("sqlite"):
        why = f"SQLite, up to date ({found}). It serves the processes of one machine."
        return [Finding(WARNING, why, "For more machines use PostgreSQL; keep backups of the file.")]
    return [Finding(OK, f"PostgreSQL, up to date ({found})")]


def writable(patient: Patient) -> Iterable[Finding]:
    try:
        with writing() as session:
            insert_or_ignore(session, Heartbeat, name="doctor", beat_at=patient.now)
            mine = update(Heartbeat).where(Heartbeat.name == "doctor")
            session.execute(mine.values(beat_at=patient.now))
    except (SQLAlchemyError, DatabaseBusy) as error:
        why = f"A row could not be written: {type(error).__name__}."
        return [Finding(FAILS, why, "Check the rights of the database's user, the disk, and who holds it.")]
    return [Finding(OK, "a row was written")]


def worker(patient: Patient) -> Iterable[Finding]:
    start = "Start it beside the shop: flask --app wsgi work"
    if not patient.worker_alive:
        yield Finding(FAILS, "No sign of life: nothing that is paid is fulfilled.", start)
    else:
        yield Finding(OK, "alive")
    late = patient.now - timedelta(minutes=5)
    waiting = _count(InboxMessage.handled_at.is_(None), InboxMessage.received_at < late)
    if waiting:
        why = f"{waiting} messages have waited for more than five minutes."
        yield Finding(WARNING, why, "See their outcome on the operator's page, and the worker's log.")
    unsent = _count(Letter.posted_at.is_(None), Letter.error.is_not(None))
    if unsent:
        yield Finding(WARNING, f"{unsent} letters could not be sent so far.", "See the line about mail.")


def _count(*conditions: object) -> int:
    return db.session.scalar(select(func.count()).where(*conditions)) or 0  # type: ignore[arg-type]


def mail(patient: Patient) -> Iterable[Finding]:
    url = patient.settings.mail_url
    if url == "keep:":
        status = FAILS if patient.settings.production else WARNING
        why = "Letters are only kept in the shop, nobody gets one."
        return [Finding(status, why, "Set MAIL_URL to your mail server.")]
    try:
        with outbox.mail_server(url) as server:
            code, _ = server.noop()
    except (OSError, smtplib.SMTPException) as error:
        why = f"The mail server does not let the shop in: {type(error).__name__}."
        return [Finding(FAILS, why, "Check host, port, user and password in MAIL_URL.")]
    if code != 250:
        return [Finding(FAILS, f"The mail server answers {code}.", "Ask whoever runs it.")]
    signed_in = urlsplit(url).username is not None
    why = "the mail server lets the shop in" if signed_in else "the mail server answers, without a sign-in"
    return [Finding(OK, f"{why}; letters come from {patient.settings.mail_from}")]


def trial_letter(to: str) -> Line:
    """Sends one. Whether it arrives, and not as spam, only the reader sees."""
    title = "Trial letter"
    if settings().mail_url == "keep:":
        return Line(title, FAILS, "Letters are only kept in the shop.", "Set MAIL_URL to your mail server.")
    try:
        outbox.post_trial(settings(), to)
    except (OSError, smtplib.SMTPException) as error:
        why = f"The mail server does not take a letter to {to}: {type(error).__name__}."
        return Line(title, FAILS, why, "It may not let this sender write: check MAIL_FROM and MAIL_URL.")
    return Line(title, BY_HAND, f"A letter to {to} was taken by the mail server.", "See that it arrives.")


# -- what cannot be seen from here ------------------------------------------------------------------


def by_hand(patient: Patient) -> Iterable[Finding]:
    yield from (Finding(BY_HAND, why, where) for why, where in MANUAL)


MANUAL = (
    (
        "Razorpay tells Flexprice of payments: payment_link.paid and payment.captured are switched on.",
        "Razorpay: Settings, Webhooks. Without both, money stays at Razorpay and the session runs out.",
    ),
    (
        "Flexprice uses Razorpay's live keys.",
        "Flexprice: Integrations, Razorpay. Live keys begin with rzp_live_.",
    ),
    (
        "Flexprice sends this shop checkout.session.*, subscription.* and, where it has them, refund.*.",
        "Flexprice: Webhooks, the endpoint's events. What nobody subscribes to is never sent again.",
    ),
    (
        "The shop can be reached from outside this network.",
        "From a phone without WLAN, open the shop's address and /healthz.",
    ),
    (
        "A small purchase went through, and its refund.",
        "Buy the cheapest plan, look at /qa or the operator's page, then refund it in Razorpay.",
    ),
)


def own_door(patient: Patient) -> Iterable[Finding]:
    return (Finding(*found) for found in selftest.webhook(patient.settings))


def own_pages(patient: Patient) -> Iterable[Finding]:
    return (Finding(*found) for found in selftest.pages(patient.settings))


CHECKS = (
    Check("Address of the shop", address),
    Check("Not the sandbox's", not_the_sandbox),
    Check("Webhook secret", secret),
    Check("API key", key),
    Check("API key may write", may_write, acts=True),
    Check("Environment", environment),
    Check("Offers", offers),
    Check("Clock", clock),
    Check("Database", database),
    Check("Database can be written", writable, acts=True),
    Check("Worker", worker),
    Check("Mail", mail, acts=True),
    Check("Webhook endpoint", own_door, acts=True),
    Check("Cookies and headers", own_pages, acts=True),
    Check("To be ticked by hand", by_hand),
)
