"""The test scenarios of the sandbox, walked from top to bottom through the real shop."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from storefront.sandbox.control.scenarios import GROUPS, SCENARIOS

SCENARIO_PAGE = "/_sandbox/scenarios"


@pytest.fixture(scope="module")
def world(tmp_path_factory: Any, a_world: Callable[[Path], Any]) -> Iterator[Any]:
    world = a_world(tmp_path_factory.mktemp("guide"))
    yield world
    world.close()


def press(world: Any, path: str, **fields: str) -> requests.Response:
    """A button of the guide's page, as a browser without script sends it."""
    form = {"back": SCENARIO_PAGE} | fields
    return requests.post(world.sandbox_url + path, data=form, headers={"Accept": "text/html"}, timeout=20)


def page(world: Any) -> str:
    return requests.get(world.sandbox_url + SCENARIO_PAGE, timeout=20).text


def result(world: Any) -> dict[str, Any]:
    """By scenario."""
    rows = requests.get(f"{world.sandbox_url}{SCENARIO_PAGE}/result.json", timeout=20).json()["scenarios"]
    return {row["scenario"]: row for row in rows}


def buy(world: Any) -> tuple[Any, str]:
    shopper = world.shopper(f"Tester{len(world.shoppers)} Rao")
    answer = shopper.buy()
    world.deliver()
    return shopper, answer.headers.get("Location", "")


def buy_and_pay(world: Any, method: str = "success@razorpay") -> Any:
    shopper, url = buy(world)
    back = shopper.pay(url, method)
    world.settle()
    return shopper, back


def pay_twice(world: Any) -> None:
    shopper, url = buy(world)
    shopper.pay(url, "failure@razorpay")
    shopper.pay(url)
    world.settle()


def cancel(world: Any) -> None:
    shopper, _ = buy(world)
    shopper.cancel(world.order())
    world.settle()


def buy_and_wait(world: Any) -> None:
    buy(world)
    for label, path, fields in SCENARIOS["not-paid-in-time"].buttons:
        assert press(world, path, **fields).url.endswith(SCENARIO_PAGE), label
    world.settle()


def try_again_and_pay(world: Any) -> None:
    shopper, url = buy(world)
    assert "/pay/" not in url
    shopper.pay(shopper.try_again(world.order()).headers["Location"])
    world.settle()


def wait_for_the_link_and_pay(world: Any) -> None:
    shopper, _ = buy(world)
    world.settle()
    shopper.pay(world.pay_url())
    world.settle()


def pay_and_look(world: Any) -> None:
    shopper, back = buy_and_pay(world)
    shopper.see(back.headers["Location"])
    world.work()
    assert shopper.phase(world.order()) == "ready"


def pay_and_let_time_pass(world: Any) -> None:
    buy_and_pay(world)
    press(world, "/_sandbox/clock", advance="6m", through="yes")
    world.settle()


def pay_and_never_hear_of_it(world: Any) -> None:
    buy_and_pay(world)
    press(world, "/_sandbox/clock", advance="66m")
    world.settle()


# What the tester does for each scenario that has a stage of its own.
WALKS: dict[str, Callable[[Any], Any]] = {
    "upi-declined": lambda world: buy_and_pay(world, "failure@razorpay"),
    "declined-then-paid": pay_twice,
    "cancel": cancel,
    "merchant-cancels": buy_and_pay,
    "link-expires": buy_and_pay,
    "paid-too-late": buy_and_pay,
    "customer-missing": buy_and_pay,
    "zero-amount": lambda world: press(world, f"{SCENARIO_PAGE}/zero-amount/send"),
    "duplicate-key": lambda world: press(world, f"{SCENARIO_PAGE}/duplicate-key/send"),
    "not-paid-in-time": buy_and_wait,
    "link-paid-off": pay_and_never_hear_of_it,
    "api-down": try_again_and_pay,
    "answer-lost": wait_for_the_link_and_pay,
    "webhook-lost": pay_and_look,
    "webhook-retried": pay_and_let_time_pass,
    "forgery": buy,
}


@pytest.mark.parametrize("key", [key for key in SCENARIOS if key.startswith("pay-")])
def test_each_test_card_ticks_its_own_line(world: Any, key: str) -> None:
    assert not result(world)[key]["passed"]

    buy_and_pay(world, SCENARIOS[key].title.partition(": ")[2])

    row = result(world)[key]
    assert row["passed"]
    assert row["evidence"]["session"] == world.order().session_id
    assert row["evidence"]


@pytest.mark.parametrize("key", list(WALKS))
def test_a_scenario_ticks_by_itself_when_it_happened(world: Any, key: str) -> None:
    assert not result(world)[key]["passed"]
    if not SCENARIOS[key].continues:
        press(world, f"{SCENARIO_PAGE}/{key}/start")
        assert "(started)" in page(world)
        assert not result(world)[key]["passed"]

    WALKS[key](world)

    row = result(world)[key]
    assert row["passed"], row
    assert row["evidence"]
    assert requests.get(f"{world.sandbox_url}/_sandbox/overrides", timeout=5).json()["items"] == []


@pytest.mark.thorough
def test_every_scenario_was_walked(world: Any) -> None:
    """And the result can be handed on."""
    told = requests.get(f"{world.sandbox_url}{SCENARIO_PAGE}/result.md", timeout=20)

    assert {key for key in SCENARIOS if not key.startswith("pay-")} == set(WALKS)
    assert all(row["passed"] for row in result(world).values())
    assert f"{len(SCENARIOS)} of {len(SCENARIOS)} passed" in told.text
    assert told.text.count("| ✓ |") == len(SCENARIOS)
    assert re.findall("^## (.+)$", told.text, re.MULTILINE) == list(GROUPS)
    assert told.headers["Content-Type"].startswith("text/markdown")


def test_one_press_sets_the_stage_and_leads_to_the_shop(world: Any) -> None:
    """Where there is always a plan to buy: what was bought for ticked lines has ended."""
    buy_and_pay(world)
    assert result(world)["pay-successrazorpay"]["passed"]
    before = len([access for access in world.accesses() if access.revoked_at is None])
    url, form = f"{world.sandbox_url}{SCENARIO_PAGE}/webhook-lost/start", {"then": "shop"}

    answer = requests.post(url, data=form, allow_redirects=False, timeout=20)
    world.settle()

    assert (answer.status_code, answer.headers["Location"]) == (303, world.shop_url)
    assert world.shop_url in answer.headers["Content-Security-Policy"]
    assert "(started)" in page(world)
    still = [access for access in world.accesses() if access.revoked_at is None]
    assert len(still) < before


def test_the_list_can_be_started_over(world: Any) -> None:
    press(world, f"{SCENARIO_PAGE}/restart")

    assert not any(row["passed"] for row in result(world).values())


def test_plans_can_be_given_back(world: Any) -> None:
    shopper, _ = buy_and_pay(world)
    press(world, f"{SCENARIO_PAGE}/end-subscriptions")
    world.settle()

    assert shopper.buy().headers["Location"] == world.pay_url()
