"""The shop as it is, and the shop with one thing changed, to see what that thing is worth."""

import os
from typing import Any

from flask import Flask

from storefront import create_app, database
from storefront.flexprice import CheckoutSession, Client, SessionRequest
from storefront.settings import Settings


def shop() -> Flask:
    return create_app(Settings.from_env(dict(os.environ)))


def without_gate() -> Flask:
    """The textbook's way: SQLite's own waiting, with patience."""
    database.PATIENCE = 5.0
    app = shop()
    app.extensions["gate"] = None
    return app


class SdkClient(Client):
    """Sessions are created through the official SDK; everything else as ever."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.flexprice_api_url, settings.flexprice_api_key)
        from flexprice import Flexprice

        self._sdk = Flexprice(server_url=settings.flexprice_api_url, api_key_auth=settings.flexprice_api_key)

    def create_session(self, order: SessionRequest) -> CheckoutSession:
        answer = self._sdk.checkout.create_checkout_session(**order.to_json())
        found: Any = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        return CheckoutSession.from_json(found)


def with_sdk() -> Flask:
    app = shop()
    app.extensions["flexprice"] = SdkClient(app.config["SETTINGS"])
    return app
