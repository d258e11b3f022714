"""The console, /_sandbox/: what is in a store and what happened, as pages or as JSON."""

from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ..api import auth
from ..api.serializers import billing, catalog
from ..api.serializers.checkout import checkout_session
from ..api.serializers.common import Body
from ..delivery import queue
from ..delivery.modes import MODES
from ..engine import outcomes, overrides, switches
from ..engine.errors import not_found
from ..store.base import Record
from ..store.billing_rows import Invoice, Payment, Subscription
from ..store.control_rows import Attempt, Delivery, Event, LogLine
from ..store.database import Condition, Session
from ..store.rows import CheckoutSession, Customer, ProviderLink
from ..store.values import optional_time, rfc3339
from . import faults
from .access import control
from .controls import override_body
from .lists import MAX_ROWS, limit, listed
from .message_tools import curl

bp = control("sandbox_console", __name__)
front = Blueprint("sandbox_front", __name__)

HTMX = "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js"


class Kind(NamedTuple):
    title: str
    model: type[Record]
    body: Callable[[Session, Any], Body]
    columns: dict[str, str]  # what the list shows: a heading and where it is in the body
    filters: dict[str, str]  # what the list can be narrowed by


def session_body(session: Session, row: CheckoutSession) -> Body:
    """A session with what the API does not show: its subscription, its link, the link's state."""
    link = session.get(ProviderLink, row.link_id)
    own = {
        "status": row.status,
        "subscription_id": row.subscription_id,
        "invoice_id": row.invoice_id,
        "payment_id": row.payment_id,
        "link": link.code if link else None,
        "link_id": row.link_id,
        "link_state": link.state if link else "none",
        "url": link.url if link else None,
        "mandate": row.mandate,
    }
    return checkout_session(session, row) | own


KINDS = {
    "sessions": Kind(
        "Sessions",
        CheckoutSession,
        session_body,
        {
            "Status": "checkout_status",
            "Link": "link_state",
            "Key": "idempotency_key",
            "Expires": "expires_at",
        },
        {"Status": "checkout_status", "Payment page": "link_state"},
    ),
    "customers": Kind(
        "Customers",
        Customer,
        lambda _, row: catalog.customer(row),
        {"Name": "name", "Email": "email", "External id": "external_id"},
        {},
    ),
    "subscriptions": Kind(
        "Subscriptions",
        Subscription,
        lambda session, row: billing.subscription(session, row, plan="short"),
        {
            "Status": "subscription_status",
            "Plan": "plan_id",
            "Customer": "customer_id",
            "Period ends": "current_period_end",
            "Ends": "cancel_at",
        },
        {"Status": "subscription_status"},
    ),
    "invoices": Kind(
        "Invoices",
        Invoice,
        lambda session, row: billing.invoice(session, row, subscription_too=False),
        {
            "Number": "invoice_number",
            "Status": "invoice_status",
            "Payment": "payment_status",
            "Total": "total",
            "Customer": "customer_id",
        },
        {"Status": "invoice_status", "Payment": "payment_status"},
    ),
    "payments": Kind(
        "Payments",
        Payment,
        lambda session, row: billing.payment(session, row),
        {"Status": "payment_status", "Amount": "amount", "Invoice": "destination_id"},
        {"Status": "payment_status"},
    ),
}
KIND = f"<any({', '.join(KINDS)}):kind>"


@bp.after_request
def page_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; script-src 'self' {HTMX}; connect-src 'self'; "
        # A form of the scenarios leads to the shop, and Chromium applies this to the redirect too.
        f"img-src 'self'; form-action 'self' {auth.settings().shop_url}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.app_template_filter("clock")
def clock_text(moment: str) -> str:
    """2026-09-01T10:00:01.5Z as people read it, with its zone."""
    return moment[:19].replace("T", " ") + " UTC" if moment else ""


def wants_page() -> bool:
    """A browser asks for a page by name; curl and scripts take anything, and get JSON."""
    quality = request.accept_mimetypes.quality
    return "HX-Request" in request.headers or quality("text/html") > quality("application/json")


@front.get("/")
def home() -> ResponseReturnValue:
    return redirect(url_for("sandbox_console.page"))


@bp.get("/")
def page() -> ResponseReturnValue:
    with auth.reading() as session:
        return render_template("sandbox/console.html", **choices(session), **live_parts(session))


@bp.get("/live")
def live() -> ResponseReturnValue:
    with auth.reading() as session:
        return render_template("sandbox/_live.html", **live_parts(session))


def choices(session: Session) -> Body:
    """What the console's forms offer."""
    values = {name: (switch, switches.read(session, name)) for name, switch in switches.SWITCHES.items()}
    return {
        "modes": MODES,
        "outcomes": outcomes.OUTCOMES,
        "completions": outcomes.COMPLETIONS,
        "faults": faults.FAULTS,
        "switches": values,
        "webhook_url": session.state.webhook_url or "no endpoint",
        "shop_url": auth.settings().shop_url,
    }


def live_parts(session: Session) -> Body:
    newest = session.all(CheckoutSession, order=CheckoutSession.id.desc(), limit=10)
    return {
        "now": rfc3339(session.now().replace(microsecond=0)),
        "overrides": [override_body(row) for row in overrides.in_force(session)],
        "sessions": [session_body(session, row) for row in newest],
        "deliveries": deliveries(session, limit=25),
    }


# Objects.


