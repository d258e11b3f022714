"""What happens to a payment link, and what Flexprice does with the events that Razorpay sends about it.

Flexprice's handlers as in its source, internal/integration/razorpay/webhook/handler.go.
"""

from collections.abc import Sequence
from datetime import timedelta

from ..store.billing_rows import Payment
from ..store.control_rows import Task
from ..store.database import Session
from ..store.rows import CheckoutSession, ProviderLink
from ..store.values import random_text
from . import payments, provider, session_lifecycle, switches
from .events import publish
from .scheduler import handles, schedule
from .session_lifecycle import AT_ONCE, CARD_ID, HALF_DONE, IN_PARALLEL, TERMINAL

DECLINED = "Your payment was declined by the bank"
CAPTURED, LINK_PAID = "payment.captured", "payment_link.paid"
FAILED, LINK_CANCELLED, LINK_EXPIRED = "payment.failed", "payment_link.cancelled", "payment_link.expired"

UNHANDLED = (  # Flexprice answers these with 200 and does nothing
    *("payment.authorized", "token.confirmed", "order.paid", "payment_link.partially_paid"),
    *("refund.created", "refund.processed", "refund.failed"),
)
EVENTS = (CAPTURED, LINK_PAID, FAILED, LINK_CANCELLED, LINK_EXPIRED, *UNHANDLED)


def pay(
    session: Session,
    link: ProviderLink,
    *,
    events: Sequence[str] | None = None,
    amount: int | None = None,
    currency: str = "",
    manner: str = AT_ONCE,
    delay_s: float | None = None,
) -> str:
    """Money is taken on a link, whatever its state; Flexprice hears of it by events.

    :param events: those that arrive, in this order; those that are enabled if left out.
    :param amount: minor units; the link's own if left out.
    :param delay_s: Flexprice hears of it that many seconds later.
    :returns: Razorpay's payment id.
    """
    payment_id = provider.capture(session, link, amount, currency)
    chosen = list(enabled(session, (CAPTURED, LINK_PAID)) if events is None else events)
    if manner == HALF_DONE:
        chosen.sort(reverse=True)  # payment.captured comes last: it would heal the session
    if delay_s is None:
        hear_of_money(session, link, payment_id, chosen, manner)
    else:
        due = session.now() + timedelta(seconds=delay_s)
        data = {"link": link.id, "events": chosen}
        schedule(session, "provider.money_event", payment_id, due, data)
    return payment_id


def pay_unheard(session: Session, link: ProviderLink) -> str:
    """Money is taken, and neither an event nor a read tells Flexprice of it."""
    payment_id = pay(session, link, events=[])
    link.captures = [*link.captures[:-1], link.captures[-1] | {"unheard": True}]
    return payment_id


def enabled(session: Session, events: Sequence[str]) -> list[str]:
    """Those of the events that are enabled at Razorpay."""
    on = switches.read(session, "razorpay_events")
    return [event for event in events if event in on]


def hear_of_money(
    session: Session, link: ProviderLink, payment_id: str, events: Sequence[str], manner: str = AT_ONCE
) -> None:
    """Flexprice's handlers of the events; the second that tells of money finds nothing left to do."""
    if manner == IN_PARALLEL and len(events) < 2:
        manner = AT_ONCE
    for event in events:
        if event == CAPTURED:
            _captured(session, link, payment_id, manner)
        elif event == LINK_PAID:
            _link_paid(session, link, payment_id, manner)
        elif event == FAILED:
            _failed(session, link, DECLINED)
        elif event in (LINK_CANCELLED, LINK_EXPIRED):
            _closed(session, link, event)


def decline(session: Session, link: ProviderLink, reason: str = DECLINED) -> None:
    link.declined = reason
    if enabled(session, [FAILED]):
        _failed(session, link, reason)


def _failed(session: Session, link: ProviderLink, reason: str) -> None:
    """`payment.failed`: one more attempt; the payment's failure once its session has ended.

    Flexprice reads the payment first, which asks Razorpay; one that has succeeded is left as it is.
    """
    payment, checkout = _payment(session, link), checkout_of(session, link)
    if checkout is None:
        payments.ask(session, payment)
    if payment.payment_status == "SUCCEEDED":
        return
    if checkout and _is_found(checkout) and checkout.checkout_status in TERMINAL:
        _decline_after_the_end(session, payment, reason)
    else:
        session_lifecycle.add_attempt(session, payment, reason)


