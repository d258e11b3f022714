"""The checks of the sandbox's half for what comes after the purchase."""

from .facts import Facts
from .model import Check, Seen

PAID = ("SUCCEEDED", "OVERPAID")


def _renewal_paid(facts: Facts) -> Seen:
    found = facts.renewals
    states = ", ".join(f"{row.invoice_number or row.id} {row.payment_status}" for row in found)
    return bool(found) and all(row.payment_status in PAID for row in found), states or "no later invoice"


RENEWAL_PAID = Check("The later invoice is paid", _renewal_paid)


def _paid_once(facts: Facts) -> Seen:
    captures = [len(link.captures) for row in facts.renewals for link in facts.links_of(row)]
    return sum(captures) == len(facts.renewals) > 0, f"payments of later invoices: {sum(captures)}"


PAID_ONCE = Check("Each later invoice is paid once", _paid_once)


def _paid_twice(facts: Facts) -> Seen:
    links = [link for row in facts.renewals for link in facts.links_of(row)]
    most = max((len(link.captures) for link in links), default=0)
    return most == 2 and len(links) == 1, f"links: {len(links)}, payments on one: {most}"


PAID_TWICE = Check("One link is paid twice, and there is no second link", _paid_twice)


def _new_link(facts: Facts) -> Seen:
    links = [link.state for row in facts.renewals for link in facts.links_of(row)]
    return "expired" in links and links.count("paid") == 1, f"links: {', '.join(links) or 'none'}"


NEW_LINK = Check("The expired link is followed by another one, which is paid", _new_link)


def _declined_then_paid(facts: Facts) -> Seen:
    links = [link for row in facts.renewals for link in facts.links_of(row)]
    declined = [link for link in links if link.declined]
    return len(links) == 1 and bool(
        declined
    ), f"links: {len(links)}, with a declined payment: {len(declined)}"


SAME_LINK = Check("The declined link is used again", _declined_then_paid)


def _overdue(facts: Facts) -> Seen:
    late = [row for row in facts.renewals if row.paid_at and row.due_date and row.paid_at > row.due_date]
    return bool(late), f"invoices paid after their due date: {len(late)}"


PAID_LATE = Check("The invoice is paid after its due date", _overdue)


def _status(status: str) -> Check:
    def look(facts: Facts) -> Seen:
        found = [row.subscription_status for row in facts.subscriptions]
        return found == [status], f"subscriptions: {', '.join(found) or 'none'}"

    return Check(f"There is one subscription, and it is {status}", look)


ONE_ACTIVE, ONE_CANCELLED = _status("active"), _status("cancelled")


def _undone(facts: Facts) -> Seen:
    found = [f"{row.schedule_type} {row.schedule_status}" for row in facts.schedules]
    ends = [row.cancel_at for row in facts.subscriptions if row.cancel_at]
    return "cancellation cancelled" in found and not ends, ", ".join(found) or "nothing was planned"


UNDONE = Check("An end was planned and undone", _undone)


def _over(facts: Facts) -> Seen:
    found = [row for row in facts.subscriptions if row.subscription_status == "cancelled"]
    at_the_end = [row for row in found if row.cancel_at and row.cancelled_at]
    planned = [row for row in facts.schedules if row.schedule_type == "cancellation"]
    return bool(at_the_end and planned), f"ended: {len(found)}, planned ends: {len(planned)}"


OVER = Check("The subscription ended as it was planned", _over)


def _changed_at_renewal(facts: Facts) -> Seen:
    found = [row.schedule_status for row in facts.schedules if row.schedule_type == "plan_change"]
    return "executed" in found, f"planned changes: {', '.join(found) or 'none'}"


CHANGED_AT_RENEWAL = Check("A planned change of plan was carried out", _changed_at_renewal)


def _changed_today(facts: Facts) -> Seen:
    active = {row.plan_id for row in facts.active}
    ended = {row.plan_id for row in facts.subscriptions if row.subscription_status == "cancelled"}
    done = len(facts.completed) == 2 and len(active) == 1 and bool(ended - active)
    return done, f"{len(facts.completed)} paid checkouts, {len(active)} active plans, {len(ended)} ended"


CHANGED_TODAY = Check(
    "Two checkouts are paid, the new plan is active and the old one has ended", _changed_today
)


def _no_checkout(facts: Facts) -> Seen:
    found = len(facts.checkouts)
    return found == 0 and bool(facts.customer_id), f"checkout sessions: {found}"


NO_CHECKOUT = Check("No checkout session is opened", _no_checkout)


def _owes_nothing(facts: Facts) -> Seen:
    found = [row for row in facts.invoices if row.invoice_status == "FINALIZED" and row.amount_remaining > 0]
    return not found, f"open invoices: {len(found)}"


OWES_NOTHING = Check("Nothing is owed", _owes_nothing)


def _had_trial(facts: Facts) -> Seen:
    found = [row for row in facts.subscriptions if row.trial_start]
    return bool(found), f"subscriptions with a trial: {len(found)}"


HAD_TRIAL = Check("The subscription began with a trial", _had_trial)
