"""/metrics for Prometheus, behind a token.

Orders, events and emails are read from the database at the scrape: any process shows the whole. HTTP requests
and calls to Flexprice are timed in each process; with PROMETHEUS_MULTIPROC_DIR the processes that share this
folder are added up.
"""

import hmac
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from flask import Blueprint, Flask, Response, abort, g, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import func, select

from storefront.checkout import State
from storefront.checkout.context import db_now
from storefront.checkout.signals import flexprice_called
from storefront.extensions import db, settings
from storefront.flexprice import ApiResponse
from storefront.models import Order, WebhookEvent
from storefront.operations import emails, heartbeat
from storefront.operations.health import oldest_due

bp = Blueprint("metrics", __name__)

METHODS = {"GET", "HEAD", "POST"}
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

process = CollectorRegistry()
"""What this process has timed."""
http_requests = Counter(
    "storefront_http_requests",
    "Requests answered, by endpoint, method and status.",
    ("endpoint", "method", "status"),
    registry=process,
)
http_seconds = Histogram(
    "storefront_http_request_seconds",
    "Time to answer a request, by endpoint.",
    ("endpoint",),
    buckets=BUCKETS_S,
    registry=process,
)
flexprice_seconds = Histogram(
    "storefront_flexprice_call_seconds",
    'Calls to Flexprice, by method, resource and status; status "none": no answer.',
    ("method", "resource", "status"),
    buckets=BUCKETS_S,
    registry=process,
)


def init_app(app: Flask) -> None:
    """Without METRICS_TOKEN nothing is measured and /metrics is a 404."""
    app.register_blueprint(bp)
    if app.config["SETTINGS"].metrics_token:
        app.before_request(start_timer)
        app.after_request(count_request)
        flexprice_called.connect(time_call, app)


def start_timer() -> None:
    g.metrics_started_s = time.perf_counter()


def count_request(response: Response) -> Response:
    endpoint = request.endpoint or "none"
    method = request.method if request.method in METHODS else "other"
    http_requests.labels(endpoint, method, str(response.status_code)).inc()
    if "metrics_started_s" in g:
        http_seconds.labels(endpoint).observe(time.perf_counter() - g.metrics_started_s)
    return response


def time_call(_app: Flask, call: ApiResponse, **_: Any) -> None:
    flexprice_seconds.labels(call.method, call.resource, str(call.status or "none")).observe(call.seconds)


# -- the page ---------------------------------------------------------------------------------------


@bp.get("/metrics")
def show() -> ResponseReturnValue:
    token = settings().metrics_token
    if not token:
        abort(404)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return "", 401, {"WWW-Authenticate": "Bearer"}
    timings = generate_latest(timed())
    return Response(timings + generate_latest(stored()), content_type=CONTENT_TYPE_LATEST)


def timed() -> CollectorRegistry:
    """The timings of all processes that share PROMETHEUS_MULTIPROC_DIR, else of this one."""
    shared = CollectorRegistry()
    try:
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    except ValueError:  # the variable is not set
        return process
    return shared


def stored() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StoredFigures())
    return registry


class StoredFigures:
    """What the rows say at the time of the scrape."""

    def collect(self) -> Iterable[Metric]:
        now = db_now()
        yield orders_by_state()
        yield gauge("orders_needing_review", "Orders with a note for the operator.", _with_note())
        yield from _queue("events", "Webhook events", WebhookEvent, now)
        yield gauge("events_set_aside", "Webhook events that wait for a person.", _set_aside())
        yield from _queue("order_checks", "Orders to check", Order, now)
        if emails.in_use():
            yield from email_figures(now)
        if beat_at := heartbeat.last():
            seconds = (now - beat_at).total_seconds()
            yield gauge("worker_heartbeat_age_seconds", "Since the worker's loop last turned.", seconds)


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"storefront_{name}", text, value=max(value, 0.0))


def orders_by_state() -> GaugeMetricFamily:
    family = GaugeMetricFamily("storefront_orders", "Orders by state.", labels=["state"])
    found = {state: number for state, number in db.session.execute(_counts())}  # noqa: C416 - rows, no pairs
    for state in State:
        family.add_metric([state], found.get(state, 0))
    return family


def _counts() -> Any:
    return select(Order.state, func.count()).group_by(Order.state)


def _queue(name: str, text: str, model: Any, now: datetime) -> Iterator[GaugeMetricFamily]:
    since = oldest_due(model, now)
    age = (now - since).total_seconds() if since else 0.0
    yield gauge(f"{name}_due", f"{text} that are due now.", count(model, model.next_attempt_at <= now))
    yield gauge(f"{name}_oldest_due_seconds", f"{text}: how long the oldest has been due.", age)


def email_figures(now: datetime) -> Iterator[GaugeMetricFamily]:
    Email = emails.Email
    queued = Email.sent_at.is_(None) & Email.failed_at.is_(None)
    oldest = db.session.scalar(select(func.min(Email.created_at)).where(queued))
    age = (now - oldest).total_seconds() if oldest else 0.0
    yield gauge("emails_queued", "Emails that are not sent yet.", count(Email, queued))
    yield gauge("emails_oldest_queued_seconds", "Age of the oldest of them.", age)
    failing = queued & Email.error.is_not(None)
    yield gauge("emails_failing", "Queued emails that the mail server refused so far.", count(Email, failing))
    yield gauge("emails_failed", "Emails given up.", count(Email, Email.failed_at.is_not(None)))


def _with_note() -> int:
    return count(Order, Order.review_note.is_not(None))


def _set_aside() -> int:
    row = WebhookEvent
    return count(row, row.processed_at.is_(None) & row.next_attempt_at.is_(None))


def count(model: Any, condition: Any) -> int:
    """How many rows meet the condition."""
    return db.session.scalar(select(func.count()).select_from(model).where(condition)) or 0
