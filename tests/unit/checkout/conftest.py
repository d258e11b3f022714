"""Fixtures for the checkout's tests: a Flexprice that sells one plan, a buyer, and time that passes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import DateTime, select
from werkzeug.test import TestResponse

from storefront.checkout import orders
from storefront.checkout.context import commit
from storefront.extensions import db
from storefront.models import Order, WebhookEvent

OFFER = {"plan": "plan_01", "currency": "inr", "billing_period": "MONTHLY"}


@pytest.fixture
def shop(flexprice: Any) -> Any:
    """A Flexprice that sells one plan, monthly and yearly."""
    flexprice.sells(flexprice.plan(flexprice.price("499"), flexprice.price("4990", billing_period="ANNUAL")))
    return flexprice


@pytest.fixture
def buy(asha: Any) -> Callable[..., TestResponse]:
    """Press Buy: `buy(billing_period="ANNUAL")`."""
    return lambda **changes: asha.post("/checkout", **(OFFER | changes))


@pytest.fixture
def pass_time(app: Flask) -> Callable[[timedelta], None]:
    """Everything that the shop has written moves into the past."""

    def move(how_long: timedelta) -> None:
        with app.app_context():
            for model in (Order, WebhookEvent):
                columns = [c.key for c in model.__table__.columns if isinstance(c.type, DateTime)]
                for row in db.session.scalars(select(model)):
                    for column in columns:
                        value: datetime | None = getattr(row, column)
                        setattr(row, column, value - how_long if value else None)
            db.session.commit()

    return move


@pytest.fixture
def act(app: Flask) -> Callable[..., Any]:
    """Call a function of checkout/orders with an order, and commit: `act(ref, orders.close, by="operator:o")`."""

    def run(ref: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with app.app_context():
            order = orders.find_by_ref(ref)
            assert order
            result = function(order, *args, **kwargs)
            commit()
            return result

    return run
