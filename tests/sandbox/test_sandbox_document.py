"""docs/sandbox.md: its commands run, its programs verify a webhook, its tables are complete."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml  # type: ignore[import-untyped]

from storefront.sandbox import create_app
from storefront.sandbox.control.faults import FAULTS
from storefront.sandbox.delivery.modes import MODES
from storefront.sandbox.settings import SandboxSettings
from tests.clients.__main__ import sandbox as started_sandbox

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "sandbox.md").read_text()
SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgZG9jdW1lbnQncyB0ZXN0"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with started_sandbox() as (base, _):
        yield base


def wrapper(folder: Path, name: str, line: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.mark.thorough
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed here")
def test_every_command_works(url: str, tmp_path: Path) -> None:
    first, *rest = blocks("sh")
    assert "flexprice-sandbox serve" in first  # tests/sandbox/test_wheel.py installs and starts it
    tools = tmp_path / "tools"
    tools.mkdir()
    wrapper(tools, "curl", f'exec {shutil.which("curl")} --fail-with-body -S "$@"')
    wrapper(tools, "flexprice-sandbox", f'PYTHONPATH={ROOT} exec {sys.executable} -m storefront.sandbox "$@"')
    script = "set -eu\n" + "\n".join(rest).replace("http://127.0.0.1:8001", url)
    environ = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}

    ran = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    for said in ('"checkout_status":"completed"', '"type":"checkout.session.completed"', "whsec_", "cs_"):
        assert said in ran.stdout
    assert '"name":"timeout_after"' in ran.stdout
    assert "The store is empty" in ran.stdout


PROGRAMS = [
    pytest.param("python", "hook.py", [sys.executable, "hook.py"], id="python"),
    pytest.param("js", "hook.mjs", ["node", "hook.mjs"], id="node"),
    pytest.param("go", "hook.go", ["go", "run", "hook.go"], id="go", marks=pytest.mark.thorough),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("language", "file", "command"), PROGRAMS)
def test_each_program_verifies_a_webhook(
    url: str, tmp_path: Path, language: str, file: str, command: list[str]
) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = next(block for block in blocks(language) if "9000" in block)
    (tmp_path / file).write_text(program.replace("9000", str(port)))
    environ = os.environ | {"SECRET": SECRET}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as hook:
        try:
            _listens(port)
            assert _lines(url, language, f"http://127.0.0.1:{port}/", hook) == [
                "verified customer.created",
                "refused customer.updated",
            ]
        finally:
            os.killpg(hook.pid, 15)  # `go run` starts a process of its own


def test_the_yaml_can_be_used_as_it_stands(tmp_path: Path) -> None:
    seed, services = blocks("yaml")
    (tmp_path / "plans.yaml").write_text(seed)

    app = create_app(SandboxSettings(database_url="sqlite://", seed=str(tmp_path / "plans.yaml")))

    plan = app.test_client().get("/v1/plans/lookup/pro", headers={"x-api-key": "sk_sandbox_default"}).json
    assert plan is not None
    assert len(plan["prices"]) == len(plan["entitlements"]) == 2
    service = yaml.safe_load(services)["services"]["flexprice"]
    assert (service["ports"], list(service["env"])) == (["8001:8001"], ["SANDBOX_URL"])
    app.extensions["sandbox"].close()


def _listens(port: int) -> None:
    for _ in range(3000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the program does not listen")


def _lines(url: str, language: str, hook_url: str, hook: "subprocess.Popen[str]") -> list[str]:
    """A good message, then one with a wrong signature."""
    key = {"x-api-key": f"sk_sandbox_hook-{language}"}

    def call(method: str, path: str, body: Any) -> Any:
        answer = requests.request(method, url + path, json=body, headers=key, timeout=30)
        assert answer.status_code < 300, answer.text
        return answer.json()

    call("PUT", "/_sandbox/store", {"webhook_url": hook_url, "webhook_secret": SECRET})
    customer = call("POST", "/v1/customers", {"external_id": "u1", "name": "Asha"})
    call("POST", "/_sandbox/deliver", {})
    call("POST", "/_sandbox/webhooks", {"mode": "bad_signature"})
    call("PUT", f"/v1/customers/{customer['id']}", {"name": "Asha Rao"})
    call("POST", "/_sandbox/deliver", {})
    assert hook.stdout
    return [hook.stdout.readline().strip() for _ in range(2)]


def test_every_fault_and_delivery_is_named() -> None:
    part = TEXT.split("## Faults")[1].split("## ")[0]
    hidden = {"environment_unresolved", "tenant_unverified", "normal", "before_redirect", "after"}

    assert [name for name in (*FAULTS, *MODES) if f"`{name}`" not in part and name not in hidden] == []
