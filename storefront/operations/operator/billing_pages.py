"""Subscriptions, their invoices and payment links, and what an operator can do about them."""

from typing import Any

from flask import abort, render_template, request, url_for
from flask.typing import ResponseReturnValue

from storefront.checkout.context import commit, rollback
from storefront.checkout.orders import FulfillmentFailed, change
from storefront.flexprice import FlexpriceError
from storefront.operations import billing
from storefront.operations.access import form_text
from storefront.operations.operator.actions import DONE_BEFORE, by_operator, operator_action, record
from storefront.operations.operator.decisions import digest
from storefront.operations.operator.pages import bp

NOTE_NEEDED = "Add a note that says why: it stays with the subscription."


@bp.get("/billing")
def all_billing() -> ResponseReturnValue:
    rows = billing.rows() if billing.in_use() else abort(404)
    return render_template("operator/billing.html", rows=rows, notes=billing.notes_of(rows), digest=digest)


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
    if not billing.end_now(row):
        rollback()
        return "It was not replaced, or has ended already.", back
    commit()
    return "The worker ends it now.", back


@bp.post("/billing/<int(max=2147483647):row_id>/assign")
@operator_action
def assign_subscription(row_id: int) -> tuple[str, str]:
    """Give a plan that was made in Flexprice's dashboard to its customer: it grants access from now on."""
    row, back = _row("subscription", row_id)
    try:
        billing.read_now(row)
        if not record("assign", "subscription", row.subscription_id, "Assigned to its customer"):
            return DONE_BEFORE, back
        refused = billing.assign(row_id, by_operator())
    except (FlexpriceError, FulfillmentFailed) as error:
        rollback()
        return f"Nothing was done: {error}", back
    commit()
    return refused or "Assigned. The customer has access now.", back


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
    if not billing.settle(invoice, by_operator()):
        rollback()
        return "This invoice does not need a decision.", back
    commit()
    return "Marked as settled.", back


@bp.post("/billing/<any(subscription, invoice):kind>/<int(max=2147483647):row_id>/clear")
@operator_action
def clear_billing_note(kind: str, row_id: int) -> tuple[str, str]:
    """Remove a review note that was seen to, if it is still the one that was shown. Needs a reason."""
    row, back = _row(kind, row_id)
    reason, shown = form_text("note"), row.review_note
    name = row.invoice_id if kind == "invoice" else row.subscription_id
    if not reason:
        return NOTE_NEEDED, back
    if not shown or request.form.get("shown") != digest(shown):
        return "The review note has changed. Nothing was done.", back
    if not record("clear", kind, name, f"Review note cleared ({shown}): {reason}"):
        return DONE_BEFORE, back
    if not change(row, {"review_note": None}, review_note=shown):
        rollback()
        return "The review note has changed. Nothing was done.", back
    commit()
    return "Review note cleared.", back


def _row(kind: str, row_id: int) -> tuple[Any, str]:
    found = billing.find(kind, row_id) if billing.in_use() else None
    return found or abort(404), url_for("operator.all_billing")
