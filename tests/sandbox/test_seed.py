"""Plans from a file, YAML or JSON: at the start, and by the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from storefront.sandbox import create_app
from storefront.sandbox.cli import main
from storefront.sandbox.control.seeding import read_plans
from storefront.sandbox.settings import SandboxSettings

YAML = """
plans:
  - name: Solo
    lookup_key: solo
    prices:
      - {currency: inr, amount: "99"}
  - name: Big Team
    prices:
      - {currency: usd, amount: "49.5", billing_period: ANNUAL}
"""
PLANS = [{"name": "Solo", "prices": [{"currency": "inr", "amount": "99"}]}]


@pytest.mark.parametrize(("name", "text"), [("plans.yaml", YAML), ("plans.json", json.dumps(PLANS))])
def test_the_default_store_begins_with_the_plans_of_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    app = create_app(SandboxSettings(database_url="sqlite://", seed=str(tmp_path / name)))
    client = app.test_client()

    def plan(key: str, store: str = "default") -> Any:
        return client.get(f"/v1/plans/lookup/{key}", headers={"x-api-key": f"sk_sandbox_{store}"})

    assert plan("solo").json["prices"][0]["amount"] == "99"
    assert plan("solo", "another").status_code == 404
    assert client.post("/_sandbox/reset", json={}).status_code == 200
    assert plan("solo").json["name"] == "Solo"
    if name == "plans.yaml":
        assert plan("big_team").json["prices"][0]["billing_period"] == "ANNUAL"


def test_plans_are_added_to_a_sandbox_that_runs(sandbox: Any, tmp_path: Path) -> None:
    (tmp_path / "plans.yml").write_text(YAML)
    env = {"SANDBOX_URL": sandbox.base, "FLEXPRICE_API_KEY": "sk_sandbox_seeded"}

    ran = CliRunner().invoke(main, ["seed", str(tmp_path / "plans.yml")], env=env)

    assert ran.output.split() == ["solo", "big_team"]
    found = sandbox.get("/v1/plans/lookup/solo", headers={"x-api-key": "sk_sandbox_seeded"})
    assert found.json()["prices"][0]["amount"] == "99"


@pytest.mark.parametrize("text", ["plans: 7", "a: [", "just words", "!!python/object/apply:os.system [true]"])
def test_a_file_that_is_no_list_of_plans_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plans.yaml").write_text(text)

    with pytest.raises(ValueError, match=r"plans\.yaml"):
        read_plans(tmp_path / "plans.yaml")
    ran = CliRunner().invoke(main, ["seed", str(tmp_path / "plans.yaml")], env={"SANDBOX_URL": None})
    assert ran.exit_code == 1
