"""Whom a page belongs to. Walks every address the shop has, so that a new one cannot be forgotten."""

import itertools
import re
import secrets
import statistics
import time

import pytest

from storefront import outbox
from storefront.database import writing
from storefront.extensions import db
from storefront.models import Access, Letter, Order, Shopper

# Pages with something in their address that belong to everybody: they say nothing about a person.
EVERYBODYS = {"static", "plans.show", "account.reset_password", "account.do_reset_password"}
PUBLIC = EVERYBODYS | {
    "plans.index",
    "account.sign_in",
    "account.do_sign_in",
    "account.sign_up",
    "account.do_sign_up",
    "account.sign_out",
    "account.forgot_password",
    "account.send_reset",
    "checkout.start",
    "health.check",
    "webhooks.receive",
}
UNKNOWN = {"ref": "0" * 32, "letter_id": "999999", "kind": "json"}


def addresses(app, public, **known):
    """Every rule that is not public, filled in with what is known, or with something nobody has."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint in public:
            continue
        values = {name: known.get(name, UNKNOWN.get(name, "1")) for name in rule.arguments}
        _, path = rule.build(values)
        yield from ((method, path) for method in sorted(rule.methods & {"GET", "POST"}))


def visit(browser, method, path):
    return browser.get(path) if method == "GET" else browser.post(path)


@pytest.fixture
def bens(app, enrol, order_of):
    """What belongs to Ben: an order, and a letter about it."""
    ref = order_of(enrol("ben@example.com", "cust_02"))
    with app.app_context(), writing():
        ben = db.session.get_one(Shopper, 1)
        outbox.write("password_reset", ben, ben.created_at, reset_url="https://secret.example/x")
        return {"ref": ref, "letter_id": "1", "kind": "json"}


def test_nothing_of_anothers_is_there_and_it_looks_like_nothing_at_all(app, bens, enrol, browser, rows):
    enrol()
    browser.sign_in()
    before = rows(Order)[0].__dict__ | {"_sa_instance_state": None}
    theirs, unknown = addresses(app, PUBLIC, **bens), addresses(app, PUBLIC)
    pairs = [(one, other) for one, other in zip(theirs, unknown, strict=True) if one != other]
    assert len(pairs) >= 6
    for one, other in pairs:
        stranger, nobody = visit(browser, *one), visit(browser, *other)
        assert (one, stranger.status_code) == (one, 404)
        assert (one, nobody.status_code, nobody.data) == (one, 404, stranger.data)
        differing = {name for name, value in stranger.headers if nobody.headers.get(name) != value}
        assert differing <= {"X-Request-ID"}
    assert rows(Order)[0].__dict__ | {"_sa_instance_state": None} == before


def test_the_pages_without_a_number_show_nothing_of_anothers(app, bens, enrol, browser):
    enrol()
    browser.sign_in()
    for method, path in addresses(app, PUBLIC):
        page = visit(browser, method, path)
        assert not re.search(rf"ben@example|{bens['ref']}|{bens['ref'][-8:]}|secret\.example", page.text), (
            path
        )


def test_signed_out_there_is_nothing_but_the_way_to_the_sign_in(app, bens, browser):
    for method, path in addresses(app, PUBLIC, **bens):
        answer = visit(browser, method, path)
        assert (path, answer.status_code) in ((path, 302), (path, 404))
        if answer.status_code == 302:
            assert answer.location.startswith("/sign-in?next=/")
        assert bens["ref"][-8:] not in answer.text.replace(answer.location or "?", "")


def test_htmx_is_sent_to_the_sign_in_and_gets_no_fragment(app, bens, browser):
    for method, path in addresses(app, PUBLIC, **bens):
        if method == "GET":
            answer = browser.get(path, headers={"HX-Request": "true"})
            assert answer.status_code in (302, 401, 404)
            assert 'id="order-status"' not in answer.text


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
QUERIES = ("since", "before", "after", "page", "next", "currency", "period", "state", "cause", "q")


@pytest.mark.parametrize("odd", ODD)
def test_whatever_is_written_into_an_address_is_no_error_of_ours(app, enrol, browser, order_of, vendor, odd):
    enrol(operator=True)
    ref = order_of()
    browser.sign_in()
    vendor.sells()
    for rule in app.url_map.iter_rules():
        if rule.endpoint in ("static", "account.sign_out"):
            continue
        path = re.sub(r"<[^>]+>", odd, rule.rule)
        real = re.sub(r"<[^>]+>", ref if "ref>" in rule.rule else "1", rule.rule)
        for method in sorted(rule.methods & {"GET", "POST"}):
            assert (path, visit(browser, method, path).status_code < 500) == (path, True)
        if "GET" in rule.methods:
            query = "&".join(f"{name}={odd}" for name in QUERIES)
            answer = browser.get(f"{real}?{query}")
            assert (real, answer.status_code < 500 or answer.status_code == 503) == (real, True)
            assert "X-Evil" not in answer.headers


# -- keys nobody guesses ------------------------------------------------------------------------------


def guesses(ref):
    """Neighbours of a reference, then anything."""
    near = (f"{int(ref, 16) + step:032x}" for step in (-1, 1, 2, 256))
    spelled = (ref.upper(), ref[:-1], ref + "0", f" {ref}", f"{ref}%00", ref[-8:], "1", "..", "%2e%2e", "'--")
    return itertools.chain(near, spelled, iter(lambda: secrets.token_hex(16), None))


def guess(browser, ref, times):
    unknown = browser.get(f"/orders/{'0' * 32}/status")
    for number, other in enumerate(itertools.islice(guesses(ref), times)):
        answer = browser.get(f"/orders/{other}/{('success', 'failure', 'status')[number % 3]}")
        if other not in (ref.upper() if ref.upper() != ref else "",):
            assert (other, answer.status_code, answer.data) == (other, 404, unknown.data)


def test_a_guessed_order_is_not_there(asha, order_of):
    guess(asha, order_of(), 60)


@pytest.mark.soak
def test_ten_thousand_guessed_orders_are_not_there(asha, order_of):
    guess(asha, order_of(), 10_000)


@pytest.mark.soak
@pytest.mark.parametrize("page", ["success", "failure", "status"])
def test_how_long_the_404_takes_tells_nothing_either(asha, enrol, order_of, page):
    theirs = order_of(shopper_id=enrol("ben@example.com"))
    spent = {theirs: [], secrets.token_hex(16): []}
    for number in range(600):
        for ref in sorted(spent, reverse=bool(number % 2)):
            started = time.perf_counter()
            assert asha.get(f"/orders/{ref}/{page}").status_code == 404
            spent[ref].append(time.perf_counter() - started)
    another, unknown = map(statistics.median, spent.values())
    print(f"\n404 of another's {page} page: {another / unknown:.2f} times that of one that never was")
    assert 0.8 < another / unknown < 1.25


def test_references_and_customer_ids_carry_128_bits(order_of, enrol, rows):
    enrol()
    order_of()
    (order,), (shopper,) = rows(Order), rows(Shopper)
    keys = [order.ref, shopper.external_id, shopper.session_key]
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)
    assert len(set(keys)) == 3


# -- the way back from the payment page proves nothing -------------------------------------------------

CLAIMS = (
    "razorpay_payment_id=pay_1&razorpay_payment_link_status=paid&razorpay_signature=forged",
    "status=completed&checkout_status=completed",
    "state=paid&paid=1&order=fulfilled",
)


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_address_that_claims_a_payment_changes_nothing(asha, order_of, vendor, samples, rows, claim):
    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session())
    ref = order_of(state="awaiting_payment", session_id="cs_01", customer_id="cust_01")
    page = asha.get(f"/orders/{ref}/success?{claim}").text
    assert 'data-phase="checking"' in page
    assert rows(Order)[0].state == "awaiting_payment"
    assert rows(Access) == []
    assert asha.get("/members").status_code == 303


def test_a_signature_for_anothers_order_opens_none(asha, bens, rows):
    assert asha.get(f"/orders/{bens['ref']}/success?{CLAIMS[0]}").status_code == 404
    assert rows(Access) == []


# -- letters ------------------------------------------------------------------------------------------


def test_letters_of_another_stay_closed_even_when_ones_own_are_beside_them(app, bens, enrol, browser, rows):
    asha = enrol()
    browser.sign_in()
    with app.app_context(), writing():
        shopper = db.session.get_one(Shopper, asha)
        outbox.write("password_reset", shopper, shopper.created_at, reset_url="https://mine.example/x")
    theirs, mine = rows(Letter)
    assert browser.get(f"/letters/{mine.id}").status_code == 200
    assert browser.get(f"/letters/{theirs.id}").status_code == 404
    for odd in ("-1", "0", "1e0", "01x", "2147483648", "9" * 23):
        assert browser.get(f"/letters/{odd}").status_code == 404
