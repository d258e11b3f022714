"""Every package is pinned exactly, every pinned package is needed, and none is missing."""

import ast
import re
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
# SQLAlchemy and Flask-Limiter find their drivers by a URL; servers are started by their commands.
WITHOUT_IMPORT = {"psycopg", "redis", "gunicorn", "waitress"}


def name_of(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def pinned(block: str) -> list[Requirement]:
    """The packages of one part of requirements.txt."""
    lines = [line.partition("#")[0].strip() for line in block.splitlines()]
    return [Requirement(line) for line in lines if line]


def parts() -> tuple[list[Requirement], list[Requirement]]:
    text = (ROOT / "requirements.txt").read_text()
    ours, mark, theirs = text.partition("# Dependencies of those.")
    assert mark
    return pinned(ours), pinned(theirs)


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("requirements*.txt")))
def test_every_package_is_pinned_exactly(name: str) -> None:
    packages = pinned(re.sub(r"(?m)^-r .*", "", (ROOT / name).read_text()))
    assert packages
    for wanted in packages:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(wanted.specifier)), wanted


def test_every_package_we_name_is_imported() -> None:
    files = [*(ROOT / "storefront").rglob("*.py"), ROOT / "wsgi.py"]
    modules: set[str] = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    whose = packages_distributions()
    imported = {name_of(dist) for module in modules for dist in whose.get(module, [])}
    assert {name_of(wanted.name) for wanted in parts()[0]} - imported <= WITHOUT_IMPORT


def test_dependencies_are_pinned_and_nothing_else() -> None:
    named, brought = parts()
    found: set[tuple[str, frozenset[str]]] = set()
    to_do = [(name_of(wanted.name), frozenset(wanted.extras)) for wanted in named]
    while to_do:
        name, extras = to_do.pop()
        if (name, extras) in found:
            continue
        found.add((name, extras))
        for line in requires(name) or ():
            needed = Requirement(line)
            marks = [{"extra": extra} for extra in ("", *extras)]
            if needed.marker is None or any(needed.marker.evaluate(mark) for mark in marks):
                to_do.append((name_of(needed.name), frozenset(needed.extras)))
    needed_names = {name for name, _ in found}
    assert needed_names - {name_of(w.name) for w in named} == {name_of(w.name) for w in brought}
