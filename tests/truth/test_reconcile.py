"""Every webhook was lost: one command makes up for it, and late webhooks find nothing to do."""

from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner

from storefront import cli, worker


@pytest.fixture
def street(street: Any) -> Any:
    street.begin_afresh()
    return street


@pytest.fixture
def run(street: Any) -> Any:
    def command(*options: str) -> Any:
        with street.shop.app_context():
            return CliRunner().invoke(cli.ask_about_all, options, obj=None)

    return command


def test_two_hundred_orders_without_one_webhook(street: Any) -> None:
    many = 200 if street.on_sqlite else 40
    paid, ended = many * 3 // 4, many // 8
    for number in range(many):
        assert street.click(street.member(f"shopper{number}")).status_code == 303
    sessions = street.at_flexprice("sessions")
    for number, session in enumerate(sessions):
        if number % 4:  # three in four pay; of the rest some were cancelled by the merchant, some are open
            street.on_payment_page(session, "pay")
        elif number % 8:
            street.on_payment_page(session, "cancel")

    before = street.everything()
    rehearsed = street.reconcile(dry=True)
    assert street.everything() == before
    ends = {"failed": ended, "awaiting_payment": ended}
    assert Counter(asked.after for asked in rehearsed) == {"paid": paid} | ends

    assert len(street.reconcile()) == many
    states = Counter(order.state for order in street.orders())
    assert states == {"fulfilled": paid} | ends
    assert len(street.accesses()) == len(street.letters("welcome")) == paid

    once = street.everything()
    street.reconcile()
    assert street.everything() == once

    street.deliver(*street.messages("checkout.session."))
    with street.shop.app_context():
        assert worker.read_inbox(street.now()) == many + paid + ended  # each was opened, and most have ended
    assert street.everything() == once


def test_the_command_says_what_it_did(street: Any, run: Any) -> None:
    street.click(street.member("asha"))
    street.click(street.member("bela"))
    street.on_payment_page(street.at_flexprice("sessions")[0], "pay")
    ref = street.orders()[0].ref[-8:]

    rehearsed = run("--dry-run")
    assert rehearsed.exit_code == 0
    assert f"order {ref}: awaiting_payment → paid" in rehearsed.output
    assert "Nothing was written." in rehearsed.output

    done = run()
    assert done.exit_code == 0
    assert f"order {ref}: awaiting_payment → fulfilled" in done.output
    assert "2 orders were waiting: 1 awaiting payment; 1 fulfilled." in done.output

    again = run()
    assert "1 orders were waiting" in again.output
    assert "→" not in again.output


def test_the_command_fails_when_flexprice_cannot_be_asked_and_does_not_ask_for_ever(
    street: Any, run: Any
) -> None:
    for name in "abcdefgh":
        street.click(street.member(f"shopper-{name}"))
    for session in street.at_flexprice("sessions"):
        street.wire.wrong["GET", f"/v1/checkout/sessions/{session['id']}"] = "unreachable"

    failed = run()
    assert failed.exit_code == 1
    assert failed.output.count("could not be asked about:") == 5
    assert {order.state for order in street.orders()} == {"awaiting_payment"}


def test_nobody_waits_and_the_command_says_so(run: Any) -> None:
    assert "0 orders were waiting." in run().output
