"""Flexprice's objects as frozen dataclasses: the fields that a checkout relies on.

Every class reads the vendor's JSON with `from_json(data)`, which raises `UnreadableResponse` when a field
that is relied on is missing or has another form. Unknown fields are ignored, unknown words of an enumeration
kept. Amounts are `Decimal` in major units (rupees, not paise), below 10 to the 20th and of 40 characters at
most; times are aware and in UTC; currencies are in lower case. An id or a status longer than 255 characters
is unreadable; names are cut to 255.
"""

from .billing import CustomerFeature, PlanChange, Schedule
from .catalog import Customer, Entitlement, Environment, Plan, Price, Tier
from .sale import CheckoutSession, CheckoutSessionRequest, Invoice, Payment, Refund, Subscription

__all__ = [
    "CheckoutSession",
    "CheckoutSessionRequest",
    "Customer",
    "CustomerFeature",
    "Entitlement",
    "Environment",
    "Invoice",
    "Payment",
    "Plan",
    "PlanChange",
    "Price",
    "Refund",
    "Schedule",
    "Subscription",
    "Tier",
]
