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
    "normal": Mode("at once, as it should be"),
    "before_redirect": Mode("delivered before the browser is sent back", fault="before_redirect"),
    "after": Mode("some seconds later", seconds=30),
    "twice": Mode("twice, one after the other", copies=2),
    "ten_at_once": Mode("ten times in the same moment", copies=10, fault="together"),
    "reversed": Mode("the last message first, once the session has ended", state="held", fault="reversed"),
    "hold": Mode("held until they are released", state="held"),
    "drop": Mode("never", state="dropped"),
    "bad_signature": Mode("signed with an unknown secret", fault="bad_signature"),
    "stale": Mode("signed ten minutes ago", fault="stale"),
    "old_secret": Mode("signed with the old secret alone", fault="old_secret"),
    "altered": Mode("the body was changed on its way", fault="altered"),
    "answer_500": Mode("the first answer counts as a 500: the retries begin", fault="answer_500"),
    "away": Mode("the endpoint cannot be reached at first: the retries begin", fault="away"),
}

# Nothing more comes of a payment after one of these: messages held to be reversed are released.
FINAL_EVENTS = {
    "checkout.session.completed",
    "checkout.session.failed",
    "checkout.session.expired",
    "refund.succeeded",
}
