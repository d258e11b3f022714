"""Why a check is not done, and what to do: the vendor's troubleshooting tables, as a table.

The first row that applies is shown; the last of each check always applies. Where the vendor's guide and its
server differ, the rows say what the server does (docs.flexprice.io, checkout guide, August 2026; server of
that month: internal/ee/service/checkout*, internal/integration/razorpay).
"""

from collections.abc import Callable
from datetime import timedelta

from storefront.checkout.states import State
from storefront.flexprice import AuthenticationError, NotFound
from storefront.operations.qa.checks import ATTENTION, NOT_APPLICABLE, PENDING, Hint
from storefront.operations.qa.evidence import Case

WEBHOOK_TAKES = timedelta(seconds=30)  # after "completed"; Flexprice may take longer under load

NO_ACTION = "None."
NEW_ORDER = "None: trying again is a new order."
WAIT = "Wait a moment."
_SALE_IS_SAFE = "The shop also asks Flexprice itself, so the sale is not lost."
_EVENTS = (
    "in Razorpay, under Settings and Webhooks, the endpoint must be the one Flexprice names, with "
    "payment_link.paid and "
    "payment.captured enabled. Without both, money stays at Razorpay and the session expires."
)
START_WORKER = "Start it: flask --app wsgi checkout worker"


def state(*states: State) -> Callable[[Case], bool]:
    return lambda case: case.order.state in states


def failed_because(words: str) -> Callable[[Case], bool]:
    """By the session's failure reason, which is internal text: read here, never shown."""
    return lambda case: bool(case.session and words in case.session.failure_reason)


def no_answer(part: str) -> Callable[[Case], bool]:
    return lambda case: (failure := case.failure(part)) is not None and not isinstance(failure, NotFound)


def gone(part: str) -> Callable[[Case], bool]:
    return lambda case: isinstance(case.failure(part), NotFound)


def always(case: Case) -> bool:
    return True


def overwritten(case: Case) -> bool:
    session = case.session
    return bool(session and session.completed_at and session.status != "completed")


def past_pay_by(case: Case) -> bool:
    return bool(case.order.expires_at and case.now > case.order.expires_at)


def just_completed(case: Case) -> bool:
    at = case.completed_at
    return case.completed and bool(at and case.now - at < WEBHOOK_TAKES)


def claims_money(case: Case) -> bool:
    """It ended unpaid, and its customer came back from Razorpay as if they had paid."""
    return case.ended_unpaid and case.order.refunded_at is None and case.order.returned_paid_at is not None


def email_missing(case: Case) -> bool:
    return case.emails is not None and "welcome" not in case.emails


MONEY_UNKNOWN = Hint(
    claims_money,
    ATTENTION,
    "The customer came back as if they had paid, and the session ended unpaid: money may have been taken.",
    "Look for the payment in Razorpay and refund it if it is there. To prevent it: " + _EVENTS,
)
KEY_REFUSED = Hint(
    lambda case: isinstance(case.failure("session"), AuthenticationError),
    ATTENTION,
    "Flexprice refuses the shop's API key (401 or 403): it is wrong, of another environment, or read-only.",
    "Create a key with write access for this environment in Flexprice and set FLEXPRICE_API_KEY. It is "
    "sent in the "
    "x-api-key header; a Bearer token is always refused.",
)
UNREACHABLE = Hint(
    no_answer("session"),
    PENDING,
    "Flexprice could not be asked just now. This page shows what the shop knows itself.",
    "Wait a moment. If it persists, check FLEXPRICE_API_URL and the status of Flexprice.",
)
UNPAID_OPEN = Hint(
    lambda case: case.open and not case.completed,
    PENDING,
    "The session is not completed, so this is not due yet.",
    "Pay the order; see the first check.",
)
COMPLETION_LOST = Hint(
    overwritten,
    ATTENTION,
    "The session was completed and then overwritten: Flexprice archived its objects although money was "
    "taken.",
    "Do not fulfill it by hand. Give Flexprice's support the session and payment ids: repair it there, "
    "or refund it.",
)
HALF_DONE = "Flexprice took the payment, but the completion stopped half-way; it does not retry by itself."
ASK_SUPPORT = (
    "Resend payment_link.paid from Razorpay, or ask Flexprice's support with the session and payment ids."
)
HALF_COMPLETED = Hint(
    state(State.STUCK),
    ATTENTION,
    "Money was taken, but the session did not complete. " + HALF_DONE,
    ASK_SUPPORT,
)

