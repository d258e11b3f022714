"""A client for Flexprice Checkout that can be lifted out whole.

It needs `requests`, `standardwebhooks` and the standard library, and knows nothing of the shop around it.
"""

from .client import Client
from .errors import (
    AlreadyExists,
    CustomerMissing,
    FlexpriceError,
    NeverSent,
    NoAnswer,
    NotAllowed,
    NotFound,
    Refused,
    RouteMissing,
    SessionAlreadyOpen,
    Unavailable,
)
from .objects import (
    CheckoutSession,
    Customer,
    Entitlement,
    Event,
    Invoice,
    Payment,
    Plan,
    Price,
    Refund,
    SessionRequest,
    Subscription,
    UnreadableObject,
)
from .signature import BadSecret, BadSignature, Verifier, check_secret

__all__ = [
    "AlreadyExists",
    "BadSecret",
    "BadSignature",
    "CheckoutSession",
    "Client",
    "Customer",
    "CustomerMissing",
    "Entitlement",
    "Event",
    "FlexpriceError",
    "Invoice",
    "NeverSent",
    "NoAnswer",
    "NotAllowed",
    "NotFound",
    "Payment",
    "Plan",
    "Price",
    "Refund",
    "Refused",
    "RouteMissing",
    "SessionAlreadyOpen",
    "SessionRequest",
    "Subscription",
    "Unavailable",
    "UnreadableObject",
    "Verifier",
    "check_secret",
]
