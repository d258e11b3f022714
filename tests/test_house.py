"""The walls of the house: who may import whom. And: the shop stands without its sandbox."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOP = ROOT / "storefront"
FILES = sorted(path for path in (*SHOP.rglob("*.py"), ROOT / "wsgi.py") if "migrations" not in path.parts)

# Which part of the house must not import what. A part may always import itself.
WALLS = {
    "everything": ["storefront.sandbox"],  # delete it and the shop still runs
    "storefront.flexprice": ["storefront"],  # people lift it out whole
    "storefront.sandbox": ["storefront"],  # a signer that shares code with the verifier agrees with itself
    "storefront.lifecycle": ["storefront"],  # it can be printed
    "spine": ["storefront.web", "storefront.cli", "storefront.worker", "flask.request", "flask.session"],
    "storefront.orders": ["storefront.fulfillment"],  # arrows go one way, and nobody looks back
    "storefront.outbox": ["storefront.fulfillment", "storefront.orders"],
    "storefront.inbox": ["storefront.fulfillment", "storefront.orders"],
    "door": ["storefront.web"],  # doors do not open into each other
}

# These may import nothing else, besides themselves and (flexprice) the standard library.
ONLY = {
    "storefront.flexprice": {"requests", "standardwebhooks", *sys.stdlib_module_names},
    "storefront.lifecycle": {"enum"},
}

# The sign-in guard, the ladder of looks, and what else all doors have in common.
COMMON_TO_DOORS = {f"storefront.web.{name}" for name in ("security", "pace", "words", "kept", "patience")}


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def parts(path: Path) -> list[str]:
    """The names under which this file may appear in the tables above."""
    name = module(path).split(".")
    found = ["everything", *(".".join(name[:length]) for length in range(2, len(name) + 1))]
    if path.parent == SHOP and path.stem not in ("__init__", "cli", "worker"):
        found.append("spine")
    if path.parent == SHOP / "web" and path.stem != "__init__":
        found.append("door")
    return found


def imports(path: Path) -> Iterator[str]:
    """Every name this file imports, wherever in it: `from a import b` gives a.b."""
    package = module(path).split(".")
    if path.stem != "__init__":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def itself(path: Path, part: str, name: str) -> bool:
    return within(name, part) or within(name, module(path))


@pytest.mark.parametrize("path", FILES, ids=module)
def test_no_file_imports_through_a_wall(path):
    common = COMMON_TO_DOORS if "door" in parts(path) else set()
    broken = [
        f"{module(path)} imports {name}"
        for part in parts(path)
        for wall in WALLS.get(part, [])
        for name in imports(path)
        if within(name, wall)
        and not itself(path, part, name)
        and not any(within(name, door) for door in common)
        if not (wall == "storefront.sandbox" and "storefront.sandbox" in parts(path))
    ]
    assert broken == []


@pytest.mark.parametrize("path", FILES, ids=module)
def test_what_is_lifted_out_brings_little_along(path):
    broken = [
        f"{module(path)} imports {name}"
        for part in parts(path)
        for name in imports(path)
        if part in ONLY and not itself(path, part, name) and name.split(".")[0] not in ONLY[part]
    ]
    assert broken == []


@pytest.mark.parametrize("path", FILES, ids=module)
def test_the_environment_is_read_in_settings_only(path):
    if path.name == "wsgi.py" or module(path) == "storefront.settings" or "storefront.sandbox" in parts(path):
        return
    read = [name for name in imports(path) if name in ("os.environ", "os.getenv")]
    read += [
        f"os.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and ast.unparse(node.value) == "os"
    ]
    assert read == []


def test_the_walls_notice_an_import_inside_a_function(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "storefront" / "web" / "plans.py"
    file.parent.mkdir(parents=True)
    file.write_text("import os\ndef f():\n    from ..sandbox import store\n    from . import checkout\n")
    assert list(imports(file)) == ["os", "storefront.sandbox.store", "storefront.web.checkout"]


BUILD = """
import importlib.util
assert importlib.util.find_spec("storefront.sandbox") is None
from storefront import create_app
from storefront.settings import Settings
app = create_app(Settings.from_env())
print(*sorted(rule.rule for rule in app.url_map.iter_rules()), sep="\\n")
"""


def test_the_shop_stands_without_its_sandbox(tmp_path):
    away = shutil.ignore_patterns("sandbox", "sandbox.*", "__pycache__")
    for part in ("storefront", "templates", "static"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=away)
    environ = {
        "PATH": os.environ["PATH"],
        "FLEXPRICE_API_URL": "http://127.0.0.1:9/v1",
        "FLEXPRICE_API_KEY": "sk_of_a_test",
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "STOREFRONT_URL": "http://127.0.0.1:8000",
        "SECRET_KEY": "thirty-two characters, or more..",
        "DATABASE_URL": f"sqlite:///{tmp_path}/shop.db",
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@shop.example",
    }
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert built.returncode == 0, built.stderr
    assert "/healthz" in built.stdout.split()
