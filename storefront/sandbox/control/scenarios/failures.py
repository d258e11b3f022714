"""Test scenarios: Flexprice refuses, is not reached, or its webhooks go wrong."""

from typing import Any

from . import checks, shop_checks
from .model import CREATE, SESSIONS, Arranged, Button, Call, Scenario
from .paying import BUY, EXPIRE, PAID_ONCE

TESTER: Call = ("POST", "/v1/customers", {"external_id": "{customer}", "name": "A tester"})
RETRY = Button("Try failed deliveries again now", "/_sandbox/retry", {"customer": "{customer}"})
TEST_PLAN: dict[str, Any] = {
    "description": "a plan of its own for INR 300 a month",
    "prices": [{"currency": "inr", "billing_period": "MONTHLY", "amount": "300"}],
}


def _create(customer: str, plan: str, **more: Any) -> Call:
    params = {"plan_id": plan, "currency": "inr", "billing_period": "MONTHLY"}
    body = {
        "customer_external_id": customer,
        "action": "create_subscription",
        "payment_provider": "razorpay",
        "configuration": {"create_subscription_params": params},
    }
    return "POST", SESSIONS, body | more


_SAME_KEY = _create("{customer}", "{starter}", idempotency_key="{customer}")


def _in_spite_of(name: str, title: str, step: str, arranged: str, **where: Any) -> Scenario:
    """The create call fails once, and the sale comes about all the same."""
    return Scenario(
        title,
        (f"{BUY}: {step}", "If the order waits, open it and try again. Then pay."),
        "Nothing is charged by the failure, and the second attempt is the same order, paid once.",
        (checks.fault(name), *PAID_ONCE),
        shop_checks.READY,
        overrides=(Arranged("fault", name, CREATE | where),),
        arranged=arranged,
    )


REFUSALS = {
    "customer-missing": Scenario(
        "Customer missing: 404",
        (f"{BUY}: the create call does not find you.", "Pay."),
        "The shop registers you again and goes on to the payment page.",
        (checks.refused(404, "not_found"), *PAID_ONCE),
        shop_checks.READY,
        overrides=(Arranged("fault", "customer_missing", CREATE),),
        arranged="Flexprice does not find the customer, once.",
    ),
    "zero-amount": Scenario(
        "Plan without a price: 400",
        ("Press “Send request”. The shop itself starts such a plan without a checkout.",),
        "400 validation_error, with no hint: Flexprice sets none.",
        (checks.refused(400, "validation_error", "An unexpected error occurred"), checks.charged(0)),
        calls=(TESTER, _create("{customer}", "{free}")),
    ),
    "duplicate-key": Scenario(
        "Duplicate key: 409",
        ("Press “Send request”: the same create call twice.",),
        "409 already_exists. It does not say which session has the key.",
        (checks.refused(409, "already_exists"),),
        calls=(TESTER, _SAME_KEY, _SAME_KEY),
    ),
    "rate-limited": _in_spite_of(
        "rate_limited",
        "Too many requests: 429",
        "Flexprice answers 429.",
        "Flexprice answers the create call with 429, once.",
        seconds=1,
    ),
    "tenant-suspended": _in_spite_of(
        "tenant_suspended",
        "Suspended tenant: 403",
        "the shop’s account at Flexprice is suspended.",
        "Flexprice answers the create call with 403, once: the tenant is suspended.",
    ),
    "price-changed": Scenario(
        "The price changes while the customer buys",
        (
            "Open the new plan in the shop and go on to its review page.",
            "Here, press “Raise the price to 350”.",
            "In the shop, press Continue to payment within a minute.",
        ),
        "The customer cannot pay a price they did not see: the shop withdraws the link and says why.",
        (
            checks.happened("price raised", "The price was raised"),
            checks.opened_for(35000),
            checks.link_is("cancelled"),
            checks.charged(0),
        ),
        (shop_checks.NOTHING_GRANTED, shop_checks.state("mismatched")),
        plan=TEST_PLAN,
        buttons=(
            Button("Raise the price to 350", "/_sandbox/scenarios/price-changed/price", {"amount": "350"}),
        ),
    ),
    "link-paid-off": Scenario(
        "payment_link.paid and payment.captured not enabled",
        (
            f"{BUY} and pay. The page goes on checking.",
            "Here, press “Expire the session”.",
        ),
        "The session expires though money was captured. The page promises no more than the shop knows.",
        (checks.charged(1), checks.link_is("paid"), checks.ended("expired"), checks.accepted("expired")),
        (shop_checks.NOTHING_GRANTED,),
        overrides=(Arranged("completion", "unheard", {"times": 1}),),
        arranged="No event about the money reaches Flexprice.",
        buttons=(EXPIRE,),
    ),
}

