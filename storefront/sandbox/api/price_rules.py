"""What a new price must look like, checked in Flexprice's order.

Source: internal/api/dto/price.go and internal/domain/price/model.go.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ..engine.billing import ONE_TIME
from ..engine.errors import Refusal, invalid
from ..store.rows import Price
from ..store.values import decimal_text, rfc3339
from . import requests, validation
from .serializers.common import Body

REQUIRED = {
    "Currency": "currency",
    "EntityType": "entity_type",
    "EntityID": "entity_id",
    "Type": "type",
    "BillingPeriod": "billing_period",
    "BillingModel": "billing_model",
    "InvoiceCadence": "invoice_cadence",
}
MOST_IN_BULK = 100
CADENCES = ["ARREAR", "ADVANCE"]
NO_AMOUNT = {
    "PACKAGE": "Amount is required to set up package pricing with fiat pricing units",
    "FLAT_FEE": "Amount is required to set up flat fee pricing with fiat pricing units",
}


def check_all(bodies: list[Body]) -> None:
    """The rules of a bulk call.

    :raises Refusal: none or too many, or a price that breaks a rule, by its index.
    """
    if not bodies:
        raise invalid("Please provide at least one price to create")
    if len(bodies) > MOST_IN_BULK:
        raise invalid(f"Maximum {MOST_IN_BULK} prices allowed per bulk request")
    for index, body in enumerate(bodies):
        try:
            check(body)
        except Refusal as refusal:
            refusal.details["index"] = index
            raise


def check(body: Body) -> None:
    """:raises Refusal: the first rule that is broken."""
    requests.decimal(body.get("amount"))  # what cannot be decoded comes first
    _check_required(body)
    count = requests.whole(body, "billing_period_count", 0)
    if count < 1:
        raise invalid("Billing period count must be greater than 0", billing_period_count=count)
    _check_choices(body)
    _check_model(body)
    _check_usage(body)
    _check_trial(body)
    _check_dates(body)
    _check_amounts(body)


def _check_required(body: Body) -> None:
    broken = {field: "required" for field, name in REQUIRED.items() if not requests.text(body, name)}
    if len(requests.text(body, "currency")) != requests.CURRENCY_LENGTH:
        broken.setdefault("Currency", "len")
    if broken:
        raise validation.failed("CreatePriceRequest", broken)


def _check_choices(body: Body) -> None:
    kind, model = requests.text(body, "type"), requests.text(body, "billing_model")
    if kind not in (types := ["USAGE", "FIXED"]):
        raise invalid("Invalid price type", price_type=kind, allowed=types)
    if model not in (models := ["FLAT_FEE", "PACKAGE", "TIERED"]):
        raise invalid("Invalid billing model", billing_model=model, allowed=models)
    period = requests.text(body, "billing_period")
    if period not in validation.PERIODS:
        raise invalid("Invalid billing period", billing_period=period)
    if requests.text(body, "invoice_cadence") not in CADENCES:
        raise invalid("Please provide a valid invoice cadence", allowed=CADENCES)
    entity_type = requests.text(body, "entity_type")
    if entity_type not in (types := ["PLAN", "SUBSCRIPTION", "ADDON", "PRICE", "COSTSHEET"]):
        raise invalid("Invalid price entity type", price_entity_type=entity_type, allowed=types)


def _check_model(body: Body) -> None:
    """A tiered price needs tiers, a package its size, any other an amount."""
    model, has_amount = requests.text(body, "billing_model"), body.get("amount") is not None
    if model == "TIERED" and not requests.objects(body, "tiers"):
        raise invalid("Price tiers are required to set up tiered pricing")
    if model == "PACKAGE":
        _check_package(requests.an_object(body, "transform_quantity"))
    if model in NO_AMOUNT and not has_amount:
        raise invalid(NO_AMOUNT[model])


def _check_package(size: Body) -> None:
    if not size:
        raise invalid("Please provide the number of units to set up package pricing")
    if (divide_by := requests.whole(size, "divide_by", 0)) < 1:
        message = "Transform quantity divide by must be greater than or equal to 1"
        raise invalid(message, divide_by=divide_by)


def _check_usage(body: Body) -> None:
    if requests.text(body, "type") != "USAGE":
        return
    if not requests.text(body, "meter_id"):
        raise invalid("Please select a metered feature to set up usage pricing")
    if body.get("min_quantity") is not None:
        raise invalid("min_quantity cannot be set for usage pricing")


def _check_trial(body: Body) -> None:
    one_time = requests.text(body, "billing_period") == ONE_TIME
    if one_time and requests.text(body, "invoice_cadence") != "ADVANCE":
        raise invalid("One-time charges are always billed in advance")
    days = requests.whole(body, "trial_period_days", 0)
    if days < 0:
        raise invalid("Please provide a non-negative trial_period_days")
    if days and (one_time or requests.text(body, "type") != "FIXED"):
        raise invalid("trial_period_days can only be set for recurring fixed prices")


def check_end(row: Price, ends: datetime, field: str, message: str) -> None:
    """:raises Refusal: a price cannot end before it begins."""
    if ends < row.start_date:
        begins, moment = rfc3339(row.start_date), rfc3339(ends)
        first = "price_start_date" if field == "effective_from" else "start_date"
        raise invalid(message, **{"price_id": row.id, first: begins, field: moment})


def _check_dates(body: Body) -> None:
    starts, ends = (requests.moment(body.get(name)) for name in ("start_date", "end_date"))
    if starts and ends and starts > ends:
        raise invalid("Start date must be before end date")


def _check_amounts(body: Body) -> None:
    """The last rules: Flexprice looks at the finished price."""
    amount(body)
    if requests.text(body, "type") == "USAGE" and requests.text(body, "invoice_cadence") == "ADVANCE":
        wrong: dict[str, Any] = {"price_type": "USAGE", "invoice_cadence": "ADVANCE", "allowed": ["ARREAR"]}
        raise invalid("Please use ARREAR invoice cadence for USAGE price type", **wrong)
    least = requests.decimal(body.get("min_quantity"))
    if least is not None and least < 0:
        raise invalid("min_quantity cannot be negative")


def amount(body: Body) -> Decimal:
    """The price's amount; 0 if there is none.

    :raises Refusal: it is negative.
    """
    found = requests.decimal(body.get("amount"))
    if found is not None and found < 0:
        raise invalid("Please provide a non-negative amount value", amount=decimal_text(found))
    return found or Decimal(0)
