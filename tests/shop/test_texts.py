"""Texts are gathered: none is missed, and a translation is a file and nothing else."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from jinja2 import Environment

from storefront.web import words

ROOT = Path(__file__).parents[2]
FOR_STAFF = {"operator", "qa", "sandbox"}  # these speak English
TEMPLATES = sorted(
    path.relative_to(ROOT / "templates").as_posix()
    for path in (ROOT / "templates").rglob("*")
    if path.suffix in (".html", ".txt") and not FOR_STAFF & set(path.parts)
)
JINJA = Environment(extensions=["jinja2.ext.i18n"])


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Once is enough: nothing here is about rows."""
    return sqlite_in(tmp_path)


def said_outright(source):
    """Words between the tags, and in the attributes people meet, that no `_` or `trans` holds."""
    shown, inside = [], 0
    for _line, kind, text in JINJA.lex(source):
        if kind == "name" and text in ("trans", "endtrans"):
            inside += 1 if text == "trans" else -1
        if kind == "data" and inside == 0:
            shown.append(text)
        elif kind == "variable_begin":
            shown.append("\0")  # whatever it is, it is not a word of the template
    page = "".join(shown)
    page = re.sub(r"<(style|svg)\b.*?</\1>|\bpage--\w+|&\w+;", "", page, flags=re.S)
    spoken = re.findall(r'(?:aria-label|alt|title|placeholder)="([^"]*)"', page)
    return [text for text in [*re.split(r"<[^>]*>", page), *spoken] if re.search(r"[A-Za-z]{2}", text)]


def test_an_unmarked_word_is_noticed():
    assert said_outright('<p>Hello {{ name }}</p> {{ _("World") }} {% trans %}there{% endtrans %}') == [
        "Hello \0"
    ]
    assert said_outright('<a title="Go on">{{ _("Go") }}</a>') == ["Go on"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_text_is_said_outright(name):
    assert said_outright((ROOT / "templates" / name).read_text()) == []


@pytest.fixture(scope="module")
def gathered():
    """As `make texts` gathers them."""
    with (ROOT / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)
    marks = {"_": None, "lazy": None, "for_shoppers": None, "gettext": None, "ngettext": (1, 2)}
    found = extract_from_dir(ROOT, methods, options, keywords=marks)
    return {text: filename for filename, _line, text, _comments, _context in found}


@pytest.mark.parametrize(
    "text",
    [
        "Choose a plan",  # a page
        "Please enter your name.",  # a form
        "Payments are not available right now",  # an error page
        "Checking your payment",  # a phase
        "Please sign in to go on.",  # a message
        "Usage is billed afterwards, on top of this price.",  # the catalog
        "Thank you. Your payment has arrived and %(plan)s is open for you.",  # a letter
        ("%(count)s more", "%(count)s more"),  # one and many
    ],
)
def test_texts_are_gathered_from_everywhere(gathered, text):
    assert text in gathered


def test_nothing_of_the_sandbox_is_gathered(gathered):
    assert not [name for name in gathered.values() if FOR_STAFF & set(Path(name).with_suffix("").parts)]


@pytest.fixture
def german(tmp_path, monkeypatch):
    """A second language, as a translator would hand it in."""
    translated = Catalog(locale="de")
    translated.add("Sign in", "Anmelden")
    translated.add("E-mail", "E-Mail-Adresse")
    translated.add("Please enter your e-mail address.", "Bitte geben Sie Ihre E-Mail-Adresse an.")
    translated.add("Nothing here", "Hier ist nichts")
    translated.add(("a minute", "%(num)d minutes"), ("einer Minute", "%(num)d Minuten"))
    file = tmp_path / "texts" / "de" / "LC_MESSAGES" / "shop.mo"
    file.parent.mkdir(parents=True)
    write_mo(written := BytesIO(), translated)
    file.write_bytes(written.getvalue())
    monkeypatch.setattr(words, "TRANSLATIONS", tmp_path / "texts")
    for memory in (words.languages, words.texts):
        memory.cache_clear()
    yield {"Accept-Language": "de-AT,en;q=0.3"}
    for memory in (words.languages, words.texts):
        memory.cache_clear()


def test_a_language_is_one_file(browser, german):
    page = browser.get("/sign-in", headers=german).text
    assert '<html lang="de">' in page
    assert ">Anmelden</h1>" in page
    assert ">E-Mail-Adresse</label>" in page
    assert "Forgot your password?" in page  # not translated yet
    assert ">Hier ist nichts</h1>" in browser.get("/nowhere", headers=german).text
    assert '<html lang="en">' in browser.get("/sign-in").text


def test_errors_of_forms_are_translated_for_each_visitor(browser, german):
    fields = {"email": "", "password": "x", "csrf_token": browser.token()}
    assert "Bitte geben Sie" in browser.raw_post("/sign-in", fields, headers=german).text
    assert "Please enter your e-mail address." in browser.raw_post("/sign-in", fields).text


@pytest.mark.parametrize(("number", "said"), [(1, "einer Minute"), (3, "3 Minuten")])
def test_one_and_many(app, german, number, said):
    with app.test_request_context(headers=german):
        assert words.ngettext("a minute", "%(num)d minutes", number) % {"num": number} == said
