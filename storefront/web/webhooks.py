"""Where Flexprice calls: verify, keep, answer. The worker acts."""

import logging
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, request

from storefront import doorman, inbox, tallies
from storefront.database import writing_rows
from storefront.extensions import csrf
from storefront.flexprice import BadSignature, Event, UnreadableObject

log = logging.getLogger(__name__)
bp = Blueprint("webhooks", __name__)


@bp.post("/webhooks/flexprice")
@csrf.exempt
def receive() -> Any:
    body = request.get_data()  # the raw bytes, before anything else touches the request
    headers = {name.lower(): value for name, value in request.headers.items()}
    delivery = doorman.Delivery(body, headers, request.remote_addr or "", datetime.now(UTC))
    try:
        message_id = doorman.admit(delivery)
        event = Event.from_body(body)
    except BadSignature as refusal:
        doorman.note(refusal, delivery)
        tallies.count("storefront_webhooks_total", outcome="refused", cause=refusal.reason)
        return {"error": "signature not accepted"}, 401  # whatever the cause: only we need to know it
    except UnreadableObject as why:
        doorman.note_unreadable(why, delivery)
        tallies.count("storefront_webhooks_total", outcome="unreadable", cause="")
        return {"error": "not an event"}, 400
    with writing_rows() as rows:
        if message_id:
            new = inbox.store(rows, message_id, event, body, delivery.at)
        else:
            new = inbox.hint(rows, event, delivery.at)
    tallies.count("storefront_webhooks_total", outcome="new" if new else "known", cause="")
    log.info("message %s (%s) %s", message_id or "unsigned", event.type, "kept" if new else "known already")
    return "", 204
