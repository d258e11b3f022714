"""The documents agree with the code: every link, file, name and setting in them exists.

Their commands are run by tests/journeys/test_documented_commands.py.
"""

import ast
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from storefront.checkout import State
from tests.unit.code_lines import ROOT, breaches

DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CONTRACT = ROOT / "docs" / "flexprice-contract.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
LANGUAGES = {"sh", "python", "mermaid", "json", "text", "js", "javascript", "go", "yaml", ""}
MAX_README_WORDS = 900


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text())


# -- links ---------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    text = re.sub(r"<[^>]+>|[`*]", "", heading).strip().lower()
    kept = [c for c in text if c in " -_" or unicodedata.category(c)[0] in "LN"]
    return "".join(kept).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = prose(path)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {slug(heading) for heading in headings} | set(re.findall(r'<a id="([^"]+)"', text))


def is_there(base: Path, link: str) -> bool:
    """Whether a relative link, with or without an anchor, leads somewhere."""
    name, _, anchor = link.partition("#")
    target = (base.parent / name) if name else base
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))


def test_every_link_leads_somewhere() -> None:
    def dead_links(path: Path) -> list[str]:
        links = [link for link in LINK.findall(prose(path)) if "://" not in link]
        return [link for link in links if not is_there(path, link)]

    assert breaches(DOCS, dead_links) == {}


def code_files() -> Iterator[Path]:
    for folder in ("storefront", "tests", "templates", "static", "deploy"):
        for path in sorted((ROOT / folder).rglob("*")):
            text = path.suffix in (".py", ".html", ".js", ".css", ".conf", ".toml", ".yaml")
            if text and not {"recordings", "__pycache__"} & set(path.parts):
                yield path
    yield from (
        ROOT / name for name in ("wsgi.py", "Makefile", "Dockerfile", ".env.example", "pyproject.toml")
    )


CODE = list(code_files())


def test_documents_named_in_code_exist() -> None:
    def missing(path: Path) -> list[str]:
        named = re.findall(r"\bdocs/[\w./-]+\.(?:md|py|yml)(?:#[\w-]+)?", path.read_text())
        return [link for link in named if not is_there(ROOT / "README.md", link)]

    assert breaches(CODE, missing) == {}


DANGLING = re.compile(
    r"\bcontract,? \(?[A-J]\.\d|\bcontract [A-J]\b|\bdecisions? \d|\bamendment"
    r"|\(([A-J]\.\d+a?)(, [A-J]\.\d+a?)*\)|# [A-J]\.\d+a?\b|\bcase [A-Z]\d\b|\bhouse\.md|\bvoice\.md"
)


def test_no_citation_dangles() -> None:
    """A reason stands in its place, or is linked."""

    def dangling(path: Path) -> list[str]:
        lines = enumerate(path.read_text().splitlines(), 1)
        return [f"{n}: {line.strip()}" for n, line in lines if DANGLING.search(line)]

    files = [path for path in (*CODE, *DOCS) if path not in (CONTRACT, Path(__file__))]
    assert breaches(files, dangling) == {}


def test_every_document_is_linked() -> None:
    linked = {
        (path.parent / link.partition("#")[0]).resolve()
        for path in DOCS
        for link in LINK.findall(prose(path))
        if "://" not in link
    }
    assert [relative(path) for path in DOCS if path not in linked and path.name != "README.md"] == []


# -- code references -----------------------------------------------------------------------------------


