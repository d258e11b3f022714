"""What the emails of the later months say: by the fact, its subject and its sentences."""

from flask_babel import lazy_gettext as lazy

LABELS = {
    "plan": lazy("Plan"),
    "number": lazy("Invoice"),
    "amount": lazy("Amount"),
    "due": lazy("Due"),
    "date": lazy("Date"),
}
# Razorpay writes to the customer too, with each payment link: these say what it means for the plan.
TEXTS = {
    "renewal_coming": (
        lazy("Your plan %(plan)s goes on soon"),
        lazy("A new period begins on %(date)s. If there is something to pay, we send you the invoice."),
    ),
    "trial_ending": (
        lazy("Your trial of %(plan)s ends soon"),
        lazy("It ends on %(date)s. Then we send you the first invoice. You can cancel before that."),
    ),
    "invoice_ready": (
        lazy("Your invoice for %(plan)s"),
        lazy("A new invoice is ready. Pay it on the billing page: nothing is charged automatically."),
    ),
    "invoice_paid": (
        lazy("Your invoice for %(plan)s is paid"),
        lazy("We have received your payment. There is nothing to do."),
    ),
    "invoice_overdue": (
        lazy("Your invoice for %(plan)s is overdue"),
        lazy("If you have just paid, there is nothing to do. Otherwise pay it on the billing page."),
    ),
    "suspended": (
        lazy("Your plan %(plan)s is paused"),
        lazy("An invoice is overdue. Your plan comes back when it is paid. If it is, reply to this email."),
    ),
    "resumed": (
        lazy("Your plan %(plan)s is active again"),
        lazy("Nothing is overdue any more. There is nothing to do."),
    ),
    "cancel_scheduled": (
        lazy("Your plan %(plan)s is cancelled"),
        lazy("It stays active until %(date)s. Until then you can undo this on the billing page."),
    ),
    "cancel_undone": (
        lazy("Your plan %(plan)s goes on"),
        lazy("It is no longer cancelled."),
    ),
    "ended": (
        lazy("Your plan %(plan)s has ended"),
        lazy("You can buy it again at any time. An invoice that is still open stays on the billing page."),
    ),
    "plan_changed": (
        lazy("Your plan is now %(plan)s"),
        lazy("The change that you planned has happened."),
    ),
}
