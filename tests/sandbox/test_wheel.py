"""The wheel `flexprice-sandbox`: what is in it, what it needs, and that it runs under its own name."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "storefront" / "sandbox"
NOT_OF_THE_SHOP = {"flask-login", "flask-wtf", "flask-migrate", "flask-sqlalchemy", "psycopg", "requests"}
COMMANDS = {"serve", "pay", "messages", "resend", "clock", "scenario", "seed", "reset"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """Built without the network, from a copy of the folder alone."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        SOURCE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    )
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    built = subprocess.run(
        [sys.executable, "-m", "pip", *words, "-w", str(folder), str(folder / "source")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("flexprice_sandbox-*-py3-none-any.whl")
    return zipfile.Path(file)


def metadata(wheel: zipfile.Path) -> Message:
    (folder,) = (entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    return message_from_string((folder / "METADATA").read_text())


def entry_points(wheel: zipfile.Path) -> str:
    (folder,) = (entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    return (folder / "entry_points.txt").read_text()


@pytest.mark.thorough
def test_every_file_of_the_package_is_in_it(wheel: zipfile.Path) -> None:
    beside = {"pyproject.toml", "README.md", "Dockerfile", ".dockerignore"}
    ours = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if path.is_file() and not {"__pycache__", "build", "flexprice_sandbox.egg-info"} & set(path.parts)
    }
    names = [name for name in wheel.root.namelist() if not name.endswith("/")]

    packed = {name.removeprefix("flexprice_sandbox/") for name in names if ".dist-info/" not in name}
    assert packed == ours - beside
    assert all(name.startswith("flexprice_sandbox") for name in names)


def test_it_needs_what_it_imports_and_nothing_of_the_shop(wheel: zipfile.Path) -> None:
    needed = [Requirement(text) for text in metadata(wheel).get_all("Requires-Dist", [])]
    always = {one.name.lower() for one in needed if one.marker is None}
    whose = packages_distributions()
    imported = {whose[name][0].lower() for name in _imported() if name in whose} - {"pytest"}

    assert always == imported - {"fpdf2", "fonttools"}  # the extra `pdf`
    assert not always & NOT_OF_THE_SHOP
    assert {one.name for one in needed} - always == {"tzdata", "psycopg", "fpdf2"}


def _imported() -> set[str]:
    nodes = [node for file in SOURCE.rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names


def test_no_import_names_the_package_it_is_in() -> None:
    for file in SOURCE.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (storefront|flexprice_sandbox)\b", file.read_text(), re.M), (
            file
        )


def test_it_brings_a_command_and_a_pytest_plugin(wheel: zipfile.Path) -> None:
    text = entry_points(wheel)

    assert "[console_scripts]\nflexprice-sandbox = flexprice_sandbox.cli:main" in text
    assert "[pytest11]\nflexprice_sandbox = flexprice_sandbox.pytest_plugin" in text


@pytest.mark.thorough
def test_it_runs_under_its_own_name(wheel: zipfile.Path, tmp_path: Path) -> None:
    wheel.root.extractall(tmp_path)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    code = (
        "import flexprice_sandbox, sys; flexprice_sandbox.create_app(); sys.exit('storefront' in sys.modules)"
    )
    environ["SANDBOX_DATABASE_URL"] = "sqlite://"

    def ran(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    ran("-W", "error", "-c", code)
    assert set(re.findall(r"^  (\w+)", ran("-m", "flexprice_sandbox", "--help"), re.M)) >= COMMANDS
