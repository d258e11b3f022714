"""Test scenarios: what a subscription goes through after its first payment."""

from typing import Any

from . import checks, later_checks, shop_checks
from .model import Arranged, Button, Scenario
from .paying import BUY

CLOCK = "/_sandbox/clock"
TO_INVOICE = Button("To the next invoice", CLOCK, {"until": "invoice_finalized", "id": "{subscription}"})
TO_PERIOD_END = Button("To the period’s end", CLOCK, {"until": "period_end", "id": "{subscription}"})
TO_TRIAL_END = Button("To the trial’s end", CLOCK, {"until": "trial_end", "id": "{subscription}"})
FIVE_DAYS = Button("Let 5 days pass", CLOCK, {"advance": "5d"})
SIX_MINUTES = Button("Let 6 minutes pass", CLOCK, {"advance": "6m"})
LINK_EXPIRES = Button(
    "The link expires at Razorpay", "/_sandbox/provider", {"action": "expire_link", "link": "{link}"}
)
PAY_AGAIN = Button("Pay this link once more", "/_sandbox/provider", {"action": "pay", "link": "{link}"})

BOUGHT = f"{BUY} for a month, and pay."
NEXT = "Here, press “To the next invoice”."
PAY_IT = "In the shop, open Billing, pay the open invoice and come back."
RENEWED = (checks.ONE_SALE, later_checks.RENEWAL_PAID, later_checks.ONE_ACTIVE)
TRIAL_PLAN: dict[str, Any] = {
    "description": "a plan of its own with a trial of 7 days, then INR 300 a month",
    "prices": [{"currency": "inr", "billing_period": "MONTHLY", "amount": "300", "trial_period_days": 7}],
}
START_TRIAL = "In the shop, start the trial of the new plan."

RENEWALS = {
    "renewal-paid": Scenario(
        "Renewal paid",
        (BOUGHT, NEXT, PAY_IT),
        "The invoice is paid once, and the plan goes on.",
        (*RENEWED, later_checks.PAID_ONCE),
        (
            shop_checks.ONE_ACTIVE,
            shop_checks.LATER_PAID,
            shop_checks.emailed("invoice_ready", "invoice_paid"),
            shop_checks.not_emailed("suspended"),
        ),
        buttons=(TO_INVOICE,),
    ),
    "renewal-suspended": Scenario(
        "Ignored until suspended, then paid",
        (BOUGHT, NEXT, "Press “Let 5 days pass”: the shop suspends the plan.", PAY_IT),
        "The plan is suspended, and comes back when the invoice is paid.",
        (*RENEWED, later_checks.PAID_ONCE, later_checks.PAID_LATE),
        (
            shop_checks.ONE_ACTIVE,
            shop_checks.LATER_PAID,
            shop_checks.emailed("invoice_overdue", "suspended", "resumed"),
        ),
        buttons=(TO_INVOICE, FIVE_DAYS),
    ),
    "renewal-declined": Scenario(
        "Renewal declined, then paid",
        (BOUGHT, NEXT, "In the shop, open Billing and pay with failure@razorpay.", PAY_IT),
        "The same link is offered again, and the invoice is paid once.",
        (*RENEWED, later_checks.PAID_ONCE, later_checks.SAME_LINK),
        (shop_checks.ONE_ACTIVE, shop_checks.LATER_PAID),
        buttons=(TO_INVOICE,),
    ),
    "renewal-link-expired": Scenario(
        "Payment link of the renewal expired",
        (
            BOUGHT,
            NEXT,
            "In the shop, open Billing and press Pay, but do not pay.",
            "Here, press “The link expires at Razorpay”.",
            PAY_IT,
        ),
        "The shop offers a new link, and the invoice is paid once.",
        (*RENEWED, later_checks.PAID_ONCE, later_checks.NEW_LINK),
        (shop_checks.ONE_ACTIVE, shop_checks.LATER_PAID),
        buttons=(TO_INVOICE, LINK_EXPIRES),
    ),
    "renewal-paid-twice": Scenario(
        "Renewal paid twice",
        (BOUGHT, NEXT, PAY_IT, "Here, press “Pay this link once more”."),
        "The shop made one link, and does not say that anything is unpaid.",
        (*RENEWED, later_checks.PAID_TWICE),
        (shop_checks.ONE_ACTIVE, shop_checks.LATER_PAID, shop_checks.emailed("invoice_paid")),
        buttons=(TO_INVOICE, PAY_AGAIN),
    ),
    "renewal-webhook-lost": Scenario(
        "Webhooks of the renewal lost",
        (BOUGHT, NEXT, PAY_IT),
        "The shop asks by itself: the invoice is shown, and is paid.",
        (*RENEWED, later_checks.PAID_ONCE, checks.LOST),
        (shop_checks.ONE_ACTIVE, shop_checks.LATER_PAID),
        overrides=(Arranged("delivery", "drop"),),
        arranged="No webhook about you arrives.",
        buttons=(TO_INVOICE,),
    ),
    "message-storm": Scenario(
        "Message storm: everything five minutes late",
        (BOUGHT, NEXT, PAY_IT, "Press “Let 6 minutes pass”."),
        "Late messages, built from a later state, change nothing.",
        (*RENEWED, later_checks.PAID_ONCE, checks.FIVE_MINUTES_LATE),
        (shop_checks.ONE_ACTIVE, shop_checks.LATER_PAID, shop_checks.emailed("invoice_paid")),
        overrides=(Arranged("delivery", "after", {"seconds": 300}),),
        arranged="Every webhook about you comes five minutes late.",
        buttons=(TO_INVOICE, SIX_MINUTES),
    ),
}

