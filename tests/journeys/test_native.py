"""A self-hosted Flexprice that does not sign its webhooks: they are hints."""

from typing import Any

import pytest
import requests

from storefront.checkout.webhooks import HINT_INTERVAL

SHARED = {"X-Api-Key": "k8Jq2-the-value-agreed-upon-4711"}


def hint(world: Any, headers: dict[str, str], status: str = "completed", session_id: str = "") -> int:
    """An unsigned webhook about the newest session."""
    session = {
        "id": session_id or world.sessions()[-1]["id"],
        "checkout_status": status,
        "customer_id": "cust_x",
    }
    body = {"event_type": f"checkout.session.{status}", "checkout_session": session}
    answer = requests.post(f"{world.shop_url}/webhooks/flexprice", json=body, headers=headers, timeout=10)
    return answer.status_code


@pytest.mark.thorough
def test_a_sale_is_fulfilled_by_hints_alone(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]

    assert hint(world, SHARED, "completed") == 204  # forged: nobody has paid
    world.work()
    assert world.order().state == "awaiting_payment"
    assert world.accesses() == []

    shopper.pay(url)
    assert hint(world, SHARED) == 204
    world.work(after=HINT_INTERVAL)
    assert world.order().state == "fulfilled"
    assert len(world.accesses()) == 1


def test_without_the_shared_header_a_hint_is_nothing(world: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.work()
    shopper.pay(url)

    assert hint(world, {}) == 401
    assert hint(world, {"X-Api-Key": "guessed-and-not-the-value-agreed"}) == 401
    world.work()
    assert world.order().state == "awaiting_payment"
    assert world.events() == []


def test_hints_beside_signed_news_fulfil_once(world: Any) -> None:
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    shopper.pay(url)
    for status in ("initiated", "failed", "expired", "completed"):
        hint(world, SHARED, status)
        world.work()
    world.settle()
    world.work(after=HINT_INTERVAL)

    assert world.order().state == "fulfilled"
    assert len(world.accesses()) == 1
    assert world.emails() == ["welcome"]
