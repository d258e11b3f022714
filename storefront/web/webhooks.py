"""Where Flexprice calls: verify, keep, answer. The worker acts."""

import logging
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, current_app, request

from storefront import inbox
from storefront.database import writing
from storefront.extensions import csrf
from storefront.flexprice import BadSignature, Event, UnreadableObject

log = logging.getLogger(__name__)
bp = Blueprint("webhooks", __name__)


@bp.post("/webhooks/flexprice")
@csrf.exempt
def receive() -> Any:
    body = request.get_data()  # the raw bytes, before anything else touches the request
    try:
        message_id = current_app.extensions["verifier"].verify(body, request.headers)
        event = Event.from_body(body)
    except BadSignature as error:
        log.warning("webhook refused: %s", error.reason)
        return {"error": "signature not accepted"}, 401
    except UnreadableObject as error:
        log.warning("webhook refused: signed, but %s", error)
        return {"error": "not an event"}, 400
    with writing():
        new = inbox.store(message_id, event, body, datetime.now(UTC))
    log.info("message %s (%s) %s", message_id, event.type, "received" if new else "received again")
    return "", 204