def _decline_after_the_end(session: Session, payment: Payment, reason: str) -> None:
    """The payment fails, without an attempt."""
    if payment.payment_status not in ("INITIATED", "PENDING"):
        return
    payment.payment_status, payment.error_message = "FAILED", reason
    payment.failed_at = payment.updated_at = session.now()
    payment.gateway_payment_id, payment.payment_method_id = f"pay_{random_text(14)}", CARD_ID
    publish(session, "payment.updated", payment.id)


def close_link(session: Session, link: ProviderLink, event: str) -> None:
    """The merchant cancels the link, or it expires at Razorpay: an open session fails by either.

    :param event: LINK_CANCELLED or LINK_EXPIRED.
    """
    link.state, link.updated_at = event.rpartition(".")[2], session.now()
    if enabled(session, [event]):
        _closed(session, link, event)


def _closed(session: Session, link: ProviderLink, event: str) -> None:
    """The event that a link is closed fails the session that it finds pending."""
    checkout = checkout_of(session, link)
    if checkout and _is_found(checkout) and checkout.checkout_status == "pending":
        session_lifecycle.end(session, checkout, "failed", f"payment link {event} by provider")


def ask(session: Session, checkout: CheckoutSession) -> None:
    """Flexprice reads the link itself instead of waiting for an event; only success is applied."""
    link = session.get(ProviderLink, checkout.link_id)
    if link and link.captures and not link.captures[-1].get("unheard"):
        _link_paid(session, link, link.captures[-1]["id"], AT_ONCE)


def hear_again(session: Session, link: ProviderLink) -> None:
    """`payment_link.paid` once more: heals a half-done completion, or refunds it after the session's end."""
    if link.captures and enabled(session, [LINK_PAID]):
        _link_paid(session, link, link.captures[-1]["id"], AT_ONCE)


def checkout_of(session: Session, link: ProviderLink) -> CheckoutSession | None:
    return session.first(CheckoutSession, CheckoutSession.payment_id == link.payment_id)


def _payment(session: Session, link: ProviderLink) -> Payment:
    return session.need(Payment, link.payment_id)


def _is_found(checkout: CheckoutSession) -> bool:
    """The handlers look for a published session that names the payment."""
    return checkout.status == "published" and checkout.names_payment


def _settle(session: Session, checkout: CheckoutSession, payment_id: str, manner: str) -> None:
    if checkout.checkout_status == "pending":
        session_lifecycle.complete(session, checkout, payment_id, manner)
    elif checkout.checkout_status in ("expired", "failed"):
        session_lifecycle.refund_late_money(session, checkout, payment_id)


def _link_paid(session: Session, link: ProviderLink, payment_id: str, manner: str) -> None:
    checkout = checkout_of(session, link)
    if checkout and _is_found(checkout):
        _settle(session, checkout, payment_id, manner)


def _captured(session: Session, link: ProviderLink, payment_id: str, manner: str) -> None:
    payment, checkout = _payment(session, link), checkout_of(session, link)
    if checkout is None:
        payments.link_captured(session, payment, link, payment_id)
    elif payment.payment_status == "SUCCEEDED":
        return
    elif _is_found(checkout):
        _settle(session, checkout, payment_id, manner)
    else:
        session_lifecycle.book_without_session(session, payment, payment_id)


@handles("provider.money_event")
def _hear_late(session: Session, task: Task) -> None:
    data = task.data or {}
    link = session.need(ProviderLink, data["link"])
    hear_of_money(session, link, task.target, data["events"])


@handles("provider.link_expiry")
def _link_expires(session: Session, task: Task) -> None:
    """Razorpay closes a link at its `expire_by`."""
    link = session.need(ProviderLink, task.target)
    if link.state != "created":
        return
    link.state = "expired"
    if switches.is_on(session, "link_expiry_event"):
        close_link(session, link, LINK_EXPIRED)
