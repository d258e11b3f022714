"""How the sandbox knows that a scenario has passed: evidence from its own rows."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..store.control_rows import Attempt, Delivery, Event, LogLine
from ..store.database import Session
from ..store.rows import CheckoutSession, ProviderLink

SESSIONS = "/v1/checkout/sessions"
MAX_ROWS = 200

Evidence = dict[str, Any]


class Since(NamedTuple):
    """The newest rows when the scenario was started: only what came after them counts."""

    session: str = ""
    log: str = ""
    delivery: int = 0


Passed = Callable[[Session, Since], Evidence | None]


def _sessions(session: Session, since: Since, *conditions: Any) -> Iterator[CheckoutSession]:
    newer = CheckoutSession.id > since.session
    yield from session.all(
        CheckoutSession, newer, *conditions, order=CheckoutSession.id.desc(), limit=MAX_ROWS
    )


def _link_state(session: Session, row: CheckoutSession) -> str:
    link = session.get(ProviderLink, row.link_id)
    return link.state if link else "none"


def _delivered(session: Session, session_id: str, event_type: str) -> Evidence | None:
    """The message that the shop accepted, with its response."""
    event = session.first(Event, Event.entity_id == session_id, Event.event_type == event_type)
    if event is None:
        return None
    delivered = (Delivery.event_id == event.id, Delivery.state == "delivered")
    found = session.first(Delivery, *delivered, order=Delivery.id)
    if found is None:
        return None
    return {"message": event.id, "response": found.response_status, "attempt": found.attempt}


def ended(status: str, *, reason: str = "", link_state: str = "") -> Passed:
    """A session that ended like this, and the shop accepted the message about it."""

    def passed(session: Session, since: Since) -> Evidence | None:
        for row in _sessions(session, since, CheckoutSession.checkout_status == status):
            fits = row.failure_reason.startswith(reason) and (
                not link_state or _link_state(session, row) == link_state
            )
            found = _delivered(session, row.id, f"checkout.session.{status}") if fits else None
            if found:
                return _about(row) | found
        return None

    return passed


def _about(row: CheckoutSession) -> Evidence:
    about = {"session": row.id, "status": row.checkout_status}
    return about | ({"order": row.idempotency_key} if row.idempotency_key else {})


def _log(session: Session, since: Since, **wanted: Any) -> Iterator[LogLine]:
    """Lines of the log; a name the table does not have is looked for in the detail."""
    columns = {name: value for name, value in wanted.items() if hasattr(LogLine, name)}
    conditions = [getattr(LogLine, name) == value for name, value in columns.items()]
    details = {name: value for name, value in wanted.items() if name not in columns}
    for line in session.all(LogLine, LogLine.id > since.log, *conditions, order=LogLine.id, limit=MAX_ROWS):
        if all(line.detail.get(name) == value for name, value in details.items()):
            yield line


def paid_with(method: str) -> Passed:
    def passed(session: Session, since: Since) -> Evidence | None:
        for line in _log(session, since, what="method", method=method):
            row = next(_sessions(session, since, CheckoutSession.id == line.session_id), None)
            found = row and _delivered(session, row.id, "checkout.session.completed")
            if row and found:
                return _about(row) | found | {"with": method}
        return None

    return passed


def declined(session: Session, since: Since) -> Evidence | None:
    for line in _log(session, since, what="method", method="failure@razorpay"):
        for _ in _log(session, Since(log=line.id), what="declined", session_id=line.session_id):
            return {"session": line.session_id, "with": "failure@razorpay", "result": "declined"}
    return None


def declined_then_paid(session: Session, since: Since) -> Evidence | None:
    for line in _log(session, since, what="declined"):
        for row in _sessions(session, Since(), CheckoutSession.id == line.session_id):
            found = _delivered(session, row.id, "checkout.session.completed")
            if found:
                return _about(row) | found
    return None


def cancelled_by_shopper(session: Session, since: Since) -> Evidence | None:
    """POST …/cancel succeeded, and the shop accepted the message about the end."""
    for row in _sessions(session, since, CheckoutSession.checkout_status == "expired"):
        for _ in _log(session, since, what=f"POST {SESSIONS}/{row.id}/cancel", status=200):
            found = _delivered(session, row.id, "checkout.session.expired")
            return found and _about(row) | found
    return None


def not_paid_in_time(session: Session, since: Since) -> Evidence | None:
    """Ended by the sweep and never paid, and the shop accepted the message about it."""
    for row in _sessions(session, since, CheckoutSession.checkout_status == "expired"):
        cancelled = list(_log(session, since, what=f"POST {SESSIONS}/{row.id}/cancel", status=200))
        if not cancelled and _link_state(session, row) != "paid":
            found = _delivered(session, row.id, "checkout.session.expired")
            if found:
                return _about(row) | found
    return None


def refused(status: int, code: str, **wanted: Any) -> Passed:
    def passed(session: Session, since: Since) -> Evidence | None:
        for line in _log(session, since, what=f"POST {SESSIONS}", status=status, code=code, **wanted):
            return {"answer": f"{status} {code}", "message": line.detail.get("message"), "call": line.id}
        return None

    return passed


def in_spite_of(fault: str) -> Passed:
    """A create call that failed as arranged, and a sale all the same."""
    completed = ended("completed")

    def passed(session: Session, since: Since) -> Evidence | None:
        for line in _log(session, since, what=f"POST {SESSIONS}", fault=fault):
            found = completed(session, since)
            return found and found | {"fault": f"{fault}, {line.id}"}
        return None

    return passed


def found_by_asking(session: Session, since: Since) -> Evidence | None:
    """The message was dropped, and the shop asked."""
    for row in _sessions(session, since, CheckoutSession.checkout_status == "completed"):
        for line in _log(session, since, what=f"GET {SESSIONS}/{row.id}", status=200):
            if _delivered(session, row.id, "checkout.session.completed") is None:
                return _about(row) | {"message": "dropped", "asked": line.id}
    return None


def paid_too_late(session: Session, since: Since) -> Evidence | None:
    for row in _sessions(session, since, CheckoutSession.checkout_status.in_(("expired", "failed"))):
        if _link_state(session, row) == "paid":
            found = _delivered(session, row.id, f"checkout.session.{row.checkout_status}")
            return found and _about(row) | found | {"money": "refunded at Razorpay"}
    return None


def money_without_event(session: Session, since: Since) -> Evidence | None:
    for row in _sessions(session, since, CheckoutSession.checkout_status == "expired"):
        if _link_state(session, row) == "paid":
            return _about(row) | {"money": "captured at Razorpay; no event was sent"}
    return None


def retried(session: Session, since: Since) -> Evidence | None:
    completed = ended("completed")(session, since)
    return completed if completed and completed["attempt"] > 1 else None


def forgery_refused(session: Session, since: Since) -> Evidence | None:
    forged = Delivery.fault.in_(("bad_signature", "altered", "stale"))
    for delivery in session.all(Delivery, Delivery.id > since.delivery, forged, order=Delivery.id):
        refusals = Attempt.response_status.between(400, 499)
        attempt = session.first(Attempt, Attempt.delivery_id == delivery.id, refusals)
        if attempt:
            return {"message": delivery.event_id, "response": attempt.response_status}
    return None
