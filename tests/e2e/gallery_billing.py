"""The Billing pages of the gallery: plans and invoices in every state, without Flexprice.

`RAVI` has one plan in each state, so that one page shows them all; Lena's names and numbers are long.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from flask import Flask

from storefront.accounts import service
from storefront.billing import Invoice, Subscription
from storefront.extensions import db
from storefront.flexprice import CustomerFeature
from storefront.models import User
from storefront.subscriptions import Access, Link
from storefront.subscriptions.views import page
from tests.e2e.catalogs import LONG_NAME, UNBROKEN_NAME

RAVI = "ravi"
DAY = timedelta(days=1)
PERIOD = {"period_start": -10 * DAY, "period_end": 20 * DAY}


class Plan(NamedTuple):
    columns: dict[str, Any]  # of the subscription; a timedelta is a moment from now
    invoices: tuple[dict[str, Any], ...] = ()


PAID: dict[str, Any] = {"payment_status": "SUCCEEDED", "remaining_text": "0", "link": Link.SETTLED}
OVERDUE: dict[str, Any] = {"due_date": -DAY}
OPEN: dict[str, Any] = {"link": Link.OPEN, "payment_url": "https://rzp.io/i/gallery"}
NOTE = "Money was taken for this invoice, and Flexprice does not count it: settle or refund it by hand"
REVIEW: dict[str, Any] = {"link": Link.REVIEW, "review_note": NOTE}
PLANS: dict[str, Plan] = {
    "active": Plan({}, (PAID, {})),
    "unread": Plan({"status": ""}),
    "dashboard": Plan({"access": Access.NONE, "order_ref": None}),
    "suspended": Plan({"access": Access.SUSPENDED}, (OVERDUE,)),
    "trial": Plan({"status": "trialing", "trial_end": 5 * DAY}),
    "ends": Plan({"cancel_at": 20 * DAY, "cancel_schedule_id": "sched_1"}),
    "changes": Plan({"change_schedule_id": "sched_2", "planned_plan_id": "plan_team"}),
    "prepared": Plan({"period_end": -timedelta(hours=1)}),
    "ended": Plan({"status": "cancelled", "access": Access.ENDED, "cancel_at": -2 * DAY}, (OVERDUE,)),
    "replaced": Plan({"replaced_by": "f" * 32, "status": "cancelled", "access": Access.ENDED}, ({},)),
    "payments": Plan(
        {"review_note": "Ten attempts failed: APITimeout"},
        (
            {"link": Link.REQUESTED},
            OPEN,
            OPEN | {"returned_at": timedelta(0)},
            OPEN | {"returned_at": -DAY, "returned_paid": True},
            REVIEW,
            REVIEW | {"money_seen_at": -DAY},
            {"status": "VOIDED"},
            {"provider_page": True},
            {"number": None},
        ),
    ),
}
LONG: dict[str, Plan] = {
    "long": Plan({"plan_name": LONG_NAME}, ({"number": "INV-" + "202609" * 5, "total_text": "1234567.50"},)),
    "unbroken": Plan({"plan_name": UNBROKEN_NAME}, (OVERDUE | {"number": "9" * 60},)),
}
FEATURES = [
    CustomerFeature("Emails", "metered", True, Decimal(10000), Decimal(1234)),
    CustomerFeature("API calls", "metered", True, None, Decimal(0)),
    CustomerFeature("Seats", "metered", True, Decimal(2)),
    CustomerFeature("Custom domain", "boolean", True),
    CustomerFeature("Single sign-on", "boolean", False),
    CustomerFeature("y" * 60, "metered", True, Decimal(10**9), Decimal(10**8)),
]
AT = "/billing/subscriptions/{}/{}"
CHOSEN = "?plan={}&currency=inr&billing_period={}"
BILLING = {  # who looks where
    "billing": (RAVI, "/billing"),
    "billing, empty": ("bela", "/billing"),
    "billing, long": ("lena", "/billing"),
    "billing, cancel": (RAVI, AT.format("subs_active", "cancel")),
    "billing, cancel a planned change": (RAVI, AT.format("subs_changes", "cancel")),
    "billing, cancel a trial": (RAVI, AT.format("subs_trial", "cancel")),
    "billing, cancelled": (RAVI, AT.format("subs_ends", "cancel")),
    "billing, ended": (RAVI, AT.format("subs_ended", "cancel")),
    "billing, change": (RAVI, AT.format("subs_ends", "change")),
    "billing, change to": (RAVI, AT.format("subs_trial", "change") + CHOSEN.format("plan_team", "MONTHLY")),
    "billing, change refused": (
        RAVI,
        AT.format("subs_payments", "change") + CHOSEN.format("plan_team", "ANNUAL"),
    ),
    "billing, change long": (
        "lena",
        AT.format("subs_long", "change") + CHOSEN.format("plan_team", "MONTHLY"),
    ),
    "billing, payment page": (RAVI, "/gallery/billing/provider_page"),
    "billing, not now": (RAVI, "/gallery/billing/message"),
    "operator, subscriptions": ("olga", "/operator/billing"),
}


def fill(app: Flask, lena: User, now: datetime, password_hash: str) -> None:
    ravi = service.sign_up("Ravi", f"{RAVI}@example.com", password_hash)
    db.session.flush()
    for user, plans in ((ravi, PLANS), (lena, LONG)):
        db.session.add_all(_rows(user, plans, now))
        kept = {"rows": FEATURES, "as_of": now}
        app.extensions["subscriptions"].usage[user.key] = (time.monotonic() + 10**6, kept)


def _rows(user: User, plans: dict[str, Plan], now: datetime) -> Iterator[Any]:
    for number, (name, plan) in enumerate(plans.items()):
        known = {
            "subscription_id": f"subs_{name}", "customer_key": user.key, "flexprice_customer_id": "cust_1",
            "order_ref": f"{name:0>32}", "access": Access.GRANTED, "plan_id": f"plan_{name}",
            "plan_name": f"Plan {name}", "currency": "inr", "billing_period": "MONTHLY", "status": "active",
        }  # fmt: skip
        yield Subscription(**_moments(known | PERIOD | plan.columns, now))
        for count, columns in enumerate(plan.invoices):
            known = {
                "invoice_id": f"inv_{name}_{count}", "subscription_id": f"subs_{name}",
                "customer_key": user.key, "number": f"INV-202610-{number:03}{count:02}",
                "status": "FINALIZED", "payment_status": "PENDING", "billing_reason": "SUBSCRIPTION_CYCLE",
                "currency": "inr", "total_text": "499", "remaining_text": "499", "due_date": DAY,
                "finalized_at": -DAY, "link": Link.NONE,
            }  # fmt: skip
            yield Invoice(**_moments(known | columns, now))


def _moments(columns: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {name: now + value if isinstance(value, timedelta) else value for name, value in columns.items()}


def add_pages(app: Flask) -> None:
    """Pages that only an answer of Flexprice's leads to."""

    def shown(name: str) -> str:
        title, message = "Your plan was not changed", "Pay the open invoice of your plan first."
        return page(f"{name}.html", title=title, message=message, url="https://rzp.io/i/gallery")

    app.add_url_rule("/gallery/billing/<name>", "gallery.billing", shown)
