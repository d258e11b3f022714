"""What the shop says of its orders to a test bench: the shop's half of a verdict, as JSON.

The schema is in docs/sandbox.md. It says what was granted and told, and names nobody.
"""

import json
from collections import Counter
from typing import Any

from sqlalchemy import select

from storefront.checkout.states import FOR_A_PERSON
from storefront.extensions import db
from storefront.models import Order, OrderTransition, PlanAccess, User
from storefront.operations import emails
from storefront.operations.qa.checks import stamp
from storefront.operations.qa.evidence import Case


def of_order(case: Case) -> dict[str, Any]:
    """The facts of one order that a verdict needs; the keys are the same for every order."""
    order, followed = case.order, case.followed
    return {
        "subscription": case.subscription_id or (followed[0].subscription_id if followed else None),
        "access": _access(case.access, order),
        "access_plan": case.access.plan_name if case.access and case.access.order_id == order.id else None,
        "needs_person": order.state in FOR_A_PERSON or order.review_note is not None,
        "refund_seen": order.refunded_at is not None,
        "emails": dict.fromkeys(case.emails or {}, 1),
        "transitions": [_transition(moved) for moved in case.transitions],
        "invoices": [_invoice(row) for row in followed[1]] if followed else [],
    }


def _transition(moved: OrderTransition) -> dict[str, str]:
    states = {"from": moved.from_state or "", "to": moved.to_state}
    return {"at": stamp(moved.at)} | states | {"trigger": moved.trigger}


def _access(access: PlanAccess | None, order: Order) -> str:
    """`active`, `suspended` or `ended`; `none`: this order granted nothing that it still has."""
    if access is None or access.order_id != order.id:
        return "none"
    if access.revoked_at is not None:
        return "ended"
    return "suspended" if access.suspended_at is not None else "active"


def _invoice(row: Any) -> dict[str, Any]:
    return {
        "invoice": row.invoice_id,
        "payment_status": row.payment_status,
        "links": row.attempt,
        "needs_person": row.link == "review" or row.review_note is not None,
    }


def of_customer(key: str) -> dict[str, Any]:
    """How many emails this customer was sent, or is owed, by kind; an email about a plan by its fact."""
    found: Counter[str] = Counter()
    if emails.in_use():
        Email = emails.Email
        of_user = select(Email).join(User, Email.user_id == User.id).where(User.key == key)
        for email in db.session.scalars(of_user):
            found[json.loads(email.details or "{}").get("fact", email.kind)] += 1
    return {"customer": key, "emails": dict(found)}
