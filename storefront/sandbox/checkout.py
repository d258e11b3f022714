"""The life of a checkout session, from the request to its end."""

from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from storefront.sandbox import billing, validation
from storefront.sandbox.clock import now
from storefront.sandbox.errors import Refusal, invalid, not_found
from storefront.sandbox.events import tell
from storefront.sandbox.schema import customers, invoices, payments, plans, refunds, sessions, subscriptions
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store import Body, add, find, need, new_id, random_letters, rfc3339, save
from storefront.sandbox.views import TERMINAL

LIFETIME = timedelta(minutes=15)
MINIMUM = {"inr": Decimal(1), "usd": Decimal("0.01")}
ECHOED = ("idempotency_key", "success_url", "failure_url", "cancel_url", "metadata")


def published_customer(conn: Connection, external_id: str) -> Body:
    query = select(customers.c.body).where(
        customers.c.external_id == external_id, customers.c.status == "published"
    )
    body: Body | None = conn.execute(query).scalar()
    if body is None:
        message = f"Customer with lookup key {external_id} was not found"
        raise not_found(message, lookup_key=external_id)
    return body


def create(conn: Connection, settings: SandboxSettings, asked: Body) -> tuple[Body, Refusal | None]:
    """The session, and why it failed if it did: both are for the caller to commit first and answer then."""
    params = validation.session(asked)
    customer = published_customer(conn, asked["customer_external_id"])
    session = _initiated(conn, asked, customer)
    try:
        _drafts(conn, settings, session, asked, params, customer)
    except Refusal as refusal:
        reason = refusal.details.get("reason") or refusal.message
        refusal.details.pop("reason", None)
        save(conn, sessions, session, checkout_status="failed", failure_reason=reason)
        tell(conn, "checkout.session.failed", session["id"])
        return session, refusal
    return session, None


def _initiated(conn: Connection, asked: Body, customer: Body) -> Body:
    if len(asked.get("idempotency_key") or "") > 255:
        raise Refusal("database_error", "checkout session creation failed")
    at = now(conn)
    session = {
        "id": new_id("cs"),
        "customer_id": customer["id"],
        "action": asked["action"],
        "checkout_status": "initiated",
        "payment_provider": asked["payment_provider"],
        **{name: asked[name] for name in ECHOED if asked.get(name) is not None},
        "expires_at": rfc3339(at + LIFETIME),
        "lapses": (at + LIFETIME).timestamp(),
        "created_at": rfc3339(at),
        "updated_at": rfc3339(at),
        "status": "published",
        "link": random_letters(14),
        "link_state": "open",
    }
    if not session.get("metadata"):
        session.pop("metadata", None)
    try:
        return add(conn, sessions, session)
    except IntegrityError:
        message = "An active checkout session with this idempotency key already exists"
        raise Refusal("already_exists", message, idempotency_key=asked["idempotency_key"]) from None


def _drafts(
    conn: Connection, settings: SandboxSettings, session: Body, asked: Body, params: Body, customer: Body
) -> None:
    at = now(conn)
    config = asked.get("payment_provider_config") or {}
    plan = _active_plan(conn, params["plan_id"])
    ends = validation.moment(params.get("end_date"))
    if ends and ends <= at:
        raise invalid("End date must be after start date")
    prices = billing.attached_prices(plan, params["currency"], params["billing_period"])
    method = config.get("collection_method") or "send_invoice"
    subscription = add(
        conn, subscriptions, billing.draft_subscription(customer, plan, prices, params, method, at)
    )
    tell(conn, "subscription.draft.created", subscription["id"])
    invoice = billing.draft_invoice(subscription, plan, prices, at)
    if Decimal(invoice["total"]) == 0:
        # The draft subscription is left behind, as in the original.
        reason = "checkout requires a non-zero invoice; plan produced no charges"
        raise invalid("An unexpected error occurred", reason=reason)
    add(conn, invoices, invoice)
    payment = add(conn, payments, billing.new_payment(invoice, at))
    session |= {
        "subscription_id": subscription["id"],
        "checkout_invoice_id": invoice["id"],
        "checkout_payment_id": payment["id"],
    }
    tell(conn, "invoice.update", invoice["id"])
    try:
        session["mandate"] = _registered(invoice, config, customer)
    except Refusal:
        _archive_drafts(conn, session)
        raise
    _know_at_razorpay(conn, customer)
    url = f"{settings.url}/pay/{session['link']}"
    session["payment_action"] = {"type": "payment_link", "url": url}
    save(conn, sessions, session, checkout_status="pending")
    tell(conn, "checkout.session.initiated", session["id"])


