"""Each thing that the shop talks to breaks once, at each point of a sale: afterwards the sale is whole.

The shop and the sandbox are real. A point is each commit, each SELECT, each call to Flexprice, its answer,
and each email, before and after it was taken. Both loops run as their commands run them: no fault ends them,
and a paid order is fulfilled and emailed once. While a fault lasts, /healthz tells the truth.
"""

import smtplib
import socket
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storefront.checkout import worker
from storefront.checkout.context import db_now
from storefront.emails import smtp
from storefront.emails import worker as email_worker
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.operations import health
from storefront.operations.models import WorkerHeartbeat
from tests.conftest import NewDatabase
from tests.shop_fixtures import send_webhook_to
from tests.unit.checkout.shop_and_sandbox import ANYWHERE, Instead, Killed, ShopAndSandbox

ROUNDS = 40  # of pressing, delivering and working until a sale must be whole
NO_NAME = socket.gaierror(socket.EAI_AGAIN, "no name server answers")
Fault = dict[str, Callable[[], BaseException]]


def lost() -> OperationalError:
    return OperationalError("", {}, Exception("server closed the connection"))


FAULTS: dict[str, Fault] = {
    "killed": dict(ANYWHERE),
    "database: connection lost": {"commit": lost},
    "database: connection lost at a read": {"read": lost},
    "database: no connection free for a read": {"read": PoolTimeout},
    "database: frozen": {"commit": lambda: OperationalError("", {}, Exception("no answer within 5 s"))},
    "database: no connection free": {"commit": PoolTimeout},
    "database: out of memory": {"commit": lambda: InternalError("", {}, Exception("out of memory"))},
    "disk: full": {"commit": lambda: OperationalError("", {}, sqlite3.OperationalError("disk is full"))},
    "Flexprice: refuses": {"call": requests.ConnectTimeout},
    "Flexprice: hangs": {"answer": requests.ReadTimeout},
    "Flexprice: hangs up": {"answer": lambda: requests.ConnectionError("reset by peer")},
    "Flexprice: limits the rate": {"call": lambda: Instead(429)},
    "Flexprice: breaks after it has acted": {"answer": lambda: Instead(500, b'{"error": {"message": "x"}}')},
    "Flexprice: refuses the key": {"call": lambda: Instead(401, b'{"error": {"message": "x"}}')},
    "Flexprice: answers with a page": {"answer": lambda: Instead(200)},
    "DNS: does not answer": {"call": lambda: requests.ConnectionError(NO_NAME), "mail": lambda: NO_NAME},
    "mail: refuses": {"mail": ConnectionRefusedError},
    "mail: slow": {"mail": TimeoutError},
    "mail: hangs up": {"mail": lambda: smtplib.SMTPServerDisconnected("x")},
    "mail: takes it and hangs up": {"mailed": lambda: smtplib.SMTPServerDisconnected("x")},
}


LOOPS = (worker.run_forever, email_worker.run_forever)
AWAY = {"read": lost, "commit": lost}
# What lasts, which loops turn in that time, and what health must not call "ok".
LASTING: dict[str, tuple[Fault, tuple[Any, ...], str]] = {
    "the database is away": (AWAY, LOOPS, "database"),
    "the database takes no write": ({"commit": lost}, LOOPS, "worker"),
    "no connection is free": ({"read": PoolTimeout, "commit": PoolTimeout}, LOOPS, "database"),
    "no loop turns": ({}, (), "worker"),
    "the loop of sales does not turn": ({}, LOOPS[1:], "worker"),
    "the loop of emails does not turn": ({}, LOOPS[:1], "emails"),
    "the mail server is away": ({"mail": ConnectionRefusedError}, LOOPS, "emails"),
    "the mail server hangs up": ({"mailed": lambda: smtplib.SMTPServerDisconnected("x")}, LOOPS, "emails"),
}


class OneTurn:
    """The event that ends a loop, after its first turn."""

    def __init__(self) -> None:
        self.turned = False

    def is_set(self) -> bool:
        return self.turned

    def wait(self, _seconds: float) -> None:
        self.turned = True


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    return env | {"MAIL_URL": "smtp://127.0.0.1:9"}


@pytest.fixture
def world(app: Flask, sandbox_in: NewDatabase, tmp_path: Any) -> Iterator[ShopAndSandbox]:
    made = ShopAndSandbox(app, sandbox_in(tmp_path))
    yield made
    made.close()


