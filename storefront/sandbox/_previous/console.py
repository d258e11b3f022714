"""Behind the curtain, /_sandbox/: what is there and what happened; each page is JSON for whoever asks so."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, Select, Table, select, text

from storefront.sandbox._previous import clock, events, faults, hooks, levers, outcomes, switches
from storefront.sandbox._previous.door import current_settings
from storefront.sandbox._previous.errors import not_found
from storefront.sandbox._previous.schema import (
    attempts,
    customers,
    deliveries,
    invoices,
    journal,
    payments,
    sessions,
    subscriptions,
)
from storefront.sandbox._previous.schema import events as messages
from storefront.sandbox._previous.store import Body, current_store, find, rfc3339

bp = Blueprint("sandbox_console", __name__, url_prefix="/_sandbox")
front = Blueprint("sandbox_front", __name__)

SHOWN = 200  # rows, newest first
HTMX = "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js"


class Kind(NamedTuple):
    title: str
    table: Table
    columns: dict[str, str]  # what the page shows: heading and where it is in the body


KINDS = {
    "sessions": Kind(
        "Sessions",
        sessions,
        {
            "Status": "checkout_status",
            "Link": "link_state",
            "Key": "idempotency_key",
            "Expires": "expires_at",
        },
    ),
    "customers": Kind(
        "Customers", customers, {"Name": "name", "Email": "email", "External id": "external_id"}
    ),
    "subscriptions": Kind(
        "Subscriptions",
        subscriptions,
        {"Status": "subscription_status", "Row": "status", "Customer": "customer_id", "Ends": "cancel_at"},
    ),
    "invoices": Kind(
        "Invoices",
        invoices,
        {
            "Number": "invoice_number",
            "Status": "invoice_status",
            "Payment": "payment_status",
            "Total": "total",
        },
    ),
    "payments": Kind(
        "Payments",
        payments,
        {"Status": "payment_status", "Amount": "amount", "Currency": "currency", "Invoice": "destination_id"},
    ),
}


def page_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; script-src 'self' {HTMX}; connect-src 'self'; "
        # A form of the guided list leads to the shop, and Chromium applies this to the redirect too.
        f"img-src 'self'; form-action 'self' {current_settings().shop_url}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


bp.after_request(page_policy)


@bp.app_template_filter("clock")
def clock_words(moment: str) -> str:
    """2026-09-01T10:00:01.5Z, as people read it."""
    return moment[:19].replace("T", " ")


def wants_page() -> bool:
    """A browser asks for a page by name; curl and scripts take what comes, and get JSON."""
    quality = request.accept_mimetypes.quality
    return "HX-Request" in request.headers or quality("text/html") > quality("application/json")


def clocked(moment: float | None) -> str | None:
    return None if moment is None else rfc3339(datetime.fromtimestamp(moment, UTC))


@bp.get("/")
def page() -> ResponseReturnValue:
    with current_store().reading() as conn:
        return render_template("sandbox/console.html", **levers_shown(conn), **live_shown(conn))


@front.get("/")
def front_door() -> ResponseReturnValue:
    """Whoever types the address alone wants to see something."""
    return redirect(url_for("sandbox_console.page"))


@bp.get("/live")
def live() -> ResponseReturnValue:
    with current_store().reading() as conn:
        return render_template("sandbox/_live.html", **live_shown(conn))


def levers_shown(conn: Connection) -> Body:
    settings = current_settings()
    return {
        "plans": events.PLANS,
        "outcomes": outcomes.OUTCOMES,
        "completions": outcomes.COMPLETIONS,
        "faults": faults.FAULTS,
        "signing": hooks.signed_how(conn, settings),
        "ladder": hooks.ladder(conn, settings),
        "switches": {name: (switch, switches.read(conn, name)) for name, switch in switches.SWITCHES.items()},
        "webhook_url": settings.webhook_url,
        "shop_url": settings.shop_url,
    }


def live_shown(conn: Connection) -> Body:
    return {
        "now": rfc3339(clock.now(conn).replace(microsecond=0)),
        "levers": list(levers.in_force(conn)),
        "sessions": _newest(conn, sessions, 10),
        "deliveries": recent_deliveries(conn, 25),
    }


# What there is.


def _newest(conn: Connection, table: Table, limit: int = SHOWN) -> list[Body]:
    return list(conn.execute(select(table.c.body).order_by(text("rowid DESC")).limit(limit)).scalars())


@bp.get("/<any(sessions, customers, subscriptions, invoices, payments):kind>")
def listing(kind: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        items = _newest(conn, KINDS[kind].table)
    if not wants_page():
        return jsonify(items=items)
    return render_template("sandbox/list.html", kind=kind, of=KINDS[kind], items=items)


@bp.get("/<any(sessions, customers, subscriptions, invoices, payments):kind>/<thing>")
def one(kind: str, thing: str) -> ResponseReturnValue:
    with current_store().reading() as conn:
        body = find(conn, KINDS[kind].table, thing)
        if body is None:
            raise not_found(f"{thing} not found")
        if not wants_page():
            return jsonify(body)
        if kind == "sessions":
            return render_template(
                "sandbox/session.html", session=body, **_around(conn, body), **levers_shown(conn)
            )
        return render_template("sandbox/thing.html", kind=kind, of=KINDS[kind], body=body)


def _around(conn: Connection, session: Body) -> Body:
    told = events.ids(conn, session["id"])
    done = select(journal).where(journal.c.session_id == session["id"]).order_by(journal.c.id.desc())
    return {
        "customer": find(conn, customers, session["customer_id"]),
        "subscription": find(conn, subscriptions, session.get("subscription_id")),
        "invoice": find(conn, invoices, session.get("invoice_id")),
        "payment": find(conn, payments, session.get("payment_id")),
        "deliveries": recent_deliveries(conn, SHOWN, deliveries.c.event_id.in_(told)),
        "journal": [_dated(row) for row in conn.execute(done.limit(SHOWN)).mappings()],
    }


# What was told.


def _told(*conditions: Any) -> Select[Any]:
    event = messages.c
    columns = (event.event_type, event.entity_id, event.body)
    query = select(deliveries, *columns).join(messages, event.id == deliveries.c.event_id)
    return query.where(*conditions).order_by(deliveries.c.id.desc())


def _dated(row: Any) -> Body:
    return dict(row) | {name: clocked(row[name]) for name in ("due_at", "at", "created_at") if name in row}


def recent_deliveries(conn: Connection, limit: int = SHOWN, *conditions: Any) -> list[Body]:
    return [_dated(row) for row in conn.execute(_told(*conditions).limit(limit)).mappings()]


@bp.get("/deliveries")
def list_deliveries() -> ResponseReturnValue:
    with current_store().reading() as conn:
        items = recent_deliveries(conn)
    if not wants_page():
        return jsonify(items=items)
    return render_template("sandbox/deliveries.html", deliveries=items)


@bp.get("/deliveries/<int(max=2147483647):delivery_id>")
def one_delivery(delivery_id: int) -> ResponseReturnValue:
    with current_store().reading() as conn:
        found = recent_deliveries(conn, 1, deliveries.c.id == delivery_id)
        if not found:
            raise not_found(f"delivery {delivery_id} not found")
        query = select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number)
        made = [_dated(row) for row in conn.execute(query).mappings()]
    if not wants_page():
        return jsonify(found[0] | {"attempts": made})
    return render_template("sandbox/delivery.html", delivery=found[0], attempts=made, plans=events.PLANS)


@bp.get("/events")
def list_events() -> ResponseReturnValue:
    """What happened, newest first, each with how often and how well it was told."""
    session_id, event_type = request.args.get("session"), request.args.get("type")
    limit = min(max(request.args.get("limit", 50, type=int), 1), SHOWN)
    with current_store().reading() as conn:
        if session_id and find(conn, sessions, session_id) is None:
            raise not_found(f"checkout session {session_id} not found", id=session_id)
        query = select(messages).order_by(text("events.rowid DESC")).limit(limit)
        if session_id:
            query = query.where(messages.c.id.in_(events.ids(conn, session_id)))
        if event_type:
            query = query.where(messages.c.event_type == event_type)
        rows = [_dated(row) for row in conn.execute(query).mappings()]
        told = recent_deliveries(conn, 10_000, deliveries.c.event_id.in_([row["id"] for row in rows]))
    ways = ("id", "state", "attempt", "due_at", "twist", "response_status", "error")
    for row in rows:
        mine = [delivery for delivery in told if delivery["event_id"] == row["id"]]
        row["deliveries"] = [{name: delivery[name] for name in ways} for delivery in mine]
    return jsonify(items=rows)


@bp.get("/journal")
def list_journal() -> ResponseReturnValue:
    with current_store().reading() as conn:
        query = select(journal).order_by(journal.c.id.desc()).limit(SHOWN)
        items = [_dated(row) for row in conn.execute(query).mappings()]
    if not wants_page():
        return jsonify(items=items)
    return render_template("sandbox/journal.html", items=items)