NETWORK = {
    "api-down": _in_spite_of(
        "down",
        "Flexprice is down when you buy",
        "Flexprice cannot be reached.",
        "The create call cannot be reached, once.",
    ),
    "answer-lost": _in_spite_of(
        "timeout_after",
        "The answer is lost after the session was made",
        "the page waits, then finds the link.",
        "The answer to the create call is lost.",
    ),
    "slow": _in_spite_of(
        "slow",
        "Flexprice is slow",
        "the answer takes some seconds.",
        "The answer to the create call takes three seconds.",
    ),
    "webhook-lost": Scenario(
        "The webhook is lost",
        (f"{BUY} and pay.",),
        "The page says “You’re all set” all the same: the shop asks.",
        (*PAID_ONCE, checks.LOST, checks.ASKED),
        shop_checks.READY,
        overrides=(Arranged("delivery", "drop"),),
        arranged="No webhook about you arrives.",
    ),
    "webhook-retried": Scenario(
        "The shop’s response is lost, the message is sent again",
        (f"{BUY} and pay.", "Here, press “Try failed deliveries again now”."),
        "The second delivery changes nothing: one plan, one email.",
        (*PAID_ONCE, checks.RETRIED),
        shop_checks.READY,
        overrides=(Arranged("delivery", "answer_500"),),
        arranged="The first response of the shop counts as a 500.",
        buttons=(RETRY,),
    ),
    "duplicate-x10": Scenario(
        "Each message comes ten times at once",
        (f"{BUY} and pay.",),
        "Nine of ten change nothing: one plan, one email.",
        (*PAID_ONCE, checks.accepted("completed", at_least=10)),
        shop_checks.READY,
        overrides=(Arranged("delivery", "ten_at_once"),),
        arranged="Each webhook about you is sent ten times in one moment.",
    ),
    "reversed": Scenario(
        "Messages in reverse order",
        (f"{BUY} and pay.",),
        "The order of the messages does not matter: one plan, one email.",
        (*PAID_ONCE, checks.REVERSED, checks.accepted("completed")),
        shop_checks.READY,
        overrides=(Arranged("delivery", "reversed"),),
        arranged="Webhooks about you are held until the payment and then sent newest first.",
    ),
    "forgery": Scenario(
        "A forged message",
        (f"{BUY}, and leave the payment page without paying.",),
        "The shop refuses the messages (401), and nothing is granted.",
        (checks.FORGERY_REFUSED, checks.NO_SALE),
        (shop_checks.NOTHING_GRANTED,),
        overrides=(Arranged("delivery", "bad_signature"),),
        arranged="Webhooks about you are signed with an unknown secret.",
    ),
    "rotation": Scenario(
        "The webhook secret is rotated",
        (f"{BUY} and pay.",),
        "The shop, which knows one of the two secrets, accepts every message.",
        (*PAID_ONCE, checks.TWO_SECRETS, checks.accepted("completed")),
        shop_checks.READY,
        overrides=(Arranged("delivery", "two_secrets"),),
        arranged="Webhooks about you are signed with a new and with the old secret.",
    ),
}
