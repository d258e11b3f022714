"""One pass over everything that is owed."""

import logging
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from storefront import aftercare, fulfillment, inbox, lifesigns, orders, outbox, renewals, tallies, tracing
from storefront.database import DATABASE_TROUBLE, DatabaseBusy, writing
from storefront.extensions import db, flexprice, settings
from storefront.flexprice import FlexpriceError, Invoice, NotFound, Subscription
from storefront.models import Access, InboxMessage, Order

log = logging.getLogger(__name__)
Going = Callable[[], bool]

PAUSE = 0.1  # seconds between looks
SET_ASIDE_AFTER = timedelta(minutes=60)  # a session nobody knows (decision 23)
LONGEST_TRACEBACK = 8000  # characters; its end says most
NEVER_MIND = 10_000  # of one kind in one pass: the others want their turn


def one_pass(now: datetime | None = None, going: Going = lambda: True) -> int:
    """Do what is due, as long as it is `going`; returns how much was done."""
    now = now or datetime.now(UTC)
    return sum(step(now, going) for step in (read_inbox, look_after_orders, post_letters, ask_about_renewals))


def run(beat: Going = lambda: True, going: Going = lambda: True) -> None:
    """Look again and again while there is a `beat`, and take up things while it is `going`.

    Each pass is safe to be killed at any point.
    """
    with lifesigns.Life(free).lived() as life:
        broken_off: datetime | None = None
        while beat():
            now = datetime.now(UTC)
            try:
                life.begin()
                if broken_off:
                    give_back(life.name, broken_off, now)
                    broken_off = None
                done = one_pass(now, going)
            except DatabaseBusy:
                log.warning("the database is busy; looking again")
                done, broken_off = 0, broken_off or now
            except SQLAlchemyError:  # a database that restarts: the worker outlives it
                log.exception("the database does not answer; looking again")
                done, broken_off = 0, broken_off or now
            finally:
                db.session.remove()
            if not done:
                time.sleep(PAUSE)


def give_back(worker: str, broken_off: datetime, now: datetime) -> None:
    """What a pass had claimed when the database let it down."""
    with writing():
        free(worker)
        orders.give_back(broken_off, now)


def free(worker: str) -> None:
    """Orders need no more than their own gaps: one that was just paid has its turn again in two seconds."""
    inbox.give_back(worker)
    outbox.give_back(worker)


# -- messages ---------------------------------------------------------------------------------------


def read_inbox(now: datetime, going: Going = lambda: True) -> int:
    done = 0
    while going() and done < NEVER_MIND and inbox.next_message(now):
        with writing():
            message = inbox.next_message(now, to_claim=True)
            ours = message and inbox.claim(message.id, now)
        if message and ours:
            with tracing.following(message.id):
                try:
                    read_message(message, now)
                except inbox.LostClaim:  # we were held up for so long that another worker took us for dead
                    log.warning("message %s is another worker's now", message.id)
        done += 1
    return done


def read_message(message: InboxMessage, now: datetime) -> None:
    try:
        act = fulfillment.understand(flexprice(), message)
        with writing():
            outcome = act(now)
            inbox.done(message, outcome, now)
        tallies.count("storefront_messages_total", outcome="done")
        waited = (now - message.received_at).total_seconds()
        tallies.count("storefront_message_seconds_total", max(waited, 0))
        log.info("message %s (%s): %s", message.id, message.event_type, outcome)
    except fulfillment.NotYet as reason:
        wait_or_set_aside(message, str(reason), now)
    except FlexpriceError as error:
        put_back(message, str(error), now)
    except (DatabaseBusy, *DATABASE_TROUBLE):
        raise
    except Exception as error:  # nothing received is lost: it is tried again, and shown to the operator
        log.exception("message %s (%s) could not be read", message.id, message.event_type)
        put_back(message, type(error).__name__, now, traceback.format_exc()[-LONGEST_TRACEBACK:])


def wait_or_set_aside(message: InboxMessage, why: str, now: datetime) -> None:
    """Decision 23: a session nobody knows after an hour is not ours to wait for."""
    if now - message.received_at <= SET_ASIDE_AFTER:
        return put_back(message, why, now)
    with writing():
        inbox.done(message, f"set aside: {why}", now)
    return None


def put_back(message: InboxMessage, why: str, now: datetime, traceback: str | None = None) -> None:
    with writing():
        inbox.again(message, why, now, traceback)
    tallies.count("storefront_messages_total", outcome="broken" if traceback else "waits")
    log.info("message %s waits: %s", message.id, why)


# -- orders -----------------------------------------------------------------------------------------


def look_after_orders(now: datetime, going: Going = lambda: True) -> int:
    done = 0
    while going() and done < NEVER_MIND and orders.next_to_look_after(now):
        with writing():
            order = orders.next_to_look_after(now, to_claim=True)
            ours = order and orders.claim_look(order.id, now, aftercare.look_again_at(order, now))
            if order and ours:
                orders.alert_if_long_open(order.id, now)
        if order and ours:
            with tracing.following(f"order-{order.short_ref}"):
                look_after(order, now)
        done += 1
    return done


def look_after(order: Order, now: datetime) -> None:
    try:
        act = aftercare.ask(order, now)
        with writing():
            outcome = act(now)
        log.debug("order %s looked after: %s", order.ref, outcome)
    except FlexpriceError as error:
        log.warning(
            "order %s: Flexprice could not be asked: %s (request %s)", order.ref, error, error.request_id
        )
    except (DatabaseBusy, *DATABASE_TROUBLE):
        raise
    except Exception:  # the other orders want their turn; this one has it again after the gap
        log.exception("order %s could not be looked after", order.ref)


# -- letters ----------------------------------------------------------------------------------------


def post_letters(now: datetime, going: Going = lambda: True) -> int:
    done = 0
    while going() and done < NEVER_MIND and outbox.next_letter(now):
        with writing():
            letter = outbox.next_letter(now, to_claim=True)
            ours = letter and outbox.claim(letter, now)
        if letter and ours:
            try:
                outbox.post(letter, settings())
            except Exception as error:  # whatever is wrong with one letter, the others want their turn
                log.warning("letter %s could not be posted: %s", letter.id, type(error).__name__)
                with writing():
                    outbox.not_posted(letter, error, now)
            else:
                with writing():
                    outbox.posted(letter, now)
                log.info("letter %s (%s) posted", letter.id, letter.kind)
        done += 1
    return done


# -- renewals ---------------------------------------------------------------------------------------


def ask_about_renewals(now: datetime, going: Going = lambda: True) -> int:
    done, grace = 0, settings().renewal_grace
    while going() and done < NEVER_MIND and (access := renewals.next_to_ask_about(now, grace)):
        with writing():
            ours = renewals.claim_asking(access.id, now)
        if ours:
            ask_about_renewal(access, now)
        done += 1
    return done


def ask_about_renewal(access: Access, now: datetime) -> None:
    try:
        subscription, invoices = what_flexprice_bills(access.subscription_id or "")
    except FlexpriceError as error:
        log.warning("access %s: Flexprice could not be asked: %s", access.id, error)
        return
    with writing():
        if subscription:
            fulfillment.follow_subscription(subscription, None, now)
        renewals.follow_invoices(access, invoices, now, settings().renewal_grace)


def what_flexprice_bills(subscription_id: str) -> tuple[Subscription | None, list[Invoice]]:
    """One that Flexprice has put away is not found; then nothing is billed."""
    try:
        subscription = flexprice().get_subscription(subscription_id)
    except NotFound:
        return None, []
    return subscription, flexprice().invoices_of(subscription.id)
