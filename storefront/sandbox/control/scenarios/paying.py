"""Test scenarios: ways to pay, and the ways in which a checkout ends."""

from ..pay import METHODS, REASONS
from . import checks, shop_checks
from .model import Arranged, Button, Scenario

ONCE = {"times": 1}
BUY = "Buy a plan in the shop"
EXPIRE = Button("Expire the session", "/_sandbox/sessions/{session}/expire", {"sure": "yes"})
PAID_ONCE = (checks.ONE_SALE, checks.charged(1))


def _with(method: str, label: str) -> Scenario:
    return Scenario(
        f"{label}: {method}",
        (f"{BUY}.", f"Pay with {method}."),
        "The shop’s page says “You’re all set”, and an email arrives.",
        (checks.paid_with(method), *PAID_ONCE, checks.accepted("completed")),
        (*shop_checks.READY, shop_checks.NEEDS_NOBODY),
    )


def _key(method: str) -> str:
    return "pay-" + "".join(sign for sign in method if sign.isalnum())


WAYS_TO_PAY = {
    _key(method): _with(method, label) for method, label in METHODS.items() if method not in REASONS
} | {
    "upi-declined": Scenario(
        "UPI, declined",
        (f"{BUY}.", "Pay with failure@razorpay.", "Leave the payment page."),
        "The payment page says why. The order stays open and nothing is granted.",
        (checks.paid_with("failure@razorpay"), checks.DECLINED, checks.NO_SALE, checks.charged(0)),
        (shop_checks.NOTHING_GRANTED, shop_checks.state("awaiting_payment")),
    ),
    "declined-then-paid": Scenario(
        "Declined, then paid",
        (f"{BUY}.", "Pay with failure@razorpay.", "Pay on the same page with a card that works."),
        "One order, one plan, one email.",
        (checks.DECLINED, *PAID_ONCE, checks.accepted("completed")),
        shop_checks.READY,
    ),
    "upi-pending": Scenario(
        "UPI, pending",
        (
            f"{BUY}, choose UPI and press Pay: your UPI app is asked, and nothing is charged yet.",
            "Go back to the shop. Its page goes on waiting.",
            "Here, press “Approve in the UPI app”.",
        ),
        "The page changes to “You’re all set” without another payment.",
        (
            checks.happened("pending", "The payment was pending first"),
            *PAID_ONCE,
            checks.accepted("completed"),
        ),
        shop_checks.READY,
        overrides=(Arranged("outcome", "pending", ONCE),),
        arranged="The first payment stays pending.",
        buttons=(
            Button("Approve in the UPI app", "/_sandbox/provider", {"action": "pay", "link": "{link}"}),
        ),
    ),
}

ENDINGS = {
    "cancel": Scenario(
        "Cancelled by the customer",
        (f"{BUY}.", "Go back without paying.", "Open the order in your account and cancel it."),
        "The page says cancelled. The payment link accepts no payment.",
        (
            checks.called("/cancel", "The shop cancels the session at Flexprice"),
            checks.ended("expired"),
            checks.link_is("cancelled"),
            checks.charged(0),
        ),
        (shop_checks.NOTHING_GRANTED, shop_checks.state("cancelled")),
    ),
    "merchant-cancels": Scenario(
        "Cancelled by the merchant",
        (f"{BUY} and press Pay.",),
        "The page says “Payment failed”, and an email follows.",
        (checks.ended("failed", "payment link payment_link.cancelled"), checks.accepted("failed")),
        (shop_checks.NOTHING_GRANTED, shop_checks.state("failed"), shop_checks.emailed("payment_failed")),
        overrides=(Arranged("outcome", "cancelled", ONCE),),
        arranged="The merchant cancels the link while you pay.",
    ),
    "link-expires": Scenario(
        "The link expires at Razorpay",
        (f"{BUY} and press Pay.",),
        "The same as cancelled: Flexprice calls both “failed”.",
        (checks.ended("failed", "payment link payment_link.expired"), checks.accepted("failed")),
        (shop_checks.NOTHING_GRANTED, shop_checks.state("failed"), shop_checks.emailed("payment_failed")),
        overrides=(Arranged("outcome", "link_expired", ONCE),),
        arranged="The link expires while you pay.",
    ),
    "not-paid-in-time": Scenario(
        "Not paid in time",
        (f"{BUY} and do not pay.", "Here, press “Expire the session”."),
        "The page says that the payment link expired and offers to order again.",
        (checks.ended("expired"), checks.accepted("expired"), checks.charged(0)),
        (shop_checks.NOTHING_GRANTED, shop_checks.state("expired")),
        buttons=(EXPIRE,),
    ),
    "paid-too-late": Scenario(
        "Paid too late",
        (f"{BUY} and press Pay.",),
        "The page says that the payment arrived after the deadline. Nothing is granted.",
        (checks.ended("expired"), checks.charged(1), checks.accepted("expired")),
        (shop_checks.NOTHING_GRANTED, shop_checks.state("paid_late", "expired")),
        overrides=(Arranged("outcome", "paid_too_late", ONCE),),
        arranged="The session ends a moment before the money arrives.",
    ),
    "paid-twice": Scenario(
        "Paid twice",
        (f"{BUY} and pay.", "Here, press “Pay this link once more”."),
        "The second payment grants nothing and sends no second email.",
        (checks.ONE_SALE, checks.charged(2)),
        shop_checks.READY,
        buttons=(
            Button("Pay this link once more", "/_sandbox/provider", {"action": "pay", "link": "{link}"}),
        ),
    ),
    "refunded": Scenario(
        "Refunded after fulfillment",
        (f"{BUY} and pay.", "When the plan is active, press “Refund it” here."),
        "The order shows the refund. Access ends only when the subscription ends or an operator decides.",
        (checks.ONE_SALE, checks.REFUNDED),
        (shop_checks.REFUND_SEEN, *shop_checks.READY),
        buttons=(Button("Refund it", "/_sandbox/sessions/{session}/outcome", {"outcome": "refunded"}),),
    ),
    "half-done": Scenario(
        "The completion stops half-way",
        (
            f"{BUY} and pay. Flexprice books the money, and the session stays pending.",
            "The shop asks for no second payment.",
            "Here, press “Razorpay sends the event again”.",
        ),
        "The plan becomes active, once.",
        (
            checks.happened("payment_link.paid again", "The event was sent again"),
            *PAID_ONCE,
            checks.accepted("completed"),
        ),
        shop_checks.READY,
        overrides=(Arranged("completion", "half_done", ONCE),),
        arranged="Flexprice stops in the middle of the completion.",
        buttons=(
            Button(
                "Razorpay sends the event again", "/_sandbox/sessions/{session}/paid-again", {"sure": "yes"}
            ),
        ),
    ),
}
