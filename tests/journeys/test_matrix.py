"""Every outcome of a payment, told in every way: what is sold and what the page says is true in each cell."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Outcome(NamedTuple):
    fulfilled: bool
    at_last: str  # the page, when all news is in
    until_then: set[str]  # what it may say until then
    comes_back: bool = False  # the browser is sent to the success page


OPEN = {"checking", "confirming", "waiting"}
OUTCOMES = {
    "paid": Outcome(True, "ready", OPEN | {"paid"}, comes_back=True),
    "declined": Outcome(False, "waiting", OPEN),
    "pending": Outcome(False, "waiting", OPEN),
    "cancelled": Outcome(False, "failed", OPEN),
    "link_expired": Outcome(False, "failed", OPEN),
    "not_paid_in_time": Outcome(False, "expired", OPEN),
    "paid_too_late": Outcome(False, "paid_late", OPEN | {"expired", "ended_unconfirmed"}, comes_back=True),
    "refunded": Outcome(True, "refund_reported", OPEN | {"paid", "ready"}, comes_back=True),
}
PLANS = (
    *("normal", "before_redirect", "after", "twice", "ten_at_once", "reversed", "drop"),
    *("bad_signature", "stale", "old_secret", "altered", "answer_500", "away"),
    # Told as usual, of a completion that went otherwise.
    "late",  # the browser is back before the payment is visible
    "in_parallel",
)
COMPLETIONS = ("late", "in_parallel")
REFUSED = {"bad_signature", "stale", "old_secret", "altered"}
MUCH_ALIKE = {"twice", "stale", "old_secret", "altered", "away"}  # to another in the list
UNHEARD = REFUSED | {"drop"}
SECONDS = "30"


@pytest.fixture(scope="module", params=list(OUTCOMES))
def outcome(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def world(outcome: str, tmp_path_factory: Any, a_world: Callable[[Path], Any]) -> Iterator[Any]:
    """One for all cells of an outcome: each has a shopper of its own."""
    world = a_world(tmp_path_factory.mktemp(outcome))
    yield world
    world.close()


@pytest.mark.parametrize(
    "plan", [pytest.param(plan, marks=pytest.mark.thorough) if plan in MUCH_ALIKE else plan for plan in PLANS]
)
def test_what_is_paid_is_delivered_once_and_the_page_tells_the_truth(
    world: Any, phase_of: Any, outcome: str, plan: str
) -> None:
    of = OUTCOMES[outcome]
    completion, told = (plan, "normal") if plan in COMPLETIONS else ("at_once", plan)
    world.control("webhooks", mode=told, seconds=SECONDS)  # the messages about the session's birth, too
    shopper = world.shopper(f"Asha{plan.title().replace('_', '')} Rao")
    url = shopper.buy().headers["Location"]
    order = world.order()
    world.deliver()

    staged = {"outcome": outcome, "completion": completion, "delivery": told, "seconds": SECONDS}
    answer = shopper.send(shopper.see(url), "/outcome", **staged)

    assert answer.headers.get("Location", "").startswith(f"{world.shop_url}/orders/") is of.comes_back
    page = "success" if of.comes_back else "failure"
    for moment in (at_once, news_comes, time_passes, shop_asks):
        moment(world)
        shown = shopper.order_page(order, page)
        said = phase_of(shown)
        assert [phase for phase, words in WORDS.items() if words in shown.text] == [said], moment.__name__
        assert said in of.until_then | {of.at_last}, moment.__name__
        assert PROOF.get(said, nothing)(world, order), f"{moment.__name__}: “{said}” is not so"
        assert len(bought(world, order)) <= of.fulfilled, moment.__name__

    # Nobody asks about a sale that is complete: of a refund the news alone tells.
    assert said == ("ready" if outcome == "refunded" and plan in UNHEARD else of.at_last)
    assert len(bought(world, order)) == of.fulfilled
    assert world.emails(order).count("welcome") == of.fulfilled
    if plan in REFUSED:
        assert not [message for message in world.events() if order.session_id in message.object_id]


def session(world: Any, order: Any) -> Any:
    return next(found for found in world.sessions() if found["id"] == order.session_id)


def bought(world: Any, order: Any) -> list[Any]:
    return [access for access in world.accesses() if access.order_id == order.id]


def nothing(_world: Any, _order: Any) -> bool:
    """A page that waits claims nothing."""
    return True


# What the page says, and says in no other phase.
WORDS = {
    "checking": "Checking your payment",
    "confirming": "We are confirming your payment",
    "waiting": "We have not received your payment yet",
    "paid": "Payment received</",
    "ready": "all set",
    "refund_reported": "A refund was reported",
    "failed": "Payment failed",
    "expired": "Payment link expired",
    "paid_late": "Payment received after the deadline",
    "ended_unconfirmed": "Your payment is being checked",
}

# What must be so when the page says it.
PROOF: dict[str, Callable[[Any, Any], Any]] = {
    "paid": lambda world, order: session(world, order)["checkout_status"] == "completed",
    "ready": bought,
    "failed": lambda world, order: session(world, order)["checkout_status"] == "failed",
    "expired": lambda world, order: session(world, order)["checkout_status"] == "expired",
    "refund_reported": bought,
    "paid_late": lambda world, order: (
        (session(world, order)["link_state"], bought(world, order)) == ("paid", [])
    ),
}


def at_once(world: Any) -> None:
    """The browser is faster than the news."""


def news_comes(world: Any) -> None:
    world.settle()


def time_passes(world: Any) -> None:
    """Six minutes: what was to be sent later is sent, what failed is tried again."""
    world.control("clock", advance="6m")
    world.settle()


def shop_asks(world: Any) -> None:
    """Whatever did not come is asked for."""
    for minutes in (2, 7):
        world.work(after=timedelta(minutes=minutes))
