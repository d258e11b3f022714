"""The demo's own answer to "what does a buyer get": one row of PlanAccess, and the history of the order.

The hooks of checkout/ run in the transaction of the order: they write rows and call nobody.
"""

from datetime import datetime
from typing import Any

from flask import Flask
from flask_login import current_user
from sqlalchemy import select

from storefront.checkout import Customer, State, Trigger
from storefront.checkout.context import db_now, shop_now
from storefront.extensions import checkout, db
from storefront.models import Order, OrderTransition, PlanAccess, User


@checkout.customer_loader
def current_customer() -> Customer | None:
    """Who is buying: the signed-in user."""
    return customer_of(current_user) if current_user.is_authenticated else None


def customer_of(user: User) -> Customer:
    """The user, as Flexprice knows them."""
    return Customer(key=user.key, name=user.name, email=user.email)


@checkout.on_order_created
def attach_user(order: Order) -> None:
    """Set the demo's own column of a new order: also of one that an operator places for a customer."""
    order.user_id = db.session.scalars(select(User.id).where(User.key == order.customer_key)).one()


@checkout.on_fulfill
def grant(order: Order) -> None:
    """Give the buyer the plan: once per order, with the transition to fulfilled."""
    now, access = shop_now(), _row(order)
    if access is None:
        access = PlanAccess(user_id=order.user_id, plan_id=order.plan_id)
        db.session.add(access)
    access.plan_name = order.plan_name
    access.order_id = order.id
    access.granted_at = now
    access.revoked_at = access.suspended_at = None


@checkout.on_revoke
def revoke(order: Order) -> None:
    """End what this order granted; access that a later order granted stays."""
    access = granted_by(order)
    if access is not None:
        access.revoked_at = shop_now()


def granted_by(order: Order) -> PlanAccess | None:
    """What this order granted last; a planned change may have moved it to another plan."""
    newest_first = (
        select(PlanAccess).where(PlanAccess.order_id == order.id).order_by(PlanAccess.granted_at.desc())
    )
    return db.session.scalars(newest_first).first()


def move_to(order: Order, plan_id: str, plan_name: str) -> None:
    """The order grants another plan from now on, and no longer the one before."""
    now, old = shop_now(), granted_by(order)
    if old is not None and old.plan_id != plan_id:
        old.revoked_at = now
    of_plan = select(PlanAccess).where(PlanAccess.user_id == order.user_id, PlanAccess.plan_id == plan_id)
    new = db.session.scalar(of_plan) or PlanAccess(user_id=order.user_id, plan_id=plan_id)
    new.plan_name, new.order_id, new.granted_at, new.revoked_at = plan_name, order.id, now, None
    new.suspended_at = old.suspended_at if old is not None else None
    db.session.add(new)


def active(user: User, now: datetime) -> list[PlanAccess]:
    """What the user may use now, the oldest first."""
    rows = db.session.scalars(select(PlanAccess).where(PlanAccess.user_id == user.id).order_by(PlanAccess.id))
    return [access for access in rows if access.active_at(now)]


def record_transition(
    _app: Flask, order: Order, from_state: State, to_state: State, trigger: Trigger, by: str, **_: Any
) -> None:
    """Append a transition to the order's history."""
    db.session.add(
        OrderTransition(
            order_id=order.id, from_state=from_state, to_state=to_state, trigger=trigger, at=db_now(), by=by
        )
    )


def _row(order: Order) -> PlanAccess | None:
    return db.session.scalar(
        select(PlanAccess).where(PlanAccess.user_id == order.user_id, PlanAccess.plan_id == order.plan_id)
    )
