"""A client for Flexprice Checkout that can be lifted out whole.

It needs `requests`, `standardwebhooks` and the standard library, and knows nothing of the shop around it.
"""

from .client import Client
from .doctor import CAUSES, Finding, diagnose, opens
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
    Environment,
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
from .signature import BadSecret, BadSignature, SharedHeader, Verifier, check_secret, is_signed

__all__ = [
    "CAUSES",
    "AlreadyExists",
    "BadSecret",
    "BadSignature",
    "CheckoutSession",
    "Client",
    "Customer",
    "CustomerMissing",
    "Entitlement",
    "Environment",
    "Event",
    "Finding",
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
    "SharedHeader",
    "Subscription",
    "Unavailable",
    "UnreadableObject",
    "Verifier",
    "check_secret",
    "diagnose",
    "is_signed",
    "opens",
]