NOTHING_TO_PAY = Hint(
    lambda case: not case.order.amount and case.order.session_id is None,
    NOT_APPLICABLE,
    "There was nothing to pay: the plan was started without a checkout session.",
    NO_ACTION,
)

SESSION = (
    NOTHING_TO_PAY,
    KEY_REFUSED,
    Hint(
        gone("session"),
        ATTENTION,
        "Flexprice does not know this session (404): the key is of another environment, or the sandbox "
        "was reset.",
        "Compare FLEXPRICE_API_KEY and FLEXPRICE_API_URL with where the order was placed.",
    ),
    COMPLETION_LOST,
    HALF_COMPLETED,
    Hint(
        lambda case: not case.order.session_id and case.order.paid_at is not None,
        NOT_APPLICABLE,
        "The answer to the create call was lost, and with it the session's id. The subscription with the "
        "order's "
        "reference shows that it is paid.",
        NO_ACTION,
    ),
    Hint(
        lambda case: case.order.state == State.PLACED and not case.order.session_requested_at,
        ATTENTION,
        "No session was opened: Flexprice was not reached, was busy, or refused the key; or it could not use "
        "Razorpay. The worker retries with the same idempotency key.",
        "Search the shop's log for the order: it has the answer and the request id. Check the key, the "
        "address and, "
        "in Flexprice, the Razorpay connection.",
    ),
    Hint(
        state(State.PLACED),
        PENDING,
        "The session was requested and no answer has come yet. It may exist: a second call with the same "
        "key would "
        "be a 409 that does not name it.",
        "Wait. The shop finds it by checkout.session.initiated or by the subscription.",
    ),
    Hint(
        lambda case: case.order.state == State.ABANDONED and not case.order.session_id,
        NOT_APPLICABLE,
        "The answer to the create call was lost and Flexprice knows of no payment; the order was given up.",
        "None. A payment that still came would be noticed.",
    ),
    Hint(
        state(State.ABANDONED),
        NOT_APPLICABLE,
        "Flexprice no longer knows the session, or an operator closed the order.",
        "None. A payment that still came would be noticed.",
    ),
    Hint(
        lambda case: case.order.state == State.FAILED and not case.order.session_id,
        ATTENTION,
        "Flexprice refused to open the session. 404: unknown plan or customer. 400: the plan charges "
        "nothing in this "
        "period (free, usage only or one-time only), has no price in this currency or period, or is "
        "archived. "
        "409: a session with this key is open.",
        "The log has the answer. Fix the plan in Flexprice; the catalog is read again within a minute.",
    ),
    MONEY_UNKNOWN,
    Hint(
        failed_because("non-zero invoice"),
        ATTENTION,
        "The plan produced no charge, and Flexprice opens no checkout for a zero invoice (400).",
        "Give the plan a recurring fixed price in this currency and period.",
    ),
    Hint(
        failed_because("payment_link.expired"),
        NOT_APPLICABLE,
        "The payment link expired at Razorpay. The session is then failed, not expired.",
        NEW_ORDER,
    ),
    Hint(
        lambda case: case.order.state == State.CANCELLED or failed_because("cancel")(case),
        NOT_APPLICABLE,
        "The payment was cancelled, in the shop or at Razorpay by the merchant.",
        NEW_ORDER,
    ),
    Hint(
        state(State.MISMATCHED, State.HELD),
        ATTENTION,
        "The session charges something other than was ordered; its link was withdrawn.",
        "The review note names the difference. Compare the plan's prices in Flexprice with the order.",
    ),
    Hint(
        lambda case: case.session_status == "failed" or case.order.state == State.FAILED,
        ATTENTION,
        "Flexprice ended the session as failed: usually the payment provider refused, or is not connected.",
        "In Flexprice, check the session and the Razorpay connection. A declined card does not cause this.",
    ),
    Hint(
        state(State.PAID_LATE),
        NOT_APPLICABLE,
        "The money came after the session had ended, and a refund was reported.",
        "Check the refund in Razorpay.",
    ),
    Hint(
        lambda case: case.session_status == "expired" or case.order.state == State.EXPIRED,
        NOT_APPLICABLE,
        "It was not paid in time: Flexprice expires overdue sessions every 30 minutes.",
        "None if nobody paid. If somebody did: " + _EVENTS,
    ),
    UNREACHABLE,
    Hint(
        lambda case: case.session_status == "pending" and past_pay_by(case),
        PENDING,
        "The deadline has passed, but Flexprice's half-hourly sweep has not run yet. Until then a "
        "payment still "
        "completes the session.",
        "Wait up to half an hour. If it was paid: " + _EVENTS,
    ),
    Hint(
        lambda case: case.session_status == "pending",
        PENDING,
        "Not paid yet. A declined card or UPI payment changes nothing and sends no event: the link stays "
        "open for "
        "another attempt.",
        "Pay. If it was paid: " + _EVENTS,
    ),
    Hint(always, PENDING, "Flexprice has not said yet what the status of the session is.", WAIT),
)

