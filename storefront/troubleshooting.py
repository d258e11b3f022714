"""Why a check of the checklist is not done, and what mends it: the vendor's troubleshooting tables, as a table.

The first row that applies is the one shown; the last of each check always applies. Where the vendor's guide and its
server differ, the rows say what the server does (docs.flexprice.io, checkout guide, August 2026; server of the same
month: internal/ee/service/checkout*, internal/integration/razorpay).
"""

from collections.abc import Callable
from datetime import timedelta

from storefront.checklist import LOOK, STOP, WAIT, Case, Hint
from storefront.flexprice import NotAllowed, NotFound
from storefront.lifecycle import State

A_MOMENT = timedelta(seconds=30)  # between "completed" and its webhook; Flexprice may take longer under load

_OWN_SALES = "The shop asks by itself now and then, so the sale is not lost."
_EVENTS = (
    "in Razorpay, under Settings and Webhooks, the endpoint must be the one Flexprice names, with payment_link.paid and "
    "payment.captured switched on. Without both, money stays at Razorpay and the session runs out."
)


def state(*states: State) -> Callable[[Case], bool]:
    return lambda case: case.order.state in states


def failed_because(words: str) -> Callable[[Case], bool]:
    """By the session's own reason, which is internal text: read here, never shown."""
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


def completed_a_moment_ago(case: Case) -> bool:
    at = case.session.completed_at if case.session else case.order.paid_at
    return case.completed and bool(at and case.now - at < A_MOMENT)


KEY_REFUSED = Hint(
    lambda case: isinstance(case.failure("session"), NotAllowed),
    LOOK,
    "Flexprice refuses the shop's API key (401 or 403): it is wrong, of another environment, or may only read.",
    "Take a key with write access for this environment from Flexprice and set FLEXPRICE_API_KEY. It goes into the "
    "x-api-key header; sent as a Bearer token it is always refused.",
)
UNREACHABLE = Hint(
    no_answer("session"),
    WAIT,
    "Flexprice could not be asked just now. What stands here is what the shop knows by itself.",
    "Wait a moment. If it lasts, check FLEXPRICE_API_URL and the status of Flexprice.",
)
UNPAID_OPEN = Hint(
    lambda case: case.open and not case.completed,
    WAIT,
    "The session is not completed, so this is not due yet.",
    "Pay the order; see the first check.",
)
COMPLETION_LOST = Hint(
    overwritten,
    LOOK,
    "The session was completed and then overwritten: Flexprice archived what belongs to it although money was taken.",
    "Do not deliver by hand. Give Flexprice's support the session and payment ids: repair it there, or refund it.",
)
HALF_DONE = (
    "Flexprice took the payment, but the completion stopped half-way; it does not try again by itself."
)
ASK_SUPPORT = (
    "Resend payment_link.paid from Razorpay, or ask Flexprice's support with the session and payment ids."
)
HALF_COMPLETED = Hint(
    state(State.STUCK),
    LOOK,
    "Money was taken, but the session did not complete. " + HALF_DONE,
    ASK_SUPPORT,
)

