"""Every page of the gallery on one sheet, for a person to look at: `make gallery`.

python -m tests.e2e.sheets [folder [part of a name …]]
"""

import logging
import re
import sys
import tempfile
from html import escape
from itertools import product
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.conftest import ARGUMENTS, ARTIFACTS, CHROMIUM, Visitors
from tests.e2e.gallery import running

WIDTHS = (390, 768, 1280)
SCHEMES = ("light", "dark")


def main(folder: Path, parts: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with (
        tempfile.TemporaryDirectory() as home,
        running(Path(home)) as gallery,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        visitors = Visitors(browser, gallery)
        views = {
            name: view
            for name, view in gallery.views().items()
            if not parts or any(part in name for part in parts)
        }
        for name, view in views.items():
            page = visitors.go(view)
            for width, scheme in product(WIDTHS, SCHEMES):
                page.set_viewport_size({"width": width, "height": 800})
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                page.screenshot(path=folder / picture(name, width, scheme), full_page=True)
        visitors.close()
        browser.close()
    (folder / "index.html").write_text(sheet(list(views)))
    print(folder / "index.html")


def picture(name: str, width: int, scheme: str) -> str:
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}-{width}-{scheme}.png"


def sheet(names: list[str]) -> str:
    rows = [
        f"<h2>{escape(name)}</h2><p>"
        + "".join(
            f'<a href="{(file := picture(name, width, scheme))}"><img src="{file}" width="{width // 3}"></a> '
            for scheme, width in product(SCHEMES, WIDTHS)
        )
        for name in names
    ]
    return "<!doctype html><meta charset=utf-8><title>The gallery</title>" + "\n".join(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ARTIFACTS / "gallery", sys.argv[2:])
