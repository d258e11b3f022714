"""Forms come from this site, customers go to payment hosts, and the pages say so in their headers."""

from typing import Any

import pytest
from werkzeug.exceptions import Forbidden

from storefront.checkout import context as installed
from storefront.checkout import views

COOKIE = {"Cookie": "session=x"}


def allowed(app: Any, headers: dict[str, str], path: str = "/checkout", host: str = "shop.example") -> bool:
    """Whether the checkout accepts this form, before and without the app's own CSRF protection."""
    app.config["CHECKOUT_BASE_URL"] = "https://shop.example.com"
    extensions = {name: found for name, found in app.extensions.items() if name != "csrf"}
    own, app.extensions = app.extensions, extensions
    try:
        with app.test_request_context(path, f"https://{host}", method="POST", headers=headers):
            views.check_origin()
    except Forbidden:
        return False
    finally:
        app.extensions = own
    return True


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True),  # browsers set the first
        ({"Origin": "https://shop.example"}, True),
        ({"Origin": "https://shop.example.com"}, True),  # of CHECKOUT_BASE_URL
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://shop.example.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "//"}, False),
        ({}, False),
    ],
)
def test_form_needs_a_page_of_this_site(app: Any, headers: dict[str, str], accepted: bool) -> None:
    assert allowed(app, headers | COOKIE) is accepted


def test_form_without_any_cookie_is_accepted(app: Any) -> None:
    """Nobody is signed in, so no one's rights can be used."""
    assert allowed(app, {})


@pytest.mark.parametrize("path", ["/checkout", f"/orders/{'0' * 32}/cancel"])
def test_every_form_of_the_checkout_is_checked(app: Any, path: str) -> None:
    assert not allowed(app, COOKIE, path)


@pytest.mark.parametrize("path", ["/webhooks/flexprice", "/webhooks/flexprice/"])
def test_webhook_is_not_checked(app: Any, path: str) -> None:
    assert allowed(app, COOKIE | {"Origin": "https://evil.example"}, path)


def test_valid_token_of_the_app_is_accepted(app: Any) -> None:
    from flask_wtf.csrf import generate_csrf

    app.config["WTF_CSRF_ENABLED"] = True
    with app.test_request_context("/", "https://shop.example"):
        from flask import session

        token, secret = generate_csrf(), dict(session)
    with app.test_request_context(
        "/checkout", "https://shop.example", method="POST", headers=COOKIE, data={"csrf_token": token}
    ):
        session.update(secret)
        views.check_origin()
    with (
        app.test_request_context(
            "/checkout", "https://shop.example", method="POST", headers=COOKIE, data={"csrf_token": "x"}
        ),
        pytest.raises(Forbidden),
    ):
        views.check_origin()


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_form_of_another_site_places_nothing(asha: Any, rows: Any, headers: dict[str, str]) -> None:
    from storefront.models import Order

    fields = {"plan": "plan_01", "currency": "inr", "billing_period": "MONTHLY"}
    assert asha.raw_post("/checkout", fields, headers=headers).status_code in (400, 403)
    assert rows(Order) == []


# -- payment hosts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://rzp.io/i/abc", True),
        ("https://RZP.io/i/abc", True),
        ("https://api.razorpay.com/v1/l/plink_1", True),
        ("https://pay.example.com/x", True),
        ("http://127.0.0.1:8001/pay/abc", True),
        ("http://rzp.io/i/abc", False),
        ("https://rzp.io.evil.example/", False),
        ("https://evilrzp.io/", False),
        ("https://rzp.io:8443/x", False),
        ("https://rzp.io@evil.example/", False),
        ("https://evil.example\\@rzp.io/", False),
        ("https://rzp.io/\r\nSet-Cookie: a=b", False),
        ("http://127.0.0.1:8002/pay", False),
        ("javascript:alert(1)", False),
        ("//rzp.io/x", False),
        ("https://[", False),
        ("", False),
        (None, False),
    ],
)
def test_customers_go_to_payment_hosts_only(context: Any, url: str | None, accepted: bool) -> None:
    context.config["CHECKOUT_PAYMENT_HOSTS"] = "127.0.0.1:8001, pay.example.com"
    assert installed.is_payment_url(url) is accepted


@pytest.mark.parametrize("hosts", ["a.example b.example", "a.example,b.example", ["a.example", "b.example"]])
def test_hosts_are_a_list_or_words(app: Any, hosts: Any) -> None:
    app.config["CHECKOUT_PAYMENT_HOSTS"] = hosts
    assert installed.payment_hosts(app) == ["razorpay.com", "rzp.io", "a.example", "b.example"]


@pytest.mark.parametrize(
    ("host", "base", "expected"),
    [
        ("https://shop.example", "https://main.example/", "https://main.example"),
        ("https://two.example", "https://main.example", "https://two.example"),
        ("http://shop.example:8000", "", "http://shop.example:8000"),
    ],
)
def test_return_address_is_of_a_known_host(app: Any, host: str, base: str, expected: str) -> None:
    app.config.update(CHECKOUT_BASE_URL=base, CHECKOUT_ALLOWED_HOSTS="two.example three.example")
    with app.test_request_context("/checkout", host, method="POST"):
        assert installed.return_url("abc") == f"{expected}/orders/abc"


# -- headers ----------------------------------------------------------------------------------------


def headers_of(app: Any, **own: str) -> Any:
    """What the checkout's blueprint adds by itself."""
    from flask import Response

    with app.test_request_context("/plans"):
        return views.secure_headers(Response("x", headers=own)).headers


def test_policy_names_the_payment_hosts(app: Any) -> None:
    """Chromium drops a redirect of a form to a host that is not named."""
    policy = headers_of(app)["Content-Security-Policy"]
    form_action = policy.partition("form-action ")[2].partition(";")[0].split()
    assert form_action == [
        "'self'", "https://razorpay.com", "https://*.razorpay.com", "https://rzp.io", "https://*.rzp.io",
        "http://127.0.0.1:8001",
    ]  # fmt: skip


def test_headers_of_the_app_win(app: Any) -> None:
    own = {"Content-Security-Policy": "default-src 'self'", "Referrer-Policy": "no-referrer"}
    found = headers_of(app, **own)
    assert {name: found[name] for name in own} == own
    assert found["Cache-Control"] == "private, no-cache"
    assert found["X-Content-Type-Options"] == "nosniff"
