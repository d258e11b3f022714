"""Every page in every state: accessible, at any width, light and dark."""

import os
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.gallery import NAMES

pytestmark = pytest.mark.browser

LOOKS = {"wide, light": ("light", 1280, 800), "phone, dark": ("dark", 390, 844)}
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
BEST_PRACTICE = ["best-practice"]  # of pages; an email is shown in a page that is not ours


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


def looks(number: int) -> list[str]:
    """How the page of this number is checked: in every look in CI, in turns in `make test`."""
    all_of_them = list(LOOKS)
    return all_of_them if os.environ.get("REQUIRE_BROWSER") else all_of_them[number % 4 : number % 4 + 1]


def apply_look(page: Page, look_name: str) -> None:
    light, width, height = LOOKS[look_name]
    page.emulate_media(color_scheme=light)
    page.set_viewport_size({"width": width, "height": height})


@pytest.fixture
def look(visitors: Any, gallery: Any) -> Any:
    """Opens a page of the gallery by name."""

    def at(name: str) -> Page:
        view = gallery.views()[name]
        page = visitors.page(view.who)
        page.set_viewport_size({"width": 1280, "height": 800})
        page.emulate_media(
            media="screen", color_scheme="light", reduced_motion="reduce", forced_colors="none"
        )
        return visitors.go(view)

    return at


def test_no_page_is_left_out(gallery: Any) -> None:
    assert sorted(NAMES) == sorted(gallery.views())


@pytest.mark.parametrize("name", NAMES)
def test_page_is_accessible_and_fits(look: Any, axe: str, name: str) -> None:
    page = look(name)
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)

    standard = STANDARD if name.startswith("sent ") else STANDARD + BEST_PRACTICE
    for look_name in looks(NAMES.index(name)):
        apply_look(page, look_name)
        assert found(page, axe, standard) == [], look_name

    page.set_viewport_size({"width": 320, "height": 640})
    assert too_wide(page) == 0, "on the smallest phone"
    page.set_viewport_size({"width": 768, "height": 1024})
    assert too_wide(page) == 0, "on a tablet"
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert too_wide(page) == 0, "with text of twice the size"


@pytest.mark.thorough
def test_names_without_a_space_wrap_on_the_smallest_phone(look: Any) -> None:
    """Sixty characters: a plan's, a feature's, an invoice's number, an email address.

    Kind: long text on narrow screens.
    """
    for name in ("plans long", "account, long", "billing, long", "billing, change long"):
        page = look(name)
        page.set_viewport_size({"width": 320, "height": 640})
        assert too_wide(page) == 0, name


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
        assert any(page.locator(f"#{part}").inner_text().strip() for part in described)
    page.get_by_role("alert").get_by_role("link").first.click()
    expect(wrong.first).to_be_focused()


def test_first_tab_skips_to_the_content(look: Any) -> None:
    page = look("plans usual")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("main a.pill").first).to_be_focused()


@pytest.mark.thorough
def test_focus_is_visible_everywhere(look: Any) -> None:
    """Each focused element has a ring of at least two pixels."""
    page = look("account")
    ring = "getComputedStyle(document.activeElement).outlineWidth"
    for stop in range(12):
        page.keyboard.press("Tab")
        assert float(page.evaluate(ring).removesuffix("px")) >= 2, f"stop {stop}"


@pytest.mark.thorough
def test_forced_colors_and_reduced_motion_are_respected(look: Any) -> None:
    page = look("order checking")
    still = "document.getAnimations().length"
    assert page.evaluate(still) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(still) > 0
    page.emulate_media(forced_colors="active")
    border = page.locator(".money").evaluate("box => getComputedStyle(box).borderTopWidth")
    assert border != "0px"


@pytest.mark.thorough
def test_only_the_receipt_is_printed(look: Any) -> None:
    page = look("receipt")
    page.emulate_media(media="print")
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    for gone in (page.locator("nav"), page.locator(".back"), page.locator(".no-print")):
        expect(gone.first).to_be_hidden()


def test_plans_are_compared_side_by_side(look: Any) -> None:
    """Prices, buttons and the first features are at the same height on all cards of a row."""
    page = look("plans usual")
    for part in (
        ".price",
        ".purchase",
        ".feature:nth-child(1)",
    ):
        tops = page.locator(f".cards > .card {part}").evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().top)"
        )
        assert len(tops) == 4
        assert max(tops) - min(tops) < 1, part


def test_yearly_price_says_what_it_saves(look: Any) -> None:
    page = look("plans by the year")
    team = page.locator(".card", has=page.get_by_role("heading", name="Team"))
    for said in (
        "₹14,990 /year",
        "₹1,249.17/month, billed yearly",
        "Save ₹2,998 (17%) a year",
        "plus tax",
        "Nothing is charged automatically.",
    ):
        expect(team).to_contain_text(said)


@pytest.mark.thorough
def test_owned_plan_is_marked_and_not_sold_again(look: Any) -> None:
    page = look("plans, one owned")
    starter = page.locator(".card", has=page.get_by_role("heading", name="Starter"))
    expect(starter).to_contain_text("Current")
    expect(starter.get_by_role("link", name="Buy Starter")).to_have_count(0)


@pytest.mark.thorough
def test_recommended_plan_is_on_a_phones_first_screen(look: Any) -> None:
    page = look("plans usual")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_role("link", name="Buy Team")).to_be_in_viewport(ratio=1)


@pytest.mark.thorough
def test_times_are_in_the_readers_zone(visitors: Any, gallery: Any) -> None:
    """Without script they are in the shop's zone, which is named."""
    path = gallery.views()["receipt"].path
    for options, zone in (
        ({"timezone_id": "America/New_York"}, r"(EST|EDT|GMT-[45])"),
        ({"timezone_id": "America/New_York", "java_script_enabled": False}, "IST"),
        ({"timezone_id": "Asia/Kolkata"}, "IST"),
    ):
        context = visitors.context("asha", **options)
        page = context.new_page()
        page.goto(gallery.url + path)
        expect(page.locator("main time").first).to_have_text(re.compile(rf"\d\d:\d\d {zone}$"))
        context.close()
