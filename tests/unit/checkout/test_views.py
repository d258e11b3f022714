"""The pages: what they show, what they ask Flexprice, and what they never change."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from jinja2 import DictLoader
from werkzeug.exceptions import NotFound

from storefront.checkout import Customer, State, orders, views
from storefront.checkout.views import MIN_CHECK_INTERVAL
from storefront.extensions import checkout
from storefront.models import Order, WebhookEvent
from tests.unit.checkout.conftest import OFFER

API = "http://127.0.0.1:8001/v1"
SESSION = "/checkout/sessions/cs_01"
CANCEL = SESSION + "/cancel"
PAGES = ("success", "failure", "status")
PAID_CLAIM = (
    "razorpay_payment_id=pay_1&razorpay_payment_link_id=plink_1&razorpay_payment_link_reference_id="
    "&razorpay_payment_link_status=paid&razorpay_signature=forged"
)


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def columns(order: Any, *but: str) -> dict[str, Any]:
    return {key: value for key, value in vars(order).items() if key[0] != "_" and key not in but}


# -- plans -------------------------------------------------------------------------------------------


def test_plans_are_shown_in_the_chosen_period(shop: Any, browser: Any) -> None:
    assert "499" in browser.get("/plans").text
    yearly = browser.get("/plans?billing_period=ANNUAL").text
    assert "4,990" in yearly


def test_plan_shows_its_offer(shop: Any, browser: Any) -> None:
    page = browser.get("/plans/plan_01?currency=INR&billing_period=annual")
    assert (page.status_code, "4,990" in page.text) == (200, True)


@pytest.mark.parametrize("query", ["currency=xyz", "billing_period=%00x", "billing_period=DAILY&currency="])
def test_unknown_choice_shows_the_first_offer(shop: Any, browser: Any, query: str) -> None:
    page = browser.get(f"/plans/plan_01?{query.replace('%00', '%20')}")
    assert (page.status_code, "499" in page.text) == (200, True)


@pytest.mark.parametrize("odd", ["\x00", "x\x00", "x" * 5000, "\n", "x\u202e"])
def test_address_that_no_row_can_have_is_404(app: Any, odd: str) -> None:
    """Kind: text from outside, on PostgreSQL, in an app without the demo's own check of addresses."""
    customer = Customer(key="x", name="x", email="x@example.com")
    for find in (lambda: views._own_order(odd, customer), lambda: views.usable_id(odd)):
        with app.test_request_context(), pytest.raises(NotFound):
            find()


def test_unknown_plan_is_404(shop: Any, browser: Any) -> None:
    assert browser.get("/plans/plan_99").status_code == 404


