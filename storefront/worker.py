"""One pass over everything that is owed."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from storefront import aftercare, fulfillment, inbox, lifesigns, orders, outbox, renewals, tallies, tracing
from storefront.database import DATABASE_TROUBLE, DatabaseBusy, hold, writing
from storefront.extensions import db, flexprice, settings
from storefront.flexprice import FlexpriceError, Invoice, NotFound, Subscription
from storefront.fulfillment import Act
from storefront.models import Access, InboxMessage, Order

log = logging.getLogger(__name__)
Going = Callable[[], bool]
Thing = TypeVar("Thing")
Lot = list[tuple[Thing, Act]]

PAUSE = 0.1  # seconds between looks
SET_ASIDE_AFTER = timedelta(minutes=60)  # a session nobody knows (decision 23)
LONGEST_TRACEBACK = 8000  # characters; its end says most
NEVER_MIND = 10_000  # in one pass
TOGETHER = 30  # messages, or paid orders, or letters, taken up at once
HELD = 0.05  # seconds after which it ends all the same: on SQLite nobody else can write meanwhile
SLOW = 0.1  # seconds after which an answer of Flexprice's has kept the others waiting


def one_pass(now: datetime | None = None, going: Going = lambda: True) -> int:
    """Do what is due, as long as it is `going`; returns how much was done."""
    now, done = now or datetime.now(UTC), 0
    while done < NEVER_MIND and (more := one_turn(now, going)):
        done += more
    return done


def one_turn(now: datetime, going: Going) -> int:
    return sum(step(now, going, most) for step, most in TURN.items())


def run(beat: Going = lambda: True, going: Going = lambda: True) -> None:
    """Look again and again while there is a `beat`, and take up things while it is `going`.

    Each pass is safe to be killed at any point.
    """
    outbox.practise()
    with lifesigns.Life(free).lived() as life:
        broken_off: datetime | None = None
        while beat():
            now = datetime.now(UTC)
            try:
                life.begin()
                if broken_off:
                    with writing():
                        free(life.name, broken_off)
                    broken_off = None
                done = one_turn(now, going)
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


def in_lots(things: list[Thing], ready: Callable[[Thing], Act | None]) -> Iterator[Lot[Thing]]:
    """What is to be written for each, all together; but nobody waits for an answer that is slow to come."""
    lot: Lot[Thing] = []
    for thing in things:
        began = time.monotonic()
        if act := ready(thing):
            lot.append((thing, act))
        if lot and time.monotonic() - began > SLOW:
            yield lot
            lot = []
    if lot:
        yield lot


def in_time(lot: Lot[Thing]) -> Iterator[tuple[Thing, Act]]:
    """Some of them, one at least: whoever else wants to write is not to wait for long."""
    until = time.monotonic() + HELD
    for one in lot:
        yield one
        if time.monotonic() > until:
            return


def free(worker: str, since: datetime) -> None:
    """What it had in its hands when it died, or when the database let it down; orders, it took up `since`."""
    inbox.give_back(worker)
    outbox.give_back(worker)
    orders.give_back(worker, since, datetime.now(UTC))


# -- messages ---------------------------------------------------------------------------------------


def read_inbox(now: datetime, going: Going = lambda: True, most: int = NEVER_MIND) -> int:
    done = 0
    while going() and done < most and inbox.is_waiting(now):
        with writing():
            messages = inbox.claim(now, TOGETHER)
        read_together(messages, now)
        done += len(messages) or 1
    return done


def read_together(messages: list[InboxMessage], now: datetime) -> None:
    """What several mean is written at once; what is wrong with one is its own matter."""
    for meant in in_lots(messages, partial(understood, now=now)):
        while meant:
            meant = meant[write_some(meant, now) :]


def write_some(meant: Lot[InboxMessage], now: datetime) -> int:
    """In one transaction, as many as there is time for; says how many."""
    outcomes: list[str] = []
    try:
        with writing():
            for message, act in in_time(meant):
                outcomes.append(carried_out(message, act, now))
    except (DatabaseBusy, *DATABASE_TROUBLE):
        raise
    except Exception:  # nothing is written so far
        write_one_by_one(meant, now)
        return len(meant)
    for (message, _), outcome in zip(meant, outcomes, strict=False):
        note(message, outcome, now)
    return len(outcomes)


def write_one_by_one(meant: Lot[InboxMessage], now: datetime) -> None:
    for message, act in meant:
        with its_own_matter(message, now):
            with writing():
                outcome = carried_out(message, act, now)
            note(message, outcome, now)


def understood(message: InboxMessage, now: datetime) -> Act | None:
    with its_own_matter(message, now):
        return fulfillment.understand(flexprice(), message)
    return None


def carried_out(message: InboxMessage, act: Act, now: datetime) -> str:
    with tracing.following(message.id):
        outcome = act(now)
        inbox.done(message, outcome, now)
        return outcome


def note(message: InboxMessage, outcome: str, now: datetime) -> None:
    tallies.count("storefront_messages_total", outcome="done")
    waited = (now - message.received_at).total_seconds()
    tallies.count("storefront_message_seconds_total", max(waited, 0))
    with tracing.following(message.id):
        log.info("message %s (%s): %s", message.id, message.event_type, outcome)


@contextmanager
def its_own_matter(message: InboxMessage, now: datetime) -> Iterator[None]:
    with tracing.following(message.id):
        try:
            with tried_again_later(message, now):
                yield
        except inbox.LostClaim:  # we were held up for so long that another worker took us for dead
            log.warning("message %s is another worker's now", message.id)


@contextmanager
def tried_again_later(message: InboxMessage, now: datetime) -> Iterator[None]:
    try:
        yield
    except fulfillment.NotYet as reason:
        wait_or_set_aside(message, str(reason), now)
    except FlexpriceError as error:
        put_back(message, str(error), now)
    except (inbox.LostClaim, DatabaseBusy, *DATABASE_TROUBLE):
        raise
    except Exception as error:  # nothing received is lost, and the operator is shown why it waits
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


def look_after_orders(now: datetime, going: Going = lambda: True, most: int = NEVER_MIND) -> int:
    done = 0
    while going() and done < most and orders.is_one_due(now):
        with writing():
            claimed = orders.claim_looks(now, aftercare.look_again_at, TOGETHER)
        look_after(claimed, now)
        done += len(claimed) or 1
    return done


def look_after(order_ids: list[int], now: datetime) -> None:
    """What several need is written at once; should that break, each is seen to by itself."""
    try:
        for lot in in_lots(orders.these(order_ids), partial(asked, now=now)):
            while lot:
                lot = lot[settle_some(lot, order_ids, now) :]
    except (DatabaseBusy, *DATABASE_TROUBLE):
        raise
    except Exception:
        if len(order_ids) == 1:  # the other orders want their turn; this one has it again after the gap
            log.exception("order %s could not be looked after", order_ids[0])
            return
        for order_id in order_ids:
            look_after([order_id], now)


def settle_some(lot: Lot[Order], order_ids: list[int], now: datetime) -> int:
    """In one transaction, as many as there is time for; says how many."""
    with writing():
        orders.these(order_ids)  # as they are by now, all in one question
        done = 0
        for order, act in in_time(lot):
            with following(order):
                outcome = act(now)
                log.debug("order %s looked after: %s", order.ref, outcome)
            done += 1
        return done


def asked(order: Order, now: datetime) -> Act | None:
    with following(order):
        try:
            return aftercare.ask(order, now)
        except FlexpriceError as error:
            why = "order %s: Flexprice could not be asked: %s (request %s)"
            log.warning(why, order.ref, error, error.request_id)
            return None


def following(order: Order) -> AbstractContextManager[None]:
    return tracing.following(f"order-{order.short_ref}")


# -- letters ----------------------------------------------------------------------------------------


def post_letters(now: datetime, going: Going = lambda: True, most: int = NEVER_MIND) -> int:
    done = 0
    while going() and done < most and outbox.next_letter(now):
        done += keep_letters(now) if outbox.are_kept() else post_letter(now)
    return done


def keep_letters(now: datetime) -> int:
    with writing():
        kept = outbox.keep(now, TOGETHER)
    for letter in kept:
        log.info("letter %s (%s) kept in the shop", letter.id, letter.kind)
    return len(kept) or 1


def post_letter(now: datetime) -> int:
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
    return 1


# -- renewals ---------------------------------------------------------------------------------------


def ask_about_renewals(now: datetime, going: Going = lambda: True, most: int = NEVER_MIND) -> int:
    done, grace = 0, settings().renewal_grace
    while going() and done < most and (access := renewals.next_to_ask_about(now, grace)):
        with writing():
            ours = renewals.claim_asking(access.id, now)
        if ours:
            ask_about_renewal(access, now)
        done += 1
    return done


def ask_about_renewal(access: Access, now: datetime) -> None:
    access_id, subscription_id = access.id, access.subscription_id or ""
    try:
        subscription, invoices = what_flexprice_bills(subscription_id)
    except FlexpriceError as error:
        log.warning("access %s: Flexprice could not be asked: %s", access.id, error)
        return
    with writing():
        if subscription:
            fulfillment.follow_subscription(subscription, None, now)
        hold(Access, access_id)
        if access.subscription_id == subscription_id:  # not bought anew meanwhile
            renewals.follow_invoices(access, invoices, now, settings().renewal_grace)


def what_flexprice_bills(subscription_id: str) -> tuple[Subscription | None, list[Invoice]]:
    """One that Flexprice has put away is not found; then nothing is billed."""
    try:
        subscription = flexprice().get_subscription(subscription_id)
    except NotFound:
        return None, []
    return subscription, flexprice().invoices_of(subscription.id)


# How many of each kind are taken up before the next kind has its turn: a sale waits for no pile of letters.
TURN = {read_inbox: TOGETHER, look_after_orders: 3, post_letters: 3, ask_about_renewals: 1}
