"""Customers: /v1/customers."""

from typing import Any

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from ..engine import overrides, switches
from ..engine.checkout import published_customer
from ..engine.errors import Refusal, invalid, not_found
from ..engine.events import publish
from ..store.billing_rows import Subscription, Wallet
from ..store.database import Session
from ..store.rows import Customer
from ..store.values import new_id
from . import auth, customer_rules, requests
from .search import Asked, Listing, listed, page_with_metadata
from .serializers.catalog import CUSTOMER_TEXTS
from .serializers.catalog import customer as customer_body
from .serializers.common import Body, in_nanoseconds

bp = auth.v1("sandbox_customers", __name__)

NO_ID = (
    "Provide id as query parameter (?id=...) or provide external_customer_id as query parameter "
    "(?external_customer_id=...)"
)
TWO_IDS = (
    "Providing either id or external_customer_id is sufficient. But when providing both, ensure both "
    "identifiers refer to the same customer."
)
NEWEST_FIELDS = ("billing_currency", "contact_persons", "tax_treatment")
CUSTOMERS = Listing(Customer, f"{' '.join(CUSTOMER_TEXTS)} contact metadata", "Failed to apply query options")


@bp.post("/customers")
def create() -> ResponseReturnValue:
    body = requests.json_body()
    customer_rules.check_new(body)
    with auth.writing() as session:
        refuse_taken(session, body["external_id"])
        now = session.now()
        row = Customer(
            id=new_id("cust"),
            external_id=body["external_id"],
            name=body["name"],
            created_at=now,
            updated_at=now,
        )
        _apply(session, row, {name: value for name, value in body.items() if value != ""})
        session.add(row)
        overrides.give_to(session, row.id)
        publish(session, "customer.created", row.id)
        shown = in_nanoseconds(customer_body(row), "created_at", "updated_at")
    return jsonify(shown), 201


def refuse_taken(session: Session, external_id: str, **details: Any) -> None:
    """:raises Refusal: a published customer has this external id."""
    taken = (Customer.external_id == external_id, Customer.status == "published")
    if session.first(Customer, *taken):
        message = "A customer with this identifier already exists"
        raise Refusal("already_exists", message, external_id=external_id, **details)


def _apply(session: Session, row: Customer, body: Body) -> None:
    """Writes the fields that were sent; null leaves one as it is."""
    for name in (*CUSTOMER_TEXTS, "contact"):
        if body.get(name) is not None:
            setattr(row, name, body[name])
    if "metadata" in body:
        row.meta = requests.metadata(body) or None
    if not switches.is_legacy(session) and (extra := {n: body[n] for n in NEWEST_FIELDS if body.get(n)}):
        row.extra = (row.extra or {}) | extra


@bp.get("/customers/external/<external_id>")
@bp.get("/customers/lookup/<external_id>")
def get_by_external_id(external_id: str) -> ResponseReturnValue:
    _check_expand()
    with auth.reading() as session:
        found = session.seen([published_customer(session, external_id)])
        if not found:
            raise not_found(f"Customer with lookup key {external_id} was not found", lookup_key=external_id)
        return _shown(found[0])


@bp.get("/customers/<customer_id>")
def get(customer_id: str) -> ResponseReturnValue:
    """Finds archived ones too."""
    _check_expand()
    with auth.reading() as session:
        return _shown(_need(session, customer_id))


def _need(session: Session, customer_id: str) -> Customer:
    row = session.get(Customer, customer_id)
    if row is None:
        raise not_found(f"Customer with ID {customer_id} was not found", customer_id=customer_id)
    return row


def _check_expand() -> None:
    for field in filter(None, request.args.get("expand", "").split(",")):
        if field != "integrations":
            raise invalid("Field is not allowed to be expanded", field=field)


def _shown(row: Customer) -> ResponseReturnValue:
    body = customer_body(row)
    if request.args.get("expand"):
        body["integrations"] = _integrations(row)
    return jsonify(body)


def _integrations(row: Customer) -> list[Body]:
    at_razorpay = (row.meta or {}).get("razorpay_customer_id")
    if not at_razorpay:
        return []
    link = {"entity_id": row.id, "entity_type": "customer", "provider_type": "razorpay"}
    return [link | {"provider_entity_id": at_razorpay}]


@bp.put("/customers/<customer_id>")
def update(customer_id: str) -> ResponseReturnValue:
    return _update(customer_id)


@bp.put("/customers")
def update_by_query() -> ResponseReturnValue:
    """`?id=` or `?external_customer_id=`; with both they must be the same customer's."""
    customer_id, external_id = (request.args.get(name, "") for name in ("id", "external_customer_id"))
    if not customer_id and not external_id:
        raise invalid(NO_ID)
    if external_id:
        with auth.reading() as session:
            found = published_customer(session, external_id).id
        if customer_id and customer_id != found:
            raise invalid(TWO_IDS)
        customer_id = found
    return _update(customer_id)


def _update(customer_id: str) -> ResponseReturnValue:
    body = requests.json_body()
    customer_rules.check_change(body)
    with auth.writing() as session:
        row = _need(session, customer_id)
        renamed = body.get("external_id")
        if renamed is not None and renamed != row.external_id:
            if row.meta is None and switches.is_legacy(session):
                return Response(status=500)  # Flexprice's own code fails where it notes the change
            _rename(session, row, renamed)
        _apply(session, row, body)
        row.updated_at = session.now()
        publish(session, "customer.updated", row.id)
        return jsonify(customer_body(row))


def _rename(session: Session, row: Customer, external_id: str) -> None:
    """Notes a new external id in the metadata, which the caller's own metadata then replaces."""
    refuse_taken(session, external_id, email=row.email)
    known = (row.meta or {}).get("old_external_ids")
    row.meta = (row.meta or {}) | {"old_external_ids": f"{known},{external_id}" if known else external_id}


@bp.delete("/customers/<customer_id>")
def delete(customer_id: str) -> ResponseReturnValue:
    """Archives the customer: the external id is free again, and a sale under way completes."""
    with auth.writing() as session:
        row = _need(session, customer_id)
        _check_deletable(session, row)
        row.status, row.updated_at = "archived", session.now()
        publish(session, "customer.deleted", row.id)
    return "", 204


def _check_deletable(session: Session, row: Customer) -> None:
    """:raises Refusal: archived already, with an active subscription, or with a wallet."""
    if row.status != "published":
        raise not_found("Customer does not exist")
    active = (Subscription.customer_id == row.id, Subscription.subscription_status == "active")
    if session.count(Subscription, *active, Subscription.status == "published"):
        message = "Please cancel all subscriptions before deleting the customer"
        raise Refusal("invalid_operation", message)
    if session.count(Wallet, Wallet.customer_id == row.id):
        raise Refusal("invalid_operation", "Customer cannot be deleted due to associated wallets")


@bp.post("/customers/search")
def search() -> ResponseReturnValue:
    asked = Asked("Invalid filter parameters")
    limit, offset = asked.page(zero_is_default=True)
    lists = {"id": asked.texts("customer_ids"), "external_id": asked.texts("external_ids")}
    for name in ("external_id", "email"):
        if value := asked.text(name):
            lists[name] = [value]
    with auth.reading() as session:
        query = CUSTOMERS.among(CUSTOMERS.query(session, asked), lists)
        query = CUSTOMERS.sorted(CUSTOMERS.within(query, "created_at", "created_at", asked), asked)
        found, total = page_with_metadata(session, query, (limit, offset), asked.metadata())
        items = [customer_body(row) for row in found]
    return listed(items, total, limit, offset + limit)
