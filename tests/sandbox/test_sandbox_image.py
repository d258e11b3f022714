"""The sandbox's Dockerfile, as far as it can be tested without Docker: its steps are walked by hand."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "storefront" / "sandbox"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def step(kind: str) -> str:
    """An instruction of the last stage."""
    found = re.findall(rf"^{kind} (.+)$", DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


def words(kind: str) -> list[str]:
    line = step(kind)
    return list(json.loads(line[line.index("[") :]))


def settings() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in step("ENV").split())


def test_it_does_not_run_as_root_and_has_one_port() -> None:
    assert step("USER") == "nobody"
    assert step("EXPOSE") == settings()["SANDBOX_PORT"] == "8001"
    assert settings()["SANDBOX_HOST"] == "0.0.0.0"


def test_the_context_has_no_build_of_this_machine() -> None:
    rules = (FOLDER / ".dockerignore").read_text().split()
    for name in ("build", "flexprice_sandbox.egg-info"):
        assert any(fnmatch(name, rule) for rule in rules)
    assert "**/__pycache__" in rules


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The package under its own name, as the wheel installs it."""
    shutil.copytree(FOLDER, tmp_path / "flexprice_sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.thorough
def test_it_serves_is_healthy_and_stops_cleanly(image: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    given = settings() | {"SANDBOX_PORT": port, "SANDBOX_HOST": "127.0.0.1"}
    environ = given | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(image),
    }
    environ["SANDBOX_DATABASE_URL"] = f"sqlite:///{image}/data/sandbox.db"  # a volume
    assert words("ENTRYPOINT") == ["flexprice-sandbox"]
    serve = [sys.executable, "-m", "flexprice_sandbox", *words("CMD")]
    check = [word.replace("8001", port) for word in words("HEALTHCHECK")]

    with subprocess.Popen(
        serve, cwd=image, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        try:
            assert any(_is_healthy(check, environ) for _ in range(100))
            server.send_signal(getattr(signal, step("STOPSIGNAL")))
            assert server.wait(20) == 0
            assert server.stdout
            assert f"http://127.0.0.1:{port}/v1" in server.stdout.read().decode()
        finally:
            if server.poll() is None:
                server.kill()
    assert (image / "data" / "sandbox.db").exists()
    assert not _is_healthy(check, environ)


def _is_healthy(check: list[str], environ: dict[str, str]) -> bool:
    if subprocess.run(check, env=environ, capture_output=True, check=False).returncode == 0:
        return True
    time.sleep(0.2)
    return False


def test_compose_starts_it_by_a_profile() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["sandbox"]

    assert service["profiles"] == ["sandbox"]
    assert (ROOT / service["build"] / "Dockerfile").exists()
    assert service["ports"] == ["127.0.0.1:8001:8001"]
