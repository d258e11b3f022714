"""Is the shop alive? For load balancers, and for the person who wonders why nothing is fulfilled."""

import logging
import threading
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask
from sqlalchemy.exc import SQLAlchemyError

from storefront import lifesigns
from storefront.extensions import db

log = logging.getLogger(__name__)
bp = Blueprint("health", __name__)

NO_WORKER = (
    "No worker has given a sign of life: nothing that is paid is fulfilled. Start `flask --app wsgi work`."
)


@bp.get("/healthz")
def check() -> Any:
    """503 without a database; a worker that is missing is said, but does not take the pages down."""
    try:
        alive = lifesigns.is_alive(datetime.now(UTC))
    except SQLAlchemyError:
        db.session.rollback()
        return {"process": "ok", "database": "unreachable", "worker": "unknown"}, 503
    return {
        "process": "ok",
        "database": "ok",
        "worker": "ok" if alive else "no sign of life: nothing is fulfilled",
    }


def shout_without_worker(app: Flask, after: float = 30) -> threading.Timer:
    """Look once, `after` seconds: a worker that is started together with the shop has shown itself."""

    def look() -> None:
        with app.app_context():
            try:
                if not lifesigns.is_alive(datetime.now(UTC)):
                    log.error(NO_WORKER)
            except SQLAlchemyError as error:
                log.error("The database cannot be read: %s", type(error).__name__)
            finally:
                db.session.remove()

    timer = threading.Timer(after, look)
    timer.daemon = True
    timer.start()
    return timer
