"""Hindi: the catalogue is complete and says the same, and who reads it in which language."""

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask

from storefront.emails.models import Email
from storefront.emails.rendering import render
from storefront.extensions import db
from storefront.models import User
from tests.shop_fixtures import NOW, Browser

ROOT = Path(__file__).parents[3]
FILE = ROOT / "translations" / "hi" / "LC_MESSAGES" / "messages.po"
IN_HINDI = {"Accept-Language": "hi,en;q=0.5"}
SAME_SITE = {"Sec-Fetch-Site": "same-origin", "Referer": "http://127.0.0.1:8000/plans?currency=inr"}


# -- the catalogue -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    with FILE.open("rb") as file:
        return read_po(file, locale="hi")


def forms(text: Any) -> tuple[str, ...]:
    """The singular, and the plural where there is one."""
    return (text,) if isinstance(text, str) else tuple(text)


def texts(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def test_catalog_has_the_texts_of_today(catalog: Catalog) -> None:
    """A text that was changed in English is to be translated again: `make texts` adds it."""
    with (ROOT / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)
    marks = {"_": None, "lazy": None, "gettext": None, "ngettext": (1, 2)}
    found = extract_from_dir(ROOT, methods, options, keywords=marks)
    assert {forms(message.id) for message in texts(catalog)} == {forms(text) for _f, _l, text, *_ in found}
    assert not catalog.obsolete


def test_every_text_is_translated(catalog: Catalog) -> None:
    wrong = [m.id for m in texts(catalog) if m.fuzzy or not all(text.strip() for text in forms(m.string))]
    assert wrong == []


def frame(text: str) -> tuple[set[str], list[str], str, str]:
    """What a translation must keep: placeholders, tags, and the blanks around it."""
    bare = text.strip()
    before, _, after = text.partition(bare)
    return set(re.findall(r"%\(\w+\)[sd]|%%", text)), re.findall(r"<[^>]*>", text), before, after


def test_placeholders_and_tags_are_kept(catalog: Catalog) -> None:
    for message in texts(catalog):
        plural = forms(message.id)[-1]
        assert [frame(text) for text in forms(message.string)[-1:]] == [frame(plural)], message.id


def test_numbers_and_names_are_kept(catalog: Catalog) -> None:
    """A period or an amount of days is the same promise; names stay as their owners write them."""
    kept = re.compile(r"\d+|UPI|GSTIN|Razorpay|Flexprice|PDF|@example\.com")
    for message in texts(catalog):
        english, hindi = forms(message.id)[-1], forms(message.string)[-1]
        assert sorted(kept.findall(hindi)) == sorted(kept.findall(english)) or "GSTIN" in hindi, english


def test_sentences_stay_sentences(catalog: Catalog) -> None:
    for message in texts(catalog):
        english, hindi = forms(message.id)[-1], forms(message.string)[-1]
        assert english.endswith(".") == hindi.endswith("।"), english
        assert english.endswith("?") == hindi.endswith("?"), english


def test_compiled_file_is_of_this_catalog(catalog: Catalog) -> None:
    """`make texts` compiles it."""
    write_mo(compiled := BytesIO(), catalog)
    assert compiled.getvalue() == FILE.with_suffix(".mo").read_bytes()


# -- pages -------------------------------------------------------------------------------------------


def choose(browser: Browser, language: str) -> Any:
    return browser.raw_post("/language", {"language": language}, headers=SAME_SITE)


def test_browser_in_hindi_reads_hindi(browser: Browser) -> None:
    answer = browser.get("/sign-in", headers=IN_HINDI)
    assert '<html lang="hi" dir="ltr">' in answer.text
    assert ">साइन इन करें</h1>" in answer.text
    assert {"Accept-Language", "Cookie"} <= set(answer.headers.get("Vary", "").split(", "))
    assert "<h1>पेज नहीं मिला</h1>" in browser.get("/nowhere", headers=IN_HINDI).text


def test_language_is_chosen_on_any_page(browser: Browser) -> None:
    assert 'lang="hi">हिन्दी</button>' in browser.get("/terms").text
    answer = choose(browser, "hi")
    assert (answer.status_code, answer.location) == (303, "/plans?currency=inr")
    assert ">शर्तें</h1>" in browser.get("/terms", headers={"Accept-Language": "en-GB"}).text
    choose(browser, "en")
    assert '<html lang="en-GB"' in browser.get("/terms", headers={"Accept-Language": "hi,en-GB"}).text


def test_unknown_language_changes_nothing(browser: Browser) -> None:
    assert choose(browser, "../hi").status_code == 303
    assert '<html lang="en-IN"' in browser.get("/terms").text


def test_another_site_cannot_choose(browser: Browser) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert browser.raw_post("/language", {"language": "hi"}, headers=headers).status_code == 400
    assert '<html lang="en-IN"' in browser.get("/terms").text


def test_account_keeps_the_language(asha: Browser, open_browser: Callable[[], Browser]) -> None:
    choose(asha, "hi")
    other = open_browser()
    other.sign_in()
    assert ">आपका खाता</h1>" in other.get("/account").text
    other.post("/sign-out")
    assert '<html lang="hi"' in other.get("/").text


def test_language_chosen_before_the_sign_in_is_the_accounts(
    app: Flask, browser: Browser, add_user: Callable[..., int]
) -> None:
    add_user()
    choose(browser, "hi")
    browser.sign_in()
    with app.app_context():
        assert db.session.get_one(User, 1).language == "hi"


def test_fragment_in_another_language_is_another(asha: Browser, add_order: Callable[..., str]) -> None:
    path = f"/orders/{add_order(state='fulfilled', paid_at=NOW, fulfilled_at=NOW)}/status"
    english = asha.get(path)
    choose(asha, "hi")
    hindi = asha.get(path, headers={"If-None-Match": english.headers["ETag"]})
    assert (english.status_code, hindi.status_code) == (200, 200)
    assert "भुगतान मिल गया" in hindi.text


def test_pages_of_staff_stay_english(operator: Browser) -> None:
    choose(operator, "hi")
    page = operator.get("/operator/").text
    assert '<html lang="en-IN"' in page
    assert "हिन्दी" not in page


def test_billing_page_is_in_hindi(asha: Browser) -> None:
    choose(asha, "hi")
    assert "अभी आपका कोई प्लान नहीं है।" in asha.get("/billing").text
    assert "<h1>पेज नहीं मिला</h1>" in asha.get("/billing/subscriptions/x/cancel").text


# -- emails ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("add_order")
def test_buyer_in_hindi_gets_hindi(context: Flask, add_user: Callable[..., int], add_order: Any) -> None:
    user = db.session.get_one(User, add_user())
    user.language, user.email_confirmed_at = "hi", NOW
    add_order(state="fulfilled", paid_at=NOW, fulfilled_at=NOW)
    email = Email(kind="welcome", user_id=user.id, order_id=1, created_at=NOW, expires_at=NOW)
    db.session.add(email)
    db.session.flush()
    rendered = render(email)
    assert rendered.subject.endswith("प्लान सक्रिय है")
    assert rendered.text.startswith("नमस्ते Asha Rao,\n")
    assert "सित॰ 2026" in rendered.text
    assert '<html lang="hi">' in rendered.html


def test_news_about_a_plan_is_in_hindi(context: Flask, add_user: Callable[..., int]) -> None:
    user = db.session.get_one(User, add_user())
    user.language = "hi"
    details = json.dumps({"fact": "ended", "plan": "Team", "date": ""})
    email = Email(kind="billing", user=user, details=details, created_at=NOW, expires_at=NOW)
    assert render(email).subject == "आपका प्लान Team समाप्त हो गया है"
