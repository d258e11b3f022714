"""What a request must look like before anything is looked up."""

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parseaddr
from typing import Any

from flask import request

from storefront.sandbox.errors import Refusal, invalid
from storefront.sandbox.store import Body

ACTIONS = ["create_subscription", "modify_subscription", "wallet_topup", "add_addon"]
ELSEWHERE = {
    "modify_subscription": "/subscriptions/{id}/modify",
    "wallet_topup": "/wallets/{id}/top-up",
    "add_addon": "/subscriptions/addon",
}
PROVIDERS = ["razorpay"]
PERIODS = ["MONTHLY", "ANNUAL", "WEEKLY", "DAILY", "QUARTERLY", "HALF_YEARLY", "ONETIME"]
COLLECTION_METHODS = ["send_invoice", "charge_automatically"]
PAYMENT_METHODS = ["UPI", "CARD", "ACH", "OFFLINE", "CREDITS", "PAYMENT_LINK"]
MANDATE_METHODS = (None, "", "UPI", "CARD")

CUSTOMER_LIMITS = {
    "name": 255,
    "contact": 20,
    "address_line1": 255,
    "address_line2": 255,
    "address_city": 100,
    "address_state": 100,
    "address_postal_code": 20,
}
CUSTOMER_TEXTS = ("external_id", *CUSTOMER_LIMITS, "email", "address_country", "timezone")
SESSION_TEXTS = (
    "customer_external_id",
    "action",
    "payment_provider",
    "success_url",
    "failure_url",
    "cancel_url",
    "idempotency_key",
)
PARAM_TEXTS = (
    "plan_id",
    "currency",
    "billing_period",
    "lookup_key",
    "subscription_id",
    "start_date",
    "end_date",
)


def json_object(message: str = "Invalid request format") -> Body:
    try:
        body = request.get_json(force=True, silent=True)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (RecursionError, UnicodeEncodeError):
        body = None
    if not isinstance(body, dict):
        raise invalid(message)
    return body


def _texts(body: Body, names: tuple[str, ...]) -> None:
    for name in names:
        if not isinstance(body.get(name, ""), str | None):
            raise invalid("Invalid request format")


def _object(body: Body, name: str) -> Body:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("Invalid request format")
    return value


def _metadata(body: Body) -> None:
    if any(not isinstance(value, str) for value in _object(body, "metadata").values()):
        raise invalid("Invalid request format")


def customer(body: Body) -> None:
    _texts(body, CUSTOMER_TEXTS)
    _metadata(body)
    broken = _broken_customer_rules(body)
    if broken:
        message = "Key: 'CreateCustomerRequest.{0}' Error:Field validation for '{0}' failed on the '{1}' tag"
        raise invalid(
            "Request validation failed",
            **{field: message.format(field, tag) for field, tag in broken.items()},
        )


def _broken_customer_rules(body: Body) -> dict[str, str]:
    """Keyed by Go's field names, as the original does."""
    broken = {
        _go(name): "max" for name, limit in CUSTOMER_LIMITS.items() if len(body.get(name) or "") > limit
    } | {_go(name): "required" for name in ("external_id", "name") if not body.get(name)}
    email, country = body.get("email") or "", body.get("address_country") or ""
    if email and ("@" not in parseaddr(email)[1] or email.endswith("@") or email.startswith("@")):
        broken["Email"] = "email"
    if country and not (len(country) == 2 and country.isascii() and country.isupper()):
        broken["AddressCountry"] = "iso3166_1_alpha2"
    return broken


def _go(name: str) -> str:
    return "".join("ID" if part == "id" else part.capitalize() for part in name.split("_"))


def session(body: Body) -> Body:
    """Checks in the order Flexprice makes them; gives back create_subscription_params."""
    _texts(body, SESSION_TEXTS)
    _metadata(body)
    configuration, provider = _object(body, "configuration"), _object(body, "payment_provider_config")
    params = _object(configuration, "create_subscription_params")
    _texts(params, PARAM_TEXTS)
    _metadata(params)
    _texts(provider, ("collection_method", "payment_method"))
    if not all(body.get(name) for name in ("customer_external_id", "action", "payment_provider")):
        raise invalid("Invalid request format")
    _action(body["action"])
    if body["payment_provider"] not in PROVIDERS:
        raise invalid("Allowed values: razorpay", allowed_values=PROVIDERS)
    if not params:
        raise invalid("Provide create_subscription_params in configuration")
    _params(params)
    _provider(provider)
    return params


def _action(action: str) -> None:
    if action not in ACTIONS:
        raise invalid(f"Allowed values: {', '.join(ACTIONS)}", allowed_values=ACTIONS)
    if action in ELSEWHERE:
        raise invalid(f"Use {ELSEWHERE[action]} for {action}")


def _params(params: Body) -> None:
    if not params.get("plan_id"):
        raise invalid("Provide a valid plan_id in create_subscription_params")
    if len(params.get("currency") or "") != 3:
        raise invalid("Currency code must be 3 characters long")
    period = params.get("billing_period")
    if not period:
        raise invalid("Provide a valid billing_period in create_subscription_params (e.g. MONTHLY, ANNUAL)")
    if period not in PERIODS:
        raise invalid("Invalid billing period", billing_period=period)
    if params.get("subscription_id"):
        raise invalid("subscription_id must be empty")
    start, end = moment(params.get("start_date")), moment(params.get("end_date"))
    if start and end and end < start:
        raise invalid("An unexpected error occurred")


def moment(text: str | None) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise invalid("Invalid request format") from None
    return parsed if parsed is None or parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _provider(config: Body) -> None:
    method = config.get("collection_method") or "send_invoice"
    if method not in COLLECTION_METHODS:
        raise invalid(
            "Invalid collection method", collection_method=method, allowed_values=COLLECTION_METHODS
        )
    if config.get("payment_method") and config["payment_method"] not in PAYMENT_METHODS:
        raise invalid("Please provide a valid payment method type", allowed=PAYMENT_METHODS)
    limit = config.get("max_mandate_limit")
    if limit is not None and not _positive(limit):
        raise invalid("An unexpected error occurred")


def _positive(value: Any) -> bool:
    try:
        return Decimal(str(value)) > 0
    except InvalidOperation:
        raise invalid("Invalid request format") from None


def mandate(config: Body, customer: Body) -> bool:
    """Whether a mandate is asked for; refuses those Razorpay cannot register."""
    if config.get("collection_method") != "charge_automatically":
        return False
    if config.get("payment_method") not in MANDATE_METHODS:
        raise Refusal("not_implemented", "Only UPI and Card are supported for Razorpay mandate registration")
    if not customer.get("contact"):
        raise Refusal(
            "internal_error",
            "Unable to create payment link in Razorpay",
            error="The contact field is required",
        )
    return True


def page(body: Body, message: str, *, zero_means_default: bool) -> tuple[int, int]:
    limit, offset = body.get("limit", 50), body.get("offset", 0)
    if not isinstance(limit, int) or not isinstance(offset, int) or not 0 <= offset < 2**31:
        raise invalid(message)
    if limit == 0 and zero_means_default:
        limit = 50
    if not 1 <= limit <= 1000:
        raise invalid(message, limit="must be between 1 and 1000")
    return limit, offset


def words(body: Body, name: str) -> list[str]:
    """A list of strings; anything else is refused."""
    value = body.get(name) or []
    if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
        raise invalid("Invalid request format")
    return value


def word(body: Body, name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise invalid("Invalid request format")
    return value
