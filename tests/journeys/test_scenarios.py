"""The test scenarios of the sandbox, walked through the real shop; a verdict must be able to fail."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from storefront.sandbox.control.scenarios import GROUPS, SCENARIOS, runs
from storefront.sandbox.control.scenarios.facts import Facts, Shop
from storefront.sandbox.control.scenarios.shop_client import NOT_ASKED
from storefront.sandbox.control.scenarios.verdicts import FAILED, PASSED, judge
from storefront.sandbox.store.control_rows import Override
from tests.journeys.scenario_walks import PAGE, WALKS, Walker

PLAIN_SALES = {"pay-successrazorpay"}  # what a sale without any trouble passes


@pytest.fixture(scope="module")
def world(tmp_path_factory: Any, a_world: Callable[[Path], Any]) -> Iterator[Any]:
    world = a_world(tmp_path_factory.mktemp("scenarios"), one_clock=True)
    yield world
    world.close()


def walked(world: Any, key: str) -> None:
    """Passes when it is walked, and only then."""
    tester = Walker(world, key)
    if not SCENARIOS[key].calls:
        tester.start()
        assert (tester.row()["verdict"], tester.row()["under_way"]) == ("Not run", True)
    WALKS[key](tester)
    row = tester.row()
    unlike = [line for line in row["actual"] if not line["holds"]]
    assert row["verdict"] == PASSED, unlike
    assert row["shop"] == (PASSED if SCENARIOS[key].shop else NOT_ASKED)
    with world.flexprice() as session:
        assert session.count(Override, Override.kind != "provider") == 0


@pytest.mark.thorough
@pytest.mark.parametrize("key", GROUPS["Ways to pay"])
def test_ways_to_pay_pass(world: Any, key: str) -> None:
    walked(world, key)


@pytest.mark.thorough
@pytest.mark.parametrize("key", GROUPS["Endings"])
def test_endings_pass(world: Any, key: str) -> None:
    walked(world, key)


@pytest.mark.thorough
@pytest.mark.parametrize("key", GROUPS["Refusals"])
def test_refusals_pass(world: Any, key: str) -> None:
    walked(world, key)


@pytest.mark.thorough
@pytest.mark.parametrize("key", GROUPS["Network failures"])
def test_network_failures_pass(world: Any, key: str) -> None:
    walked(world, key)


@pytest.mark.thorough
@pytest.mark.parametrize("key", GROUPS["Renewals"])
def test_renewals_pass(world: Any, key: str) -> None:
    walked(world, key)


@pytest.mark.thorough
@pytest.mark.parametrize("key", GROUPS["Changes"])
def test_changes_pass(world: Any, key: str) -> None:
    walked(world, key)


def test_every_scenario_has_a_walk() -> None:
    assert set(WALKS) == set(SCENARIOS)


def test_a_scenario_that_nobody_walked_fails(world: Any) -> None:
    """All of them: there are no facts, and the shop has no order."""
    with world.flexprice() as session:
        nothing = Facts(session, None)
        verdicts = {key: judge(scenario, nothing, Shop({})).verdict for key, scenario in SCENARIOS.items()}

    assert set(verdicts.values()) == {FAILED}


@pytest.mark.thorough
def test_a_plain_sale_passes_no_other_scenario(world: Any) -> None:
    """Somebody who does something else than the steps say gets Failed."""
    tester = Walker(world, "pay-successrazorpay")
    tester.start()
    tester.returns(tester.buys_and_pays())
    with world.flexprice() as session:
        run = session.need(runs.ScenarioRun, tester.key)
        facts = runs.facts_of(session, run)
        passed = {key for key, one in SCENARIOS.items() if judge(one, facts, NOT_ASKED).verdict == PASSED}

    assert passed == PLAIN_SALES


def test_a_verdict_asks_the_shop_too(world: Any) -> None:
    tester = Walker(world, "pay-successrazorpay")
    tester.start()
    tester.returns(tester.buys_and_pays())
    assert tester.row()["verdict"] == PASSED
    url = f"{world.shop_url}/qa/result.json?customer={tester.row()['customer']}"
    from tests.journeys.conftest import QA_TOKEN

    told = requests.get(url, headers={"Authorization": f"Bearer {QA_TOKEN}"}, timeout=20).json()

    def with_order(**changes: Any) -> Shop:
        return Shop(told | {"orders": [told["orders"][0] | changes]})

    with world.flexprice() as session:
        facts = runs.facts_of(session, session.need(runs.ScenarioRun, tester.key))

        def verdict(shop: Any) -> str:
            return judge(SCENARIOS[tester.key], facts, shop).verdict

        assert verdict(Shop(told)) == PASSED
        assert verdict(NOT_ASKED) == PASSED
        assert verdict("no answer") == FAILED
        assert verdict(with_order(access="none")) == FAILED
        assert verdict(with_order(needs_person=True)) == FAILED
        assert verdict(Shop(told | {"emails": {"welcome": 2}})) == FAILED
        assert verdict(Shop(told | {"orders": told["orders"] * 2})) == FAILED


@pytest.mark.thorough
def test_a_verdict_says_who_tested_and_what_they_say(world: Any) -> None:
    tester = Walker(world, "cancel")
    tester.start()
    assert tester.verdict(who="Olga", comment="Too early | *really*") == FAILED
    row = tester.row()
    assert (row["sandbox"], row["shop"], row["who"]) == (FAILED, FAILED, "Olga")

    told = requests.get(f"{world.sandbox_url}{PAGE}/result.md", timeout=20)
    page = requests.get(f"{world.sandbox_url}{PAGE}/cancel", headers={"Accept": "text/html"}, timeout=20)

    assert told.headers["Content-Type"].startswith("text/markdown")
    assert r"Olga | Too early \| \*really\*" in told.text
    for said in ("Failed", "Olga", "Too early", SCENARIOS["cancel"].expected, row["actual"][0]["expected"]):
        assert said in page.text

    WALKS["cancel"](tester)
    assert tester.verdict(comment="Now it is right") == PASSED
    assert (tester.row()["who"], tester.row()["comment"]) == ("Olga", "Now it is right")


@pytest.mark.thorough
def test_a_scenario_touches_only_its_own_customer(world: Any) -> None:
    """What is arranged holds for the customer who signs up next, whatever others do."""
    other = Walker(world, "")
    other.signs_up()
    tester = Walker(world, "webhook-lost")
    tester.start()
    tester.signs_up()

    other.buys_and_pays()
    states = [delivery["state"] for delivery in world.deliveries()[-3:]]
    assert (other.shopper.phase(world.order()), set(states)) == ("ready", {"delivered"})
    tester.returns(tester.buys_and_pays())

    assert tester.row()["verdict"] == PASSED


def test_starting_leads_to_the_shop_and_names_the_scenario(world: Any) -> None:
    url, form = f"{world.sandbox_url}{PAGE}/webhook-lost/start", {"then": "shop"}
    answer = requests.post(url, data=form, allow_redirects=False, timeout=20)

    assert (answer.status_code, answer.headers["Location"]) == (303, world.shop_url)
    assert world.shop_url in answer.headers["Content-Security-Policy"]
    current = requests.get(f"{world.sandbox_url}{PAGE}/current", timeout=20).json()
    assert (current["scenario"], current["title"]) == ("webhook-lost", SCENARIOS["webhook-lost"].title)


def test_verdicts_can_be_forgotten(world: Any) -> None:
    Walker(world, "cancel").call(f"{PAGE}/restart")

    rows = requests.get(f"{world.sandbox_url}{PAGE}/result.json", timeout=20).json()["scenarios"]
    assert {row["verdict"] for row in rows} == {"Not run"}
    assert requests.get(f"{world.sandbox_url}{PAGE}/current", timeout=20).json() is None
