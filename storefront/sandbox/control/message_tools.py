"""Messages for other tools: as a curl command, as a HAR file, and sent once more with an edited payload."""

import shlex
from typing import Any

from flask import Response, current_app, jsonify
from flask.typing import ResponseReturnValue

from ..api import auth
from ..api.serializers.common import Body
from ..delivery import queue
from ..engine.errors import invalid, not_found
from ..store.control_rows import Attempt, Delivery, Event
from ..store.database import Session
from ..store.values import random_text, rfc3339
from .access import answer, asked, control

bp = control("sandbox_message_tools", __name__, "/_sandbox/deliveries")

NUMBER = "<int(max=2147483647):number>"
MAX_ENTRIES = 500
MAX_PAYLOAD_CHARS = 200_000


def curl(url: str, attempt: Attempt) -> str:
    """The request of an attempt, to be pasted into a shell."""
    headers = " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in attempt.headers.items())
    return f"curl -i -X POST {shlex.quote(url)} {headers} --data-raw {shlex.quote(attempt.body)}"


def _entry(url: str, attempt: Attempt) -> Body:
    """One request of a HAR file, see http://www.softwareishard.com/blog/har-12-spec/."""
    took_ms = round(attempt.took_s * 1000, 3)
    kind = "application/json"
    headers = [{"name": name, "value": value} for name, value in attempt.headers.items()]
    common: Body = {"httpVersion": "HTTP/1.1", "cookies": [], "headersSize": -1}
    request = common | {
        "method": "POST",
        "url": url,
        "headers": headers,
        "queryString": [],
        "postData": {"mimeType": kind, "text": attempt.body},
        "bodySize": len(attempt.body.encode()),
    }
    text = attempt.response_body or ""
    response = common | {
        "status": attempt.response_status or 0,
        "statusText": attempt.error or "",
        "headers": [],
        "content": {"size": len(text.encode()), "mimeType": "text/plain", "text": text},
        "redirectURL": "",
        "bodySize": len(text.encode()),
    }
    timings = {"send": 0, "wait": took_ms, "receive": 0}
    entry: Body = {"startedDateTime": rfc3339(attempt.at), "time": took_ms, "cache": {}, "timings": timings}
    return entry | {"request": request, "response": response, "comment": attempt.note or ""}


def _har(session: Session, *conditions: Any) -> Response:
    found = session.all(Attempt, *conditions, order=Attempt.id.desc(), limit=MAX_ENTRIES)
    entries = [_entry(session.state.webhook_url, attempt) for attempt in reversed(found)]
    creator = {"name": "flexprice-sandbox", "version": "1"}
    response = jsonify(log={"version": "1.2", "creator": creator, "entries": entries})
    response.headers["Content-Disposition"] = 'attachment; filename="webhooks.har"'
    return response


@bp.get("/requests.har")
def har_of_all() -> ResponseReturnValue:
    """The newest 500 requests to the webhook endpoint."""
    with auth.reading() as session:
        return _har(session)


@bp.get(f"/{NUMBER}/requests.har")
def har_of_one(number: int) -> ResponseReturnValue:
    with auth.reading() as session:
        return _har(session, _need(session, number).id == Attempt.delivery_id)


def _need(session: Session, number: int) -> Delivery:
    row = session.get(Delivery, number)
    if row is None:
        raise not_found(f"delivery {number} not found")
    return row


@bp.post(f"/{NUMBER}/replay")
def replay(number: int) -> ResponseReturnValue:
    """Sends `payload` as a new message about the same object: signed, with an id of its own."""
    payload = asked().get("payload")
    if not isinstance(payload, (str, dict)) or not payload or len(str(payload)) > MAX_PAYLOAD_CHARS:
        raise invalid("payload is the body to send: text, or a JSON object")
    text = payload if isinstance(payload, str) else current_app.json.dumps(payload)
    with auth.writing() as session:
        event = session.need(Event, _need(session, number).event_id)
        delivery = queue.add(session, _copy(session, event, text.replace("\x00", "")))
        session.flush()
        sent = delivery.id
    return answer({"delivery_id": sent})


def _copy(session: Session, event: Event, body: str) -> Event:
    session.state.event_sequence += 1
    now = session.now()
    return session.add(
        Event(
            id=f"msg_{random_text(27)}",
            sequence=session.state.event_sequence,
            event_type=event.event_type,
            entity=event.entity,
            entity_id=event.entity_id,
            customer_id=event.customer_id,
            created_at=now,
            body=body,
            built_at=now,
        )
    )
