"""A client for Flexprice Checkout.

Copy the folder: it imports `requests`, `standardwebhooks` and the standard library, and nothing else.
"""

from ._lists import ObjectList
from ._transport import ApiRequest, ApiResponse, EventHooks
from .client import Client
from .exceptions import (
    REASONS,
    APIConnectionError,
    APITimeout,
    AuthenticationError,
    Conflict,
    CustomerNotFound,
    FlexpriceError,
    InvalidRequest,
    InvalidSecret,
    InvalidSignature,
    NoAnswer,
    NotFound,
    NotSent,
    ProviderError,
    RouteNotFound,
    ServerError,
    UnreadableResponse,
)
from .models import (
    CheckoutSession,
    CheckoutSessionRequest,
    Customer,
    Entitlement,
    Environment,
    Event,
    Invoice,
    Payment,
    Plan,
    Price,
    Refund,
    Subscription,
)
from .webhooks import SharedHeader, WebhookVerifier, check_secret, is_signed

__all__ = [
    "REASONS",
    "APIConnectionError",
    "APITimeout",
    "ApiRequest",
    "ApiResponse",
    "AuthenticationError",
    "CheckoutSession",
    "CheckoutSessionRequest",
    "Client",
    "Conflict",
    "Customer",
    "CustomerNotFound",
    "Entitlement",
    "Environment",
    "Event",
    "EventHooks",
    "FlexpriceError",
    "InvalidRequest",
    "InvalidSecret",
    "InvalidSignature",
    "Invoice",
    "NoAnswer",
    "NotFound",
    "NotSent",
    "ObjectList",
    "Payment",
    "Plan",
    "Price",
    "ProviderError",
    "Refund",
    "RouteNotFound",
    "ServerError",
    "SharedHeader",
    "Subscription",
    "UnreadableResponse",
    "WebhookVerifier",
    "check_secret",
    "is_signed",
]