HINTS: dict[str, tuple[Hint, ...]] = {
    "session": (
        KEY_REFUSED,
        Hint(
            gone("session"),
            LOOK,
            "Flexprice does not know this session (404): the key is of another environment, or the sandbox was reset.",
            "Compare FLEXPRICE_API_KEY and FLEXPRICE_API_URL with where the order was placed.",
        ),
        COMPLETION_LOST,
        HALF_COMPLETED,
        Hint(
            lambda case: not case.order.session_id and case.order.paid_at is not None,
            STOP,
            "The answer to the create call was lost, and with it the session's id. That the order is paid was seen "
            "from the subscription that carries its reference.",
            "Nothing to mend.",
        ),
        Hint(
            lambda case: case.order.state == State.PLACED and not case.order.opening_at,
            LOOK,
            "No session was opened: Flexprice was not reached, was busy, or refused the key; or its own connection "
            "to Razorpay failed (a 500 at once).",
            "Look for the order in the shop's log: it has the answer and the request id. Check the key, the address "
            "and, in Flexprice, the Razorpay connection. Then press “Try again” on the order's page.",
        ),
        Hint(
            state(State.PLACED),
            WAIT,
            "The session was asked for and no answer has come yet. It may exist: a second call with the same key "
            "would be a 409 that does not tell its id.",
            "Wait. The shop learns of it from checkout.session.initiated or from the subscription.",
        ),
        Hint(
            state(State.ABANDONED),
            STOP,
            "The answer to the create call was lost and Flexprice knows of no payment; the shopper started again.",
            "Nothing to mend. A payment that still came would be seen.",
        ),
        Hint(
            lambda case: case.order.state == State.FAILED and not case.order.session_id,
            LOOK,
            "Flexprice refused to open the session. 404: plan or customer unknown. 400: the plan charges nothing in "
            "this period (free, usage only or one-time only), has no price in this currency or period, or is "
            "archived. 409: a session with this key is open.",
            "The code is below under fulfillment, the text in the shop's log. Mend the plan in Flexprice; the "
            "catalog is read again within a minute.",
        ),
        Hint(
            failed_because("non-zero invoice"),
            LOOK,
            "The plan produced no charge, and Flexprice opens no checkout for a zero invoice (400).",
            "Give the plan a recurring fixed price in this currency and period.",
        ),
        Hint(
            failed_because("payment_link.expired"),
            STOP,
            "The payment link ran out at Razorpay. The session is then failed, not expired.",
            "Nothing to mend: trying again is a new order.",
        ),
        Hint(
            lambda case: case.order.state == State.CANCELLED or failed_because("cancel")(case),
            STOP,
            "The payment was cancelled, in the shop or at Razorpay by the merchant.",
            "Nothing to mend: trying again is a new order.",
        ),
        Hint(
            lambda case: case.session_status == "failed" or case.order.state == State.FAILED,
            LOOK,
            "Flexprice ended the session as failed: mostly the payment provider refused, or is not connected.",
            "In Flexprice, look at the session and at the Razorpay connection. A declined card does not cause this.",
        ),
        Hint(
            state(State.PAID_LATE),
            STOP,
            "The money came after the session had ended. Flexprice sends it back.",
            "Nothing to mend: see the refund in Razorpay.",
        ),
        Hint(
            lambda case: case.session_status == "expired" or case.order.state == State.EXPIRED,
            STOP,
            "It was not paid in time: Flexprice sweeps overdue sessions every 30 minutes.",
            "If nobody paid, nothing. If somebody did: " + _EVENTS,
        ),
        UNREACHABLE,
        Hint(
            lambda case: case.session_status == "pending" and past_pay_by(case),
            WAIT,
            "The time to pay is over, but Flexprice's half-hourly sweep has not come by. Until then a payment still "
            "completes the session.",
            "Wait up to half an hour. If it was paid: " + _EVENTS,
        ),
        Hint(
            lambda case: case.session_status == "pending",
            WAIT,
            "Nobody has paid yet. A declined card or UPI payment changes nothing and sends no message: the link "
            "stays open for another try.",
            "Pay. If it was paid: " + _EVENTS,
        ),
        Hint(always, WAIT, "Flexprice has not said yet how the session stands.", "Wait a moment."),
    ),
    "subscription": (
        COMPLETION_LOST,
        KEY_REFUSED,
        UNPAID_OPEN,
        Hint(
            lambda case: case.ended_unpaid and case.subscription is None,
            STOP,
            "The draft was archived with its checkout, as it should be.",
            "Nothing to mend.",
        ),
        Hint(
            lambda case: bool(case.subscription and case.subscription.status == "cancelled"),
            STOP,
            "The subscription has ended since; the access it gave ends with it.",
            "Nothing to mend, if somebody meant it.",
        ),
        Hint(
            lambda case: case.ended_unpaid,
            STOP,
            "The checkout ended unpaid, so there is nothing to activate.",
            "Nothing to mend. A draft that is left over in Flexprice does no harm.",
        ),
        Hint(
            lambda case: bool(case.completed and case.subscription and case.subscription.status == "draft"),
            LOOK,
            "It is still a draft although the session is completed. " + HALF_DONE,
            ASK_SUPPORT,
        ),
        Hint(
            lambda case: case.completed and gone("subscription")(case),
            LOOK,
            "Flexprice does not show it (404): archived although the session is completed.",
            ASK_SUPPORT,
        ),
        Hint(
            lambda case: case.subscription is not None,
            LOOK,
            "The subscription is neither active nor cancelled.",
            "Look at it in Flexprice.",
        ),
        UNREACHABLE,
        HALF_COMPLETED,
        Hint(
            always,
            WAIT,
            "Not asked yet. The invoice tells which subscription it is.",
            "Open this order's own checklist: it asks Flexprice.",
        ),
    ),
    "invoice": (
        COMPLETION_LOST,
        KEY_REFUSED,
        UNPAID_OPEN,
        Hint(
            lambda case: case.ended_unpaid,
            STOP,
            "The draft was deleted with its checkout, as it should be.",
            "Nothing to mend.",
        ),
        Hint(
            lambda case: bool(case.invoice and case.invoice.status == "FINALIZED"),
            LOOK,
            "It is finalized, but not marked as paid. " + HALF_DONE,
            ASK_SUPPORT,
        ),
        Hint(
            lambda case: bool(completed_a_moment_ago(case) and case.invoice),
            WAIT,
            "Flexprice was read before its invoice was written: a copy of its database lags behind.",
            "Wait a moment.",
        ),
        Hint(
            lambda case: bool(case.invoice),
            LOOK,
            "It is not finalized although the session is completed. " + HALF_DONE,
            ASK_SUPPORT,
        ),
        Hint(
            lambda case: gone("invoice")(case),
            LOOK,
            "Flexprice does not show it (404): deleted or archived although the session is completed.",
            ASK_SUPPORT,
        ),
        UNREACHABLE,
        HALF_COMPLETED,
        Hint(
            always,
            WAIT,
            "Not asked yet; the worker keeps the number once the invoice has one.",
            "Open this order's own checklist: it asks Flexprice.",
        ),
    ),
    "webhook": (
        Hint(
            lambda case: not case.completed and case.ended_unpaid,
            STOP,
            "The session did not complete, so no such message is due.",
            "Nothing to mend.",
        ),
        UNPAID_OPEN,
        Hint(completed_a_moment_ago, WAIT, "The session completed a moment ago.", "Wait a moment."),
        Hint(
            lambda case: not case.completed,
            LOOK,
            "The session is not completed as far as can be seen, so Flexprice sends no such message.",
            "See the first check.",
        ),
        Hint(
            lambda case: case.received("checkout.session.initiated") is not None,
            LOOK,
            "Earlier messages of this session came, so address and secret are right: this one is late or lost. A "
            "failed delivery is tried again after 5 s, 5 min, 30 min, 2 h, 5 h and twice 10 h.",
            "Look at the endpoint's attempts in Flexprice and resend it from there. " + _OWN_SALES,
        ),
        Hint(
            lambda case: any(m.event_type.startswith("subscription.") for m in case.messages),
            LOOK,
            "Messages about the subscription came, none about the session: the endpoint is not subscribed to "
            "checkout.session.*, and what nobody subscribes to is never sent again.",
            "Add checkout.session.* to the endpoint's events in Flexprice. " + _OWN_SALES,
        ),
        Hint(
            always,
            LOOK,
            "No message about this order ever came: there is no endpoint, it is switched off (five days of failures "
            "do that), its address is not public, it took longer than 15 s, or its secret is not the shop's, so that "
            "each message was refused with a 401.",
            "In Flexprice, the endpoint must be this shop's /webhooks/flexprice, enabled, with checkout.session.*; put its "
            "signing secret into FLEXPRICE_WEBHOOK_SECRET. The log says “webhook refused” for each that did not "
            "verify. " + _OWN_SALES,
        ),
    ),
    "fulfillment": (
        Hint(
            lambda case: (
                case.ended_unpaid and case.access is not None and case.access.order_id == case.order.id
            ),
            LOOK,
            "Access was granted by an order that was not paid. That must never happen.",
            "Keep everything as it is and report it with this page.",
        ),
        Hint(
            lambda case: case.open and case.completed and not case.worker_alive,
            LOOK,
            "The worker shows no sign of life: messages are kept, but nobody reads them.",
            "Start it: flask --app wsgi work",
        ),
        Hint(
            lambda case: case.open and case.completed,
            WAIT,
            "The session is completed; the worker acts on it with the webhook, or at its next look.",
            "Wait. The order's own page makes the shop ask sooner.",
        ),
        UNPAID_OPEN,
        Hint(
            lambda case: case.ended_unpaid,
            STOP,
            "The order ended unpaid, so nothing was delivered. That is right.",
            "Nothing to mend.",
        ),
        Hint(
            state(State.PAID_TWICE),
            STOP,
            "The plan was already granted: this is a second payment, and nothing more is delivered for it.",
            "Refund it in Razorpay.",
        ),
        Hint(
            state(State.HELD),
            LOOK,
            "What was charged is not what was ordered, so nothing is delivered by itself. The order's flag says "
            "what differs.",
            "On the order's operator page: release it, or refund it in Razorpay and confirm that.",
        ),
        Hint(
            state(State.REFUNDED),
            STOP,
            "The money went back, so nothing was delivered.",
            "Nothing to mend.",
        ),
        Hint(
            state(State.STUCK),
            LOOK,
            "Money was taken, but the session did not complete, so nothing is delivered.",
            ASK_SUPPORT,
        ),
        Hint(
            lambda case: not case.worker_alive,
            LOOK,
            "The worker shows no sign of life: what is paid is not delivered and letters are not sent.",
            "Start it: flask --app wsgi work",
        ),
        Hint(state(State.PAID), WAIT, "Paid; the worker delivers in a moment.", "Wait a moment."),
        Hint(
            lambda case: any(letter.error for letter in case.letters.values()),
            LOOK,
            "Access is granted, but the mail server does not take the letter.",
            "Check MAIL_URL and MAIL_FROM; the letter is tried again by itself.",
        ),
        Hint(
            lambda case: case.access is None or "welcome" not in case.letters,
            LOOK,
            "The order says fulfilled, but its access or its letter is missing: rows were removed by hand.",
            "Restore them from a backup.",
        ),
        Hint(always, WAIT, "The letter is written and goes out with the next pass.", "Wait a moment."),
    ),
}
