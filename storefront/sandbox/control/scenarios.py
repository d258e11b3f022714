"""The test scenarios: what a tester does, what is arranged for it, what is expected."""

from collections.abc import Callable
from typing import Any, NamedTuple

from . import evidence
from .evidence import SESSIONS, Passed
from .pay import METHODS, REASONS

Body = dict[str, Any]
Call = tuple[str, str, Body]  # method, path, body
Button = tuple[str, str, dict[str, str]]  # label, address, fields

PASS_AN_HOUR = ("Let an hour pass", "/_sandbox/clock", {"advance": "1h"})
PASS_6_MINUTES = ("Let 6 minutes pass", "/_sandbox/clock", {"advance": "6m"})
NO_MONEY_EVENTS = ["payment.failed", "payment_link.cancelled", "payment_link.expired"]
CREATE = {"times": 1, "method": "POST", "path": SESSIONS}


class Arranged(NamedTuple):
    """One override of a scenario, removed when the scenario has passed."""

    kind: str
    name: str
    where: Body = {}


class Scenario(NamedTuple):
    """:param calls: sent for the tester, because a shop would never send them.
    :param continues: it goes on where the one before it ended.
    """

    title: str
    steps: str
    expected: str
    passed: Passed
    overrides: tuple[Arranged, ...] = ()
    switches: Body = {}
    buttons: tuple[Button, ...] = ()
    calls: Callable[[], list[Call]] | None = None
    continues: bool = False


def _create(customer: str, plan: str, **more: Any) -> Call:
    params = {"plan_id": plan, "currency": "inr", "billing_period": "MONTHLY"}
    body = {
        "customer_external_id": customer,
        "action": "create_subscription",
        "payment_provider": "razorpay",
        "configuration": {"create_subscription_params": params},
    }
    return "POST", SESSIONS, body | more


TESTER: Call = ("POST", "/v1/customers", {"external_id": "scenario-tester", "name": "A tester"})


def _unknown_customer() -> list[Call]:
    return [_create("unknown-customer", "{starter}")]


def _zero_amount() -> list[Call]:
    return [TESTER, _create("scenario-tester", "{free}")]


def _same_key_twice() -> list[Call]:
    twice = _create("scenario-tester", "{starter}", idempotency_key="scenario-key")
    return [TESTER, twice, twice]


BUY = "Buy a plan in the shop"
READY = "The shop’s page says that the plan is ready, the email arrives, /qa is green."


def _with(method: str, label: str) -> Scenario:
    return Scenario(f"{label}: {method}", f"{BUY} and pay with {method}.", READY, evidence.paid_with(method))


