"""The signal (blinker) of the second month. The sender is your Flask app.

`subscription_news` is sent inside the transaction, once for each fact: a receiver may add rows, such as an
email that is owed, and must not call anybody. What it raises undoes the transaction, which is tried again.
"""

from enum import StrEnum

from blinker import Namespace

_signals = Namespace()

subscription_news = _signals.signal("subscription-news")  # fact, subscription, invoice (or None), order


class Fact(StrEnum):
    RENEWAL_COMING = "renewal_coming"
    TRIAL_ENDING = "trial_ending"
    INVOICE_READY = "invoice_ready"
    INVOICE_PAID = "invoice_paid"
    INVOICE_OVERDUE = "invoice_overdue"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    CANCEL_SCHEDULED = "cancel_scheduled"
    CANCEL_UNDONE = "cancel_undone"
    ENDED = "ended"
    PLAN_CHANGED = "plan_changed"
