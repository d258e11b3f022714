"""Prices: /v1/prices."""

from datetime import timedelta
from decimal import Decimal

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import or_

from ..engine.errors import invalid, not_found
from ..store.database import Session
from ..store.rows import Plan, Price
from ..store.values import decimal_text, new_id
from . import auth, requests
from .plans import need as need_plan
from .search import Asked, Listing, listed, page_of
from .serializers import catalog
from .serializers.common import Body
from .validation import PERIODS

bp = auth.v1("sandbox_prices", __name__)

PRICES = Listing(
    Price,
    """amount currency type billing_model billing_cadence billing_period billing_period_count
    invoice_cadence trial_period_days price_unit_type display_name lookup_key description meter_id tier_mode
    entity_type entity_id parent_price_id start_date end_date sequence min_quantity""",
    "Failed to apply price filters",
)
EXPANSIONS = ("meters", "priceunit", "plan", "addons", "groups")
ENTITY_TYPES = ["PLAN", "SUBSCRIPTION", "ADDON", "PRICE", "COSTSHEET"]
CHOICES = {
    "type": ["USAGE", "FIXED"],
    "billing_model": ["FLAT_FEE", "PACKAGE", "TIERED"],
    "invoice_cadence": ["ARREAR", "ADVANCE"],
}
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
    with auth.writing() as session:
        items = [catalog.price(new_price(session, body)) for body in bodies]
    return jsonify(items=items), 201


def new_price(session: Session, body: Body) -> Price:
    """Stores a price as a create call describes it.

    :raises Refusal: a field that is missing or cannot be.
    """
    chosen = {name: _choice(body, name, allowed) for name, allowed in CHOICES.items()}
    period = requests.text(body, "billing_period")
    if period not in PERIODS:
        raise invalid("Invalid billing period", billing_period=period)
    currency = requests.text(body, "currency")
    if len(currency) != 3:
        raise invalid("Currency code must be 3 characters long")
    entity_type, entity_id = requests.text(body, "entity_type"), requests.text(body, "entity_id")
    if entity_type == "PLAN":
        need_plan(session, entity_id)
    now, state = session.now(), session.state
    state.price_sequence += 1
    row = Price(
        id=new_id("price"),
        entity_type=entity_type,
        entity_id=entity_id,
        amount=_amount(body),
        currency=currency.lower(),
        billing_period=period,
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
        **chosen,
    )
    for name in TEXTS:
        if value := requests.text(body, name):
            setattr(row, name, value)
    return session.add(row)


def _choice(body: Body, name: str, allowed: list[str]) -> str:
    value = requests.text(body, name)
    if value not in allowed:
        raise invalid(f"Invalid {name.replace('_', ' ')}", **{name: value, "allowed_values": allowed})
    return value


def _amount(body: Body) -> Decimal:
    amount = requests.decimal(body.get("amount"))
    if amount is not None and amount < 0:
        raise invalid("Please provide a non-negative amount value", amount=decimal_text(amount))
    return amount or Decimal(0)


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


@bp.put("/prices/<price_id>")
def update(price_id: str) -> ResponseReturnValue:
    """Texts and metadata in place; another amount ends this price and begins a new one."""
    body = requests.json_body()
    with auth.writing() as session:
        row, now = _need(session, price_id), session.now()
        if "amount" in body:
            begins = requests.moment(body.get("effective_from")) or now
            row.end_date, row.updated_at = begins, now
            row = _successor(session, row, _amount(body), begins)
        for name in ("display_name", "lookup_key", "description"):
            if name in body:
                setattr(row, name, requests.text(body, name))
        if "metadata" in body:
            row.meta = requests.metadata(body) or None
        row.updated_at = now
        return jsonify(catalog.price(row))


def _successor(session: Session, row: Price, amount: Decimal, begins: object) -> Price:
    names = {column.key for column in Price.__table__.columns} - {"store", "metadata"}
    values = {name: getattr(row, name) for name in names} | {"meta": row.meta}
    now = session.now()
    values |= {"id": new_id("price"), "amount": amount, "start_date": begins, "end_date": None}
    return session.add(Price(**values | {"created_at": now, "updated_at": now}))


@bp.delete("/prices/<price_id>")
def delete(price_id: str) -> ResponseReturnValue:
    """Ends the price, now or at `end_date`."""
    body = requests.json_body(empty={})
    with auth.writing() as session:
        row, now = _need(session, price_id), session.now()
        row.end_date = requests.moment(body.get("end_date")) or now - timedelta(milliseconds=1)
        row.updated_at = now
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
        column = PRICES.column(asked.text("sort") or "created_at")  # a plain text here, not a list
        query = query.order_by(column.asc() if asked.order() == "asc" else column.desc())
        found, total = page_of(session, PRICES.by_age(query, asked.order()), page)
        items = [_shown(session, row, expand) for row in found]
    return listed(items, total, page[0], page[1] + page[0])


def _shown(session: Session, row: Price, expand: set[str]) -> Body:
    body = catalog.price(row)
    owner = session.get(Plan, row.entity_id) if "plan" in expand else None
    return body | ({"plan": catalog.plan(owner)} if owner else {})
