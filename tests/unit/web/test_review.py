"""The review page: what is bought and when it is charged, and the billing details it stores at Flexprice."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from storefront.checkout import State
from storefront.models import Order
from storefront.web.billing_details import is_gstin
from tests.samples import customer, plan, price
from tests.shop_fixtures import NOW

GSTIN = "27AAPFU0939F1ZV"
REVIEW = "/review?plan=plan_01&currency=inr&billing_period=MONTHLY"
OFFER = {"plan": "plan_01", "currency": "inr", "billing_period": "MONTHLY"}
UNCHANGED = {
    "billing_name": "Asha Rao",
    "gstin": "",
    "known_name": "Asha Rao",
    "known_gstin": "",
    "reviewed_amount": "499.00",
}


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.fixture
def known(flexprice: Any, rows: Callable[..., Any]) -> Callable[..., None]:
    """Flexprice knows Asha, with this metadata; called once for each call that is expected."""

    def put(method: str = "GET", status: int = 200, **metadata: str) -> None:
        key = "external/" + users_key() if method == "GET" else ""
        missing = {"code": "not_found", "message": "Customer with lookup key x was not found"}
        body = missing if status == 404 else customer(metadata=metadata or None)
        flexprice.answer(method, f"/customers/{key}".rstrip("/"), body, status)

    def users_key() -> str:
        from storefront.models import User

        return str(rows(User)[0].key)

    return put


@pytest.fixture
def sold(flexprice: Any) -> Any:
    flexprice.sells(plan(price("499"), price("4990", billing_period="ANNUAL")))
    return flexprice


def test_visitor_signs_up_and_comes_back_with_the_choice(browser: Any, flexprice: Any) -> None:
    answer = browser.get(REVIEW)
    assert (
        answer.location == "/sign-up?next=/review?plan%3Dplan_01%26currency%3Dinr%26billing_period%3DMONTHLY"
    )
    flexprice.sells(plan(price()))
    page = browser.get(answer.location).text
    assert "You chose Pro." in page
    flexprice.answer("POST", "/customers", customer(), 201)
    new = {"name": "Asha Rao", "email": "asha@example.com", "password": "correct horse battery"}
    assert browser.post("/sign-up", **new, next=REVIEW).location == REVIEW


def test_page_names_price_tax_end_of_period_and_processor(asha: Any, sold: Any, known: Any) -> None:
    known()
    page = text(asha.get(REVIEW).text)
    for said in (
        "Subtotal ₹499.00",
        "Tax added by Flexprice where it applies",
        "Your plan continues after 1 month. If there is something to pay then, we send you an invoice.",
        "Nothing is charged automatically.",
        "Razorpay processes your payment.",
        "Terms",
        "Refunds",
    ):
        assert said in page
    assert "Total" not in page  # no draft invoice exists yet


def test_set_up_fee_is_named_before_buying(asha: Any, flexprice: Any, known: Any) -> None:
    flexprice.sells(plan(price(), price("5000", billing_period="ONETIME")))
    known()
    said = "A one-time set-up fee of ₹5,000 is not part of the first payment and is billed separately."
    assert said in text(asha.get(REVIEW).text)


def test_known_billing_details_are_filled_in(asha: Any, sold: Any, known: Any) -> None:
    known(billing_name="Rao & Co", gstin=GSTIN)
    page = asha.get(REVIEW).text
    assert 'value="Rao &amp; Co"' in page
    assert page.count(f'value="{GSTIN}"') == 2


def test_page_works_while_billing_details_cannot_be_read(asha: Any, sold: Any, known: Any) -> None:
    known(status=503)
    assert 'value="Asha Rao"' in asha.get(REVIEW).text


def test_one_press_pays(asha: Any, sold: Any, rows: Callable[..., Any]) -> None:
    sold.opens()
    answer = asha.post("/checkout", **OFFER, **UNCHANGED)
    assert answer.location == "http://127.0.0.1:8001/pay/abc"
    assert [path for _, path in sold.calls] == ["/plans/search", "/checkout/sessions"]
    assert rows(Order)[0].state == State.AWAITING_PAYMENT


def test_billing_details_are_merged_into_the_metadata(asha: Any, sold: Any, known: Any) -> None:
    known(razorpay_customer_id="cust_rzp")
    known("PUT")
    sold.opens()
    typed = UNCHANGED | {"billing_name": "Rao & Co", "gstin": f" {GSTIN.lower()} "}
    assert asha.post("/checkout", **OFFER, **typed).status_code == 303
    assert sold.sent(2) == {
        "metadata": {"razorpay_customer_id": "cust_rzp", "billing_name": "Rao & Co", "gstin": GSTIN}
    }


def test_unknown_customer_is_created_with_the_details(asha: Any, sold: Any, known: Any) -> None:
    known(status=404)
    sold.answer("POST", "/customers", customer(), 201)
    sold.opens()
    assert asha.post("/checkout", **OFFER, **UNCHANGED | {"gstin": GSTIN}).status_code == 303
    assert sold.sent(2)["metadata"] == {"billing_name": "Asha Rao", "gstin": GSTIN}


def test_nothing_is_ordered_when_details_cannot_be_saved(
    asha: Any, sold: Any, known: Any, rows: Callable[..., Any]
) -> None:
    known(status=503)
    answer = asha.post("/checkout", **OFFER, **UNCHANGED | {"gstin": GSTIN})
    assert answer.status_code == 503
    assert "This request did not charge you." in answer.text
    assert f'value="{GSTIN}"' in answer.text
    assert rows(Order) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("billing_name", "", "Enter a name for the invoice."),
        ("billing_name", "x" * 81, "Use at most 80 characters."),
        ("gstin", "27AAPFU0939F1ZX", "This is not a GSTIN."),
    ],
)
def test_mistakes_are_named(
    asha: Any, sold: Any, rows: Callable[..., Any], field: str, value: str, said: str
) -> None:
    answer = asha.post("/checkout", **OFFER, **UNCHANGED | {field: value})
    assert answer.status_code == 422
    assert said in answer.text
    assert rows(Order) == []


def test_changed_price_is_shown_before_anything_is_ordered(
    asha: Any, sold: Any, rows: Callable[..., Any]
) -> None:
    answer = asha.post("/checkout", **OFFER, **UNCHANGED | {"reviewed_amount": "399.00"})
    assert answer.status_code == 422
    assert "The price of this plan has changed." in answer.text
    assert 'name="reviewed_amount" value="499.00"' in answer.text
    assert rows(Order) == []


def test_one_step_purchase_needs_no_details(asha: Any, sold: Any) -> None:
    sold.opens()
    assert asha.post("/checkout", **OFFER).status_code == 303


@pytest.mark.parametrize("query", ["plan=none", "plan=plan_01&currency=eur", ""])
def test_unknown_offer_is_not_found(asha: Any, sold: Any, query: str) -> None:
    assert asha.get(f"/review?{query}").status_code == 404


def test_owned_plan_leads_to_its_page(asha: Any, sold: Any, add_order: Callable[..., str]) -> None:
    add_order(state=State.FULFILLED, paid_at=NOW, fulfilled_at=NOW)
    assert asha.get(REVIEW).location == "/plans/plan_01?currency=inr&billing_period=MONTHLY"


@pytest.mark.parametrize(
    ("number", "good"),
    [
        (GSTIN, True),
        ("29AAGCB7383J1Z4", True),
        ("27AAPFU0939F1ZW", False),  # another check character
        ("27AAPFU0939F1Z", False),
        ("2७AAPFU0939F1ZV", False),  # a Devanagari digit
        ("", False),
    ],
)
def test_check_character_of_a_gstin(number: str, good: bool) -> None:
    assert is_gstin(number) == good


@pytest.mark.parametrize("path", ["/terms", "/privacy", "/refunds", "/contact"])
def test_texts_to_replace_are_public(browser: Any, path: str) -> None:
    page = browser.get(path)
    assert page.status_code == 200
    assert "Replace it with your own" in page.text
