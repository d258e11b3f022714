"""Static files: kept for a year under their fingerprint, asked for again under any other address."""

import gzip
import re

import pytest

from storefront.web import files

LIMIT = 30 * 1024


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Once is enough: nothing here is about rows."""
    return sqlite_in(tmp_path)


@pytest.fixture
def page(browser, vendor, samples):
    vendor.sells(samples.plan(samples.price()))
    return browser.get("/").text


def links(page):
    return re.findall(r'(?:href|src)="(/static/[^"]+)"', page)


def test_every_link_carries_a_fingerprint(page):
    assert len(links(page)) >= 2
    assert all(re.fullmatch(r"/static/[\w.-]+\?v=[0-9a-f]{12}", link) for link in links(page))


def test_under_its_fingerprint_a_file_is_kept_for_a_year(browser, page):
    for link in links(page):
        with browser.get(link) as answer:
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789ab"])
def test_under_another_it_is_asked_for_again(browser, query):
    with browser.get(f"/static/shop.css{query}") as answer:
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-cache"


def test_what_is_not_there_is_not_kept(browser):
    answer = browser.get("/static/nothing.css?v=None")
    assert answer.status_code == 404
    assert "Cache-Control" not in answer.headers


def test_another_content_has_another_fingerprint(app, tmp_path):
    app.static_folder = str(tmp_path)
    with app.app_context():
        (tmp_path / "a.css").write_text("one")
        first = files.fingerprint("a.css")
        (tmp_path / "a.css").write_text("another")
        assert files.fingerprint("a.css") != first


def test_the_plans_page_is_small(browser, vendor, samples):
    """Page and stylesheet together, compressed as a server in front would: 30 KB."""
    features = [
        {"feature_type": "static", "static_value": f"word {n}", "feature": {"name": f"Feature {n}"}}
        for n in range(14)
    ]
    plans = [
        samples.plan(samples.price(f"{n}99"), id=f"plan_{n}", name=f"Plan {n}", entitlements=features)
        for n in range(9)
    ]
    vendor.sells(*plans)
    page = browser.get("/").data
    with browser.get("/static/shop.css") as style:
        sent = len(gzip.compress(page)) + len(gzip.compress(style.data))
    assert b"Plan 8" in page
    assert sent < LIMIT, f"{sent} bytes"
