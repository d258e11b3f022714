"""The timeline of one order: what the sandbox did, what was sent, and what the shop says of it."""

from typing import Any, NamedTuple

from flask import g, jsonify, render_template
from flask.typing import ResponseReturnValue

from ..api import auth
from ..delivery import queue
from ..store.control_rows import Attempt, Delivery, Event, LogLine
from ..store.database import Session
from ..store.values import rfc3339
from .access import control
from .console import page_policy, wants_page
from .controls import need_checkout
from .scenarios import shop_client
from .scenarios.facts import Shop

bp = control("sandbox_timeline", __name__, "/_sandbox/sessions")
bp.after_request(page_policy)


class Entry(NamedTuple):
    """:param who: sandbox, webhook or shop; of a webhook, `delivery` is its number."""

    at: str
    who: str
    what: str
    detail: str = ""
    delivery: int | None = None


@bp.get("/<session_id>/timeline")
def page(session_id: str) -> ResponseReturnValue:
    shop: Shop | str = shop_client.NOT_ASKED
    if g.store == auth.DEFAULT_STORE:
        shop = shop_client.ask(auth.settings(), session=session_id)
    with auth.reading() as session:
        row = need_checkout(session, session_id)
        entries = [*_log(session, session_id), *_messages(session, session_id), *_shop(shop)]
        entries.sort(key=lambda entry: entry.at)
        key, clock_s = row.idempotency_key, session.state.clock_offset_s
    if not wants_page():
        return jsonify(items=[entry._asdict() for entry in entries])
    said = shop if isinstance(shop, str) else ""
    moved = abs(clock_s) > 1
    about = {"session_id": session_id, "key": key, "said": said, "moved": moved}
    return render_template("sandbox/timeline.html", entries=entries, **about)


def _log(session: Session, session_id: str) -> list[Entry]:
    lines = session.all(LogLine, LogLine.session_id == session_id, order=LogLine.id)
    return [Entry(rfc3339(line.at), "sandbox", line.what, _detail(line)) for line in lines]


def _detail(line: LogLine) -> str:
    names = ("fault", "method", "code", "message", "payment")
    found = [str(line.detail[name]) for name in names if line.detail.get(name)]
    return ", ".join(([str(line.status)] if line.status else []) + found)


def _messages(session: Session, session_id: str) -> list[Entry]:
    events = {event.id: event for event in queue.events_about(session, session_id)}
    happened = [Entry(rfc3339(event.created_at), "sandbox", event.event_type) for event in events.values()]
    rows = session.all(Delivery, Delivery.event_id.in_(events))
    about = {row.id: events[row.event_id] for row in rows}
    attempts = session.all(Attempt, Attempt.delivery_id.in_(about), order=Attempt.id)
    return happened + [_sent(one, about[one.delivery_id]) for one in attempts]


def _sent(attempt: Attempt, event: Event) -> Entry:
    came = str(attempt.response_status or attempt.error or "")
    what = f"{event.event_type}, delivery {attempt.delivery_id}, attempt {attempt.number}"
    detail = ", ".join(filter(None, (came, attempt.note)))
    return Entry(rfc3339(attempt.at), "webhook", what, detail, attempt.delivery_id)


def _shop(shop: Shop | str) -> list[Entry]:
    if isinstance(shop, str):
        return []
    moves: list[dict[str, Any]] = [one for order in shop.orders for one in order.get("transitions") or []]
    return [
        Entry(str(m.get("at")), "shop", f"{m.get('from')} → {m.get('to')}", str(m.get("trigger")))
        for m in moves
    ]
