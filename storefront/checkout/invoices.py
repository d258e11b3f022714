"""Does the session charge what was ordered? Its draft invoice says so while the customer is still paying."""

from dataclasses import replace
from typing import Any

from ..flexprice import Invoice, NotFound
from .context import ask, checkout, naive
from .models import OrderMixin

__all__ = ["Invoice", "differences", "read", "record"]


def read(order: OrderMixin) -> Invoice:
    """The order's invoice with its subscription; no transaction stays open.

    :raises NotFound: there is none (yet): a replica lags, or Flexprice deleted it.
    :raises FlexpriceError: it could not be read.
    """
    client = checkout().client
    invoice = ask(client.get_invoice, _invoice_id(order))
    if invoice.subscription is None and invoice.subscription_id:
        return replace(invoice, subscription=ask(client.get_subscription, invoice.subscription_id))
    return invoice


def _invoice_id(order: OrderMixin) -> str:
    """A sale found by its subscription, after a lost answer, may not have named its invoice."""
    if order.invoice_id:
        return order.invoice_id
    client, found = checkout().client, None
    if order.session_id:
        found = ask(client.get_checkout_session, order.session_id).invoice_id
    elif order.subscription_id:
        listed = ask(client.list_invoices, order.subscription_id)
        found = next((invoice.id for invoice in listed if invoice.paid), None)
    if found is None:
        raise NotFound("no invoice belongs to this order (yet)")
    return found


def differences(order: OrderMixin, invoice: Invoice) -> str:
    """A sentence for the operator; empty when all is as ordered. Tax is not compared."""
    bought = invoice.subscription
    pairs: dict[str, tuple[Any, Any]] = {
        "amount": (f"{order.amount.normalize():f}", f"{invoice.subtotal.normalize():f}"),
        "currency": (order.currency, invoice.currency),
        "plan": (order.plan_id, bought.plan_id if bought else "none"),
        "billing period": (order.billing_period, bought.billing_period if bought else "none"),
        "customer": _customers(order, invoice),
    }
    return "; ".join(
        f"{what}: ordered {ours}, charged {theirs}"
        for what, (ours, theirs) in pairs.items()
        if ours != theirs
    )


def _customers(order: OrderMixin, invoice: Invoice) -> tuple[str, str]:
    """By our own id where Flexprice names it: its own changes when a lost customer is created again."""
    if invoice.customer_external_id:
        return order.customer_key, invoice.customer_external_id
    theirs = invoice.customer_id or (invoice.subscription.customer_id if invoice.subscription else "")
    return order.flexprice_customer_id or "none", theirs or "none"


def record(order: OrderMixin, invoice: Invoice) -> None:
    """The invoice names the subscription, which later news of its end is matched by."""
    order.invoice_id, order.subscription_id = invoice.id, invoice.subscription_id or order.subscription_id
    order.invoice_number = invoice.number or order.invoice_number
    order.invoice_total_text, order.period_end = str(invoice.total), naive(invoice.period_end)
