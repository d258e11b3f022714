"""What a request must look like before anything is looked up."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from flask import request

from storefront.sandbox._previous.errors import invalid
from storefront.sandbox._previous.store import Body

ACTIONS = ["create_subscription", "modify_subscription", "wallet_topup", "add_addon"]
ELSEWHERE = {
    "modify_subscription": "Use POST /subscriptions/{id}/modify/execute with a checkout object instead",
    "wallet_topup": "Use POST /wallets/{id}/top-up with a checkout object instead",
    "add_addon": "Use POST /subscriptions/addon with a checkout object instead",
}
PROVIDERS = ["razorpay"]
PERIODS = ["MONTHLY", "ANNUAL", "WEEKLY", "DAILY", "QUARTERLY", "HALF_YEARLY", "ONETIME"]
COLLECTION_METHODS = ["send_invoice", "charge_automatically"]
PAYMENT_METHODS = ["UPI", "CARD", "ACH", "OFFLINE", "CREDITS", "PAYMENT_LINK"]
MANDATE_METHODS = (None, "", "UPI", "CARD")

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
EMAIL = re.compile(r"[^@\s\x00-\x1f\"(),:;<>\[\]\\]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63}")
NO_COUNTRIES = {"EU", "EZ", "UN", "ZZ"}
COUNTRIES = {str(code) for code in Locale("en").territories if len(str(code)) == 2} - NO_COUNTRIES
LARGEST = 2**53
LAST_YEAR = 9990  # a subscription's period must end in a year that can be written down

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
    """The body, whatever its content type says; what Go's decoder would not take is refused."""
    try:
        body = json.loads(request.get_data(), parse_constant=_no_number)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise invalid(message)
    return body


def _no_number(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON


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


def customer(body: Body) -> None:
    _texts(body, CUSTOMER_TEXTS)
    metadata(body)
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
    if body.get("email") and not EMAIL.fullmatch(body["email"]):
        broken["Email"] = "email"
    if body.get("address_country") and body["address_country"] not in COUNTRIES:
        broken["AddressCountry"] = "iso3166_1_alpha2"
    if body.get("timezone") and not _is_timezone(body["timezone"]):
        broken["Timezone"] = "timezone"
    return broken


def _is_timezone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _go(name: str) -> str:
    return "".join("ID" if part == "id" else part.capitalize() for part in name.split("_"))


def session(body: Body) -> Body:
    """Checks in the order Flexprice makes them; gives back create_subscription_params."""
    _texts(body, SESSION_TEXTS)
    metadata(body)
    configuration, provider = _object(body, "configuration"), _object(body, "payment_provider_config")
    params = _object(configuration, "create_subscription_params")
    _texts(params, PARAM_TEXTS)
    metadata(params)
    _texts(provider, ("collection_method", "payment_method"))
    starts, ends = moment(params.get("start_date")), moment(params.get("end_date"))
    limit = decimal(provider.get("max_mandate_limit"))
    if not all(body.get(name) for name in ("customer_external_id", "action", "payment_provider")):
        raise invalid("Invalid request format")
    _action(body["action"])
    if params.get("subscription_id"):
        raise invalid("Use POST /subscriptions with a checkout object to gate an existing draft subscription")
    if body["payment_provider"] not in PROVIDERS:
        raise invalid("Allowed values: razorpay", allowed_values=PROVIDERS)
    _provider(provider, limit)
    if configuration.get("create_subscription_params") is None:
        raise invalid("Provide create_subscription_params in configuration")
    _params(params)
    if starts and ends and ends < starts:
        message = "Ensure the subscription end date is on or after the start date"
        raise invalid(message, start_date=params["start_date"], end_date=params["end_date"])
    return params


def _action(action: str) -> None:
    if action not in ACTIONS:
        raise invalid(f"Allowed values: {', '.join(ACTIONS)}", allowed_values=ACTIONS)
    if action in ELSEWHERE:
        raise invalid(ELSEWHERE[action])


def _params(params: Body) -> None:
    if not params.get("plan_id"):
        raise invalid("Provide a valid plan_id in create_subscription_params")
    if len((params.get("currency") or "").encode()) != 3:
        raise invalid("Currency code must be 3 characters long")
    period = params.get("billing_period")
    if not period:
        raise invalid("Provide a valid billing_period in create_subscription_params (e.g. MONTHLY, ANNUAL)")
    if period not in PERIODS:
        raise invalid("Invalid billing period", billing_period=period)


def moment(text: str | None, message: str = "Invalid request format") -> datetime | None:
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text).astimezone(UTC) if RFC3339.fullmatch(text) else None
    except (ValueError, OverflowError):
        parsed = None
    if parsed is None or parsed.year > LAST_YEAR:
        raise invalid(message)
    return parsed


def _provider(config: Body, limit: Decimal | None) -> None:
    if config.get("payment_method") and config["payment_method"] not in PAYMENT_METHODS:
        raise invalid("Please provide a valid payment method type", allowed=PAYMENT_METHODS)
    method = config.get("collection_method") or "send_invoice"
    if method not in COLLECTION_METHODS:
        raise invalid(
            "Invalid collection method", collection_method=method, allowed_values=COLLECTION_METHODS
        )
    if limit is not None and limit <= 0:
        raise invalid("An unexpected error occurred")


def decimal(value: Any, message: str = "Invalid request format") -> Decimal | None:
    """A number comes as such or as text."""
    if value is None:
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, str | int | float) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number) > LARGEST:
        raise invalid(message)
    return number


# One field of a body.


def word(body: Body, name: str, message: str = "Invalid request format") -> str:
    value = body.get(name)
    if not isinstance(value, str | None):
        raise invalid(message)
    return value or ""


def words(body: Body, name: str, message: str = "Invalid request format") -> list[str]:
    value = body.get(name)
    if not isinstance(value, list | None) or any(not isinstance(item, str) for item in value or []):
        raise invalid(message)
    return value or []


def objects(body: Body, name: str, message: str) -> list[Body]:
    value = body.get(name)
    if not isinstance(value, list | None) or any(not isinstance(item, dict | None) for item in value or []):
        raise invalid(message)
    return [item for item in value or [] if item is not None]


def flag(body: Body, name: str, message: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise invalid(message)
    return bool(value)


def whole(body: Body, name: str, default: int, message: str = "Invalid request format") -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | None) or abs(value or 0) > LARGEST:
        raise invalid(message)
    return default if value is None else value


def metadata(body: Body, message: str = "Invalid request format") -> dict[str, str]:
    value = body.get("metadata")
    if not isinstance(value, dict | None) or any(
        not isinstance(item, str) for item in (value or {}).values()
    ):
        raise invalid(message)
    return value or {}
