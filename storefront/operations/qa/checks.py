"""Did the whole sale happen? Five checks of one order, each with its evidence, or with cause and action."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from storefront.checkout.states import State
from storefront.operations.qa.evidence import Case

# As the style sheet names them.
DONE, PENDING, NOT_APPLICABLE, ATTENTION, NOT_ASKED = "done", "wait", "stop", "look", "ask"
RESULTS = {
    DONE: "Done",
    PENDING: "Pending",
    NOT_APPLICABLE: "N/A",
    ATTENTION: "Needs attention",
    NOT_ASKED: "Not asked yet",
}

COMPLETED = "checkout.session.completed"


class Evidence(NamedTuple):
    label: str
    value: str
    email_id: int | None = None  # the page makes it a link


class Hint(NamedTuple):
    """One row of the troubleshooting tables."""

    applies: Callable[[Case], bool]
    tone: str
    cause: str
    action: str


@dataclass(frozen=True)
class Check:
    """The outcome of one check. `tone` is one of `RESULTS`."""

    key: str
    title: str
    tone: str
    evidence: tuple[Evidence, ...]
    cause: str = ""
    action: str = ""

    @property
    def result(self) -> str:
        return RESULTS[self.tone]


# -- what counts as done ----------------------------------------------------------------------------


def session_done(case: Case) -> bool:
    return case.completed


def subscription_done(case: Case) -> bool:
    if case.subscription:
        return case.subscription.status in ("active", "trialing")
    told = case.received("subscription.activated") and not case.received("subscription.cancelled")
    return bool(told) and case.failure("subscription") is None


def invoice_done(case: Case) -> bool:
    if case.invoice:
        return case.invoice.paid
    return bool(case.order.invoice_number) and case.failure("invoice") is None


def webhook_done(case: Case) -> bool:
    return case.received(COMPLETED) is not None


def fulfillment_done(case: Case) -> bool:
    welcome = (case.emails or {}).get("welcome")
    emailed = case.emails is None or (welcome is not None and welcome.sent_at is not None)
    return case.order.state == State.FULFILLED and case.access is not None and emailed


# -- the evidence -----------------------------------------------------------------------------------


def stamp(when: datetime | None) -> str:
    """RFC 3339 in UTC; a time without a zone is UTC already."""
    if when is None:
        return ""
    return (when if when.tzinfo is None else when.astimezone(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def session_evidence(case: Case) -> Iterable[Evidence]:
    order = case.order
    yield Evidence("Session", order.session_id or "")
    yield Evidence("Status", case.session_status)
    yield Evidence("Completed", stamp(case.completed_at))
    yield Evidence("Pay by", stamp(order.expires_at) if case.open else "")
    yield Evidence("Payment", order.payment_id or "")
    yield Evidence("Payment id from the return URL (unverified)", order.unverified_payment_id or "")
    yield from _asked(case, "session")


def subscription_evidence(case: Case) -> Iterable[Evidence]:
    subscription, activated = case.subscription, case.received("subscription.activated")
    yield Evidence("Subscription", case.subscription_id or "")
    yield Evidence("Status", subscription.status if subscription else "")
    runs = subscription is not None and subscription.status != "cancelled"  # then it names the period after
    yield Evidence("Period ends", stamp(subscription.current_period_end if subscription and runs else None))
    yield Evidence("Ends", stamp(subscription.cancel_at if subscription else None))
    if case.followed:
        row, _ = case.followed
        yield Evidence("In the shop", f"{row.status or 'not read yet'}, access {row.access}")
        yield Evidence("Subscription note", row.review_note or "")
    if activated:
        yield Evidence("Event subscription.activated", f"{activated.id}, {stamp(activated.received_at)}")
    yield from _asked(case, "subscription")


def invoice_evidence(case: Case) -> Iterable[Evidence]:
    order, invoice = case.order, case.invoice
    total, currency = (invoice.total, invoice.currency) if invoice else (order.invoice_total, order.currency)
    yield Evidence("Invoice", invoice.id if invoice else order.invoice_id or "")
    yield Evidence("Number", (invoice.number if invoice else order.invoice_number) or "")
    yield Evidence("Status", f"{invoice.status}, payment {invoice.payment_status}" if invoice else "")
    yield Evidence("Total", f"{total} {currency.upper()}" if total is not None else "")
    yield Evidence("Shown when ordered", f"{order.amount} {order.currency.upper()} before tax")
    yield Evidence("Finalized", stamp(invoice.finalized_at if invoice else None))
    yield Evidence("Compared with the order", stamp(order.invoice_verified_at))
    yield from _later_invoices(case)
    yield from _asked(case, "invoice")


def _later_invoices(case: Case) -> Iterable[Evidence]:
    """Of the months after the purchase, as the shop read them last."""
    for row in case.followed[1] if case.followed else ():
        if row.invoice_id == case.order.invoice_id:
            continue
        total = f"{row.total} {row.currency.upper()}"
        facts = [row.invoice_id, f"{row.status}, payment {row.payment_status}", total]
        facts += [f"link {row.link}, attempt {row.attempt}"] if row.attempt else []
        facts += [f"due {stamp(row.overdue_from)}"] if row.overdue_from else []
        yield Evidence(
            f"Later invoice {row.number or ''}".rstrip(),
            ", ".join(facts + ([row.review_note] if row.review_note else [])),
        )


def webhook_evidence(case: Case) -> Iterable[Evidence]:
    for event in case.events:
        if not event.event_type.startswith("checkout.session."):
            continue
        done = f"processed {stamp(event.processed_at)}" if event.processed_at else "not processed yet"
        facts = (event.id, f"received {stamp(event.received_at)}", done, event.outcome or "")
        yield Evidence(event.event_type, ", ".join(fact for fact in facts if fact))


def fulfillment_evidence(case: Case) -> Iterable[Evidence]:
    order = case.order
    yield Evidence("Order", f"{order.state} {stamp(order.fulfilled_at)}".strip())
    for moved in case.transitions:
        change = f"{moved.from_state} to {moved.to_state}"
        yield Evidence("Transition", f"{stamp(moved.at)}: {change} ({moved.trigger})")
    yield from _access_evidence(case)
    for kind, email in (case.emails or {}).items():
        sent = f"sent {stamp(email.sent_at)}" if email.sent_at else email.state
        trouble = f", {email.attempts} attempts, {email.error}" if email.error else ""
        yield Evidence(f"Email {kind}", f"queued {stamp(email.created_at)}, {sent}{trouble}", email.id)
    yield Evidence("Review note", order.review_note or "")


def _access_evidence(case: Case) -> Iterable[Evidence]:
    access = case.access
    if access is None:
        return
    ends_at = case.order.access_ends_at
    ended = f"ended {stamp(access.revoked_at)}" if access.revoked_at else ""
    ended = ended or (f"until {stamp(ends_at)}" if ends_at else "")
    other = "" if access.order_id == case.order.id else "by another order of the same plan"
    suspended = f"suspended {stamp(access.suspended_at)}" if access.suspended_at else ""
    facts = (f"granted {stamp(access.granted_at)}", suspended, ended, other)
    yield Evidence("Access", ", ".join(fact for fact in facts if fact))


def _asked(case: Case, part: str) -> Iterable[Evidence]:
    failure = case.failure(part)
    if case.answer and failure:
        answer = f"{failure.status or 'no answer'} {failure.code}".strip()
        request = f", request {failure.request_id}" if failure.request_id else ""
        yield Evidence("Flexprice was asked", f"{stamp(case.answer.at)}: {answer}{request}")
    elif case.answer and getattr(case.answer, part):
        yield Evidence("Flexprice was asked", stamp(case.answer.at))


class _Kind(NamedTuple):
    title: str
    done: Callable[[Case], bool]
    evidence: Callable[[Case], Iterable[Evidence]]


CHECKS = {
    "session": _Kind("Session completed", session_done, session_evidence),
    "subscription": _Kind("Subscription active", subscription_done, subscription_evidence),
    "invoice": _Kind("Invoice finalized", invoice_done, invoice_evidence),
    "webhook": _Kind("checkout.session.completed received", webhook_done, webhook_evidence),
    "fulfillment": _Kind("Fulfillment ran", fulfillment_done, fulfillment_evidence),
}


def run_checks(case: Case, hints: dict[str, tuple[Hint, ...]]) -> list[Check]:
    return [_check(key, kind, case, hints[key]) for key, kind in CHECKS.items()]


def _check(key: str, kind: _Kind, case: Case, hints: tuple[Hint, ...]) -> Check:
    evidence = tuple(piece for piece in kind.evidence(case) if piece.value)
    if kind.done(case):
        return Check(key, kind.title, DONE, evidence)
    hint = next(hint for hint in hints if hint.applies(case))  # the last one always does
    return Check(key, kind.title, hint.tone, evidence, hint.cause, hint.action)


def without_answers(case: Case, found: list[Check]) -> list[Check]:
    """The checks as they may be shown: nothing is said that an answer of Flexprice's could change."""
    return [_not_asked(check) if _may_change(case, check) else check for check in found]


def _may_change(case: Case, check: Check) -> bool:
    """Whether Flexprice was not asked yet what this check depends on."""
    if check.key in ("session", "subscription", "invoice"):
        return not case.asked(check.key)
    if case.asked("session"):
        return False
    return case.open if check.key == "fulfillment" else check.tone != DONE


def _not_asked(check: Check) -> Check:
    return replace(check, tone=NOT_ASKED, cause="Flexprice was not asked about this yet.", action="Refresh.")


def is_final(case: Case, found: list[Check]) -> bool:
    """Nothing changes by itself any more: the page stops asking."""
    unpaid = case.ended_unpaid or case.order.state in (State.PAID_TWICE, State.REFUNDED)
    done = (DONE,) if case.order.amount else (DONE, NOT_APPLICABLE)
    all_done = all(check.tone in done for check in found)
    return all_done or (unpaid and all(check.tone not in (PENDING, NOT_ASKED) for check in found))
