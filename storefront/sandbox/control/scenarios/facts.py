"""What happened to the customer of a scenario: rows of the sandbox, and what the shop says."""

from functools import cached_property
from typing import Any, NamedTuple

from ...store.billing_rows import Invoice, Payment, Schedule, Subscription
from ...store.control_rows import Attempt, Delivery, Event, LogLine
from ...store.database import Session
from ...store.rows import CheckoutSession, Customer, ProviderLink

MAX_LINES = 2000


class Shop:
    """The shop's answer to `result.json?customer=…`; the schema is in docs/sandbox.md."""

    def __init__(self, body: dict[str, Any]) -> None:
        orders, emails = body.get("orders"), body.get("emails")
        self.orders = [one for one in orders if isinstance(one, dict)] if isinstance(orders, list) else []
        self.emails: dict[str, int] = emails if isinstance(emails, dict) else {}

    @property
    def newest(self) -> dict[str, Any]:
        return self.orders[0] if self.orders else {}

    @property
    def accesses(self) -> list[str]:
        return [str(order.get("access", "none")) for order in self.orders]

    @property
    def invoices(self) -> list[dict[str, Any]]:
        return [invoice for order in self.orders for invoice in order.get("invoices") or []]


class Sent(NamedTuple):
    """A delivery and the event it is about."""

    delivery: Delivery
    event: Event


class Facts:
    """The rows of one customer, the oldest first; `customer_id` None: there is no such customer yet."""

    def __init__(self, session: Session, customer_id: str | None, since: str = "") -> None:
        self.session, self.since = session, since
        self.customer = session.get(Customer, customer_id)
        self.customer_id = self.customer.id if self.customer else ""

    def _own(self, model: Any) -> list[Any]:
        found = self.session.all(model, model.customer_id == self.customer_id, order=model.id)
        return list(found)

    @cached_property
    def checkouts(self) -> list[CheckoutSession]:
        return self._own(CheckoutSession)

    @cached_property
    def links(self) -> list[ProviderLink]:
        """The oldest first: their ids are random, as Razorpay's are."""
        return sorted(self._own(ProviderLink), key=lambda link: link.created_at)

    @cached_property
    def subscriptions(self) -> list[Subscription]:
        """Those that were ever active: a draft of a sale that was not paid is none."""
        return [row for row in self._own(Subscription) if row.subscription_status != "draft"]

    @cached_property
    def invoices(self) -> list[Invoice]:
        return self._own(Invoice)

    @cached_property
    def schedules(self) -> list[Schedule]:
        own = [row.id for row in self.subscriptions]
        return list(self.session.all(Schedule, Schedule.subscription_id.in_(own), order=Schedule.id))

    @cached_property
    def sent(self) -> list[Sent]:
        return [Sent(row, self.session.need(Event, row.event_id)) for row in self._own(Delivery)]

    @cached_property
    def attempts(self) -> list[Attempt]:
        own = [sent.delivery.id for sent in self.sent]
        return list(self.session.all(Attempt, Attempt.delivery_id.in_(own), order=Attempt.id))

    @cached_property
    def log(self) -> list[LogLine]:
        """The lines about this customer: by session, by external id, or by an id in the path of a call."""
        after = LogLine.id > self.since
        lines = self.session.all(LogLine, after, order=LogLine.id.desc(), limit=MAX_LINES)
        return [line for line in reversed(lines) if self._is_own(line)]

    def _is_own(self, line: LogLine) -> bool:
        own = {row.id for row in self.checkouts}
        if line.session_id in own or (
            self.customer and line.detail.get("customer") == self.customer.external_id
        ):
            return True
        named = [self.customer_id, *own, *(row.id for row in [*self.subscriptions, *self.schedules])]
        return any(name and name in line.what for name in named)

    # What the checks ask about.

    @property
    def completed(self) -> list[CheckoutSession]:
        return [row for row in self.checkouts if row.checkout_status == "completed"]

    @property
    def active(self) -> list[Subscription]:
        return [row for row in self.subscriptions if row.subscription_status == "active"]

    @property
    def renewals(self) -> list[Invoice]:
        """Invoices after the purchase: final, over something, and of no checkout."""
        bought = {row.invoice_id for row in self.checkouts}
        final = [row for row in self.invoices if row.invoice_status == "FINALIZED" and row.total > 0]
        return [row for row in final if row.id not in bought]

    @property
    def money(self) -> list[Any]:
        """All captures of the customer's links."""
        return [capture for link in self.links for capture in link.captures]

    def links_of(self, invoice: Invoice) -> list[ProviderLink]:
        payments = self.session.all(Payment, Payment.destination_id == invoice.id)
        own = {payment.id for payment in payments}
        return [link for link in self.links if link.payment_id in own]

    def accepted(self, event_type: str) -> list[Delivery]:
        """Deliveries of events of this type that the shop answered with 2xx."""
        of_type = (sent for sent in self.sent if sent.event.event_type == event_type)
        return [sent.delivery for sent in of_type if sent.delivery.state == "delivered"]

    def lines(self, what: str = "", **detail: Any) -> list[LogLine]:
        """Lines whose `what` begins like this; names that are no column are looked for in the detail."""
        return [line for line in self.log if line.what.startswith(what) and _fits(line, detail)]

    def placeholders(self, plan_id: str) -> dict[str, str]:
        """What the buttons of a scenario are about; only what is known."""
        found = {
            "customer": self.customer_id,
            "session": self.checkouts[-1].id if self.checkouts else "",
            "subscription": (self.active or self.subscriptions)[-1].id if self.subscriptions else "",
            "link": self.links[-1].url if self.links else "",
            "plan": plan_id,
        }
        return {name: value for name, value in found.items() if value}


def _fits(line: LogLine, wanted: dict[str, Any]) -> bool:
    return all(getattr(line, name, line.detail.get(name)) == value for name, value in wanted.items())
