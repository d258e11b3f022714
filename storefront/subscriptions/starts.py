"""Start a plan without a payment: a free one, or one that begins with a trial.

Flexprice has no idempotency key here (docs/flexprice-contract.md#j10): after a lost answer the order's
reference is searched for two minutes before the request is sent again, and of two the younger is ended.
What a request made after its order was given up is ended too: its customer has cancelled, or began again.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import or_, select

from ..checkout import orders, purchase
from ..checkout.context import ask, checkout, commit, db_now, rollback, session, shop_now
from ..checkout.models import Customer, OrderMixin
from ..checkout.offers import Offer, PlanOnSale
from ..checkout.orders import change
from ..checkout.states import ENDED_UNPAID, State, Trigger
from ..flexprice import CustomerNotFound, FlexpriceError, NoAnswer, Subscription
from .context import WRITE_TIMEOUT_S, find_subscription, subscriptions
from .states import RUNNING
from .sync import end_unwanted, running_of, sync

log = logging.getLogger(__name__)

NOTHING = Decimal(0)
SEARCH_FIRST = timedelta(minutes=2)
REPEAT_FOR = timedelta(minutes=30)  # then the checkout closes the order
SEARCH_GIVEN_UP_FOR = timedelta(days=1)  # for what the request of a closed order has made
NOT_FREE = "Not free any more: the price has changed since it was shown"


def trial_days(plan: PlanOnSale, offer: Offer) -> int:
    """How long the trial is that the plan begins with; 0: it has none."""
    now, terms = shop_now().replace(tzinfo=UTC), (offer.currency, offer.billing_period)
    fees = [p for p in plan.plan.prices if p.type == "FIXED" and (p.currency, p.billing_period) == terms]
    return max((p.trial_period_days for p in fees if p.end_date is None or p.end_date > now), default=0)


def had_trial(customer_key: str, plan_id: str) -> bool:
    """One trial per customer and plan, ever: a plan that was paid or tried before has none."""
    Order, model = checkout().Order, subscriptions().Subscription
    bought = (Order.customer_key == customer_key, Order.plan_id == plan_id, Order.paid_at.is_not(None))
    theirs = or_(model.order_ref.is_not(None), model.replaced_by.is_(None))  # not one that nobody wanted
    tried = (model.customer_key == customer_key, model.plan_id == plan_id, model.trial_end.is_not(None))
    found = (select(Order.id).where(*bought), select(model.id).where(*tried, theirs))
    return any(session().scalar(query.limit(1)) is not None for query in found)


def trial_offered(plan: PlanOnSale, offer: Offer) -> datetime | None:
    """Until when the customer may try the plan, in shop time; None: it has no trial, or it is not for them.

    Somebody with another plan changes it, and pays.
    """
    customer, days = checkout().hooks.customer_loader(), trial_days(plan, offer) if offer.buyable else 0
    if customer and days and (running_of(customer.key) or had_trial(customer.key, plan.id)):
        return None
    return shop_now() + timedelta(days=days) if days else None


def start_free(customer: Customer, offer: Offer, return_url: Callable[[str], str]) -> OrderMixin:
    """Start a plan without a payment, by an order over nothing. Commits.

    Without an answer the order stays open, and the worker goes on.

    :raises AlreadyOwned: the customer has the plan.
    :raises OpenOrderExists: another order for it is open.
    :raises FlexpriceError: Flexprice refused; the order has failed.
    """
    order, mine = purchase.place_order(customer, replace(offer, amount=NOTHING), return_url)
    order_id = order.id
    if mine:
        _request(order_id, by="customer")
    return orders.get(order_id)


def repeat_lost(limit: int = 100) -> None:
    """Send what had no answer again, where the search finds nothing. Commits."""
    Order, now = checkout().Order, db_now()
    lost = (Order.state == State.PLACED, Order.amount_text == str(NOTHING))
    since = (Order.session_requested_at <= now - SEARCH_FIRST, Order.status_changed_at > now - REPEAT_FOR)
    for order_id in list(session().scalars(select(Order.id).where(*lost, *since).limit(limit))):
        try:
            _repeat(order_id)
        except FlexpriceError as error:
            rollback()
            log.warning("order %s: its start cannot be repeated now: %s", order_id, error)


def _repeat(order_id: int) -> None:
    order = orders.get(order_id)
    as_it_was = {"session_requested_at": order.session_requested_at, "state": State.PLACED}
    if not change(order, {"session_requested_at": db_now()}, **as_it_was):
        return
    found = orders.traces_of(order)
    if found:
        orders.find_payment(orders.get(order_id), found, by="worker")
        commit()
    else:
        _request(order_id, by="worker")


def end_given_up(limit: int = 100) -> None:
    """Search for what the requests of closed orders have made, with doubling gaps, and end it. Commits."""
    Order, now = checkout().Order, db_now()
    closed = (Order.state.in_(ENDED_UNPAID), Order.amount_text == str(NOTHING), Order.session_id.is_(None))
    since = (Order.session_requested_at.is_not(None), Order.status_changed_at > now - SEARCH_GIVEN_UP_FOR)
    for order in list(session().scalars(select(Order).where(*closed, *since).limit(limit))):
        searched_at = order.session_requested_at
        if searched_at + (searched_at - order.status_changed_at) > now:
            continue
        ref = order.ref
        try:
            _end_found(order, searched_at)
        except FlexpriceError as error:
            rollback()
            log.warning("order %s: its start cannot be searched for now: %s", ref, error)


def _end_found(order: OrderMixin, searched_at: datetime) -> None:
    if change(order, {"session_requested_at": db_now()}, session_requested_at=searched_at):
        for found in orders.traces_of(order):
            if found.status in RUNNING:
                end_unwanted(order, found)
    commit()


def _request(order_id: int, *, by: str) -> None:
    """Ask Flexprice for the subscription, and write what it says. Commits."""
    try:
        made = _create(orders.get(order_id))
    except NoAnswer as error:
        log.warning("order %s: no answer to its start: %s", order_id, error)
    except FlexpriceError as error:
        said = f"Flexprice did not start it: {error.status} {error.message}"
        orders.transition(orders.get(order_id), Trigger.SESSION_REFUSED, by=by, review_note=said)
        commit()
        raise
    else:
        _record(orders.get(order_id), made, by=by)


def _create(order: OrderMixin) -> Subscription:
    terms = (order.customer_key, order.plan_id, order.currency, order.billing_period, order.ref)
    customer = Customer(order.customer_key, order.customer_name or "", order.customer_email or "")
    call = checkout().client.create_subscription
    try:
        return ask(call, *terms, timeout=WRITE_TIMEOUT_S)
    except CustomerNotFound:
        purchase.create_customer(customer)
        return ask(call, *terms, timeout=WRITE_TIMEOUT_S)


def _record(order: OrderMixin, made: Subscription, *, by: str) -> None:
    """It runs: fulfilled by the sync, when nothing is owed. A session beside it: the plan has a price now."""
    if made.status not in RUNNING:
        if made.checkout_session:  # its link is withdrawn by the worker
            orders.record_session(order, made.checkout_session, by=by)
        refused = Trigger.INVOICE_MISMATCH if made.checkout_session else Trigger.SESSION_REFUSED
        orders.transition(order, refused, by=by, review_note=NOT_FREE)
        commit()
        return
    known: dict[str, Any] = {"subscription_id": made.id, "flexprice_customer_id": made.customer_id}
    if order.state in ENDED_UNPAID:  # given up before the answer came
        end_unwanted(order, made)
    else:
        orders.transition(order, Trigger.PAYMENT_COMPLETED, by=by, paid_at=shop_now(), **known)
    ref = order.ref
    commit()
    row = find_subscription(order_ref=ref)
    try:
        if row:
            sync(row.id)
    except (FlexpriceError, orders.FulfillmentFailed) as error:
        rollback()
        log.warning("order %s: the worker fulfills it: %s", ref, error)
