"""Static files: kept for a year under the name of their content, and asked about under any other."""

import os
import re

from storefront.web import assets

YEAR = "public, max-age=31536000, immutable"


def stylesheet(browser):
    return re.search(r'href="(/static/shop\.css\?v=[0-9a-f]{12})"', browser.get("/sign-in").text)[1]


def test_a_page_names_its_files_by_their_content_and_they_may_be_kept(browser):
    url = stylesheet(browser)
    with browser.get(url) as answer:
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, YEAR)


def test_an_old_or_guessed_name_is_answered_but_not_kept(browser):
    for url in ("/static/shop.css", "/static/shop.css?v=000000000000", "/static/shop.css?v="):
        with browser.get(url) as answer:
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


def test_a_file_that_is_not_there_is_not_kept_either(browser):
    answer = browser.get("/static/none.css?v=")
    assert answer.status_code == 404
    assert "max-age=31536000" not in answer.headers.get("Cache-Control", "")


def test_the_name_changes_with_the_content(tmp_path):
    file = tmp_path / "a.css"
    file.write_text("one")
    first = assets.fingerprint(file)
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert len({first, assets.fingerprint(file), ""}) == 3
    assert assets.fingerprint(tmp_path / "b.css") == ""