CHANGES = {
    "cancelled-undone": Scenario(
        "Cancelled and undone",
        (BOUGHT, "In the shop, open Billing and cancel the plan.", "Undo it."),
        "The plan goes on as before.",
        (checks.ONE_SALE, later_checks.UNDONE, later_checks.ONE_ACTIVE),
        (shop_checks.ONE_ACTIVE, shop_checks.emailed("cancel_scheduled", "cancel_undone")),
    ),
    "cancelled-over": Scenario(
        "Cancelled and over",
        (BOUGHT, "In the shop, open Billing and cancel the plan.", "Here, press “To the period’s end”."),
        "Access stays until the period’s end and ends then.",
        (checks.ONE_SALE, later_checks.OVER, later_checks.ONE_CANCELLED),
        (shop_checks.access("ended"), shop_checks.emailed("cancel_scheduled", "ended")),
        buttons=(TO_PERIOD_END,),
    ),
    "changed-at-renewal": Scenario(
        "Changed at renewal",
        (
            BOUGHT,
            "In the shop, open Billing and choose another plan, from the next renewal on.",
            "Here, press “To the period’s end”.",
        ),
        "Nothing is charged today. The new plan begins with the next period.",
        (checks.ONE_SALE, later_checks.CHANGED_AT_RENEWAL, later_checks.ONE_ACTIVE),
        (shop_checks.ONE_ACTIVE, shop_checks.emailed("plan_changed")),
        buttons=(TO_PERIOD_END,),
    ),
    "changed-today": Scenario(
        "Changed today",
        (BOUGHT, "In the shop, open Billing, choose another plan from today on, and pay."),
        "The new plan is active and the old one has ended.",
        (later_checks.CHANGED_TODAY, checks.charged(2)),
        (shop_checks.ONE_ACTIVE, shop_checks.NEEDS_NOBODY),
    ),
    "free": Scenario(
        "Free plan",
        ("In the shop, start the Free plan.",),
        "The plan is active without a payment page.",
        (later_checks.NO_CHECKOUT, later_checks.ONE_ACTIVE, later_checks.OWES_NOTHING),
        (shop_checks.access("active"), shop_checks.NEEDS_NOBODY),
    ),
    "trial-cancelled": Scenario(
        "Trial cancelled",
        (START_TRIAL, "Open Billing and cancel it."),
        "The trial ends at once, and nothing is owed.",
        (later_checks.HAD_TRIAL, later_checks.ONE_CANCELLED, checks.charged(0), later_checks.OWES_NOTHING),
        (shop_checks.access("ended"),),
        plan=TRIAL_PLAN,
    ),
    "trial-over": Scenario(
        "Trial over",
        (START_TRIAL, "Here, press “To the trial’s end”.", PAY_IT),
        "The invoice of the trial’s end is paid, and the plan goes on.",
        (
            later_checks.HAD_TRIAL,
            later_checks.RENEWAL_PAID,
            later_checks.PAID_ONCE,
            later_checks.ONE_ACTIVE,
        ),
        (shop_checks.access("active"), shop_checks.emailed("invoice_paid")),
        plan=TRIAL_PLAN,
        buttons=(TO_TRIAL_END,),
    ),
}
