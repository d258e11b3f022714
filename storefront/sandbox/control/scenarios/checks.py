"""The checks of the sandbox's half. Each gives whether it is as expected, and what was found."""

from collections.abc import Callable
from itertools import pairwise

from .facts import Facts, Sent
from .model import SESSIONS, Check, Seen

LATE_BY_S = 299
REFUSED_STATUSES = range(400, 500)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _one_sale(facts: Facts) -> Seen:
    done, tried = facts.completed, len(facts.checkouts)
    named = f": {done[0].id}" if len(done) == 1 else ""
    return len(done) == 1, f"{len(done)} of {_count(tried, 'session')} completed{named}"


ONE_SALE = Check("One session is completed", _one_sale)


def _no_sale(facts: Facts) -> Seen:
    tried = len(facts.checkouts)
    return (
        tried > 0 and not facts.completed,
        f"{len(facts.completed)} of {_count(tried, 'session')} completed",
    )


NO_SALE = Check("A session was opened, and none is completed", _no_sale)


def _charged(times: int) -> Callable[[Facts], Seen]:
    return lambda facts: (len(facts.money) == times, _count(len(facts.money), "payment") + " captured")


def charged(times: int) -> Check:
    words = {0: "No money is taken", 1: "Money is taken once", 2: "Money is taken twice"}
    return Check(words[times], _charged(times))


def accepted(status: str, *, at_least: int = 1) -> Check:
    event = f"checkout.session.{status}"

    def look(facts: Facts) -> Seen:
        found = facts.accepted(event)
        answers = ", ".join(sorted({str(delivery.response_status) for delivery in found})) or "none"
        return len(found) >= at_least, f"accepted deliveries: {len(found)}, answers: {answers}"

    times = f" {at_least} times" if at_least > 1 else ""
    return Check(f"The shop accepts {event}{times}", look)


def paid_with(method: str) -> Check:
    def look(facts: Facts) -> Seen:
        used = [str(line.detail.get("method")) for line in facts.lines("method")]
        return method in used, f"used: {', '.join(used) or 'nothing'}"

    return Check(f"Paid with {method}", look)


def happened(what: str, expected: str) -> Check:
    """:param what: how a line of the log begins, such as `declined` on the payment page."""

    def look(facts: Facts) -> Seen:
        found = facts.lines(what)
        return bool(found), f"{len(found)} × {what} in the log"

    return Check(expected, look)


def called(path: str, expected: str) -> Check:
    """A call of the shop that succeeded, by a part of its path."""

    def look(facts: Facts) -> Seen:
        found = [line.what for line in facts.log if path in line.what and line.status in (200, 201, 204)]
        return bool(found), found[-1] if found else f"no call of …{path}"

    return Check(expected, look)


def fault(name: str) -> Check:
    def look(facts: Facts) -> Seen:
        found = facts.lines(f"POST {SESSIONS}", fault=name)
        return bool(found), f"{_count(len(found), 'call')} answered by {name}"

    return Check(f"The create call meets the fault {name}", look)


def refused(status: int, code: str, message: str = "") -> Check:
    def look(facts: Facts) -> Seen:
        lines = facts.lines(f"POST {SESSIONS}", status=status, code=code)
        found = [str(line.detail.get("message")) for line in lines]
        holds = bool(found) and (not message or message in found)
        return holds, f"{status} {code}: {found[-1]}" if found else "no such answer"

    return Check(f"The answer is {status} {code}", look)


def ended(status: str, reason: str = "") -> Check:
    def look(facts: Facts) -> Seen:
        row = facts.checkouts[-1] if facts.checkouts else None
        holds = row is not None and row.checkout_status == status and row.failure_reason.startswith(reason)
        return holds, f"{row.checkout_status} {row.failure_reason}".strip() if row else "no session"

    return Check(f"The session ends as {status}", look)


def link_is(*states: str) -> Check:
    def look(facts: Facts) -> Seen:
        state = facts.links[-1].state if facts.links else "none"
        return state in states, f"link: {state}"

    return Check(f"The payment link is {' or '.join(states)}", look)


def opened_for(amount: int) -> Check:
    """:param amount: in minor units."""

    def look(facts: Facts) -> Seen:
        found = [link.amount for link in facts.links]
        return amount in found, f"links for {', '.join(map(str, found)) or 'nothing'}"

    return Check(f"A link is made for {amount}", look)


def _declined(facts: Facts) -> Seen:
    found = [link.declined for link in facts.links if link.declined]
    return bool(found), found[-1] if found else "no payment was declined"


DECLINED = Check("A payment is declined", _declined)


def _asked(facts: Facts) -> Seen:
    found = facts.lines(f"GET {SESSIONS}/", status=200)
    return bool(found), _count(len(found), "read") + " of the ended session"


ASKED = Check("The shop asks about the session by itself", _asked)


def _lost(facts: Facts) -> Seen:
    states = {sent.delivery.state for sent in facts.sent}
    return states == {"dropped"}, f"deliveries: {', '.join(sorted(states)) or 'none'}"


LOST = Check("No message arrives", _lost)


def _retried(facts: Facts) -> Seen:
    most = max((delivery.attempt for delivery in facts.accepted("checkout.session.completed")), default=0)
    return most > 1, f"accepted at attempt {most}"


RETRIED = Check("The message is sent again and accepted", _retried)


def _forged(facts: Facts) -> Seen:
    forged = {sent.delivery.id for sent in facts.sent if sent.delivery.fault == "bad_signature"}
    answers = [one.response_status for one in facts.attempts if one.delivery_id in forged]
    about = any(sent.event.entity_id.startswith("cs_") for sent in facts.sent)
    refusals = [answer in REFUSED_STATUSES for answer in answers]
    return about and bool(refusals) and all(refusals), f"answers to forged messages: {answers or 'none'}"


FORGERY_REFUSED = Check("The shop refuses every forged message", _forged)


def _two_secrets(facts: Facts) -> Seen:
    signed = [sent.delivery for sent in facts.sent if sent.delivery.fault == "two_secrets"]
    done = [row for row in signed if row.state == "delivered"]
    return bool(signed) and len(done) == len(signed), f"{len(done)} of {len(signed)} accepted"


TWO_SECRETS = Check("Every message that is signed with both secrets is accepted", _two_secrets)


def _reversed(facts: Facts) -> Seen:
    done = [sent for sent in facts.sent if sent.delivery.state == "delivered"]
    turned = sum(a.event.sequence > b.event.sequence for a, b in pairwise(done))
    return turned > 0, f"{turned} of {len(done)} accepted messages came before an older one"


REVERSED = Check("Messages arrive newest first", _reversed)


def seconds(sent: Sent) -> float:
    """From the event until its message was built, which is when it was first delivered."""
    built = sent.event.built_at
    return (built - sent.event.created_at).total_seconds() if built else 0.0


def _late(facts: Facts) -> Seen:
    done = [sent for sent in facts.sent if sent.delivery.state == "delivered"]
    earliest = min((seconds(sent) for sent in done), default=0.0)
    found = f"{len(done)} of {len(facts.sent)} delivered, the earliest after {earliest:.0f} s"
    return earliest >= LATE_BY_S and len(done) == len(facts.sent), found


FIVE_MINUTES_LATE = Check("Every message comes five minutes late", _late)


def _refunded(facts: Facts) -> Seen:
    found = facts.accepted("refund.succeeded")
    return bool(found), f"refund.succeeded: {len(found)} accepted"


REFUNDED = Check("The refund is made, and the shop accepts its message", _refunded)