SUBSCRIPTION = (
    COMPLETION_LOST,
    KEY_REFUSED,
    UNPAID_OPEN,
    Hint(
        lambda case: case.ended_unpaid and case.subscription is None,
        NOT_APPLICABLE,
        "The draft was archived with its checkout, as expected.",
        NO_ACTION,
    ),
    Hint(
        lambda case: bool(case.subscription and case.subscription.status == "cancelled"),
        NOT_APPLICABLE,
        "The subscription has ended since; the access it gave ends with it.",
        "None, if it was cancelled on purpose.",
    ),
    Hint(
        lambda case: case.ended_unpaid,
        NOT_APPLICABLE,
        "The checkout ended unpaid, so there is nothing to activate.",
        "None. A draft that is left over in Flexprice does no harm.",
    ),
    Hint(
        lambda case: bool(case.completed and case.subscription and case.subscription.status == "draft"),
        ATTENTION,
        "It is still a draft although the session is completed. " + HALF_DONE,
        ASK_SUPPORT,
    ),
    Hint(
        lambda case: case.completed and gone("subscription")(case),
        ATTENTION,
        "Flexprice does not show it (404): archived although the session is completed.",
        ASK_SUPPORT,
    ),
    Hint(
        lambda case: case.subscription is not None,
        ATTENTION,
        "The subscription is neither active nor cancelled.",
        "Check it in Flexprice.",
    ),
    UNREACHABLE,
    HALF_COMPLETED,
    Hint(
        always,
        PENDING,
        "Flexprice was not asked yet. The invoice names the subscription.",
        "Open the checks of this order: that page asks Flexprice.",
    ),
)

INVOICE = (
    NOTHING_TO_PAY,
    COMPLETION_LOST,
    KEY_REFUSED,
    UNPAID_OPEN,
    Hint(
        lambda case: case.ended_unpaid,
        NOT_APPLICABLE,
        "The draft was deleted with its checkout, as expected.",
        NO_ACTION,
    ),
    Hint(
        lambda case: bool(case.invoice and case.invoice.status == "FINALIZED"),
        ATTENTION,
        "It is finalized, but not marked as paid. " + HALF_DONE,
        ASK_SUPPORT,
    ),
    Hint(
        lambda case: bool(just_completed(case) and case.invoice),
        PENDING,
        "Flexprice was read before it had written the invoice: a replica of its database lags behind.",
        WAIT,
    ),
    Hint(
        lambda case: bool(case.invoice),
        ATTENTION,
        "It is not finalized although the session is completed. " + HALF_DONE,
        ASK_SUPPORT,
    ),
    Hint(
        gone("invoice"),
        ATTENTION,
        "Flexprice does not show it (404): deleted or archived although the session is completed.",
        ASK_SUPPORT,
    ),
    UNREACHABLE,
    HALF_COMPLETED,
    Hint(
        always,
        PENDING,
        "Flexprice was not asked yet; the worker stores the number once the invoice has one.",
        "Open the checks of this order: that page asks Flexprice.",
    ),
)

