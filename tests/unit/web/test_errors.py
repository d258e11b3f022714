"""Error pages: what they say, and what they never say."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storefront.flexprice import NotSent

ONLY_THIS_REQUEST = "This request did not charge you. A payment you made earlier is not lost."


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """New for each test: a route is added to it."""
    return make_app()


@pytest.fixture
def fail(app: Flask) -> Callable[[Exception], str]:
    """Adds a page that raises; gives its path."""

    def add(error: Exception) -> str:
        def view() -> str:
            raise error

        app.add_url_rule("/fail", "fail", view)
        return "/fail"

    return add


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/nowhere", 404, "Page not found"),
        ("GET", "/orders/x/receipt", 404, "Page not found"),
        ("DELETE", "/sign-in", 405, "Method not allowed"),
    ],
)
def test_page_says_only_what_this_request_did(
    asha: Any, method: str, path: str, status: int, title: str
) -> None:
    """Kind: a page never claims what it did not ask."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    response = asha.client.open(path, method=method, base_url="http://127.0.0.1:8000", headers=headers)
    assert response.status_code == status
    assert f"<h1>{title}</h1>" in response.text
    assert ONLY_THIS_REQUEST in response.text
    assert response.text.count('class="button') == 2


def test_flexprice_down_is_503(browser: Any, fail: Callable[[Exception], str]) -> None:
    response = browser.get(fail(NotSent("no answer")))
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "30"
    assert "We cannot reach our payment service." in response.text
    assert ONLY_THIS_REQUEST in response.text


def test_pricing_page_without_flexprice_says_the_same(browser: Any, app: Flask) -> None:
    from storefront.checkout.offers import Catalog

    def down() -> list[Any]:
        raise NotSent("no answer")

    app.extensions["checkout"].catalog = Catalog(down)
    response = browser.get("/plans")
    assert response.status_code == 503
    assert ONLY_THIS_REQUEST in response.text


@pytest.mark.parametrize(
    "error", [OperationalError("SELECT 1", {}, Exception("gone")), PoolTimeout("no connection")]
)
def test_database_down_is_503_without_asking_it_again(
    fail: Callable[[Exception], str], add_user: Callable[..., int], browser: Any, error: Exception
) -> None:
    path = fail(error)
    add_user()
    assert browser.sign_in().status_code == 303
    response = browser.get(path)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "2"
    assert "We cannot reach our database." in response.text
    assert "Sign out" not in response.text


def test_unexpected_error_shows_a_reference_and_not_its_text(
    browser: Any, fail: Callable[[Exception], str], caplog: pytest.LogCaptureFixture
) -> None:
    response = browser.get(fail(RuntimeError("a secret of the inside")))
    assert response.status_code == 500
    assert "a secret of the inside" not in response.text
    reference = next(r.args[0] for r in caplog.records if r.msg == "Error %s" and r.args)
    assert str(reference) in response.text
    assert "Content-Security-Policy" in response.headers


UNREADABLE = ("http://[", "https://[::1", "http://x]y/", "http://\u00bd\u2100@/", "\x80" * 300)


@pytest.mark.parametrize("header", ["Origin", "Referer", "HX-Current-URL"])
@pytest.mark.parametrize("value", UNREADABLE)
def test_address_in_a_header_that_cannot_be_read_is_no_error(asha: Any, header: str, value: str) -> None:
    """Kind: every header we read may hold anything."""
    headers = {header: value.encode().decode("latin-1"), "HX-Request": "true"}
    for post, path in ((True, "/sign-in"), (True, "/checkout"), (False, "/nowhere"), (False, "/account")):
        response = asha.raw_post(path, {}, headers=headers) if post else asha.get(path, headers=headers)
        assert response.status_code < 500, path
    asha.post("/sign-out")
    assert asha.get("/account", headers=headers).status_code in (302, 401)


def test_large_form_is_refused(browser: Any) -> None:
    response = browser.raw_post(
        "/sign-in", {"email": "x" * 300_000}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert response.status_code == 413


def test_form_without_token_or_origin_has_expired(browser: Any) -> None:
    browser.get("/sign-in")
    response = browser.raw_post("/sign-in", {"email": "a@example.com"})
    assert response.status_code == 400
    assert "This form has expired" in response.text


def test_form_without_cookies_says_that_they_are_needed(app: Flask) -> None:
    response = app.test_client().post("/sign-in", base_url="http://127.0.0.1:8000", data={"email": "a"})
    assert response.status_code == 400
    assert "Cookies are needed" in response.text


def test_stranger_gets_the_same_page_as_for_an_unknown_order(
    asha: Any, add_user: Callable[..., int], add_order: Callable[..., str]
) -> None:
    ref = add_order(add_user("ben@example.com"))
    for page in ("success", "failure", "status", "receipt"):
        theirs, unknown = asha.get(f"/orders/{ref}/{page}"), asha.get(f"/orders/{'0' * 32}/{page}")
        assert (theirs.status_code, unknown.status_code) == (404, 404)
        assert theirs.data == unknown.data
    assert asha.post(f"/orders/{ref}/cancel").status_code == 404


# -- the next step ------------------------------------------------------------------------------------

HERE = "http://127.0.0.1:8000"


def first_button(page: str) -> tuple[str, str]:
    """Address and label of the first button."""
    found = re.search(r'<a class="button" href="([^"]*)">([^<]*)</a>', page)
    assert found
    return html.unescape(found[1]), found[2]


def test_unknown_page_leads_to_the_plans(browser: Any) -> None:
    assert first_button(browser.get("/nowhere").text) == ("/plans", "See all plans")


def test_page_that_failed_can_be_tried_again(browser: Any, fail: Callable[[Exception], str]) -> None:
    page = browser.get(fail(RuntimeError()) + "?a=1&b=2").text
    assert first_button(page) == ("/fail?a=1&b=2", "Try again")


@pytest.mark.parametrize(
    ("referrer", "address", "label"),
    [
        (f"{HERE}/sign-in?next=/account", "/sign-in?next=/account", "Open the page again"),
        (f"{HERE}/nowhere", "/", "Open the page again"),
        ("https://evil.example/sign-in", "/plans", "See all plans"),
        ("", "/plans", "See all plans"),
    ],
)
def test_expired_form_leads_to_its_page(browser: Any, referrer: str, address: str, label: str) -> None:
    browser.get("/sign-in")
    response = browser.raw_post("/sign-in", {"email": "a"}, headers={"Referer": referrer})
    assert response.status_code == 400
    assert first_button(response.text) == (address, label)


def test_refused_form_leads_back(browser: Any) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Referer": f"{HERE}/sign-up"}
    response = browser.raw_post("/sign-in", {"email": "x" * 300_000}, headers=headers)
    assert first_button(response.text) == ("/sign-up", "Go back")
