"""Under which names the shop answers, what proxies in front say, and addresses that no page has."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from storefront.web.hosts import host_name

HTTPS = {"STOREFRONT_URL": "https://shop.example", "CHECKOUT_PAYMENT_HOSTS": ""}
FORWARDED = {
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example",
}
OWN_NAMES = ["shop.example", "SHOP.example", "shop.example:443", "shop.example.", "shop.example.:443"]
OTHER_NAMES = [
    "evil.example",
    "shop.example.evil.example",
    "shop.example@evil.example",
    "evil.example:80",
    "[::1",
    "a b",
    "",
    "shop.example..",
    "xn--evil",
    "<script>",
    "shop.example/../evil",
    "shop.example:99999",
    "é",
]


@pytest.fixture
def shop(make_app: Callable[..., Flask]) -> Callable[..., FlaskClient]:
    return lambda **changes: make_app(**HTTPS, **changes).test_client()


def ask(
    client: FlaskClient,
    path: str = "/sign-in",
    host: str = "shop.example",
    method: str = "GET",
    scheme: str = "https",
    **more: Any,
) -> TestResponse:
    headers = more.pop("headers", {}) | {"Host": host}
    return client.open(path, method=method, base_url=f"{scheme}://shop.example", headers=headers, **more)


# -- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN_NAMES)
def test_it_answers_under_its_own_name(shop: Callable[..., FlaskClient], name: str) -> None:
    assert ask(shop(), host=name).status_code == 200


def test_it_answers_under_no_other_name(shop: Callable[..., FlaskClient]) -> None:
    """Kind: one reader for host names."""
    client = shop()
    for name in OTHER_NAMES:
        for path in ("/", "/sign-in", "/account", "/static/shop.css", "/nowhere"):
            response = ask(client, path, name)
            assert (name, path, response.status_code) == (name, path, 400)
            assert "Location" not in response.headers
            assert "evil" not in response.text
        assert ask(client, "/sign-out", name, "POST").status_code == 400


def test_a_demo_answers_on_this_machines_names_only(app: Flask) -> None:
    for name in OTHER_NAMES:
        response = app.test_client().get("/sign-in", base_url="http://127.0.0.1:8000", headers={"Host": name})
        assert (name, response.status_code) == (name, 400)


@pytest.mark.parametrize("name", ["127.0.0.1:8000", "10.0.0.7", "evil.example"])
def test_webhooks_may_come_under_any_name(shop: Callable[..., FlaskClient], name: str) -> None:
    assert ask(shop(), "/webhooks/flexprice", name, "POST").status_code == 401


def test_in_production_a_loopback_name_is_refused(shop: Callable[..., FlaskClient]) -> None:
    response = ask(shop(), host="127.0.0.1")
    assert (response.status_code, response.location) == (400, None)


def test_demo_on_another_loopback_name_is_redirected(app: Flask) -> None:
    client = app.test_client()
    response = client.get("/plans/x?currency=inr", base_url="http://localhost:8000")
    assert (response.status_code, response.location) == (302, "http://127.0.0.1:8000/plans/x?currency=inr")
    response = client.get("//evil.example", base_url="http://localhost:8000")
    assert response.location.startswith("http://127.0.0.1:8000/")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Shop.Example.", "shop.example"),
        ("shop.example:8443", "shop.example"),
        ("[::1]:8000", "::1"),
        ("büro.example", "xn--bro-hoa.example"),
        ("xn--bro-hoa.example", "xn--bro-hoa.example"),
        ("shop.example/x", None),
        ("shop.example:port", None),
    ],
)
def test_a_host_has_one_spelling(host: str, name: str | None) -> None:
    assert host_name(host) == name


# -- addresses that no page has -----------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost"])
@pytest.mark.parametrize("path", ["/x%0d%0aSet-Cookie:%20a=b", "/%00", "/plans/%0a", "/plans?currency=%00"])
def test_line_breaks_and_nul_in_an_address_are_404(app: Flask, host: str, path: str) -> None:
    """Kind: text from outside."""
    response = app.test_client().get(path, base_url=f"http://{host}")
    assert response.status_code == 404
    assert "a=b" not in str(response.headers)


def test_nul_in_a_form_is_400(asha: Any) -> None:
    assert asha.post("/checkout", plan="\0", currency="inr", billing_period="MONTHLY").status_code == 400
    assert asha.post("/sign-up", name="A\0", email="a@example.com", password="x" * 12).status_code == 400


def test_number_that_no_row_has_is_404(asha: Any) -> None:
    assert asha.get(f"/emails/{2**31}").status_code == 404
    assert asha.get(f"/emails/{2**64}").status_code == 404


# -- what a proxy says --------------------------------------------------------------------------------


def test_headers_of_an_unknown_proxy_are_ignored(shop: Callable[..., FlaskClient]) -> None:
    client = shop()
    response = ask(client, host="127.0.0.1:8000", headers=FORWARDED)
    assert response.status_code == 400, "the name comes from the connection"
    for spoofed in (
        "X-Forwarded-Host",
        "Forwarded",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Prefix",
    ):
        plain, odd = ask(client, "/nowhere"), ask(client, "/nowhere", headers={spoofed: "evil.example"})
        assert (odd.status_code, odd.data) == (plain.status_code, plain.data)


def test_one_proxy_gives_name_and_scheme(shop: Callable[..., FlaskClient]) -> None:
    client = shop(TRUSTED_PROXIES="1")
    response = ask(client, host="127.0.0.1:8000", scheme="http", headers=FORWARDED)
    assert response.status_code == 200
    assert "Secure" in response.headers["Set-Cookie"]


def test_only_the_last_word_is_the_proxys(shop: Callable[..., FlaskClient]) -> None:
    client = shop(TRUSTED_PROXIES="1")
    sent = FORWARDED | {"X-Forwarded-Host": "evil.example, shop.example"}
    assert ask(client, host="127.0.0.1:8000", scheme="http", headers=sent).status_code == 200
    sent = FORWARDED | {"X-Forwarded-Host": "shop.example, evil.example"}
    assert ask(client, host="127.0.0.1:8000", scheme="http", headers=sent).status_code == 400


def guess(client: FlaskClient, visitor: str) -> int:
    """A wrong password, from this address as the proxy names it."""
    client.get("/sign-in", base_url="https://shop.example")  # sets the cookie
    headers = {
        "X-Forwarded-For": visitor,
        "X-Forwarded-Proto": "https",
        "Sec-Fetch-Site": "same-origin",
    }
    fields = {"email": "asha@example.com", "password": "a guess, a guess"}
    return ask(client, "/sign-in", method="POST", headers=headers, data=fields).status_code


def test_guesses_are_counted_by_visitor_not_by_proxy(shop: Callable[..., FlaskClient]) -> None:
    client = shop(TRUSTED_PROXIES="1", RATE_LIMITS="memory:")
    assert [guess(client, "198.51.100.7") for _ in range(11)] == [422] * 10 + [429]
    assert guess(client, "198.51.100.8") == 422
    assert guess(client, "198.51.100.8, 198.51.100.7") == 429, "what the visitor wrote before it is ignored"
    for spelling in ("198.51.100.7:4711", "::ffff:198.51.100.7", "[::ffff:198.51.100.7]:443"):
        assert guess(client, spelling) == 429, spelling


def test_without_a_proxy_a_made_up_address_gives_no_more_guesses(shop: Callable[..., FlaskClient]) -> None:
    client = shop(RATE_LIMITS="memory:")
    assert [guess(client, f"198.51.100.{n}") for n in range(11)] == [422] * 10 + [429]


def test_made_up_address_does_not_end_the_session(shop: Callable[..., FlaskClient]) -> None:
    client = shop()
    ask(client, "/forgot-password")
    before = client.get_cookie("__Host-storefront", "shop.example")
    ask(client, headers=FORWARDED | {"User-Agent": "another"})
    after = client.get_cookie("__Host-storefront", "shop.example")
    assert before is not None
    assert after is not None
    assert after.value == before.value


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "https://shop.example"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 400),
        ({"Sec-Fetch-Site": "same-site"}, 400),
        ({"Origin": "https://evil.example"}, 400),
        ({"Origin": "null"}, 400),
        ({}, 400),
    ],
)
def test_form_from_elsewhere_is_refused(
    shop: Callable[..., FlaskClient], headers: dict[str, str], status: int
) -> None:
    client = shop()
    ask(client, "/forgot-password")
    fields = {"email": "asha@example.com"}
    response = ask(client, "/forgot-password", method="POST", headers=headers, data=fields)
    assert response.status_code == status
