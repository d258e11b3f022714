"""A checkout session, from the request to a link somebody can pay."""

from datetime import timedelta
from decimal import Decimal
from sqlite3 import IntegrityError

from sqlalchemy import Connection, select

from storefront.sandbox._previous import billing, endings, switches, validation
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.errors import Refusal, invalid, not_found
from storefront.sandbox._previous.events import tell
from storefront.sandbox._previous.schema import customers, invoices, payments, plans, sessions, subscriptions
from storefront.sandbox._previous.settings import SandboxSettings
from storefront.sandbox._previous.store import Body, add, find, new_id, random_letters, rfc3339, save

LIFETIME = timedelta(minutes=15)
MINIMUM = {"inr": Decimal(1), "usd": Decimal("0.01")}
ECHOED = ("idempotency_key", "success_url", "failure_url", "cancel_url")
NOTHING_TO_OPEN = {"newest": None, "legacy": {"type": "", "url": ""}}  # a mandate charged at once


def published_customer(conn: Connection, external_id: str) -> Body:
    query = select(customers.c.body).where(
        customers.c.external_id == external_id, customers.c.status == "published"
    )
    body: Body | None = conn.execute(query).scalar()
    if body is None:
        message = f"Customer with lookup key {external_id} was not found"
        raise not_found(message, lookup_key=external_id)
    return body


def create(
    conn: Connection, settings: SandboxSettings, asked: Body, *, aborted: bool = False
) -> tuple[Body, Refusal | None]:
    """The session, and why it failed if it did: both are for the caller to commit first and answer then.

    When the caller hung up, Flexprice's own work stops where it stood while Razorpay's goes on: `aborted`
    leaves a session that stays `initiated`, its drafts, and a link that takes money.
    """
    params = validation.session(asked)
    customer = published_customer(conn, asked["customer_external_id"])
    session = _initiated(conn, settings, asked, customer)
    try:
        _drafts(conn, session, asked, params, customer)
        _link(conn, session, asked, customer)
    except Refusal as refusal:
        reason = refusal.details.pop("reason", None) or refusal.message
        endings.end(conn, session, "failed", reason)
        return session, refusal
    if not aborted:
        _pending(conn, session, customer)
    return session, None


def _initiated(conn: Connection, settings: SandboxSettings, asked: Body, customer: Body) -> Body:
    if len(asked.get("idempotency_key") or "") > 255:
        raise Refusal("database_error", "checkout session creation failed")
    at = now(conn)
    link = random_letters(14)
    session = {
        "id": new_id("cs"),
        "customer_id": customer["id"],
        "action": asked["action"],
        "checkout_status": "initiated",
        "payment_provider": asked["payment_provider"],
        **{name: asked[name] for name in ECHOED if asked.get(name) is not None},
        **({"metadata": asked["metadata"]} if asked.get("metadata") else {}),
        "expires_at": rfc3339(at + LIFETIME),
        **billing.stamps(at),
        # Razorpay's, and our own.
        "lapses": (at + LIFETIME).timestamp(),
        "link": link,
        "link_state": "none",
        "plink": f"plink_{link}",
        "url": f"{settings.url}/pay/{link}",
    }
    try:
        return add(conn, sessions, session)
    except IntegrityError:
        message = "An active checkout session with this idempotency key already exists"
        raise Refusal("already_exists", message, idempotency_key=asked["idempotency_key"]) from None


def _drafts(conn: Connection, session: Body, asked: Body, params: Body, customer: Body) -> None:
    at = now(conn)
    starts, ends = (
        validation.moment(params.get("start_date")) or at,
        validation.moment(params.get("end_date")),
    )
    if ends and ends < starts:
        raise invalid("End date must be after start date")
    plan = _active_plan(conn, params["plan_id"])
    prices = billing.attached_prices(conn, plan, params["currency"], params["billing_period"])
    draft = billing.draft_subscription(customer, plan, prices, params, _collection_method(asked), starts, at)
    subscription = add(conn, subscriptions, draft)
    save(conn, sessions, session, subscription_id=subscription["id"])
    tell(conn, "subscription.draft.created", subscription["id"])
    invoice = billing.draft_invoice(subscription, plan, prices, ends, at)
    if Decimal(invoice["subtotal"]) == 0:
        # The draft subscription is left behind.
        reason = "checkout requires a non-zero invoice; plan produced no charges"
        raise invalid("An unexpected error occurred", reason=reason)
    add(conn, invoices, invoice)
    payment = add(conn, payments, billing.new_payment(invoice, at))
    save(conn, sessions, session, invoice_id=invoice["id"], payment_id=payment["id"])
    tell(conn, "invoice.update", invoice["id"])


def _active_plan(conn: Connection, plan_id: str) -> Body:
    plan = find(conn, plans, plan_id)
    if plan is None:
        raise not_found(f"Plan with ID {plan_id} was not found", plan_id=plan_id)
    if plan["status"] != "published":
        message = "The plan must be active to create a subscription"
        raise invalid(message, plan_id=plan_id, status=plan["status"])
    return plan


def _collection_method(asked: Body) -> str:
    return (asked.get("payment_provider_config") or {}).get("collection_method") or "send_invoice"


def _link(conn: Connection, session: Body, asked: Body, customer: Body) -> None:
    """Asks Razorpay for a way to pay; what was drafted is archived when it refuses."""
    payment = find(conn, payments, session["payment_id"]) or {}
    try:
        if Decimal(payment["amount"]) < MINIMUM.get(payment["currency"], Decimal(0)):
            raise _no_link("The amount must be at least the minimum of the currency")
        if _collection_method(asked) == "charge_automatically":
            _mandate(conn, session, asked["payment_provider_config"], customer)
    except Refusal:
        session |= _known_payment(session)
        endings.archive_drafts(conn, session)
        raise
    save(conn, sessions, session, link_state="open")


def _no_link(error: str) -> Refusal:
    return Refusal("internal_error", "Unable to create payment link in Razorpay", error=error)


def _mandate(conn: Connection, session: Body, config: Body, customer: Body) -> None:
    if config.get("payment_method") not in validation.MANDATE_METHODS:
        raise Refusal("not_implemented", "Only UPI and Card are supported for Razorpay mandate registration")
    if not customer.get("contact"):
        raise _no_link("The contact field is required")
    session["mandate"] = switches.read(conn, "mandates")


def _known_payment(session: Body) -> Body:
    return {"checkout_invoice_id": session["invoice_id"], "checkout_payment_id": session["payment_id"]}


def _pending(conn: Connection, session: Body, customer: Body) -> None:
    _know_at_razorpay(conn, customer)
    session |= _known_payment(session)
    action: Body | None = {"type": "payment_link", "url": session["url"]}
    if session.get("mandate") == "no_action":
        action = NOTHING_TO_OPEN[switches.read(conn, "generation")]
    session |= {"payment_action": action} if action else {}
    save(conn, sessions, session, checkout_status="pending")
    tell(conn, "checkout.session.initiated", session["id"])


def _know_at_razorpay(conn: Connection, customer: Body) -> None:
    metadata = customer.get("metadata") or {}
    if "razorpay_customer_id" in metadata:
        return
    metadata = metadata | {"razorpay_customer_id": f"cust_{random_letters(14)}"}
    save(conn, customers, customer, metadata=metadata, updated_at=rfc3339(now(conn)))
    tell(conn, "customer.updated", customer["id"])
