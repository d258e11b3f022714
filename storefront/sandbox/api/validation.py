"""What the requests about checkout sessions must look like before anything is looked up."""

from collections.abc import Mapping
from decimal import Decimal

from ..engine.checkout import Options, SubscriptionRequest
from ..engine.errors import Refusal, invalid
from . import requests
from .serializers.common import Body

ACTIONS = ["create_subscription", "modify_subscription", "wallet_topup", "add_addon"]
OTHER_ENDPOINTS = {
    "modify_subscription": "Use POST /subscriptions/{id}/modify/execute with a checkout object instead",
    "wallet_topup": "Use POST /wallets/{id}/top-up with a checkout object instead",
    "add_addon": "Use POST /subscriptions/addon with a checkout object instead",
    "pay_invoice": "Use POST /invoices with a checkout object instead",  # newest
}
PROVIDERS = ["razorpay"]
PERIODS = ["MONTHLY", "ANNUAL", "WEEKLY", "DAILY", "QUARTERLY", "HALF_YEARLY", "ONETIME"]
COLLECTION_METHODS = ["charge_automatically", "send_invoice"]
PAYMENT_METHODS = ["CARD", "ACH", "OFFLINE", "CREDITS", "PAYMENT_LINK", "UPI"]


def failed(request_name: str, broken: Mapping[str, str]) -> Refusal:
    """A refusal that names each broken rule, as Go's validator does.

    :param broken: the tag of the rule by Go field name.
    """
    text = "Key: '{0}.{1}' Error:Field validation for '{1}' failed on the '{2}' tag"
    details = {name: text.format(request_name, name, tag) for name, tag in broken.items()}
    return invalid("Request validation failed", **details)


def required(request_name: str, fields: Mapping[str, object]) -> None:
    """:raises Refusal: a required field is empty; details are keyed by Go field names."""
    if missing := {name: "required" for name, value in fields.items() if not value}:
        raise failed(request_name, missing)


def one_of(request_name: str, fields: dict[str, tuple[str, tuple[str, ...]]]) -> None:
    """:raises Refusal: a field has none of its values; details are keyed by Go field names."""
    if wrong := {name: "oneof" for name, (value, allowed) in fields.items() if value not in allowed}:
        raise failed(request_name, wrong)


SESSION_TEXTS = (
    *("customer_external_id", "action", "payment_provider", "success_url", "failure_url", "cancel_url"),
    "idempotency_key",
)
PARAM_TEXTS = ("plan_id", "currency", "billing_period", "lookup_key", "subscription_id")


def checkout_session(body: Body) -> tuple[str, SubscriptionRequest, Options]:
    """The parts of a create call: whose, what, how. Checked in Flexprice's order.

    :raises Refusal: the first rule that is broken.
    """
    for name in SESSION_TEXTS:
        requests.text(body, name)
    requests.metadata(body)
    configuration = requests.an_object(body, "configuration")
    params = requests.an_object(configuration, "create_subscription_params")
    asked = _subscription_request(params)
    limit = requests.decimal(requests.an_object(body, "payment_provider_config").get("max_mandate_limit"))
    if not all(body.get(name) for name in ("customer_external_id", "action", "payment_provider")):
        raise invalid(requests.BAD_FORMAT)
    _check_action(body["action"])
    if params.get("subscription_id"):
        raise invalid("Use POST /subscriptions with a checkout object to gate an existing draft subscription")
    found = options(body, limit)
    if configuration.get("create_subscription_params") is None:
        raise invalid("Provide create_subscription_params in configuration")
    _check_params(params)
    if asked.start_date and asked.end_date and asked.end_date < asked.start_date:
        message = "Ensure the subscription end date is on or after the start date"
        raise invalid(message, start_date=params["start_date"], end_date=params["end_date"])
    requests.refuse_nul(body, "checkout session creation failed")
    return body["customer_external_id"], asked, found


def _subscription_request(params: Body) -> SubscriptionRequest:
    for name in PARAM_TEXTS:
        requests.text(params, name)
    return SubscriptionRequest(
        plan_id=requests.text(params, "plan_id"),
        currency=requests.text(params, "currency"),
        billing_period=requests.text(params, "billing_period"),
        start_date=requests.moment(params.get("start_date")),
        end_date=requests.moment(params.get("end_date")),
        lookup_key=requests.text(params, "lookup_key"),
        metadata=requests.metadata(params) or None,
    )


def options(body: Body, limit: Decimal | None = None) -> Options:
    """The checkout part of a request: the body of a create call, or a `checkout` object elsewhere.

    :raises Refusal: unknown provider, collection method or payment method, or a limit that is not positive.
    """
    if body.get("payment_provider") not in PROVIDERS:
        raise invalid("Allowed values: razorpay", allowed_values=PROVIDERS)
    config = requests.an_object(body, "payment_provider_config")
    method, collection = requests.text(config, "payment_method"), requests.text(config, "collection_method")
    if method and method not in PAYMENT_METHODS:
        raise invalid("Please provide a valid payment method type", allowed=PAYMENT_METHODS)
    collection = collection or "send_invoice"
    if collection not in COLLECTION_METHODS:
        allowed = {"collection_method": collection, "allowed_values": COLLECTION_METHODS}
        raise invalid("Invalid collection method", **allowed)
    if limit is not None and limit <= 0:
        raise invalid("An unexpected error occurred")
    urls = {name: requests.optional_text(body, name) for name in ("success_url", "failure_url", "cancel_url")}
    return Options(
        payment_provider=body["payment_provider"],
        collection_method=collection,
        payment_method=method,
        idempotency_key=requests.optional_text(body, "idempotency_key"),
        metadata=requests.metadata(body) or None,
        on_existing=_on_existing(body),
        **urls,
    )


def _on_existing(body: Body) -> str:
    policies = requests.an_object(body, "entity_creation_options").get("entity_creation_conflict_policies")
    chosen = policies.get("on_existing_entity") if isinstance(policies, dict) else None
    return chosen if chosen in ("reject", "supersede") else "reject"


def _check_action(action: str) -> None:
    if action in OTHER_ENDPOINTS:
        raise invalid(OTHER_ENDPOINTS[action])
    if action not in ACTIONS:
        raise invalid(f"Allowed values: {', '.join(ACTIONS)}", allowed_values=ACTIONS)


def _check_params(params: Body) -> None:
    if not params.get("plan_id"):
        raise invalid("Provide a valid plan_id in create_subscription_params")
    if len((params.get("currency") or "").encode()) != 3:
        raise invalid("Currency code must be 3 characters long")
    period = params.get("billing_period")
    if not period:
        raise invalid("Provide a valid billing_period in create_subscription_params (e.g. MONTHLY, ANNUAL)")
    if period not in PERIODS:
        raise invalid("Invalid billing period", billing_period=period)
