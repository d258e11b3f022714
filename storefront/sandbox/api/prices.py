"""Prices: /v1/prices."""

from datetime import datetime, timedelta
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, or_

from ..engine.errors import Refusal, invalid, not_found
from ..store.billing_rows import Subscription
from ..store.database import Session
from ..store.rows import Plan, Price
from ..store.values import new_id, rfc3339
from . import auth, price_rules, requests
from .search import Asked, Listing, listed, page_of
from .serializers import catalog
from .serializers.common import Body

bp = auth.v1("sandbox_prices", __name__)

PRICES = Listing(
    Price,
    """amount currency type billing_model billing_cadence billing_period billing_period_count
    invoice_cadence trial_period_days price_unit_type display_name lookup_key description meter_id tier_mode
    entity_type entity_id parent_price_id start_date end_date sequence min_quantity""",
    "Failed to apply price filters",
)
EXPANSIONS = ("meters", "priceunit", "plan", "addons", "groups")
REPLACING = (
    *("amount", "billing_model", "tier_mode", "tiers", "transform_quantity", "price_unit_amount"),
    "price_unit_tiers",
)
ENDS_BEFORE_IT_BEGINS = (
    "The effective date for terminating this price cannot be before the price's start date"
)
NAMES = f"{', '.join(REPLACING[:-1])}, or {REPLACING[-1]}"
TEXTS = ("display_name", "lookup_key", "description", "meter_id", "tier_mode", "price_unit_type", "group_id")


@bp.post("/prices")
def create() -> ResponseReturnValue:
    body = requests.json_body()
    requests.refuse_nul(body, "Failed to create price")
    with auth.writing() as session:
        row = new_price(session, body)
        shown = catalog.price(row)
    shown.pop("sequence", None)
    return jsonify(shown), 201


@bp.post("/prices/bulk")
def create_many() -> ResponseReturnValue:
    bodies = requests.objects(requests.json_body(), "items")
    price_rules.check_all(bodies)
    with auth.writing() as session:
        items = [catalog.price(new_price(session, body)) for body in bodies]
    return jsonify(items=items), 201


def new_price(session: Session, body: Body) -> Price:
    """Stores a price as a create call describes it.

    :raises Refusal: a field that is missing or cannot be.
    """
    price_rules.check(body)
    entity_type, entity_id = requests.text(body, "entity_type"), requests.text(body, "entity_id")
    owner = _owner(session, entity_type, entity_id)
    now, state = session.now(), session.state
    state.price_sequence += 1
    row = Price(
        id=new_id("price"),
        entity_type=entity_type,
        entity_id=entity_id,
        amount=price_rules.amount(body),
        type=requests.text(body, "type"),
        billing_model=requests.text(body, "billing_model"),
        invoice_cadence=requests.text(body, "invoice_cadence"),
        currency=requests.text(body, "currency").lower(),
        billing_period=requests.text(body, "billing_period"),
        display_name=owner,
        billing_period_count=requests.whole(body, "billing_period_count", 1),
        trial_period_days=requests.whole(body, "trial_period_days", 0),
        start_date=requests.moment(body.get("start_date")) or now,
        end_date=requests.moment(body.get("end_date")),
        min_quantity=requests.decimal(body.get("min_quantity")),
        tiers=_tiers(body),
        transform_quantity=requests.an_object(body, "transform_quantity") or None,
        meta=requests.metadata(body) or None,
        sequence=state.price_sequence,
        created_at=now,
        updated_at=now,
    )
    for name in TEXTS:
        if value := requests.text(body, name):
            setattr(row, name, value)
    return session.add(row)


def _owner(session: Session, entity_type: str, entity_id: str) -> str:
    """The name of the plan; it is the price's if that has none.

    :raises Refusal: there is no such plan or subscription, or the sandbox has no such kind of thing.
    """
    if entity_type == "PLAN":
        if (plan := session.get(Plan, entity_id)) is None:
            raise not_found("The specified plan does not exist", plan_id=entity_id)
        return plan.name
    if entity_type == "SUBSCRIPTION":
        if session.get(Subscription, entity_id) is None:
            raise not_found("The specified subscription does not exist", subscription_id=entity_id)
        return ""
    if entity_type in ("ADDON", "COSTSHEET"):
        kind = entity_type.lower()
        raise not_found(f"The specified {kind} does not exist", **{f"{kind}_id": entity_id})
    raise invalid("The specified entity type is not supported", entity_type=entity_type)


def _tiers(body: Body) -> list[Body] | None:
    tiers = requests.objects(body, "tiers")
    return [{name: _tier_value(tier[name]) for name in tier} for tier in tiers] or None


def _tier_value(value: object) -> object:
    return value if value is None or isinstance(value, int | str) else str(value)


def _need(session: Session, price_id: str) -> Price:
    row = session.get(Price, price_id)
    if row is None:
        raise not_found(f"Price with ID {price_id} was not found", price_id=price_id)
    return row


