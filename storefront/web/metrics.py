"""The shop's figures for Prometheus, at /metrics and behind a token; counting requests; and their ids."""

import hmac
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask, Response, abort, g, request
from sqlalchemy import func, select

from storefront import lifesigns, tallies, tracing
from storefront.extensions import db, settings
from storefront.lifecycle import State
from storefront.models import InboxMessage, Letter, Order
from storefront.tallies import series

bp = Blueprint("metrics", __name__)

METHODS = {"GET", "HEAD", "POST"}
HELP = {
    "storefront_requests_total": "Requests answered, by endpoint, method and status.",
    "storefront_request_seconds_total": "Seconds spent answering them, by endpoint.",
    "storefront_webhooks_total": "Webhooks by outcome: new, known, refused (with its cause) or unreadable.",
    "storefront_messages_total": "Messages the worker read, by outcome: done, waits or broken.",
    "storefront_message_seconds_total": "Seconds from the arrival of a message to its outcome done.",
    "storefront_upstream_calls_total": "Calls to Flexprice, by method, resource and status.",
    "storefront_upstream_seconds_total": "Seconds spent waiting for them.",
    "storefront_orders": "Orders by state.",
    "storefront_orders_flagged": "Orders with a sentence for the operator.",
    "storefront_inbox_waiting": "Messages received and not done.",
    "storefront_inbox_oldest_seconds": "Age of the oldest of them.",
    "storefront_outbox_waiting": "Letters written and not sent.",
    "storefront_outbox_oldest_seconds": "Age of the oldest of them.",
    "storefront_outbox_failing": "Letters the mail server has refused so far.",
    "storefront_worker_seconds": "Since the last sign of life of a worker; absent if there never was one.",
}


def init_app(app: Flask) -> None:
    app.before_request(begin)
    app.after_request(name_it)
    app.teardown_request(forget)
    if app.config["SETTINGS"].metrics_token:
        app.extensions["tallies"] = tallies.Tallies(app)
        app.after_request(count)


# -- every request ----------------------------------------------------------------------------------


def begin() -> None:
    g.started = time.perf_counter()
    g.following = tracing.following(tracing.accepted(request.headers.get("X-Request-ID")))
    g.following.__enter__()


def name_it(response: Response) -> Response:
    response.headers["X-Request-ID"] = tracing.current()
    return response


def count(response: Response) -> Response:
    endpoint = request.endpoint or "none"
    method = request.method if request.method in METHODS else "other"
    tallies.count(
        "storefront_requests_total", endpoint=endpoint, method=method, status=str(response.status_code)
    )
    if started := g.get("started"):
        spent = time.perf_counter() - started
        tallies.count("storefront_request_seconds_total", spent, endpoint=endpoint)
    return response


def forget(_error: BaseException | None) -> None:
    if following := g.pop("following", None):
        following.__exit__(None, None, None)


# -- the page ---------------------------------------------------------------------------------------


@bp.get("/metrics")
def show() -> Any:
    token = settings().metrics_token
    if not token:
        abort(404)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return Response("", 401, {"WWW-Authenticate": "Bearer"})
    figures = tallies.all_of_them() | dict(gauges(datetime.now(UTC)))
    return Response("".join(written(figures)), content_type="text/plain; version=0.0.4; charset=utf-8")


def written(figures: dict[str, float]) -> Iterator[str]:
    by_name: dict[str, list[str]] = {}
    for name, value in sorted(figures.items()):
        by_name.setdefault(name.partition("{")[0], []).append(f"{name} {value:.10g}\n")
    for name, lines in by_name.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        yield f"# HELP {name} {HELP.get(name, name)}\n# TYPE {name} {kind}\n"
        yield from lines


def gauges(now: datetime) -> Iterable[tuple[str, float]]:
    """What can be read from the rows is not counted a second time."""
    counted = db.session.execute(select(Order.state, func.count()).group_by(Order.state))
    by_state = {state: number for state, number in counted}  # noqa: C416 (rows are no pairs to mypy)
    for state in State:
        yield series("storefront_orders", state=state), by_state.get(state, 0)
    yield "storefront_orders_flagged", _number(Order.flag.is_not(None))
    undone, unsent = InboxMessage.handled_at.is_(None), Letter.posted_at.is_(None)
    yield "storefront_inbox_waiting", _number(undone)
    yield (
        "storefront_inbox_oldest_seconds",
        _age(select(func.min(InboxMessage.received_at)).where(undone), now),
    )
    yield "storefront_outbox_waiting", _number(unsent)
    yield "storefront_outbox_oldest_seconds", _age(select(func.min(Letter.created_at)).where(unsent), now)
    yield "storefront_outbox_failing", _number(unsent, Letter.error.is_not(None))
    if db.session.scalar(lifesigns.newest_beat()):
        yield "storefront_worker_seconds", _age(lifesigns.newest_beat(), now)


def _number(*conditions: Any) -> int:
    return db.session.scalar(select(func.count()).where(*conditions)) or 0


def _age(oldest: Any, now: datetime) -> float:
    found: datetime | None = db.session.scalar(oldest)
    return max((now - found).total_seconds(), 0.0) if found else 0.0
