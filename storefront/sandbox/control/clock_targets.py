"""Times that `POST /_sandbox/clock {"until", "id"}` walks to."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ..engine.errors import not_found
from ..store.database import Session
from ..store.rows import CheckoutSession

Target = Callable[[Session, str], datetime]


def session_expiry(session: Session, session_id: str) -> datetime:
    """A minute after a checkout session's `expires_at`."""
    checkout = session.get(CheckoutSession, session_id)
    if checkout is None:
        raise not_found(f"checkout session {session_id} not found", id=session_id)
    return checkout.expires_at + timedelta(minutes=1)


TARGETS: dict[str, Target] = {"session_expiry": session_expiry}
# Whether the clock has to go on to another stop before the target is reached; those not here have one stop.
GO_ON: dict[str, Callable[[Session, str], bool]] = {}
