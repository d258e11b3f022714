"""Plan pages: what is for sale, honestly."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, abort, render_template, request, session
from flask_login import current_user

from storefront import orders, shoppers
from storefront.catalog import CatalogUnavailable, Shelf, card
from storefront.extensions import catalog
from storefront.web import kept

bp = Blueprint("plans", __name__)

COMPARED = 8  # features side by side; a plan's own page names all of them


@bp.get("/")
def index() -> Any:
    now = datetime.now(UTC)
    try:
        shelf, stale = catalog().shelf(now)
    except CatalogUnavailable:
        return unavailable()
    currency, period = choice(shelf)

    def context() -> dict[str, Any]:
        owned, compared = owned_plans(now), shelf.compared(COMPARED)
        cards = [card(plan, currency, period, owned, compared) for plan in shelf.plans]
        return {"cards": cards, "stale": stale, **choices(shelf, currency, period)}

    if "_user_id" in session or "_flashes" in session:
        return render_template("plans/index.html", **context())
    return kept.for_all("plans/index.html", (shelf.read_at, stale, currency, period), context)


@bp.get("/plans/<plan>")
def show(plan: str) -> Any:
    now = datetime.now(UTC)
    since = orders.mismatch_seen_at(current_user.id, plan) if current_user.is_authenticated else None
    try:
        shelf, stale = catalog().shelf(now, since)
    except CatalogUnavailable:
        return unavailable()
    on_sale = shelf.plan(plan) or abort(404)
    currency, period = choice(shelf)
    shown = card(on_sale, currency, period, owned_plans(now))
    return render_template("plans/show.html", card=shown, stale=stale, **choices(shelf, currency, period))


def unavailable() -> Any:
    return render_template("plans/unavailable.html"), 503, {"Retry-After": "30"}


def owned_plans(now: datetime) -> frozenset[str]:
    if not current_user.is_authenticated:
        return frozenset()
    return frozenset(access.plan_id for access in shoppers.accesses(current_user.id, now))


def choice(shelf: Shelf) -> tuple[str, str]:
    """The currency and period asked for, or the first ones."""
    asked = request.args
    currency, period = asked.get("currency", "").lower(), asked.get("period", "").upper()
    return (
        currency if currency in shelf.currencies else next(iter(shelf.currencies), "inr"),
        period if period in shelf.periods else next(iter(shelf.periods), "MONTHLY"),
    )


def choices(shelf: Shelf, currency: str, period: str) -> dict[str, Any]:
    return {
        "currency": currency,
        "period": period,
        "currencies": shelf.currencies,
        "periods": shelf.periods,
    }
