"""The README's pictures: `make pictures` buys a plan in a browser, for real, and keeps what it saw in docs/.

python -m tests.e2e.pictures [folder]
"""

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import ARGUMENTS, CHROMIUM, running_demo
from tests.e2e.gallery import PASSWORD, View, running

DOCS = Path(__file__).resolve().parents[2] / "docs"
DESKTOP = {"width": 1120, "height": 1085}
PHONE = {"width": 390, "height": 844}


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        running_demo(Path(home)) as demo,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        sale(browser, demo.shop, folder)
        browser.close()
    with (
        tempfile.TemporaryDirectory() as home,
        running(Path(home)) as gallery,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        dark(browser, gallery.url, gallery.views(), folder)
        browser.close()


def sale(browser: Browser, shop: str, folder: Path) -> None:
    """By the year: plans, the payment page, the order that is ready."""
    page = browser.new_page(viewport=DESKTOP, locale="en-IN", reduced_motion="reduce")
    page.goto(f"{shop}/plans?billing_period=ANNUAL&currency=inr")
    keep(page, folder / "plans.png", whole=False)
    page.get_by_role("link", name="Buy Team").click()
    for field, typed in (("name", "Asha Rao"), ("email", "asha@example.com"), ("password", PASSWORD)):
        page.locator(f"input[name={field}]").fill(typed)
    page.locator("main").get_by_role("button", name="Sign up").click()
    keep(page, folder / "review.png", whole=False)
    page.get_by_role("button", name="Continue to payment").click()
    page.wait_for_url("**/pay/*")
    page.set_viewport_size({"width": 560, "height": 700})
    keep(page, folder / "pay.png")
    page.get_by_role("button", name=re.compile("^pay ", re.I)).click()
    page.wait_for_selector("[data-phase=ready]")
    page.set_viewport_size({"width": 760, "height": 700})
    page.reload()  # the invoice has been read since
    keep(page, folder / "order.png")
    page.context.close()


def dark(browser: Browser, shop: str, views: dict[str, View], folder: Path) -> None:
    """On a phone, in the dark."""
    context = browser.new_context(viewport=PHONE, color_scheme="dark", reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{shop}/sign-in")
    page.locator("input[name=email]").fill("asha@example.com")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{shop}/")
    for name, file in (("order checking", "checking.png"), ("order paid_late", "late.png")):
        page.goto(shop + views[name].path)
        keep(page, folder / file, whole=False)
    context.close()


def keep(page: Page, file: Path, whole: bool = True) -> None:
    page.evaluate("document.fonts.ready")
    page.screenshot(path=file, full_page=whole)
    print(file, file.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
