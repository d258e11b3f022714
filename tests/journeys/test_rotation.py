"""A webhook secret is rotated while customers buy: nothing is lost, and at last the old one is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from storefront.flexprice import WebhookVerifier

NEW = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
OLD = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="


@pytest.fixture
def known(world: Any) -> Callable[..., None]:
    """Restarts the shop with these secrets (FLEXPRICE_WEBHOOK_SECRET)."""

    def with_secrets(*secrets: str) -> None:
        world.shop.extensions["checkout"].verifier = WebhookVerifier(secrets)

    return with_secrets


@pytest.fixture
def signs(world: Any) -> Callable[..., None]:
    def with_secrets(*secrets: str) -> None:
        with world.flexprice() as session:
            session.state.webhook_secrets = list(secrets)

    return with_secrets


def sale(world: Any, name: str) -> tuple[str, set[int]]:
    """The state of the order when all messages are in, and what the shop said to them."""
    before = len(world.deliveries())
    shopper = world.shopper(name)
    url = shopper.buy().headers["Location"]
    world.settle()
    shopper.pay(url)
    world.settle()
    return world.order().state, {row["response_status"] for row in world.deliveries()[before:]}


@pytest.mark.thorough
def test_a_secret_is_rotated_without_losing_a_sale(
    world: Any, known: Callable[..., None], signs: Callable[..., None]
) -> None:
    signs(OLD)
    known(OLD)
    assert sale(world, "Asha Rao") == ("fulfilled", {204})

    known(NEW, OLD)  # the shop first: it must know both before the sender uses the new one
    assert sale(world, "Bela Rao") == ("fulfilled", {204})
    signs(NEW, OLD)
    assert sale(world, "Chetan Rao") == ("fulfilled", {204})
    signs(NEW)
    assert sale(world, "Divya Rao") == ("fulfilled", {204})

    known(NEW)
    assert sale(world, "Esha Rao") == ("fulfilled", {204})
    signs(OLD)
    assert sale(world, "Farid Rao") == ("awaiting_payment", {401})


@pytest.mark.thorough
def test_a_tester_sees_the_old_secret_accepted_while_both_are_known(
    world: Any, known: Callable[..., None]
) -> None:
    world.webhooks("old_secret")
    known(NEW, OLD)
    assert sale(world, "Asha Rao") == ("fulfilled", {204})

    known(NEW)
    assert sale(world, "Bela Rao") == ("awaiting_payment", {401})
