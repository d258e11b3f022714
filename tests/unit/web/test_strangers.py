"""Who may see a page. Visits every address the shop has, so that a new one cannot be forgotten."""

import itertools
import re
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from storefront.checkout import State
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import Order, PlanAccess, User
from tests.shop_fixtures import NOW, Browser

# Addresses with a value in them that say nothing about a person.
ABOUT_NOBODY = {"static", "checkout.plan", "accounts.reset_password", "accounts.do_reset_password"}
PUBLIC = ABOUT_NOBODY | {
    "web.start",
    "checkout.plans",
    "checkout.start",
    "checkout.webhook",
    "accounts.sign_in",
    "accounts.do_sign_in",
    "accounts.sign_up",
    "accounts.do_sign_up",
    "accounts.sign_out",
    "accounts.forgot_password",
    "accounts.request_reset",
    "languages.choose",
    *("legal.terms", "legal.privacy", "legal.refunds", "legal.contact"),
}
OPERATIONS = (
    "operator",
    "qa",
    "qa_customer",
    "health",
    "metrics",
    "preflight",
)  # blueprints with tests of their own
UNKNOWN = {"ref": "0" * 32, "email_id": "999999"}


def addresses(app: Flask, **known: str) -> Iterator[tuple[str, str]]:
    """Method and path of every rule that is not public, filled with known or unknown values."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint in PUBLIC or rule.endpoint.partition(".")[0] in OPERATIONS:
            continue
        values = {name: known.get(name, UNKNOWN.get(name, "1")) for name in rule.arguments}
        built = rule.build(values)
        assert built is not None
        yield from ((method, built[1]) for method in sorted((rule.methods or set()) & {"GET", "POST"}))


def visit(browser: Browser, method: str, path: str) -> Any:
    return browser.get(path) if method == "GET" else browser.post(path)


@pytest.fixture
def bens(app: Flask, add_user: Callable[..., int], add_order: Callable[..., str]) -> dict[str, str]:
    """What belongs to Ben: an order, and an email about it."""
    ref = add_order(add_user("ben@example.com"), state=State.FULFILLED, paid_at=NOW, fulfilled_at=NOW)
    with app.app_context():
        order = db.session.query(Order).one()
        sent = {"created_at": NOW, "expires_at": NOW + timedelta(days=1), "sent_at": NOW}
        db.session.add(Email(kind="welcome", user=order.user, order=order, **sent))
        db.session.commit()
    return {"ref": ref, "email_id": "1"}


def columns(row: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_sa_instance_state"}


def test_what_belongs_to_another_looks_like_nothing(
    app: Flask,
    bens: dict[str, str],
    add_user: Callable[..., int],
    browser: Browser,
    rows: Callable[..., Any],
) -> None:
    add_user()
    browser.sign_in()
    before = columns(rows(Order)[0])
    theirs, unknown = addresses(app, **bens), addresses(app)
    pairs = [(one, other) for one, other in zip(theirs, unknown, strict=True) if one != other]
    assert len(pairs) >= 6
    for one, other in pairs:
        stranger, nothing = visit(browser, *one), visit(browser, *other)
        assert (one, stranger.status_code) == (one, 404)
        assert (one, nothing.status_code, nothing.data) == (one, 404, stranger.data)
        differing = {name for name, value in stranger.headers if nothing.headers.get(name) != value}
        assert differing <= {"X-Request-ID"}
    assert columns(rows(Order)[0]) == before


def test_ones_own_pages_show_nothing_of_another(
    app: Flask, bens: dict[str, str], add_user: Callable[..., int], browser: Browser
) -> None:
    add_user()
    browser.sign_in()
    for method, path in addresses(app):
        page = visit(browser, method, path)
        assert not re.search(rf"ben@example|{bens['ref']}|{bens['ref'][-8:]}", page.text), path


def test_signed_out_every_page_leads_to_sign_in(app: Flask, bens: dict[str, str], browser: Browser) -> None:
    for method, path in addresses(app, **bens):
        response = visit(browser, method, path)
        assert (path, response.status_code) in [(path, status) for status in (302, 303, 401, 404)]
        if response.location:
            assert response.location.startswith(("/sign-in?next=", "/sign-up?next=/review"))
        assert bens["ref"][-8:] not in response.text.replace(response.location or "?", "")


def test_htmx_is_sent_to_sign_in_without_a_fragment(
    app: Flask, bens: dict[str, str], browser: Browser
) -> None:
    for method, path in addresses(app, **bens):
        if method == "GET":
            response = browser.get(path, headers={"HX-Request": "true"})
            assert response.status_code in (302, 303, 401, 404), path
            assert 'id="order-status"' not in response.text


ODD = (
    "%00",
    "%ff",
    "%ed%a0%80",
    "%F0%9F%99%82",
    "%0d%0aX-Evil: 1",
    "9" * 23,
    "-1",
    "x" * 5000,
    "'--",
    "{{7*7}}",
)
QUERIES = ("since", "before", "after", "page", "next", "currency", "billing_period", "state", "q")


@pytest.mark.parametrize("odd", ODD)
def test_no_address_is_an_error_of_ours(
    app: Flask,
    add_user: Callable[..., int],
    browser: Browser,
    add_order: Callable[..., str],
    sell: Callable[..., None],
    odd: str,
) -> None:
    add_user(operator=True)
    ref = add_order()
    browser.sign_in()
    sell()
    for rule in app.url_map.iter_rules():
        if rule.endpoint in ("static", "accounts.sign_out") or rule.endpoint.startswith(OPERATIONS):
            continue
        path = re.sub(r"<[^>]+>", odd, rule.rule)
        real = re.sub(r"<[^>]+>", ref if "ref>" in rule.rule else "1", rule.rule)
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            assert (path, visit(browser, method, path).status_code < 500) == (path, True)
        if "GET" in (rule.methods or ()):
            query = "&".join(f"{name}={odd}" for name in QUERIES)
            response = browser.get(f"{real}?{query}")
            assert (real, response.status_code < 500) == (real, True)
            assert "X-Evil" not in response.headers


# -- references that cannot be guessed ----------------------------------------------------------------


def guesses(ref: str) -> Iterator[str]:
    """Neighbours of a reference, other spellings of it, then random ones."""
    near = (f"{int(ref, 16) + step:032x}" for step in (-1, 1, 2, 256))
    spelled = (ref[:-1], ref + "0", f" {ref}", f"{ref}%00", ref[-8:], "1", "..", "%2e%2e", "'--")
    return itertools.chain(near, spelled, iter(lambda: secrets.token_hex(16), ""))


def guess(browser: Browser, ref: str, times: int) -> None:
    unknown = browser.get(f"/orders/{'0' * 32}/status")
    for number, other in enumerate(itertools.islice(guesses(ref), times)):
        response = browser.get(f"/orders/{other}/{('success', 'failure', 'status')[number % 3]}")
        assert (other, response.status_code, response.data) == (other, 404, unknown.data)


def test_guessed_order_is_not_found(asha: Browser, add_order: Callable[..., str]) -> None:
    guess(asha, add_order(), 60)


@pytest.mark.soak
def test_ten_thousand_guessed_orders_are_not_found(asha: Browser, add_order: Callable[..., str]) -> None:
    guess(asha, add_order(), 10_000)


@pytest.mark.soak
@pytest.mark.parametrize("page", ["success", "failure", "status"])
def test_404_takes_the_same_time(
    asha: Browser, add_user: Callable[..., int], add_order: Callable[..., str], page: str
) -> None:
    theirs = add_order(add_user("ben@example.com"))
    spent: dict[str, list[float]] = {theirs: [], secrets.token_hex(16): []}
    for number in range(600):
        for ref in sorted(spent, reverse=bool(number % 2)):
            started = time.perf_counter()
            assert asha.get(f"/orders/{ref}/{page}").status_code == 404
            spent[ref].append(time.perf_counter() - started)
    another, unknown = map(statistics.median, spent.values())
    print(f"\n404 of another user's {page} page: {another / unknown:.2f} times that of an unknown one")
    assert 0.8 < another / unknown < 1.25


def test_references_and_keys_carry_128_bits(
    add_user: Callable[..., int], add_order: Callable[..., str], rows: Callable[..., Any]
) -> None:
    add_user()
    add_order()
    (order,), (user,) = rows(Order), rows(User)
    keys = [order.ref, user.key, user.session_key]
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)
    assert len(set(keys)) == 3


# -- the return from the payment page proves nothing ----------------------------------------------------

PAID_CLAIM = "razorpay_payment_id=pay_1&razorpay_payment_link_status=paid&razorpay_signature=forged"
CLAIMS = {
    PAID_CLAIM: "confirming",
    "status=completed&checkout_status=completed": "checking",
    "state=paid&paid=1&order=fulfilled": "checking",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_address_that_claims_a_payment_only_chooses_words(
    asha: Browser, add_order: Callable[..., str], rows: Callable[..., Any], claim: str
) -> None:
    ref = add_order(state=State.AWAITING_PAYMENT, session_id="cs_01", flexprice_customer_id="cust_01")
    page = asha.get(f"/orders/{ref}/success?{claim}").text
    assert f'data-phase="{CLAIMS[claim]}"' in page
    assert rows(Order)[0].state == State.AWAITING_PAYMENT
    assert rows(PlanAccess) == []
    assert asha.get("/members").status_code == 303


def test_claim_on_another_users_order_is_not_found(
    asha: Browser, bens: dict[str, str], rows: Callable[..., Any]
) -> None:
    assert asha.get(f"/orders/{bens['ref']}/success?{PAID_CLAIM}").status_code == 404
    assert rows(PlanAccess) == []
    assert rows(Order)[0].returned_paid_at is None