GROUPS: dict[str, dict[str, Scenario]] = {
    "Ways to pay": {
        "pay-" + "".join(sign for sign in method if sign.isalnum()): _with(method, label)
        for method, label in METHODS.items()
        if method not in REASONS
    }
    | {
        "upi-declined": Scenario(
            "UPI, is declined: failure@razorpay",
            f"{BUY} and pay with failure@razorpay.",
            "The payment page says why; the order stays open and nothing is granted.",
            evidence.declined,
        ),
        "declined-then-paid": Scenario(
            "Declined, then paid",
            "Stay on that payment page and pay with a card that works.",
            "One order, one plan, one email.",
            evidence.declined_then_paid,
            continues=True,
        ),
    },
    "Endings": {
        "cancel": Scenario(
            "Cancelled by the shopper",
            f"{BUY}, go back without paying, open the order in your account and cancel it.",
            "The page says cancelled; the payment link accepts no payment.",
            evidence.cancelled_by_shopper,
        ),
        "merchant-cancels": Scenario(
            "Cancelled by the merchant",
            f"{BUY} and press Pay: the merchant is faster.",
            "The page says that the payment did not work; an email follows.",
            evidence.ended("failed", reason="payment link payment_link.cancelled"),
            (Arranged("outcome", "cancelled", {"times": 1}),),
        ),
        "link-expires": Scenario(
            "The link expires at Razorpay",
            f"{BUY} and press Pay: the link has expired.",
            "The same as cancelled: Flexprice calls both “failed”.",
            evidence.ended("failed", reason="payment link payment_link.expired"),
            (Arranged("outcome", "link_expired", {"times": 1}),),
        ),
        "paid-too-late": Scenario(
            "Paid too late",
            f"{BUY} and press Pay: the session ends a moment before the money arrives.",
            "The page says that the payment arrived after the deadline. Nothing is granted.",
            evidence.paid_too_late,
            (Arranged("outcome", "paid_too_late", {"times": 1}),),
        ),
    },
    "The official error table": {
        "customer-missing": Scenario(
            "Customer missing: 404",
            f"{BUY}: the first call does not find you. Or send the bare call.",
            "The shop creates you again and goes on to the payment page.",
            evidence.refused(404, "not_found"),
            (Arranged("fault", "customer_missing", CREATE),),
            calls=_unknown_customer,
        ),
        "zero-amount": Scenario(
            "Plan without a price: 400",
            "Look at the free plan in the shop: it cannot be bought. Then send the bare call.",
            "400 validation_error, with no hint (Flexprice sets none).",
            evidence.refused(400, "validation_error", message="An unexpected error occurred"),
            calls=_zero_amount,
        ),
        "duplicate-key": Scenario(
            "Duplicate key: 409",
            "Press Continue to payment twice: it leads to the same payment page. Then send the bare calls.",
            "409 already_exists. It does not say which session has the key.",
            evidence.refused(409, "already_exists"),
            calls=_same_key_twice,
        ),
        "not-paid-in-time": Scenario(
            "Not paid in time",
            f"{BUY}, do not pay, come back here and let the time pass.",
            "The page says that the time to pay is over and offers to try again.",
            evidence.not_paid_in_time,
            buttons=(PASS_AN_HOUR,),
        ),
        "link-paid-off": Scenario(
            "payment_link.paid not enabled (nor payment.captured)",
            f"{BUY} and pay. The page goes on checking. Then let the time pass.",
            "The session expires though money was captured: the shop promises no more than it knows.",
            evidence.money_without_event,
            switches={"razorpay_events": NO_MONEY_EVENTS, "polling_reads": "show"},
            buttons=(PASS_AN_HOUR,),
        ),
    },
    "Network failures": {
        "api-down": Scenario(
            "Flexprice is down when you buy",
            f"{BUY}: it cannot be reached. See your orders, open this one, try again and pay.",
            "Nothing was charged, and the second try is the same order.",
            evidence.in_spite_of("down"),
            (Arranged("fault", "down", CREATE),),
        ),
        "answer-lost": Scenario(
            "The answer is lost after the session was made",
            f"{BUY}: the page waits. A moment later it finds the link; pay.",
            "One session, one order, paid once.",
            evidence.in_spite_of("timeout_after"),
            (Arranged("fault", "timeout_after", CREATE),),
        ),
        "webhook-lost": Scenario(
            "The webhook is lost",
            f"{BUY} and pay. No message will arrive.",
            "The page says “ready” all the same: the shop asks.",
            evidence.found_by_asking,
            (Arranged("delivery", "drop"),),
        ),
        "webhook-retried": Scenario(
            "The shop’s response is lost, the message is sent again",
            f"{BUY} and pay, then let the time pass.",
            "The second delivery changes nothing: one plan, one email.",
            evidence.retried,
            (Arranged("delivery", "answer_500"),),
            buttons=(PASS_6_MINUTES,),
        ),
        "forgery": Scenario(
            "A forged message",
            f"{BUY} and press “Leave without paying”; its messages carry an invalid signature.",
            "The shop refuses them (401), and nothing is granted.",
            evidence.forgery_refused,
            (Arranged("delivery", "bad_signature"),),
        ),
    },
}

SCENARIOS = {key: scenario for group in GROUPS.values() for key, scenario in group.items()}
