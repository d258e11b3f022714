"""What POST /subscriptions must look like before anything is looked up."""

from ..engine.checkout import LineOverride, Options, SubscriptionRequest
from ..engine.errors import invalid
from . import customer_rules, requests, validation
from .serializers.common import Body

BEHAVIORS_OF = {
    "send_invoice": ("default_active", "default_incomplete"),
    "charge_automatically": ("allow_incomplete", "error_if_incomplete", "default_active"),
}
TERMS = ["15 NET", "30 NET", "45 NET", "60 NET", "75 NET", "90 NET"]
TEXTS = (
    *("customer_id", "external_customer_id", "plan_id", "currency", "lookup_key", "billing_period"),
    *("billing_cadence", "billing_cycle", "payment_behavior", "collection_method", "payment_terms"),
    *("proration_behavior", "timezone"),
)
CYCLES = ["anniversary", "calendar"]
PRORATIONS = ["create_prorations", "none"]
NOT_WITH_CHECKOUT = {
    "subscription_status": "Remove subscription_status; a checkout-gated subscription is created as draft "
    "and activated once payment succeeds",
    "phases": "Remove checkout to use phases, or remove phases to gate this subscription behind payment",
    "inheritance": "Only grouped_invoicing_children_to_create is supported with checkout; "
    "remove the other inheritance fields, or remove checkout",
}


def subscription(body: Body) -> tuple[SubscriptionRequest, Options | None]:
    """The parts of the request, checked in Flexprice's order.

    :raises Refusal: the first rule that is broken.
    """
    texts = {name: requests.text(body, name) for name in TEXTS}
    metadata = requests.metadata(body) or None
    start, end = (requests.moment(body.get(name)) for name in ("start_date", "end_date"))
    count = requests.whole(body, "billing_period_count", 1) or 1
    _check_required(texts)
    options = _options(body)
    _check_choices(texts)
    collection = _collection(texts, options)
    terms = _terms(texts["payment_terms"])
    if count < 0:
        raise invalid("Billing Period must be a valid positive number", billing_period_count=count)
    behavior = _behavior(texts, collection)
    if start and end and end < start:
        dates = {"start_date": body["start_date"], "end_date": body["end_date"]}
        raise invalid("End date must be after start date", **dates)
    _one_of(texts, "proration_behavior", PRORATIONS, "Proration behavior must be create_prorations or none")
    requests.refuse_nul(body, "Failed to create subscription")
    asked = SubscriptionRequest(
        texts["plan_id"],
        texts["currency"],
        texts["billing_period"],
        start,
        end,
        texts["lookup_key"],
        metadata,
        count,
        _trial_days(body),
        collection,
        behavior,
        terms,
        texts["proration_behavior"] or "none",
        _overrides(body),
        _codes(body),
        requests.text(body, "subscription_status") == "draft",
    )
    return asked, options


def _options(body: Body) -> Options | None:
    given = requests.an_object(body, "checkout")
    if body.get("checkout") is None:
        return None
    found = validation.options(given)
    for name, message in NOT_WITH_CHECKOUT.items():
        if value := body.get(name):
            raise invalid(message, **({name: value} if name == "subscription_status" else {}))
    return found


def _check_required(texts: dict[str, str]) -> None:
    fields = {"PlanID": "plan_id", "Currency": "currency", "BillingPeriod": "billing_period"}
    broken = {field: "required" for field, name in fields.items() if not texts[name]}
    if len(texts["currency"].encode()) != requests.CURRENCY_LENGTH:
        broken.setdefault("Currency", "len")
    if texts["timezone"] and not customer_rules.is_timezone(texts["timezone"]):
        broken["Timezone"] = "timezone"
    if broken:
        raise validation.failed("CreateSubscriptionRequest", broken)


def _check_choices(texts: dict[str, str]) -> None:
    if not texts["customer_id"] and not texts["external_customer_id"]:
        raise invalid("Please provide either customer_id or external_customer_id")
    if texts["billing_period"] not in validation.PERIODS:
        raise invalid("Invalid billing period", billing_period=texts["billing_period"])
    _one_of(texts, "billing_cycle", CYCLES, "Invalid billing cycle")


def _one_of(texts: dict[str, str], name: str, allowed: list[str], message: str) -> None:
    """:raises Refusal: it is given, and none of these."""
    if texts[name] and texts[name] not in allowed:
        raise invalid(message, allowed_values=allowed, provided_value=texts[name])


def _collection(texts: dict[str, str], options: Options | None) -> str:
    """A checkout decides for itself; without one customers are charged automatically by default."""
    collection = texts["collection_method"]
    if collection and collection not in validation.COLLECTION_METHODS:
        allowed = {"collection_method": collection, "allowed_values": validation.COLLECTION_METHODS}
        raise invalid("Invalid collection method", **allowed)
    if options:
        return collection or options.collection_method
    return collection or "charge_automatically"


def _behavior(texts: dict[str, str], collection: str) -> str:
    behavior = texts["payment_behavior"] or "default_active"
    allowed = BEHAVIORS_OF[collection]
    if behavior not in allowed:
        *most, last = allowed
        names = f"{', '.join(most)}, and {last}" if len(most) > 1 else f"{most[0]} and {last}"
        message = f"Only {names} are supported for {collection} collection method"
        pair = {"collection_method": collection, "payment_behavior": behavior}
        raise invalid(message, **pair, allowed_behaviors=list(allowed))
    return behavior


def _terms(terms: str) -> str:
    if terms and terms not in TERMS:
        message = f"Payment terms must be one of: {', '.join(TERMS)}"
        raise invalid(message, payment_terms=terms, allowed_values=TERMS)
    return terms


def _trial_days(body: Body) -> int | None:
    """None: as the prices say."""
    if body.get("trial_period_days") is None:
        return None
    days = requests.whole(body, "trial_period_days", 0)
    if days < 0:
        raise invalid("Use 0 to disable trial or omit to inherit from plan prices", trial_period_days=days)
    return days


def _overrides(body: Body) -> tuple[LineOverride, ...]:
    return tuple(
        LineOverride(
            requests.text(one, "price_id"),
            requests.decimal(one.get("quantity")),
            requests.decimal(one.get("amount")),
        )
        for one in requests.objects(body, "override_line_items")
    )


def _codes(body: Body) -> tuple[str, ...]:
    given = requests.objects(body, "subscription_coupons")
    return tuple(code for one in given if (code := requests.text(one, "coupon_code")))
