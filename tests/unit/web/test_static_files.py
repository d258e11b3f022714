"""Static files are kept for a year under their content's hash, and revalidated under any other address."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from storefront.web import static_files
from tests.samples import plan, price

MAX_BYTES = 30 * 1024
STATIC = Path(__file__).resolve().parents[3] / "static"


@pytest.fixture
def page(browser: Any, sell: Callable[..., None]) -> str:
    sell(plan(price()))
    return str(browser.get("/plans").text)


def links(page: str) -> list[str]:
    return re.findall(r'(?:href|src)="(/static/[^"]+)"', page)


def test_a_shared_link_has_a_title_a_text_and_a_picture(page: str) -> None:
    found = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)">', page))
    assert found["title"] == "Plans"
    assert found["description"]
    assert re.fullmatch(r"https?://[^/]+/static/share\.png\?v=\w+", found["image"])
    (icon,) = re.findall(r'<link rel="icon" href="([^"]+)"', page)
    names = {address.rpartition("/")[2].partition("?")[0] for address in (icon, found["image"])}
    assert names == {"favicon.svg", "share.png"}
    assert all((STATIC / name).is_file() for name in names)


def test_every_link_has_a_hash(page: str) -> None:
    assert len(links(page)) >= 2
    assert all(re.fullmatch(r"/static/[\w.-]+\?v=[0-9a-f]{12}", link) for link in links(page))


def test_file_is_kept_for_a_year_under_its_hash(browser: Any, page: str) -> None:
    for link in links(page):
        with browser.get(link) as response:
            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789ab"])
def test_under_another_address_it_is_revalidated(browser: Any, query: str) -> None:
    with browser.get(f"/static/shop.css{query}") as response:
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-cache"


def test_missing_file_is_not_kept(browser: Any) -> None:
    response = browser.get("/static/nothing.css?v=None")
    assert response.status_code == 404
    assert "Cache-Control" not in response.headers


def test_new_content_has_a_new_hash(app: Flask, tmp_path: Path) -> None:
    app.static_folder = str(tmp_path)
    with app.app_context():
        (tmp_path / "a.css").write_text("one")
        first = static_files.content_hash("a.css")
        (tmp_path / "a.css").write_text("another")
        assert static_files.content_hash("a.css") != first


def test_pricing_page_is_small(browser: Any, sell: Callable[..., None]) -> None:
    """Page and stylesheet together, compressed as a proxy in front does: 30 KB."""
    features = [
        {"feature_type": "static", "static_value": f"word {n}", "feature": {"name": f"Feature {n}"}}
        for n in range(14)
    ]
    sell(*(plan(price(f"{n}99"), id=f"plan_{n}", name=f"Plan {n}", entitlements=features) for n in range(9)))
    page = browser.get("/plans").data
    with browser.get("/static/shop.css") as style:
        sent = len(gzip.compress(page)) + len(gzip.compress(style.data))
    assert b"Plan 8" in page
    assert sent < MAX_BYTES, f"{sent} bytes"
