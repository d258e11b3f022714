"""Is the shop alive? For load balancers, and for the person who wonders why nothing is fulfilled."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint
from sqlalchemy.exc import SQLAlchemyError

from storefront import worker
from storefront.extensions import db

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def check() -> Any:
    """503 without a database; a worker that is missing is said, but does not take the pages down."""
    try:
        alive = worker.is_alive(datetime.now(UTC))
    except SQLAlchemyError:
        db.session.rollback()
        return {"process": "ok", "database": "unreachable", "worker": "unknown"}, 503
    return {
        "process": "ok",
        "database": "ok",
        "worker": "ok" if alive else "no sign of life: nothing is fulfilled",
    }