WEBHOOK = (
    NOTHING_TO_PAY,
    Hint(
        lambda case: not case.completed and case.ended_unpaid,
        NOT_APPLICABLE,
        "The session did not complete, so this event is not due.",
        NO_ACTION,
    ),
    UNPAID_OPEN,
    Hint(just_completed, PENDING, "The session was completed a moment ago.", WAIT),
    Hint(
        lambda case: not case.completed,
        ATTENTION,
        "The session does not appear to be completed, so Flexprice does not send this event.",
        "See the first check.",
    ),
    Hint(
        lambda case: case.received("checkout.session.initiated") is not None,
        ATTENTION,
        "Earlier events of this session came, so address and secret are right: this one is late or lost. "
        "A failed "
        "delivery is retried after 5 s, 5 min, 30 min, 2 h, 5 h and twice 10 h.",
        "Check the endpoint's attempts in Flexprice and resend it from there. " + _SALE_IS_SAFE,
    ),
    Hint(
        lambda case: any(event.event_type.startswith("subscription.") for event in case.events),
        ATTENTION,
        "Events about the subscription came, none about the session: the endpoint is not subscribed to "
        "checkout.session.*, and events without a subscriber are never sent again.",
        "Add checkout.session.* to the endpoint's events in Flexprice. " + _SALE_IS_SAFE,
    ),
    Hint(
        always,
        ATTENTION,
        "No event about this order ever came: there is no endpoint, it is disabled (five days of "
        "failures do that), "
        "its address is not public, it took longer than 15 s, or its secret is not the shop's, so that "
        "each event "
        "was rejected with a 401.",
        "In Flexprice, the endpoint must be this shop's /webhooks/flexprice, enabled, with "
        "checkout.session.*; put "
        "its signing secret into FLEXPRICE_WEBHOOK_SECRET. The log and the operator's page “Rejected "
        "webhooks” name "
        "the cause of each rejection. " + _SALE_IS_SAFE,
    ),
)

FULFILLMENT = (
    Hint(
        lambda case: case.ended_unpaid and case.access is not None and case.access.order_id == case.order.id,
        ATTENTION,
        "Access was granted by an order that was not paid. This must never happen.",
        "Change nothing and report it with this page.",
    ),
    Hint(
        lambda case: case.open and case.completed and not case.worker_alive,
        ATTENTION,
        "Worker heartbeat missing: events are stored, but not processed.",
        START_WORKER,
    ),
    Hint(
        lambda case: case.open and case.completed,
        PENDING,
        "The session is completed; the worker acts on its webhook, or on its next check.",
        "Wait. Opening the order's own page makes the worker check sooner.",
    ),
    UNPAID_OPEN,
    MONEY_UNKNOWN,
    Hint(
        state(State.PAID_LATE),
        NOT_APPLICABLE,
        "The money came after the order had ended, so nothing was fulfilled, as expected.",
        NO_ACTION,
    ),
    Hint(
        lambda case: case.ended_unpaid,
        NOT_APPLICABLE,
        "The order ended unpaid, so nothing was fulfilled, as expected.",
        NO_ACTION,
    ),
    Hint(
        state(State.PAID_TWICE),
        ATTENTION,
        "The plan was already granted: this is a second payment, and nothing more is fulfilled for it.",
        "Refund it in Razorpay, then mark the order as refunded.",
    ),
    Hint(
        state(State.HELD),
        ATTENTION,
        "What was charged is not what was ordered, so nothing is fulfilled automatically. The review "
        "note names the "
        "difference.",
        "On the operator's page of the order: fulfill it anyway, or refund it in Razorpay and mark it as "
        "refunded.",
    ),
    Hint(
        state(State.REFUNDED),
        NOT_APPLICABLE,
        "The money went back, so nothing was fulfilled.",
        NO_ACTION,
    ),
    Hint(
        state(State.STUCK),
        ATTENTION,
        "Money was taken, but the session did not complete, so nothing is fulfilled.",
        ASK_SUPPORT,
    ),
    Hint(
        lambda case: case.order.state == State.PAID and not case.worker_alive,
        ATTENTION,
        "Worker heartbeat missing: paid orders are not fulfilled.",
        START_WORKER,
    ),
    Hint(state(State.PAID), PENDING, "Paid; the worker fulfills it in a moment.", WAIT),
    Hint(
        lambda case: any(email.error for email in (case.emails or {}).values()),
        ATTENTION,
        "Access is granted, but the mail server does not accept the email.",
        "Check MAIL_URL and MAIL_FROM; the email is retried automatically.",
    ),
    Hint(
        lambda case: case.access is None or email_missing(case),
        ATTENTION,
        "The order is fulfilled, but its access or its email is missing: rows were removed by hand.",
        "Restore them from a backup.",
    ),
    Hint(
        always,
        PENDING,
        "The email is queued and not sent yet.",
        "Wait a moment. If it stays queued, start the email worker: flask --app wsgi emails worker",
    ),
)

HINTS: dict[str, tuple[Hint, ...]] = {
    "session": SESSION,
    "subscription": SUBSCRIPTION,
    "invoice": INVOICE,
    "webhook": WEBHOOK,
    "fulfillment": FULFILLMENT,
}
