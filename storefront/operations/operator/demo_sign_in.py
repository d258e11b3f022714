"""The address in the demo's banner, which signs a browser in as the demo's operator.

It exists only where DEMO_OPERATOR_TOKEN is set, which a shop in production refuses.
"""

import hmac

from flask import Blueprint, abort, redirect, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from storefront.accounts.views import start_session
from storefront.extensions import db, settings
from storefront.models import User

bp = Blueprint("demo_sign_in", __name__)


@bp.get("/demo/operator/<token>")
def sign_in(token: str) -> ResponseReturnValue:
    if not hmac.compare_digest(token.encode(), settings().demo_operator_token.encode()):
        abort(404)
    operators = select(User).where(User.is_operator).order_by(User.id).limit(1)
    start_session(db.session.scalar(operators) or abort(404))
    return redirect(url_for("operator.index"), 303)
