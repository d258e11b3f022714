"""The shop's pages in Hindi: they fit, nothing is cut, and they are accessible."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import update

from storefront.extensions import db
from storefront.models import User
from tests.e2e.conftest import cdn_answers
from tests.e2e.gallery import NAMES
from tests.e2e.test_pages import BEST_PRACTICE, LOOKS, STANDARD, apply_look, found, too_wide

pytestmark = pytest.mark.browser

OF_SHOPPERS = [name for name in NAMES if not name.startswith(("qa", "operator", "sent "))]
CUT = """() => [...document.querySelectorAll(".button, .tag, .pill, dt, dd, .nav a, .nav__button")]
  .filter(part => part.clientWidth && part.scrollWidth > part.clientWidth + 1).map(part => part.innerText)"""


@pytest.fixture(scope="module")
def hindi(visitors: Any, gallery: Any) -> Iterator[Callable[[str], Page]]:
    """Opens a page of the gallery in Hindi; those who are signed in have chosen it in the footer."""
    known: dict[str, BrowserContext] = {}

    def chosen(who: str) -> BrowserContext:
        context: BrowserContext = visitors.context(who, locale="hi-IN")
        page = context.new_page()
        cdn_answers(page, b"")
        page.goto(gallery.url + "/terms")
        if who:  # signed up in English
            page.get_by_role("button", name="हिन्दी").click()
        expect(page.locator("html")).to_have_attribute("lang", "hi-IN")
        return context

    def at(name: str) -> Page:
        view = gallery.views()[name]
        if view.who not in known:
            known[view.who] = chosen(view.who)
        return visitors.go(view, known[view.who].pages[0])  # type: ignore[no-any-return]

    yield at
    for context in known.values():
        context.close()
    with gallery.app.app_context():  # the accounts are those of the tests after these
        db.session.execute(update(User).values(language="en"))
        db.session.commit()


def problems(page: Page, axe: str, look_name: str) -> list[Any]:
    """What is too wide or cut at each width, and what axe-core finds in one look."""
    expect(page.locator("html")).to_have_attribute("lang", "hi-IN")
    wrong: list[Any] = []
    for width in (320, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        if too_wide(page) or page.evaluate(CUT):
            wrong.append((width, too_wide(page), page.evaluate(CUT)))
    apply_look(page, look_name)
    return wrong + found(page, axe, STANDARD + BEST_PRACTICE)


@pytest.mark.thorough
@pytest.mark.parametrize("name", OF_SHOPPERS)
def test_page_in_hindi_fits_and_is_accessible(hindi: Any, axe: str, name: str) -> None:
    for look_name in LOOKS:
        assert problems(hindi(name), axe, look_name) == []
