"""Commit, call, commit: while Flexprice is asked, the shop holds no connection to its database."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from storefront.extensions import db


@pytest.fixture
def held(world: Any) -> Iterator[list[tuple[str, int]]]:
    """Each call to Flexprice, and how many of the shop's connections were in use at that moment."""
    calls: list[tuple[str, int]] = []

    def look() -> None:
        from flask import request

        with world.shop.app_context():
            if request.path.startswith("/v1/"):
                calls.append((f"{request.method} {request.path}", db.engine.pool.checkedout()))

    world.sandbox.before_request_funcs.setdefault(None, []).append(look)
    yield calls
    world.sandbox.before_request_funcs[None].remove(look)


def test_no_transaction_is_open_while_flexprice_is_asked(world: Any, held: list[tuple[str, int]]) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    url = shopper.buy().headers["Location"]
    world.forget_prices()
    shopper.plan_page()
    shopper.order_page(world.order(), "success")
    shopper.cancel(world.order())
    shopper.pay(shopper.try_again(world.order()).headers["Location"])
    assert url
    for minutes in (0, 2, 4, 60):
        world.work(after=timedelta(minutes=minutes))

    assert world.order().state == "fulfilled"
    assert len({call for call, _ in held}) >= 7
    assert [call for call, connections in held if connections] == []
