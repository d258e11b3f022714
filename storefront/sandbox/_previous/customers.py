"""Who buys: /v1/customers."""

from sqlite3 import IntegrityError

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from storefront.sandbox._previous import validation
from storefront.sandbox._previous.billing import stamps
from storefront.sandbox._previous.checkout import published_customer
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.door import v1
from storefront.sandbox._previous.errors import Refusal, invalid, not_found
from storefront.sandbox._previous.events import tell
from storefront.sandbox._previous.schema import customers
from storefront.sandbox._previous.store import Body, add, current_store, new_id, seen

bp = v1("sandbox_customers", __name__)

NEWEST_FIELDS = ("billing_currency", "contact_persons", "tax_treatment")


@bp.post("/customers")
def create() -> ResponseReturnValue:
    asked = validation.json_object()
    validation.customer(asked)
    with current_store().writing() as conn:
        customer: Body = {name: asked.get(name) or "" for name in validation.CUSTOMER_TEXTS}
        customer |= {name: asked[name] for name in NEWEST_FIELDS if asked.get(name)}
        customer |= {"id": new_id("cust"), "timezone": asked.get("timezone") or "UTC", **stamps(now(conn))}
        customer["metadata"] = asked.get("metadata")
        try:
            add(conn, customers, customer)
        except IntegrityError:
            message = "A customer with this identifier already exists"
            raise Refusal("already_exists", message, external_id=asked["external_id"]) from None
        tell(conn, "customer.created", customer["id"])
    return jsonify(customer), 201


@bp.get("/customers/external/<external_id>")
def get_by_external_id(external_id: str) -> ResponseReturnValue:
    _check_expand()
    with current_store().reading() as conn:
        customer = seen(conn, customers, published_customer(conn, external_id)["id"])
        if customer is None:
            raise not_found(f"Customer with lookup key {external_id} was not found", lookup_key=external_id)
        return _shown(customer)


@bp.get("/customers/<customer_id>")
def get(customer_id: str) -> ResponseReturnValue:
    _check_expand()
    with current_store().reading() as conn:
        customer = seen(conn, customers, customer_id)
        if customer is None:
            raise not_found(f"Customer with ID {customer_id} was not found", customer_id=customer_id)
        return _shown(customer)


def _check_expand() -> None:
    for field in filter(None, request.args.get("expand", "").split(",")):
        if field != "integrations":
            raise invalid("Field is not allowed to be expanded", field=field)


def _shown(customer: Body) -> ResponseReturnValue:
    if request.args.get("expand"):
        return jsonify(customer | {"integrations": _integrations(customer)})
    return jsonify(customer)


def _integrations(customer: Body) -> list[Body]:
    at_razorpay = (customer.get("metadata") or {}).get("razorpay_customer_id")
    if not at_razorpay:
        return []
    link = {"entity_id": customer["id"], "entity_type": "customer", "provider_type": "razorpay"}
    return [link | {"provider_entity_id": at_razorpay}]
