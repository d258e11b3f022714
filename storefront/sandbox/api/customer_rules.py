"""What requests about customers must look like; details are keyed by Go field names, as Flexprice's are.

Source: internal/api/dto/customer.go.
"""

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale

from ..engine.errors import Refusal
from . import requests, validation
from .serializers.common import Body

EMAIL = re.compile(r"[^@\s\x00-\x1f\"(),:;<>\[\]\\]{1,64}@([\w-]{1,63}\.)+[\w-]{1,63}")
NOT_COUNTRIES = {"EU", "EZ", "UN", "ZZ"}
COUNTRIES = {str(code) for code in Locale("en").territories if len(str(code)) == 2} - NOT_COUNTRIES
MAX_COLUMN_LENGTH = 255

LIMITS = {
    "name": 255,
    "contact": 20,
    "address_line1": 255,
    "address_line2": 255,
    "address_city": 100,
    "address_state": 100,
    "address_postal_code": 20,
}
TEXTS = ("external_id", *LIMITS, "email", "address_country", "timezone")


def check_new(body: Body) -> None:
    """:raises Refusal: a rule of the create call is broken."""
    _check_types(body)
    broken = {field: "required" for field in ("external_id", "name") if not body.get(field)}
    given = {name: body[name] for name in TEXTS if body.get(name)}
    _refuse("CreateCustomerRequest", _broken_rules(given, tuple(LIMITS)) | broken)
    _check_stored(body, "Failed to create customer")


def check_change(body: Body) -> None:
    """An empty text is a value here: neither an address, a country nor a time zone.

    :raises Refusal: a rule of the update call is broken.
    """
    _check_types(body)
    given = {name: body[name] for name in TEXTS if body.get(name) is not None}
    limited = tuple(name for name in LIMITS if name != "name")
    _refuse("UpdateCustomerRequest", _broken_rules(given, limited))
    _check_stored(body, "Failed to update customer")


def _check_types(body: Body) -> None:
    for name in TEXTS:
        requests.text(body, name)
    requests.metadata(body)


def _broken_rules(given: dict[str, str], limited: tuple[str, ...]) -> dict[str, str]:
    """The rules that the given fields break, by field."""
    broken = {name: "max" for name in limited if len(given.get(name, "")) > LIMITS[name]}
    if "email" in given and not EMAIL.fullmatch(given["email"]):
        broken["email"] = "email"
    if "address_country" in given and len(given["address_country"]) != 2:
        broken["address_country"] = "len"
    elif "address_country" in given and given["address_country"] not in COUNTRIES:
        broken["address_country"] = "iso3166_1_alpha2"
    if "timezone" in given and not is_timezone(given["timezone"]):
        broken["timezone"] = "timezone"
    return broken


def is_timezone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _refuse(request_name: str, broken: dict[str, str]) -> None:
    if broken:
        raise validation.failed(request_name, {_go_name(name): tag for name, tag in broken.items()})


def _go_name(name: str) -> str:
    return "".join("ID" if part == "id" else part.capitalize() for part in name.split("_"))


def _check_stored(body: Body, message: str) -> None:
    """:raises Refusal: a text that the columns do not take."""
    requests.refuse_nul(body, message)
    for name in ("external_id", "name"):
        if len(body.get(name) or "") > MAX_COLUMN_LENGTH:
            raise Refusal("database_error", message)
