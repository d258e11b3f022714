"""How often the checkout's pages may be requested. The webhook has no limit: no event is ever refused.

The limits of sign-up, sign-in and passwords are in accounts/limits.py.
"""

import hashlib
from typing import Any

from flask import Flask, session

from storefront.checkout import views
from storefront.extensions import client_network, limiter
from storefront.web import review


def visitor() -> str:
    """The signed-in user by a fingerprint (keys are stored and logged); anybody else by network."""
    key = session.get("_user_id")
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else client_network()


purchases = limiter.limit("20 per minute; 100 per hour", key_func=visitor)
# All pages of orders together. Six tabs that poll need less than half of it.
order_pages = limiter.shared_limit("120 per minute", scope="orders", key_func=visitor)

LIMITED: dict[str, Any] = {
    "checkout.start": purchases(views.start),
    "checkout.success": order_pages(views.success),
    "checkout.failure": order_pages(views.failure),
    "checkout.status": order_pages(views.status),
    "checkout.cancel": order_pages(views.cancel),
    "review.show": order_pages(review.show),
}


def init_app(app: Flask) -> None:
    app.view_functions.update(LIMITED)