@bp.get("/prices/<price_id>")
def get(price_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return jsonify(catalog.price(_need(session, price_id)))


@bp.get("/prices/lookup/<lookup_key>")
def get_by_lookup_key(lookup_key: str) -> ResponseReturnValue:
    with auth.reading() as session:
        row = session.first(Price, Price.lookup_key == lookup_key, Price.status == "published")
        if row is None:
            raise not_found(f"Price with lookup key {lookup_key} was not found", lookup_key=lookup_key)
        return jsonify(catalog.price(row))


@bp.put("/prices/<price_id>")
def update(price_id: str) -> ResponseReturnValue:
    """Texts and metadata in place; another amount ends this price and begins a new one."""
    body = requests.json_body()
    begins = requests.moment(body.get("effective_from"))
    if begins and not any(body.get(name) for name in REPLACING):
        raise invalid(f"When providing effective_from, you must also provide one of: {NAMES}")
    with auth.writing() as session:
        row, now = _need(session, price_id), session.now()
        if any(body.get(name) is not None for name in REPLACING):
            row = _replace(session, row, body, begins or now)
        for name in ("display_name", "lookup_key", "description"):
            if name in body:
                setattr(row, name, requests.text(body, name))
        if "metadata" in body:
            row.meta = requests.metadata(body) or None
        row.updated_at = now
        return jsonify(catalog.price(row))


def _replace(session: Session, row: Price, body: Body, begins: datetime) -> Price:
    """Ends a price and begins its successor.

    :raises Refusal: it has an end already, or would end before it begins.
    """
    if row.end_date:
        raise invalid("Cannot update a terminated price", price_id=row.id)
    price_rules.check_end(row, begins, "effective_from", ENDS_BEFORE_IT_BEGINS)
    now, names = session.now(), {column.key for column in Price.__table__.columns} - {"store", "metadata"}
    values = {name: getattr(row, name) for name in names} | {"meta": row.meta}
    row.end_date, row.updated_at = begins, now
    values |= {"id": new_id("price"), "start_date": begins, "end_date": None}
    values |= {"parent_price_id": row.parent_price_id or row.id, "created_at": now, "updated_at": now}
    if body.get("amount") is not None:
        values["amount"] = price_rules.amount(body)
    if tiers := _tiers(body):
        values["tiers"] = tiers
    for name in ("billing_model", "tier_mode"):
        values[name] = requests.text(body, name) or values[name]
    return session.add(Price(**values))


@bp.delete("/prices/<price_id>")
def delete(price_id: str) -> ResponseReturnValue:
    """Ends the price, now or at `end_date`."""
    body = requests.json_body(empty={})
    given = requests.moment(body.get("end_date"))
    with auth.writing() as session:
        row, now = _need(session, price_id), session.now()
        if row.end_date:
            ended = {"price_id": row.id, "end_date": rfc3339(row.end_date)}
            raise invalid("Cannot terminate a price that has already been terminated", **ended)
        message = "The termination date must be on or after the price's start date"
        price_rules.check_end(row, given or now, "end_date", message)
        row.end_date, row.updated_at = given or now - timedelta(milliseconds=1), now
    return jsonify(message="price deleted successfully")


@bp.post("/prices/search")
def search() -> ResponseReturnValue:
    """`plan_ids` is accepted and ignored; `entity_type` and `entity_ids` are what works."""
    asked = Asked("Invalid filter parameters")
    page, expand = asked.page(zero_is_default=True, limited=False), asked.expand(EXPANSIONS)
    lists = {"id": "price_ids", "entity_id": "entity_ids", "meter_id": "meter_ids"}
    lists["billing_period"] = "billing_periods"
    with auth.reading() as session:
        query = PRICES.query(session, asked)
        query = PRICES.among(query, {column: asked.texts(name) for column, name in lists.items()})
        if entity_type := asked.text("entity_type"):
            query = query.where(Price.entity_type == entity_type)
        query = PRICES.within(query, "created_at", "created_at", asked)
        if before := asked.moment("start_date_lt"):
            query = query.where(Price.start_date < before)
        if not asked.flag("allow_expired_prices"):
            query = query.where(or_(Price.end_date.is_(None), Price.end_date > session.now()))
        column = _sort_column(asked.text("sort") or "created_at")
        query = query.order_by(column.asc() if asked.order() == "asc" else column.desc())
        found, total = page_of(session, PRICES.by_age(query, asked.order()), page)
        items = [_shown(session, row, expand) for row in found]
    return listed(items, total, page[0], page[1] + page[0])


def _sort_column(name: str) -> ColumnElement[Any]:
    """A plain text here, not a list; the database refuses one that is no column."""
    try:
        return PRICES.column("amount" if name == "value" else name)
    except Refusal:
        raise Refusal("database_error", "Failed to list prices") from None


def _shown(session: Session, row: Price, expand: set[str]) -> Body:
    body = catalog.price(row)
    owner = session.get(Plan, row.entity_id) if "plan" in expand else None
    return body | ({"plan": catalog.plan(owner)} if owner else {})
