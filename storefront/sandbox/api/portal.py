"""The customer portal: /v1/customers/portal. The page behind the link is not built."""

from datetime import timedelta

from flask import jsonify
from flask.typing import ResponseReturnValue

from ..engine.checkout import published_customer
from ..store.values import random_text, rfc3339
from . import auth

bp = auth.v1("sandbox_portal", __name__)

LIFETIME = timedelta(hours=1)
TOKEN_LENGTH = 64


@bp.get("/customers/portal/<external_id>")
def create_session(external_id: str) -> ResponseReturnValue:
    """A link that is good for an hour."""
    with auth.reading() as session:
        published_customer(session, external_id)
        expires_at = session.now() + LIFETIME
    token = random_text(TOKEN_LENGTH)
    url = f"{auth.link_base()}/_sandbox/portal?token={token}"
    return jsonify(url=url, token=token, expires_at=rfc3339(expires_at))
