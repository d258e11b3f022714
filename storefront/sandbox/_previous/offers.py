"""What is for sale: /v1/plans and /v1/prices."""

from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import or_

from storefront.sandbox._previous import shelf, views
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.door import v1
from storefront.sandbox._previous.errors import invalid, not_found
from storefront.sandbox._previous.schema import plans, prices
from storefront.sandbox._previous.search import Asked, Listing, instant, listed, page_of
from storefront.sandbox._previous.store import current_store, find, seen

bp = v1("sandbox_offers", __name__)

PLANS = Listing(plans, "name lookup_key description display_order metadata", "Failed to list plans")
PRICES = Listing(
    prices,
    """amount display_amount currency type billing_model billing_cadence billing_period billing_period_count
    invoice_cadence trial_period_days price_unit_type display_name lookup_key description meter_id tier_mode
    entity_type entity_id parent_price_id start_date end_date sequence min_quantity""",
    "Failed to list prices",
)
# The plans' sort is copied to the query for their entitlements, which have no such columns as `name`.
SORTS_WITH_ENTITLEMENTS = ("created_at", "updated_at", "display_order")
PRICE_EXPANSIONS = ("meters", "priceunit", "plan", "addons", "groups")
ENTITY_TYPES = ["PLAN", "SUBSCRIPTION", "ADDON", "PRICE", "COSTSHEET"]


@bp.post("/plans/search")
def search_plans() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters")
    page, expand = asked.page(zero_is_default=True), asked.expand()
    query = PLANS.among(PLANS.query(asked), {"id": asked.words("plan_ids")})
    if "lookup_key" in asked.body:
        query = query.where(plans.c.lookup_key == asked.word("lookup_key"))
    query = PLANS.with_metadata(query, asked.metadata())
    query = PLANS.sorted(PLANS.within(query, "created_at", "created_at", asked), asked)
    with current_store().reading() as conn:
        found, total = page_of(conn, plans, query, page)
        if found and "entitlements" in expand:
            _check_sort_of_entitlements(asked)
        running = shelf.running_prices(conn, [plan["id"] for plan in found], now(conn))
    items = [views.plan(plan, expand, [p for p in running if p["entity_id"] == plan["id"]]) for plan in found]
    return listed(items, total, page[0], page[1] + page[0])


def _check_sort_of_entitlements(asked: Asked) -> None:
    for one in asked.objects("sort"):
        if one.word("field") not in SORTS_WITH_ENTITLEMENTS:
            raise invalid("Failed to apply query options")  # 400 or 500 at random in the original


@bp.get("/plans/<plan_id>")
def get_plan(plan_id: str) -> ResponseReturnValue:
    """Whole, with prices that have ended, and archived plans too."""
    with current_store().reading() as conn:
        plan = seen(conn, plans, plan_id)
        if plan is None:
            raise not_found(f"Plan with ID {plan_id} was not found", plan_id=plan_id)
        everything = {"prices", "entitlements", "features", "credit_grant"}
        return jsonify(views.plan(plan, everything, shelf.all_prices(conn, [plan_id])))


@bp.post("/prices/search")
def search_prices() -> ResponseReturnValue:
    """`plan_ids` is taken and ignored, as in the original: `entity_type` and `entity_ids` are what works."""
    asked = Asked("Invalid filter parameters")
    page, expand = asked.page(zero_is_default=True, limited=False), asked.expand(PRICE_EXPANSIONS)
    lists = {"id": "price_ids", "entity_id": "entity_ids", "meter_id": "meter_ids"} | {
        "billing_period": "billing_periods"
    }
    query = PRICES.among(PRICES.query(asked), {column: asked.words(name) for column, name in lists.items()})
    if entity_type := asked.word("entity_type"):
        if entity_type not in ENTITY_TYPES:
            raise invalid("Invalid price entity type", price_entity_type=entity_type, allowed=ENTITY_TYPES)
        query = query.where(PRICES.column("entity_type") == entity_type)
    query = PRICES.within(query, "created_at", "created_at", asked)
    if before := asked.moment("start_date_lt"):
        query = query.where(instant(PRICES.column("start_date")) < instant(before))
    with current_store().reading() as conn:
        if not asked.flag("allow_expired_prices"):
            ends = PRICES.column("end_date")
            query = query.where(or_(ends.is_(None), instant(ends) > instant(now(conn))))
        # Here `sort` is a word, beside `order`, and not a list.
        column = PRICES.column(asked.word("sort") or "created_at")
        query = query.order_by(column.asc() if asked.order() == "asc" else column.desc())
        found, total = page_of(conn, prices, PRICES.by_age(query, asked.order()), page)
        owners = {price["entity_id"]: find(conn, plans, price["entity_id"]) or {} for price in found}
    if "plan" in expand:
        found = [price | {"plan": views.plan(owners[price["entity_id"]], set(), [])} for price in found]
    return listed(found, total, page[0], page[1] + page[0])
