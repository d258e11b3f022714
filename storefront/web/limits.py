"""How often the checkout's pages may be requested. The webhook has no limit: no event is ever refused.

The limits of sign-up, sign-in and passwords are in accounts/limits.py.
"""

from typing import Any

from flask import Flask

from storefront.accounts.limits import signed_in
from storefront.checkout import views
from storefront.extensions import limiter
from storefront.web import review

purchases = limiter.limit("20 per minute; 100 per hour", key_func=signed_in)
# All pages of orders together. Six tabs that poll need less than half of it.
order_pages = limiter.shared_limit("120 per minute", scope="orders", key_func=signed_in)

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
