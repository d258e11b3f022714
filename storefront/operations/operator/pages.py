"""The operator desk: what needs a person, orders, webhook events, emails and rejected webhooks."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale

from storefront.checkout import orders
from storefront.checkout.context import db_now
from storefront.checkout.states import State
from storefront.extensions import db, settings
from storefront.models import Order, WebhookEvent
from storefront.money import format_money
from storefront.operations import audit, billing, emails, heartbeat, webhook_rejections
from storefront.operations.access import query_int, refuse_nul
from storefront.operations.operator import attention, queries, timeline
from storefront.operations.operator.decisions import digest, open_decisions
from storefront.operations.webhook_diagnosis import CAUSES

bp = Blueprint("operator", __name__, url_prefix="/operator", template_folder="../templates")
bp.before_request(refuse_nul)

AGES = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))


@bp.context_processor
def variables() -> dict[str, Any]:
    return {
        "causes": CAUSES,
        "now": db_now(),
        "utc": utc,
        "age": age,
        "price": price,
        "form_key": lambda: secrets.token_hex(16),
        "has_emails": emails.in_use(),
        "has_billing": billing.in_use(),
    }


def utc(when: datetime) -> str:
    """To the second: what came first matters when you look for a fault."""
    return f"{when:%d %b %Y, %H:%M:%S} UTC"


def age(passed: timedelta) -> str:
    """How long, in the largest whole unit: 40 s, 5 min, 3 h, 12 days."""
    seconds = max(int(passed.total_seconds()), 0)
    size, unit = next(((size, unit) for size, unit in AGES if seconds >= size), AGES[-1])
    count = seconds // size
    return f"{count} {'day' if unit == 'days' and count == 1 else unit}"


def price(amount: Any, currency: str) -> str:
    return format_money(amount, currency, get_locale() or "en")


@bp.get("/")
def index() -> ResponseReturnValue:
    now = db_now()
    return render_template(
        "operator/index.html",
        worker_alive=heartbeat.is_alive(),
        items=attention.needs_attention(now),
        max_shown=attention.MAX_SHOWN,
        money=attention.money_waiting(now),
        reasons=attention.REASONS,
        by_reason=attention.counts_by_reason(now),
        by_state=attention.counts_by_state(),
        event_filters=attention.EVENTS,
        events={name: attention.count(WebhookEvent, e.applies) for name, e in attention.EVENTS.items()},
        email_counts=queries.email_counts(),
        rejected=webhook_rejections.by_cause(),
        subscriptions=billing.need_a_person(),
    )


@bp.get("/search")
def search() -> ResponseReturnValue:
    words = request.args.get("q", "")[:255]
    found = queries.search(words)
    if len(found.orders) == 1 and not found.events and len(found.users) <= 1:
        return redirect(url_for("operator.order", ref=found.orders[0].ref), 302)
    return render_template("operator/search.html", q=words, found=found)


@bp.get("/orders")
def all_orders() -> ResponseReturnValue:
    show, oldest, number = listing()
    return render_template(
        "operator/orders.html",
        page=queries.page_of(attention.orders_of(show, db_now(), oldest), number),
        show=show,
        oldest=oldest,
        reasons=attention.REASONS,
        states=list(State),
    )


@bp.get("/events")
def all_events() -> ResponseReturnValue:
    show, oldest, number = listing()
    page = queries.page_of(attention.events_of(show, oldest), number)
    return render_template(
        "operator/events.html", page=page, show=show, oldest=oldest, filters=attention.EVENTS
    )


@bp.get("/emails")
def all_emails() -> ResponseReturnValue:
    if not emails.in_use():
        abort(404)
    show, oldest, number = listing()
    page = queries.page_of(queries.emails_of(show, oldest), number)
    return render_template("operator/emails.html", page=page, show=show, oldest=oldest)


def listing() -> tuple[str, bool, int]:
    """What a list is asked to show, whether the oldest come first, and which page of it."""
    args = request.args
    return args.get("show", ""), args.get("sort") == "oldest", query_int("page", 1)


@bp.get("/rejected")
def rejected() -> ResponseReturnValue:
    by_cause, latest = webhook_rejections.by_cause(), webhook_rejections.latest()
    return render_template("operator/rejected.html", by_cause=by_cause, rejections=latest)


@bp.get("/orders/<ref>")
def order(ref: str) -> ResponseReturnValue:
    file = queries.order_file(the_order(ref))
    return render_template(
        "operator/order.html",
        file=file,
        timeline=timeline.timeline(file),
        decisions=open_decisions(file.order),
        note_digest=digest(file.order.review_note),
        dashboards=dashboards_for(file.order),
    )


def dashboards_for(order: Order) -> dict[str, str]:
    """Where the vendors show more: name and address. Razorpay's payments have a page each."""
    flexprice, razorpay = settings().flexprice_dashboard_url, settings().razorpay_dashboard_url
    found = {"Flexprice’s dashboard": flexprice, "Razorpay’s dashboard": razorpay}
    if razorpay and order.unverified_payment_id:
        found["Razorpay’s dashboard"] = f"{razorpay}/payments/{quote(order.unverified_payment_id, safe='')}"
    return {name: url for name, url in found.items() if url}


@bp.get("/event")  # an event's id may contain any character, a slash too
def event() -> ResponseReturnValue:
    found = db.session.get(WebhookEvent, request.args.get("id", "")[:300]) or abort(404)
    notes = audit.notes("event", found.id)
    return render_template("operator/event.html", event=found, order=queries.order_of(found), notes=notes)


def the_order(ref: str) -> Order:
    found: Any = orders.find(ref=ref) or abort(404)
    order: Order = found
    return order
