"""How a checkout session ends, and what that does to its payment, invoice and subscription."""

from sqlalchemy import Connection, select

from storefront.sandbox._previous import billing, switches, wallets
from storefront.sandbox._previous.clock import now
from storefront.sandbox._previous.errors import Refusal
from storefront.sandbox._previous.events import tell
from storefront.sandbox._previous.schema import invoices, payments, refunds, sessions, subscriptions
from storefront.sandbox._previous.store import Body, add, need, new_id, random_letters, rfc3339, save
from storefront.sandbox._previous.views import TERMINAL

# How a completion goes.
AT_ONCE, IN_PARALLEL, HALF_DONE = "at_once", "in_parallel", "half_done"


def complete(conn: Connection, session: Body, manner: str = AT_ONCE) -> None:
    """In two halves, either of which may have been done before (contract C.1, C.7)."""
    at = now(conn)
    payment = need(conn, payments, session["payment_id"])
    invoice = need(conn, invoices, session["invoice_id"])
    subscription = need(conn, subscriptions, session["subscription_id"])
    # Handled by two of its processes at once, all but the session's own news doubles.
    times = 2 if manner == IN_PARALLEL else 1

    def news(event_type: str, entity: Body) -> None:
        for _ in range(times):
            tell(conn, event_type, entity["id"])

    if payment["payment_status"] != "SUCCEEDED":
        save(conn, invoices, invoice, **billing.finalized(conn, at))
        _succeed(conn, session, payment)
        news("invoice.update.finalized", invoice)
        news("payment.updated", payment)
    if manner == HALF_DONE:
        return
    save(conn, invoices, invoice, **billing.paid(invoice, at))
    save(conn, subscriptions, subscription, subscription_status="active", version=2, updated_at=rfc3339(at))
    session.pop("payment_action", None)
    done = {"checkout_status": "completed", "completed_at": rfc3339(at), "updated_at": rfc3339(at)}
    save(conn, sessions, session, **done)
    news("invoice.update.payment", invoice)
    wallets.grant(conn, subscription, times)
    news("subscription.activated", subscription)
    tell(conn, "checkout.session.completed", session["id"])


def book(conn: Connection, session: Body) -> None:
    """Money without a session: it is written down, and nothing is activated or refunded."""
    payment = need(conn, payments, session["payment_id"])
    invoice = need(conn, invoices, session["invoice_id"])
    _succeed(conn, session, payment)
    tell(conn, "payment.updated", payment["id"])
    if invoice["status"] == "published":
        save(conn, invoices, invoice, **billing.paid(invoice, now(conn)))
        tell(conn, "invoice.update.payment", invoice["id"])


def _succeed(conn: Connection, session: Body, payment: Body) -> None:
    at = rfc3339(now(conn))
    payment |= {"gateway_payment_id": session["razorpay_payment_id"], "gateway_tracking_id": session["plink"]}
    attempted(conn, payment, None)
    save(conn, payments, payment, payment_status="SUCCEEDED", succeeded_at=at, updated_at=at)


def refund(conn: Connection, session: Body) -> None:
    """Money that came after the end goes back, once; the session stays as it ended."""
    payment = need(conn, payments, session["payment_id"])
    if payment["payment_status"] == "REFUNDED":
        return
    at = rfc3339(now(conn))
    gateway_id = f"rfnd_{random_letters(14)}"
    # The older generation leaves the record as it was, by a mistake of its own: here it says what was meant.
    gone_back = {"payment_status": "REFUNDED", "refunded_at": at, "updated_at": at}
    payment |= {"gateway_payment_id": session["razorpay_payment_id"], "gateway_tracking_id": session["plink"]}
    metadata = payment["metadata"] | {"razorpay_refund_id": gateway_id}
    save(conn, payments, payment, **gone_back, metadata=metadata)
    row = {
        "id": new_id("refund"),
        "payment_id": payment["id"],
        "invoice_id": session["invoice_id"],
        "amount": payment["amount"],
        "settled_amount": payment["amount"],
        "currency": payment["currency"],
        "refund_status": "SUCCEEDED",
        "refund_reason": "OTHER",
        "refund_destination": "GATEWAY",
        "payment_gateway": "razorpay",
        "gateway_refund_id": gateway_id,
        "attempt": 1,
        "initiated_at": at,
        "succeeded_at": at,
        **billing.stamps(now(conn)),
    }
    add(conn, refunds, row)
    if switches.read(conn, "generation") == "newest":  # the older one knows no refunds
        tell(conn, "refund.created", row["id"])
        tell(conn, "refund.succeeded", row["id"])


