"""The guided list: what a tester walks through, how the stage is set, how it is known that it happened."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from storefront.sandbox._previous.pay import METHODS, REASONS
from storefront.sandbox._previous.schema import attempts, deliveries, events, journal, sessions
from storefront.sandbox._previous.store import Body

SESSIONS = "/v1/checkout/sessions"
PASS_46_MINUTES = ("Let 46 minutes pass", "/_sandbox/clock", {"advance": "46m", "through": "yes"})
PASS_6_MINUTES = ("Let 6 minutes pass", "/_sandbox/clock", {"advance": "6m", "through": "yes"})
NOT_TOLD = ["payment.failed", "payment_link.cancelled", "payment_link.expired"]

Evidence = dict[str, Any]
Button = tuple[str, str, dict[str, str]]  # what it says, where it posts, what


class Since(NamedTuple):
    """The newest rows when the stage was set: only what came after them counts."""

    session: str = ""
    journal: int = 0
    delivery: int = 0


class Pull(NamedTuple):
    """One lever of a stage, taken back when the scenario has happened."""

    kind: str
    name: str
    where: Body = {}


class Scenario(NamedTuple):
    title: str
    do: str
    see: str
    happened: Callable[[Connection, Since], Evidence | None]
    stage: tuple[Pull, ...] = ()
    switches: Body = {}  # what kind of Flexprice it is meanwhile
    buttons: tuple[Button, ...] = ()
    # What a shop would never send: sent for you.
    calls: Callable[[], list[tuple[str, str, Body]]] | None = None
    goes_on: bool = False  # where the line before it ended


# How it is known.


def _sessions(conn: Connection, since: Since, *conditions: Any) -> Iterator[Body]:
    newer = select(sessions.c.body).where(sessions.c.id > since.session, *conditions)
    yield from conn.execute(newer.order_by(sessions.c.id.desc()).limit(200)).scalars()


def _told(conn: Connection, session_id: str, event_type: str) -> Evidence | None:
    """The message the shop took, with its answer."""
    table = deliveries.c
    query = (
        select(table.event_id, table.response_status, table.attempt)
        .join(events, events.c.id == table.event_id)
        .where(
            events.c.entity_id == session_id, events.c.event_type == event_type, table.state == "delivered"
        )
    )
    found = conn.execute(query.order_by(table.id).limit(1)).first()
    return found and {"message": found.event_id, "answered": found.response_status, "attempt": found.attempt}


def ended(status: str, **wanted: Any) -> Callable[[Connection, Since], Evidence | None]:
    """A session that came to this end, and the shop was told. `wanted`: what else is to be true of it."""

    def happened(conn: Connection, since: Since) -> Evidence | None:
        for session in _sessions(conn, since, sessions.c.checkout_status == status):
            fits = all(str(session.get(name, "")).startswith(value) for name, value in wanted.items())
            told = _told(conn, session["id"], f"checkout.session.{status}") if fits else None
            if told:
                return _about(session) | told
        return None

    return happened


def _about(session: Body) -> Evidence:
    about = {"session": session["id"], "status": session["checkout_status"]}
    return about | ({"order": session["idempotency_key"]} if session.get("idempotency_key") else {})


def _notes(conn: Connection, since: Since, **wanted: Any) -> Iterator[Any]:
    """Lines of the journal; a name the table does not have is looked for in the detail."""
    query = select(journal).where(journal.c.id > since.journal)
    for name, value in wanted.items():
        column = journal.c[name] if name in journal.c else journal.c.detail[name].as_string()
        query = query.where(column == value)
    yield from conn.execute(query.order_by(journal.c.id).limit(200))


def paid_with(method: str) -> Callable[[Connection, Since], Evidence | None]:
    def happened(conn: Connection, since: Since) -> Evidence | None:
        for line in _notes(conn, since, what="method", method=method):
            session = next(_sessions(conn, since, sessions.c.id == line.session_id), None)
            told = session and _told(conn, line.session_id, "checkout.session.completed")
            if session and told:
                return _about(session) | told | {"with": method}
        return None

    return happened


def declined(conn: Connection, since: Since) -> Evidence | None:
    for line in _notes(conn, since, what="method", method="failure@razorpay"):
        for _ in _notes(conn, Since(journal=line.id), what="declined", session_id=line.session_id):
            return {"session": line.session_id, "with": "failure@razorpay", "came of it": "declined"}
    return None


def declined_then_paid(conn: Connection, since: Since) -> Evidence | None:
    for line in _notes(conn, since, what="declined"):
        for session in _sessions(conn, Since(), sessions.c.id == line.session_id):
            told = _told(conn, session["id"], "checkout.session.completed")
            if told:
                return _about(session) | told
    return None


def refused(status: int, code: str, **wanted: Any) -> Callable[[Connection, Since], Evidence | None]:
    def happened(conn: Connection, since: Since) -> Evidence | None:
        for line in _notes(conn, since, what=f"POST {SESSIONS}", status=status, code=code, **wanted):
            return {"answer": f"{status} {code}", "said": line.detail.get("message"), "call": line.id}
        return None

    return happened


def in_spite_of(fault: str) -> Callable[[Connection, Since], Evidence | None]:
    """A create that went wrong on purpose, and a sale all the same."""
    completed = ended("completed")

    def happened(conn: Connection, since: Since) -> Evidence | None:
        for line in _notes(conn, since, what=f"POST {SESSIONS}", fault=fault):
            found = completed(conn, since)
            return found and found | {"went wrong": f"call {line.id}: {fault}"}
        return None

    return happened


def asked_instead(conn: Connection, since: Since) -> Evidence | None:
    """The news was dropped, and the shop found out by asking."""
    for session in _sessions(conn, since, sessions.c.checkout_status == "completed"):
        for line in _notes(conn, since, what=f"GET {SESSIONS}/{session['id']}", status=200):
            if _told(conn, session["id"], "checkout.session.completed") is None:
                return _about(session) | {"message": "dropped", "asked": f"call {line.id}"}
    return None


def paid_too_late(conn: Connection, since: Since) -> Evidence | None:
    for session in _sessions(conn, since, sessions.c.checkout_status.in_(("expired", "failed"))):
        if session["link_state"] == "paid":
            told = _told(conn, session["id"], f"checkout.session.{session['checkout_status']}")
            return told and _about(session) | told | {"money": "refunded"}
    return None


def money_without_news(conn: Connection, since: Since) -> Evidence | None:
    for session in _sessions(conn, since, sessions.c.checkout_status == "expired"):
        if session["link_state"] == "paid":
            return _about(session) | {"money": "taken at Razorpay; Flexprice was never told"}
    return None


def retried(conn: Connection, since: Since) -> Evidence | None:
    completed = ended("completed")(conn, since)
    return completed if completed and completed["attempt"] > 1 else None


def forgery_refused(conn: Connection, since: Since) -> Evidence | None:
    twisted = deliveries.c.twist.in_(("bad_signature", "altered", "stale"))
    query = (
        select(attempts.c.response_status, deliveries.c.event_id)
        .join(deliveries, deliveries.c.id == attempts.c.delivery_id)
        .where(deliveries.c.id > since.delivery, twisted, attempts.c.response_status.between(400, 499))
    )
    found = conn.execute(query.limit(1)).first()
    return found and {"message": found.event_id, "answered": found.response_status}


# What is sent for the tester, because the shop would not.


def _create(customer: str, plan: str, **more: Any) -> tuple[str, str, Body]:
    params = {"plan_id": plan, "currency": "inr", "billing_period": "MONTHLY"}
    body = {
        "customer_external_id": customer,
        "action": "create_subscription",
        "payment_provider": "razorpay",
        "configuration": {"create_subscription_params": params},
    }
    return "POST", SESSIONS, body | more


TESTER = ("POST", "/v1/customers", {"external_id": "guided-tester", "name": "A tester"})


def _unknown_customer() -> list[tuple[str, str, Body]]:
    return [_create("nobody-knows-me", "{starter}")]


def _zero_amount() -> list[tuple[str, str, Body]]:
    return [TESTER, _create("guided-tester", "{free}")]


def _same_key_twice() -> list[tuple[str, str, Body]]:
    twice = _create("guided-tester", "{starter}", idempotency_key="guided-key")
    return [TESTER, twice, twice]


# The list.

BUY = "Buy a plan in the shop"
READY = "The shop’s page turns to “ready”, the letter comes, /qa is green."


def _with(method: str, label: str) -> Scenario:
    return Scenario(f"{label}: {method}", f"{BUY} and pay with {method}.", READY, paid_with(method))


GROUPS: dict[str, dict[str, Scenario]] = {
    "Ways to pay": {
        "pay-" + "".join(letter for letter in method if letter.isalnum()): _with(method, label)
        for method, label in METHODS.items()
        if method not in REASONS
    }
    | {
        "upi-declined": Scenario(
            "UPI, is declined: failure@razorpay",
            f"{BUY} and pay with failure@razorpay.",
            "The payment page says why; the order stays open and nothing is granted.",
            declined,
        ),
        "decline-then-pay": Scenario(
            "Declined, then paid",
            "Stay on that payment page and pay with a card that works.",
            "One order, one plan, one letter.",
            declined_then_paid,
            goes_on=True,
        ),
    },
    "Endings": {
        "cancel": Scenario(
            "Cancelled by the shopper",
            f"{BUY}, go back without paying, open the order in your account and cancel it.",
            "The page says cancelled; the payment link takes no more money.",
            ended("failed", cancelled_at="20"),
        ),
        "merchant-cancels": Scenario(
            "Cancelled by the merchant",
            f"{BUY} and press Pay: the merchant is faster.",
            "The page says that the payment did not work; a letter follows.",
            ended("failed", failure_reason="payment link payment_link.cancelled"),
            (Pull("outcome", "cancelled", {"times": 1}),),
        ),
        "link-expires": Scenario(
            "The link expires at Razorpay",
            f"{BUY} and press Pay: the link is over.",
            "The same as cancelled: Flexprice calls both “failed”.",
            ended("failed", failure_reason="payment link payment_link.expired"),
            (Pull("outcome", "link_expired", {"times": 1}),),
        ),
        "paid-too-late": Scenario(
            "Paid too late",
            f"{BUY} and press Pay: the session ends a moment before the money comes.",
            "The page says that the money is on its way back. Nothing is granted.",
            paid_too_late,
            (Pull("outcome", "paid_too_late", {"times": 1}),),
        ),
    },
    "The official error table": {
        "customer-missing": Scenario(
            "Customer missing: 404",
            f"{BUY}: the first call does not find you. Or send the bare call.",
            "The shop introduces you again and goes on to the payment page.",
            refused(404, "not_found"),
            (Pull("fault", "customer_missing", {"times": 1, "method": "POST", "path": SESSIONS}),),
            calls=_unknown_customer,
        ),
        "zero-amount": Scenario(
            "Plan without a price: 400",
            "Look at the free plan in the shop: it cannot be bought. Then send the bare call.",
            "400 validation_error, with no hint (Flexprice sets none).",
            refused(400, "validation_error", message="An unexpected error occurred"),
            calls=_zero_amount,
        ),
        "duplicate-key": Scenario(
            "Duplicate key: 409",
            "Press Buy twice in the shop: it leads to the same payment page. Then send the bare calls.",
            "409 already_exists. It does not say which session has the key.",
            refused(409, "already_exists"),
            calls=_same_key_twice,
        ),
        "not-paid-in-time": Scenario(
            "Not paid in time",
            f"{BUY}, do not pay, come back here and let the time pass.",
            "The page says that the time to pay is over and offers to try again.",
            ended("expired", link_state="open"),
            buttons=(PASS_46_MINUTES,),
        ),
        "link-paid-off": Scenario(
            "payment_link.paid not enabled (nor payment.captured)",
            f"{BUY} and pay. The page goes on checking. Then let the time pass.",
            "The session expires though money was taken: the shop promises no more than it knows.",
            money_without_news,
            switches={"razorpay_events": NOT_TOLD},
            buttons=(PASS_46_MINUTES,),
        ),
    },
    "When the network has a bad day": {
        "api-down": Scenario(
            "Flexprice is down when you buy",
            f"{BUY}: it cannot be reached. See your orders, open this one, try again and pay.",
            "Nothing was charged, and the second try is the same order.",
            in_spite_of("down"),
            (Pull("fault", "down", {"times": 1, "method": "POST", "path": SESSIONS}),),
        ),
        "answer-lost": Scenario(
            "The answer is lost after the session was made",
            f"{BUY}: the page waits. A moment later it finds the link; pay.",
            "One session, one order, paid once.",
            in_spite_of("timeout_after"),
            (Pull("fault", "timeout_after", {"times": 1, "method": "POST", "path": SESSIONS}),),
        ),
        "webhook-lost": Scenario(
            "The webhook is lost",
            f"{BUY} and pay. No message will come.",
            "The page turns to “ready” all the same: the shop asks.",
            asked_instead,
            (Pull("delivery", "drop"),),
        ),
        "webhook-retried": Scenario(
            "The shop’s answer is lost, the message comes again",
            f"{BUY} and pay, then let the time pass.",
            "The second time changes nothing: one plan, one letter.",
            retried,
            (Pull("delivery", "answer_500"),),
            buttons=(PASS_6_MINUTES,),
        ),
        "forgery": Scenario(
            "A forged message",
            f"{BUY} and press “Leave without paying”; the messages of it are signed by nobody.",
            "The shop refuses them (401), and nothing is granted.",
            forgery_refused,
            (Pull("delivery", "bad_signature"),),
        ),
    },
}

SCENARIOS = {key: scenario for group in GROUPS.values() for key, scenario in group.items()}
