"""docs/fidelity.md says what is so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from storefront.sandbox.engine.switches import SWITCHES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "fidelity.md").read_text()


def test_every_switch_and_every_choice_is_explained() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", TEXT.split("## Switches")[1].split("## ")[0], re.M))

    assert set(rows) == set(SWITCHES)
    for name, switch in SWITCHES.items():
        if not switch.many:
            assert all(f"`{choice}`" in rows[name] for choice in switch.choices), name


def test_every_route_is_named_and_no_other(api: Any) -> None:
    named = re.sub(r"\{[^}]*\}", "", TEXT.split("## What is there")[1].split("Any other")[0])

    for rule in api.app.url_map.iter_rules():
        if rule.rule.startswith("/v1/"):
            path = re.sub(r"<[^>]*>", "", rule.rule.removeprefix("/v1")).removesuffix("/cancel")
            assert path.rstrip("/") in named, rule.rule


def test_the_plan_of_ones_own_can_be_made_and_bought(api: Any) -> None:
    ((path, body),) = re.findall(r"`PUT (\S+)` with `(.+)` puts", TEXT)

    assert api.call("PUT", path, json.loads(body)).status_code == 200
    api.customer()
    assert api.bill(api.session("solo"))["total"] == "99"


def test_the_two_other_keys_are_what_they_are_said_to_be(api: Any) -> None:
    environment = re.search(r"X-Environment-ID: (env_\w+)", TEXT)[1]  # type: ignore[index]
    headers = {"x-api-key": f"{api.headers['x-api-key']}_operator", "X-Environment-ID": environment}

    assert "_read_only`" in TEXT
    assert api.post("/v1/plans/search", {}, headers=headers).status_code == 200


@pytest.mark.parametrize("place", [".env.example", "docs/settings.md"])
def test_every_variable_of_the_sandbox_is_told_where_people_look(place: str) -> None:
    read = re.findall(r'env\.get\("(SANDBOX_\w+)"\)', (ROOT / "storefront/sandbox/settings.py").read_text())
    told = (ROOT / place).read_text()

    assert len(read) >= 8
    assert [name for name in read if name not in told] == []
