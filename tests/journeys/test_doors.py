"""Who may see and do what: strangers, visitors, owners, and those who type into forms what is not there."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
import requests

SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="


@pytest.mark.thorough
@pytest.mark.parametrize("page", ["success", "failure", "status"])
def test_a_stranger_does_not_find_the_order(world: Any, page: str) -> None:
    world.shopper("Asha Rao").buy()
    stranger = world.shopper("Ben Okri")

    assert stranger.order_page(world.order(), page).status_code == 404


@pytest.mark.parametrize("action", ["cancel", "start-again"])
def test_a_stranger_does_not_move_the_order(world: Any, action: str) -> None:
    world.shopper("Asha Rao").buy()
    stranger = world.shopper("Ben Okri")
    before = world.order().state

    answer = stranger.send_by_hand(f"/orders/{world.order().ref}/{action}")

    assert answer.status_code == 404
    assert world.order().state == before
    assert world.sessions()[-1]["checkout_status"] == "pending"


def test_a_signed_out_shopper_learns_nothing_from_the_status(world: Any) -> None:
    world.shopper().buy()

    answer = world.visitor().order_page(world.order(), "status")

    assert "/sign-in" in answer.url or answer.status_code == 401
    assert "data-phase" not in answer.text


@pytest.mark.parametrize("page", ["success", "failure"])
def test_a_signed_out_shopper_is_led_to_the_sign_in_and_back(world: Any, page: str) -> None:
    shopper = world.shopper()
    shopper.buy()
    elsewhere = world.visitor()

    sign_in = elsewhere.order_page(world.order(), page)
    assert sign_in.status_code == 200
    assert "/sign-in" in sign_in.url
    answer = elsewhere.send(sign_in, "", email=shopper.email, password="a sentence to remember")

    assert answer.headers["Location"].startswith(f"/orders/{world.order().ref}/{page}")


def test_a_visitor_who_buys_is_led_to_the_sign_up_and_back_to_the_review(world: Any) -> None:
    visitor = world.visitor()

    page = visitor.review_page("Team", billing_period="ANNUAL", currency="usd")
    assert "/sign-up" in page.url
    answer = visitor.send(page, "", name="Asha Rao", email="asha@example.com", password="long enough it is")
    review = visitor.see(answer.headers["Location"])

    assert visitor.send(review, "/checkout").headers["Location"] == world.pay_url()
    assert (world.order().plan_name, world.order().billing_period) == ("Team", "ANNUAL")
    assert world.order().currency == "usd"


def test_a_plan_one_has_cannot_be_bought_again(world: Any, offers: Any) -> None:
    shopper = world.shopper()
    page = shopper.review_page()
    shopper.pay(shopper.send(page, "/checkout").headers["Location"])
    world.settle()

    assert not offers(shopper.review_page(), "/checkout")
    answer = shopper.send(page, "/checkout")  # the old page of another tab

    assert answer.headers["Location"] == f"/orders/{world.order().ref}/success"
    assert len(world.orders()) == len(world.sessions()) == 1


@pytest.mark.thorough
def test_a_plan_paid_a_moment_ago_cannot_be_bought_again(world: Any) -> None:
    """Between the payment and the access there is no second sale."""
    shopper = world.shopper()
    page = shopper.review_page()
    shopper.pay(shopper.send(page, "/checkout").headers["Location"])
    world.set_order(state="paid")

    assert shopper.send(page, "/checkout").headers["Location"] == f"/orders/{world.order().ref}/success"
    assert len(world.sessions()) == 1


@pytest.mark.parametrize(
    ("plan", "choice", "offered"),
    [
        ("Free", {}, "/billing/start"),
        ("Scale", {}, "/billing/start"),
        ("Pacific", {"currency": "jpy"}, "refusal"),
    ],
    ids=["nothing to pay", "usage only", "no decimals"],
)
def test_what_checkout_cannot_charge_is_not_sold(
    world: Any, plan: str, choice: dict[str, str], offered: str
) -> None:
    shopper = world.shopper()
    page = shopper.plan_page(plan, **choice)
    assert offered in page.text
    assert "/review" not in page.text

    plan_id = page.url.partition("/plans/")[2].partition("?")[0]
    currency = choice.get("currency", "inr")
    by_hand = {"plan": plan_id, "currency": currency, "billing_period": "MONTHLY"}
    answer = shopper.send_by_hand("/checkout", **by_hand)

    assert answer.status_code == 422
    assert f"/plans/{plan_id}" in answer.text
    assert world.orders() == world.sessions() == []


@pytest.mark.parametrize("field", ["plan", "currency", "billing_period"])
def test_an_offer_that_does_not_exist_is_not_found(world: Any, field: str) -> None:
    shopper = world.shopper()

    answer = shopper.send(shopper.review_page(), "/checkout", **{field: "nonsense"})

    assert answer.status_code == 404
    assert world.orders() == []


@pytest.mark.thorough
def test_a_price_typed_into_the_form_is_not_looked_at(world: Any) -> None:
    shopper = world.shopper()

    shopper.send(shopper.review_page(), "/checkout", amount="1", price="1")

    assert str(world.order().amount) == "499.00"


def test_a_form_without_its_token_is_refused(world: Any) -> None:
    shopper = world.shopper()

    answer = shopper.send(shopper.review_page(), "/checkout", csrf_token="")

    assert answer.status_code == 400
    assert world.orders() == []


def signed(body: bytes, secret: str, at: float) -> dict[str, str]:
    stamp = str(int(at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"msg_forged.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"svix-id": "msg_forged", "svix-timestamp": stamp, "svix-signature": signature}


@pytest.mark.parametrize("wrong", ["secret", "age", "body", "nothing signed"])
def test_a_webhook_that_is_not_flexprices_is_refused(world: Any, wrong: str) -> None:
    shopper = world.shopper()
    shopper.buy()
    news = {"checkout_session": {"id": world.order().session_id}, "event_type": "checkout.session.completed"}
    body = json.dumps(news).encode()

    secret = "whsec_" + base64.b64encode(b"f" * 24).decode() if wrong == "secret" else SECRET
    headers = signed(body, secret, time.time() - (3600 if wrong == "age" else 0))
    answer = requests.post(
        f"{world.shop_url}/webhooks/flexprice",
        data=body + (b" " if wrong == "body" else b""),
        headers={} if wrong == "nothing signed" else headers,
        timeout=10,
    )
    world.work()

    assert answer.status_code == 401
    assert world.events() == []
    assert world.order().state == "awaiting_payment"


@pytest.mark.thorough
def test_emails_are_read_by_their_recipient_only(world: Any) -> None:
    shopper = world.shopper("Asha Rao")
    shopper.pay(shopper.buy().headers["Location"])
    world.settle()

    assert "Starter" in shopper.see("/emails").text
    assert shopper.see("/emails/1").status_code == 200
    assert world.shopper("Ben Okri").see("/emails/1").status_code == 404


@pytest.mark.thorough
def test_the_members_pages_are_for_those_who_paid(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy()

    assert not shopper.see("/members").url.endswith("/members")

    shopper.pay(world.pay_url())
    world.settle()
    assert shopper.see("/members").url.endswith("/members")


def test_an_address_signs_up_once(world: Any) -> None:
    world.shopper("Asha Rao")
    second = world.visitor()

    page = second.see("/sign-up")
    answer = second.send(page, "", name="Asha", email="ASHA@example.com", password="another sentence")

    assert answer.status_code == 422
    assert "already" in answer.text


def test_a_sign_in_leads_nowhere_else(world: Any) -> None:
    shopper = world.shopper()
    visitor = world.visitor()
    page = visitor.see("/sign-in?next=https://evil.example/")

    answer = visitor.send(page, "", email=shopper.email, password="a sentence to remember")

    assert answer.headers["Location"] == "/"