def names(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    """All that a module or class defines: function, CONSTANT, Class, Class.method, Class.field."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield inside + node.name
        if isinstance(node, ast.ClassDef):
            yield from names(node.body, f"{node.name}.")
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (inside + target.id for target in targets if isinstance(target, ast.Name))


def defines(file: str, name: str) -> bool:
    place = ROOT / file
    if not place.exists():
        return False
    return not name or place.suffix != ".py" or name in names(ast.parse(place.read_text()).body)


def test_every_file_and_name_in_the_code_exists() -> None:
    def missing(path: Path) -> list[str]:
        named = re.findall(
            r"`((?:storefront|templates|static|tests|deploy)/[\w./-]*)`(?: `([\w.]+)`)?", prose(path)
        )
        ours = [(file, name) for file, name in named if not file.startswith("templates/checkout")]
        return [f"{file} {name}" for file, name in ours if not defines(file, name)]

    assert breaches(DOCS, missing) == {}


def test_every_difference_names_the_code_that_handles_it() -> None:
    rows = re.findall(r"^\| (?!what|---)(.*) \|$", (ROOT / "docs/differences.md").read_text(), re.MULTILINE)
    handled = [re.findall(r"`storefront/[\w/.]+` `[\w.]+`", row.rpartition(" | ")[2]) for row in rows]
    assert len(rows) == 24
    assert all(handled)


def known_settings() -> set[str]:
    """Every setting that code reads."""
    quoted = re.compile(r'"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"')
    found = {name for path in CODE if path.suffix == ".py" for name in quoted.findall(path.read_text())}
    return found | set(re.findall(r"^\s+([A-Z_]+):", (ROOT / "compose.yaml").read_text(), re.MULTILINE))


def test_every_setting_exists() -> None:
    example = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    known = known_settings() | example | {"FIXED_CHARGE", "FLAT_FEE", "CREATE_TIMEOUT", "OPERATION_CANCELLED"}

    def unknown(path: Path) -> set[str]:
        text = path.read_text()
        named = set(re.findall(r"[`$\"]([A-Z]+_[A-Z_]+)\b(?=[`=/\"])", text))
        return named - known - {name for _, name in re.findall(r"`(storefront/[\w./]+)` `(\w+)`", text)}

    assert breaches([path for path in DOCS if path != CONTRACT], unknown) == {}


def test_every_setting_of_the_checkout_is_documented() -> None:
    source = "".join(path.read_text() for path in (ROOT / "storefront/checkout").rglob("*.py"))
    read = set(re.findall(r'"((?:CHECKOUT|FLEXPRICE)_[A-Z_]+)"', source))
    documented = (ROOT / "docs/settings.md").read_text()
    assert [name for name in sorted(read) if f"`{name}`" not in documented] == []


# -- what they show ------------------------------------------------------------------------------------


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MAX_README_WORDS


def test_readme_shows_the_core_of_the_minimal_app() -> None:
    first = next(
        code for language, code in FENCE.findall((ROOT / "README.md").read_text()) if language == "python"
    )
    assert first in (ROOT / "docs/minimal_app.py").read_text()
    assert len(first.splitlines()) <= 35


def test_sketch_of_python_is_python() -> None:
    for path in DOCS:
        for language, code in FENCE.findall(path.read_text()):
            if language == "python":
                compile(code, relative(path), "exec")


def test_blocks_are_in_known_languages() -> None:
    languages = {language for path in DOCS for language, _ in FENCE.findall(path.read_text())}
    assert languages <= LANGUAGES


def test_templates_of_the_guide_exist() -> None:
    named = re.findall(r"`(\w+\.html)`", (ROOT / "docs/copying.md").read_text())
    ours = {path.name for path in (ROOT / "storefront/checkout/templates/checkout").iterdir()}
    assert set(named) - {"base.html", "checkout_layout.html"} <= ours


RULES = [
    rule
    for group in yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_is_explained_and_watches_a_metric(rule: dict[str, str]) -> None:
    runbook = (ROOT / "docs/operating.md").read_text()
    assert re.search(rf"^\| .*\b{rule['alert']}\b", runbook, re.MULTILINE)
    metrics = "".join(path.read_text() for path in (ROOT / "storefront/operations").rglob("*.py"))
    figures = re.findall(r"\bstorefront_(\w+)", rule["expr"])
    assert figures
    assert [name for name in figures if not is_measured(name, metrics)] == []
    for states in re.findall(r'state=~?"([^"]+)"', rule["expr"]):
        assert set(states.split("|")) <= set(State)


def is_measured(name: str, metrics: str) -> bool:
    """Whether the source has this metric, whole or made of a queue's name and an ending."""
    name = re.sub("_(total|bucket|count|sum)$", "", name)
    queue, ending = re.fullmatch("(.*?)(_due|_oldest_due_seconds)?", name).groups()  # type: ignore[union-attr]
    return name in metrics or bool(ending and f'"{queue}"' in metrics and ending in metrics)
