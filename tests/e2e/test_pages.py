"""What holds of every page in every state: readable for all, at any width, in any light."""

import os
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.gallery import DESK, ERRORS, LETTERS, OF_LENA, ORDERS, SEEN_AS, SHELVES, SPECIAL

pytestmark = pytest.mark.browser

PAGES = [
    *(f"plans {shelf}" for shelf in SHELVES),
    "plans by the year",
    "plans in dollars by the year",
    "plans, one owned",
    "plans, not a member",
    "a plan",
    "a long plan",
    "a plan, owned",
    "a plan, down",
    "sign in",
    "sign in to go on",
    "sign in, empty",
    "sign in, wrong",
    "sign up",
    "sign up for a plan",
    "sign up, empty",
    "sign up, taken",
    "sign up, easily guessed",
    "forgotten",
    "forgotten, empty",
    "forgotten, sent",
    "a new password",
    "a new password, short",
    *(f"order {phase}" for phase in (*ORDERS, *SPECIAL, *OF_LENA, *SEEN_AS)),
    "receipt",
    "receipt, returned",
    "receipt, invoice to come",
    "receipt, long",
    "account",
    "account, empty",
    "account, long",
    "members",
    "members, long",
    "letters",
    "letters, empty",
    *(f"a letter, {kind}" for kind in LETTERS),
    *(f"mail {kind}" for kind in LETTERS),
    *(f"error {kind}" for kind in ERRORS),
    "qa",
    "qa, empty",
    "qa, one order",
    "qa, one lost",
    *(f"desk {page}" for page in DESK),
    "desk order",
    "desk order, delivered",
    "desk message",
    "desk search",
    "desk search, nothing",
]
GUISES = {"wide, by day": ("light", 1280, 800), "on a phone, at night": ("dark", 390, 844)}
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
HABITS = ["best-practice"]  # of pages: a letter stands in a page that is not ours


def found(page: Page, axe: str, standard: list[str]) -> list[str]:
    """What axe-core finds: the rule, and the first places."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(axe)
    options = {
        "resultTypes": ["violations"],
        "runOnly": standard,
        "rules": {"target-size": {"enabled": True}},
    }
    result = page.evaluate("options => axe.run(options)", options)
    return [
        f"{rule['id']}: {rule['help']}: {[node['html'][:200] for node in rule['nodes'][:3]]}"
        for rule in result["violations"]
    ]


def too_wide(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def guises(number: int) -> list[str]:
    """In which the page of this number is examined. All in CI; in `make test` the pages take turns."""
    all_of_them = list(GUISES)
    return all_of_them if os.environ.get("REQUIRE_BROWSER") else all_of_them[number % 4 : number % 4 + 1]


def put_on(page: Page, guise: str) -> None:
    light, width, height = GUISES[guise]
    page.emulate_media(color_scheme=light)
    page.set_viewport_size({"width": width, "height": height})


@pytest.fixture
def look(visitors: Any, gallery: Any) -> Any:
    """Opens a page of the gallery by its name."""

    def at(name: str) -> Page:
        sight = gallery.pages()[name]
        page = visitors.page(sight.who)
        page.set_viewport_size({"width": 1280, "height": 800})
        page.emulate_media(
            media="screen", color_scheme="light", reduced_motion="reduce", forced_colors="none"
        )
        return visitors.go(sight)

    return at


def test_no_page_is_left_out(gallery: Any) -> None:
    assert sorted(PAGES) == sorted(gallery.pages())


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_for_everybody(look: Any, axe: str, name: str) -> None:
    page = look(name)
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)

    standard = STANDARD if name.startswith("mail ") else STANDARD + HABITS
    for guise in guises(PAGES.index(name)):
        put_on(page, guise)
        assert found(page, axe, standard) == [], guise

    page.set_viewport_size({"width": 320, "height": 640})
    assert too_wide(page) == 0, "on the smallest phone"
    page.set_viewport_size({"width": 768, "height": 1024})
    assert too_wide(page) == 0, "on a tablet"
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert too_wide(page) == 0, "with text of twice the size"


@pytest.mark.parametrize(
    "name", ["sign in, empty", "sign up, empty", "forgotten, empty", "a new password, short"]
)
def test_errors_are_tied_to_their_fields(look: Any, name: str) -> None:
    page = look(name)
    expect(page).to_have_title(re.compile("^Error:"))
    wrong = page.locator("[aria-invalid=true]")
    assert wrong.count() == page.locator("main input:visible").count()
    for field in wrong.all():
        described = (field.get_attribute("aria-describedby") or "").split()
        assert any(page.locator(f"#{part}").inner_text().startswith("Please") for part in described)
    page.get_by_role("alert").get_by_role("link").first.click()
    expect(wrong.first).to_be_focused()


def test_the_first_tab_skips_to_the_content(look: Any) -> None:
    page = look("plans usual")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("main input[type=radio]").first).to_be_focused()


def test_focus_is_seen_on_everything(look: Any) -> None:
    """Each stop of the keyboard has a ring of at least two pixels."""
    page = look("account")
    ring = "getComputedStyle(document.activeElement).outlineWidth"
    for stop in range(12):
        page.keyboard.press("Tab")
        assert float(page.evaluate(ring).removesuffix("px")) >= 2, f"stop {stop}"


def test_forced_colors_and_reduced_motion_are_respected(look: Any) -> None:
    page = look("order checking")
    still = "document.getAnimations().length"
    assert page.evaluate(still) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(still) > 0
    page.emulate_media(forced_colors="active")
    border = page.locator(".money").evaluate("box => getComputedStyle(box).borderTopWidth")
    assert border != "0px"


def test_only_the_receipt_is_printed(look: Any) -> None:
    page = look("receipt")
    page.emulate_media(media="print")
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    for gone in (page.locator("nav"), page.locator(".back"), page.locator(".no-print")):
        expect(gone.first).to_be_hidden()


def test_plans_are_compared_line_by_line(look: Any) -> None:
    """Prices, buttons and every feature stand at the same height on all cards of a row."""
    page = look("plans usual")
    for part in (
        ".price",
        ".purchase",
        ".feature:nth-child(1)",
        ".feature:nth-child(4)",
        ".feature:last-child",
    ):
        tops = page.locator(f".card {part}").evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().top)"
        )
        assert len(tops) == 3
        assert max(tops) - min(tops) < 1, part


def test_a_yearly_price_says_what_it_comes_to(look: Any) -> None:
    page = look("plans by the year")
    team = page.locator(".card", has=page.get_by_role("heading", name="Team"))
    for said in (
        "14,995.00",
        "1,249.58 a month",
        "You save ₹2,999.00",
        "plus tax",
        "does not renew by itself",
    ):
        expect(team).to_contain_text(said)


def test_the_owned_plan_is_marked_and_not_sold_again(look: Any) -> None:
    page = look("plans, one owned")
    starter = page.locator(".card", has=page.get_by_role("heading", name="Starter"))
    expect(starter).to_contain_text("Current")
    expect(starter.get_by_role("button")).to_have_count(0)
