"""What a page says about an order: one word for each situation, which the templates turn into sentences."""

from datetime import datetime, timedelta

from .models import OrderMixin
from .purchase import LOST_AFTER
from .states import State

SLOW_AFTER_S = 120  # seconds of watching
JUST_BACK_S = 8
POLL_DELAYS_S = (1, 2, 2, 3, 5, 8, 13, 15)
LATE_NEWS = timedelta(minutes=2)  # an ended order's page goes on polling so long: money may be on its way
CLAIM_IS_CHECKED = timedelta(days=3)  # so long money that was claimed to be paid may take

ENDED = frozenset({State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED})
CAN_TRY_AGAIN = frozenset({
    "unopened", "lost", "failed", "not_opened", "expired", "cancelled", "abandoned", "mismatched",
    "paid_late", "refunded", "ended",
})  # fmt: skip
CAN_PAY = frozenset({"ready_to_pay", "waiting", "slow", "overdue", "confirming"})


def phase_of(
    order: OrderMixin, page: str, watched_s: int, now: datetime, moved_by: timedelta = timedelta()
) -> str:
    """The situation of an order.

    :param page: "success" or "failure", the page it is shown on: a hint for the words, never for the truth.
    :param watched_s: how long this customer has been watching, in seconds.
    :param now: naive UTC.
    :param moved_by: how far business dates are ahead of it; see `context.moved_by`.
    """
    if order.state == State.PLACED:
        return _phase_of_placed(order, now)
    if order.state == State.AWAITING_PAYMENT:
        is_overdue = order.expires_at is not None and order.expires_at < now + moved_by
        return _phase_of_open(order, page, watched_s, now, is_overdue)
    if order.state == State.FULFILLED:
        return "refund_reported" if order.refunded_at else "ended" if order.revoked_at else "ready"
    if order.state in ENDED and order.returned_paid_at:
        return "ended_unconfirmed"
    if order.state == State.FAILED and order.session_id is None:
        return "not_opened"
    return str(order.state)


def _phase_of_placed(order: OrderMixin, now: datetime) -> str:
    if order.session_requested_at is None:
        return "unopened"
    return "lost" if now - order.session_requested_at > max(LOST_AFTER, timedelta(minutes=1)) else "preparing"


def _phase_of_open(order: OrderMixin, page: str, watched_s: int, now: datetime, is_overdue: bool) -> str:
    if order.returned_paid_at:
        return "confirming"
    if page == "success" and watched_s < JUST_BACK_S:
        return "checking"
    if is_overdue:
        return "overdue"
    open_for_s = (now - order.status_changed_at).total_seconds()
    if page == "failure" and open_for_s < min(watched_s, SLOW_AFTER_S):
        return "ready_to_pay"  # the customer was waiting here when the payment page was opened
    return "slow" if watched_s >= SLOW_AFTER_S else "waiting"


def poll_delay_s(watched_s: int) -> int:
    """Seconds until the next poll, for a customer who has been watching for so long."""
    end = 0
    for delay in POLL_DELAYS_S:
        end += delay
        if watched_s < end:
            return delay
    return POLL_DELAYS_S[-1]


def is_polling(order: OrderMixin, now: datetime) -> bool:
    """Whether anything may still change while somebody waits."""
    if order.is_open or order.state == State.PAID:
        return True
    ended_for = now - order.status_changed_at
    return order.state in ENDED and ended_for < (CLAIM_IS_CHECKED if order.returned_paid_at else LATE_NEWS)
