"""Texts of shoppers' pages are marked for translation, and a translation is one file."""

import ast
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from flask import Flask
from flask_babel import ngettext
from jinja2 import Environment

ROOT = Path(__file__).parents[3]
FOR_STAFF = {"operator", "qa", "sandbox", "preflight"}  # in English only
FOLDERS = ("templates", "storefront/subscriptions/templates")
OF_PACKAGE = ROOT / "storefront/subscriptions/templates/subscriptions"
REPLACED = {OF_PACKAGE / "_form.html", OF_PACKAGE / "_start.html"}  # by the demo's own
TEMPLATES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".html", ".txt") and not FOR_STAFF & set(path.parts) and path not in REPLACED
)
JINJA = Environment(extensions=["jinja2.ext.i18n"])


def unmarked(source: str) -> list[str]:
    """Words between the tags, and in attributes that people meet, that are not in `_` or `trans`."""
    shown, inside = [], 0
    for _line, kind, text in JINJA.lex(source):
        if kind == "name" and text in ("trans", "endtrans"):
            inside += 1 if text == "trans" else -1
        if kind == "data" and inside == 0:
            shown.append(text)
        elif kind == "variable_begin":
            shown.append("\0")  # a value, not a word of the template
    page = "".join(shown)
    page = re.sub(r"<(style|svg)\b.*?</\1>|\bpage--\w+|&\w+;", "", page, flags=re.S)
    spoken = re.findall(r'(?:aria-label|alt|title|placeholder)="([^"]*)"', page)
    return [text for text in [*re.split(r"<[^>]*>", page), *spoken] if re.search(r"[A-Za-z]{2}", text)]


def test_unmarked_word_is_found() -> None:
    assert unmarked('<p>Hello {{ name }}</p> {{ _("World") }} {% trans %}there{% endtrans %}') == ["Hello \0"]
    assert unmarked('<a title="Go on">{{ _("Go") }}</a>') == ["Go on"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_text_is_marked(name: str) -> None:
    assert unmarked((ROOT / name).read_text()) == []


@pytest.fixture(scope="module")
def extracted() -> dict[Any, str]:
    """As `make texts` extracts them."""
    with (ROOT / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)
    marks = {"_": None, "lazy": None, "gettext": None, "ngettext": (1, 2)}
    found = extract_from_dir(ROOT, methods, options, keywords=marks)
    return {text: filename for filename, _line, text, _comments, _context in found}


@pytest.mark.parametrize(
    "text",
    [
        "Choose a plan",  # a page
        "Enter your name.",  # a form
        "Not available at the moment",  # an error page
        "Checking your payment",  # a phase
        "Sign in to continue.",  # a message
        "Usage is billed afterwards, on top of this price.",  # the pricing page
        ("%(count)s more", "%(count)s more"),  # singular and plural
    ],
)
def test_texts_are_extracted_from_everywhere(extracted: dict[Any, str], text: Any) -> None:
    assert text in extracted


FOR_OPERATORS = {
    "It does not run, or it is assigned already.",
    "The customer has this plan already, or an open order for it.",
}


def sentences(path: Path) -> set[str]:
    """What a module returns, keeps under a name, or hands to a page: texts of more than one word."""
    found: list[ast.AST | None] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Return | ast.Assign):
            found.append(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += node.args if node.func.id in ("message", "said", "Refused") else []
    constants = [
        part for value in found if value for part in ast.walk(value) if isinstance(part, ast.Constant)
    ]
    texts = {part.value for part in constants if isinstance(part.value, str)}
    return {text for text in texts if re.match(r"[A-Z][A-Za-z]* [a-z]", text)} - FOR_OPERATORS


@pytest.mark.parametrize(
    "name", ["checkout/views.py", "checkout/offers.py", "subscriptions/views.py", "subscriptions/changes.py"]
)
def test_sentences_of_packages_are_extracted(extracted: dict[Any, str], name: str) -> None:
    said = sentences(ROOT / "storefront" / name)
    assert said
    assert said - set(extracted) == set()
    assert not [text for text in said if "%" in text]  # they are translated without values


def test_pages_of_staff_are_not_extracted(extracted: dict[Any, str]) -> None:
    assert [name for name in extracted.values() if FOR_STAFF & set(Path(name).with_suffix("").parts)] == []


@pytest.fixture
def german(tmp_path: Path, app: Flask) -> Iterator[dict[str, str]]:
    """A second language, as a translator hands it in."""
    from flask_babel import get_babel

    translated = Catalog(locale="de")
    translated.add("Sign in", "Anmelden")
    translated.add("Email", "E-Mail-Adresse")
    translated.add("Enter your email address.", "Geben Sie Ihre E-Mail-Adresse an.")
    translated.add("Page not found", "Seite nicht gefunden")
    translated.add(("a minute", "%(num)d minutes"), ("einer Minute", "%(num)d Minuten"))
    file = tmp_path / "texts" / "de" / "LC_MESSAGES" / "messages.mo"
    file.parent.mkdir(parents=True)
    write_mo(written := BytesIO(), translated)
    file.write_bytes(written.getvalue())
    folders = get_babel(app).translation_directories
    before = app.config["BABEL_TRANSLATION_DIRECTORIES"], folders[:]
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(tmp_path / "texts")
    folders[:] = [str(tmp_path / "texts")]
    yield {"Accept-Language": "de-AT,en;q=0.3"}
    app.config["BABEL_TRANSLATION_DIRECTORIES"], folders[:] = before


def test_language_is_one_file(browser: Any, german: dict[str, str]) -> None:
    page = browser.get("/sign-in", headers=german).text
    assert '<html lang="de-AT" dir="ltr">' in page
    assert ">Anmelden</h1>" in page
    assert ">E-Mail-Adresse</label>" in page
    assert "Forgot your password?" in page  # not translated yet
    assert ">Seite nicht gefunden</h1>" in browser.get("/nowhere", headers=german).text
    assert '<html lang="en-IN" dir="ltr">' in browser.get("/sign-in").text


def test_form_errors_are_translated_for_each_visitor(browser: Any, german: dict[str, str]) -> None:
    fields, same = {"email": "", "password": "x"}, {"Sec-Fetch-Site": "same-origin"}
    browser.get("/sign-in")
    assert "Geben Sie Ihre" in browser.raw_post("/sign-in", fields, headers=german | same).text
    assert "Enter your email address." in browser.raw_post("/sign-in", fields, headers=same).text


@pytest.mark.parametrize(("number", "written"), [(1, "einer Minute"), (3, "3 Minuten")])
def test_singular_and_plural(app: Flask, german: dict[str, str], number: int, written: str) -> None:
    with app.test_request_context(headers=german):
        assert ngettext("a minute", "%(num)d minutes", number) == written
