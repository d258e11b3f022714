"""Answers about changes of a subscription: plan, quantity."""

from datetime import datetime
from typing import Any

from ...engine import one_off, plan_changes, seats
from ...store.billing_rows import Invoice, Subscription, SubscriptionLine, WalletTransaction
from ...store.database import Session
from ...store.rows import Plan
from ...store.values import decimal_text, rfc3339
from . import billing, wallets
from .common import Body, without_empty

PREVIEW_INVOICE, PREVIEW_LINE = "(preview-invoice)", "(preview-line)"


def line(
    line_id: str, row: SubscriptionLine, action: str, start: datetime, end: datetime | None, quantity: Any
) -> Body:
    body: Body = {"id": line_id, "price_id": row.price_id, "quantity": decimal_text(quantity)}
    body |= {"start_date": rfc3339(start), "change_action": action}
    return body | ({"end_date": rfc3339(end)} if end else {})


def plan_summary(row: Plan) -> Body:
    body = {name: getattr(row, name) for name in ("id", "name", "lookup_key", "description")}
    return without_empty(body, "lookup_key", "description")


def plan_change(
    session: Session, row: Subscription, change: plan_changes.Change, subscription: Body, *, preview: bool
) -> Body:
    """:param subscription: as it was shown before the change, with the new plan's id."""
    body: Body = {
        "subscription": subscription,
        "changed_resources": without_empty(
            {"line_items": _moved(change), "invoices": _settlement(session, change, row, preview)},
            *("line_items", "invoices"),
        ),
        "change_type": change.type,
        "effective_at": rfc3339(change.effective),
        "from_plan": plan_summary(change.from_plan),
        "to_plan": plan_summary(change.to_plan),
        "is_scheduled": change.schedule is not None,
    }
    if change.schedule:
        at = rfc3339(change.schedule.scheduled_at)
        body |= {"schedule_id": change.schedule.id, "scheduled_at": at}
    return body


def _moved(change: plan_changes.Change) -> list[Body]:
    at = change.effective
    found = [
        line(row.id, row, "updated", row.start_date, None, row.quantity) | {"price_id": price.id}
        for row, price in change.carried
    ]
    found += [line(row.id, row, "ended", row.start_date, at, row.quantity) for row, _ in change.closing]
    return found + [
        line(row.id, row, "created", row.start_date, None, row.quantity) for row, _ in change.opening
    ]


def _settlement(
    session: Session, change: plan_changes.Change, row: Subscription, preview: bool
) -> list[Body]:
    if preview and change.invoice:
        lines = change.invoice_lines or []
        shown = billing.invoice_preview(session, change.invoice, lines, customer_too=False)
        shown |= {"invoice_status": "", "payment_status": ""}
        for one in shown["line_items"]:
            del one["entity_type"]
        return [{"id": "", "action": "created", "status": "preview", "invoice": shown}]
    if preview and change.net < 0:
        return [_wallet_credit("", "preview", wallets.transaction_preview(row, -change.net))]
    if change.invoice:
        return [_created(session, change.invoice, customer_too=False)]
    return [_issued(change.credit)] if change.credit else []


def _created(session: Session, row: Invoice, *, customer_too: bool = True) -> Body:
    shown = billing.invoice(session, row, subscription_too=False, customer_too=customer_too)
    return {"id": row.id, "action": "created", "status": row.payment_status, "invoice": shown}


def _issued(row: WalletTransaction) -> Body:
    return _wallet_credit(row.id, "issued", wallets.transaction(row))


def _wallet_credit(entry_id: str, status: str, transaction: Body) -> Body:
    entry = {"id": entry_id, "action": "wallet_credit", "status": status}
    return entry | {"wallet_transaction": transaction}


def seat_change(session: Session, row: Subscription, change: seats.Change) -> Body:
    """A change that was applied at once."""
    settled = [_created(session, one) if isinstance(one, Invoice) else _issued(one) for one in change.settled]
    return _modified(session, row, change, settled)


def seat_change_paid_first(
    session: Session, row: Subscription, change: seats.Change, invoice: Invoice
) -> Body:
    """A change that waits for its checkout session."""
    return _modified(session, row, change, [_created(session, invoice)])


def seat_preview(session: Session, row: Subscription, change: seats.Change) -> Body:
    settled = [_previewed(session, row, step) for step in change.steps if step.amount]
    return _modified(session, row, change, settled)


def _modified(session: Session, row: Subscription, change: seats.Change, settled: list[Body]) -> Body:
    changed = {"line_items": _seats(row, change.steps), "invoices": settled}
    shown = without_empty(changed, "line_items", "invoices")
    return {"subscription": billing.subscription(session, row), "changed_resources": shown}


def _seats(row: Subscription, steps: list[seats.Step]) -> list[Body]:
    found = []
    for step in steps:
        old, at = step.line, step.effective
        found.append(line(step.ended_id, old, "ended", old.start_date, at, old.quantity))
        ends = step.ends or row.current_period_end
        found.append(line(step.created_id, old, "created", at, ends, step.quantity))
    return found


def _previewed(session: Session, row: Subscription, step: seats.Step) -> Body:
    if step.amount < 0:
        credit = wallets.seat_credit_preview(row, -step.amount)
        return _wallet_credit("(preview-wallet-credit)", "preview", credit)
    item = seats.item(row, step, name=step.line.plan_display_name)
    invoice, lines = one_off.build(session, row, [item], step.effective)
    invoice.version, invoice.billing_period = 1, ""
    shown = billing.invoice_preview(session, invoice, lines, customer_too=False)
    shown |= {"id": PREVIEW_INVOICE, "subscription_customer_id": row.customer_id}
    for one in shown["line_items"]:
        del one["entity_type"]
        one |= {"id": PREVIEW_LINE, "invoice_id": PREVIEW_INVOICE}
    return {"id": PREVIEW_INVOICE, "action": "created", "status": "preview", "invoice": shown}