def _active_plan(conn: Connection, plan_id: str) -> Body:
    plan = find(conn, plans, plan_id)
    if plan is None:
        raise not_found(f"Plan with ID {plan_id} was not found", plan_id=plan_id)
    if plan["status"] != "published":
        message = "The plan must be active to create a subscription"
        raise invalid(message, plan_id=plan_id, status=plan["status"])
    return plan


def _registered(invoice: Body, config: Body, customer: Body) -> bool:
    if Decimal(invoice["amount_due"]) < MINIMUM.get(invoice["currency"], Decimal(0)):
        error = "The amount must be at least the minimum of the currency"
        raise Refusal("internal_error", "Unable to create payment link in Razorpay", error=error)
    return validation.mandate(config, customer)


def _know_at_razorpay(conn: Connection, customer: Body) -> None:
    metadata = customer.get("metadata") or {}
    if "razorpay_customer_id" in metadata:
        return
    metadata = metadata | {"razorpay_customer_id": f"cust_{random_letters(14)}"}
    save(conn, customers, customer, metadata=metadata, updated_at=rfc3339(now(conn)))
    tell(conn, "customer.updated", customer["id"])


def capture(conn: Connection, session: Body, razorpay_id: str) -> None:
    """The customer paid on the page."""
    payment = need(conn, payments, session["checkout_payment_id"])
    payment |= {"gateway_payment_id": razorpay_id, "gateway_tracking_id": plink(session)}
    _attempted(conn, payment, None)
    session["link_state"] = "paid"
    outcome = _complete if session["checkout_status"] == "pending" else _refund
    if session["status"] != "published" and session["checkout_status"] == "pending":
        outcome = _pay_without_session
    outcome(conn, session, payment)
    save(conn, sessions, session, updated_at=rfc3339(now(conn)))


def plink(session: Body) -> str:
    return f"plink_{session['link']}"


def _succeed(conn: Connection, payment: Body) -> None:
    at = rfc3339(now(conn))
    save(conn, payments, payment, payment_status="SUCCEEDED", succeeded_at=at, updated_at=at)


def _complete(conn: Connection, session: Body, payment: Body) -> None:
    at = now(conn)
    invoice = need(conn, invoices, session["checkout_invoice_id"])
    subscription = need(conn, subscriptions, session["subscription_id"])
    _succeed(conn, payment)
    save(conn, invoices, invoice, **billing.paid_invoice(conn, invoice, at))
    save(conn, subscriptions, subscription, subscription_status="active", version=2, updated_at=rfc3339(at))
    session.pop("payment_action", None)
    session |= {"checkout_status": "completed", "completed_at": rfc3339(at)}
    save(conn, sessions, session)
    tell(conn, "invoice.update.finalized", invoice["id"])
    tell(conn, "payment.updated", payment["id"])
    tell(conn, "invoice.update.payment", invoice["id"])
    tell(conn, "subscription.activated", subscription["id"])
    tell(conn, "checkout.session.completed", session["id"])


def _pay_without_session(conn: Connection, session: Body, payment: Body) -> None:
    """A DELETEd session is not found: the money is booked, nothing is activated or refunded."""
    invoice = need(conn, invoices, session["checkout_invoice_id"])
    _succeed(conn, payment)
    save(conn, invoices, invoice, **billing.paid(invoice, now(conn)))
    tell(conn, "payment.updated", payment["id"])
    tell(conn, "invoice.update.payment", invoice["id"])


def _refund(conn: Connection, session: Body, payment: Body) -> None:
    """Money that came after the end goes back; the session stays as it ended."""
    at = rfc3339(now(conn))
    gateway_id = f"rfnd_{random_letters(14)}"
    metadata = payment["metadata"] | {"razorpay_refund_id": gateway_id}
    save(conn, payments, payment, payment_status="REFUNDED", refunded_at=at, metadata=metadata, updated_at=at)
    refund = {
        "id": new_id("refund"),
        "payment_id": payment["id"],
        "invoice_id": session["checkout_invoice_id"],
        "amount": payment["amount"],
        "settled_amount": payment["amount"],
        "currency": payment["currency"],
        "refund_status": "SUCCEEDED",
        "refund_reason": "OTHER",
        "payment_gateway": "razorpay",
        "gateway_refund_id": gateway_id,
        "initiated_at": at,
        "succeeded_at": at,
        **billing.stamps(now(conn)),
    }
    add(conn, refunds, refund)
    tell(conn, "refund.created", refund["id"])
    tell(conn, "refund.succeeded", refund["id"])


