"""The checks of the shop's half, over its QA JSON."""

from .facts import Shop
from .model import Seen, ShopCheck


def _emails(shop: Shop) -> str:
    return ", ".join(f"{kind} × {number}" for kind, number in sorted(shop.emails.items())) or "none"


def _accesses(shop: Shop) -> str:
    return (
        ", ".join(f"{order.get('state')}, access {order.get('access')}" for order in shop.orders)
        or "no order"
    )


def _granted(shop: Shop) -> Seen:
    once = shop.accesses.count("active") == 1 and shop.emails.get("welcome", 0) >= 1
    return once, f"{_accesses(shop)}; emails: {_emails(shop)}"


GRANTED = ShopCheck("The plan is active and an email says so", _granted)


def _once(shop: Shop) -> Seen:
    count = shop.emails.get("welcome", 0)
    return len(
        shop.orders
    ) == 1 and count == 1, f"orders: {len(shop.orders)}, emails about a purchase: {count}"


ONCE = ShopCheck("There is one order and one email about it", _once)
READY = (GRANTED, ONCE)


def _nothing_granted(shop: Shop) -> Seen:
    nothing = bool(shop.orders) and set(shop.accesses) == {"none"} and not shop.emails.get("welcome")
    return nothing, f"{_accesses(shop)}; emails: {_emails(shop)}"


NOTHING_GRANTED = ShopCheck("There is an order, and nothing is granted", _nothing_granted)


def state(*states: str) -> ShopCheck:
    def look(shop: Shop) -> Seen:
        found = str(shop.newest.get("state", "no order"))
        return found in states, found

    return ShopCheck(f"The order is {' or '.join(states).replace('_', ' ')}", look)


def _needs_nobody(shop: Shop) -> Seen:
    rows = [*shop.orders, *shop.invoices]
    flagged = [str(row.get("order") or row.get("invoice")) for row in rows if row.get("needs_person")]
    return bool(shop.orders) and not flagged, f"for a person: {', '.join(flagged) or 'nothing'}"


NEEDS_NOBODY = ShopCheck("Nothing waits for a person", _needs_nobody)


def _refund_seen(shop: Shop) -> Seen:
    seen = [order for order in shop.orders if order.get("refund_seen")]
    return bool(seen), f"orders with a refund: {len(seen)}"


REFUND_SEEN = ShopCheck("The shop has seen the refund", _refund_seen)


def access(status: str) -> ShopCheck:
    def look(shop: Shop) -> Seen:
        return shop.accesses == [status], _accesses(shop)

    return ShopCheck(f"The access to the plan is {status}", look)


def _one_active(shop: Shop) -> Seen:
    return shop.accesses.count("active") == 1, _accesses(shop)


ONE_ACTIVE = ShopCheck("Exactly one plan is active", _one_active)


def emailed(*kinds: str) -> ShopCheck:
    """Each of these was emailed once: a second email about one fact is a failure."""

    def look(shop: Shop) -> Seen:
        return all(shop.emails.get(kind) == 1 for kind in kinds), f"emails: {_emails(shop)}"

    return ShopCheck(f"One email each: {', '.join(kinds).replace('_', ' ')}", look)


def not_emailed(*kinds: str) -> ShopCheck:
    def look(shop: Shop) -> Seen:
        return bool(shop.orders) and not any(
            shop.emails.get(kind) for kind in kinds
        ), f"emails: {_emails(shop)}"

    return ShopCheck(f"No email: {', '.join(kinds).replace('_', ' ')}", look)


def _later_paid(shop: Shop) -> Seen:
    paid = [row for row in shop.invoices if row.get("payment_status") in ("SUCCEEDED", "OVERPAID")]
    unpaid = [row for row in shop.invoices if row.get("payment_status") in ("PENDING", "FAILED")]
    return len(paid) > 1 and not unpaid, f"paid: {len(paid)}, not paid: {len(unpaid)}"


LATER_PAID = ShopCheck("The shop shows the purchase and the later invoice as paid", _later_paid)