@pytest.mark.parametrize("path", ["/plans", "/plans/plan_01"])
def test_without_flexprice_the_page_is_503(flexprice: Any, browser: Any, path: str) -> None:
    flexprice.answer("POST", "/plans/search", {"error": "down"}, 503)
    page = browser.get(path)
    assert page.status_code == 503
    assert "did not charge you" in page.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/plans"),
        ("get", "/plans/plan_01"),
        ("post", "/checkout"),
        ("post", "/orders/{ref}/cancel"),
    ],
)
def test_no_page_waits_twice_for_the_resolver(
    asha: Any, opened: Any, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """A name server does not answer; Python waits for as long as the machine's resolver does.

    Kind: one deadline for whatever is waited for.
    """
    ref, asked, ask_resolver = opened(), [], socket.getaddrinfo

    def answer(host: str, port: Any, *more: Any, **named: Any) -> Any:
        if port != 8001:  # not Flexprice's
            return ask_resolver(host, port, *more, **named)
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    page = asha.get(path) if method == "get" else asha.post(path.format(ref=ref), **OFFER)
    assert (page.status_code, len(asked)) == (503, 1)
    assert "did not charge you" in page.text


@pytest.mark.parametrize("path", ["/plans", "/plans/plan_01"])
def test_without_a_key_the_page_says_so(app: Any, browser: Any, path: str) -> None:
    app.config["FLEXPRICE_API_KEY"] = ""
    page = browser.get(path)
    assert (page.status_code, "not set up" in page.text) == (503, True)


def test_owned_plan_is_not_offered(shop: Any, asha: Any, opened: Any) -> None:
    assert 'href="/review?plan=plan_01' in asha.get("/plans/plan_01").text
    opened(state=State.FULFILLED)
    page = asha.get("/plans/plan_01")
    assert (page.status_code, "/review" in page.text) == (200, False)


def test_owned_plan_is_known_by_any_customer_id(context: Any, add_user: Any, add_order: Any) -> None:
    add_user()
    add_order(state=State.FULFILLED, customer_key="tenant 7 user 9", slot="tenant 7 user 9 plan_01")
    assert orders.owned_plans("tenant 7 user 9") == {"plan_01"}


def test_before_start_may_answer_instead(
    shop: Any, buy: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def before(customer: Any, offer: Any) -> Any:
        seen.append((customer.email, offer.plan_id, offer.amount))
        return "change your plan instead", 200

    monkeypatch.setattr(checkout.hooks, "before_start", [lambda *_: None, before, lambda *_: "too late"])
    assert buy().text == "change your plan instead"
    assert seen == [("asha@example.com", "plan_01", 499)]
    assert rows(Order) == []


# -- coming back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", sorted(State))
def test_page_shows_every_state_and_changes_nothing(
    asha: Any, opened: Any, the_order: Any, page: str, state: State
) -> None:
    ref = opened(state=state, last_checked_at=now())
    before = columns(the_order())
    answer = asha.get(f"/orders/{ref}/{page}")
    assert answer.status_code == 200
    assert "data-phase=" in answer.text
    assert columns(the_order()) == before


@pytest.mark.parametrize("page", ["success", "failure"])
@pytest.mark.parametrize("state", sorted(State))
def test_claim_of_a_payment_moves_nothing(
    asha: Any, opened: Any, the_order: Any, rows: Any, page: str, state: State
) -> None:
    ref = opened(state=state)
    before = columns(the_order(), "returned_paid_at", "unverified_payment_id", "review_note")
    for _ in range(2):
        assert asha.get(f"/orders/{ref}/{page}?{PAID_CLAIM}").status_code == 200
    order = the_order()
    assert columns(order, "returned_paid_at", "unverified_payment_id", "review_note") == before
    assert order.unverified_payment_id == "pay_1"
    assert order.returned_paid_at is not None
    assert (order.review_note is not None) == order.ended_unpaid
    assert rows(WebhookEvent) == []


def test_claim_of_a_payment_chooses_words(asha: Any, opened: Any) -> None:
    ref = opened()
    page = asha.get(f"/orders/{ref}/success?{PAID_CLAIM}").text
    assert 'data-phase="confirming"' in page
    assert "not pay again" in page
    assert 'data-phase="confirming"' in asha.get(f"/orders/{ref}/failure").text


@pytest.fixture
def plain_pages(app: Flask) -> Iterator[None]:
    """The package's own templates, in a layout without anything."""
    demo = app.jinja_loader
    app.jinja_loader = DictLoader({"base.html": "{% block content %}{% endblock %}"})
    app.jinja_env.cache.clear()  # type: ignore[union-attr]
    yield
    app.jinja_loader = demo
    app.jinja_env.cache.clear()  # type: ignore[union-attr]


@pytest.mark.usefixtures("plain_pages")
def test_plain_page_puts_paying_again_last(asha: Any, opened: Any) -> None:
    ref = opened()
    link = "Continue payment"
    waiting = asha.get(f"/orders/{ref}/failure").text
    assert waiting.index(link) < waiting.index("Check again")
    claimed = asha.get(f"/orders/{ref}/success?{PAID_CLAIM}").text
    assert claimed.index("Check again") < claimed.index("Not paid after all?") < claimed.index(link)


@pytest.mark.parametrize(
    "query", ["", "razorpay_payment_link_status=cancelled", "status=paid&state=paid", "razorpay_payment_id=x"]
)
def test_other_parameters_claim_nothing(asha: Any, opened: Any, the_order: Any, query: str) -> None:
    asha.get(f"/orders/{opened()}/success?{query}")
    assert the_order().returned_paid_at is None


@pytest.mark.parametrize("payment_id", ["pay_" + "9" * 500, "é", "a%0d%0ab", "%20", "<b>"])
def test_odd_payment_id_is_cut_or_left_out(asha: Any, opened: Any, the_order: Any, payment_id: str) -> None:
    query = f"razorpay_payment_link_status=paid&razorpay_payment_id={payment_id}"
    page = asha.get(f"/orders/{opened()}/success?{query}")
    assert (page.status_code, "<b>" in page.text) == (200, False)
    assert the_order().returned_paid_at is not None
    assert len(the_order().unverified_payment_id or "") <= 40


@pytest.mark.parametrize("state", [State.EXPIRED, State.FAILED, State.CANCELLED, State.ABANDONED])
def test_unpaid_end_after_a_claim_needs_a_person(
    asha: Any, opened: Any, the_order: Any, state: State
) -> None:
    """Kind: a page promises only what the system does."""
    ref = opened(state=state)
    page = asha.get(f"/orders/{ref}/success?{PAID_CLAIM}").text
    assert 'data-phase="ended_unconfirmed"' in page
    assert "Are the events payment.captured and payment_link.paid enabled" in the_order().review_note


@pytest.mark.parametrize("page", ["success", "failure"])
def test_signed_out_customer_signs_in_and_returns(opened: Any, open_browser: Any, page: str) -> None:
    ref = opened()
    answer = open_browser().get(f"/orders/{ref}/{page}?razorpay_payment_link_status=paid")
    assert answer.status_code == 302
    assert answer.location.startswith("/sign-in?next=/orders/")
    assert "razorpay_payment_link_status" in answer.location


def test_signed_out_fragment_redirects_the_page(opened: Any, open_browser: Any) -> None:
    ref = opened()
    answer = open_browser().get(f"/orders/{ref}/status?page=success")
    assert (answer.status_code, answer.data) == (401, b"")
    assert answer.headers["HX-Redirect"] == f"/sign-in?next=/orders/{ref}/success"


@pytest.mark.parametrize("page", PAGES)
def test_order_of_another_is_not_found(
    asha: Any, add_user: Any, add_order: Any, the_order: Any, page: str
) -> None:
    ref = add_order(add_user("ben@example.com"))
    theirs, unknown = asha.get(f"/orders/{ref}/{page}?{PAID_CLAIM}"), asha.get(f"/orders/{'0' * 32}/{page}")
    assert (theirs.status_code, theirs.data) == (404, unknown.data)
    assert the_order().returned_paid_at is None


# -- the polled fragment -----------------------------------------------------------------------------


def test_fragment_never_calls_flexprice(flexprice: Any, asha: Any, opened: Any, the_order: Any) -> None:
    ref = opened()
    for _ in range(3):
        assert asha.get(f"/orders/{ref}/status?page=success").status_code == 200
    assert flexprice.calls == []
    assert the_order().state == State.AWAITING_PAYMENT


def test_fragment_has_the_order_checked_by_the_worker(asha: Any, opened: Any, the_order: Any) -> None:
    ref = opened(next_attempt_at=now() + timedelta(hours=1))
    asha.get(f"/orders/{ref}/status")
    assert the_order().next_attempt_at <= now()


def test_many_tabs_cost_one_check_an_interval(asha: Any, opened: Any, the_order: Any, pass_time: Any) -> None:
    ref = opened()
    asha.get(f"/orders/{ref}/status")
    due = the_order().next_attempt_at
    for _ in range(5):
        asha.get(f"/orders/{ref}/status")
    assert the_order().next_attempt_at == due
    pass_time(MIN_CHECK_INTERVAL)
    asha.get(f"/orders/{ref}/status")
    assert the_order().next_attempt_at > due


@pytest.mark.parametrize("state", sorted(set(State) - {State.AWAITING_PAYMENT}))
def test_fragment_of_another_state_schedules_nothing(
    asha: Any, opened: Any, the_order: Any, state: State
) -> None:
    ref = opened(state=state)
    asha.get(f"/orders/{ref}/status")
    assert the_order().next_attempt_at is None


@pytest.mark.parametrize("since", ["", "x", "-1", "99999999999999", "1e9", "%00"])
def test_fragment_reads_any_since(asha: Any, opened: Any, since: str) -> None:
    assert asha.get(f"/orders/{opened()}/status?since={since}").status_code in (200, 404)
