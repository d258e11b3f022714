"""Each thing that the shop talks to breaks once, at each point of a sale: afterwards the sale is whole.

The shop and the sandbox are real. A point is each commit, each call to Flexprice, its answer, and each email.
Both loops run as their commands run them: no fault ends them, and a paid order is fulfilled and emailed once.
"""

import smtplib
import socket
import sqlite3
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storefront.checkout import worker
from storefront.emails import smtp
from storefront.emails import worker as email_worker
from storefront.extensions import db
from tests.conftest import NewDatabase
from tests.shop_fixtures import send_webhook_to
from tests.unit.checkout.shop_and_sandbox import ANYWHERE, Killed, ShopAndSandbox

ROUNDS = 40  # of pressing, delivering and working until a sale must be whole
NO_NAME = socket.gaierror(socket.EAI_AGAIN, "no name server answers")
Fault = dict[str, Callable[[], BaseException]]
FAULTS: dict[str, Fault] = {
    "killed": dict(ANYWHERE),
    "database: connection lost": {"commit": lambda: OperationalError("", {}, Exception("server closed"))},
    "database: frozen": {"commit": lambda: OperationalError("", {}, Exception("no answer within 5 s"))},
    "database: no connection free": {"commit": PoolTimeout},
    "database: out of memory": {"commit": lambda: InternalError("", {}, Exception("out of memory"))},
    "disk: full": {"commit": lambda: OperationalError("", {}, sqlite3.OperationalError("disk is full"))},
    "Flexprice: refuses": {"call": requests.ConnectTimeout},
    "Flexprice: hangs": {"answer": requests.ReadTimeout},
    "Flexprice: hangs up": {"answer": lambda: requests.ConnectionError("reset by peer")},
    "DNS: does not answer": {"call": lambda: requests.ConnectionError(NO_NAME), "mail": lambda: NO_NAME},
    "mail: refuses": {"mail": ConnectionRefusedError},
    "mail: slow": {"mail": TimeoutError},
    "mail: hangs up": {"mail": lambda: smtplib.SMTPServerDisconnected("x")},
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
        for event_id in [one for one in world.events("") if one not in delivered]:
            if (body := world._body(event_id)) is None:
                continue
            answer = survive(world, lambda: send_webhook_to(world.shop, body, message_id=event_id))  # noqa: B023
            assert answer is None or answer.status_code in (204, 503)
            if answer is not None and answer.status_code == 204:
                delivered.add(event_id)
        for loop in (worker.run_forever, email_worker.run_forever):
            survive(world, lambda: turn(world, loop))  # noqa: B023
        if order and order.state == "fulfilled" and not unsent(world):
            break
        world.wait(3)
        make_emails_due(world)
    happened, world.wire.steps_left = world.wire.steps_left is None, None
    return happened


def unsent(world: ShopAndSandbox) -> list[Any]:
    from storefront.emails.models import Email

    return [email for email in world._shop_rows(Email) if email.sent_at is None]


def make_emails_due(world: ShopAndSandbox) -> None:
    from storefront.checkout.context import db_now
    from storefront.emails.models import Email

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
    """Each fault at one point; the next test takes all. Kind: no exception ends a loop, nothing is lost."""
    for number, (fault, breaks) in enumerate(FAULTS.items()):
        at = number // 2 if "mail" not in breaks or fault == "killed" else 0
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