@pytest.fixture
def mailed(world: ShopAndSandbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Message-ID of each email that reached the mail server."""
    arrived: list[str] = []

    def send(message: Any, _url: str) -> None:
        world.wire.step("mail")
        arrived.append(message["Message-ID"])
        world.wire.step("mailed")

    monkeypatch.setattr(smtp, "send", send)
    return arrived


def survive(world: ShopAndSandbox, act: Callable[[], Any]) -> Any:
    """A killed process is started again."""
    try:
        return act()
    except Killed:
        with world.shop.app_context():
            db.session.registry.clear()
            db.engine.dispose()
        return None


def turn(world: ShopAndSandbox, loop: Callable[[Any], None]) -> None:
    stop = OneTurn()
    with world.shop.app_context():
        loop(stop)
    assert stop.turned


def sell(world: ShopAndSandbox, breaks: Fault, at: int) -> bool:
    """A whole sale in which the fault happens at this point; whether it came that far."""
    browser, delivered = world.sign_in("asha"), set()
    world.wire.breaks, world.wire.steps_left = breaks, at
    for _ in range(ROUNDS):
        order = next(iter(reversed(world.orders())), None)
        if order is None or order.ended_unpaid or not order.session_id:
            answer = survive(world, lambda: world.buy(browser))
            assert answer is None or answer.status_code in (302, 303, 503), answer.text
        if order and order.state == "awaiting_payment":
            session = next(session for session in world.sessions() if session.id == order.session_id)
            world.on_payment_page(session, "pay")
        deliver(world, delivered)
        turn_both(world)
        if order and order.state == "fulfilled" and not unsent(world):
            break
        world.wait(3)
        make_emails_due(world)
    happened, world.wire.steps_left = world.wire.steps_left is None, None
    return happened


def deliver(world: ShopAndSandbox, delivered: set[str]) -> None:
    """What Flexprice has to tell; a webhook that is refused comes again."""
    for event_id in [one for one in world.events("") if one not in delivered]:
        if (body := world._body(event_id)) is None:
            continue
        answer = survive(world, lambda: send_webhook_to(world.shop, body, message_id=event_id))  # noqa: B023
        assert answer is None or answer.status_code in (204, 503)
        if answer is not None and answer.status_code == 204:
            delivered.add(event_id)


def turn_both(world: ShopAndSandbox) -> None:
    for loop in LOOPS:
        survive(world, lambda: turn(world, loop))  # noqa: B023


def unsent(world: ShopAndSandbox) -> list[Any]:
    return [email for email in world._shop_rows(Email) if email.sent_at is None]


def make_emails_due(world: ShopAndSandbox) -> None:
    with world.wire.other_process(), world.shop.app_context():
        for email in db.session.query(Email).filter(Email.sent_at.is_(None)):
            email.next_attempt_at = db_now()
        db.session.commit()


def check(world: ShopAndSandbox, mailed: list[str], fault: str) -> None:
    paid = [payment for payment in world.payments() if payment.payment_status == "SUCCEEDED"]
    fulfilled = [order.id for order in world.orders() if order.state == "fulfilled"]
    assert len(fulfilled) == len(paid) == 1, (fault, [order.state for order in world.orders()])
    assert world.accesses() == world.welcome_emails() == fulfilled, fault
    assert len(set(mailed)) == 1, fault
    mailed.clear()


def test_sale_survives_each_point_with_some_fault(world: ShopAndSandbox, mailed: list[str]) -> None:
    """Every fourth fault at one point; the next test takes all. Kind: no exception ends a loop."""
    for number, (fault, breaks) in enumerate(list(FAULTS.items())[::4]):
        at = number if not {"mail", "mailed"} & set(breaks) or fault == "killed" else 0
        world.begin_again()
        assert sell(world, breaks, at), f"a sale has no point {at} for {fault!r} any more"
        check(world, mailed, f"{fault} at {at}")


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_sale_survives_the_fault_at_every_point(world: ShopAndSandbox, mailed: list[str], fault: str) -> None:
    """As above, with one fault at all points."""
    for at in count():
        world.begin_again()
        happened = sell(world, FAULTS[fault], at)
        check(world, mailed, f"{fault} at {at}")
        if not happened:
            assert at > 0
            return


# -- what health says -------------------------------------------------------------------------------


def minutes_pass(world: ShopAndSandbox) -> None:
    """Also for heartbeats and emails."""
    how_long = timedelta(minutes=3)
    world.wait(3)
    with world.wire.other_process(), world.shop.app_context():
        for beat in db.session.query(WorkerHeartbeat):
            beat.beat_at -= how_long
        for email in db.session.query(Email):
            email.created_at -= how_long
            email.sent_at = email.sent_at and email.sent_at - how_long
            email.next_attempt_at = email.next_attempt_at and email.next_attempt_at - how_long
        db.session.commit()
    world.shop.extensions["heartbeat_written_at_s"] = float("-inf")


def ask_health(world: ShopAndSandbox) -> Any:
    answer = world.shop.test_client().get("/healthz")
    assert (answer.status_code == 503) == (answer.json["status"] == "unavailable")
    return answer.json


def sell_while(world: ShopAndSandbox, breaks: Fault, loops: tuple[Any, ...]) -> Any:
    """A sale that is paid, and then something breaks for nine minutes: what health said at their end."""
    browser, delivered = world.sign_in("asha"), set[str]()
    minutes_pass(world)
    turn_both(world)
    assert ask_health(world)["status"] == "ok"
    assert world.buy(browser).status_code == 303
    world.on_payment_page(world.sessions()[-1], "pay")
    world.wire.breaks, world.wire.lasts, world.wire.steps_left = breaks, True, 0
    for _ in range(3):
        deliver(world, delivered)
        for loop in loops:
            turn(world, loop)
        minutes_pass(world)
    said, world.wire.steps_left, world.wire.lasts = ask_health(world), None, False
    while len(delivered) < len(world.events("")) or unsent(world) or world.orders()[-1].state != "fulfilled":
        deliver(world, delivered)
        turn_both(world)
        minutes_pass(world)
    turn_both(world)
    return said


@pytest.fixture
def patient_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a busy machine the time it needs."""
    monkeypatch.setattr(health, "ANSWER_WITHIN_S", 60.0)


@pytest.mark.usefixtures("patient_health")
@pytest.mark.parametrize("fault", LASTING)
def test_health_tells_the_truth_while_a_fault_lasts(
    world: ShopAndSandbox, mailed: list[str], fault: str
) -> None:
    """Never "ok" while the database is away, a loop stands still or emails are stuck; "ok" afterwards."""
    breaks, loops, part = LASTING[fault]
    said = sell_while(world, breaks, loops)
    assert said["status"] != "ok"
    assert said[part] != "ok"
    check(world, mailed, fault)
    assert ask_health(world)["status"] == "ok"