def decline(conn: Connection, session: Body, reason: str) -> None:
    """Only an attempt; a session that already ended lets its payment fail."""
    payment = need(conn, payments, session["checkout_payment_id"])
    if session["checkout_status"] in TERMINAL and payment["payment_status"] == "INITIATED":
        payment |= {"payment_status": "FAILED", "failed_at": rfc3339(now(conn)), "error_message": reason}
    _attempted(conn, payment, reason)


def _attempted(conn: Connection, payment: Body, reason: str | None) -> None:
    attempt = {
        "id": new_id("attempt"),
        "payment_id": payment["id"],
        "attempt_number": len(payment["attempts"]) + 1,
        "payment_status": "FAILED" if reason else "SUCCEEDED",
        **({"error_message": reason} if reason else {}),
        **billing.stamps(now(conn)),
    }
    save(conn, payments, payment, attempts=[*payment["attempts"], attempt])


def cancel(conn: Connection, session: Body) -> None:
    # Not documented: our reading of the SDK. Ends as failed, with cancelled_at; the link takes no more money.
    if session["checkout_status"] in TERMINAL:
        status = session["checkout_status"]
        raise Refusal("invalid_operation", f"checkout session is already {status}", checkout_status=status)
    session |= {"cancelled_at": rfc3339(now(conn)), "link_state": "cancelled"}
    _end(conn, session, "failed", "cancelled")


def cancel_link(conn: Connection, session: Body) -> None:
    session["link_state"] = "cancelled"
    if session["checkout_status"] in TERMINAL:
        save(conn, sessions, session)
    else:
        _end(conn, session, "failed", "payment link payment_link.cancelled by provider")


def expire(conn: Connection, session: Body) -> None:
    _end(conn, session, "expired")


def lapse_link(conn: Connection, session: Body) -> None:
    session["link_state"] = "expired"
    _end(conn, session, "failed", "payment link payment_link.expired by provider")


def refund(conn: Connection, session: Body) -> None:
    _refund(conn, session, need(conn, payments, session["checkout_payment_id"]))


def _end(conn: Connection, session: Body, status: str, reason: str | None = None) -> None:
    if session["checkout_status"] == "pending":
        _archive_drafts(conn, session)
    if reason:
        session["failure_reason"] = reason
    save(conn, sessions, session, checkout_status=status, updated_at=rfc3339(now(conn)))
    tell(conn, f"checkout.session.{status}", session["id"])


def _archive_drafts(conn: Connection, session: Body) -> None:
    save(conn, subscriptions, need(conn, subscriptions, session["subscription_id"]), status="archived")
    save(conn, payments, need(conn, payments, session["checkout_payment_id"]), status="archived")
    save(conn, invoices, need(conn, invoices, session["checkout_invoice_id"]), status="deleted")


def sweep(conn: Connection) -> int:
    """What nobody paid in time expires when the schedule looks, DELETEd sessions too."""
    late = select(sessions.c.body).where(
        sessions.c.checkout_status.in_(("initiated", "pending")), sessions.c.lapses < now(conn).timestamp()
    )
    found = list(conn.execute(late).scalars())
    for session in found:
        _end(conn, session, "expired")
    return len(found)


def end_subscription(conn: Connection, subscription: Body, *, at_period_end: bool) -> None:
    at = rfc3339(now(conn))
    if at_period_end:
        cancel_at = subscription["current_period_end"]
        save(conn, subscriptions, subscription, cancel_at=cancel_at, cancel_at_period_end=True, updated_at=at)
    else:
        ended = {"subscription_status": "cancelled", "cancelled_at": at, "cancel_at": at, "updated_at": at}
        save(conn, subscriptions, subscription, **ended)
    tell(conn, "subscription.updated", subscription["id"])
    if not at_period_end:
        tell(conn, "subscription.cancelled", subscription["id"])
