"""The calls of the later months: subscriptions, invoices, payments, entitlements. `Client` has them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ._json import Fields, ObjectList, read_rows
from ._transport import Calls, Timeout, segment
from .exceptions import UnreadableResponse
from .models import CustomerFeature, Invoice, Payment, PlanChange, Schedule, Subscription

T = TypeVar("T")
PAYMENT_KEY_CHARS = 50  # a longer key of a payment is answered with 500


class BillingCalls(Calls):
    """What `Client` adds for the months after the first payment. Not used by itself."""

    # -- subscriptions

    def create_subscription(
        self,
        external_customer_id: str,
        plan_id: str,
        currency: str,
        billing_period: str,
        order_ref: str,
        *,
        timeout: Timeout | None = None,
    ) -> Subscription:
        """Start a plan that has nothing to pay now: a free one, or one that begins with a trial.

        Flexprice has no idempotency key here: after a lost answer look for `metadata["order_ref"]` before the
        request is sent again. A plan with something to pay comes back as `draft`, with a checkout session
        beside it, and gives no access. Source: docs/flexprice-contract.md#j10.

        :param billing_period: `MONTHLY`, `ANNUAL`, …; sent in upper case.
        :param order_ref: your order's reference, also the key of the checkout session.
        :raises CustomerNotFound: there is no published customer with this external id.
        :raises NotFound: there is no such plan.
        :raises InvalidRequest: Flexprice refuses it: no price fits, a wrong field.
        :raises NoAnswer: a subscription may exist.
        """
        body = {
            "external_customer_id": external_customer_id,
            "plan_id": plan_id,
            "currency": currency,
            "billing_period": billing_period.upper(),
            "billing_period_count": 1,
            "billing_cadence": "RECURRING",
            "collection_method": "send_invoice",
            "metadata": {"order_ref": order_ref},
            "checkout": {"payment_provider": "razorpay", "idempotency_key": order_ref},
        }
        return self._one("POST", "/subscriptions", Subscription.from_json, timeout, body=body)

    def cancel_subscription(
        self, subscription_id: str, *, immediately: bool, reason: str = "", timeout: Timeout | None = None
    ) -> None:
        """End a subscription: at the end of its period, or now, without a credit and without an invoice.

        A trial is to be ended immediately: planned for its end it is billed first. After an answer, and after
        a lost one, read the subscription again. Source: docs/flexprice-contract.md#j7.

        :raises InvalidRequest: it is cancelled already, or its end is planned already: nothing to do.
        :raises NotFound: there is no such subscription.
        """
        body = {
            "cancellation_type": "immediate" if immediately else "end_of_period",
            "proration_behavior": "none",
            "cancel_immediately_inovice_policy": "skip",  # servers of August 2026 read this spelling only
            "cancel_immediately_invoice_policy": "skip",
            "reason": reason or "customer_request",
        }
        self._one("POST", f"/subscriptions/{segment(subscription_id)}/cancel", _nothing, timeout, body=body)

    def list_schedules(self, subscription_id: str, *, timeout: Timeout | None = None) -> ObjectList[Schedule]:
        """Return the planned ends and changes of a subscription in every status, newest first.

        Source: docs/flexprice-contract.md#j8.
        """
        path = f"/subscriptions/{segment(subscription_id)}/schedules"
        return self._one("GET", path, lambda data: _rows(data, "schedules", Schedule.from_json), timeout)

    def cancel_schedule(self, schedule_id: str, *, timeout: Timeout | None = None) -> None:
        """Undo a planned end or change. No event follows. Source: docs/flexprice-contract.md#j8.

        :raises InvalidRequest: it is not pending: undone already, or executed. Read the schedules.
        """
        # A body, even an empty one, is refused.
        self._one("POST", f"/subscriptions/schedules/{segment(schedule_id)}/cancel", _nothing, timeout)

    def preview_plan_change(
        self, subscription_id: str, plan_id: str, *, timeout: Timeout | None = None
    ) -> PlanChange:
        """Ask whether the plan can be changed at the next renewal; nothing is written.

        Source: docs/flexprice-contract.md#j9.

        :raises InvalidRequest: Flexprice refuses it, and says why.
        """
        return self._change(subscription_id, plan_id, "preview", timeout)

    def plan_change_at_renewal(
        self, subscription_id: str, plan_id: str, *, timeout: Timeout | None = None
    ) -> PlanChange:
        """Change the plan when the current period ends; nothing is charged now.

        Only to a plan with a price of the same currency and period. Source: docs/flexprice-contract.md#j9.

        :raises InvalidRequest: Flexprice refuses it, and says why. After a lost answer a repeated request is
            refused, too: read the schedules.
        """
        return self._change(subscription_id, plan_id, "execute", timeout)

    def _change(self, subscription_id: str, plan_id: str, what: str, timeout: Timeout | None) -> PlanChange:
        body = {"target_plan_id": plan_id, "proration_behavior": "none", "change_at": "end_of_period"}
        path = f"/subscriptions/{segment(subscription_id)}/change/v2/{what}"
        return self._one("POST", path, PlanChange.from_json, timeout, body=body)

    # -- invoices and payments

    def get_invoice_pdf(self, invoice_id: str, *, timeout: Timeout | None = None) -> bytes:
        """Return an invoice as a PDF. Source: docs/flexprice-contract.md#j13.

        :raises ServerError: the server cannot make PDFs.
        :raises UnreadableResponse: what came is no PDF.
        """
        found = self._file(f"/invoices/{segment(invoice_id)}/pdf", timeout)
        if not found.startswith(b"%PDF-"):
            raise UnreadableResponse("the invoice is not a PDF")
        return found

    def create_payment_link(
        self, invoice: Invoice, idempotency_key: str, success_url: str, *, timeout: Timeout | None = None
    ) -> Payment:
        """Make a link by which all that remains of an open invoice is paid.

        The same request with the same key returns the same payment as it is now, for ever: repeat it after a
        lost answer, and take a new key only after the payment was read as failed. Check its `status` and
        `payment_url`. Source: docs/flexprice-contract.md#j5.

        :param success_url: where the shopper returns, at most 256 characters.
        :raises InvalidRequest: the invoice is paid or voided, or less remains to be paid.
        :raises ServerError: the payment provider refuses; the payment may exist without a link:
            `process_payment`.
        :raises ValueError: the key or the address is too long.
        """
        if not 1 <= len(idempotency_key) <= PAYMENT_KEY_CHARS or len(success_url) > 256:
            raise ValueError("the key has 1 to 50 characters, the address at most 256")
        body = {
            "destination_type": "INVOICE",
            "destination_id": invoice.id,
            "payment_method_type": "PAYMENT_LINK",
            "payment_gateway": "razorpay",
            "amount": str(invoice.amount_remaining),
            "currency": invoice.currency,
            "process_payment": True,
            "idempotency_key": idempotency_key,
            "metadata": {"success_url": success_url},
        }
        return self._one("POST", "/payments", Payment.from_json, timeout, body=body)

    def process_payment(self, payment_id: str, *, timeout: Timeout | None = None) -> Payment:
        """Make the link of a payment that was created without one. Source: docs/flexprice-contract.md#j5.

        :raises InvalidRequest: it has a link, or is over.
        """
        path = f"/payments/{segment(payment_id)}/process"
        return self._one("POST", path, Payment.from_json, timeout)

    def get_setting(self, key: str, *, timeout: Timeout | None = None) -> Mapping[str, Any]:
        """Return a setting of the environment, such as `subscription_config`. Needs the role setting:read.

        Numbers are `Decimal`. Source: docs/flexprice-contract.md#j2.

        :raises AuthenticationError: the key may not read settings.
        :raises NotFound: there is no such setting.
        """
        path = f"/settings/{segment(key)}"
        return self._one("GET", path, lambda data: Fields(data, "setting").inner("value").data, timeout)

    # -- what a customer may use

    def list_entitlements(
        self, external_customer_id: str, *, timeout: Timeout | None = None
    ) -> ObjectList[CustomerFeature]:
        """Return the features of a customer's active subscriptions and trials.

        Source: docs/flexprice-contract.md#j12.

        :raises NotFound: there is no such customer.
        """
        read, path = CustomerFeature.from_entitlement, f"/customers/external/{segment(external_customer_id)}"
        return self._one("GET", f"{path}/entitlements", lambda data: _rows(data, "features", read), timeout)

    def list_usage(
        self, external_customer_id: str, *, timeout: Timeout | None = None
    ) -> ObjectList[CustomerFeature]:
        """Return the metered features of a customer, with limits and use in the current period.

        Source: docs/flexprice-contract.md#j12.

        :raises ServerError: the usage store is down; on some servers it reports zeros instead.
        """
        path, params = "/customers/usage", {"customer_lookup_key": external_customer_id}
        read = CustomerFeature.from_usage
        return self._one("GET", path, lambda data: _rows(data, "features", read), timeout, params=params)


def _rows(data: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], T]) -> ObjectList[T]:
    """The objects of a list that is no page, without those that cannot be read."""
    return read_rows(Fields(data, "the list").rows(name), read)


def _nothing(data: Mapping[str, Any]) -> None:
    """The answer holds nothing that is relied on."""
