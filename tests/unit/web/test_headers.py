"""What a browser may load, where it may send a form, and what it may keep."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Response

from storefront.web import headers

HTTPS = {"STOREFRONT_URL": "https://shop.example", "CHECKOUT_PAYMENT_HOSTS": ""}


def policy(response: Response) -> dict[str, set[str]]:
    directives = response.headers["Content-Security-Policy"].split("; ")
    return {name: set(values) for name, *values in (directive.split() for directive in directives)}


def test_policy_names_all_that_may_be_loaded(browser: Any) -> None:
    assert policy(browser.get("/sign-in")) == {
        "default-src": {"'none'"},
        "script-src": {"'self'", headers.HTMX},
        "style-src": {"'self'"},
        "img-src": {"'self'", "data:"},
        "connect-src": {"'self'"},
        "frame-src": {"'self'"},
        "form-action": {
            "'self'",
            "https://razorpay.com",
            "https://*.razorpay.com",
            "https://rzp.io",
            "https://*.rzp.io",
            "http://127.0.0.1:8001",
        },
        "base-uri": {"'none'"},
        "frame-ancestors": {"'none'"},
    }


def test_one_setting_adds_a_payment_host(make_app: Callable[..., Any]) -> None:
    client = make_app(CHECKOUT_PAYMENT_HOSTS="pay.example.com").test_client()
    allowed = policy(client.get("/sign-in", base_url="http://127.0.0.1:8000"))["form-action"]
    assert {"https://pay.example.com", "https://*.pay.example.com"} < allowed


def test_one_policy_holds_on_the_checkouts_pages_too(asha: Any, add_order: Callable[..., str]) -> None:
    ref = add_order()
    page, own = asha.get(f"/orders/{ref}/failure"), asha.get("/account")
    assert policy(page) == policy(own)


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/account"])
def test_every_response_carries_the_headers(browser: Any, path: str) -> None:
    sent = browser.get(path).headers
    assert "default-src 'none'" in sent["Content-Security-Policy"]
    assert sent["Referrer-Policy"] == "same-origin"
    assert sent["X-Content-Type-Options"] == "nosniff"
    assert sent["X-Frame-Options"] == "DENY"
    assert sent["Cache-Control"] == "private, no-cache"
    assert "Strict-Transport-Security" not in sent


def test_personal_pages_are_not_stored(asha: Any, add_order: Callable[..., str]) -> None:
    """After a sign-out the Back button must not show them; the polled fragment has an ETag instead."""
    ref = add_order()
    for path in ("/account", f"/orders/{ref}/failure", "/sign-in"):
        assert asha.get(path).headers["Cache-Control"] == "private, no-store"
    fragment = asha.get(f"/orders/{ref}/status")
    assert fragment.headers["Cache-Control"] == "private, no-cache"
    etag = {"If-None-Match": fragment.headers["ETag"]}
    assert asha.get(f"/orders/{ref}/status", headers=etag).status_code in (200, 304)


def test_pages_need_no_inline_script_or_style(browser: Any) -> None:
    page = browser.get("/sign-up").text
    assert " style=" not in page
    assert " onclick=" not in page
    assert "<style" not in page


def cookie(response: Response) -> tuple[str, set[str]]:
    (found,) = response.headers.getlist("Set-Cookie")
    name, *flags = found.split("; ")
    return name.partition("=")[0], set(flags)


def test_cookie_is_kept_from_scripts(browser: Any) -> None:
    assert cookie(browser.get("/sign-in")) == ("storefront", {"HttpOnly", "Path=/", "SameSite=Lax"})


def test_in_production_everything_stays_on_https(make_app: Callable[..., Any]) -> None:
    response = make_app(**HTTPS).test_client().get("/sign-in", base_url="https://shop.example")
    assert cookie(response) == ("__Host-storefront", {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"})
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "http://" not in response.headers["Content-Security-Policy"]
