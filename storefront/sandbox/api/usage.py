"""Entitlements and usage of customers and subscriptions."""

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from ..engine import usage
from ..engine.checkout import published_customer
from ..engine.errors import invalid, not_found
from ..engine.money import SYMBOLS
from ..store.billing_rows import Subscription
from ..store.database import Session
from ..store.rows import Customer, Feature
from ..store.values import rfc3339
from . import auth, requests
from .serializers import billing
from .serializers import usage as shown
from .subscriptions import need

bp = auth.v1("sandbox_usage", __name__)

MIXED = (
    "Providing either customer_id or customer_lookup_key is sufficient. "
    "But when providing both, ensure both identifiers refer to the same customer."
)


@bp.get("/subscriptions/<subscription_id>/entitlements")
def of_subscription(subscription_id: str) -> ResponseReturnValue:
    """What the plan entitles to, also after the subscription's end."""
    with auth.reading() as session:
        row = need(session, subscription_id)
        found = usage.grants(session, [row], request.args.getlist("feature_ids"))
        features = [shown.aggregated(grant) for grant in found]
    return jsonify(subscription_id=row.id, plan_id=row.plan_id, features=features)


@bp.get("/customers/<customer_id>/entitlements")
def of_customer(customer_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return _entitlements(session, customer_id)


@bp.get("/customers/external/<external_id>/entitlements")
def of_external_customer(external_id: str) -> ResponseReturnValue:
    """Those of active and trialing subscriptions."""
    with auth.reading() as session:
        return _entitlements(session, published_customer(session, external_id).id)


def _entitlements(session: Session, customer_id: str) -> ResponseReturnValue:
    running = _running(session, customer_id)
    found = usage.grants(session, running, request.args.getlist("feature_ids"))
    subscriptions = [
        billing.subscription(session, row, lines="none", plan="none", customer=False) for row in running
    ]
    features = [shown.aggregated(grant) for grant in found]
    return jsonify(customer_id=customer_id, subscriptions=subscriptions, features=features)


def _running(session: Session, customer_id: str) -> list[Subscription]:
    wanted = request.args.getlist("subscription_ids")
    found = usage.running_subscriptions(session, customer_id)
    return [row for row in found if not wanted or row.id in wanted]


@bp.get("/customers/<customer_id>/usage")
def summary_by_path(customer_id: str) -> ResponseReturnValue:
    with auth.reading() as session:
        return _summary(session, customer_id)


@bp.get("/customers/usage")
def summary() -> ResponseReturnValue:
    """By `?customer_lookup_key=`, the external id, or `?customer_id=`."""
    customer_id, key = (request.args.get(name, "") for name in ("customer_id", "customer_lookup_key"))
    if not customer_id and not key:
        raise invalid("Provide customer_id or customer_lookup_key")
    with auth.reading() as session:
        if key:
            own = published_customer(session, key).id
            if customer_id and own != customer_id:
                raise invalid(MIXED)
            customer_id = own
        return _summary(session, customer_id)


def _summary(session: Session, customer_id: str) -> ResponseReturnValue:
    if session.get(Customer, customer_id) is None:
        raise not_found(f"Customer with ID {customer_id} was not found", customer_id=customer_id)
    running, keys = _running(session, customer_id), request.args.getlist("feature_lookup_keys")
    wanted = request.args.getlist("feature_ids")
    if keys:
        wanted += [row.id for row in session.all(Feature, Feature.lookup_key.in_(keys))]
    for row in running:
        usage.refuse_without_store(session, row)
    found = usage.in_order(usage.grants(session, running, wanted))
    features = [shown.summary(session, customer_id, grant) for grant in found]
    return jsonify(customer_id=customer_id, features=features, period=None)


@bp.post("/subscriptions/usage")
def charges() -> ResponseReturnValue:
    """What usage has cost so far: nothing, the sandbox bills no usage. Amounts are JSON numbers here."""
    body = requests.json_body()
    subscription_id = requests.text(body, "subscription_id")
    start, end = (requests.moment(body.get(name)) for name in ("start_time", "end_time"))
    if not subscription_id:
        raise invalid(requests.BAD_FORMAT)
    with auth.reading() as session:
        row = need(session, subscription_id)
        usage.refuse_without_store(session, row)
        return jsonify(
            amount=0,
            currency=row.currency,
            display_amount=f"{SYMBOLS.get(row.currency, row.currency.upper() + ' ')}0.00",
            start_time=rfc3339(start or row.current_period_start),
            end_time=rfc3339(end or row.current_period_end),
            charges=None,
            has_overage=False,
        )
