"""Subscriptions, their invoices and payment links, and what an operator can do about them."""

from typing import Any

from flask import abort, render_template, url_for
from flask.typing import ResponseReturnValue

from storefront.checkout.context import commit
from storefront.operations import billing
from storefront.operations.access import form_text
from storefront.operations.operator.actions import DONE_BEFORE, by_operator, operator_action, record
from storefront.operations.operator.pages import bp

NOTE_NEEDED = "Add a note that says why: it stays with the invoice."


@bp.get("/billing")
def all_billing() -> ResponseReturnValue:
    rows = billing.rows() if billing.in_use() else abort(404)
    return render_template("operator/billing.html", rows=rows)


@bp.post("/billing/<int(max=2147483647):row_id>/sync")
@operator_action
def sync_subscription(row_id: int) -> tuple[str, str]:
    """Let the worker read a subscription and its invoices now."""
    row, back = _row("subscription", row_id)
    if not record("sync", "subscription", row.subscription_id, "Sync requested"):
        return DONE_BEFORE, back
    billing.sync_now(row)
    commit()
    return "The worker reads it now. Reload the page in a moment.", back


@bp.post("/billing/<int(max=2147483647):row_id>/end")
@operator_action
def end_replaced(row_id: int) -> tuple[str, str]:
    """Let the worker end a plan that was replaced, after its attempts had failed."""
    row, back = _row("subscription", row_id)
    if not record("end", "subscription", row.subscription_id, "End of the replaced plan requested"):
        return DONE_BEFORE, back
    ended = billing.end_now(row)
    commit()
    return ("The worker ends it now." if ended else "It was not replaced, or has ended already."), back


@bp.post("/billing/invoices/<int(max=2147483647):row_id>/settle")
@operator_action
def settle_invoice(row_id: int) -> tuple[str, str]:
    """Mark an invoice as settled: its money was seen to by hand. Needs a reason."""
    invoice, back = _row("invoice", row_id)
    reason = form_text("note")
    if not reason:
        return NOTE_NEEDED, back
    if not record("settle", "invoice", invoice.invoice_id, f"Marked as settled: {reason}"):
        return DONE_BEFORE, back
    settled = billing.settle(invoice, by_operator())  # commits
    return ("Marked as settled." if settled else "This invoice does not need a decision."), back


def _row(kind: str, row_id: int) -> tuple[Any, str]:
    found = billing.find(kind, row_id) if billing.in_use() else None
    return found or abort(404), url_for("operator.all_billing")