@bp.get(f"/{KIND}")
def listing(kind: str) -> ResponseReturnValue:
    """Newest first; `?q=` keeps those that have these words, and a column's name those with a value."""
    of = KINDS[kind]
    with auth.reading() as session:
        rows = session.all(of.model, order=of.model.id.desc(), limit=limit())
        found = listed([of.body(session, row) for row in rows], of.filters)
    if not wants_page():
        return jsonify(items=found.items)
    return render_template("sandbox/list.html", kind=kind, of=of, found=found)


@bp.get(f"/{KIND}/<object_id>")
def one(kind: str, object_id: str) -> ResponseReturnValue:
    of = KINDS[kind]
    with auth.reading() as session:
        row = session.get(of.model, object_id)
        if row is None:
            raise not_found(f"{object_id} not found")
        body = of.body(session, row) | {"status": row.status}
        if not wants_page():
            return jsonify(body)
        if isinstance(row, CheckoutSession):
            around = _around(session, row)
            return render_template("sandbox/session.html", session=body, **around, **choices(session))
        return render_template("sandbox/object.html", kind=kind, of=of, body=body)


def _around(session: Session, row: CheckoutSession) -> Body:
    about = [event.id for event in queue.events_about(session, row.id)]
    lines = session.all(LogLine, LogLine.session_id == row.id, order=LogLine.id.desc(), limit=MAX_ROWS)
    return {
        "customer": session.get(Customer, row.customer_id),
        "subscription": session.get(Subscription, row.subscription_id),
        "invoice": session.get(Invoice, row.invoice_id),
        "payment": session.get(Payment, row.payment_id),
        "deliveries": deliveries(session, Delivery.event_id.in_(about)),
        "log": [log_body(line) for line in lines],
    }


# Messages.


def delivery_body(session: Session, row: Delivery) -> Body:
    names = (
        *("id", "event_id", "customer_id", "state", "attempt", "fault"),
        *("response_status", "response_body", "error"),
    )
    body: Body = {name: getattr(row, name) for name in names} | {"due_at": rfc3339(row.due_at)}
    event = session.need(Event, row.event_id)
    return body | {"event_type": event.event_type, "entity_id": event.entity_id, "body": event.body}


def deliveries(session: Session, *conditions: Any, limit: int = MAX_ROWS) -> list[Body]:
    """Newest first."""
    rows = session.all(Delivery, *conditions, order=Delivery.id.desc(), limit=limit)
    return [delivery_body(session, row) for row in rows]


@bp.get("/deliveries")
def list_deliveries() -> ResponseReturnValue:
    with auth.reading() as session:
        rows = deliveries(session, limit=limit())
    found = listed(rows, {"State": "state", "Message": "event_type"})
    if not wants_page():
        return jsonify(items=found.items)
    return render_template("sandbox/deliveries.html", found=found)


@bp.get("/deliveries/<int(max=2147483647):number>")
def one_delivery(number: int) -> ResponseReturnValue:
    with auth.reading() as session:
        row = session.get(Delivery, number)
        if row is None:
            raise not_found(f"delivery {number} not found")
        body = delivery_body(session, row)
        made = session.all(Attempt, Attempt.delivery_id == number, order=Attempt.number)
        url = session.state.webhook_url
        attempts = [_attempt_body(attempt) | {"curl": curl(url, attempt)} for attempt in made]
    if not wants_page():
        return jsonify(body | {"attempts": attempts})
    return render_template("sandbox/delivery.html", delivery=body, attempts=attempts)


def _attempt_body(row: Attempt) -> Body:
    names = ("number", "took_s", "headers", "body", "response_status", "response_body", "error", "note")
    return {name: getattr(row, name) for name in names} | {"at": rfc3339(row.at)}


@bp.get("/events")
def list_events() -> ResponseReturnValue:
    """What happened, newest first, each with its deliveries; `?session=`, `?type=`, `?limit=`."""
    session_id, event_type = request.args.get("session"), request.args.get("type")
    most = min(max(request.args.get("limit", 50, type=int), 1), MAX_ROWS)
    with auth.reading() as session:
        conditions: list[Condition] = []
        if session_id:
            if session.get(CheckoutSession, session_id) is None:
                raise not_found(f"checkout session {session_id} not found", id=session_id)
            conditions.append(Event.id.in_([event.id for event in queue.events_about(session, session_id)]))
        if event_type:
            conditions.append(Event.event_type == event_type)
        rows = session.all(Event, *conditions, order=Event.sequence.desc(), limit=most)
        return jsonify(items=[_event_body(session, row) for row in rows])


def _event_body(session: Session, row: Event) -> Body:
    names = ("id", "event_type", "entity", "entity_id", "customer_id", "body")
    ways = ("id", "state", "attempt", "due_at", "fault", "response_status", "error")
    own = deliveries(session, Delivery.event_id == row.id)
    body: Body = {name: getattr(row, name) for name in names}
    body |= {"created_at": rfc3339(row.created_at), "built_at": optional_time(row.built_at)}
    return body | {"deliveries": [{name: delivery[name] for name in ways} for delivery in own]}


# The log.


def log_body(row: LogLine) -> Body:
    names = ("id", "what", "session_id", "status", "detail")
    return {name: getattr(row, name) for name in names} | {"at": rfc3339(row.at)}


@bp.get("/log")
def list_log() -> ResponseReturnValue:
    with auth.reading() as session:
        rows = session.all(LogLine, order=LogLine.id.desc(), limit=limit())
    found = listed([log_body(row) for row in rows], {"Answer": "status"})
    if not wants_page():
        return jsonify(items=found.items)
    return render_template("sandbox/log.html", found=found)