def fail_payment(conn: Connection, payment: Body, reason: str) -> None:
    at = rfc3339(now(conn))
    save(conn, payments, payment, payment_status="FAILED", failed_at=at, error_message=reason, updated_at=at)


def attempted(conn: Connection, payment: Body, reason: str | None) -> None:
    attempt = {
        "id": new_id("attempt"),
        "payment_id": payment["id"],
        "attempt_number": len(payment["attempts"]) + 1,
        **({"error_message": reason} if reason else {}),
        "metadata": {},
        **billing.stamps(now(conn)),
    }
    save(conn, payments, payment, attempts=[*payment["attempts"], attempt])


def cancel(conn: Connection, session: Body) -> None:
    # [infer] No document says how a cancelled session ends. Ours is `failed`, with `cancelled_at` and a link
    # that takes no more money; one that has ended already is refused.
    if session["checkout_status"] in TERMINAL:
        status = session["checkout_status"]
        raise Refusal("invalid_operation", f"checkout session is already {status}", checkout_status=status)
    session |= {"cancelled_at": rfc3339(now(conn)), "link_state": "cancelled"}
    end(conn, session, "failed", "cancelled")


def end(conn: Connection, session: Body, status: str, reason: str | None = None) -> None:
    if session["checkout_status"] == "pending":
        archive_drafts(conn, session)
    if reason:
        session["failure_reason"] = reason
    save(conn, sessions, session, checkout_status=status, updated_at=rfc3339(now(conn)))
    tell(conn, f"checkout.session.{status}", session["id"])


def archive_drafts(conn: Connection, session: Body) -> None:
    _put(conn, session, "archived", "deleted")


def _put(conn: Connection, session: Body, status: str, of_invoice: str) -> None:
    save(conn, subscriptions, need(conn, subscriptions, session["subscription_id"]), status=status)
    save(conn, payments, need(conn, payments, session["payment_id"]), status=status)
    save(conn, invoices, need(conn, invoices, session["invoice_id"]), status=of_invoice)


def overwrite(conn: Connection, session: Body, status: str) -> None:
    """A clean-up that read the session before it was paid writes it back: paid and ended at once.

    internal/repository/ent/checkout_session.go, Update: there is no status in its WHERE.
    """
    archive_drafts(conn, session)
    session["payment_action"] = {"type": "payment_link", "url": session["url"]}
    if status == "failed":
        session["failure_reason"] = "payment link payment_link.cancelled by provider"
    save(conn, sessions, session, checkout_status=status, updated_at=rfc3339(now(conn)))
    tell(conn, f"checkout.session.{status}", session["id"])


def repair(conn: Connection, session: Body) -> None:
    """Its people let a sale count that had ended; its code would send the money back (contract D.4)."""
    _put(conn, session, "published", "published")
    complete(conn, session)


def sweep(conn: Connection) -> int:
    """What nobody paid in time expires when the schedule looks, DELETEd sessions too."""
    late = select(sessions.c.body).where(
        sessions.c.checkout_status.in_(("initiated", "pending")), sessions.c.lapses < now(conn).timestamp()
    )
    found = list(conn.execute(late).scalars())
    for session in found:
        end(conn, session, "expired")
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
