"""Does the session charge what was ordered? Its draft invoice says so while the shopper is still paying."""

from collections.abc import Iterator
from dataclasses import replace

from storefront.flexprice import Client, Invoice, NotFound
from storefront.models import Order


def charged(client: Client, order: Order) -> Invoice:
    """The order's invoice with its subscription. Raises FlexpriceError; NotFound may be a lagging replica."""
    invoice = invoice_of(client, order)
    if invoice.subscription is None and invoice.subscription_id:
        return replace(invoice, subscription=client.get_subscription(invoice.subscription_id))
    return invoice


def invoice_of(client: Client, order: Order) -> Invoice:
    return client.get_invoice(_invoice_id(client, order))


def _invoice_id(client: Client, order: Order) -> str:
    """A sale found by its subscription, after a lost answer, may not have told us its invoice."""
    if order.invoice_id:
        return order.invoice_id
    if order.session_id:
        found = client.get_session(order.session_id).invoice_id
    else:
        found = next((i.id for i in client.invoices_of(order.subscription_id or "none") if i.paid), None)
    if found is None:
        raise NotFound("no invoice belongs to this order (yet)")
    return found


def differences(order: Order, invoice: Invoice) -> str:
    """A sentence for the operator; empty when all is as ordered.

    Compared before tax: `total` is more wherever tax applies.
    """
    found = _compare(order, invoice)
    return "; ".join(f"{what}: ordered {ours}, charged {theirs}" for what, ours, theirs in found)


def _compare(order: Order, invoice: Invoice) -> Iterator[tuple[str, object, object]]:
    bought = invoice.subscription
    pairs = {
        "amount": (f"{order.amount.normalize():f}", f"{invoice.subtotal.normalize():f}"),
        "currency": (order.currency, invoice.currency),
        "plan": (order.plan_id, bought.plan_id if bought else "none"),
        "billing period": (order.billing_period, bought.billing_period if bought else "none"),
        "customer": _customers(order, invoice),
    }
    return ((what, ours, theirs) for what, (ours, theirs) in pairs.items() if ours != theirs)


def _customers(order: Order, invoice: Invoice) -> tuple[str, str]:
    """By our own id where Flexprice tells it: theirs changes when a lost customer is made again."""
    if invoice.customer_external_id:
        return order.shopper.external_id, invoice.customer_external_id
    theirs = invoice.customer_id or (invoice.subscription.customer_id if invoice.subscription else "")
    return order.shopper.flexprice_id or "none", theirs or "none"
