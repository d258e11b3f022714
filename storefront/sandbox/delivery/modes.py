"""How messages go out: the delivery modes that can be arranged."""

from typing import NamedTuple


class Mode(NamedTuple):
    """A way of delivery. A resend goes out normally, whatever the first delivery was."""

    help: str
    state: str = "due"
    copies: int = 1
    fault: str | None = None  # what dispatcher.py does to it when it is sent
    seconds: float = 0.0  # unless the override says otherwise


MODES = {
    "normal": Mode("Normal"),
    "before_redirect": Mode("Before the browser returns", fault="before_redirect"),
    "after": Mode("Delayed", seconds=30),
    "twice": Mode("Twice", copies=2),
    "ten_at_once": Mode("Ten times at once", copies=10, fault="together"),
    "reversed": Mode("Reverse order, once the session has ended", state="held", fault="reversed"),
    "hold": Mode("Hold until released", state="held"),
    "drop": Mode("Never (lost)", state="dropped"),
    "bad_signature": Mode("Invalid signature", fault="bad_signature"),
    "stale": Mode("Old timestamp: signed ten minutes ago", fault="stale"),
    "old_secret": Mode("Old secret alone", fault="old_secret"),
    "two_secrets": Mode("Secret rotation: signed with both secrets", fault="two_secrets"),
    "altered": Mode("Altered body", fault="altered"),
    "answer_500": Mode("Treat first response as 500 (retry)", fault="answer_500"),
    "away": Mode("Endpoint unreachable at first (retry)", fault="away"),
}

# Nothing more comes of a payment after one of these: messages held to be reversed are released.
FINAL_EVENTS = {
    "checkout.session.completed",
    "checkout.session.failed",
    "checkout.session.expired",
    "refund.succeeded",
}
