"""The start page, the receipt of an order, and what every template may use."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask, abort, current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from sqlalchemy import select

from storefront.checkout import State
from storefront.checkout.context import is_payment_url, moved_by
from storefront.extensions import db, settings
from storefront.models import Order

bp = Blueprint("web", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
    app.add_template_test(is_payment_url, "payment_url")  # links are held to the same hosts as redirects
    app.context_processor(common)


def common() -> dict[str, Any]:
    return {
        "shop_name": settings().shop_name,
        "shop_url": settings().storefront_url,
        "time_zone": settings().time_zone,
        "support_email": settings().mail_from,
        "moved_by": moved_by,
        "shop_now": lambda: utc_now() + moved_by(),
        "has_billing": "subscriptions" in current_app.blueprints,
        "has_emails": "emails" in current_app.blueprints,
    }


def utc_now() -> datetime:
    """For "in 12 minutes": naive UTC by this process, which costs no query."""
    return datetime.now(UTC).replace(tzinfo=None)


@bp.get("/")
def start() -> str:
    """Asks neither Flexprice nor the database, so that it can always be opened."""
    return render_template("start.html")


@bp.get("/orders/<ref>/receipt")
@login_required
def receipt(ref: str) -> ResponseReturnValue:
    """To print or keep. There is none before the order is fulfilled."""
    order = db.session.scalar(select(Order).where(Order.ref == ref, Order.user_id == current_user.id))
    if order is None:
        abort(404)
    if order.state != State.FULFILLED:
        return redirect(url_for("checkout.success", ref=ref), 302)
    return render_template("account/receipt.html", order=order)
